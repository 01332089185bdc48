//! TensorFlow Serving's `predict`, `classify` and `regress` over REST: JSON bodies <-> requests and answers.
//!
//! A body names no datatypes, so it is decoded by the signature of the version that is to answer. As in
//! `json`, parsing never recurses, and depth is bounded.

mod answer;
mod column;
mod examples;
mod names;
mod nest;
mod request;
mod results;
mod words;

pub use answer::{ColumnAnswer, RowAnswer};
pub use examples::{decode_classify, decode_regress};
pub use request::decode_predict;
pub use results::{ClassifyAnswer, RegressAnswer};

#[cfg(test)]
mod example_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
