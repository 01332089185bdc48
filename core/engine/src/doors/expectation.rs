//! What a request's `Expect` asks for. One thing is known, the interim 100 that the HTTP/1
//! library sends (RFC 9110, 10.1.1).

use crate::error::{Error, ErrorCode, Result};
use crate::tensor::shown;
use http::header::EXPECT;
use http::{Request, Version};

/// # Errors
/// `UnmetExpectation` for everything else, which HTTP/1.0 does not have.
pub fn check<B>(request: &Request<B>) -> Result<()> {
    if request.version() == Version::HTTP_10 {
        return Ok(());
    }
    for value in request.headers().get_all(EXPECT) {
        let mut asked = value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        if let Some(other) = asked.find(|one| !one.is_empty() && !one.eq_ignore_ascii_case(b"100-continue")) {
            return Err(Error::new(
                ErrorCode::UnmetExpectation,
                format!(
                    "the expectation '{}' is not known: expected 100-continue",
                    shown(&String::from_utf8_lossy(other))
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(version: Version, expects: &[&str]) -> Result<()> {
        let mut request = Request::builder().version(version);
        for expect in expects {
            request = request.header(EXPECT, *expect);
        }
        check(&request.body(()).unwrap())
    }

    #[test]
    fn only_100_continue_is_known() {
        for known in [&[][..], &[""], &["100-continue"], &["100-Continue"], &["100-continue, 100-continue"]] {
            assert_eq!(checked(Version::HTTP_11, known), Ok(()), "{known:?}");
        }
        for other in [&["200-ok"][..], &["100-continue, x=1"], &["100-continue", "200-ok"]] {
            assert_eq!(
                checked(Version::HTTP_2, other).unwrap_err().code,
                ErrorCode::UnmetExpectation,
                "{other:?}"
            );
        }
        assert_eq!(checked(Version::HTTP_10, &["200-ok"]), Ok(()));
    }
}
