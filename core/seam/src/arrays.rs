//! Memory as numpy sees it: inputs wrapped without a copy, outputs borrowed.

use crate::numpy::Array;
use crate::tensors::{packed, strings, wrapped};
use crate::texts::PackedTexts;
use bytes::Bytes;
use engine::queue::batch::OutputView;
use engine::tensor::{Datatype, Shape};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// An input as a read-only array; strings become an object array of `str`.
pub fn input<'py>(
    py: Python<'py>,
    datatype: Datatype,
    shape: &[i64],
    data: &Bytes,
) -> PyResult<Bound<'py, PyAny>> {
    if datatype == Datatype::Bytes { strings(py, shape, data) } else { wrapped(py, datatype, shape, data) }
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

fn datatype_of(array: &Array<'_>, declared: Datatype) -> PyResult<Datatype> {
    match array.datatype() {
        Some(Datatype::Uint16) if declared == Datatype::Bf16 => Ok(Datatype::Bf16),
        Some(found) => Ok(found),
        None => Err(PyTypeError::new_err("an output has a dtype that the protocol cannot carry")),
    }
}
