//! Memory as numpy sees it: inputs wrapped without a copy, outputs borrowed.

use bytes::Bytes;
use engine::codec::bytes_tensor;
use engine::memory;
use engine::queue::batch::OutputView;
use engine::tensor::{Datatype, Shape};
use numpy::npyffi::{NPY_ARRAY_CARRAY_RO, NPY_TYPES, NpyTypes, PY_ARRAY_API, PyArrayObject, get_type_object};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

/// Keeps an input's memory alive for as long as an array points at it.
#[pyclass(frozen, module = "serving._core")]
struct Owner {
    _data: Bytes,
}

fn npy_type(datatype: Datatype) -> NPY_TYPES {
    match datatype {
        Datatype::Bool => NPY_TYPES::NPY_BOOL,
        Datatype::Uint8 => NPY_TYPES::NPY_UBYTE,
        // BF16 has no numpy type: its bits travel as uint16.
        Datatype::Uint16 | Datatype::Bf16 => NPY_TYPES::NPY_USHORT,
        Datatype::Uint32 => NPY_TYPES::NPY_UINT,
        Datatype::Uint64 => NPY_TYPES::NPY_ULONGLONG,
        Datatype::Int8 => NPY_TYPES::NPY_BYTE,
        Datatype::Int16 => NPY_TYPES::NPY_SHORT,
        Datatype::Int32 => NPY_TYPES::NPY_INT,
        Datatype::Int64 => NPY_TYPES::NPY_LONGLONG,
        Datatype::Fp16 => NPY_TYPES::NPY_HALF,
        Datatype::Fp32 => NPY_TYPES::NPY_FLOAT,
        Datatype::Fp64 => NPY_TYPES::NPY_DOUBLE,
        Datatype::Bytes => NPY_TYPES::NPY_OBJECT,
    }
}

/// `long` is 64 bits wide where we run, and the type ORT names int64 by.
fn native(kind: NPY_TYPES) -> i32 {
    match kind {
        NPY_TYPES::NPY_LONGLONG if size_of::<std::ffi::c_long>() == 8 => NPY_TYPES::NPY_LONG as i32,
        NPY_TYPES::NPY_ULONGLONG if size_of::<std::ffi::c_ulong>() == 8 => NPY_TYPES::NPY_ULONG as i32,
        kind => kind as i32,
    }
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

fn new_array<'py>(
    py: Python<'py>,
    kind: i32,
    shape: &[i64],
    data: *mut std::ffi::c_void,
) -> PyResult<Bound<'py, PyAny>> {
    let mut dims: Vec<isize> = Vec::with_capacity(shape.len());
    for &dim in shape {
        dims.push(isize::try_from(dim).map_err(crate::value_error)?);
    }
    let rank = i32::try_from(dims.len()).map_err(crate::value_error)?;
    // SAFETY: the GIL is held; the descriptor's reference is stolen; `dims` has
    // `rank` entries; `data` is null (numpy allocates) or holds as many bytes as
    // shape and type say, which `prepare` checked when the request was accepted.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            get_type_object(py, NpyTypes::PyArray_Type),
            PY_ARRAY_API.PyArray_DescrFromType(py, kind),
            rank,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            data,
            if data.is_null() { 0 } else { NPY_ARRAY_CARRAY_RO },
            std::ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, array)
    }
}

fn wrapped<'py>(
    py: Python<'py>,
    datatype: Datatype,
    shape: &[i64],
    data: &Bytes,
) -> PyResult<Bound<'py, PyAny>> {
    let array = new_array(py, native(npy_type(datatype)), shape, data.as_ptr().cast_mut().cast())?;
    let owner = Bound::new(py, Owner { _data: data.clone() })?;
    // SAFETY: `array` is a fresh array; the owner's reference is stolen, also on error.
    let failed = unsafe {
        PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast::<PyArrayObject>(), owner.into_ptr())
    };
    if failed == 0 { Ok(array) } else { Err(PyErr::fetch(py)) }
}

