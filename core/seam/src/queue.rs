//! Queues as Python makes and pulls them.

use crate::batch::Batch;
use crate::checks::Constraint;
use crate::shadow;
use crate::signature::{Named, Names, Schema, TensorSpec, signature};
use crate::stats::Stats;
use crate::value_error;
use engine::checks::Checks;
use engine::permits::Permits;
use engine::queue::{LevelPolicy, Options};
use engine::tensor::Signature;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The right to run, shared by all queues of the process; the server sets how many.
pub static PERMITS: LazyLock<Arc<Permits>> = LazyLock::new(|| Permits::new(1));

#[pyclass(frozen, module = "serving._core")]
pub struct Queue {
    pub inner: Arc<engine::queue::Queue>,
    names: Arc<Names>,
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*, model, version, inputs, outputs, max_rows = 0, delay_us = 0,
        max_queue_requests = 1024, max_queue_rows = 65536, max_queue_bytes = 268_435_456,
        priority_levels = 0, default_priority = 0, default_timeout_us = 0,
        max_string_elements = 1_048_576, max_batch_bytes = 67_108_864, stats = None,
        preferred_rows = Vec::new(), may_cut = true, left_out = Vec::new(), level_policies = Vec::new(),
        schema = None, signatures = Vec::new()))]
    #[allow(clippy::too_many_arguments)] // A keyword-only Python constructor.
    fn new(
        py: Python<'_>,
        model: &str,
        version: u64,
        inputs: Vec<TensorSpec>,
        outputs: Vec<TensorSpec>,
        max_rows: usize,
        delay_us: u64,
        max_queue_requests: usize,
        max_queue_rows: usize,
        max_queue_bytes: usize,
        priority_levels: usize,
        default_priority: usize,
        default_timeout_us: u64,
        max_string_elements: usize,
        max_batch_bytes: usize,
        stats: Option<PyRef<'_, Stats>>,
        preferred_rows: Vec<usize>,
        may_cut: bool,
        left_out: Vec<(String, String)>,
        level_policies: Vec<(usize, u64, usize)>,
        schema: Option<Schema>,
        signatures: Vec<Named>,
    ) -> PyResult<Self> {
        let options = Options {
            max_rows,
            delay: Duration::from_micros(delay_us),
            preferred: preferred_rows,
            may_cut,
            max_queue_requests,
            max_queue_rows,
            max_queue_bytes,
            priority_levels,
            default_priority,
            default_timeout: timeout(default_timeout_us),
            level_policies: level_policies.into_iter().map(level_policy).collect(),
            max_string_elements,
            max_batch_bytes,
        };
        let names = Names::new(py, &inputs, &outputs)?;
        let signature = Signature {
            left_out: left_out.into_iter().map(|(name, why)| (name.into(), why.into())).collect(),
            schema: schema.map(|schema| schema.inner).unwrap_or_default(),
            ..signature(inputs, outputs, signatures)?
        };
        let stats = match stats {
            Some(stats) => stats.inner.clone(),
            None => engine::stats::Stats::new(model, version),
        };
        if &*stats.model != model || stats.version != version {
            return Err(value_error("the statistics are another version's"));
        }
        Ok(Queue {
            inner: engine::queue::Queue::new(stats, signature, options, Some(PERMITS.clone())),
            names: Arc::new(names),
        })
    }

    fn announce_first(&self, py: Python<'_>, number: u64) {
        py.detach(|| self.inner.announce_first(number));
    }

    /// Wait for work and the permit to run it; `None` once closed and empty.
    fn next_batch(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        loop {
            let pulled = py.detach(|| {
                let mut batch = self.inner.next_batch()?;
                let gathered = batch.gather();
                Some((batch, gathered))
            });
            match pulled {
                None => return Ok(None),
                // None of its requests could be read from shared memory.
                Some((batch, Ok(_))) if batch.requests() == 0 => py.detach(|| drop(batch)),
                Some((batch, Ok(inputs))) => return Ok(Some(Batch::new(batch, inputs, self.names.clone()))),
                Some((batch, Err(error))) => py.detach(|| batch.fail(&error)),
            }
        }
    }

    #[pyo3(signature = (max_rows, preferred_rows = Vec::new(), may_cut = true))]
    fn batch_from_now_on(&self, max_rows: usize, preferred_rows: Vec<usize>, may_cut: bool) -> bool {
        self.inner.batch_from_now_on(max_rows, preferred_rows, may_cut)
    }

    fn expect_runs(&self, seconds: f64) -> PyResult<()> {
        self.inner.expect_runs(Duration::try_from_secs_f64(seconds).map_err(value_error)?);
        Ok(())
    }

    fn sample(&self, rate: f64) -> PyResult<()> {
        self.inner.sample(crate::rate("rate", rate)?);
        Ok(())
    }

    fn sample_for_statistics(&self, per_second: f64) -> PyResult<()> {
        self.inner.sample_for_statistics(crate::per_second("per_second", per_second)?);
        Ok(())
    }

    #[pyo3(signature = (shown))]
    fn show_only(&self, shown: Option<Vec<String>>) {
        self.inner.show_only(shown);
    }

    fn shadow<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        shadow::report(py, &self.inner)
    }

    fn shadow_examples<'py>(&self, py: Python<'py>) -> PyResult<Vec<shadow::Told<'py>>> {
        shadow::examples(py, &self.inner)
    }

    /// What the elements of an output are called; `None` for one without a name.
    fn labels(&self, output: &str, elements: Vec<usize>) -> Vec<Option<&str>> {
        let spec = self.inner.signature().outputs.iter().find(|spec| &*spec.name == output);
        let labels = spec.and_then(|spec| spec.labels.as_deref());
        elements.into_iter().map(|number| labels.and_then(|labels| labels.get(number))).collect()
    }

    /// Hold requests against `constraints` from now on, none: against nothing.
    fn check(&self, py: Python<'_>, constraints: Vec<Constraint>) -> PyResult<()> {
        let all: Vec<_> = constraints.into_iter().map(|one| one.inner).collect();
        py.detach(|| {
            let mut checks = Checks::new(self.inner.signature(), all)?;
            if let Some(before) = self.inner.checks() {
                checks = checks.after(&before);
            }
            self.inner.check_by((!checks.is_empty()).then(|| Arc::new(checks)));
            Ok(())
        })
        .map_err(|words: String| value_error(words))
    }

    fn anomalies(&self) -> Vec<(String, &'static str, bool, u64)> {
        let checks = self.inner.checks();
        let counts = checks.iter().flat_map(|checks| checks.counts());
        counts
            .map(|(feature, kind, refuses, count)| (feature.to_owned(), kind.name(), refuses, count))
            .collect()
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.inner.close());
    }

    fn abort(&self, py: Python<'_>, word: &str, message: String) -> PyResult<usize> {
        let error = crate::error(word, message, "")?;
        Ok(py.detach(|| self.inner.abort(&error)))
    }

    fn depth<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (requests, rows, bytes) = self.inner.depth();
        let dict = PyDict::new(py);
        dict.set_item("requests", requests)?;
        dict.set_item("rows", rows)?;
        dict.set_item("bytes", bytes)?;
        let executing = self.inner.stats().executing.load(std::sync::atomic::Ordering::Relaxed);
        dict.set_item("executing", executing)?;
        Ok(dict)
    }
}

fn timeout(us: u64) -> Option<Duration> {
    (us > 0).then(|| Duration::from_micros(us))
}

fn level_policy((level, timeout_us, requests): (usize, u64, usize)) -> LevelPolicy {
    LevelPolicy {
        level,
        default_timeout: timeout(timeout_us),
        max_requests: (requests > 0).then_some(requests),
    }
}
