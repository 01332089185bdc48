//! How a request says which version is to answer.

use super::key::Keys;
use crate::error::{Error, Result};
use crate::tensor::shown;
use std::ops::RangeInclusive;

/// What a request says of who is to answer it. What is not said is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<'a> {
    pub model: &'a str,
    /// As the client wrote it: a number, or an alias.
    pub version: &'a str,
    /// An alias, which counts where no version is named.
    pub alias: &'a str,
    /// A number or an alias that a tester's header names; it counts where nothing else is named.
    pub forced: &'a str,
    pub keys: Keys<'a>,
}

impl<'a> Reference<'a> {
    pub fn to(model: &'a str, version: &'a str) -> Self {
        Reference { model, version, ..Reference::default() }
    }
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
/// an alias in a path, and nobody may take it for a number, for another name, or for what MLflow calls the
/// highest version.
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
    } else if text.trim() != text || text.contains(is_unseen) {
        "it begins or ends with a space, or has characters that are not seen"
    } else if text.contains(['/', ':', '@', '\\']) {
        "it has one of / : @ \\"
    } else if [".", ".."].contains(&text) {
        "it could be a path"
    } else if text.eq_ignore_ascii_case("latest") {
        "it means the highest version elsewhere, and no alias moves by itself"
    } else {
        return Ok(text);
    };
    Err(Error::bad(format!("'{}' is no name for a version: {why}", shown(text))))
}

/// Whether it is one for anybody, however large, in whatever script, and with `_` between its digits.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.contains(char::is_numeric) && digits.chars().all(|c| c.is_numeric() || c == '_')
}

/// Whether two names may look the same but for it, or it makes a line of its own: Unicode's controls,
/// formats, and separators of lines and paragraphs.
fn is_unseen(c: char) -> bool {
    c.is_control() || FORMATS.iter().any(|range| range.contains(&c))
}

/// Unicode's general categories Cf, Zl and Zp, and what else it says is to be drawn as nothing
/// (Default_Ignorable_Code_Point).
const FORMATS: &[RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

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
        for good in [
            "stable",
            "v2",
            "blue-green_1.0",
            "2024-06",
            "1.0",
            "\u{e9}t\u{e9} 2",
            "latest-1",
            "1_a",
            "_",
            &longest,
        ] {
            assert!(alias(good).is_ok() && parse_version(good).is_err(), "{good}");
        }
        let spaced = [" a", "a ", "a\nb", "\u{a0}a"];
        let parts = ["a/b", "a:b", "a@b", "a\\b", ".", ".."];
        let numbers =
            ["3", "-1", "+3", "007", "99999999999999999999", "1_0", "_1", "\u{ff11}\u{ff12}", "\u{663}"];
        let deceiving =
            ["a\u{200b}", "\u{202e}a", "a\u{2028}b", "a\u{2029}b", "a\u{ad}b", "a\u{feff}b", "a\u{e0041}"];
        let meant = ["", "latest", "Latest", "LATEST"];
        for bad in numbers.into_iter().chain(spaced).chain(parts).chain(deceiving).chain(meant) {
            assert_eq!(alias(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
        assert!(alias(&(longest + "a")).is_err());
    }
}
