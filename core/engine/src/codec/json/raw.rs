//! A raw binary request: `Inference-Header-Content-Length: 0`, and the body is
//! the one input's data.

use crate::codec::{InferRequest, InputTensor, Payload, bytes_tensor};
use crate::error::{Error, Result};
use crate::memory;
use crate::tensor::{Datatype, Shape, Signature, TensorSpec, shown};
use bytes::Bytes;

/// Makes a request of a body without JSON; all outputs are to come back binary.
///
/// # Errors
/// `BadRequest` when the model has not exactly one input, or its shape cannot be
/// told from the size of the body.
pub fn decode_raw_binary(model: &str, signature: &Signature, body: Bytes) -> Result<InferRequest> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Error::bad(format!(
            "Raw request must only have 1 input (found {}) to be deduced for model '{}'",
            signature.inputs.len(),
            shown(model)
        )));
    };
    let (shape, data) = match spec.datatype.size() {
        Some(size) => (fixed_shape(spec, signature.may_batch(), size, body.len())?, body),
        None => (string_shape(spec)?, one_string(spec, &body)?),
    };
    Ok(InferRequest {
        inputs: vec![InputTensor {
            name: spec.name.to_string(),
            datatype: spec.datatype.name().to_owned(),
            shape,
            payload: Payload::Raw(data),
        }],
        binary_output: true,
        ..InferRequest::default()
    })
}

/// The declared shape, its one variable dimension computed from the size. Where more than that of
/// the batch varies, the batch is one. Where the size does not divide, the dimension is rounded
/// down: the model's check of the byte size then says what was expected.
fn fixed_shape(spec: &TensorSpec, may_batch: bool, size: usize, bytes: usize) -> Result<Shape> {
    let mut shape = Shape::from_slice(&spec.shape);
    let mut varies: Vec<_> = shape.iter_mut().filter(|dim| **dim == -1).collect();
    if may_batch && varies.len() == 2 {
        *varies.remove(0) = 1;
    }
    if varies.len() > 1 {
        return Err(Error::bad(format!(
            "The shape of the raw input '{}' can not be deduced because there are more than one variable-sized dimension",
            spec.name
        )));
    }
    if let Some(dim) = varies.pop() {
        let fixed = spec.shape.iter().filter(|&&dim| dim != -1);
        let unit = fixed.fold(size as u64, |unit, &dim| unit.saturating_mul(dim.unsigned_abs()));
        *dim = (bytes as u64).checked_div(unit).and_then(|dim| i64::try_from(dim).ok()).unwrap_or(0);
    }
    Ok(shape)
}

/// One string: a single dimension, of 1 or a batch, or a batch of `[1]`.
fn string_shape(spec: &TensorSpec) -> Result<Shape> {
    if matches!(spec.shape[..], [1 | -1] | [1 | -1, 1]) {
        return Ok(spec.shape.iter().map(|_| 1).collect());
    }
    Err(Error::bad(format!(
        "For {} datatype raw input '{}', the model must have input shape [1]",
        Datatype::Bytes,
        spec.name
    )))
}

fn one_string(spec: &TensorSpec, body: &[u8]) -> Result<Bytes> {
    if u32::try_from(body.len()).is_err() {
        return Err(Error::bad(format!("the raw string for input '{}' is longer than 4 GiB", spec.name)));
    }
    let mut data = memory::room(bytes_tensor::room(body))?;
    bytes_tensor::push(&mut data, body);
    Ok(data.into())
}
