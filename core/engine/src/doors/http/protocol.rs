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
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

#[derive(Debug)]
pub struct Protocol {
    /// The first whose pattern matches says what a path is.
    pub rows: &'static [Row],
    /// Whether letters of a path may be large or small, but for the names in it.
    pub any_case: bool,
    pub status: fn(ErrorCode) -> StatusCode,
    /// The body of an error, and of which type it is.
    pub error: fn(&Error) -> (Bytes, HeaderValue),
    /// A model's name out of a path, as it came.
    pub name: fn(&str) -> Result<String>,
    /// A version out of a path, as routes take it.
    pub version: fn(Version<'_>) -> Result<String>,
    /// For a path that is asked with another verb than the one it takes. Where there is none the rows
    /// below are looked at.
    pub wrong_verb: Option<fn(&str) -> Error>,
}

/// In a pattern `{model}` stands for any segment, `{name}` for a model's name in one that is not empty
/// and has no colon, `{label}` for such a one that names a version, `{version}` for one of digits,
/// `{model}@{label}` for two in one segment, and `**` at the end for any number of segments. Behind a name
/// in braces may follow what ends the segment, as in `{name}:predict`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub verb: Verb,
    pub pattern: &'static str,
    pub kind: Kind,
}

pub const fn row(verb: Verb, pattern: &'static str, kind: Kind) -> Row {
    Row { verb, pattern, kind }
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
    /// Metrics under TensorFlow Serving's names, which are drawn away from the I/O threads.
    Metrics,
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
    pub decode: fn(&Stop, &str, &Split, Option<&Signature>, &mut Reservation) -> Result<Decoded>,
    /// In whose words requests are refused before they are decoded.
    pub form: &'static dyn Form,
    /// Whether a request may be a CloudEvent, which is answered with one.
    pub events: bool,
}

/// A request, and how the answer to it looks.
pub type Decoded = (InferRequest, &'static dyn Form);

/// A body before it is decoded.
#[derive(Debug, Default)]
pub struct Split {
    /// What has to be walked: where it is much, away from the I/O threads.
    pub text: Bytes,
    pub binary: Bytes,
    pub needs_signature: bool,
    /// Whether the text is a table (CSV), no JSON.
    pub is_table: bool,
    /// The path of the call by which whoever pulls calls makes the text of what came.
    pub made_by: Option<&'static str>,
}

/// A version as a path has it: an empty number where it names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version<'p> {
    Number(&'p str),
    /// Percent-encoded.
    Label(&'p str),
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
        for row in self.rows {
            let Some(parts) = matches(row.pattern, path, self.any_case) else { continue };
            match (row.verb.instead_of(method), self.wrong_verb) {
                (None, _) => return Some(self.take(row, &parts)),
                // Of a name that can't be that is told first.
                (Some(needed), Some(wrong)) => return Some(self.named(&parts).and(Err(wrong(needed)))),
                (Some(_), None) => {}
            }
        }
        None
    }

    /// An error as the protocol tells it: what counts and logs outcomes knows statuses by their words.
    pub fn told(&self, error: Error) -> Error {
        match error.code {
            ErrorCode::Full if (self.status)(ErrorCode::Full) == StatusCode::TOO_MANY_REQUESTS => {
                Error { code: ErrorCode::TooManyRequests, ..error }
            }
            _ => error,
        }
    }

    fn take(&self, row: &Row, parts: &Parts<'_>) -> Result<(Kind, Named)> {
        match row.kind {
            Kind::Nowhere(error) => return Err(error(parts.rest)),
            Kind::Call | Kind::Metrics | Kind::Entrance | Kind::Page => {
                return Ok((row.kind, Named::default()));
            }
            Kind::Infer(_) | Kind::Local(_) => {}
        }
        Ok((row.kind, self.named(parts)?))
    }

    fn named(&self, parts: &Parts<'_>) -> Result<Named> {
        let model = parts.model.map(self.name).transpose()?.unwrap_or_default();
        Ok(Named { model, version: (self.version)(parts.version)? })
    }
}

impl Verb {
    /// What it is, where a method is none of it.
    fn instead_of(self, method: &Method) -> Option<&'static str> {
        match self {
            Verb::Any => None,
            Verb::Get => (!matches!(*method, Method::GET | Method::HEAD)).then_some("GET"),
            Verb::Post => (*method != Method::POST).then_some("POST"),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Parts<'p> {
    model: Option<&'p str>,
    version: Version<'p>,
    /// The first segment that `**` stands for.
    rest: &'p str,
}

fn matches<'p>(pattern: &str, path: &'p str, any_case: bool) -> Option<Parts<'p>> {
    let mut parts = Parts { model: None, version: Version::Number(""), rest: "" };
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        if wanted == "**" {
            parts.rest = segments.next().unwrap_or_default();
            return Some(parts);
        }
        parts.read(wanted, segments.next()?, any_case)?;
    }
    segments.next().is_none().then_some(parts)
}

impl<'p> Parts<'p> {
    /// One segment of a path; `None` where it is not as the pattern wants it.
    fn read(&mut self, wanted: &str, segment: &'p str, any_case: bool) -> Option<()> {
        let Some((kind, ending)) = wanted.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return same(wanted, segment, any_case).then_some(());
        };
        if let Some(label) = ending.strip_prefix('@') {
            let (model, found) = segment.rsplit_once('@')?;
            self.model = Some(model);
            return self.read(label, found, any_case);
        }
        let (found, end) = segment.split_at_checked(segment.len().checked_sub(ending.len())?)?;
        if !same(ending, end, any_case) {
            return None;
        }
        match kind {
            "model" => self.model = Some(found),
            "name" if is_name(found) => self.model = Some(found),
            "label" if is_name(found) => self.version = Version::Label(found),
            "version" if is_number(found) => self.version = Version::Number(found),
            _ => return None,
        }
        Some(())
    }
}

fn same(one: &str, other: &str, any_case: bool) -> bool {
    if any_case { one.eq_ignore_ascii_case(other) } else { one == other }
}

fn is_name(segment: &str) -> bool {
    !segment.is_empty() && !segment.contains(':')
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_paths() {
        let of = |model, version, rest| Parts { model, version: Version::Number(version), rest };
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
            assert_eq!(matches(pattern, path, false), parts, "{pattern} {path}");
        }
    }

    #[test]
    fn a_name_may_be_followed_by_what_ends_its_segment() {
        let (named, label) = ("/v1/models/{name}:predict", "/v1/models/{name}/labels/{label}:predict");
        for (pattern, path, any_case, names) in [
            (named, "/v1/models/m:predict", false, Some(("m", Version::Number("")))),
            (named, "/V1/Models/M:PREDICT", true, Some(("M", Version::Number("")))),
            (named, "/V1/models/m:predict", false, None),
            (named, "/v1/models/m:Predict", false, None),
            (named, "/v1/models/m%3a:predict", true, Some(("m%3a", Version::Number("")))),
            (named, "/v1/models/:predict", true, None),
            (named, "/v1/models/m:x:predict", true, None),
            (named, "/v1/models/predict", true, None),
            (named, "/v1/models/\u{e9}", true, None),
            (label, "/v1/models/m/labels/a%20b:predict", true, Some(("m", Version::Label("a%20b")))),
            (label, "/v1/models/m:x/labels/a:predict", true, None),
            (label, "/v1/models/m/labels/:predict", true, None),
        ] {
            let found = matches(pattern, path, any_case);
            let found = found.map(|parts| (parts.model.unwrap(), parts.version));
            assert_eq!(found, names, "{pattern} {path}");
        }
    }
}