fn strings<'py>(py: Python<'py>, shape: &[i64], data: &Bytes) -> PyResult<Bound<'py, PyAny>> {
    let array = new_array(py, NPY_TYPES::NPY_OBJECT as i32, shape, std::ptr::null_mut())?;
    let count = array.cast::<PyUntypedArray>()?.len();
    let mut made = 0;
    for element in bytes_tensor::elements(data).take(count) {
        let text = PyString::new(py, std::str::from_utf8(element).map_err(crate::value_error)?);
        // SAFETY: a fresh, contiguous object array of `count` slots, which hold null and, from
        // the first on, the texts made so far; nobody else has it yet.
        unsafe {
            let slots = (*array.as_ptr().cast::<PyArrayObject>()).fields.data.cast::<*mut ffi::PyObject>();
            *slots.add(made) = text.into_ptr();
        }
        made += 1;
    }
    if made != count {
        return Err(PyValueError::new_err("a string tensor has not as many elements as its shape"));
    }
    Ok(array)
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
    /// From an array, or from (address, datatype, shape).
    pub fn read(value: &Bound<'py, PyAny>, declared: Datatype) -> PyResult<Self> {
        if value.is_instance_of::<PyTuple>() {
            let (address, datatype, shape) = value.extract::<(usize, String, Vec<i64>)>()?;
            return Output::at(value, address, &datatype, &shape);
        }
        let array = value
            .cast::<PyUntypedArray>()
            .map_err(|_| PyTypeError::new_err("an output is no array and no (address, datatype, shape)"))?;
        let array = contiguous(array)?;
        let shape: Shape = array.shape().iter().map(|&d| d as i64).collect();
        let datatype = datatype_of(&array, declared)?;
        if datatype == Datatype::Bytes {
            return Output::strings(&array, shape);
        }
        // SAFETY: a valid array object, read under the GIL.
        let address = unsafe { (*array.as_array_ptr()).fields.data as usize };
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

    fn strings(array: &Bound<'py, PyUntypedArray>, shape: Shape) -> PyResult<Self> {
        let mut own = Vec::new();
        // SAFETY: a contiguous object array; its slots are borrowed under the GIL.
        let slots = unsafe {
            let data = (*array.as_array_ptr()).fields.data.cast::<*mut ffi::PyObject>();
            if array.is_empty() { &[][..] } else { std::slice::from_raw_parts(data, array.len()) }
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
        Ok(Output {
            datatype: Datatype::Bytes,
            shape,
            address: own.as_ptr() as usize,
            len: own.len(),
            own,
            _keep: array.clone().into_any(),
        })
    }

    pub fn raw(&self) -> RawOutput {
        debug_assert!(self.own.is_empty() || self.own.as_ptr() as usize == self.address);
        RawOutput { datatype: self.datatype, shape: self.shape.clone(), address: self.address, len: self.len }
    }
}

fn append(own: &mut Vec<u8>, element: &[u8]) -> PyResult<()> {
    memory::more(own, bytes_tensor::room(element)).map_err(|error| PyMemoryError::new_err(error.message))?;
    bytes_tensor::push(own, element);
    Ok(())
}

/// ORT's outputs are contiguous and native; anything else is brought into that form.
fn contiguous<'py>(array: &Bound<'py, PyUntypedArray>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if array.is_c_contiguous() && array.dtype().is_native_byteorder() != Some(false) {
        return Ok(array.clone());
    }
    let numpy = array.py().import("numpy")?;
    let native = array.dtype().call_method1("newbyteorder", ("=",))?;
    let copy = numpy.call_method1("array", (array, native))?.call_method1("copy", ("C",))?;
    Ok(copy.cast_into::<PyUntypedArray>()?)
}

fn datatype_of(array: &Bound<'_, PyUntypedArray>, declared: Datatype) -> PyResult<Datatype> {
    let dtype = array.dtype();
    let found = match (dtype.kind(), dtype.itemsize()) {
        (b'b', 1) => Datatype::Bool,
        (b'u', 1) => Datatype::Uint8,
        (b'u', 2) if declared == Datatype::Bf16 => Datatype::Bf16,
        (b'u', 2) => Datatype::Uint16,
        (b'u', 4) => Datatype::Uint32,
        (b'u', 8) => Datatype::Uint64,
        (b'i', 1) => Datatype::Int8,
        (b'i', 2) => Datatype::Int16,
        (b'i', 4) => Datatype::Int32,
        (b'i', 8) => Datatype::Int64,
        (b'f', 2) => Datatype::Fp16,
        (b'f', 4) => Datatype::Fp32,
        (b'f', 8) => Datatype::Fp64,
        (b'O', _) => Datatype::Bytes,
        _ => return Err(PyTypeError::new_err("an output has a dtype that the protocol cannot carry")),
    };
    Ok(found)
}
