//! Requests that another server has logged, as the inputs that a model is run on before it serves.

use crate::arrays;
use crate::signature::{Named, TensorSpec, signature};
use crate::value_error;
use bytes::Bytes;
use engine::codec::prepare::{Limits, Prepared, converted_bytes, prepare};
use engine::codec::tensorflow::{Logged, decode_log, records};
use engine::error::{Error, Result};
use engine::stop::NEVER;
use engine::tensor::Signature;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Of each record of a TFRecord file of `PredictionLog` its inputs, or the name of a log that is of a call
/// that there is not.
///
/// Raises `ValueError` naming the record that is damaged or does not fit.
#[pyfunction]
#[pyo3(signature = (file, inputs, outputs, signatures, *, max_records, max_bytes, max_string_elements))]
#[allow(clippy::too_many_arguments)] // Keyword-only in Python, but for what it is about.
fn warmup_records<'py>(
    py: Python<'py>,
    file: &[u8],
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    signatures: Vec<Named>,
    max_records: usize,
    max_bytes: usize,
    max_string_elements: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let signature = signature(inputs, outputs, signatures)?;
    let bounds = Bounds { max_records, max_bytes, max_string_elements };
    let all = py.detach(|| read(file, &signature, &bounds)).map_err(PyValueError::new_err)?;
    all.into_iter().map(|one| made(py, &signature, one)).collect()
}

struct Bounds {
    max_records: usize,
    max_bytes: usize,
    max_string_elements: usize,
}

enum Record {
    Inputs(Prepared),
    Other(&'static str),
}

fn read(file: &[u8], signature: &Signature, bounds: &Bounds) -> std::result::Result<Vec<Record>, String> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    for (number, record) in records(file).enumerate() {
        if number >= bounds.max_records {
            return Err(format!("it has more than {} records", bounds.max_records));
        }
        let one = record.and_then(|record| read_one(record, signature, &mut bytes, bounds));
        all.push(one.map_err(|error| format!("record {number}: {}", error.message))?);
    }
    Ok(all)
}

fn read_one(record: &[u8], signature: &Signature, bytes: &mut usize, bounds: &Bounds) -> Result<Record> {
    let request = match decode_log(&NEVER, &Bytes::copy_from_slice(record))? {
        Logged::Request(request) => request,
        Logged::Other(name) => return Ok(Record::Other(name)),
    };
    // Before any memory is taken: a few bytes may stand for a tensor of any size.
    *bytes = bytes.saturating_add(converted_bytes(&request).max(record.len()));
    if *bytes > bounds.max_bytes {
        return Err(Error::bad(format!(
            "the inputs up to here take more than {} bytes (setting limits.max_message_bytes)",
            bounds.max_bytes
        )));
    }
    let limits = Limits { max_string_elements: bounds.max_string_elements, stop: &NEVER };
    prepare(&request, signature, &limits).map(Record::Inputs)
}

fn made<'py>(py: Python<'py>, signature: &Signature, record: Record) -> PyResult<Bound<'py, PyAny>> {
    let prepared = match record {
        Record::Inputs(prepared) => prepared,
        Record::Other(name) => return Ok(name.into_pyobject(py)?.into_any()),
    };
    let dict = PyDict::new(py);
    for (spec, input) in signature.inputs.iter().zip(&prepared.inputs) {
        if let Some(tensor) = input {
            let data = tensor.data.here().map_err(value_error)?;
            dict.set_item(&*spec.name, arrays::input(py, spec.datatype, &tensor.shape, &data)?)?;
        }
    }
    Ok(dict.into_any())
}

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(warmup_records, module)?)
}
