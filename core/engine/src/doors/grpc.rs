//! The gRPC door: a lean handler on hyper for the inference service; tonic's
//! services (health, reflection) behind it on the same port.

use super::body::{self, Message, Messages};
use super::calls::{self, Call};
use super::incoming::Incoming;
use super::infer::{self, Account, Offer, Opening};
use super::lifetime::Busy;
use super::{Io, Shared, health, ids, library, signpost, status, stream};
use crate::admission::Reservation;
use crate::codec::compression::Encoding;
use crate::codec::protobuf;
use crate::error::{Error, Result, Word};
use crate::observe::{Origin, trace};
use crate::offload::Job;
use crate::queue::{Answer, Form, batch};
use crate::stats::Protocol;
use crate::stop::Stop;
use crate::tensor::shown;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const SERVICE: &str = "/inference.GRPCInferenceService/";
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Larger messages are decoded off the I/O thread: they may consist of tiny fields.
const DECODE_INLINE: usize = 1 << 20;
const ENCODINGS: HeaderValue = HeaderValue::from_static("identity,gzip,deflate");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// RPCs of the service that whoever pulls calls answers.
const CALLS: [&str; 15] = [
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
];

/// What a stream or a watch takes while it is open and quiet, in bytes: its tasks, its buffers and
/// HTTP/2's state of it. Measured: 18,000.
pub const OPEN_STREAM: usize = 16 << 10;

/// What a head takes that waits for its message.
pub fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// Of a header beside its name and value, in its table.
const HEADER: usize = 64;

pub enum GrpcBody {
    Lean {
        message: Option<Bytes>,
        trailers: Option<HeaderMap>,
    },
    Stream(mpsc::Receiver<Frame<Bytes>>),
    /// Held with the body: a health watch lasts as long as it does, and so does its name.
    Tonic(tonic::body::Body, Busy, library::Held),
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, tonic::Status>>> {
        match &mut *self {
            GrpcBody::Lean { message, trailers } => {
                let frame = message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            GrpcBody::Stream(frames) => frames.poll_recv(cx).map(|f| f.map(Ok)),
            GrpcBody::Tonic(body, _, held) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map(|f| held.corrected(f))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            GrpcBody::Lean { message, trailers } => message.is_none() && trailers.is_none(),
            GrpcBody::Stream(_) => false,
            GrpcBody::Tonic(body, ..) => body.is_end_stream(),
        }
    }
}

/// What the head of a gRPC request says.
pub struct Head {
    pub started: Instant,
    pub timeout: Option<Duration>,
    pub request_id: Option<String>,
    pub encoding: Encoding,
    replayed: bool,
    /// `grpc-accept-encoding`, read only when an answer is to be compressed.
    accepts: Option<HeaderValue>,
}

impl Head {
    fn read(headers: &HeaderMap) -> Result<Head> {
        let encoding = match headers.get(GRPC_ENCODING) {
            None => Encoding::Identity,
            Some(value) => Encoding::parse(value.to_str().unwrap_or("?"))?,
        };
        let timeout = headers.get("grpc-timeout").map(|v| parse_timeout(v.as_bytes())).transpose()?;
        Ok(Head {
            started: Instant::now(),
            timeout,
            request_id: ids::from_client(headers).map(str::to_owned),
            encoding,
            replayed: headers.contains_key(ids::REPLAY),
            accepts: headers.get(GRPC_ACCEPT_ENCODING).cloned(),
        })
    }

    /// What an account of one of its messages begins with.
    pub fn opening(&self, method: &'static str) -> Opening<'_, '_> {
        Opening {
            protocol: Protocol::Grpc,
            started: self.started,
            method,
            path: "",
            request_id: self.request_id.as_deref(),
            replayed: self.replayed,
        }
    }

    /// How to send the answer to a message that came compressed or not.
    pub fn answer_encoding(&self, shared: &Shared, compressed: bool) -> Encoding {
        let wanted = match shared.config.grpc_compression {
            super::Compression::Auto if compressed => self.encoding,
            super::Compression::Always(encoding) => encoding,
            super::Compression::Auto | super::Compression::None => Encoding::Identity,
        };
        if wanted != Encoding::Identity && self.accepts(wanted) { wanted } else { Encoding::Identity }
    }

