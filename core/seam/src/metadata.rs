//! Files of TFX's messages, before protobuf's own package reads them.

use engine::codec::counted::counted;
use engine::codec::tensorflow::{masked, records};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::HashMap;

/// See [`engine::codec::counted`].
#[pyfunction]
fn count_messages(py: Python<'_>, data: &[u8], layout: Vec<HashMap<u32, usize>>, most: usize) -> usize {
    py.detach(|| counted(data, &layout, most))
}

/// The records of a TFRecord file, of which it has `most` at most.
///
/// Raises `ValueError` naming the one that is damaged, or saying that there are more.
#[pyfunction]
fn tfrecords<'py>(py: Python<'py>, file: &[u8], most: usize) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let read = || {
        let mut all = Vec::new();
        for (number, record) in (1..).zip(records(file)) {
            if number > most {
                return Err(format!("it has more than {most}"));
            }
            all.push(record.map_err(|error| format!("record {number}: {}", error.message))?);
        }
        Ok(all)
    };
    let all = py.detach(read).map_err(PyValueError::new_err)?;
    Ok(all.into_iter().map(|record| PyBytes::new(py, record)).collect())
}

/// The checksum of `data` as TFRecord files have it.
#[pyfunction]
fn masked_crc32c(py: Python<'_>, data: &[u8]) -> u32 {
    py.detach(|| masked(data))
}

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(count_messages, module)?)?;
    module.add_function(wrap_pyfunction!(tfrecords, module)?)?;
    module.add_function(wrap_pyfunction!(masked_crc32c, module)?)
}
