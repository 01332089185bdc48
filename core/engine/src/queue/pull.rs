//! The pullers' side: who sleeps, who is woken, and what a puller takes.

use super::deferred::note_touched;
use super::{Batch, Line, Queue};
use crate::batching::policy::Ready;
use crate::scheduling;
use parking_lot::MutexGuard;
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A puller is woken when the I/O thread has read what there is; one that would
/// have waited longer than this is woken from the middle of its work.
const OVERDUE: Duration = Duration::from_millis(2);

/// What there is to cut a batch of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Requests,
    Copies,
}

thread_local! {
    /// When the calling thread took the batch that it runs.
    static TAKEN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The calling thread goes off with a batch.
fn took(at: Instant) {
    TAKEN.set(Some(at));
    if scheduling::serves() {
        scheduling::begin_run();
    }
}

impl Queue {
    /// On an I/O thread the wake-up waits until the thread has done what it can do
    /// now, so that one serves all that arrived; elsewhere it goes out at once.
    pub(super) fn wake_or_note(self: &Arc<Self>, mut line: MutexGuard<'_, Line>, now: Instant) {
        if line.waiting == line.woken {
            return;
        }
        let max_rows = self.rules().max_rows;
        let full = line.lines.rows() >= max_rows.max(1) && max_rows > 1;
        let overdue = line.lines.oldest().is_some_and(|t| now.duration_since(t) > OVERDUE);
        if full || overdue || !note_touched(self) {
            self.wake(&mut line);
        }
    }

    /// Wake as many sleeping pullers as there are batches for.
    pub(super) fn wake(&self, line: &mut Line) {
        let batches = line.lines.rows().div_ceil(self.rules().max_rows.max(1)).max(1);
        while line.woken < line.waiting.min(batches) {
            line.woken += 1;
            self.arrived.notify_one();
        }
    }

    /// Wait for work and the right to run it; `None` once closed and empty.
    pub fn next_batch(self: &Arc<Self>) -> Option<Batch> {
        // Who comes again has run what it took. Others than instances may do anything in between.
        if let Some(taken) = TAKEN.take()
            && scheduling::serves()
        {
            scheduling::note_run(taken.elapsed());
        }
        loop {
            if self.wait_for_work()? == Work::Copies {
                let started = Instant::now();
                if let Some(batch) = self.copies_batch(started) {
                    took(started);
                    return Some(batch);
                }
                continue;
            }
            let permit = self.permits.as_ref().map(|permits| Arc::new(permits.acquire(&self.share)));
            let started = Instant::now();
            let (cut, loan) = {
                let mut line = self.line.lock();
                let (room, mut loan) = match self.lend(&line, started) {
                    Ok(lent) => lent,
                    Err(wait) => {
                        drop((line, permit));
                        wait();
                        continue;
                    }
                };
                let cut = line.lines.cut(started, self.rules(), room);
                if let Some(loan) = &mut loan {
                    loan.settle(cut.weight);
                }
                for (pending, _) in &cut.dropped {
                    line.bytes = line.bytes.saturating_sub(pending.prepared.bytes);
                }
                for member in &cut.members {
                    // An oversize request's bytes go when its last part does.
                    if member.start + member.rows >= member.item.rows {
                        line.bytes = line.bytes.saturating_sub(member.item.prepared.bytes);
                    }
                }
                self.note_depth(&line);
                if !line.lines.is_empty() {
                    self.wake(&mut line);
                }
                (cut, loan.map(Arc::new))
            };
            self.count_dropped(&cut.dropped);
            if !cut.members.is_empty() {
                took(started);
                return Some(Batch::new(self.clone(), cut.members, permit, started).borrowing(loan));
            }
        }
    }

    /// Sleep until a batch should be cut; `None` once closed and empty.
    fn wait_for_work(&self) -> Option<Work> {
        let mut line = self.line.lock();
        loop {
            // What is left at the end goes out without waiting for company.
            let ready = if line.closed && !line.lines.is_empty() {
                Ready::Now
            } else {
                line.lines.ready(Instant::now(), self.rules())
            };
            match ready {
                Ready::Now => return Some(Work::Requests),
                Ready::Idle if !line.copies.lines.is_empty() => return Some(Work::Copies),
                Ready::Idle if line.closed => return None,
                Ready::Idle => {
                    line.waiting += 1;
                    self.arrived.wait(&mut line);
                }
                Ready::At(due) => {
                    line.waiting += 1;
                    self.arrived.wait_until(&mut line, due);
                }
            }
            line.waiting -= 1;
            line.woken = line.woken.saturating_sub(1);
        }
    }
}
