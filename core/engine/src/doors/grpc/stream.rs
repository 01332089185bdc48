//! `ModelStreamInfer` for one-to-one models: answers in request order, a bounded
//! number in flight, an error in its place without ending the stream.

use super::decode::decode;
use super::services::Streamed;
use super::wire::answer::{self, GrpcBody};
use super::wire::request::{Head, OPEN_STREAM, head_bytes};
use crate::codec::compression::Encoding;
use crate::codec::{AnswerHead, InferRequest, frame};
use crate::doors::body::{Message, Messages as Reader};
use crate::doors::incoming::Incoming;
use crate::doors::infer::{self, OutcomeGuard, RequestHead};
use crate::doors::lifetime::Busy;
use crate::doors::read_ahead::ReadAhead;
use crate::doors::{Io, Shared, drain_begins};
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use crate::observe::trace::Context;
use crate::stats::Protocol;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Answers waiting for the client to read them, beside those in flight.
const UNREAD: usize = 2;

/// What is called on a stream.
struct Called {
    name: &'static str,
    streamed: &'static Streamed,
}

pub fn open(
    io: Arc<Io>,
    name: &'static str,
    streamed: &'static Streamed,
    head: Head,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<GrpcBody> {
    let mut open = request.body().budget().reserve();
    if let Err(error) = open.take(OPEN_STREAM + head_bytes(request.headers())) {
        return answer::failure(&error, head.request_id.as_deref());
    }
    let (frames, mut response) = answer::stream(UNREAD, head.request_id.as_deref());
    // Answers are compressed as their requests came; the header announces with what.
    answer::note_encoding(
        response.headers_mut(),
        head.answer_encoding(&io.shared, head.encoding != Encoding::Identity),
    );
    let errors_end = request.headers().get("triton_grpc_error").is_some_and(|v| v.as_bytes() == b"true");
    tokio::spawn(async move {
        let (_in_flight, _busy, _open) = (io.shared.enter(), busy, open);
        let called = Called { name, streamed };
        let parent = Context::from_headers(request.headers());
        let (parts, body) = request.into_parts();
        let budget = body.budget().clone();
        let ahead = ReadAhead::new(body);
        let incoming = Reader::new(ahead.clone(), budget);
        let outcome = ahead
            .beside(serve(&io, &called, (&head, &parts.headers), parent, incoming, &frames, errors_end))
            .await;
        // A client that left reads no trailers.
        let _ = frames.send(Frame::trailers(answer::trailers(outcome))).await;
    });
    response
}

async fn serve(
    io: &Arc<Io>,
    called: &Called,
    head: (&Head, &HeaderMap),
    parent: Option<Context>,
    incoming: Reader<ReadAhead>,
    frames: &mpsc::Sender<Frame<Bytes>>,
    errors_end: bool,
) -> Result<()> {
    let shared = &io.shared;
    let mut reading = Some(Box::pin(read(shared.clone(), incoming)));
    let mut answers = FuturesOrdered::new();
    let mut draining = shared.draining.subscribe();
    let mut ended: Option<Result<()>> = None;
    loop {
        let room = ended.is_none() && answers.len() < shared.config.stream_in_flight;
        tokio::select! {
            biased;
            () = frames.closed() => return Ok(()),
            Some(answer) = answers.next() => {
                if let Some(end) = send(frames, answer, errors_end).await {
                    return end;
                }
            }
            // The read stays in place between rounds: half a message must not be lost.
            Some((incoming, message)) = conditional(&mut reading), if room => match message {
                Ok(Some(message)) => {
                    let mut held = message.reservation.another();
                    let answer = answer(io.clone(), called, head, parent, message);
                    // Small messages make many of these.
                    held.hold(size_of_val(&answer));
                    answers.push_back(async move {
                        let _held = held;
                        answer.await
                    });
                    reading = Some(Box::pin(read(shared.clone(), incoming)));
                }
                Ok(None) => ended = Some(Ok(())),
                Err(error) => ended = Some(Err(error)),
            },
            () = drain_begins(&mut draining), if ended.is_none() => ended = Some(Err(draining_error())),
        }
        if answers.is_empty()
            && let Some(outcome) = ended.take()
        {
            return outcome;
        }
    }
}

type Read = (Reader<ReadAhead>, Result<Option<Message>>);

async fn read(shared: Arc<Shared>, mut incoming: Reader<ReadAhead>) -> Read {
    let message = incoming.next(&shared, None).await;
    (incoming, message)
}

async fn conditional<F: Future<Output = Read>>(reading: &mut Option<Pin<Box<F>>>) -> Option<Read> {
    let read = reading.as_mut()?.await;
    *reading = None;
    Some(read)
}

fn draining_error() -> Error {
    Error::new(ErrorCode::Unavailable, "the server is draining; what was accepted is answered")
}

type StreamAnswer = std::result::Result<Bytes, (Error, Bytes)>;

/// Pass one answer on; `Some` when the stream ends with it.
async fn send(
    frames: &mpsc::Sender<Frame<Bytes>>,
    answer: StreamAnswer,
    errors_end: bool,
) -> Option<Result<()>> {
    let body = match answer {
        Ok(body) => body,
        Err((error, _)) if errors_end => return Some(Err(error)),
        Err((_, body)) => body,
    };
    frames.send(Frame::data(body)).await.is_err().then_some(Ok(()))
}

/// One message of the stream, to its framed answer.
async fn answer(
    io: Arc<Io>,
    called: &Called,
    (head, headers): (&Head, &HeaderMap),
    parent: Option<Context>,
    message: Message,
) -> StreamAnswer {
    let shared = &io.shared;
    let started = Instant::now();
    let compressed = message.compressed;
    let request_head = RequestHead { started, ..head.request_head(called.name) };
    let mut guard = OutcomeGuard::open(shared, request_head, || parent);
    if let Some(record) = guard.record() {
        record.received(message.data.len());
    }
    let decoded = decode(shared, &called.streamed.messages, (head, headers), message, started).await;
    let (outcome, id, model, version) = match decoded {
        Ok(decoded) => {
            let InferRequest { id, model, version, .. } = &decoded.request;
            let (id, model, version) = (id.clone(), model.clone(), version.clone());
            (infer::run(shared, &io.mailbox, decoded, &mut guard).await, id, model, version)
        }
        Err(error) => (Err(error), None, Arc::default(), String::new()),
    };
    let why = guard.routed().map(|on| on.why);
    let redacted = outcome.as_ref().err().and_then(|error| guard.redacted(error));
    let record = guard.close(outcome.as_ref());
    outcome.map(|answer| answer.body).map_err(|error| {
        let request_id = head.request_id.as_deref().or_else(|| record.as_ref().map(|w| w.request_id()));
        let request_id = request_id.map_or_else(ids::make, str::to_owned);
        shared.report(Protocol::Grpc, &request_id, &model, redacted.as_ref().unwrap_or(&error));
        let answer_head = AnswerHead { model: &model, version: &version, id: id.as_deref(), asked: None };
        let write = |framed| (called.streamed.failure)(&error.message, &answer_head, why, framed);
        let encoding = head.answer_encoding(shared, compressed);
        // It is small; where there is no room for it packed, it goes as it is, which its frame says.
        let answer = frame::answer(encoding, &shared.budget.reserve(), |framed| Ok(write(framed)));
        let body = answer.map_or_else(|_| write(true), |answer| answer.body);
        (error, body)
    })
}
