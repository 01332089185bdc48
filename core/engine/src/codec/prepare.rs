//! A request held against a model's signature: every name, datatype, shape and
//! size is checked here, before anything is queued.

mod examples;
mod names;
mod tensor;

use super::bytes_tensor::Marks;
use super::{InferRequest, InputTensor, Payload, tensorflow};
use crate::error::{Error, ErrorCode, Result};
use crate::shared_memory::Slice;
use crate::stop::{NEVER, Stop};
use crate::tensor::named::Asked;
use crate::tensor::{Datatype, Shape, Signature, elements, shown};
use bytes::Bytes;
use std::sync::OnceLock;

/// One input as the model runs it: raw little-endian, row-major elements;
/// BYTES elements are length-prefixed and valid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTensor {
    pub shape: Shape,
    pub data: Data,
    /// Of BYTES that are cut into pieces, once they are.
    pub marks: OnceLock<Marks>,
}

impl PreparedTensor {
    pub fn new(shape: Shape, data: Bytes) -> Self {
        PreparedTensor { shape, data: Data::Here(data), marks: OnceLock::new() }
    }

    pub fn shared(shape: Shape, slice: Slice) -> Self {
        PreparedTensor { shape, data: Data::Shared(slice), marks: OnceLock::new() }
    }
}

/// The bytes of an input, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Here(Bytes),
    /// In its client's shared memory, of a datatype that every bytes are elements of.
    Shared(Slice),
}

impl Data {
    pub fn len(&self) -> usize {
        match self {
            Data::Here(data) => data.len(),
            Data::Shared(slice) => slice.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, read where they are not here.
    ///
    /// # Errors
    /// Those of [`Slice::read`].
    pub fn here(&self) -> Result<Bytes> {
        match self {
            Data::Here(data) => Ok(data.clone()),
            Data::Shared(slice) => slice.read(&NEVER),
        }
    }
}

/// An output to answer with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedOutput {
    /// Its index in the signature.
    pub place: usize,
    /// Whether it goes into an HTTP answer's binary part.
    pub binary: bool,
    /// Of how many of a row's elements the answer tells in its place, as [`super::classes`] has them; 0:
    /// it is answered itself.
    pub classes: usize,
}

/// A request that fits its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// In the order of the signature; `None` where an optional input was left out.
    pub inputs: Vec<Option<PreparedTensor>>,
    pub outputs: Vec<WantedOutput>,
    /// Bytes of all inputs together.
    pub bytes: usize,
    /// Whether an input came in the shape that the configuration describes, not the model's own.
    pub as_described: bool,
    /// Where it brought examples.
    pub asked: Option<Box<Asked>>,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    pub max_string_elements: usize,
    /// Looked at while much is converted or walked.
    pub stop: &'a Stop,
}

/// Payloads over this many bytes are converted or walked off the I/O threads.
pub const MUCH: usize = 64 * 1024;

/// Bytes that [`prepare`] converts or walks for this request.
pub fn cost(request: &InferRequest) -> usize {
    let examples = request.examples.as_ref().map_or(0, |examples| examples.cost());
    request.inputs.iter().map(walked).fold(examples, usize::saturating_add)
}

/// Bytes of an input that [`prepare`] has to look at one by one.
fn walked(input: &InputTensor) -> usize {
    match &input.payload {
        Payload::Typed(parts) => parts.iter().map(Bytes::len).sum(),
        Payload::Values { message, size } => message.len().max(*size),
        Payload::Raw(data) if input.datatype == Datatype::Bytes.name() => data.len(),
        Payload::Raw(_)
        | Payload::Json { .. }
        | Payload::Shared(_)
        | Payload::Found(_)
        | Payload::Missing => 0,
    }
}

/// The most bytes that [`prepare`] makes of payloads that came in another form: up to eight times
/// what came, for typed INT64.
pub fn converted_bytes(request: &InferRequest) -> usize {
    let examples = request.examples.as_ref().map_or(0, |examples| examples.most_bytes());
    request.inputs.iter().map(converted).fold(examples, usize::saturating_add)
}

fn converted(input: &InputTensor) -> usize {
    let parts = match &input.payload {
        Payload::Typed(parts) => parts,
        Payload::Values { size, .. } => return *size,
        Payload::Raw(_)
        | Payload::Json { .. }
        | Payload::Shared(_)
        | Payload::Found(_)
        | Payload::Missing => return 0,
    };
    let came = parts.iter().map(Bytes::len).sum::<usize>();
    match Datatype::from_name(&input.datatype).and_then(Datatype::size) {
        // An element takes at least one byte in the message; a shape that is none is refused.
        Some(size) => elements(&input.name, &input.shape).unwrap_or(0).min(came).saturating_mul(size),
        // An empty text is two bytes there, and four here.
        None => came.saturating_mul(2),
    }
}

/// A few bytes may stand for a tensor of any size: it is held against what a message may have, too.
///
/// # Errors
/// `TooLarge` naming the tensor, or the examples' context.
pub fn check_filled(request: &InferRequest, limit: usize) -> Result<()> {
    if let Some(examples) = &request.examples {
        examples.check_context(limit)?;
    }
    for input in &request.inputs {
        if let Payload::Values { size, .. } = input.payload
            && size > limit
        {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!(
                    "input '{}' takes {size} bytes once its last value fills its shape up, over the limit of \
                     {limit} bytes (setting limits.max_message_bytes)",
                    shown(&input.name)
                ),
            ));
        }
    }
    Ok(())
}

/// Holds `request` against `signature`. Raw payloads are shared, not copied.
///
/// # Errors
/// `BadRequest` naming the tensor, what was expected and what came: unknown,
/// duplicate and missing inputs, unknown and duplicate outputs (fault 53), classes of what has none,
/// datatypes (54), shapes, overflows and byte sizes (50-52), string elements
/// (55, 56), and BOOL bytes other than 0 and 1 (57; nothing is normalised,
/// because that would copy the tensor); `FailedPrecondition` for a signature that the model has not; and
/// those of `limits.stop`.
pub fn prepare(request: &InferRequest, signature: &Signature, limits: &Limits<'_>) -> Result<Prepared> {
    if let Some(examples) = &request.examples {
        return examples::prepare(examples, signature, limits);
    }
    if let Some(name) = &request.signature {
        return Err(tensorflow::no_signature(name, signature));
    }
    let places = names::places(request, signature)?;
    let outputs = names::outputs(request, signature)?;
    let mut inputs: Vec<Option<PreparedTensor>> = vec![None; signature.inputs.len()];
    let (mut bytes, mut as_described) = (0, false);
    for (input, &place) in request.inputs.iter().zip(&places) {
        let spec = &signature.inputs[place];
        let prepared = tensor::prepare(&request.model, input, spec, limits)?;
        as_described |= spec.is_described(&input.shape);
        bytes += prepared.data.len();
        inputs[place] = Some(prepared);
    }
    Ok(Prepared { inputs, outputs, bytes, as_described, asked: None })
}

#[cfg(test)]
mod tests;
