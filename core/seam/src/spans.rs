//! Spans as Python takes them, and their way out as OTLP: what attributes are called is told once.

use crate::observe::set_fields;
use crate::value_error;
use engine::fields::{Fields, Value};
use engine::observe::otlp::{Door, Names, encode};
use engine::observe::span::{ATTRIBUTES, Kind, NAMES, Span as Inner};
use engine::observe::trace::{Context, SpanId, TraceId};
use engine::stats::Protocol;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::HashMap;

/// A finished span. What it says becomes Python objects when asked for.
#[pyclass(frozen, module = "serving._core")]
pub struct Span {
    pub inner: Inner,
}

#[pymethods]
impl Span {
    #[allow(clippy::too_many_arguments)] // A keyword-only Python constructor.
    #[new]
    #[pyo3(signature = (*, trace_id, span_id, name, kind, start_ns, end_ns, parent_id = "",
        links = Vec::new(), attributes = None, error = ""))]
    fn new(
        trace_id: &str,
        span_id: &str,
        name: &str,
        kind: &str,
        start_ns: u64,
        end_ns: u64,
        parent_id: &str,
        links: Vec<(String, String)>,
        attributes: Option<&Bound<'_, PyDict>>,
        error: &str,
    ) -> PyResult<Self> {
        let link = |(trace, span): &(String, String)| {
            Ok(Context { trace: read_trace(trace)?, span: read_span(span)?, sampled: true })
        };
        let inner = Inner {
            trace: read_trace(trace_id)?,
            span: read_span(span_id)?,
            parent: if parent_id.is_empty() { None } else { Some(read_span(parent_id)?) },
            name: known(&NAMES, name)?,
            kind: Kind::from_name(kind).ok_or_else(|| value_error(format!("unknown kind '{kind}'")))?,
            start_ns,
            end_ns,
            links: links.iter().map(link).collect::<PyResult<_>>()?,
            attributes: attributes.map(read_fields).transpose()?.unwrap_or_default(),
            error: error.to_owned(),
        };
        Ok(Span { inner })
    }

    #[getter]
    fn trace_id(&self) -> String {
        self.inner.trace.to_string()
    }

    #[getter]
    fn span_id(&self) -> String {
        self.inner.span.to_string()
    }

    #[getter]
    fn parent_id(&self) -> String {
        self.inner.parent.map_or_else(String::new, |parent| parent.to_string())
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.inner.name
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.inner.kind.name()
    }

    #[getter]
    fn start_ns(&self) -> u64 {
        self.inner.start_ns
    }

    #[getter]
    fn end_ns(&self) -> u64 {
        self.inner.end_ns
    }

    #[getter]
    fn links(&self) -> Vec<(String, String)> {
        self.inner.links.iter().map(|link| (link.trace.to_string(), link.span.to_string())).collect()
    }

    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        set_fields(&dict, &self.inner.attributes)?;
        Ok(dict)
    }

    #[getter]
    fn error(&self) -> &str {
        &self.inner.error
    }
}

fn read_trace(digits: &str) -> PyResult<TraceId> {
    TraceId::parse(digits.as_bytes()).ok_or_else(|| value_error(format!("'{digits}' is no trace id")))
}

fn read_span(digits: &str) -> PyResult<SpanId> {
    SpanId::parse(digits.as_bytes()).ok_or_else(|| value_error(format!("'{digits}' is no span id")))
}

/// The engine's names live as long as it does.
fn known(names: &[&'static str], name: &str) -> PyResult<&'static str> {
    let found = names.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| value_error(format!("unknown name '{name}'")))
}

#[derive(FromPyObject)]
enum Given {
    Text(String),
    Int(i64),
    Float(f64),
}

fn read_fields(attributes: &Bound<'_, PyDict>) -> PyResult<Fields> {
    let read = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let value = match value.extract()? {
            Given::Text(text) => Value::Text(text),
            Given::Int(number) => Value::Int(number),
            Given::Float(number) => Value::Float(number),
        };
        Ok((known(&ATTRIBUTES, name.extract()?)?, value))
    };
    attributes.iter().map(read).collect()
}

/// Attributes before the method and code and after, what these two are called, the usual method,
/// the codes of the server's own faults.
type GivenDoor = (Vec<u8>, Vec<u8>, String, String, String, Vec<i64>);

#[pyclass(frozen, module = "serving._core")]
pub struct SpanEncoder {
    names: Names,
}

#[pymethods]
impl SpanEncoder {
    #[new]
    #[pyo3(signature = (*, prefix, message, error, doors))]
    fn new(
        prefix: String,
        message: String,
        error: String,
        doors: HashMap<String, GivenDoor>,
    ) -> PyResult<Self> {
        let doors = doors.into_iter().map(|(protocol, given)| door(&protocol, given));
        let doors = doors.collect::<PyResult<_>>()?;
        Ok(SpanEncoder { names: Names { prefix, message, error, doors } })
    }

    fn encode<'py>(&self, py: Python<'py>, spans: Vec<Py<Span>>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| encode(spans.iter().map(|span| &span.get().inner), &self.names));
        PyBytes::new(py, &bytes)
    }
}

fn door(protocol: &str, given: GivenDoor) -> PyResult<Door> {
    let (before, after, method, code, usual_method, faults) = given;
    let protocol = Protocol::ALL.into_iter().find(|known| known.name() == protocol);
    let protocol = protocol.ok_or_else(|| value_error("unknown protocol"))?;
    Ok(Door { protocol, before, after, method, usual_method, code, faults })
}
