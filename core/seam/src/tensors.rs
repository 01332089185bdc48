//! A tensor's bytes as an array, and the texts of an array as bytes.

use crate::numpy::{self, Array};
use bytes::Bytes;
use engine::codec::bytes_tensor;
use engine::memory;
use engine::tensor::Datatype;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// Keeps an input's memory alive for as long as an array points at it.
#[pyclass(frozen, module = "serving._core")]
struct Owner {
    _data: Bytes,
}

pub fn wrapped<'py>(
    py: Python<'py>,
    datatype: Datatype,
    shape: &[i64],
    data: &Bytes,
) -> PyResult<Bound<'py, PyAny>> {
    let owner = Bound::new(py, Owner { _data: data.clone() })?.into_any();
    // SAFETY: `data` holds as many bytes as shape and datatype say, which `prepare` checked when
    // the request was accepted, and the owner keeps them.
    let array = unsafe { Array::over(datatype, &numpy::dims(shape)?, data.as_ptr(), owner)? };
    Ok(array.into_any())
}

pub fn strings<'py>(py: Python<'py>, shape: &[i64], data: &Bytes) -> PyResult<Bound<'py, PyAny>> {
    let array = Array::of_objects(py, &numpy::dims(shape)?)?;
    let count = array.len();
    let mut made = 0;
    for element in bytes_tensor::elements(data).take(count) {
        let text = PyString::new(py, std::str::from_utf8(element).map_err(crate::value_error)?);
        // SAFETY: a fresh, contiguous object array of `count` slots, which hold null and, from
        // the first on, the texts made so far; nobody else has it yet.
        unsafe { *array.data().cast::<*mut ffi::PyObject>().add(made) = text.into_ptr() };
        made += 1;
    }
    if made != count {
        return Err(PyValueError::new_err("a string tensor has not as many elements as its shape"));
    }
    Ok(array.into_any())
}

/// The elements of a plain array of objects, each behind its length.
pub fn packed(array: &Array<'_>) -> PyResult<Vec<u8>> {
    let mut own = Vec::new();
    // SAFETY: a plain object array; its slots are borrowed under the GIL.
    let slots = unsafe {
        let data = array.data().cast::<*mut ffi::PyObject>();
        if array.len() == 0 { &[][..] } else { std::slice::from_raw_parts(data, array.len()) }
    };
    for &slot in slots {
        // SAFETY: as above; null stands for None in object arrays.
        let item = unsafe { Bound::from_borrowed_ptr_or_opt(array.py(), slot) };
        let item = item.ok_or_else(|| PyTypeError::new_err("a string output has an empty element"))?;
        if let Ok(text) = item.cast::<PyString>() {
            append(&mut own, text.to_str()?.as_bytes())?;
        } else if let Ok(bytes) = item.cast::<PyBytes>() {
            append(&mut own, bytes.as_bytes())?;
        } else {
            return Err(PyTypeError::new_err("a string output has an element that is no string"));
        }
    }
    Ok(own)
}

fn append(own: &mut Vec<u8>, element: &[u8]) -> PyResult<()> {
    memory::more(own, bytes_tensor::room(element)).map_err(|error| PyMemoryError::new_err(error.message))?;
    bytes_tensor::push(own, element);
    Ok(())
}
