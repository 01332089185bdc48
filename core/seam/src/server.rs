//! The doors as Python starts, feeds and stops them.

use crate::calls::Call;
use crate::figures::Figures;
use crate::observe::{Sample, TraceRule, set_fields, trace_rule};
use crate::queue::{PERMITS, Queue};
use crate::spans::Span;
use crate::value_error;
use engine::codec::compression::Encoding;
use engine::doors::pages::Page;
use engine::doors::{Compression, Config, Server as Inner, Web};
use engine::events::Event;
use engine::metrics::families::OF_SERVER;
use engine::observe::Rules;
use engine::observe::trace_rules::TraceRules;
use engine::routes::{Route as InnerRoute, Shadow, alias};
use engine::shadow::{Rules as ShadowRules, Tolerance};
use engine::shared_memory::Rules as RegionRules;
use engine::stats::outputs::Counting;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

/// One model's place in the table.
#[pyclass(frozen, module = "serving._core")]
pub struct Route {
    model: String,
    inner: InnerRoute,
}

#[pymethods]
impl Route {
    #[new]
    #[pyo3(signature = (model, versions, default, unavailable = BTreeMap::new(), reason = None,
        unloaded = Vec::new(), *, aliases = BTreeMap::new(), weights = Vec::new(), sticky = "",
        shadows = Vec::new(), beside = HashMap::new()))]
    #[allow(clippy::too_many_arguments)] // A Python constructor.
    fn new(
        model: String,
        versions: HashMap<u64, PyRef<'_, Queue>>,
        default: Option<u64>,
        unavailable: BTreeMap<u64, String>,
        reason: Option<String>,
        unloaded: Vec<(String, Vec<u64>)>,
        aliases: BTreeMap<String, u64>,
        weights: Vec<(u64, u32)>,
        sticky: &str,
        shadows: Vec<(u64, f64)>,
        beside: HashMap<u64, PyRef<'_, Queue>>,
    ) -> PyResult<Self> {
        for name in aliases.keys() {
            alias(name).map_err(|error| value_error(error.message))?;
        }
        let shadow = |(version, rate)| Ok(Shadow { version, rate: crate::rate("a shadow's rate", rate)? });
        let inner = InnerRoute {
            versions: versions.into_iter().map(|(n, queue)| (n, queue.inner.clone())).collect(),
            default,
            aliases,
            weights,
            sticky: (!sticky.is_empty()).then(|| sticky.to_ascii_lowercase().into()),
            shadows: shadows.into_iter().map(shadow).collect::<PyResult<_>>()?,
            beside: beside.into_iter().map(|(n, queue)| (n, queue.inner.clone())).collect(),
            unavailable,
            unloaded: unloaded.into(),
            reason,
        };
        Ok(Route { model, inner })
    }
}

#[pyclass(frozen, module = "serving._core")]
pub struct Server {
    inner: Inner,
}

#[pymethods]
impl Server {
    #[new]
    fn new(config: &Bound<'_, PyMapping>) -> PyResult<Self> {
        let (config, permits, lend_after) = read_config(config)?;
        PERMITS.set(permits, lend_after);
        // An OSError with its errno, so that a taken port can be told from others.
        let inner = Inner::bind(config).map_err(|e| PyOSError::new_err((e.raw_os_error(), e.to_string())))?;
        Ok(Server { inner })
    }

    #[getter]
    fn http_address(&self) -> (String, u16) {
        (self.inner.http_address.ip().to_string(), self.inner.http_address.port())
    }

