//! `ModelInfer` and its small neighbours: protobuf bytes <-> requests and answers.
//!
//! Decoding keeps tensor data as slices of the message; typed contents stay
//! undecoded until the model is known. Encoding computes the exact size first
//! and copies each output once, into the frame that goes to the socket.

mod answer;
mod descriptors;
mod health;
mod parameters;
mod reflection;
mod refusals;
mod request;
pub(super) mod write;

pub use answer::{
    ModelInferResponse, ModelStreamInferResponse, encode_bool, encode_infer, encode_stream_error,
    encode_stream_infer,
};
pub use health::{ServingStatus, decode_health_check, encode_health_check, encode_health_list};
pub use reflection::reflect;
pub(super) use refusals::{no_data, no_sequences, no_shared_classes, reserved};
pub use request::{decode_infer, decode_model_ref};

#[cfg(test)]
mod tests;
