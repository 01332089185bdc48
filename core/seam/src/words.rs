//! What Python asks the core, so that both say the same: which names and versions there can be,
//! and what clients are told of those that don't answer. Texts that are no UTF-8 are read with
//! marks in their place; what is refused is a `ValueError` in words for clients.

use engine::codec::names;
use engine::doors::hosts::Own;
use engine::error::Result;
use engine::routes::words;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

fn refused<T>(outcome: Result<T>) -> PyResult<T> {
    outcome.map_err(|error| PyValueError::new_err(error.message))
}

/// See [`engine::doors::hosts::Own`].
#[pyfunction]
fn is_own_host(
    host: &Bound<'_, PyString>,
    name: &str,
    address: &str,
    allowed: Vec<String>,
) -> PyResult<bool> {
    let address = address.parse().map_err(crate::value_error)?;
    Ok(Own { name, address, allowed: &allowed }.has(&host.to_string_lossy()))
}

#[pyfunction]
fn parse_version(text: &Bound<'_, PyString>) -> PyResult<Option<u64>> {
    refused(engine::routes::parse_version(&text.to_string_lossy()))
}

/// See [`engine::routes::alias`].
#[pyfunction]
fn check_alias(name: &Bound<'_, PyString>) -> PyResult<()> {
    refused(engine::routes::alias(&name.to_string_lossy()).map(|_| ()))
}

/// See [`names::model`].
#[pyfunction]
fn check_model_length(name: &Bound<'_, PyString>) -> PyResult<()> {
    refused(names::model(&name.to_string_lossy()).map(|_| ()))
}

/// See [`names::plain_model`].
#[pyfunction]
fn check_model_name(name: &Bound<'_, PyString>) -> PyResult<()> {
    refused(names::plain_model(&name.to_string_lossy()).map(|_| ()))
}

/// See [`names::encoded_model`].
#[pyfunction]
fn decode_model_name(encoded: &Bound<'_, PyString>) -> PyResult<String> {
    refused(names::encoded_model(&encoded.to_string_lossy()))
}

/// See [`engine::tensor::shown`].
#[pyfunction]
fn shown(text: &Bound<'_, PyString>) -> String {
    engine::tensor::shown(&text.to_string_lossy())
}

/// See [`engine::near::nearest`]. Other elements than text are passed over.
#[pyfunction]
fn nearest(name: &str, known: &Bound<'_, PyTuple>) -> Option<String> {
    let texts = texts(known);
    engine::near::nearest(name, texts.iter().filter_map(|text| text.to_str().ok())).map(str::to_owned)
}

fn texts<'py>(known: &Bound<'py, PyTuple>) -> Vec<Bound<'py, PyString>> {
    known.iter().filter_map(|item| item.cast_into::<PyString>().ok()).collect()
}

#[pyfunction]
fn unknown_model(name: &Bound<'_, PyString>, known: &Bound<'_, PyTuple>) -> String {
    let texts = texts(known);
    let known: Vec<&str> = texts.iter().filter_map(|text| text.to_str().ok()).collect();
    words::unknown_model(&name.to_string_lossy(), known.iter().copied(), known.len())
}

#[pyfunction]
fn unavailable_model(name: &Bound<'_, PyString>, why: &str) -> String {
    words::unavailable_model(&name.to_string_lossy(), why)
}

#[pyfunction]
fn unready_version(name: &Bound<'_, PyString>, version: u64, why: &str) -> String {
    words::unready_version(&name.to_string_lossy(), version, why)
}

#[pyfunction]
#[pyo3(signature = (name, version, on_disk, loaded))]
fn unknown_version(
    name: &Bound<'_, PyString>,
    version: u64,
    on_disk: Option<&str>,
    loaded: Vec<u64>,
) -> String {
    words::unknown_version(&name.to_string_lossy(), version, on_disk, loaded.into_iter())
}

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(is_own_host, module)?)?;
    module.add_function(wrap_pyfunction!(parse_version, module)?)?;
    module.add_function(wrap_pyfunction!(check_alias, module)?)?;
    module.add_function(wrap_pyfunction!(check_model_length, module)?)?;
    module.add_function(wrap_pyfunction!(check_model_name, module)?)?;
    module.add_function(wrap_pyfunction!(decode_model_name, module)?)?;
    module.add_function(wrap_pyfunction!(shown, module)?)?;
    module.add_function(wrap_pyfunction!(nearest, module)?)?;
    module.add_function(wrap_pyfunction!(unknown_model, module)?)?;
    module.add_function(wrap_pyfunction!(unavailable_model, module)?)?;
    module.add_function(wrap_pyfunction!(unready_version, module)?)?;
    module.add_function(wrap_pyfunction!(unknown_version, module)?)
}
