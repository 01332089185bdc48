//! Inference over HTTP, whichever protocol's.

use super::answer::{Told, failed, success};
use super::cloud_event;
use super::protocol::{self, Bodies, Named, Protocol};
use super::request::read;
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Encode};
use crate::codec::compression::Encoding;
use crate::codec::{InferRequest, Payload};
use crate::doors::calls::Call;
use crate::doors::incoming::Incoming;
use crate::doors::infer::{self, DecodedRequest, OutcomeGuard, RequestHead};
use crate::doors::lifetime::Busy;
use crate::doors::steering::{self, Steering};
use crate::doors::{Io, Shared, put_trace, within};
use crate::error::Result;
use crate::ids;
use crate::observe::trace::Context;
use crate::offload::Job;
use crate::queue::Queue;
use crate::routes::Reference;
use crate::stats::Protocol as Door;
use crate::stop::Stop;
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use std::time::Instant;

/// Larger texts are decoded off the I/O thread.
const DECODE_INLINE: usize = 64 << 10;
/// Texts up to that bring at most as much work as so many looks, 4,096 items each; those that stand for
/// more go where large ones do.
const LOOKS_INLINE: usize = 24;

/// What of a request its head says.
#[derive(Clone, Copy)]
struct Asked<'a> {
    bodies: &'static Bodies,
    /// Beside the parameters of its body.
    reference: Reference<'a>,
    steering: Steering<'a>,
}

