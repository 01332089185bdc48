//! What is asked of requests' values, as Python states it.

use crate::value_error;
use pyo3::prelude::*;

/// A bound: an integer as it is, else a float.
#[derive(FromPyObject)]
pub enum Bound {
    Whole(i64),
    Number(f64),
}

impl From<Bound> for engine::checks::Bound {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Whole(number) => Self::Whole(number.into()),
            Bound::Number(number) => Self::Float(number),
        }
    }
}

#[pyclass(frozen, module = "serving._core", from_py_object)]
#[derive(Clone)]
pub struct Constraint {
    pub inner: engine::checks::Constraint,
}

#[pymethods]
impl Constraint {
    #[new]
    #[pyo3(signature = (feature, tensor, column = None, *, numbers, refuses = false, required = false,
        least = None, most = None, nan = true, infinite = true, whole = false, values = None,
        least_values = None, most_values = None))]
    #[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // A Python constructor.
    fn new(
        feature: &str,
        tensor: &str,
        column: Option<(usize, usize)>,
        numbers: bool,
        refuses: bool,
        required: bool,
        least: Option<Bound>,
        most: Option<Bound>,
        nan: bool,
        infinite: bool,
        whole: bool,
        values: Option<Vec<String>>,
        least_values: Option<u64>,
        most_values: Option<u64>,
    ) -> PyResult<Self> {
        let (least, most) = (least.map(Into::into), most.map(Into::into));
        if [least, most].into_iter().flatten().any(engine::checks::Bound::is_nan) {
            return Err(value_error("a bound is not NaN"));
        }
        let values = values.map(|all| all.into_iter().map(|text| text.into_bytes().into()).collect());
        let inner = engine::checks::Constraint {
            feature: feature.into(),
            input: tensor.into(),
            column,
            numbers,
            refuses,
            required,
            least,
            most,
            nan,
            infinite,
            whole,
            values,
            least_values,
            most_values,
        };
        Ok(Constraint { inner })
    }
}
