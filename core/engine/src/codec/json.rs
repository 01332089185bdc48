//! The REST bodies of inference: JSON with bare NaN, and the binary tensors
//! that may follow it.
//!
//! Parsing never recurses: depth is counted, at most [`MAX_DEPTH`], also in keys
//! that are ignored (fault 59).

use bytes::Bytes;

pub(super) mod answer;
mod data;
pub(super) mod document;
pub(super) mod elements;
pub(super) mod lists;
pub(super) mod nest;
pub(crate) mod number;
mod raw;
pub(super) mod request;
pub(crate) mod values;

pub use answer::{InferAnswer, encode_infer};
pub use document::MAX_DEPTH;
pub use raw::decode_raw_binary;
pub use request::decode_infer;

/// A text as JSON writes it.
pub fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    values::string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// The body of an answer that is an error.
pub fn error(message: &str) -> Bytes {
    format!("{{\"error\":{}}}", quoted(message)).into()
}

#[cfg(test)]
mod tests;
