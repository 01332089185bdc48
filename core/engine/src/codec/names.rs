//! Bounds on what a request calls things: each name is held while the request is, and counted.

use crate::error::{Error, Result};
use std::sync::Arc;

/// Bytes of a request's id, wherever it stands.
pub const LONGEST_ID: usize = 128;
/// Bytes of the name of a model, a version, a tensor or a datatype: longer than any there is.
pub const LONGEST_NAME: usize = 1024;

/// # Errors
/// `BadRequest` naming the limit.
pub fn id(text: &str) -> Result<Arc<str>> {
    bounded("the request's id", text, LONGEST_ID).map(Arc::from)
}

/// `what` is a noun with its article.
///
/// # Errors
/// As [`id`].
pub fn name<'a>(what: &str, text: &'a str) -> Result<&'a str> {
    bounded(what, text, LONGEST_NAME)
}

fn bounded<'a>(what: &str, text: &'a str, longest: usize) -> Result<&'a str> {
    match text.len() {
        len if len <= longest => Ok(text),
        len => Err(Error::bad(format!("{what} has {len} bytes, at most {longest} are accepted"))),
    }
}
