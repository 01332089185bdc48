//! The little of numpy's C API that the seam calls, taken from its capsule as every extension does.
//!
//! Source: numpy's installed headers. Places in the table: `__multiarray_api.h`; layouts, type
//! numbers and flags: `ndarraytypes.h`. Only what versions 1 and 2 of its ABI have in common.

use engine::tensor::Datatype;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyCapsule;
use std::ffi::{c_char, c_int, c_long, c_uint, c_void};

/// `NPY_ABI_VERSION` of numpy 1 and 2: another one may lay its structs out anew.
const KNOWN: [c_uint; 2] = [0x0100_0009, 0x0200_0000];

const C_CONTIGUOUS: c_int = 0x0001;
const ALIGNED: c_int = 0x0100;

/// `PyArrayObject_fields`, as far as it is read.
#[repr(C)]
struct Fields {
    _head: ffi::PyObject,
    data: *mut c_void,
    rank: c_int,
    dims: *mut isize,
    _strides: *mut isize,
    _base: *mut ffi::PyObject,
    descr: *mut Descr,
    flags: c_int,
}

/// `PyArray_Descr`: its fields up to the number are the same before and after numpy 2.
#[repr(C)]
struct Descr {
    _head: ffi::PyObject,
    _scalar: *mut ffi::PyTypeObject,
    _kind: c_char,
    _letter: c_char,
    byte_order: c_char,
    _unused: c_char,
    number: c_int,
}

