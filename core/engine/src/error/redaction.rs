//! What of an error may be logged where values of its model's tensors may not.

use super::{Error, ErrorCode};
use std::collections::HashSet;

/// Whether an error's message quotes a value that its request brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Quotes {
    /// Nobody said that it doesn't.
    #[default]
    Perhaps,
    Nothing,
    Value(Box<Quoted>),
}

/// A value that an error's message quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The tensor, or what else the request calls that it is of.
    input: String,
    /// The message without it.
    brief: String,
}

/// In place of a message that may quote a value.
const WITHHELD: &str = "told to its client alone: it may quote a value of a redacted input";

impl Error {
    /// Its message quotes a value of `input`; `brief`: the same without the value.
    #[must_use]
    pub fn quoting(mut self, input: &str, brief: impl Into<String>) -> Self {
        self.quotes = Quotes::Value(Box::new(Quoted { input: input.to_owned(), brief: brief.into() }));
        self
    }

    /// Its message quotes no value of any tensor: names, datatypes, shapes and counts are none.
    #[must_use]
    pub fn quoting_nothing(mut self) -> Self {
        self.quotes = Quotes::Nothing;
        self
    }
}

/// Says which tensors of a version are redacted: all but those that it shows. What no signature
/// names, a column of a tensor say, is redacted too.
#[derive(Debug, Default)]
pub struct Redaction {
    shown: HashSet<Box<str>>,
}

impl Redaction {
    /// `None` where none of `tensors` is redacted.
    pub fn of<'a>(
        mut tensors: impl Iterator<Item = &'a str>,
        shown: impl IntoIterator<Item = String>,
    ) -> Option<Self> {
        let shown = shown.into_iter().map(String::into_boxed_str).collect();
        let redaction = Redaction { shown };
        tensors.any(|tensor| redaction.hides(tensor)).then_some(redaction)
    }

    pub fn hides(&self, tensor: &str) -> bool {
        !self.shown.contains(tensor)
    }

    /// The error as it may be logged; `None`: as it is.
    pub fn redacted(&self, error: &Error) -> Option<Error> {
        let message = match &error.quotes {
            _ if !may_quote(error.code) => return None,
            Quotes::Nothing if error.detail.is_none() => return None,
            // The original may quote what its message does not.
            Quotes::Nothing => error.message.clone(),
            Quotes::Value(quoted) if !self.hides(&quoted.input) => return None,
            Quotes::Value(quoted) => quoted.brief.clone(),
            Quotes::Perhaps => WITHHELD.to_owned(),
        };
        Some(Error { message, detail: None, ..error.clone() })
    }
}

/// Whether errors of that code can be about what a tensor holds. The others are of the request's head, of
/// sizes, or of the server's state.
fn may_quote(code: ErrorCode) -> bool {
    match code {
        ErrorCode::BadRequest
        | ErrorCode::BadData
        | ErrorCode::Internal
        | ErrorCode::Unimplemented
        | ErrorCode::FailedPrecondition
        | ErrorCode::SchemaMismatch => true,
        ErrorCode::NotFound
        | ErrorCode::Full
        | ErrorCode::Expired
        | ErrorCode::Cancelled
        | ErrorCode::TooLarge
        | ErrorCode::Unavailable
        | ErrorCode::MethodNotAllowed
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::UnsupportedEncoding
        | ErrorCode::UnmetExpectation
        | ErrorCode::SlowBody
        | ErrorCode::Unauthenticated
        | ErrorCode::PermissionDenied
        | ErrorCode::Misdirected
        | ErrorCode::TooManyRequests => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(shown: &[&str]) -> Option<Redaction> {
        Redaction::of(["a", "b"].into_iter(), shown.iter().map(|&name| name.to_owned()))
    }

    #[test]
    fn where_every_tensor_is_shown_nothing_is_redacted() {
        assert!(redaction(&["a", "b"]).is_none());
        let some = redaction(&["b"]).unwrap();
        assert_eq!(["a", "b", "a column"].map(|name| some.hides(name)), [true, false, true]);
    }

    #[test]
    fn a_quoted_value_of_a_redacted_input_goes_and_of_another_stays() {
        let redaction = redaction(&["b"]).unwrap();
        let of = |input| {
            let error = Error::bad("got 7.5").detail("7.5").quoting(input, "too_large");
            redaction.redacted(&error).map(|error| (error.message, error.detail))
        };
        assert_eq!(of("a"), Some(("too_large".to_owned(), None)));
        assert_eq!(of("b"), None);
        let shape = Error::bad("expected [2], got [3]").quoting_nothing();
        assert_eq!(redaction.redacted(&shape), None);
        let of_run = redaction.redacted(&shape.clone().detail("idx=75"));
        assert_eq!(of_run, Some(shape));
    }

    #[test]
    fn an_error_that_nobody_vouches_for_is_told_by_its_word_alone() {
        let redaction = redaction(&["b"]).unwrap();
        for (code, is_told) in [
            (ErrorCode::BadData, false),
            (ErrorCode::Internal, false),
            (ErrorCode::NotFound, true),
            (ErrorCode::Full, true),
        ] {
            let found = redaction.redacted(&Error::new(code, "idx=75").detail("idx=75"));
            assert_eq!(found.is_none(), is_told, "{code:?}");
            assert!(found.is_none_or(|error| error.code == code && !format!("{error:?}").contains("75")));
        }
    }
}
