//! What a request may call things: each name is held while the request is, and counted; a
//! model's is a folder's.

use crate::error::{Error, Result};
use crate::tensor::shown;
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// Bytes of a request's id, wherever it stands.
pub const LONGEST_ID: usize = 128;
/// Bytes of the name of a version, a tensor or a datatype: longer than any there is.
pub const LONGEST_NAME: usize = 1024;
/// Bytes of a model's name: no file system has folders with longer ones.
pub const LONGEST_MODEL: usize = 255;

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

/// A model's name of a length that one can have.
///
/// # Errors
/// As [`id`].
pub fn model(text: &str) -> Result<&str> {
    bounded("the model's name", text, LONGEST_MODEL)
}

/// A model's name out of a path or a command, where it could mean another place than a folder's
/// (fault 61).
///
/// # Errors
/// `BadRequest` where it is empty or too long, or could be a path.
pub fn plain_model(text: &str) -> Result<&str> {
    if text.is_empty() {
        return Err(Error::bad("Model name cannot be empty"));
    }
    let hostile = |c: char| c == '/' || c == '\\' || c.is_control();
    if text == "." || text.contains("..") || text.contains(hostile) {
        return Err(Error::bad(format!(
            "invalid model name '{}', model name must not contain path traversal characters",
            shown(text)
        )));
    }
    model(text)
}

/// A model's name as records of requests have it: whole where a model can be called so, which is
/// how others know of which one they tell; else as errors show it.
#[must_use]
pub fn recorded_model(text: &str) -> String {
    let is_whole = text.len() <= LONGEST_MODEL && !text.contains(|c: char| c.is_control());
    if is_whole { text.to_owned() } else { shown(text) }
}

/// A [`plain_model`] as it came percent-encoded: decoded once.
///
/// # Errors
/// As those, and `BadRequest` where it is no text.
pub fn encoded_model(encoded: &str) -> Result<String> {
    let name = percent_decode_str(encoded)
        .decode_utf8()
        .map_err(|_| Error::bad("the model name is not valid UTF-8"))?;
    plain_model(&name)?;
    Ok(name.into_owned())
}

fn bounded<'a>(what: &str, text: &'a str, longest: usize) -> Result<&'a str> {
    match text.len() {
        len if len <= longest => Ok(text),
        len => Err(Error::bad(format!("{what} has {len} bytes, at most {longest} are accepted"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn fault_61_names_that_could_be_paths_are_refused() {
        for bad in ["", ".", "%2e%2e", "a%2Fb", "a%5Cb", "a%00b", "..", "%ff", "a%0Ab", "a%7f"] {
            assert_eq!(encoded_model(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
        assert_eq!(encoded_model("my%20model.v1").unwrap(), "my model.v1");
        assert_eq!(encoded_model("50%").unwrap(), "50%");
        // Decoded once only: the name really holds a percent sign.
        assert_eq!(encoded_model("a%252Fb").unwrap(), "a%2Fb");
    }

    #[test]
    fn a_models_name_is_as_long_as_a_folders() {
        let longest = "\u{e9}".repeat(LONGEST_MODEL / 2);
        assert_eq!(plain_model(&longest).unwrap(), longest);
        let error = plain_model(&(longest + "ab")).unwrap_err();
        assert_eq!(error.message, "the model's name has 256 bytes, at most 255 are accepted");
    }

    #[test]
    fn fault_112_records_have_the_whole_name_of_a_model_and_the_beginning_of_what_is_none() {
        let longest = "\u{e9}".repeat(127);
        assert_eq!(recorded_model(&longest), longest);
        assert_eq!(recorded_model(&"x".repeat(255)), "x".repeat(255));
        assert_eq!(recorded_model(&"x".repeat(256)), format!("{}...", "x".repeat(128)));
        assert_eq!(recorded_model("a\nb"), "a\u{fffd}b");
    }
}