    fn accepts(&self, wanted: Encoding) -> bool {
        let Some(value) = self.accepts.as_ref().and_then(|v| v.to_str().ok()) else { return false };
        value.split(',').take(16).any(|name| Encoding::parse(name.trim()) == Ok(wanted))
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(value: &[u8]) -> Result<Duration> {
    let bad = || Error::bad("malformed grpc-timeout");
    let (unit, digits) = value.split_last().ok_or_else(bad)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let number = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(bad()),
    })
}

type Answered = std::result::Result<Response<GrpcBody>, Infallible>;

/// One request. `busy` is held until it is answered, by a stream until that ends.
/// What is not inference is boxed: a future is as large as its largest arm, and is
/// moved several times.
pub async fn handle(io: Arc<Io>, request: Request<Incoming>, busy: Busy) -> Answered {
    let _in_flight = io.shared.enter();
    let response = if request.uri().path() == MODEL_INFER {
        let _busy = busy;
        match open(&io.shared, &request) {
            Ok(head) => model_infer(&io, head, request).await,
            Err(refusal) => *refusal,
        }
    } else {
        Box::pin(others(io, request, busy)).await
    };
    Ok(response)
}

async fn others(io: Arc<Io>, request: Request<Incoming>, busy: Busy) -> Response<GrpcBody> {
    let rpc = match request.uri().path() {
        health::LIST => health::LIST.to_owned(),
        path => match path.strip_prefix(SERVICE) {
            Some(rpc) => rpc.to_owned(),
            None => return library::serve(&io, request, busy).await,
        },
    };
    match open(&io.shared, &request) {
        Ok(head) if rpc == "ModelStreamInfer" => stream::open(io, head, request, busy),
        Ok(head) => unary(&io.shared, &rpc, head, request).await,
        Err(refusal) => *refusal,
    }
}

/// Read the head, or refuse with the answer.
fn open(shared: &Shared, request: &Request<Incoming>) -> std::result::Result<Head, Box<Response<GrpcBody>>> {
    if let Some(refusal) = refuse(shared, request) {
        return Err(Box::new(refusal));
    }
    Head::read(request.headers()).map_err(|error| {
        let id = ids::from_client(request.headers()).map_or_else(ids::make, str::to_owned);
        if request.uri().path() == MODEL_INFER {
            shared.unresolved.answered(Protocol::Grpc, Err(error.word), Duration::ZERO);
        }
        shared.report(Protocol::Grpc, &id, "", &error);
        Box::new(failure(&error, Some(&id)))
    })
}

/// Not gRPC at all: an HTTP answer, as gRPC's HTTP/2 mapping asks.
pub fn refuse(shared: &Shared, request: &Request<Incoming>) -> Option<Response<GrpcBody>> {
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
    Some(signpost::not_grpc(shared, status))
}

async fn model_infer(io: &Io, head: Head, request: Request<Incoming>) -> Response<GrpcBody> {
    let shared = &io.shared;
    let mut account =
        Account::open(shared, head.opening("ModelInfer"), || trace::Context::from_headers(request.headers()));
    let outcome = infer_once(io, &head, request, &mut account).await;
    let watch = account.close(outcome.as_ref().map_err(|(error, _)| error));
    let id = head.request_id.as_deref().or_else(|| watch.as_ref().map(|w| w.request_id()));
    let mut response = match outcome {
        Ok(answer) => success(answer, id),
        Err((error, model)) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, &model, &error);
            failure(&error, Some(&id))
        }
    };
    if let Some(watch) = watch {
        ids::put_trace(response.headers_mut(), &watch);
    }
    response
}

async fn infer_once(
    io: &Io,
    head: &Head,
    request: Request<Incoming>,
    account: &mut Account<'_>,
) -> std::result::Result<Answer, (Error, Arc<str>)> {
    let nameless = |error| (error, Arc::default());
    let message = message(&io.shared, request).await.map_err(nameless)?;
    if let Some(watch) = account.watch() {
        watch.received(message.data.len());
    }
    let offer = decode(&io.shared, head, message, head.started, false).await.map_err(nameless)?;
    let model = offer.request.model.clone();
    infer::run(&io.shared, &io.mailbox, offer, account).await.map_err(|error| (error, model))
}

/// A unary call's.
async fn message(shared: &Shared, request: Request<Incoming>) -> Result<Message> {
    let body = request.into_body();
    let budget = body.budget().clone();
    Messages::new(body, budget).only(shared).await
}

/// A message to an offer.
pub async fn decode(
    shared: &Shared,
    head: &Head,
    message: Message,
    started: Instant,
    streamed: bool,
) -> Result<Offer> {
    let encoding = head.answer_encoding(shared, message.compressed);
    // The RPC's time began with its head, also for a late message of a stream.
    let left = head.timeout.map(|t| t.saturating_sub(started.saturating_duration_since(head.started)));
    let deadline = infer::deadline(shared, started, left, 0);
    let (data, held) = whole(shared, head, message, deadline).await?;
    let bytes = data.len();
    let (request, mut reservation) = if bytes <= DECODE_INLINE {
        (protobuf::decode_infer(data)?, held)
    } else {
        let work = move |stop: &Stop, _: &mut _| protobuf::decode_infer_until(stop, data);
        Box::pin(shared.offload.run(Job { bytes, deadline, held }, work)).await?
    };
    reservation.take(request.owned_bytes())?;
    let deadline = infer::deadline(shared, started, left, request.timeout_us);
    let form = if streamed { Form::GrpcStream(encoding) } else { Form::Grpc(encoding) };
    Ok(Offer { request, form, deadline, reservation })
}

/// A message's bytes; decompressed, where it is marked so, by what the head says.
async fn whole(
    shared: &Shared,
    head: &Head,
    message: Message,
    deadline: Option<Instant>,
) -> Result<(Bytes, Reservation)> {
    let Message { compressed, data, reservation } = message;
    if !compressed {
        return Ok((data, reservation));
    }
    if head.encoding == Encoding::Identity {
        return Err(Error::bad("the message is marked as compressed but grpc-encoding names no compression"));
    }
    Box::pin(body::inflate(shared, head.encoding, data, deadline, reservation)).await
}

