//! The REST bodies of inference: JSON with bare NaN, and the binary tensors
//! that may follow it.
//!
//! Parsing never recurses: depth is counted, at most [`MAX_DEPTH`], also in keys
//! that are ignored (fault 59).

mod answer;
mod data;
mod document;
pub(crate) mod number;
mod raw;
mod request;
pub(crate) mod values;

pub use answer::encode_infer;
pub use document::MAX_DEPTH;
pub use raw::decode_raw_binary;
pub use request::{decode_infer, decode_infer_until};

#[cfg(test)]
mod tests;
