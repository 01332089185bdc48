//! TensorFlow Serving's `Predict`: protobuf bytes <-> requests and answers.
//!
//! As in `protobuf`, tensor data stays in slices of the message; values in typed fields stay undecoded
//! until the model is known.

mod answer;
mod refusals;
mod request;
mod types;
mod values;

pub use answer::PredictResponse;
pub(super) use refusals::{no_signature, reworded};
pub use request::{decode_predict, label};
pub(super) use types::name_of;
pub(super) use values::values_to_raw;

/// The one signature that a model of ONNX has; also what an empty name means.
pub(super) const SIGNATURE: &str = "serving_default";

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
