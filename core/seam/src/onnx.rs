//! What an ONNX file holds, as Python takes it. Read without the GIL; only what is handed over
//! is made with it.

use crate::value_error;
use engine::onnx::beside::{self, Place, Stopped};
use engine::onnx::constant::{Constant, UINT64};
use engine::onnx::graph::{self, Graph, Model, Named, Node, Texts as Inner};
use engine::onnx::interface::{self, Interface, Stated};
use engine::onnx::{NotOnnx, file};
use pyo3::exceptions::{PyIndexError, PyMemoryError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PySet, PyString, PyTuple};
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

fn refused(error: NotOnnx) -> PyErr {
    match error {
        NotOnnx::NoMemory => PyMemoryError::new_err(error.to_string()),
        other => value_error(other),
    }
}

/// What most readers say of what is no file of theirs.
fn not_whole(error: NotOnnx) -> PyErr {
    match error {
        NotOnnx::Cut | NotOnnx::NotUtf8 => value_error("is not a whole ONNX protobuf"),
        other => refused(other),
    }
}

/// See [`engine::onnx::file`].
#[pyfunction]
fn onnx_file(py: Python<'_>, model: PyBackedBytes) -> PyResult<Bound<'_, PyTuple>> {
    let found = py.detach(|| file::read(&model)).map_err(refused)?;
    let external = found.external.iter().map(|one| {
        let entries = PyTuple::new(py, &one.entries)?;
        (one.tensor, entries, one.is_initializer).into_pyobject(py)
    });
    let external = external.collect::<PyResult<Vec<_>>>()?;
    let opsets = found.opsets.iter().map(|opset| PyBytes::new(py, opset));
    let made = (
        PyList::new(py, external)?,
        PySet::new(py, &found.domains)?,
        PySet::new(py, &found.function_domains)?,
        PySet::new(py, &found.unshaped_inputs)?,
        found.has_graph,
        found.sparse_tensors,
        found.ir_version,
        PyList::new(py, opsets)?,
    );
    made.into_pyobject(py)
}

/// See [`engine::onnx::beside`]: the places, whether all fields were looked at, and why it is no
/// file of this kind.
#[pyfunction]
fn onnx_fields(
    py: Python<'_>,
    file: i32,
    numbers: Vec<u32>,
    longest: u64,
    most: usize,
) -> PyResult<(Vec<Place>, bool, String)> {
    if file < 0 {
        return Err(value_error("a file's descriptor is not negative"));
    }
    let (places, stopped) = py.detach(|| {
        // SAFETY: whoever calls keeps the descriptor open during the call.
        let borrowed = unsafe { BorrowedFd::borrow_raw(file) };
        let file = File::from(borrowed.try_clone_to_owned()?);
        let read = |head: &mut [u8], at| file.read_at(head, at);
        beside::places(file.metadata()?.len(), &numbers, longest, most, read)
    })?;
    let words = match stopped {
        Some(Stopped::NotOnnx(error)) => error.to_string(),
        Some(Stopped::TooMany) | None => String::new(),
    };
    Ok((places, stopped.is_none(), words))
}

/// See [`engine::onnx::interface`].
#[pyfunction]
fn onnx_interface(py: Python<'_>, model: PyBackedBytes) -> PyResult<Bound<'_, PyTuple>> {
    let Interface { inputs, outputs } = py.detach(|| interface::read(&model)).map_err(not_whole)?;
    let made = |all: Vec<Stated<'_>>| {
        let each = all.into_iter().map(|one| {
            let sizes = one.sizes.map(|sizes| PyTuple::new(py, sizes)).transpose()?;
            (one.name, one.is_given, one.words, one.element, sizes).into_pyobject(py)
        });
        PyList::new(py, each.collect::<PyResult<Vec<_>>>()?)
    };
    (made(inputs)?, made(outputs)?).into_pyobject(py)
}

/// See [`engine::onnx::graph`].
#[pyfunction]
fn onnx_graph(py: Python<'_>, model: PyBackedBytes) -> PyResult<Bound<'_, PyTuple>> {
    let Model { graph, functions, opsets, ir_version } =
        py.detach(|| graph::read(&model)).map_err(not_whole)?;
    let bodies = PyDict::new(py);
    for ((domain, name), body) in functions {
        bodies.set_item((&*domain, &*name), OnnxGraph { inner: body.into() })?;
    }
    (OnnxGraph { inner: graph.into() }, bodies, numbers(py, &opsets)?, ir_version).into_pyobject(py)
}

/// A graph whose nodes and constants become Python objects one by one: all of a large one at once
/// would keep the GIL for long.
#[pyclass(frozen, module = "serving._core")]
pub struct OnnxGraph {
    inner: Arc<Graph>,
}

#[pymethods]
impl OnnxGraph {
    /// How many nodes and constants there are.
    #[getter]
    fn sizes(&self) -> (usize, usize) {
        (self.inner.nodes.len(), self.inner.constants.len())
    }

    fn node<'py>(&self, py: Python<'py>, at: usize) -> PyResult<Bound<'py, PyTuple>> {
        made_node(py, self.inner.nodes.get(at).ok_or_else(no_such)?)
    }

    fn constant<'py>(&self, py: Python<'py>, at: usize) -> PyResult<(&str, Bound<'py, PyTuple>)> {
        let (name, constant) = self.inner.constants.get(at).ok_or_else(no_such)?;
        Ok((name, made_constant(py, constant)?))
    }

    #[getter]
    fn defaults<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.inner.defaults.as_deref().map(|node| made_node(py, node)).transpose()
    }

    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, &self.inner.inputs)
    }

    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        names(py, &self.inner.outputs)
    }

    #[getter]
    fn types<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        numbers(py, &self.inner.types)
    }

    #[getter]
    fn opsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        numbers(py, &self.inner.opsets)
    }

    #[getter]
    fn repeated<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        PySet::new(py, self.inner.repeated())
    }
}

