//! A protocol on the HTTP port: a table of what its paths name, what its bodies say, and its own
//! statuses. How a request is read, run and answered is common to all.

use crate::admission::Reservation;
use crate::codec::InferRequest;
use crate::codec::answer::Form;
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::stop::Stop;
use crate::tensor::Signature;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;

#[derive(Debug)]
pub struct Protocol {
    /// The first whose pattern matches says what a path is.
    pub rows: &'static [Row],
    pub status: fn(ErrorCode) -> StatusCode,
    /// The body of an error, of its words.
    pub error: fn(&str) -> Bytes,
    /// A model's name out of a path, as it came.
    pub name: fn(&str) -> Result<String>,
}

/// In a pattern `{model}` stands for any segment, `{version}` for one of digits, and `**` at the
/// end for any number of them.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub verb: Verb,
    pub pattern: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// And HEAD.
    Get,
    Post,
    /// Whoever answers looks at it.
    Any,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Infer(&'static Bodies),
    /// Answered here.
    Local(fn(&Shared, &Named) -> Result<Response<Full<Bytes>>>),
    /// Answered, or refused, by whoever pulls calls.
    Call,
    /// `/`: the same, but that browsers are sent on to a page.
    Entrance,
    /// For browsers: only to who names this server; a file, or else as `Call`.
    Page,
    /// Refused with the error that is made of the first segment of `**`.
    Nowhere(fn(&str) -> Error),
}

/// What bodies of inference say, and how their answers look.
#[derive(Debug)]
pub struct Bodies {
    /// What of a head its body cannot be read without; it may refuse the body unread.
    pub head: fn(&HeaderMap) -> Result<Option<String>>,
    pub split: fn(Option<&str>, Bytes) -> Result<Split>,
    /// The signature is there where the split body asked for it.
    pub decode: fn(&Stop, &str, Split, Option<&Signature>, &mut Reservation) -> Result<InferRequest>,
    pub form: &'static dyn Form,
    /// Whether a request may be a CloudEvent, which is answered with one.
    pub events: bool,
}

/// A body before it is decoded.
#[derive(Debug)]
pub struct Split {
    /// What has to be walked: where it is much, away from the I/O threads.
    pub text: Bytes,
    pub binary: Bytes,
    pub needs_signature: bool,
}

/// What a path names.
#[derive(Debug, Default)]
pub struct Named {
    pub model: String,
    pub version: String,
}

impl Protocol {
    /// What is done with a request; `None` where none of its paths matches.
    pub fn find(&self, method: &Method, path: &str) -> Option<Result<(Kind, Named)>> {
        let (row, parts) = self.rows.iter().find_map(|row| Some((row, matches(row.pattern, path)?)))?;
        Some(self.take(row, &parts, method))
    }

    fn take(&self, row: &Row, parts: &Parts<'_>, method: &Method) -> Result<(Kind, Named)> {
        match row.kind {
            Kind::Nowhere(error) => return Err(error(parts.rest)),
            Kind::Call | Kind::Entrance | Kind::Page => return Ok((row.kind, Named::default())),
            Kind::Infer(_) | Kind::Local(_) => {}
        }
        let model = parts.model.map(self.name).transpose()?.unwrap_or_default();
        row.verb.check(method)?;
        Ok((row.kind, Named { model, version: parts.version.to_owned() }))
    }
}

impl Verb {
    /// # Errors
    /// `MethodNotAllowed`, naming the one to use.
    pub fn check(self, method: &Method) -> Result<()> {
        let (fits, use_it) = match self {
            Verb::Any => return Ok(()),
            Verb::Get => (matches!(*method, Method::GET | Method::HEAD), "GET"),
            Verb::Post => (*method == Method::POST, "POST"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::new(ErrorCode::MethodNotAllowed, format!("Method Not Allowed: use {use_it}")))
    }
}

#[derive(Debug, Default, PartialEq)]
struct Parts<'p> {
    model: Option<&'p str>,
    version: &'p str,
    /// The first segment that `**` stands for.
    rest: &'p str,
}

fn matches<'p>(pattern: &str, path: &'p str) -> Option<Parts<'p>> {
    let mut parts = Parts::default();
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        if wanted == "**" {
            parts.rest = segments.next().unwrap_or_default();
            return Some(parts);
        }
        let segment = segments.next()?;
        match wanted {
            "{model}" => parts.model = Some(segment),
            "{version}" if is_number(segment) => parts.version = segment,
            literal if literal == segment => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(parts)
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_paths() {
        let of = |model, version, rest| Parts { model, version, rest };
        let versioned = "/v2/models/{model}/versions/{version}/infer";
        for (pattern, path, parts) in [
            ("/", "/", Some(of(None, "", ""))),
            ("/", "/v2", None),
            ("/v2/**", "/v2", Some(of(None, "", ""))),
            ("/v2/**", "/v2/a/b", Some(of(None, "", "a"))),
            ("/v2/**", "/v2a", None),
            ("/v2/models/{model}/infer", "/v2/models/m%20x/infer", Some(of(Some("m%20x"), "", ""))),
            ("/v2/models/{model}/infer", "/v2/models/m/infer/", None),
            ("/v2/models/{model}/infer", "/v2/models//infer", Some(of(Some(""), "", ""))),
            (versioned, "/v2/models/m/versions/12/infer", Some(of(Some("m"), "12", ""))),
            (versioned, "/v2/models/m/versions/a/infer", None),
            (versioned, "/v2/models/m/versions//infer", None),
        ] {
            assert_eq!(matches(pattern, path), parts, "{pattern} {path}");
        }
    }
}