type DescrFromType = unsafe extern "C" fn(c_int) -> *mut Descr;
type SetBaseObject = unsafe extern "C" fn(*mut Fields, *mut ffi::PyObject) -> c_int;
type NewFromDescr = unsafe extern "C" fn(
    *mut ffi::PyTypeObject,
    *mut Descr,
    c_int,
    *const isize,
    *const isize,
    *mut c_void,
    c_int,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

struct Api {
    array_type: *mut ffi::PyTypeObject,
    descr_from_type: DescrFromType,
    new_from_descr: NewFromDescr,
    set_base_object: SetBaseObject,
}

// SAFETY: numpy's table and type live as long as the process and never change.
unsafe impl Send for Api {}
// SAFETY: as above; its functions are called with the GIL held.
unsafe impl Sync for Api {}

impl Api {
    fn get(py: Python<'_>) -> PyResult<&'static Api> {
        static API: PyOnceLock<Api> = PyOnceLock::new();
        API.get_or_try_init(py, || Api::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Api> {
        let table = table(py)?;
        // SAFETY: the capsule holds numpy's table, whose first place is this function in all versions.
        let version = unsafe { entry::<unsafe extern "C" fn() -> c_uint>(table, 0)() };
        if !KNOWN.contains(&version) {
            return Err(unknown(version));
        }
        // SAFETY: of a version that is known, whose table has these at these places.
        Ok(unsafe {
            Api {
                array_type: entry(table, 2),
                descr_from_type: entry(table, 45),
                new_from_descr: entry(table, 94),
                set_base_object: entry(table, 282),
            }
        })
    }
}

fn unknown(version: c_uint) -> PyErr {
    PyRuntimeError::new_err(format!(
        "numpy's binary interface has version {version:#x}; known are {:#x} (numpy 1) and {:#x} (numpy 2)",
        KNOWN[0], KNOWN[1]
    ))
}

fn table(py: Python<'_>) -> PyResult<*const *const c_void> {
    let module =
        py.import("numpy._core._multiarray_umath").or_else(|_| py.import("numpy.core._multiarray_umath"))?; // where it was before numpy 2
    let capsule = module.getattr("_ARRAY_API")?.cast_into::<PyCapsule>()?;
    Ok(capsule.pointer_checked(None)?.as_ptr().cast_const().cast())
}

/// # Safety
/// What is at this place of the table is of the type asked for, which is one pointer wide.
unsafe fn entry<T>(table: *const *const c_void, place: usize) -> T {
    // SAFETY: by the caller's promise.
    unsafe { table.add(place).cast::<T>().read() }
}

/// The number of a type, `enum NPY_TYPES`. Where `long` is 64 bits wide, int64 is one.
fn number(datatype: Datatype) -> c_int {
    let long = size_of::<c_long>() == 8;
    match datatype {
        Datatype::Bool => 0,
        Datatype::Int8 => 1,
        Datatype::Uint8 => 2,
        Datatype::Int16 => 3,
        // BF16 has no numpy type: its bits travel as uint16.
        Datatype::Uint16 | Datatype::Bf16 => 4,
        Datatype::Int32 => 5,
        Datatype::Uint32 => 6,
        Datatype::Int64 => {
            if long {
                7
            } else {
                9
            }
        }
        Datatype::Uint64 => {
            if long {
                8
            } else {
                10
            }
        }
        Datatype::Fp32 => 11,
        Datatype::Fp64 => 12,
        Datatype::Bytes => 17,
        Datatype::Fp16 => 23,
    }
}

/// `long` and `long long`, or `int` and `long`: two numbers of the same type.
fn twin(number: c_int) -> c_int {
    match (number, size_of::<c_long>()) {
        (9 | 10, 8) => number - 2,
        (7 | 8, 4) => number - 2,
        _ => number,
    }
}

/// An array whose elements are not written yet, or lie at `data` and are read-only. Objects are null.
///
/// # Safety
/// `data` is null, or holds all that datatype and shape say while the array lives.
unsafe fn new<'py>(
    py: Python<'py>,
    datatype: Datatype,
    dims: &[isize],
    data: *mut c_void,
) -> PyResult<Array<'py>> {
    let api = Api::get(py)?;
    let rank = c_int::try_from(dims.len()).map_err(crate::value_error)?;
    let flags = if data.is_null() { 0 } else { C_CONTIGUOUS | ALIGNED };
    let null = std::ptr::null_mut::<c_void>();
    // SAFETY: the GIL is held; the descriptor's reference is stolen; `dims` has `rank` entries,
    // from which numpy makes the strides; `data` by the caller's promise.
    unsafe {
        let descr = (api.descr_from_type)(number(datatype));
        let array = (api.new_from_descr)(
            api.array_type,
            descr,
            rank,
            dims.as_ptr(),
            null.cast(),
            data,
            flags,
            null.cast(),
        );
        Ok(Array(Bound::from_owned_ptr_or_err(py, array)?))
    }
}

/// An array object of numpy.
#[derive(Clone)]
pub struct Array<'py>(Bound<'py, PyAny>);

impl<'py> Array<'py> {
    /// An array of objects, all of them null until they are set.
    pub fn of_objects(py: Python<'py>, dims: &[isize]) -> PyResult<Self> {
        // SAFETY: the memory is numpy's own.
        unsafe { new(py, Datatype::Bytes, dims, std::ptr::null_mut()) }
    }

    /// A read-only array over memory that `owner` keeps.
    ///
    /// # Safety
    /// `data` holds all that datatype and shape say, unchanged, while `owner` lives.
    pub unsafe fn over(
        datatype: Datatype,
        dims: &[isize],
        data: *const u8,
        owner: Bound<'py, PyAny>,
    ) -> PyResult<Self> {
        let py = owner.py();
        // SAFETY: by the caller's promise, and the array keeps the owner from here on.
        let array = unsafe { new(py, datatype, dims, data.cast_mut().cast())? };
        // SAFETY: a fresh array; the owner's reference is stolen, also on error.
        let failed = unsafe { (Api::get(py)?.set_base_object)(array.fields(), owner.into_ptr()) };
        if failed == 0 { Ok(array) } else { Err(PyErr::fetch(py)) }
    }

    /// The array that an object is, if it is one.
    pub fn of(value: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let api = Api::get(value.py())?;
        // SAFETY: both are alive, and the GIL is held.
        let is_array = unsafe { ffi::PyObject_TypeCheck(value.as_ptr(), api.array_type) } != 0;
        Ok(is_array.then(|| Array(value.clone())))
    }

    fn fields(&self) -> *mut Fields {
        self.0.as_ptr().cast()
    }

    fn descr(&self) -> &Descr {
        // SAFETY: a valid array object has a descriptor, which lives as long as `self` keeps it.
        unsafe { &*(*self.fields()).descr }
    }

    pub fn py(&self) -> Python<'py> {
        self.0.py()
    }

    pub fn data(&self) -> *mut c_void {
        // SAFETY: a valid array object, read under the GIL.
        unsafe { (*self.fields()).data }
    }

    pub fn shape(&self) -> &[isize] {
        // SAFETY: a valid array object has `rank` dimensions; without any, the pointer may be null.
        unsafe {
            let fields = self.fields();
            match usize::try_from((*fields).rank) {
                Ok(rank) if rank > 0 => std::slice::from_raw_parts((*fields).dims, rank),
                _ => &[],
            }
        }
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.shape().iter().product::<isize>().unsigned_abs()
    }

    /// Whether its memory can be taken as it lies: in C's order, aligned, of the machine's byte order.
    pub fn is_plain(&self) -> bool {
        let foreign = if cfg!(target_endian = "little") { b'>' } else { b'<' };
        // SAFETY: a valid array object, read under the GIL.
        let flags = unsafe { (*self.fields()).flags };
        flags & C_CONTIGUOUS != 0 && flags & ALIGNED != 0 && self.descr().byte_order as u8 != foreign
    }

    /// A copy that is plain.
    pub fn to_plain(&self) -> PyResult<Self> {
        let native = self.0.getattr("dtype")?.call_method1("newbyteorder", ("=",))?;
        let copy = self.py().import("numpy")?.call_method1("array", (&self.0, native))?;
        Ok(Array(copy.call_method1("copy", ("C",))?))
    }

    /// The datatype of its elements; uint16 for BF16, and none for what no datatype stands for.
    pub fn datatype(&self) -> Option<Datatype> {
        let found = twin(self.descr().number);
        Datatype::ALL.into_iter().find(|&one| number(one) == found)
    }

    pub fn into_any(self) -> Bound<'py, PyAny> {
        self.0
    }
}

/// What arrays can be made of in one copy.
pub trait Element: Copy {
    const DATATYPE: Datatype;
}

impl Element for u64 {
    const DATATYPE: Datatype = Datatype::Uint64;
}

impl Element for f64 {
    const DATATYPE: Datatype = Datatype::Fp64;
}

/// An array with a copy of the values, in C's order.
///
/// # Errors
/// `ValueError` if the shape has another number of elements.
pub fn array<'py, T: Element>(py: Python<'py>, values: &[T], shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let dims = dims(shape)?;
    if shape.iter().product::<usize>() != values.len() {
        return Err(crate::value_error(format!("{} values do not fill {shape:?}", values.len())));
    }
    // SAFETY: the memory is numpy's own, with room for as many values as there are.
    unsafe {
        let array = new(py, T::DATATYPE, &dims, std::ptr::null_mut())?;
        array.data().cast::<T>().copy_from_nonoverlapping(values.as_ptr(), values.len());
        Ok(array.into_any())
    }
}

/// A shape as numpy takes it.
pub fn dims<T: Copy + TryInto<isize, Error: std::fmt::Display>>(shape: &[T]) -> PyResult<Vec<isize>> {
    shape.iter().map(|&dim| dim.try_into().map_err(crate::value_error)).collect()
}
