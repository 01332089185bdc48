//! From a message of inference to a request.

use super::services::Messages;
use super::wire::request::{Head, whole};
use crate::codec::answer::Encode;
use crate::doors::Shared;
use crate::doors::body::Message;
use crate::doors::infer::{self, DecodedRequest};
use crate::error::Result;
use crate::offload::Job;
use crate::stop::{NEVER, Stop};
use http::HeaderMap;
use std::time::Instant;

/// Larger messages are decoded off the I/O thread: they may consist of tiny fields.
const DECODE_INLINE: usize = 1 << 20;

/// A message, decoded as its service's are.
///
/// # Errors
/// Those of decompressing and decoding it.
pub async fn decode<'h>(
    shared: &Shared,
    messages: &Messages,
    (head, headers): (&'h Head, &'h HeaderMap),
    message: Message,
    started: Instant,
) -> Result<DecodedRequest<'h>> {
    let encoding = head.answer_encoding(shared, message.compressed);
    // The RPC's time began with its head, also for a late message of a stream.
    let left = head.timeout.map(|t| t.saturating_sub(started.saturating_duration_since(head.started)));
    let deadline = infer::deadline(shared, started, left, 0);
    let (data, held) = whole(shared, head, message, deadline).await?;
    let bytes = data.len();
    let (request, mut reservation) = if bytes <= DECODE_INLINE {
        ((messages.decode)(&NEVER, data)?, held)
    } else {
        let decode = messages.decode;
        let work = move |stop: &Stop, _: &mut _| decode(stop, data);
        Box::pin(shared.offload.run(Job { bytes, client: held.client(), deadline, held }, work)).await?
    };
    reservation.take(request.owned_bytes())?;
    let deadline = infer::deadline(shared, started, left, request.timeout_us);
    let encode = Encode { form: messages.form, encoding };
    let steering = head.steering(headers);
    Ok(DecodedRequest { request, encode, deadline, reservation, steering, by_signature: false })
}