fn no_such() -> PyErr {
    PyIndexError::new_err("the graph has no such part")
}

fn made_node<'py>(py: Python<'py>, node: &Node) -> PyResult<Bound<'py, PyTuple>> {
    let text_lists = node.text_lists.iter().map(|(name, texts)| (name, Ok(Texts { inner: texts.clone() })));
    let graphs = node.graphs.iter().map(|(name, graph)| (name, Ok(OnnxGraph { inner: graph.clone() })));
    let parts: [Bound<'py, PyAny>; 13] = [
        PyString::new(py, &node.operator).into_any(),
        PyString::new(py, &node.domain).into_any(),
        names(py, &node.inputs)?.into_any(),
        names(py, &node.outputs)?.into_any(),
        PyString::new(py, &node.name).into_any(),
        numbers(py, &node.numbers)?.into_any(),
        dict(py, node.floats.iter().map(|(name, float)| (name, Ok(float))))?.into_any(),
        dict(py, node.texts.iter().map(|(name, text)| (name, made_text(py, text))))?.into_any(),
        dict(py, node.tensors.iter().map(|(name, one)| (name, made_constant(py, one))))?.into_any(),
        dict(py, graphs)?.into_any(),
        dict(py, node.references.iter().map(|(name, other)| (name, Ok(&**other))))?.into_any(),
        dict(py, text_lists)?.into_any(),
        PySet::new(py, node.others.iter().map(|name| &**name))?.into_any(),
    ];
    PyTuple::new(py, parts)
}

/// (element type, whole numbers, shape, floats)
fn made_constant<'py>(py: Python<'py>, constant: &Constant) -> PyResult<Bound<'py, PyTuple>> {
    let values = constant.values.as_ref().map(|values| match constant.elem_type {
        UINT64 => PyTuple::new(py, values.iter().map(|&value| value as u64)),
        _ => PyTuple::new(py, values),
    });
    let floats = constant.floats.as_ref().map(|floats| PyTuple::new(py, floats));
    let dims = PyTuple::new(py, &constant.dims)?;
    (constant.elem_type, values.transpose()?, dims, floats.transpose()?).into_pyobject(py)
}

/// Bytes that are no UTF-8 become lone surrogates.
fn made_text<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(text) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => {
            PyString::from_encoded_object(&PyBytes::new(py, text), Some(c"utf-8"), Some(c"surrogateescape"))
        }
    }
}

fn names<'py>(py: Python<'py>, names: &[Box<str>]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, names.iter().map(|name| &**name))
}

fn numbers<'py>(py: Python<'py>, numbers: &Named<i64>) -> PyResult<Bound<'py, PyDict>> {
    dict(py, numbers.iter().map(|(name, number)| (name, Ok(number))))
}

/// Of several with one name the last counts.
fn dict<'py, 'a, T: IntoPyObject<'py>>(
    py: Python<'py>,
    items: impl Iterator<Item = (&'a Box<str>, PyResult<T>)>,
) -> PyResult<Bound<'py, PyDict>> {
    let made = PyDict::new(py);
    for (name, value) in items {
        made.set_item(&**name, value?)?;
    }
    Ok(made)
}

/// A list of texts of a node.
#[pyclass(frozen, module = "serving._core")]
pub struct Texts {
    inner: Inner,
}

#[pymethods]
impl Texts {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __contains__(&self, text: &[u8]) -> bool {
        self.inner.contains(text)
    }
}

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<OnnxGraph>()?;
    module.add_class::<Texts>()?;
    module.add_function(wrap_pyfunction!(onnx_file, module)?)?;
    module.add_function(wrap_pyfunction!(onnx_fields, module)?)?;
    module.add_function(wrap_pyfunction!(onnx_interface, module)?)?;
    module.add_function(wrap_pyfunction!(onnx_graph, module)?)
}