/// The small RPCs: health in OIP's words is answered here, the rest is a call.
async fn unary(shared: &Shared, rpc: &str, head: Head, request: Request<Incoming>) -> Response<GrpcBody> {
    let watch = shared.observer.begin_other(|| Origin {
        protocol: Protocol::Grpc,
        method: shown(rpc).into(),
        path: String::new(),
        request_id: head.request_id.clone(),
        started: head.started,
    });
    let outcome = unary_answer(shared, rpc, &head, request).await;
    if let Some(watch) = &watch {
        let word = outcome.as_ref().map(|_| ()).map_err(|e| e.word);
        let bytes = outcome.as_ref().map_or(0, |answer| answer.body.len() as u64);
        watch.finish_other(&shared.events, word, &status::code_label(Protocol::Grpc, word), bytes);
    }
    let id = head.request_id.as_deref().or_else(|| watch.as_ref().map(|w| w.request_id()));
    match outcome {
        Ok(answer) => success(answer, id),
        Err(error) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, "", &error);
            failure(&error, Some(&id))
        }
    }
}

async fn unary_answer(shared: &Shared, rpc: &str, head: &Head, request: Request<Incoming>) -> Result<Answer> {
    let known =
        matches!(rpc, health::LIST | "ServerLive" | "ServerReady" | "ModelReady") || CALLS.contains(&rpc);
    if !known {
        return Err(Error::new(Word::Unimplemented, "unknown method of inference.GRPCInferenceService"));
    }
    let headers = request.headers().clone();
    let mut beside = request.body().budget().reserve();
    beside.take(head_bytes(&headers))?;
    let message = message(shared, request).await?;
    let encoding = head.answer_encoding(shared, message.compressed);
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    let (data, reservation) = whole(shared, head, message, limit).await?;
    let of = reservation.another();
    let body = match rpc {
        health::LIST => protobuf::framed(&health::list(shared), &of)?,
        "ServerLive" => protobuf::encode_bool_response(true),
        "ServerReady" => protobuf::encode_bool_response(shared.is_ready()),
        "ModelReady" => protobuf::encode_bool_response(model_ready(shared, data)?),
        _ => call(shared, rpc, head, &headers, (data, reservation)).await?,
    };
    match encoding {
        Encoding::Identity => Ok(Answer { body, json_len: None, encoding }),
        encoding => batch::compressed_frame(body.get(5..).unwrap_or_default(), encoding, &of),
    }
}

/// tritonclient raises on any error here: an unknown model is simply not ready.
fn model_ready(shared: &Shared, message: Bytes) -> Result<bool> {
    let (model, version) = protobuf::decode_model_ref(message)?;
    match infer::is_ready(shared, &model, &version) {
        Err(error) if matches!(error.word, Word::NotFound | Word::Unavailable) => Ok(false),
        other => other,
    }
}

/// The answer comes framed.
async fn call(
    shared: &Shared,
    rpc: &str,
    head: &Head,
    headers: &HeaderMap,
    (message, held): (Bytes, Reservation),
) -> Result<Bytes> {
    let headers = super::text_headers(headers);
    let (mut call, answer) = Call::new((Protocol::Grpc, rpc), "", headers, message, held)?;
    call.request_id.clone_from(&head.request_id);
    shared.calls.push(call)?;
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    Ok(super::within(limit, answer, calls::outcome).await?.body)
}

fn success(answer: Answer, id: Option<&str>) -> Response<GrpcBody> {
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

pub fn content_type(response: &mut Response<GrpcBody>) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
}

/// Trailers-only: the status travels in the head, and nothing follows.
pub fn failure(error: &Error, id: Option<&str>) -> Response<GrpcBody> {
    let mut response = Response::new(GrpcBody::Lean { message: None, trailers: None });
    content_type(&mut response);
    write_status(response.headers_mut(), error);
    if error.word == Word::UnsupportedEncoding {
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, ENCODINGS);
    }
    if let Some(id) = id {
        ids::put(response.headers_mut(), id);
    }
    response
}

const MESSAGE: &AsciiSet = &CONTROLS.add(b'%').add(b'"');

pub fn write_status(headers: &mut HeaderMap, error: &Error) {
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status::grpc_code(error.word))));
    let text = utf8_percent_encode(&error.message, MESSAGE).to_string();
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(GRPC_MESSAGE, value);
    }
    if let (Word::Full, Some(after)) = (error.word, error.retry_after) {
        headers
            .insert(PUSHBACK, HeaderValue::from(u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_strictly() {
        assert_eq!(parse_timeout(b"5S").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_timeout(b"250m").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_timeout(b"99999999H").unwrap(), Duration::from_secs(99_999_999 * 3600));
        for bad in [&b""[..], b"S", b"5", b"-5S", b"123456789S", b"5 S", b"5x"] {
            assert!(parse_timeout(bad).is_err());
        }
    }
}
