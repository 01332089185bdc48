//! Spans as Python takes them, and their way out as OTLP.

use crate::observe::set_fields;
use crate::value_error;
use engine::fields::{Fields, Value};
use engine::observe::otlp::{Encoder, Template, common};
use engine::observe::span::{ATTRIBUTES, Kind, NAMES, Span as Inner};
use engine::observe::trace::{Context, SpanId, TraceId};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

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

/// For one thread at a time: PyO3 refuses a second borrow.
#[pyclass(module = "serving._core")]
pub struct SpanEncoder {
    inner: Encoder,
    template: Py<PyAny>,
}

#[pymethods]
impl SpanEncoder {
    #[new]
    #[pyo3(signature = (template, *, request_id, message))]
    fn new(template: Py<PyAny>, request_id: String, message: String) -> Self {
        SpanEncoder { inner: Encoder::new(request_id, message), template }
    }

    fn encode<'py>(&mut self, py: Python<'py>, spans: Vec<Py<Span>>) -> PyResult<Bound<'py, PyBytes>> {
        let SpanEncoder { inner, template } = self;
        let bytes = py.detach(|| {
            let spans = spans.iter().map(|span| &span.get().inner);
            inner.encode(spans, |span| Python::attach(|py| ask(py, template, span)))
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}

fn ask(py: Python<'_>, template: &Py<PyAny>, span: &Inner) -> PyResult<Template> {
    let attributes = PyDict::new(py);
    set_fields(&attributes, common(span))?;
    let made = template.bind(py).call1((span.name, span.kind.name(), attributes))?;
    let (fields, is_fault) = made.extract()?;
    Ok(Template { fields, is_fault })
}
