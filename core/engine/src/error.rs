//! The gateway's own error words. Each door translates them in one table
//! (`status`); nothing else in the engine knows a protocol's codes.

mod redaction;

pub use redaction::{Quotes, Redaction};

use std::fmt;
use std::time::Duration;

/// What went wrong, in the gateway's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ErrorCode {
    /// The request is malformed or does not fit the model.
    BadRequest,
    /// The data made an operator of the model fail (an index out of range, x/0).
    BadData,
    /// No such model, version or path.
    NotFound,
    /// A queue or a byte budget is full; try again later.
    Full,
    /// The deadline passed before the answer.
    Expired,
    /// The caller left.
    Cancelled,
    /// A body or message over its limit, also after decompression.
    TooLarge,
    /// Loading, draining, or failed to load.
    Unavailable,
    /// The gateway's or the model's own fault.
    Internal,
    /// Not built, or an encoding we do not speak.
    Unimplemented,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The content type is not one this path takes.
    UnsupportedMediaType,
    /// The content is encoded in a way that is not taken.
    UnsupportedEncoding,
    /// The request's `Expect` asks for what is not done here.
    UnmetExpectation,
    /// The client took too long to send its body.
    SlowBody,
    /// A control call without the token, or with a wrong one.
    Unauthenticated,
    /// A control call that this server takes from nobody, or not from there.
    PermissionDenied,
    /// What the request asks for is not there as things stand: another signature than the model's.
    FailedPrecondition,
    /// The request is well formed, and not what the model's signature asks for.
    SchemaMismatch,
    /// The host that the request names is not this server.
    Misdirected,
    /// As `Full`, told by a protocol that has a status of its own for it.
    TooManyRequests,
}

impl ErrorCode {
    pub const ALL: [ErrorCode; 21] = [
        ErrorCode::BadRequest,
        ErrorCode::BadData,
        ErrorCode::NotFound,
        ErrorCode::Full,
        ErrorCode::Expired,
        ErrorCode::Cancelled,
        ErrorCode::TooLarge,
        ErrorCode::Unavailable,
        ErrorCode::Internal,
        ErrorCode::Unimplemented,
        ErrorCode::MethodNotAllowed,
        ErrorCode::UnsupportedMediaType,
        ErrorCode::UnsupportedEncoding,
        ErrorCode::UnmetExpectation,
        ErrorCode::SlowBody,
        ErrorCode::Unauthenticated,
        ErrorCode::PermissionDenied,
        ErrorCode::FailedPrecondition,
        ErrorCode::SchemaMismatch,
        ErrorCode::Misdirected,
        ErrorCode::TooManyRequests,
    ];

    /// The word's stable name: in metrics, logs and across the seam.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::BadData => "bad_data",
            ErrorCode::NotFound => "not_found",
            ErrorCode::Full => "full",
            ErrorCode::Expired => "expired",
            ErrorCode::Cancelled => "cancelled",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Internal => "internal",
            ErrorCode::Unimplemented => "unimplemented",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::UnsupportedMediaType => "unsupported_media_type",
            ErrorCode::UnsupportedEncoding => "unsupported_encoding",
            ErrorCode::UnmetExpectation => "unmet_expectation",
            ErrorCode::SlowBody => "slow_body",
            ErrorCode::Unauthenticated => "unauthenticated",
            ErrorCode::PermissionDenied => "permission_denied",
            ErrorCode::FailedPrecondition => "failed_precondition",
            ErrorCode::SchemaMismatch => "schema_mismatch",
            ErrorCode::Misdirected => "misdirected",
            ErrorCode::TooManyRequests => "too_many_requests",
        }
    }

    pub fn from_name(name: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.into_iter().find(|w| w.name() == name)
    }
}

/// An error as a client may see it: the text names the tensor, what was
/// expected and what came; never a path, an address or an internal name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: ErrorCode,
    pub message: String,
    /// When trying again makes sense (`Full`, `TooManyRequests`, `Unavailable`).
    pub retry_after: Option<Duration>,
    /// Whether the same request would do the same harm: it ended the process that ran it.
    pub is_harmful: bool,
    /// The original, for the log only.
    pub detail: Option<String>,
    /// The version that the request's alias led to, where that is what is missing.
    pub led_to: Option<u64>,
    /// Whether the message may be logged where values may not.
    pub quotes: Quotes,
}

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Error {
            code,
            message,
            retry_after: None,
            is_harmful: false,
            detail: None,
            led_to: None,
            quotes: Quotes::default(),
        }
    }

    pub fn bad(message: impl Into<String>) -> Self {
        Error::new(ErrorCode::BadRequest, message)
    }

    /// The deadline passed before the answer.
    pub fn expired() -> Self {
        Error::new(ErrorCode::Expired, "Request timeout expired")
    }

    pub fn retry(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Clients are told not to ask again, whatever the word says.
    pub fn harmful(mut self) -> Self {
        self.is_harmful = true;
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Error {}

pub type Result<T> = std::result::Result<T, Error>;
