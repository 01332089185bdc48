//! Batches as Python runs them.

use crate::arrays::{self, Output};
use crate::signature::Names;
use crate::texts::PackedTexts;
use crate::value_error;
use bytes::Bytes;
use engine::queue::batch::{Batch as Inner, Gathered};
use engine::tensor::{Datatype, Shape};
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySequence};
use std::sync::Arc;

/// What one run takes from a queue. Dropped unanswered, it fails its requests.
#[pyclass(frozen, module = "serving._core")]
pub struct Batch {
    inner: Mutex<Option<Held>>,
    names: Arc<Names>,
}

struct Held {
    batch: Inner,
    /// `None` until a half of a split batch is asked for its inputs.
    inputs: Option<Vec<Gathered>>,
}

impl Batch {
    pub fn new(batch: Inner, inputs: Vec<Gathered>, names: Arc<Names>) -> Self {
        Batch { inner: Mutex::new(Some(Held { batch, inputs: Some(inputs) })), names }
    }

    fn with<T>(&self, read: impl FnOnce(&mut Held) -> T) -> PyResult<T> {
        let mut held = self.inner.lock();
        held.as_mut().map(read).ok_or_else(answered)
    }

    fn take(&self) -> PyResult<Held> {
        self.inner.lock().take().ok_or_else(answered)
    }

    /// What `make` makes of each input that is there, by its name.
    fn made<'py>(
        &self,
        py: Python<'py>,
        make: impl Fn(Datatype, &Shape, &Bytes) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        // Taken out meanwhile: the lock is never held while waiting for the GIL.
        let mut held = self.take()?;
        let gathered = match held.inputs.take() {
            Some(inputs) => Ok(inputs),
            None => py.detach(|| held.batch.gather()),
        };
        let datatypes: Vec<_> = held.batch.queue().signature().inputs.iter().map(|s| s.datatype).collect();
        held.inputs = gathered.as_ref().ok().cloned();
        *self.inner.lock() = Some(held);
        let inputs = gathered.map_err(value_error)?;
        let dict = PyDict::new(py);
        for ((name, datatype), input) in self.names.inputs.iter().zip(datatypes).zip(&inputs) {
            if let Some((shape, data)) = input {
                dict.set_item(name, make(datatype, shape, data)?)?;
            }
        }
        Ok(dict)
    }
}

fn answered() -> PyErr {
    PyRuntimeError::new_err("this batch has been answered")
}

#[pymethods]
impl Batch {
    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.made(py, |datatype, shape, data| arrays::input(py, datatype, shape, data))
    }

    #[getter]
    fn packed_inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.made(py, |datatype, shape, data| match datatype {
            Datatype::Bytes => {
                let texts = PackedTexts { shape: shape.clone(), data: data.clone() };
                Ok(Bound::new(py, texts)?.into_any())
            }
            _ => arrays::input(py, datatype, shape, data),
        })
    }

    #[getter]
    fn weight(&self) -> PyResult<(usize, usize, usize)> {
        let weight = self.with(|held| held.batch.weight())?;
        Ok((weight.texts, weight.text_bytes, weight.bytes))
    }

    #[getter]
    fn rows(&self) -> PyResult<usize> {
        self.with(|held| held.batch.rows())
    }

    #[getter]
    fn requests(&self) -> PyResult<usize> {
        self.with(|held| held.batch.requests())
    }

    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let places = self.with(|held| held.batch.outputs().to_vec())?;
        if places.len() == self.names.outputs.len() {
            return Ok(self.names.all_outputs.bind(py).clone());
        }
        PyList::new(py, places.iter().map(|&place| self.names.outputs[place].clone_ref(py)))
    }

    #[getter]
    fn deadline(&self) -> PyResult<Option<f64>> {
        self.with(|held| held.batch.time_left().map(|left| left.as_secs_f64()))
    }

    #[getter]
    fn of_copies(&self) -> PyResult<bool> {
        self.with(|held| held.batch.is_of_copies())
    }

    fn is_abandoned(&self) -> bool {
        self.inner.lock().as_ref().is_some_and(|held| held.batch.is_abandoned())
    }

    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        let held = self.take()?;
        py.detach(|| held.batch.abandon());
        Ok(())
    }

    fn step_aside(&self) -> PyResult<()> {
        self.with(|held| {
            held.batch.step_aside();
            // Asking for the inputs again is what takes the right to run.
            held.inputs = None;
        })
    }

    #[allow(clippy::result_large_err)] // The engine's: batches, whichever it is.
    fn split(&self, py: Python<'_>) -> PyResult<Option<(Batch, Batch)>> {
        let held = self.take()?;
        match py.detach(|| held.batch.split()) {
            Ok((first, second)) => {
                let half = |batch| Batch {
                    inner: Mutex::new(Some(Held { batch, inputs: None })),
                    names: self.names.clone(),
                };
                Ok(Some((half(first), half(second))))
            }
            Err(batch) => {
                *self.inner.lock() = Some(Held { batch, inputs: held.inputs });
                Ok(None)
            }
        }
    }

    fn complete(&self, py: Python<'_>, outputs: &Bound<'_, PySequence>) -> PyResult<()> {
        let declared: Vec<_> = self.with(|held| {
            let signature = held.batch.queue().signature();
            held.batch.outputs().iter().map(|&place| signature.outputs[place].datatype).collect()
        })?;
        if outputs.len()? != declared.len() {
            return Err(PyValueError::new_err(format!("{} outputs expected", declared.len())));
        }
        let mut read = Vec::with_capacity(declared.len());
        for (i, datatype) in declared.into_iter().enumerate() {
            read.push(Output::read(&outputs.get_item(i)?, datatype)?);
        }
        let raw: Vec<_> = read.iter().map(Output::raw).collect();
        let mut held = self.take()?;
        let done = py.detach(|| {
            // SAFETY: `read` outlives this call and holds the arrays; nobody else
            // has them, or may write to them, while the batch is answered.
            let views: Vec<_> = raw.iter().map(|output| unsafe { output.view() }).collect();
            held.batch.complete(&views)
        });
        if done.is_err() {
            *self.inner.lock() = Some(held);
        }
        done.map_err(value_error)
    }

    #[pyo3(signature = (word, message, detail = "", *, harmful = false))]
    fn fail(&self, py: Python<'_>, word: &str, message: String, detail: &str, harmful: bool) -> PyResult<()> {
        let mut error = crate::error(word, message, detail)?.quoting_nothing();
        if harmful {
            error = error.harmful();
        }
        let held = self.take()?;
        py.detach(|| held.batch.fail(&error));
        Ok(())
    }
}
