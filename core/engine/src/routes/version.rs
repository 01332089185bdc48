//! How a request says which version is to answer.

use crate::error::{Error, Result};
use crate::tensor::shown;

/// What a request names.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    pub model: &'a str,
    /// As the client wrote it: a number, an alias, or nothing.
    pub version: &'a str,
}

/// A version from a request: empty for the default route, else a positive integer,
/// strictly parsed.
///
/// # Errors
/// `BadRequest` with the phrases clients know.
pub fn parse_version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    match integer(text) {
        Some(n) if n > 0 => Ok(u64::try_from(n).ok()),
        Some(n) => Err(Error::bad(format!(
            "invalid model version specified '{n}' , version should be an integral value > 0"
        ))),
        None => Err(Error::bad(format!(
            "failed to get model version from specified version string '{}' (details: not an integer), \
             version should be an integral value > 0",
            shown(text)
        ))),
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// Whether `text` can name a version beside its number: nothing that anyone could take for one.
pub fn is_alias(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn versions_are_parsed_strictly() {
        assert_eq!(parse_version("").unwrap(), None);
        assert_eq!(parse_version("3").unwrap(), Some(3));
        for bad in ["0", "-1", "3abc", "+3", " 3", "1.0", "99999999999999999999"] {
            assert_eq!(parse_version(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
    }

    #[test]
    fn no_alias_could_be_a_number() {
        for good in ["stable", "v2", "blue-green_1.0"] {
            assert!(is_alias(good) && parse_version(good).is_err(), "{good}");
        }
        for bad in ["", "3", "-1", "+3", "a b", "a/b", "\u{e9}"] {
            assert!(!is_alias(bad), "{bad}");
        }
    }
}
