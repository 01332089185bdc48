//! Bytes <-> requests: OIP protobuf, OIP JSON, binary tensors, TensorFlow Serving's protobuf and JSON,
//! MLflow's scoring requests, compression.
//!
//! A door decodes its bytes to an [`InferRequest`], which knows nothing of the
//! model; [`prepare`] holds it against a signature and turns every payload into
//! raw little-endian bytes. Answers are encoded from borrowed [`OutputTensor`]s, in the
//! [`answer::Form`] that the request brought.

pub mod answer;
pub mod binary;
pub mod buffer;
pub mod bytes_tensor;
pub mod classes;
pub mod compression;
pub mod counted;
pub mod frame;
pub mod json;
pub mod mlflow;
pub mod names;
pub mod parameter;
pub mod place;
pub mod prepare;
pub mod protobuf;
pub mod tensorflow;
pub mod tensorflow_json;
pub mod typed;
pub(crate) mod wire;

#[cfg(test)]
mod oracle;

use crate::shared_memory::Slice;
use crate::tensor::named::Asked;
use crate::tensor::{Datatype, Shape};
use bytes::Bytes;
pub use parameter::Parameter;
use place::Place;
use std::sync::Arc;
use tensorflow::Examples;

/// More inputs or outputs than any model has; a bound on hostile requests.
pub const MAX_TENSORS: usize = 4096;

/// A request as it came over the wire, any door, not yet held against a model.
#[derive(Clone, Debug, Default)]
pub struct InferRequest {
    pub model: Arc<str>,
    /// As sent; empty means the default route.
    pub version: String,
    /// One that is asked for beside the model's own.
    pub signature: Option<Arc<str>>,
    pub id: Option<Arc<str>>,
    pub inputs: Vec<InputTensor>,
    /// In the place of inputs and outputs.
    pub examples: Option<Box<Examples>>,
    /// Empty means all outputs.
    pub outputs: Vec<RequestedOutput>,
    /// `parameters.priority`: 0 = the model's default, 1 = highest.
    pub priority: u64,
    /// `parameters.timeout`, microseconds; 0 = none.
    pub timeout_us: u64,
    /// HTTP only: `parameters.binary_data_output`.
    pub binary_output: bool,
    /// Others of its parameters.
    pub parameters: Vec<Parameter>,
}

impl InferRequest {
    /// Bytes that it holds beside the message that it came in and what was converted of it:
    /// names, ids, shapes, and the lists of them.
    pub fn owned_bytes(&self) -> usize {
        let inputs = self.inputs.iter().map(InputTensor::owned_bytes).sum::<usize>();
        let outputs = self.outputs.iter().map(RequestedOutput::owned_bytes).sum::<usize>();
        size_of::<Self>()
            + self.inputs.capacity() * size_of::<InputTensor>()
            + self.outputs.capacity() * size_of::<RequestedOutput>()
            + inputs
            + outputs
            + self.examples.as_ref().map_or(0, |examples| examples.owned_bytes())
            + self.model.len()
            + self.version.capacity()
            + self.signature.as_ref().map_or(0, |name| name.len())
            + self.id.as_ref().map_or(0, |id| id.len())
            + self.parameters.iter().map(Parameter::owned_bytes).sum::<usize>()
    }

    /// Whether any tensor of it is in shared memory, or goes there.
    pub fn uses_shared_memory(&self) -> bool {
        self.inputs.iter().any(|input| matches!(input.payload, Payload::Shared(_)))
            || self.outputs.iter().any(|output| output.place.is_some())
    }
}

#[derive(Clone, Debug)]
pub struct InputTensor {
    pub name: String,
    /// As sent: an unknown name is an error that `prepare` words.
    pub datatype: String,
    pub shape: Shape,
    pub payload: Payload,
}

impl InputTensor {
    fn owned_bytes(&self) -> usize {
        let dims = if self.shape.spilled() { self.shape.capacity() * size_of::<i64>() } else { 0 };
        let parts = match &self.payload {
            Payload::Typed(parts) => parts.capacity() * size_of::<Bytes>(),
            Payload::Shared(place) => place.region.capacity(),
            Payload::Raw(_)
            | Payload::Values { .. }
            | Payload::Json { .. }
            | Payload::Found(_)
            | Payload::Missing => 0,
        };
        self.name.capacity() + self.datatype.capacity() + dims + parts
    }
}

/// An input's data, in the form its door delivers it.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Row-major little-endian elements; BYTES elements are length-prefixed.
    Raw(Bytes),
    /// Protobuf `InferTensorContents`, undecoded; the parts are to be merged.
    Typed(Vec<Bytes>),
    /// A `TensorProto` with its values in typed fields, undecoded; `size`: bytes of the tensor that the
    /// last of them fills up.
    Values { message: Bytes, size: usize },
    /// Converted from JSON already: raw as above, of the datatype named, `count` elements.
    Json { data: Bytes, count: usize },
    /// Raw as above, to be found, and read where its bytes must be looked at, before it is prepared.
    Shared(Place),
    /// Found there; to be read when its batch is brought together.
    Found(Slice),
    /// No data came for this input.
    Missing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestedOutput {
    pub name: String,
    /// HTTP: `parameters.binary_data`, when given.
    pub binary: Option<bool>,
    /// `parameters.classification`; 0 = none: the output itself.
    pub classes: usize,
    /// Where its data goes, when not into the answer.
    pub place: Option<Place>,
}

impl RequestedOutput {
    fn owned_bytes(&self) -> usize {
        self.name.capacity() + self.place.as_ref().map_or(0, |place| place.region.capacity())
    }
}

/// One output to encode.
#[derive(Clone, Debug)]
pub struct OutputTensor<'a> {
    pub name: &'a str,
    pub datatype: Datatype,
    pub shape: Shape,
    /// Raw little-endian, row-major; BYTES length-prefixed.
    pub data: &'a [u8],
    /// HTTP: in the binary part rather than in JSON.
    pub binary: bool,
    /// It went elsewhere, and is empty here.
    pub placed: bool,
}

/// What every answer names.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    pub model: &'a str,
    pub version: &'a str,
    pub id: Option<&'a str>,
    /// Where the request brought examples: for which signatures.
    pub asked: Option<&'a Asked>,
}
