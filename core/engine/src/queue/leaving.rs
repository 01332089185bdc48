//! Requests in line whose caller has left or whose deadline has passed: taken out, and counted.

use super::departures::DEPARTURES;
use super::mailbox::Wakes;
use super::{Line, Pending, Queue, pending};
use crate::batching::policy::Fate;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Queue {
    pub(super) fn count_dropped(&self, dropped: &[(Arc<Pending>, Fate)]) {
        if dropped.is_empty() {
            return;
        }
        let mut wakes = Wakes::default();
        for (pending, _) in dropped {
            let expired = pending.deadline.is_some_and(|d| d <= Instant::now());
            let counter = if expired { &self.stats.dropped_expired } else { &self.stats.dropped_cancelled };
            if expired || pending.has_left() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(waker) = pending.answer(Err(pending::expired())) {
                wakes.add(pending.mailbox(), waker);
            }
        }
    }

    pub(super) fn purge(&self, line: &mut Line, now: Instant) {
        self.left.store(0, Ordering::Relaxed);
        let dropped = line.lines.purge(now);
        for (pending, _) in &dropped {
            line.bytes = line.bytes.saturating_sub(pending.prepared.bytes);
        }
        self.note_depth(line);
        self.count_dropped(&dropped);
    }

    /// A caller went without its answer. Once half the line is dead it is cleared,
    /// so that the cost stays constant per request and the memory is given back.
    pub(super) fn caller_left(&self) {
        DEPARTURES.note();
        let left = self.left.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = self.line.lock();
        if left * 2 > line.lines.requests() && !line.lines.is_empty() {
            self.purge(&mut line, Instant::now());
        }
    }
}
