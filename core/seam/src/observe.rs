//! Samples, and what is known of anything, as Python takes them.

use crate::value_error;
use bytes::Bytes;
use engine::fields::Value;
use engine::observe::line;
use engine::observe::sample::{Sample as Inner, Tensor};
use engine::stats::Protocol;
use engine::tensor::Datatype;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use std::time::Duration;

/// Name, datatype, shape, raw bytes.
type Given = (String, String, Vec<i64>, Vec<u8>);

/// A finished request with its tensors. They become Python objects when asked for.
#[pyclass(frozen, module = "serving._core")]
pub struct Sample {
    pub inner: Inner,
}

#[pymethods]
impl Sample {
    /// For tests: the bytes of tensors are not held against their shapes.
    #[new]
    #[pyo3(signature = (*, model, version, protocol, at, inputs, outputs, id = "",
        request_id = "", total_s = 0.0, queue_s = 0.0, compute_s = 0.0, word = "",
        message = "", priority = 0, timeout_us = 0))]
    #[allow(clippy::too_many_arguments)] // A keyword-only Python constructor.
    fn new(
        model: String,
        version: u64,
        protocol: &str,
        at: f64,
        inputs: Vec<Given>,
        outputs: Vec<Given>,
        id: &str,
        request_id: &str,
        total_s: f64,
        queue_s: f64,
        compute_s: f64,
        word: &str,
        message: &str,
        priority: u64,
        timeout_us: u64,
    ) -> PyResult<Self> {
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.name() == protocol)
            .ok_or_else(|| value_error(format!("unknown protocol '{protocol}'")))?;
        let inner = Inner {
            model,
            version,
            protocol,
            id: id.to_owned(),
            request_id: request_id.to_owned(),
            at_ns: u64::try_from(seconds(at)?.as_nanos()).map_err(value_error)?,
            total: seconds(total_s)?,
            queue: seconds(queue_s)?,
            compute: seconds(compute_s)?,
            word: if word.is_empty() { "" } else { crate::word(word)?.name() },
            message: message.to_owned(),
            inputs: given(inputs)?,
            outputs: given(outputs)?,
            priority,
            timeout_us,
        };
        Ok(Sample { inner })
    }

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

fn seconds(given: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given).map_err(value_error)
}

fn given(tensors: Vec<Given>) -> PyResult<Vec<Tensor>> {
    let made = tensors.into_iter().map(|(name, datatype, shape, data)| {
        let datatype = Datatype::from_name(&datatype)
            .ok_or_else(|| value_error(format!("unknown datatype '{datatype}'")))?;
        Ok(Tensor { name: name.into(), datatype, shape: shape.into(), data: Bytes::from(data) })
    });
    made.collect()
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
