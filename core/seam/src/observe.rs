//! Samples, and what is known of anything, as Python takes them.

use crate::value_error;
use engine::fields::Value;
use engine::observe::line;
use engine::observe::sample::{Sample as Inner, Tensor};
use engine::observe::trace_rules::{Count, Rule};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use std::sync::Arc;
use std::time::Duration;

/// See [`Count`].
#[pyclass(frozen, module = "serving._core")]
pub struct TraceCount {
    pub inner: Arc<Count>,
}

#[pymethods]
impl TraceCount {
    #[new]
    fn new(count: i64) -> Self {
        TraceCount { inner: Count::new(count) }
    }

    #[getter]
    fn left(&self) -> i64 {
        self.inner.left()
    }
}

/// A rule as Python says it: rate, parents, count.
pub type TraceRule<'py> = (f64, bool, PyRef<'py, TraceCount>);

pub fn trace_rule((rate, parents, count): &TraceRule<'_>) -> PyResult<Rule> {
    Ok(Rule::new(crate::rate("rate", *rate)?, *parents, count.inner.clone()))
}

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
    fn size(&self) -> usize {
        let tensors = self.inner.inputs.iter().chain(&self.inner.outputs);
        tensors.map(|tensor| tensor.data.len()).sum()
    }

    #[getter]
    fn drawn(&self) -> bool {
        self.inner.takers.drawn
    }

    #[getter]
    fn for_anomaly(&self) -> bool {
        self.inner.takers.anomaly
    }

    #[getter]
    fn for_statistics(&self) -> bool {
        self.inner.takers.statistics
    }

    #[getter]
    fn route(&self) -> &'static str {
        self.inner.route
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
        Duration::from_nanos(self.inner.at_ns).as_secs_f64()
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
    fn anomaly(&self) -> Option<(&str, &str, &str)> {
        self.inner.anomaly.as_ref().map(|noted| (&*noted.input, &*noted.words, &*noted.brief))
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

/// The first samples as lines, as many as `most` bytes hold, and how many they are.
#[pyfunction]
pub fn json_lines<'py>(
    py: Python<'py>,
    samples: Vec<Py<Sample>>,
    shown: Vec<Option<Vec<String>>>,
    most: usize,
) -> PyResult<(Bound<'py, PyBytes>, usize)> {
    if samples.len() != shown.len() {
        return Err(value_error("each sample needs to be told what of it is shown"));
    }
    let (lines, count) = py.detach(|| {
        let inner = samples.iter().map(|sample| &sample.get().inner);
        line::lines(inner.zip(shown.iter().map(Option::as_deref)), most)
    });
    Ok((PyBytes::new(py, &lines), count))
}

fn tensors<'py>(py: Python<'py>, tensors: &[Tensor]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for tensor in tensors {
        let shape = PyTuple::new(py, tensor.shape.iter())?;
        list.append((&*tensor.name, tensor.datatype.name(), shape, PyBytes::new(py, &tensor.data)))?;
    }
    Ok(list)
}

/// Fields as items, texts that say nothing left out.
pub fn set_fields<'a>(
    dict: &Bound<'_, PyDict>,
    fields: impl IntoIterator<Item = &'a (&'static str, Value)>,
) -> PyResult<()> {
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
