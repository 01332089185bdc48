//! Counters as Python dictionaries.

use engine::stats::{BatchTimes, Timed};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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

    /// Triton's `ModelStatistics` as a dict; every key is always there.
    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = &self.inner;
        let inference = PyDict::new(py);
        for (name, timed) in [
            ("success", &stats.success),
            ("fail", &stats.fail),
            ("queue", &stats.queued),
            ("compute_input", &stats.compute_input),
            ("compute_infer", &stats.compute_infer),
            ("compute_output", &stats.compute_output),
        ] {
            inference.set_item(name, timed_dict(py, timed)?)?;
        }
        for name in ["cache_hit", "cache_miss"] {
            inference.set_item(name, duration(py, 0, 0)?)?;
        }
        let batches = PyList::empty(py);
        for (rows, times) in stats.by_rows() {
            batches.append(batch_dict(py, rows, &times)?)?;
        }
        let dict = PyDict::new(py);
        dict.set_item("name", &*stats.model)?;
        dict.set_item("version", stats.version.to_string())?;
        dict.set_item("last_inference", stats.last_inference.load(Relaxed))?;
        dict.set_item("inference_count", stats.inferences.load(Relaxed))?;
        dict.set_item("execution_count", stats.executions.load(Relaxed))?;
        dict.set_item("inference_stats", inference)?;
        dict.set_item("response_stats", PyDict::new(py))?;
        dict.set_item("batch_stats", batches)?;
        dict.set_item("memory_usage", PyList::empty(py))?;
        Ok(dict)
    }
}

fn duration<'py>(py: Python<'py>, count: u64, ns: u64) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("count", count)?;
    dict.set_item("ns", ns)?;
    Ok(dict)
}

fn timed_dict<'py>(py: Python<'py>, timed: &Timed) -> PyResult<Bound<'py, PyDict>> {
    let (count, ns) = timed.get();
    duration(py, count, ns)
}

fn batch_dict<'py>(py: Python<'py>, rows: usize, times: &BatchTimes) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("batch_size", rows)?;
    dict.set_item("compute_input", duration(py, times.runs, times.input_ns)?)?;
    dict.set_item("compute_infer", duration(py, times.runs, times.infer_ns)?)?;
    dict.set_item("compute_output", duration(py, times.runs, times.output_ns)?)?;
    Ok(dict)
}
