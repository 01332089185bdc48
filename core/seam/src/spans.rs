//! Spans as Python takes them, and their way out as OTLP: what attributes are called is told once.

use crate::value_error;
use engine::observe::otlp::{Door, Names, encode};
use engine::observe::span::Span as Inner;
use engine::stats::Protocol;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::HashMap;

/// A finished span, for the encoder.
#[pyclass(frozen, module = "serving._core")]
pub struct Span {
    pub inner: Inner,
}

/// Attributes before the method and code and after, what these two are called, the codes of the
/// server's own faults.
type GivenDoor = (Vec<u8>, Vec<u8>, String, String, Vec<i64>);

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
    let (before, after, method, code, faults) = given;
    let protocol = Protocol::ALL.into_iter().find(|known| known.name() == protocol);
    let protocol = protocol.ok_or_else(|| value_error("unknown protocol"))?;
    Ok(Door { protocol, before, after, method, code, faults })
}
