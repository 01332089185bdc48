//! What a model takes and gives: as Python says it, and the names as Python hears them.

use crate::value_error;
use engine::tensor::labels::Labels;
use engine::tensor::named::{Gives, Method, NamedSignature};
use engine::tensor::schema::{Declared, Field, Param, ParamKind, Text};
use engine::tensor::{Datatype, Described, Signature};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use std::collections::HashMap;
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

/// What MLflow declares of a model's inputs, and how strictly requests are held against it.
#[pyclass(frozen, module = "serving._core", from_py_object)]
#[derive(Clone)]
pub struct Schema {
    pub inner: engine::tensor::schema::Schema,
}

/// Name, datatype, shape, whether it is required, its type in MLflow's words, the type of its values
/// where those lie in lists, and in how many.
type SaidField = (Option<String>, String, Vec<i64>, bool, String, String, usize);

#[pymethods]
impl Schema {
    #[new]
    #[pyo3(signature = (form = "", fields = Vec::new(), params = Vec::new(), *, strict = false, lossy = false,
        terse = false, unusable = ""))]
    #[allow(clippy::needless_pass_by_value, clippy::too_many_arguments)] // As pyo3 hands it over.
    fn new(
        form: &str,
        fields: Vec<SaidField>,
        params: Vec<(String, String, bool)>,
        strict: bool,
        lossy: bool,
        terse: bool,
        unusable: &str,
    ) -> PyResult<Self> {
        let fields = fields.into_iter().map(field).collect::<PyResult<Vec<_>>>()?;
        let declared = match form {
            "" => Declared::Nothing,
            "tensors" => Declared::Tensors(fields),
            "columns" => Declared::Columns(fields),
            other => return Err(value_error(format!("'{other}' is no form of a signature"))),
        };
        let param = |(name, kind, list): (String, String, bool)| Param {
            name: name.into(),
            kind: ParamKind::of(&kind),
            list,
        };
        let params = params.into_iter().map(param).collect();
        let unusable = (!unusable.is_empty()).then(|| unusable.into());
        let inner = engine::tensor::schema::Schema { declared, params, strict, lossy, unusable, terse };
        Ok(Schema { inner })
    }
}

fn field((name, datatype, shape, required, kind, values, lists): SaidField) -> PyResult<Field> {
    let datatype = Datatype::from_name(&datatype)
        .ok_or_else(|| value_error(format!("unknown datatype '{datatype}'")))?;
    let (name, kind, text) = (name.map(Into::into), kind.into(), Text::of(&values));
    Ok(Field { name, datatype, shape, required, kind, text, lists })
}

/// Name, method, inputs, and the outputs by what they are: `classes`, `scores`, `value`.
pub type Named = (String, String, Vec<String>, HashMap<String, String>);

/// A signature of these tensors, with others beside it.
pub fn signature(
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    named: Vec<Named>,
) -> PyResult<Signature> {
    let mut signature = Signature {
        inputs: inputs.into_iter().map(|t| t.inner).collect(),
        outputs: outputs.into_iter().map(|t| t.inner).collect(),
        ..Signature::default()
    };
    let named = named.into_iter().map(|one| Ok(Arc::new(named_signature(one, &signature)?)));
    signature.named = named.collect::<PyResult<_>>()?;
    Ok(signature)
}

fn named_signature((name, method, inputs, outputs): Named, of: &Signature) -> PyResult<NamedSignature> {
    let input = |input: &String| {
        let found = of.input(input).map(|(place, _)| place);
        found.ok_or_else(|| value_error(format!("signature '{name}': there is no input '{input}'")))
    };
    let output = |role: &str| {
        let Some(output) = outputs.get(role) else { return Ok(None) };
        let found = of.output(output).map(|(_, spec)| spec);
        found
            .map(Some)
            .ok_or_else(|| value_error(format!("signature '{name}': there is no output '{output}'")))
    };
    let (classes, scores, value) = (output("classes")?, output("scores")?, output("value")?);
    let gives = match (Method::from_name(&method), classes, scores, value) {
        (Some(Method::Classify), None, None, _) | (Some(Method::Regress), _, _, None) => {
            return Err(value_error(format!("signature '{name}': it gives nothing")));
        }
        (Some(Method::Classify), ..) => Gives::Classes {
            classes: classes.map(|spec| spec.name.clone()),
            scores: scores.map(|spec| spec.name.clone()),
            labels: scores.filter(|_| classes.is_none()).and_then(|spec| spec.labels.clone()),
        },
        (Some(Method::Regress), _, _, Some(value)) => Gives::Value(value.name.clone()),
        (None, ..) => return Err(value_error(format!("unknown method '{method}'"))),
    };
    let mut inputs: Vec<_> = inputs.iter().map(input).collect::<PyResult<_>>()?;
    inputs.sort_unstable();
    Ok(NamedSignature { name: name.into(), inputs, gives })
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
