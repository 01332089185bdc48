//! Answers over HTTP, whichever protocol's.

use super::protocol::Protocol;
use crate::codec::answer::Answer;
use crate::codec::compression::Encoding;
use crate::codec::json as json_body;
use crate::doors::Shared;
use crate::doors::grpc::wire::answer::write_status;
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::stats::Protocol as Door;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// The length of the JSON before binary tensors.
pub const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// Clients in the field know it: `false` where asking again would do harm.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");

pub fn success(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    let headers = response.headers_mut();
    match answer.json_len {
        None => {
            headers.insert(CONTENT_TYPE, JSON);
        }
        Some(length) => {
            headers.insert(CONTENT_TYPE, OCTETS);
            headers.insert(JSON_LENGTH, HeaderValue::from(length));
        }
    }
    match answer.encoding {
        Encoding::Identity => {}
        Encoding::Gzip => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Encoding::Deflate => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
        }
    }
    response
}

/// An error as its client is told it, and as it is logged.
#[derive(Clone, Copy)]
pub struct Told<'e> {
    pub error: &'e Error,
    pub logged: &'e Error,
}

impl<'e> Told<'e> {
    pub fn wholly(error: &'e Error) -> Self {
        Told { error, logged: error }
    }
}

/// An error's answer; an id is made when the client sent none.
pub fn failed(
    shared: &Shared,
    protocol: &Protocol,
    client_id: Option<&str>,
    model: &str,
    Told { error, logged }: Told<'_>,
) -> Response<Full<Bytes>> {
    let made;
    let id = match client_id {
        Some(id) => id,
        None => {
            made = ids::make();
            &made
        }
    };
    shared.report(Door::Http, id, model, logged);
    let (body, kind) = (protocol.error)(error);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = (protocol.status)(error.code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    ids::put(headers, id);
    match error.code {
        _ if error.is_harmful => {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        ErrorCode::Full | ErrorCode::TooManyRequests | ErrorCode::Unavailable => {
            let seconds = error.retry_after.map_or(1, |t| t.as_secs_f64().ceil() as u64).max(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        ErrorCode::MethodNotAllowed => {
            let allowed = if error.message.ends_with("POST") { "POST" } else { "GET, HEAD" };
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        ErrorCode::UnsupportedEncoding => {
            headers.insert(ACCEPT_ENCODING, ENCODINGS);
        }
        ErrorCode::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// An error's words as most protocols over HTTP have them.
pub fn json_error(error: &Error) -> (Bytes, HeaderValue) {
    (json_body::error(&error.message), JSON)
}

pub fn json(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

pub fn health(body: String, ok: bool) -> Response<Full<Bytes>> {
    let mut response = json(Bytes::from(body));
    if !ok {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An error's answer to a gRPC call: trailers only, as gRPC has it.
pub fn in_grpc(mut response: Response<Full<Bytes>>, error: &Error) -> Response<Full<Bytes>> {
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Full::default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    write_status(response.headers_mut(), error);
    response
}