pub async fn answer(
    io: &Io,
    started: Instant,
    client_id: Option<&str>,
    (protocol, bodies): (&Protocol, &'static Bodies),
    named: Named,
    request: Request<&mut Incoming>,
    busy: &Busy,
) -> Response<Full<Bytes>> {
    let shared = &io.shared;
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let mut guard = {
        let request_head = RequestHead {
            protocol: Door::Http,
            started,
            method: "POST",
            path: parts.uri.path(),
            request_id: client_id,
            replayed: headers.contains_key(ids::REPLAY),
        };
        OutcomeGuard::open(shared, request_head, || Context::from_headers(headers))
    };
    guard.named(&named.model);
    let is_event = bodies.events && cloud_event::is_event(headers);
    let read = steering::read(shared, headers);
    let (said, misled) = read.map_or_else(|error| (None, Some(error)), |said| (said, None));
    let steering = Steering { said: said.as_deref(), headers: Some(headers) };
    let reference = steering::reference((&named.model, &named.version), steering, None);
    let asked = Asked { bodies, reference, steering };
    let outcome = match misled {
        Some(error) => Err(error),
        None => infer_once(io, asked, (headers, body), &mut guard, busy).await,
    };
    let outcome = outcome.map_err(|error| protocol.told(error));
    if outcome.is_err() {
        guard.refused(reference);
    }
    let routed = guard.routed();
    let redacted = outcome.as_ref().err().and_then(|error| guard.redacted(error));
    let record = guard.close(outcome.as_ref());
    let id = client_id.or_else(|| record.as_ref().map(|w| w.request_id()));
    let mut response = match outcome {
        Ok(answer) => success(answer),
        Err(error) => {
            let logged = redacted.as_ref().unwrap_or(&error);
            failed(shared, protocol, id, &named.model, Told { error: &error, logged })
        }
    };
    if let Some(routed) = routed {
        routed.put(response.headers_mut());
    }
    if is_event && response.status().is_success() {
        cloud_event::put(response.headers_mut(), &named.model);
    }
    if let Some(record) = &record {
        ids::put(response.headers_mut(), record.request_id());
        put_trace(response.headers_mut(), record);
    }
    response
}

async fn infer_once(
    io: &Io,
    asked: Asked<'_>,
    (headers, body): (&HeaderMap, &mut Incoming),
    guard: &mut OutcomeGuard<'_>,
    busy: &Busy,
) -> Result<Answer> {
    let shared = &io.shared;
    let Asked { bodies, reference, steering } = asked;
    let head = (bodies.head)(headers)?;
    let accepts = headers.get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let encoding = accepts.map_or(Encoding::Identity, Encoding::choose);
    let deadline = infer::deadline(shared, guard.started(), None, 0);
    let _beside = steering::counted(headers, || body.budget().reserve())?;
    let (data, reservation) = read(shared, (headers, body), deadline, busy).await?;
    if let Some(record) = guard.record() {
        record.received(data.len());
    }
    let came = reservation.bytes();
    let ((mut decoded, form), mut reservation, by_signature) =
        decode(shared, asked, head, data, deadline, reservation, guard).await?;
    decoded.model = reference.model.into();
    decoded.version = reference.version.to_owned();
    reservation.take(decoded.owned_bytes())?;
    if !decoded.inputs.iter().any(|input| matches!(input.payload, Payload::Raw(_))) {
        // Nothing is left of the text: its data was converted, and counted as that.
        reservation.give_back(came);
    }
    let deadline = infer::deadline(shared, guard.started(), None, decoded.timeout_us);
    let encode = Encode { form, encoding };
    let decoded = DecodedRequest { request: decoded, encode, deadline, reservation, steering, by_signature };
    infer::run(shared, &io.mailbox, decoded, guard).await
}

/// A request; what it holds of the budget, `held` and what was converted; whether a signature said what
/// it is.
type Decoded = (protocol::Decoded, Reservation, bool);

async fn decode(
    shared: &Shared,
    Asked { bodies, reference, .. }: Asked<'_>,
    head: Option<String>,
    data: Bytes,
    deadline: Option<Instant>,
    mut held: Reservation,
    guard: &mut OutcomeGuard<'_>,
) -> Result<Decoded> {
    let mut body = (bodies.split)(head.as_deref(), data)?;
    let queue = if body.needs_signature {
        let resolved = guard.resolve(reference);
        Some(resolved.map_err(|error| bodies.form.refusal(error, &undecoded(reference), None))?)
    } else {
        None
    };
    if let Some(path) = body.made_by {
        (body.text, held) = Box::pin(made(shared, path, body.text, deadline, held)).await?;
    }
    let bytes = body.text.len();
    let by_signature = queue.is_some();
    if bytes <= DECODE_INLINE {
        let (stop, before) = (Stop::after(LOOKS_INLINE), held.bytes());
        let signature = queue.as_deref().map(Queue::signature);
        let decoded = (bodies.decode)(&stop, reference.model, &body, signature, &mut held);
        if !stop.is_spent() {
            return Ok((decoded?, held, by_signature));
        }
        held.give_back(held.bytes() - before);
    }
    let model = reference.model.to_owned();
    let work = move |stop: &Stop, held: &mut Reservation| {
        let signature = queue.as_deref().map(Queue::signature);
        (bodies.decode)(stop, &model, &body, signature, held)
    };
    let job = Job { bytes, client: held.client(), deadline, held };
    let (decoded, held) = Box::pin(shared.offload.run(job, work)).await?;
    Ok((decoded, held, by_signature))
}

/// The text that whoever pulls calls makes of a body, which `held` counts; it counts itself, and what
/// the body took is counted until it is decoded.
async fn made(
    shared: &Shared,
    path: &'static str,
    body: Bytes,
    deadline: Option<Instant>,
    held: Reservation,
) -> Result<(Bytes, Reservation)> {
    let mut next = held.another();
    next.take(held.bytes())?;
    let (call, text) = Call::new((Door::Http, "POST"), path, Vec::new(), body, held)?;
    shared.calls.push(call)?;
    Ok((within(deadline, text).await?, next))
}

/// What is known of a request before its body is read.
fn undecoded(reference: Reference<'_>) -> InferRequest {
    let (model, version) = (reference.model.into(), reference.version.to_owned());
    InferRequest { model, version, ..InferRequest::default() }
}

#[cfg(test)]
mod tests;
