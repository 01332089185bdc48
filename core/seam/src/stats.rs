//! Counters as Python dictionaries.

use engine::figures::{Figures, Times};
use engine::stats::BatchTimes;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;

#[pyclass(frozen, module = "serving._core")]
pub struct Stats {
    pub inner: Arc<engine::stats::Stats>,
}

#[pymethods]
impl Stats {
    #[new]
    fn new(model: &str, version: u64) -> Self {
        Stats { inner: engine::stats::Stats::new(model, version) }
    }

    #[getter]
    fn asked(&self) -> bool {
        self.inner.is_asked()
    }

    /// Triton's `ModelStatistics` as a dict; every key is always there.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = Figures::of(&self.inner);
        let inference = PyDict::new(py);
        for (name, times) in [
            ("success", figures.success),
            ("fail", figures.fail),
            ("queue", figures.queued),
            ("compute_input", figures.compute_input),
            ("compute_infer", figures.compute_infer),
            ("compute_output", figures.compute_output),
        ] {
            inference.set_item(name, duration(py, times)?)?;
        }
        for name in ["cache_hit", "cache_miss"] {
            inference.set_item(name, duration(py, Times { count: 0, ns: 0 })?)?;
        }
        let batches = PyList::empty(py);
        for (rows, times) in self.inner.by_rows() {
            batches.append(batch_dict(py, rows, &times)?)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("name", &*figures.model)?;
        dict.set_item("version", figures.version.to_string())?;
        dict.set_item("last_inference", figures.last_inference)?;
        dict.set_item("inference_count", figures.rows)?;
        dict.set_item("execution_count", figures.runs)?;
        dict.set_item("inference_stats", inference)?;
        dict.set_item("response_stats", PyDict::new(py))?;
        dict.set_item("batch_stats", batches)?;
        dict.set_item("memory_usage", PyList::empty(py))?;
        Ok(dict)
    }
}

fn duration<'py>(py: Python<'py>, times: Times) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("count", times.count)?;
    dict.set_item("ns", times.ns)?;
    Ok(dict)
}

fn batch_dict<'py>(py: Python<'py>, rows: usize, times: &BatchTimes) -> PyResult<Bound<'py, PyDict>> {
    let runs = |ns| Times { count: times.runs, ns };
    let dict = PyDict::new(py);
    dict.set_item("batch_size", rows)?;
    dict.set_item("compute_input", duration(py, runs(times.input_ns))?)?;
    dict.set_item("compute_infer", duration(py, runs(times.infer_ns))?)?;
    dict.set_item("compute_output", duration(py, runs(times.output_ns))?)?;
    Ok(dict)
}
