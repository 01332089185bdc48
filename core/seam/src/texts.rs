//! A tensor of texts as it travels: in Python one object, however many they are.

use crate::numpy::Array;
use crate::tensors;
use bytes::Bytes;
use engine::codec::bytes_tensor;
use engine::memory;
use engine::tensor::{self, Datatype, Shape};
use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// As many texts as the shape says, each behind its length, all of them UTF-8.
#[pyclass(frozen, module = "serving._core")]
pub struct PackedTexts {
    pub shape: Shape,
    pub data: Bytes,
}

#[pymethods]
impl PackedTexts {
    /// Of a copy: whoever else sees the memory changes nothing once it is checked.
    #[new]
    fn new(py: Python<'_>, data: &Bound<'_, PyAny>, shape: Vec<i64>) -> PyResult<Self> {
        let count = tensor::elements("texts", &shape).map_err(crate::value_error)?;
        let plain = |array: &Array<'_>| array.is_plain() && array.datatype() == Some(Datatype::Uint8);
        let array = Array::of(data)?
            .filter(plain)
            .ok_or_else(|| PyTypeError::new_err("packed texts are a plain array of uint8"))?;
        let (address, len) = (array.data() as usize, array.len());
        let copied = py.detach(|| {
            let mut copy = memory::room::<u8>(len)?;
            if len > 0 {
                // SAFETY: the caller holds the array, whose memory is mapped while it lives; the
                // copy has room for it. Another process may write there meanwhile: the bytes are
                // looked at only in the copy.
                unsafe {
                    std::ptr::copy_nonoverlapping(address as *const u8, copy.as_mut_ptr(), len);
                    copy.set_len(len);
                }
            }
            let flaw = bytes_tensor::flaw(&copy, count);
            Ok((Bytes::from(copy), flaw))
        });
        let (data, flaw) =
            copied.map_err(|error: engine::error::Error| PyMemoryError::new_err(error.message))?;
        match flaw {
            None => Ok(PackedTexts { shape: shape.into(), data }),
            Some(words) => Err(crate::value_error(words)),
        }
    }

    /// Of an array of `str` or `bytes`.
    #[staticmethod]
    fn of(py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Self> {
        let array = Array::of(array)?
            .filter(|array| array.datatype() == Some(Datatype::Bytes))
            .ok_or_else(|| PyTypeError::new_err("texts are packed from an array of objects"))?;
        let array = if array.is_plain() { array } else { array.to_plain()? };
        let (count, shape) = (array.len(), array.shape().iter().map(|&dim| dim as i64).collect());
        let data = Bytes::from(tensors::packed(&array)?);
        match py.detach(|| bytes_tensor::flaw(&data, count)) {
            None => Ok(PackedTexts { shape, data }),
            Some(words) => Err(crate::value_error(words)),
        }
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shape.iter())
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let len = i64::try_from(self.data.len()).map_err(crate::value_error)?;
        tensors::wrapped(py, Datatype::Uint8, &[len], &self.data)
    }

    fn objects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        tensors::strings(py, &self.shape, &self.data)
    }
}
