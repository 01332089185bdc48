//! Where a request body's JSON ends and its binary tensors begin.

use crate::error::{Error, Result};
use crate::tensor::shown;
use bytes::Bytes;

/// A request body, cut by `Inference-Header-Content-Length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// No header: the whole body is JSON.
    Json(Bytes),
    /// JSON, then the binary tensors in the order of the inputs.
    Mixed { json: Bytes, binary: Bytes },
    /// The header says 0: the body is the one input's bytes.
    Raw(Bytes),
}

/// Cuts a body by the value of `Inference-Header-Content-Length`; both count
/// bytes after decompression.
///
/// # Errors
/// `BadRequest` when the value is not a plain number in `[0, body.len()]`
/// (fault 42).
pub fn split(header: Option<&str>, mut body: Bytes) -> Result<Split> {
    let Some(header) = header else {
        return Ok(Split::Json(body));
    };
    match number(header).filter(|&json| json <= body.len()) {
        None => Err(Error::bad(format!(
            "inference header size should be in range (0, {}), got: {}",
            body.len(),
            shown(header)
        ))),
        Some(0) => Ok(Split::Raw(body)),
        Some(json) => {
            let json = body.split_to(json);
            Ok(Split::Mixed { json, binary: body })
        }
    }
}

/// Digits only: a sign or anything after them is not a length.
fn number(header: &str) -> Option<usize> {
    let digits = header.trim_ascii();
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: Bytes = Bytes::from_static(b"{}abcd");

    #[test]
    fn the_header_cuts_json_from_binary() {
        assert_eq!(split(None, BODY).unwrap(), Split::Json(BODY));
        assert_eq!(split(Some("0"), BODY).unwrap(), Split::Raw(BODY));
        let mixed = Split::Mixed { json: BODY.slice(..2), binary: BODY.slice(2..) };
        assert_eq!(split(Some("2"), BODY).unwrap(), mixed);
        assert_eq!(split(Some(" 2 "), BODY).unwrap(), mixed);
        assert_eq!(split(Some("6"), BODY).unwrap(), Split::Mixed { json: BODY, binary: Bytes::new() });
        assert_eq!(split(Some("0"), Bytes::new()).unwrap(), Split::Raw(Bytes::new()));
    }

    #[test]
    fn fault_42_huge_negative_and_text_lengths_are_bad_requests() {
        for bad in [
            "7",
            "-1",
            "+2",
            "",
            " ",
            "abc",
            "2x",
            "0x2",
            "1e1",
            "2.0",
            "18446744073709551616",
            "99999999999999999999999",
        ] {
            let error = split(Some(bad), BODY).unwrap_err();
            assert!(
                error.message.starts_with("inference header size should be in range (0, 6), got: "),
                "{error}"
            );
        }
        let long = "9".repeat(100_000);
        assert!(split(Some(&long), BODY).unwrap_err().message.len() < 300);
    }

    proptest! {
        #[test]
        fn any_header_and_body_end(header: Option<String>, body: Vec<u8>) {
            let _ = split(header.as_deref(), Bytes::from(body));
        }
    }
}
