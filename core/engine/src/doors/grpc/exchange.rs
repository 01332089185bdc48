//! Streams of small messages, each answered before the next is read.

use super::services::{Answers, Method};
use super::wire::answer::{self, GrpcBody};
use super::wire::request::{Head, OPEN_STREAM, head_bytes, whole};
use crate::codec::frame;
use crate::doors::body::{Message, Messages as Reader};
use crate::doors::incoming::Incoming;
use crate::doors::infer;
use crate::doors::lifetime::Busy;
use crate::doors::{Shared, drain_begins};
use crate::error::{Error, ErrorCode, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::timeout;

pub fn open(
    shared: &Arc<Shared>,
    method: &Method,
    answers: Answers,
    head: Head,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<GrpcBody> {
    let (parts, body) = request.into_parts();
    let budget = body.budget().clone();
    let mut open = budget.reserve();
    if let Err(error) = open.take(OPEN_STREAM + head_bytes(&parts.headers)) {
        return answer::failure(&error, head.request_id.as_deref());
    }
    let messages = Reader::new(body, budget).at_most(method.largest);
    let (frames, response) = answer::stream(1, head.request_id.as_deref());
    let shared = shared.clone();
    tokio::spawn(async move {
        let (_open, _busy) = (open, busy);
        let outcome = serve(&shared, &head, answers, messages, &frames).await;
        // A client that left reads no trailers.
        let _ = frames.send(Frame::trailers(answer::trailers(outcome))).await;
    });
    response
}

/// Until the client ends or leaves, the server drains, or nothing comes.
async fn serve(
    shared: &Shared,
    head: &Head,
    answers: Answers,
    mut messages: Reader<Incoming>,
    frames: &mpsc::Sender<Frame<Bytes>>,
) -> Result<()> {
    let mut draining = shared.draining.subscribe();
    let mut patience = shared.config.body_timeout;
    loop {
        let next = tokio::select! {
            () = frames.closed() => return Ok(()),
            () = drain_begins(&mut draining) => return Ok(()),
            next = within(patience, messages.next(shared, None)) => next?,
        };
        let Some(message) = next else { return Ok(()) };
        let answer = answer(shared, head, answers, message).await?;
        if frames.send(Frame::data(answer)).await.is_err() {
            return Ok(());
        }
        patience = shared.config.idle_timeout;
    }
}

async fn within<T>(patience: Duration, next: impl Future<Output = Result<T>>) -> Result<T> {
    let none_came = |_| Error::new(ErrorCode::SlowBody, "no request came in time");
    timeout(patience, next).await.map_err(none_came)?
}

async fn answer(shared: &Shared, head: &Head, answers: Answers, message: Message) -> Result<Bytes> {
    let limit = infer::deadline(shared, Instant::now(), None, 0);
    let (data, held) = whole(shared, head, message, limit).await?;
    frame::copied(&answers(&data)?, true, &held)
}
