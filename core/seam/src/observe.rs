//! Spans and samples as Python takes them.

use engine::observe::sample::{Sample as Inner, Tensor};
use engine::observe::span::{Fields, Span, Value};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

/// A finished request with its tensors. They become Python objects when asked for.
#[pyclass(frozen, module = "serving._core")]
pub struct Sample {
    pub inner: Inner,
}

#[pymethods]
impl Sample {
    #[getter]
    fn model(&self) -> &str {
        &self.inner.model
    }

    #[getter]
    fn version(&self) -> u64 {
        self.inner.version
    }

    #[getter]
    fn protocol(&self) -> &'static str {
        self.inner.protocol.name()
    }

    #[getter]
    fn id(&self) -> &str {
        &self.inner.id
    }

    #[getter]
    fn request_id(&self) -> &str {
        &self.inner.request_id
    }

    #[getter]
    fn at(&self) -> f64 {
        self.inner.at_ns as f64 / 1e9
    }

    #[getter]
    fn total_s(&self) -> f64 {
        self.inner.total.as_secs_f64()
    }

    #[getter]
    fn queue_s(&self) -> f64 {
        self.inner.queue.as_secs_f64()
    }

    #[getter]
    fn compute_s(&self) -> f64 {
        self.inner.compute.as_secs_f64()
    }

    #[getter]
    fn word(&self) -> &'static str {
        self.inner.word
    }

    #[getter]
    fn message(&self) -> &str {
        &self.inner.message
    }

    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        tensors(py, &self.inner.inputs)
    }

    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        tensors(py, &self.inner.outputs)
    }

    #[getter]
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in [("priority", self.inner.priority), ("timeout", self.inner.timeout_us)] {
            if value > 0 {
                dict.set_item(name, value)?;
            }
        }
        Ok(dict)
    }
}

fn tensors<'py>(py: Python<'py>, tensors: &[Tensor]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for tensor in tensors {
        let shape = PyTuple::new(py, tensor.shape.iter())?;
        list.append((&*tensor.name, tensor.datatype.name(), shape, PyBytes::new(py, &tensor.data)))?;
    }
    Ok(list)
}

pub fn span_dict<'py>(py: Python<'py>, span: &Span) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "trace_id"), span.trace.to_string())?;
    dict.set_item(intern!(py, "span_id"), span.span.to_string())?;
    dict.set_item(
        intern!(py, "parent_id"),
        span.parent.map_or_else(String::new, |parent| parent.to_string()),
    )?;
    dict.set_item(intern!(py, "name"), span.name)?;
    dict.set_item(intern!(py, "kind"), span.kind.name())?;
    dict.set_item(intern!(py, "start_ns"), span.start_ns)?;
    dict.set_item(intern!(py, "end_ns"), span.end_ns)?;
    let links = span.links.iter().map(|link| (link.trace.to_string(), link.span.to_string()));
    dict.set_item(intern!(py, "links"), PyList::new(py, links.collect::<Vec<_>>())?)?;
    let attributes = PyDict::new(py);
    set_fields(&attributes, &span.attributes)?;
    dict.set_item(intern!(py, "attributes"), attributes)?;
    dict.set_item(intern!(py, "error"), &span.error)?;
    Ok(dict)
}

/// Fields as items, texts that say nothing left out.
pub fn set_fields(dict: &Bound<'_, PyDict>, fields: &Fields) -> PyResult<()> {
    for (name, value) in fields {
        match value {
            Value::Text(text) if text.is_empty() => {}
            Value::Text(text) => dict.set_item(name, text)?,
            Value::Int(number) => dict.set_item(name, number)?,
            Value::Float(number) => dict.set_item(name, number)?,
        }
    }
    Ok(())
}
