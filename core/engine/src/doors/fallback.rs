//! A request whose draw fell to another version than the default one, and that this one fails, or keeps
//! waiting for far longer than the default one would: that answers it. So of versions that share a model's
//! requests none can fail any that would have been answered without it.

use super::Shared;
use super::outcome::OutcomeGuard;
use super::queued::{Whole, check_same_inputs, queued};
use crate::codec::answer::Reply;
use crate::error::{Error, ErrorCode};
use crate::queue::Queue;
use crate::queue::mailbox::Mailbox;
use crate::status::grpc_code;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// gRPC's INVALID_ARGUMENT.
const INVALID_ARGUMENT: u8 = 3;

/// How many of the default version's usual times no request is called late before, and how many of them are
/// left to that at least.
const LATE: u32 = 20;
const LEFT: u32 = 4;

/// The request's inputs are kept until the first answer, which counts them; then what runs again does.
pub(super) async fn run(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    whole: Whole<'_>,
    spare: Arc<Queue>,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    if !takes(&spare, &whole) {
        return queued(shared, mailbox, whole, guard).await;
    }
    let left = whole.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    // What it still runs must not write where the other's answer lies by then.
    let set = shared.config.patience.filter(|_| whole.destinations.is_empty());
    let patience = patience(spare.stats().usual(), set, left);
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
    let failed = match within(patience, queued(shared, mailbox, whole, guard)).await {
        Some(Err(error)) if is_the_versions(error.code) => error,
        Some(reply) => return reply,
        // Nobody waits for it there any more: what runs of it is ended.
        None => Error::expired(),
    };
    if guard.routed().is_some_and(|on| on.version == spare.version()) {
        // Its own version has left meanwhile.
        return if failed.code == ErrorCode::Expired {
            again.reservation.hold(bytes);
            again.queue = guard.queue().unwrap_or(spare);
            queued(shared, mailbox, again, guard).await
        } else {
            Err(failed)
        };
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

/// The reply, where it comes within that time.
async fn within(patience: Option<Duration>, reply: impl Future<Output = Reply>) -> Option<Reply> {
    match patience {
        Some(patience) => tokio::time::timeout(patience, reply).await.ok(),
        None => Some(reply.await),
    }
}

/// How long the default version, which usually takes `usual` (zero: it has not answered yet), waits for another
/// one, where the request may take so long as is `left`. `None`: it never takes over. There is to be time for
/// it, and no request is called late that may just be one of the slower ones.
fn patience(usual: Duration, set: Option<Duration>, left: Option<Duration>) -> Option<Duration> {
    let (set, late) = (set?, usual.saturating_mul(LATE));
    let Some(left) = left else { return (!usual.is_zero()).then(|| set.max(late)) };
    let most = left / 4 * 3;
    let patience = if usual.is_zero() { most } else { set.min(most).max(late) };
    (patience.saturating_add(usual.saturating_mul(LEFT)) < left).then_some(patience)
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

#[cfg(test)]
mod tests {
    use super::patience;
    use std::time::Duration;

    #[test]
    fn the_default_version_waits_far_longer_than_it_would_take_and_keeps_time_for_itself() {
        let [ms, s] = [Duration::from_millis, Duration::from_secs];
        let cases = [
            (ms(5), Some(s(5)), Some(s(60)), Some(s(5))),
            (ms(5), Some(s(5)), None, Some(s(5))),
            (s(1), Some(s(5)), Some(s(60)), Some(s(20))),
            (s(1), Some(s(5)), None, Some(s(20))),
            // Three quarters of a short time.
            (ms(1), Some(s(5)), Some(ms(400)), Some(ms(300))),
            // There is no time for both.
            (ms(5), Some(s(5)), Some(ms(120)), None),
            (ms(5), Some(s(5)), Some(ms(10)), None),
            (ms(0), Some(s(5)), Some(ms(0)), None),
            // Nobody knows yet what is usual.
            (ms(0), Some(s(5)), Some(s(60)), Some(s(45))),
            (ms(0), Some(s(5)), None, None),
            (Duration::MAX, Some(s(5)), Some(s(60)), None),
            (ms(5), None, Some(s(60)), None),
        ];
        for (usual, set, left, expected) in cases {
            assert_eq!(patience(usual, set, left), expected, "{usual:?} {left:?}");
        }
    }
}
