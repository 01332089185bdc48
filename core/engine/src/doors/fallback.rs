//! A request whose draw fell to another version than the default one, and that this one fails: the default
//! version answers it. So of versions that share a model's requests none can fail any that would have been
//! answered without it.

use super::Shared;
use super::outcome::OutcomeGuard;
use super::queued::{Whole, check_same_inputs, queued};
use crate::codec::answer::Reply;
use crate::error::ErrorCode;
use crate::queue::Queue;
use crate::queue::mailbox::Mailbox;
use crate::status::grpc_code;
use std::sync::Arc;

/// gRPC's INVALID_ARGUMENT.
const INVALID_ARGUMENT: u8 = 3;

/// The request's inputs are kept until the first answer, which counts them; then what runs again does.
pub(super) async fn run(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    whole: Whole<'_>,
    spare: Arc<Queue>,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    let bytes = whole.reservation.bytes();
    let mut again = Whole {
        queue: spare.clone(),
        request: whole.request.clone(),
        encode: whole.encode,
        deadline: whole.deadline,
        reservation: whole.reservation.another(),
        destinations: whole.destinations.clone(),
        steering: whole.steering,
        laid_out_by: whole.laid_out_by.clone(),
    };
    let failed = match queued(shared, mailbox, whole, guard).await {
        Err(error)
            if is_the_versions(error.code)
                && guard.routed().is_none_or(|on| on.version != spare.version()) =>
        {
            error
        }
        reply => return reply,
    };
    if !takes(&spare, &again) {
        return Err(failed);
    }
    let Some(drawn) = guard.falls_back(spare.clone()) else { return Err(failed) };
    again.reservation.hold(bytes);
    let reply = queued(shared, mailbox, again, guard).await;
    let outcome = reply.as_ref().map(|_| ()).map_err(|error| error.code);
    spare.stats().stood_in(outcome);
    // What the default version does not take either is the caller's affair.
    if !outcome.is_err_and(|word| grpc_code(word) == INVALID_ARGUMENT) {
        drawn.stats().fell_back(failed.code);
    }
    reply
}

/// Whether another version may do better: time that is over is over for all, and who left needs no answer.
fn is_the_versions(word: ErrorCode) -> bool {
    !matches!(word, ErrorCode::Expired | ErrorCode::Cancelled | ErrorCode::SlowBody)
}

/// Whether the request's data, which may be laid out by another's signature, is what `queue` asks for.
fn takes(queue: &Queue, whole: &Whole<'_>) -> bool {
    let model = &whole.request.model;
    let same = |by: &Arc<Queue>| check_same_inputs(model, by.signature(), queue.signature()).is_ok();
    whole.laid_out_by.as_ref().is_none_or(same)
}
