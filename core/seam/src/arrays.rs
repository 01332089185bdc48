//! Memory as numpy sees it: inputs wrapped without a copy, outputs borrowed.

use crate::numpy::{self, Array};
use crate::texts::PackedTexts;
use bytes::Bytes;
use engine::codec::bytes_tensor;
use engine::memory;
use engine::queue::batch::OutputView;
use engine::tensor::{Datatype, Shape};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

/// Keeps an input's memory alive for as long as an array points at it.
#[pyclass(frozen, module = "serving._core")]
struct Owner {
    _data: Bytes,
}

/// An input as a read-only array; strings become an object array of `str`.
pub fn input<'py>(
    py: Python<'py>,
    datatype: Datatype,
    shape: &[i64],
    data: &Bytes,
) -> PyResult<Bound<'py, PyAny>> {
    if datatype == Datatype::Bytes { strings(py, shape, data) } else { wrapped(py, datatype, shape, data) }
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

/// One output of a run: its memory, by address, and what keeps it alive.
pub struct Output<'py> {
    datatype: Datatype,
    shape: Shape,
    address: usize,
    len: usize,
    /// Strings are laid out anew.
    own: Vec<u8>,
    _keep: Bound<'py, PyAny>,
}

/// The part of an output that crosses into code without the GIL.
pub struct RawOutput {
    datatype: Datatype,
    shape: Shape,
    address: usize,
    len: usize,
}

impl RawOutput {
    /// # Safety
    /// The output it was made of must be alive, and its memory unchanged.
    pub unsafe fn view<'a>(&self) -> OutputView<'a> {
        let data = if self.len == 0 {
            &[][..]
        } else {
            // SAFETY: by the caller's promise; address and length were taken from the array.
            unsafe { std::slice::from_raw_parts(self.address as *const u8, self.len) }
        };
        OutputView { datatype: self.datatype, shape: self.shape.clone(), data }
    }
}

impl<'py> Output<'py> {
    /// From an array, packed texts, or (address, datatype, shape).
    pub fn read(value: &Bound<'py, PyAny>, declared: Datatype) -> PyResult<Self> {
        if let Ok(texts) = value.cast::<PackedTexts>() {
            return Ok(Output::packed(texts));
        }
        if value.is_instance_of::<PyTuple>() {
            let (address, datatype, shape) = value.extract::<(usize, String, Vec<i64>)>()?;
            return Output::at(value, address, &datatype, &shape);
        }
        let array = Array::of(value)?
            .ok_or_else(|| PyTypeError::new_err("an output is no array and no (address, datatype, shape)"))?;
        let array = if array.is_plain() { array } else { array.to_plain()? };
        let shape: Shape = array.shape().iter().map(|&dim| dim as i64).collect();
        let datatype = datatype_of(&array, declared)?;
        if datatype == Datatype::Bytes {
            return Output::strings(array, shape);
        }
        let address = array.data() as usize;
        let len = array.len() * datatype.size().unwrap_or(0);
        Ok(Output { datatype, shape, address, len, own: Vec::new(), _keep: array.into_any() })
    }

    fn at(value: &Bound<'py, PyAny>, address: usize, datatype: &str, shape: &[i64]) -> PyResult<Self> {
        let datatype = Datatype::from_name(datatype)
            .ok_or_else(|| PyValueError::new_err("unknown datatype of an output"))?;
        let size = engine::tensor::byte_size("output", datatype, shape).map_err(crate::value_error)?;
        let len = size.ok_or_else(|| PyValueError::new_err("strings cannot be given by address"))?;
        Ok(Output { datatype, shape: shape.into(), address, len, own: Vec::new(), _keep: value.clone() })
    }

    fn packed(texts: &Bound<'py, PackedTexts>) -> Self {
        let PackedTexts { shape, data } = texts.get();
        Output {
            datatype: Datatype::Bytes,
            shape: shape.clone(),
            address: data.as_ptr() as usize,
            len: data.len(),
            own: Vec::new(),
            _keep: texts.clone().into_any(),
        }
    }

    fn strings(array: Array<'py>, shape: Shape) -> PyResult<Self> {
        let own = packed(&array)?;
        Ok(Output {
            datatype: Datatype::Bytes,
            shape,
            address: own.as_ptr() as usize,
            len: own.len(),
            own,
            _keep: array.into_any(),
        })
    }

    pub fn raw(&self) -> RawOutput {
        debug_assert!(self.own.is_empty() || self.own.as_ptr() as usize == self.address);
        RawOutput { datatype: self.datatype, shape: self.shape.clone(), address: self.address, len: self.len }
    }
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

fn datatype_of(array: &Array<'_>, declared: Datatype) -> PyResult<Datatype> {
    match array.datatype() {
        Some(Datatype::Uint16) if declared == Datatype::Bf16 => Ok(Datatype::Bf16),
        Some(found) => Ok(found),
        None => Err(PyTypeError::new_err("an output has a dtype that the protocol cannot carry")),
    }
}
