//! One input against its declaration: datatype, shape, size, contents.

use super::{Limits, PreparedTensor};
use crate::codec::{InputTensor, Payload, bytes_tensor, protobuf, tensorflow, typed};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Shape, TensorSpec, byte_size, elements, show, shown};
use bytes::Bytes;

/// One input against its declaration.
pub(super) fn prepare(
    model: &str,
    input: &InputTensor,
    spec: &TensorSpec,
    limits: &Limits<'_>,
) -> Result<PreparedTensor> {
    check_datatype(model, input, spec)?;
    let shape = fitting_shape(model, input, spec)?;
    let expected = elements(&spec.name, &shape)?;
    let size = byte_size(&spec.name, spec.datatype, &shape)?;
    if size.is_none() {
        bytes_tensor::check_count(&spec.name, expected, limits.max_string_elements)?;
    }
    let data = match &input.payload {
        Payload::Found(slice) => {
            check_size(model, spec, slice.len(), size)?;
            return Ok(PreparedTensor::shared(shape, slice.clone()));
        }
        Payload::Raw(data) => {
            check_raw(model, spec, data, size, expected, limits)?;
            data.clone()
        }
        Payload::Typed(parts) => {
            let data = typed::typed_to_raw(&spec.name, model, spec.datatype, parts, expected, limits.stop)?;
            if size.is_none() {
                bytes_tensor::check(&spec.name, &data, expected, limits.stop)?;
            }
            data
        }
        Payload::Values { message, .. } => {
            let (name, datatype) = (&spec.name, spec.datatype);
            let data = tensorflow::values_to_raw(name, datatype, message, expected, limits.stop)?;
            if size.is_none() {
                bytes_tensor::check(&spec.name, &data, expected, limits.stop)?;
            }
            data
        }
        Payload::Json { data, count } if *count == expected => data.clone(),
        Payload::Json { count, .. } => return Err(wrong_count(model, spec, &shape, expected, *count)),
        // An empty tensor has no data to bring.
        Payload::Missing if expected == 0 => Bytes::new(),
        // What is in shared memory was found before.
        Payload::Missing | Payload::Shared(_) => return Err(protobuf::no_data(&spec.name, model)),
    };
    Ok(PreparedTensor::new(shape, data))
}

fn check_datatype(model: &str, input: &InputTensor, spec: &TensorSpec) -> Result<()> {
    if input.datatype == spec.datatype.name() {
        return Ok(());
    }
    let (name, model, got) = (&spec.name, shown(model), shown(&input.datatype));
    let words = match Datatype::from_name(&input.datatype) {
        Some(_) => {
            format!(
                "inference input '{name}' data-type is '{got}', but model '{model}' expects '{}'",
                spec.datatype
            )
        }
        None => format!(
            "inference input '{name}' data-type is '{got}', which is not a known datatype; model '{model}' expects '{}'",
            spec.datatype
        ),
    };
    Err(Error::bad(words).quoting_nothing())
}

/// The shape the model is given: as sent, unless it came as the configuration describes it; and
/// a scalar sent as `[1]` becomes `[]`.
fn fitting_shape(model: &str, input: &InputTensor, spec: &TensorSpec) -> Result<Shape> {
    if spec.shape.is_empty() && input.shape.as_slice() == [1] {
        return Ok(Shape::new());
    }
    // Negative dimensions, too many of them, and overflow have their own texts.
    elements(&spec.name, &input.shape)?;
    if let Some(shape) = spec.taken(&input.shape) {
        return Ok(shape);
    }
    Err(Error::bad(format!(
        "unexpected shape for input '{}' for model '{}'. Expected {}, got {}. ",
        spec.name,
        shown(model),
        show(spec.expected()),
        show(&input.shape)
    ))
    .quoting_nothing())
}

fn check_raw(
    model: &str,
    spec: &TensorSpec,
    data: &[u8],
    size: Option<usize>,
    expected: usize,
    limits: &Limits<'_>,
) -> Result<()> {
    if size.is_none() {
        return bytes_tensor::check(&spec.name, data, expected, limits.stop);
    }
    check_size(model, spec, data.len(), size)?;
    if spec.datatype == Datatype::Bool { check_bools(spec, data) } else { Ok(()) }
}

/// `size`: what its shape takes, where its elements have one.
fn check_size(model: &str, spec: &TensorSpec, got: usize, size: Option<usize>) -> Result<()> {
    match size {
        Some(size) if size != got => Err(Error::bad(format!(
            "input byte size mismatch for input '{}' for model '{}'. Expected {size}, got {got}",
            spec.name,
            shown(model),
        ))
        .quoting_nothing()),
        _ => Ok(()),
    }
}

/// Every byte 0 or 1: the OR of a stretch is at most 1 exactly then, and a
/// stretch folds in vector registers.
fn check_bools(spec: &TensorSpec, data: &[u8]) -> Result<()> {
    if data.chunks(4096).all(|stretch| stretch.iter().fold(0, |or, byte| or | byte) <= 1) {
        return Ok(());
    }
    let (index, byte) = data.iter().enumerate().find(|(_, byte)| **byte > 1).unwrap_or((0, &0));
    let (name, only) = (&spec.name, "only the bytes 0 and 1 are accepted");
    let brief = format!("element {index} of BOOL input '{name}' is neither: {only}");
    Err(Error::bad(format!("element {index} of BOOL input '{name}' is {byte}, {only}")).quoting(name, brief))
}

fn wrong_count(model: &str, spec: &TensorSpec, shape: &[i64], expected: usize, got: usize) -> Error {
    Error::bad(format!(
        "unexpected number of elements in 'data' of input '{}' for model '{}': shape {} expects {expected}, got {got}",
        spec.name,
        shown(model),
        show(shape)
    ))
    .quoting_nothing()
}