    #[getter]
    fn grpc_address(&self) -> (String, u16) {
        (self.inner.grpc_address.ip().to_string(), self.inner.grpc_address.port())
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.inner.start())?;
        Ok(())
    }

    #[pyo3(signature = (routes, gone = Vec::new()))]
    #[allow(clippy::needless_pass_by_value)] // As pyo3 hands it over.
    fn publish(&self, routes: Vec<PyRef<'_, Route>>, gone: Vec<String>) {
        let changed = routes.iter().map(|route| (route.model.clone(), route.inner.clone())).collect();
        self.inner.shared().publish(changed, &gone);
    }

    fn set_ready(&self, ready: bool) {
        self.inner.shared().set_ready(ready);
    }

    fn next_call(&self, py: Python<'_>) -> Option<Call> {
        py.detach(|| self.inner.shared().calls.next()).map(|inner| Call { inner })
    }

    fn events<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Option<Vec<Bound<'py, PyDict>>>> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(value_error)?;
        match py.detach(|| self.inner.shared().events.wait(timeout)) {
            None => Ok(None),
            Some(events) => events.iter().map(|e| event_dict(py, e)).collect::<PyResult<_>>().map(Some),
        }
    }

    /// `None`, or the refusal: its error word, its words, and the original for the log.
    fn register_region(
        &self,
        py: Python<'_>,
        name: &str,
        key: &str,
        offset: u64,
        byte_size: u64,
    ) -> Option<(&'static str, String, String)> {
        let regions = &self.inner.shared().regions;
        let done = py.detach(|| regions.register(name, key, offset, byte_size));
        done.err().map(|error| (error.code.name(), error.message, error.detail.unwrap_or_default()))
    }

    fn unregister_region(&self, py: Python<'_>, name: &str) {
        py.detach(|| self.inner.shared().regions.unregister(name));
    }

    /// Name, key, offset and bytes of each.
    fn regions(&self) -> Vec<(String, String, u64, u64)> {
        let all = self.inner.shared().regions.all();
        all.into_iter().map(|one| (one.name, one.key, one.offset, one.byte_size)).collect()
    }

    fn set_pages(&self, pages: Vec<(String, String, Vec<u8>)>) -> PyResult<()> {
        let made = |(path, kind, body): (String, String, Vec<u8>)| Page::new(path, &kind, body);
        let pages = pages.into_iter().map(made).collect::<Result<_, _>>().map_err(value_error)?;
        if self.inner.shared().set_pages(pages) {
            Ok(())
        } else {
            Err(value_error("there are pages already"))
        }
    }

    /// So that whoever looks for it on another port is told.
    fn set_admin_port(&self, port: u16) {
        self.inner.shared().admin_port.store(port, Relaxed);
    }

    #[pyo3(signature = (*, trace_rate, trace_parents, span_buffer, sample_buffer_bytes, sample_max_bytes,
        access_rate, sample_replayed = false, statistics_samples = 0.0, statistics_values = 0.0))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn observe(
        &self,
        trace_rate: f64,
        trace_parents: bool,
        span_buffer: usize,
        sample_buffer_bytes: usize,
        sample_max_bytes: usize,
        access_rate: f64,
        sample_replayed: bool,
        statistics_samples: f64,
        statistics_values: f64,
    ) -> PyResult<()> {
        self.inner.shared().observer.set(&Rules {
            trace_rate: crate::rate("trace_rate", trace_rate)?,
            access_rate: crate::rate("access_rate", access_rate)?,
            trace_parents,
            span_buffer,
            sample_buffer_bytes,
            sample_max_bytes,
            sample_replayed,
            statistics_samples: crate::per_second("statistics_samples", statistics_samples)?,
            statistics_values: crate::per_second("statistics_values", statistics_values)?,
        });
        Ok(())
    }

    #[pyo3(signature = (*, copies, held_bytes, timeout_s, absolute, relative, examples, example_bytes, event_every_s))]
    #[allow(clippy::too_many_arguments)] // Keyword-only in Python.
    fn shadows(
        &self,
        copies: usize,
        held_bytes: usize,
        timeout_s: f64,
        absolute: f64,
        relative: f64,
        examples: usize,
        example_bytes: usize,
        event_every_s: f64,
    ) -> PyResult<()> {
        self.inner.shared().shadows.set(ShadowRules {
            copies,
            bytes: held_bytes,
            timeout: Duration::try_from_secs_f64(timeout_s).map_err(value_error)?,
            tolerance: Tolerance { absolute, relative },
            examples,
            example_bytes,
            event_every: Duration::try_from_secs_f64(event_every_s).map_err(value_error)?,
        });
        Ok(())
    }

    fn trace(&self, all_models: TraceRule<'_>, models: HashMap<String, TraceRule<'_>>) -> PyResult<()> {
        let models = models.iter().map(|(name, rule)| Ok((name.clone(), trace_rule(rule)?)));
        let rules = TraceRules::new(trace_rule(&all_models)?, models.collect::<PyResult<_>>()?);
        self.inner.shared().observer.trace(rules);
        Ok(())
    }

    fn spans(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Vec<Span>>> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(value_error)?;
        let spans = py.detach(|| self.inner.shared().observer.spans.wait(timeout));
        Ok(spans.map(|spans| spans.into_iter().map(|inner| Span { inner }).collect()))
    }

    fn samples(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Vec<Sample>>> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(value_error)?;
        let samples = py.detach(|| self.inner.shared().observer.samples.wait(timeout));
        Ok(samples.map(|samples| samples.into_iter().map(|inner| Sample { inner }).collect()))
    }

    /// The core's families in Prometheus text format 0.0.4.
    fn metrics<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let text = py.detach(|| self.inner.metrics());
        PyBytes::new(py, text.as_bytes())
    }

    #[pyo3(signature = (select = None))]
    fn figures(&self, py: Python<'_>, select: Option<Vec<(String, u64)>>) -> Figures {
        Figures { inner: py.detach(|| self.inner.figures(select.as_deref())) }
    }

    /// Three levels of counting, by (model, version); all others' is off.
    #[pyo3(signature = (nonfinite, distributions = Vec::new(), times = Vec::new()))]
    fn count_outputs(
        &self,
        py: Python<'_>,
        nonfinite: Vec<(String, u64)>,
        distributions: Vec<(String, u64)>,
        times: Vec<(String, u64)>,
    ) {
        let levels = [
            (nonfinite, Counting::NonFinite),
            (distributions, Counting::Distributions),
            (times, Counting::Times),
        ];
        let named: Vec<_> = levels
            .into_iter()
            .flat_map(|(keys, level)| keys.into_iter().map(move |(model, version)| (model, version, level)))
            .collect();
        py.detach(|| self.inner.shared().count_outputs(&named));
    }

    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let totals = self.inner.totals();
        let dict = PyDict::new(py);
        for one in &OF_SERVER {
            dict.set_item(one.key, (one.value)(&totals))?;
        }
        dict.set_item("in_flight", self.inner.shared().in_flight())?;
        dict.set_item("permits_held", PERMITS.held())?;
        Ok(dict)
    }

    fn drain(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(value_error)?;
        Ok(py.detach(|| self.inner.drain(timeout)))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.inner.stop());
    }
}

