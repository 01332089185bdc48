//! `serving._core`: what Python pulls from the engine. Thin: it wraps arrays and
//! exceptions, and waits without the GIL.

mod arrays;
mod batch;
mod calls;
mod checks;
mod figures;
mod metadata;
mod numpy;
mod observe;
mod onnx;
mod queue;
mod scheduling;
mod server;
mod shadow;
mod signature;
mod spans;
mod stats;
mod tensors;
mod texts;
mod warmup;
mod words;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::time::Duration;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    /// mimalloc's: hand free memory of this thread, and what no thread owns, to the system.
    fn mi_collect(force: bool);
}

fn give_memory_back() {
    // SAFETY: it may be called on any thread at any time, and takes no pointer.
    unsafe { mi_collect(true) }
}

/// The serialized `FileDescriptorSet` of `protos/`.
#[pyfunction]
fn descriptors(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, engine::DESCRIPTORS)
}

/// Sleep until a caller has left since the last time; see [`engine::queue::departures`].
#[pyfunction]
fn wait_for_departures(py: Python<'_>) {
    py.detach(|| engine::queue::departures::DEPARTURES.wait());
}

/// See [`engine::doors::calls::LEFT`].
#[pyfunction]
fn wait_for_left_calls(py: Python<'_>) {
    py.detach(|| engine::doors::calls::LEFT.wait());
}

/// See [`engine::queue::first_requests`].
#[pyfunction]
#[pyo3(signature = (timeout = None))]
fn wait_for_first_requests(py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<u64>> {
    let timeout = timeout.map(Duration::try_from_secs_f64).transpose().map_err(value_error)?;
    Ok(py.detach(|| engine::queue::first_requests::FIRST_REQUESTS.wait(timeout)))
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    engine::memory::set_give_back(give_memory_back);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("DEVELOPMENT_BUILD", engine::is_development_build())?;
    module.add_function(wrap_pyfunction!(descriptors, module)?)?;
    words::add(module)?;
    onnx::add(module)?;
    warmup::add(module)?;
    metadata::add(module)?;
    scheduling::add(module)?;
    module.add_function(wrap_pyfunction!(wait_for_departures, module)?)?;
    module.add_function(wrap_pyfunction!(wait_for_left_calls, module)?)?;
    module.add_function(wrap_pyfunction!(wait_for_first_requests, module)?)?;
    module.add_class::<signature::TensorSpec>()?;
    module.add_class::<signature::Schema>()?;
    module.add_class::<checks::Constraint>()?;
    module.add_class::<queue::Queue>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<texts::PackedTexts>()?;
    module.add_class::<stats::Stats>()?;
    module.add_class::<figures::Figures>()?;
    module.add_class::<figures::Histograms>()?;
    figures::add_names(module)?;
    module.add_class::<server::Route>()?;
    module.add_class::<server::Server>()?;
    module.add_class::<calls::Call>()?;
    module.add_class::<observe::Sample>()?;
    module.add_class::<observe::TraceCount>()?;
    module.add_class::<spans::Span>()?;
    module.add_class::<spans::SpanEncoder>()?;
    module.add_function(wrap_pyfunction!(observe::json_lines, module)?)?;
    Ok(())
}

/// An error of the engine as Python knows it.
fn value_error(error: impl std::fmt::Display) -> PyErr {
    pyo3::exceptions::PyValueError::new_err(error.to_string())
}

/// A share of requests: from 0 to 1.
fn rate(name: &str, rate: f64) -> PyResult<f64> {
    if (0.0..=1.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(value_error(format!("{name} is no rate from 0 to 1")))
    }
}

fn per_second(name: &str, value: f64) -> PyResult<f64> {
    if value >= 0.0 { Ok(value) } else { Err(value_error(format!("{name} is no number from 0 on"))) }
}

fn word(name: &str) -> PyResult<engine::error::ErrorCode> {
    engine::error::ErrorCode::from_name(name)
        .ok_or_else(|| value_error(format!("unknown error word '{name}'")))
}

/// An error for clients, from Python's words. What is full is worth another try soon.
fn error(name: &str, message: String, detail: &str) -> PyResult<engine::error::Error> {
    let mut error = engine::error::Error::new(word(name)?, message);
    if error.code == engine::error::ErrorCode::Full {
        error = error.retry(Duration::from_secs(1));
    }
    Ok(if detail.is_empty() { error } else { error.detail(detail) })
}
