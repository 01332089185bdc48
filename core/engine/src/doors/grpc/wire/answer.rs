//! gRPC's answers: their bodies, heads and trailers.

use crate::codec::answer::Answer;
use crate::codec::compression::Encoding;
use crate::doors::{Shared, signpost};
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use crate::status;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,deflate");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

pub enum GrpcBody {
    Lean { message: Option<Bytes>, trailers: Option<HeaderMap> },
    Stream(mpsc::Receiver<Frame<Bytes>>),
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            GrpcBody::Lean { message, trailers } => {
                let frame = message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            GrpcBody::Stream(frames) => frames.poll_recv(cx).map(|f| f.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            GrpcBody::Lean { message, trailers } => message.is_none() && trailers.is_none(),
            GrpcBody::Stream(_) => false,
        }
    }
}

/// Not gRPC at all: an HTTP answer, as gRPC's HTTP/2 mapping asks.
pub fn refuse<B>(shared: &Shared, request: &Request<B>) -> Option<Response<GrpcBody>> {
    let content_type = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let status = if request.method() != Method::POST {
        StatusCode::METHOD_NOT_ALLOWED
    } else if !content_type.starts_with(b"application/grpc")
        || content_type.starts_with(b"application/grpc-web")
    {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    } else {
        return None;
    };
    let lean = |text| GrpcBody::Lean { message: Some(text), trailers: None };
    Some(signpost::not_grpc(shared, status).map(lean))
}

pub fn success(answer: Answer, id: Option<&str>) -> Response<GrpcBody> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(GrpcBody::Lean { message: Some(answer.body), trailers: Some(trailers) });
    content_type(&mut response);
    note_encoding(response.headers_mut(), answer.encoding);
    if let Some(id) = id {
        ids::put(response.headers_mut(), id);
    }
    response
}

pub fn note_encoding(headers: &mut HeaderMap, encoding: Encoding) {
    let name = match encoding {
        Encoding::Identity => return,
        Encoding::Gzip => "gzip",
        Encoding::Deflate => "deflate",
    };
    headers.insert(GRPC_ENCODING, HeaderValue::from_static(name));
}

fn content_type(response: &mut Response<GrpcBody>) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
}

/// An answer whose frames are sent while it lasts, `unread` of them ahead of the client.
pub fn stream(unread: usize, id: Option<&str>) -> (mpsc::Sender<Frame<Bytes>>, Response<GrpcBody>) {
    let (frames, body) = mpsc::channel(unread);
    let mut response = Response::new(GrpcBody::Stream(body));
    content_type(&mut response);
    if let Some(id) = id {
        ids::put(response.headers_mut(), id);
    }
    (frames, response)
}

/// Trailers-only: the status travels in the head, and nothing follows.
pub fn failure(error: &Error, id: Option<&str>) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::Lean { message: None, trailers: None });
    content_type(&mut response);
    write_status(response.headers_mut(), error);
    if error.code == ErrorCode::UnsupportedEncoding {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, ENCODINGS);
    }
    if let Some(id) = id {
        ids::put(response.headers_mut(), id);
    }
    response
}

const MESSAGE: &AsciiSet = &CONTROLS.add(b'%').add(b'"');

pub fn write_status(headers: &mut HeaderMap, error: &Error) {
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status::grpc_code(error.code))));
    let text = utf8_percent_encode(&error.message, MESSAGE).to_string();
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(GRPC_MESSAGE, value);
    }
    if let Some(pushback) = pushback(error) {
        headers.insert(PUSHBACK, pushback);
    }
}

/// By gRPC's rules a negative one means never.
fn pushback(error: &Error) -> Option<HeaderValue> {
    match (error.code, error.retry_after) {
        _ if error.is_harmful => Some(HeaderValue::from_static("-1")),
        (ErrorCode::Full | ErrorCode::TooManyRequests, Some(after)) => {
            Some(HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1)))
        }
        _ => None,
    }
}

/// The trailers that end a stream well or badly.
pub fn trailers(outcome: Result<()>) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    match outcome {
        Ok(()) => {
            trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        }
        Err(error) => write_status(&mut trailers, &error),
    }
    trailers
}
