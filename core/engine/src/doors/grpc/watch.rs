//! Calls of one message that are answered now and at each change, until the client leaves or the
//! server drains.

use super::services::{Method, Watch};
use super::unary;
use super::wire::answer::{self, GrpcBody};
use super::wire::request::{Head, OPEN_STREAM, head_bytes, whole};
use crate::admission::Reservation;
use crate::codec::frame;
use crate::doors::incoming::Incoming;
use crate::doors::infer;
use crate::doors::lifetime::Busy;
use crate::doors::{Shared, drain_begins};
use crate::error::Result;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What is watched, and what it takes meanwhile.
struct Watched {
    name: String,
    held: Reservation,
    open: Reservation,
}

pub async fn open(
    shared: &Arc<Shared>,
    method: &Method,
    watch: &'static Watch,
    head: Head,
    request: Request<Incoming>,
    busy: Busy,
) -> Response<GrpcBody> {
    let watched = match read(shared, method, watch, &head, request).await {
        Ok(watched) => watched,
        Err(error) => return unary::refused(shared, &head, &error),
    };
    let (frames, response) = answer::stream(1, head.request_id.as_deref());
    let shared = shared.clone();
    tokio::spawn(async move {
        let _busy = busy;
        let outcome = follow(&shared, watch, watched, &frames).await;
        // A client that left reads no trailers.
        let _ = frames.send(Frame::trailers(answer::trailers(outcome))).await;
    });
    response
}

async fn read(
    shared: &Shared,
    method: &Method,
    watch: &Watch,
    head: &Head,
    request: Request<Incoming>,
) -> Result<Watched> {
    let mut open = request.body().budget().reserve();
    open.take(OPEN_STREAM + head_bytes(request.headers()))?;
    let message = unary::message(shared, request.into_body(), method.largest).await?;
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    let (data, held) = whole(shared, head, message, limit).await?;
    Ok(Watched { name: (watch.of)(&data)?, held, open })
}

async fn follow(
    shared: &Shared,
    watch: &Watch,
    watched: Watched,
    frames: &mpsc::Sender<Frame<Bytes>>,
) -> Result<()> {
    let Watched { name, held, open: _open } = watched;
    let mut changed = shared.changed.subscribe();
    let mut draining = shared.draining.subscribe();
    let mut last = None;
    loop {
        let now = (watch.now)(shared, &name);
        if last.as_ref() != Some(&now) {
            let message = frame::copied(&now, true, &held)?;
            last = Some(now);
            if frames.send(Frame::data(message)).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            () = frames.closed() => return Ok(()),
            () = drain_begins(&mut draining) => return Ok(()),
            change = changed.changed() => if change.is_err() { return Ok(()) },
        }
    }
}
