//! TensorFlow Serving's `predict` over REST: JSON bodies <-> requests and answers.
//!
//! A body names no datatypes, so it is decoded by the signature of the version that is to answer. As in
//! `json`, parsing never recurses, and depth is bounded.

mod answer;
mod column;
mod nest;
mod request;
mod words;

pub use answer::{ColumnAnswer, RowAnswer};
pub use request::decode_predict;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
