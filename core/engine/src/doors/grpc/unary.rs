//! Calls of one message and one answer, whichever service's.

use super::decode::decode;
use super::services::{Kind, Messages, Method, Service, method_name};
use super::wire::answer::{GrpcBody, failure, success};
use super::wire::request::{Head, head_bytes, whole};
use crate::admission::Reservation;
use crate::codec::answer::Answer;
use crate::codec::compression::Encoding;
use crate::codec::frame;
use crate::doors::body::{Message, Messages as Reader};
use crate::doors::calls::Call;
use crate::doors::incoming::Incoming;
use crate::doors::infer::{self, OutcomeGuard};
use crate::doors::{Io, Shared, put_trace, steering, text_headers, within};
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use crate::observe::{Origin, trace};
use crate::stats::Protocol;
use crate::status;
use crate::tensor::shown;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use std::sync::Arc;

pub async fn infer(
    io: &Io,
    name: &'static str,
    messages: &Messages,
    head: Head,
    request: Request<Incoming>,
) -> Response<GrpcBody> {
    let shared = &io.shared;
    let mut guard = OutcomeGuard::open(shared, head.request_head(name), || {
        trace::Context::from_headers(request.headers())
    });
    let outcome = infer_once(io, messages, &head, request, &mut guard).await;
    let routed = guard.routed();
    let redacted = outcome.as_ref().err().and_then(|(error, _)| guard.redacted(error));
    let record = guard.close(outcome.as_ref().map_err(|(error, _)| error));
    let id = head.request_id.as_deref().or_else(|| record.as_ref().map(|w| w.request_id()));
    let mut response = match outcome {
        Ok(answer) => {
            let mut response = success(answer, id);
            // Which version it is its message says.
            routed.inspect(|routed| routed.put_why(response.headers_mut()));
            response
        }
        Err((error, model)) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, &model, redacted.as_ref().unwrap_or(&error));
            let mut response = failure(&error, Some(&id));
            routed.inspect(|routed| routed.put(response.headers_mut()));
            response
        }
    };
    if let Some(record) = record {
        put_trace(response.headers_mut(), &record);
    }
    response
}

async fn infer_once(
    io: &Io,
    messages: &Messages,
    head: &Head,
    request: Request<Incoming>,
    guard: &mut OutcomeGuard<'_>,
) -> std::result::Result<Answer, (Error, Arc<str>)> {
    let nameless = |error| (error, Arc::default());
    let (parts, body) = request.into_parts();
    let _beside = steering::counted(&parts.headers, || body.budget().reserve()).map_err(nameless)?;
    let message = message(&io.shared, body, usize::MAX).await.map_err(nameless)?;
    if let Some(record) = guard.record() {
        record.received(message.data.len());
    }
    let decoded = decode(&io.shared, messages, (head, &parts.headers), message, head.started).await;
    let decoded = decoded.map_err(nameless)?;
    let model = decoded.request.model.clone();
    infer::run(&io.shared, &io.mailbox, decoded, guard).await.map_err(|error| (error, model))
}

/// The one message of a call, of `largest` bytes at most.
pub async fn message(shared: &Shared, body: Incoming, largest: usize) -> Result<Message> {
    let budget = body.budget().clone();
    Reader::new(body, budget).at_most(largest).only(shared).await
}

/// The answer of a call that ends before it has begun to be answered.
pub fn refused(shared: &Shared, head: &Head, error: &Error) -> Response<GrpcBody> {
    let id = head.request_id.clone().unwrap_or_else(ids::make);
    shared.report(Protocol::Grpc, &id, "", error);
    failure(error, Some(&id))
}

/// What is no inference: answered here, or a call; or the service has no such method.
pub async fn other(
    shared: &Shared,
    method: std::result::Result<&Method, &Service>,
    head: Head,
    request: Request<Incoming>,
) -> Response<GrpcBody> {
    let record = shared.observer.begin_other(|| Origin {
        protocol: Protocol::Grpc,
        method: shown(logged(method, request.uri().path())).into(),
        path: String::new(),
        request_id: head.request_id.clone(),
        started: head.started,
    });
    let outcome = match method {
        Ok(method) => other_answer(shared, method, &head, request).await,
        Err(service) => {
            Err(Error::new(ErrorCode::Unimplemented, format!("unknown method of {}", service.name)))
        }
    };
    if let Some(record) = &record {
        let word = outcome.as_ref().map(|_| ()).map_err(|e| e.code);
        let bytes = outcome.as_ref().map_or(0, |answer| answer.body.len() as u64);
        record.finish_other(&shared.events, word, &status::code_label(Protocol::Grpc, word), bytes);
    }
    let id = head.request_id.as_deref().or_else(|| record.as_ref().map(|w| w.request_id()));
    match outcome {
        Ok(answer) => success(answer, id),
        Err(error) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, "", &error);
            failure(&error, Some(&id))
        }
    }
}

fn logged<'a>(method: std::result::Result<&Method, &Service>, path: &'a str) -> &'a str {
    method.map_or_else(|_| method_name(path), |method| method.name)
}

async fn other_answer(
    shared: &Shared,
    method: &Method,
    head: &Head,
    request: Request<Incoming>,
) -> Result<Answer> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let mut beside = body.budget().reserve();
    beside.take(head_bytes(&headers))?;
    let message = message(shared, body, method.largest).await?;
    let encoding = head.answer_encoding(shared, message.compressed);
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    let (data, reservation) = whole(shared, head, message, limit).await?;
    let of = reservation.another();
    match method.kind {
        Kind::Local(answers) => {
            let message = answers(shared, data)?;
            frame::answer(encoding, &of, |framed| frame::copied(&message, framed, &of))
        }
        _ if encoding == Encoding::Identity => {
            call(shared, method, head, &headers, (data, reservation), true).await.map(Answer::plain)
        }
        _ => {
            let message = call(shared, method, head, &headers, (data, reservation), false).await?;
            frame::packed(encoding, &message, &of)
        }
    }
}

/// The answer comes in its frame where `framed`.
async fn call(
    shared: &Shared,
    method: &Method,
    head: &Head,
    headers: &HeaderMap,
    (message, held): (Bytes, Reservation),
    framed: bool,
) -> Result<Bytes> {
    let (mut call, answer) =
        Call::new((Protocol::Grpc, method.name), "", text_headers(headers), message, held)?;
    call.request_id.clone_from(&head.request_id);
    call.service = method.service;
    call.framed = framed;
    shared.calls.push(call)?;
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    within(limit, answer).await
}
