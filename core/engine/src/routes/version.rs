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

/// Bytes of an alias.
pub const LONGEST_ALIAS: usize = 255;

/// Another name for a version: TensorFlow Serving's labels have no slash and no colon, `@` stands before
/// an alias in a path, and nobody may take it for a number.
///
/// # Errors
/// `BadRequest` that says what is wrong with it.
pub fn alias(text: &str) -> Result<&str> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > LONGEST_ALIAS {
        "it has more than 255 bytes"
    } else if is_number(text) {
        "it is a number"
    } else if text.trim() != text || text.contains(char::is_control) {
        "it begins or ends with a space, or has control characters"
    } else if text.contains(['/', ':', '@', '\\']) {
        "it has one of / : @ \\"
    } else if [".", ".."].contains(&text) {
        "it could be a path"
    } else {
        return Ok(text);
    };
    Err(Error::bad(format!("'{}' is no name for a version: {why}", shown(text))))
}

/// Whether it is one for anybody, however large.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
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
    fn no_alias_could_be_a_number_or_a_path() {
        let longest = "a".repeat(LONGEST_ALIAS);
        for good in
            ["stable", "v2", "blue-green_1.0", "2024-06", "1.0", "\u{e9}t\u{e9} 2", "latest", &longest]
        {
            assert!(alias(good).is_ok() && parse_version(good).is_err(), "{good}");
        }
        let spaced = [" a", "a ", "a\nb", "\u{a0}a"];
        let parts = ["a/b", "a:b", "a@b", "a\\b", ".", ".."];
        for bad in ["", "3", "-1", "+3", "007", "99999999999999999999"].into_iter().chain(spaced).chain(parts)
        {
            assert_eq!(alias(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
        assert!(alias(&(longest + "a")).is_err());
    }
}
