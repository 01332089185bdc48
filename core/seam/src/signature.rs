//! What a model takes and gives: as Python says it, and the names as Python hears them.

use crate::value_error;
use engine::tensor::labels::Labels;
use engine::tensor::{Datatype, Described};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use std::sync::Arc;

#[pyclass(frozen, module = "serving._core", from_py_object)]
#[derive(Clone)]
pub struct TensorSpec {
    pub inner: engine::tensor::TensorSpec,
}

#[pymethods]
impl TensorSpec {
    #[new]
    #[pyo3(signature = (name, datatype, shape, optional = false, described = None, always_described = false,
        labels = None))]
    #[allow(clippy::too_many_arguments)] // A Python constructor.
    fn new(
        name: &str,
        datatype: &str,
        shape: Vec<i64>,
        optional: bool,
        described: Option<Vec<i64>>,
        always_described: bool,
        labels: Option<String>,
    ) -> PyResult<Self> {
        let datatype = Datatype::from_name(datatype)
            .ok_or_else(|| value_error(format!("unknown datatype '{datatype}'")))?;
        let described = described.map(|shape| Described { shape, always: always_described });
        let labels = labels.map(|text| Labels::new(text).ok_or_else(|| value_error("too many labels")));
        let labels = labels.transpose()?.map(Arc::new);
        let name = name.into();
        let inner = engine::tensor::TensorSpec { name, datatype, shape, optional, described, labels };
        Ok(TensorSpec { inner })
    }
}

/// What a batch needs of its queue on the Python side, made once.
pub struct Names {
    pub inputs: Vec<Py<PyString>>,
    /// The list of all outputs, shared by every batch that asks for all.
    pub all_outputs: Py<PyList>,
    pub outputs: Vec<Py<PyString>>,
}

impl Names {
    pub fn new(py: Python<'_>, inputs: &[TensorSpec], outputs: &[TensorSpec]) -> PyResult<Names> {
        let intern = |spec: &TensorSpec| PyString::intern(py, &spec.inner.name).unbind();
        let outputs: Vec<_> = outputs.iter().map(intern).collect();
        Ok(Names {
            inputs: inputs.iter().map(intern).collect(),
            all_outputs: PyList::new(py, outputs.iter().map(|n| n.clone_ref(py)))?.unbind(),
            outputs,
        })
    }
}
