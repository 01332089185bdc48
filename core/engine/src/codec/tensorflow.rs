//! TensorFlow Serving's requests and answers: `Predict` with its tensors, `Classify`, `Regress` and
//! `MultiInference` with their examples.
//!
//! As in `protobuf`, tensor data stays in slices of the message; values in typed fields, and examples,
//! stay undecoded until the model is known.

mod answer;
mod classified;
mod examples;
mod features;
mod logs;
mod records;
mod refusals;
mod request;
mod results;
mod rows;
mod signatures;
mod types;
mod values;

pub use answer::PredictResponse;
pub(super) use classified::{Classes, Found, Numbers, found};
pub use examples::{Examples, decode_classify, decode_multi_inference, decode_regress};
pub(super) use features::Kind;
pub use logs::{Logged, decode_log};
pub use records::{masked, records};
pub(super) use refusals::{no_signature, reworded};
pub use request::{decode_predict, label};
pub use results::{ClassificationResponse, MultiInferenceResponse, RegressionResponse};
pub(super) use rows::rows;
pub(super) use signatures::asked;
pub(super) use types::name_of;
pub(super) use values::values_to_raw;

/// The signature that every model has; also what an empty name means.
pub(super) const SIGNATURE: &str = "serving_default";

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
