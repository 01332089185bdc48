//! Copies of requests, for a version that runs as a shadow. They stand in a line of their own, from which
//! a batch is cut only where no request waits: in its bounds, in its figures and in its batches requests
//! have nothing to do with them.

use super::departures::DEPARTURES;
use super::{Batch, Line, Pending, Queue};
use crate::batching::policy::{Fate, Lines};
use crate::loans::{Lent, Loan};
use crate::permits::Permit;
use crate::shadow::{Original, Place, Report, Shadows, Sweep};
use crate::stats::shadow::Dropped;
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

/// Between two looks for the right to run, which others have. A request that comes does not wait for that.
const LOOK: Duration = Duration::from_millis(5);

/// What a queue has for copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Places that are taken.
    taken: Arc<AtomicUsize>,
    report: OnceLock<Arc<Report>>,
}

/// The line of copies.
#[derive(Debug)]
pub(super) struct CopyLine {
    pub(super) lines: Lines<Arc<Pending>>,
    /// The requests of those that wait or run, oldest first.
    originals: VecDeque<Weak<Original>>,
    /// Somebody looks after them.
    watched: bool,
}

impl Default for CopyLine {
    fn default() -> Self {
        CopyLine { lines: Lines::new(1), originals: VecDeque::new(), watched: false }
    }
}

impl CopyLine {
    fn note(&mut self, original: &Arc<Original>, most: usize) {
        if self.originals.len() >= most.saturating_mul(2).max(8) {
            self.originals.retain(|one| one.strong_count() > 0);
        }
        self.originals.push_back(Arc::downgrade(original));
    }

    /// Take what is older than `now`, and what the next one is due at.
    fn expired(&mut self, now: Instant) -> (Vec<Arc<Original>>, Option<Instant>) {
        let mut old = Vec::new();
        while let Some(first) = self.originals.front() {
            match first.upgrade() {
                Some(original) if original.deadline > now => return (old, Some(original.deadline)),
                Some(original) => old.push(original),
                None => {}
            }
            self.originals.pop_front();
        }
        (old, None)
    }
}

impl Queue {
    /// A place for a copy, of which it has `most`.
    pub fn place_for_copy(&self, most: usize) -> Option<Place> {
        Place::take(&self.copies.taken, most)
    }

    /// What its answers to copies were against those given; made by the first copy.
    pub fn report(&self) -> &Arc<Report> {
        self.copies.report.get_or_init(|| Report::new(&self.signature))
    }

    /// `None` before the first copy.
    pub fn report_if_any(&self) -> Option<&Arc<Report>> {
        self.copies.report.get()
    }

    /// Let a copy join its line, or drop it.
    pub fn push_copy(self: &Arc<Self>, pending: Arc<Pending>, shadows: &Arc<Shadows>) {
        let Some(copy) = pending.copy() else { return };
        let (original, now) = (copy.original().clone(), Instant::now());
        let mut line = self.line.lock();
        if line.closed {
            drop(line);
            return pending.drop_copy(Dropped::Leaving);
        }
        line.copies.note(&original, shadows.rules().copies);
        let is_new = !std::mem::replace(&mut line.copies.watched, true);
        line.copies.lines.push(pending);
        line.announce();
        self.wake_or_note(line, now);
        if is_new {
            let me: Weak<Self> = Arc::downgrade(self);
            shadows.watch(me);
        }
    }

    /// Cut a batch of copies, where nothing else waits; `None`: there is none now, look again.
    pub(super) fn copies_batch(self: &Arc<Self>, started: Instant) -> Option<Batch> {
        let Ok(permit) = self.spare_permit() else {
            self.wait_a_little();
            return None;
        };
        let mut line = self.line.lock();
        if !line.lines.is_empty() {
            return None;
        }
        let room = self.options.room();
        let weight = line.copies.lines.next_weight(started, self.rules(), room);
        let Ok(loan) = self.spare_loan(weight) else {
            let dropped = line.copies.lines.purge(started);
            drop(line);
            drop(permit);
            late(&dropped);
            self.wait_a_little();
            return None;
        };
        let cut = line.copies.lines.cut(started, self.rules(), room);
        if !line.copies.lines.is_empty() {
            self.wake(&mut line);
        }
        drop(line);
        late(&cut.dropped);
        (!cut.members.is_empty())
            .then(|| Batch::new(self.clone(), cut.members, permit, started).borrowing(loan.map(Arc::new)))
    }

    /// The right to run where nobody else wants it: `None` where nobody needs any.
    fn spare_permit(&self) -> Result<Option<Arc<Permit>>, ()> {
        let Some(permits) = &self.permits else { return Ok(None) };
        permits.spare(&self.share).map(|permit| Some(Arc::new(permit))).ok_or(())
    }

    /// What their texts take, where there is room for all of it.
    fn spare_loan(&self, weight: crate::loans::Weight) -> Result<Option<Loan>, ()> {
        let Some(loans) = self.loans.get().filter(|_| self.has_texts) else { return Ok(None) };
        match loans.ask(weight) {
            Lent::Enough(loan) => Ok(loan),
            Lent::One(_) | Lent::Wait(_) => Err(()),
        }
    }

    fn wait_a_little(&self) {
        let mut line = self.line.lock();
        if line.lines.is_empty() && !line.closed {
            line.waiting += 1;
            self.arrived.wait_for(&mut line, LOOK);
            line.waiting -= 1;
            line.woken = line.woken.saturating_sub(1);
        }
    }

    /// Those that wait are run no more.
    pub(super) fn drop_copies(line: &mut Line) -> Vec<Arc<Pending>> {
        line.copies.lines.take_all()
    }
}

impl Sweep for Queue {
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let (dropped, old, next) = {
            let mut line = self.line.lock();
            let dropped = line.copies.lines.purge(now);
            let (old, next) = line.copies.expired(now);
            line.copies.watched = next.is_some();
            (dropped, old, next)
        };
        late(&dropped);
        if !old.is_empty() {
            old.iter().for_each(|original| original.expire());
            // What still runs for them alone is ended.
            DEPARTURES.note();
        }
        next
    }
}

fn late(dropped: &[(Arc<Pending>, Fate)]) {
    dropped.iter().for_each(|(pending, _)| pending.drop_copy(Dropped::Late));
}
