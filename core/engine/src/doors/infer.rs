//! One engine behind every door: ask the table once who answers, hold the request against that
//! version, join its line, wait for the answer, count the outcome.

use super::queued::{Whole, queued};
use super::steering::{self, Steering};
use super::{Shared, fallback, shared_tensors};
use crate::admission::Reservation;
use crate::codec::InferRequest;
use crate::codec::answer::{Encode, Reply};
use crate::codec::prepare;
use crate::queue::mailbox::Mailbox;
use crate::shared_memory::Destinations;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::outcome::{OutcomeGuard, RequestHead, Routed};

/// A decoded request, with what its answer is to look like, before it is checked and queued.
pub struct DecodedRequest<'h> {
    pub request: InferRequest,
    pub encode: Encode,
    pub deadline: Option<Instant>,
    pub reservation: Reservation,
    pub steering: Steering<'h>,
    /// Whether its data was laid out by the signature of the version that was resolved.
    pub by_signature: bool,
}

/// The earliest of the deadlines that are set.
pub fn deadline(
    shared: &Shared,
    started: Instant,
    asked: Option<Duration>,
    timeout_us: u64,
) -> Option<Instant> {
    let own = (timeout_us > 0).then(|| Duration::from_micros(timeout_us));
    let limits = [asked, own, shared.config.request_timeout];
    limits.into_iter().flatten().filter_map(|t| started.checked_add(t)).min()
}

/// Run a request to its answer.
///
/// The table is asked here, after decoding and just before the line is joined; a line that
/// closed in between sends the request back to the table, with all its inputs, so a swap loses
/// nothing.
pub async fn run(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    decoded: DecodedRequest<'_>,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    let DecodedRequest { mut request, encode, deadline, mut reservation, steering, by_signature } = decoded;
    guard.named(&request.model);
    if let Some(record) = guard.record() {
        record.decoded(&request);
    }
    let form = encode.form;
    let resolved = guard.resolve(steering::of(&request, steering));
    let queue = resolved.map_err(|error| form.refusal(error, &request, None))?;
    let laid_out_by = by_signature.then(|| queue.clone());
    let mut destinations = Destinations::default();
    if request.uses_shared_memory() {
        let bringing = shared_tensors::bring(shared, request, deadline, reservation);
        (request, destinations, reservation) = Box::pin(bringing).await?;
    }
    let request = Arc::new(request);
    let converted = prepare::converted_bytes(&request);
    if converted > 0 {
        prepare::check_filled(&request, reservation.max_message())?;
        reservation.take(converted)?;
    }
    let whole = Whole { queue, request, encode, deadline, reservation, destinations, steering, laid_out_by };
    match guard.spare() {
        None => queued(shared, mailbox, whole, guard).await,
        Some(spare) => Box::pin(fallback::run(shared, mailbox, whole, spare, guard)).await,
    }
}

#[cfg(test)]
mod tests;