fn event_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("event", event.event)?;
    dict.set_item("level", event.level.name())?;
    let at = event.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    dict.set_item("at", at.as_secs_f64())?;
    set_fields(&dict, &event.fields)?;
    Ok(dict)
}

/// Takes keys out of a mapping, so that what is left is unknown.
struct Keys<'py> {
    dict: Bound<'py, PyDict>,
}

impl<'py> Keys<'py> {
    fn take<T>(&self, key: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let value = self.dict.get_item(key)?.ok_or_else(|| value_error(format!("missing key '{key}'")))?;
        self.dict.del_item(key)?;
        value.extract::<T>().map_err(|e| value_error(format!("key '{key}': {}", e.into())))
    }

    fn seconds(&self, key: &str) -> PyResult<Duration> {
        Duration::try_from_secs_f64(self.take(key)?).map_err(|e| value_error(format!("key '{key}': {e}")))
    }

    /// Zero means none.
    fn limit(&self, key: &str) -> PyResult<Option<Duration>> {
        Ok(Some(self.seconds(key)?).filter(|t| !t.is_zero()))
    }
}

/// The core's, how many batches may run at once, and after how long one lends its permit.
fn read_config(config: &Bound<'_, PyMapping>) -> PyResult<(Config, usize, Option<Duration>)> {
    let dict = PyDict::new(config.py());
    dict.update(config)?;
    let keys = Keys { dict };
    let compression: String = keys.take("grpc_compression")?;
    let read = Config {
        host: keys.take("host")?,
        http_port: keys.take("http_port")?,
        grpc_port: keys.take("grpc_port")?,
        io_threads: keys.take("io_threads")?,
        max_message_bytes: keys.take("max_message_bytes")?,
        max_head_bytes: keys.take("max_head_bytes")?,
        max_connections: keys.take("max_connections")?,
        connections_advice: keys.take("connections_advice")?,
        max_streams: keys.take("max_streams")?,
        head_timeout: keys.seconds("head_timeout_s")?,
        body_timeout: keys.seconds("body_timeout_s")?,
        idle_timeout: keys.seconds("idle_timeout_s")?,
        max_connection_age: keys.limit("max_connection_age_s")?,
        stream_in_flight: keys.take("stream_in_flight")?,
        process_bytes: keys.take("process_bytes")?,
        connection_share: keys.take("connection_share")?,
        address_share: keys.take("address_share")?,
        request_timeout: keys.limit("request_timeout_s")?,
        forced_version: keys.take("forced_version")?,
        patience: keys.limit("patience_s")?,
        grpc_compression: match compression.as_str() {
            "auto" => Compression::Auto,
            "none" => Compression::None,
            "gzip" => Compression::Always(Encoding::Gzip),
            "deflate" => Compression::Always(Encoding::Deflate),
            other => return Err(value_error(format!("unknown compression '{other}'"))),
        },
        shared_memory: RegionRules {
            enabled: keys.take("shared_memory")?,
            max_regions: keys.take("max_regions")?,
            max_bytes: keys.take("max_region_bytes")?,
        },
        default_model: keys.take("default_model")?,
        tensorflow_metrics: keys.take("tensorflow_metrics")?,
        web: Web {
            pages: keys.take("pages")?,
            allowed_hosts: keys.take("allowed_hosts")?,
            cors_origins: keys.take("cors_origins")?,
            ..Web::default()
        },
    };
    let permits = keys.take("permits")?;
    let lend_after = keys.limit("lend_permit_s")?;
    match keys.dict.keys().iter().next() {
        Some(key) => Err(value_error(format!("unknown key {key}"))),
        None => Ok((read, permits, lend_after)),
    }
}
