//! What one run takes from a queue: its inputs gathered, and its end.

mod answers;
mod copies;
mod inputs;

use super::mailbox::Wakes;
use super::pending::Pending;
use super::{Queue, pending};
use crate::batching::policy::{Fate, Item, Portion};
use crate::error::{Error, ErrorCode};
use crate::loans::{Loan, Weight};
use crate::observe::batch::{BatchTrace, Ended};
use crate::permits::Permit;
use crate::scheduling::computing;
use crate::stats::Run;
use crate::tensor::{Datatype, Shape};
use answers::Views;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One input of a batch, ready for the model; `None` when it was left out.
pub type Gathered = Option<(Shape, Bytes)>;

/// One output of a run: row-major little-endian memory of the runner's.
#[derive(Debug)]
pub struct OutputView<'a> {
    pub datatype: Datatype,
    pub shape: Shape,
    pub data: &'a [u8],
}

/// To copy more bytes takes the better part of a millisecond: others have to get the CPU meanwhile.
const LONG: usize = 4 << 20;

#[derive(Debug)]
pub struct Batch {
    queue: Arc<Queue>,
    members: Vec<Portion<Arc<Pending>>>,
    rows: usize,
    /// Whether axis 0 counts rows here: several members, or a part of one.
    shares_rows: bool,
    /// Halves of a split batch run one after the other under the same permit.
    permit: Option<Arc<Permit>>,
    /// What its texts take of the budget; of all halves together.
    loan: Option<Arc<Loan>>,
    /// When it was cut, and when its inputs were gathered.
    cut_at: Instant,
    gathered_at: Instant,
    /// Counted as executing: from gathering on, so that a half that waits for the other is not.
    running: bool,
    /// The outputs to ask the model for, by place in the signature.
    outputs: Vec<usize>,
    trace: Option<Box<BatchTrace>>,
}

impl Batch {
    pub(super) fn new(
        queue: Arc<Queue>,
        members: Vec<Portion<Arc<Pending>>>,
        permit: Option<Arc<Permit>>,
        cut_at: Instant,
    ) -> Self {
        let wanted = |output: &usize| {
            members.iter().any(|m| m.item.prepared.outputs.iter().any(|wanted| wanted.place == *output))
        };
        let outputs = (0..queue.signature().outputs.len()).filter(wanted).collect();
        let rows = members.iter().map(|m| m.rows).sum();
        let trace = BatchTrace::begin(cut_at, members.iter().filter_map(|m| m.item.record()));
        let shares_rows = members.len() > 1 || members.first().is_some_and(Portion::is_piece);
        Batch {
            queue,
            members,
            rows,
            shares_rows,
            permit,
            loan: None,
            cut_at,
            gathered_at: cut_at,
            running: false,
            outputs,
            trace,
        }
    }

    /// Hold what its texts take until it is answered.
    pub(super) fn borrowing(mut self, loan: Option<Arc<Loan>>) -> Self {
        self.loan = loan;
        self
    }

    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn requests(&self) -> usize {
        self.members.len()
    }

    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// What it brings for its run to hold.
    pub fn weight(&self) -> Weight {
        self.members.iter().map(Portion::weight).fold(Weight::default(), |all, one| all + one)
    }

    /// The latest member's deadline; `None` when one of them has none.
    pub fn deadline(&self) -> Option<Instant> {
        self.members.iter().map(|m| m.item.deadline).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Give the right to run back until the inputs are gathered again: a batch that waits for
    /// its model's process keeps no other model from running.
    pub fn step_aside(&mut self) {
        self.permit = None;
        if std::mem::replace(&mut self.running, false) {
            self.queue.stats().executing.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Bring the members' inputs together, one entry per input of the signature: the run begins.
    /// Waits for the right to run where the batch has given it back. Members whose inputs cannot be
    /// read from their clients' shared memory are answered so, and are none from then on: the batch
    /// may be empty afterwards.
    ///
    /// # Errors
    /// `Internal` when a tensor has not the rows its request was accepted with, `Full` where
    /// there is no memory for the batch.
    pub fn gather(&mut self) -> Result<Vec<Gathered>, Error> {
        if self.permit.is_none() {
            let permits = self.queue.permits.as_ref();
            self.permit = permits.map(|permits| Arc::new(permits.acquire(&self.queue.share)));
        }
        if !std::mem::replace(&mut self.running, true) {
            self.queue.stats().executing.fetch_add(1, Ordering::Relaxed);
        }
        let came: usize = self.members.iter().map(|m| m.item.prepared.bytes).sum();
        let long = (came > LONG).then(computing);
        let gathered = self.inputs();
        drop(long);
        self.gathered_at = Instant::now();
        gathered
    }

    /// Answer every member; one view per entry of [`Batch::outputs`].
    ///
    /// # Errors
    /// `Internal`, with nothing answered, when the outputs do not fit the batch. One that was
    /// run for one request alone may have any rows.
    pub fn complete(&mut self, views: &[OutputView<'_>]) -> Result<(), Error> {
        self.check(views)?;
        let bytes: usize = views.iter().map(|view| view.data.len()).sum();
        let views = &Views::new(views);
        if self.is_of_copies() {
            self.complete_copies(views);
            return Ok(());
        }
        let _long = (bytes > LONG).then(computing);
        let computed = Instant::now();
        let compute = computed.saturating_duration_since(self.gathered_at);
        self.note_run(computed);
        let mut wakes = Wakes::default();
        let stats = self.queue.stats();
        let (mut start, mut answered) = (0, 0);
        let mut copied = Vec::new();
        for member in &self.members {
            let reply = self.reply(member, views, start);
            if matches!(reply, Some(Ok(_))) {
                answered += 1;
                stats.waited(self.cut_at.saturating_duration_since(member.item.arrived));
                if member.item.source().is_some() && !member.is_piece() {
                    copied.push((member.clone(), start));
                }
            }
            if let Some(waker) = reply.and_then(|reply| member.item.answer(reply)) {
                wakes.add(member.item.mailbox(), waker);
            }
            start += member.rows;
        }
        stats.ran(&Run {
            requests: answered,
            rows: self.rows,
            gather: self.gathered_at.saturating_duration_since(self.cut_at),
            compute,
            scatter: computed.elapsed(),
        });
        self.end_trace(computed, "");
        self.members.clear();
        // The permit goes before the wake-ups: whoever is next may start at once.
        self.permit = None;
        self.loan = None;
        // So does what is kept for shadows: that comes after all answers.
        drop(wakes);
        for (member, start) in copied {
            self.keep_for_copies(&member, views, start);
        }
        Ok(())
    }

    /// Halves, to run a failed batch again. Members that expired or left meanwhile
    /// are answered and dropped, so a half may be empty. Both are where the batch was one piece
    /// of a request: that one goes back into the line, to run whole.
    ///
    /// # Errors
    /// The batch itself when it holds one request, whole.
    #[allow(clippy::result_large_err)] // Ok and Err are the same size of thing: batches.
    pub fn split(mut self) -> Result<(Batch, Batch), Batch> {
        let lone_piece = match &self.members[..] {
            [] => return Err(self),
            // Copies are not run again.
            [one, ..] if one.item.copy().is_some() => return Err(self),
            [one] if !one.is_piece() => return Err(self),
            [one] => Some(one.item.clone()),
            _ => None,
        };
        self.queue.stats().failed_runs.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        self.note_run(now);
        let then = match lone_piece {
            Some(_) => "the run failed; its request is run again whole",
            None => "the run failed; its requests are run again in halves",
        };
        self.end_trace(now, then);
        let mut first = self.take_live(now);
        if let Some(request) = lone_piece.filter(|_| !first.is_empty()) {
            first.clear();
            self.queue.run_whole(&request);
        }
        let second = first.split_off(first.len().div_ceil(2));
        let half = |members: Vec<_>| {
            let permit = self.permit.clone().filter(|_| !members.is_empty());
            let loan = self.loan.clone().filter(|_| !members.is_empty());
            Batch::new(self.queue.clone(), members, permit, now).borrowing(loan)
        };
        Ok((half(first), half(second)))
    }

    /// The members that somebody still waits for, taken out; those that expired are answered.
    fn take_live(&mut self, now: Instant) -> Vec<Portion<Arc<Pending>>> {
        let (live, dead): (Vec<_>, Vec<_>) = std::mem::take(&mut self.members)
            .into_iter()
            .filter(|m| !is_void(m))
            .partition(|m| m.item.fate(now) == Fate::Live);
        let dead: Vec<_> = dead.into_iter().map(|m| (m.item.clone(), m.item.fate(now))).collect();
        self.queue.count_dropped(&dead);
        live
    }

    /// Answer every member with an error.
    pub fn fail(mut self, error: &Error) {
        if !self.is_of_copies() {
            self.queue.stats().failed_runs.fetch_add(1, Ordering::Relaxed);
        }
        self.answer_all(error);
    }

    /// Watched members learn how long the run took, before they are answered.
    fn note_run(&self, ended: Instant) {
        if self.running {
            let compute = ended.saturating_duration_since(self.gathered_at);
            self.members.iter().filter_map(|m| m.item.record()).for_each(|w| w.ran(compute));
        }
    }

    fn end_trace(&mut self, ran_until: Instant, error: &str) {
        let Some(trace) = self.trace.take() else { return };
        trace.end(&Ended {
            model: self.queue.model(),
            version: self.queue.version(),
            rows: self.rows,
            requests: self.members.len(),
            cut: self.cut_at,
            ran: self.running.then_some((self.gathered_at, ran_until)),
            error,
        });
    }

    fn answer_all(&mut self, error: &Error) {
        let now = Instant::now();
        self.note_run(now);
        let redacted = self.queue.redacted(error);
        self.end_trace(now, &redacted.as_ref().unwrap_or(error).message);
        let mut wakes = Wakes::default();
        for member in std::mem::take(&mut self.members).into_iter().filter(|m| !is_void(m)) {
            if let Some(waker) = member.item.answer(Err(error.clone())) {
                wakes.add(member.item.mailbox(), waker);
            }
        }
    }

    /// Whether nobody waits for it any more: every member was answered, has left or is late, or
    /// runs elsewhere as a whole. Once it is so it stays so.
    pub fn is_abandoned(&self) -> bool {
        let now = Instant::now();
        self.members.iter().all(|m| is_void(m) || m.item.fate(now) != Fate::Live)
    }

    /// Its run was ended because it [is abandoned](Batch::is_abandoned): no failure of the
    /// model's.
    pub fn abandon(mut self) {
        if !self.is_of_copies() {
            self.queue.stats().abandoned_runs.fetch_add(1, Ordering::Relaxed);
        }
        self.answer_all(&pending::expired());
    }

    /// Time until the latest member's deadline.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline().map(|d| d.saturating_duration_since(Instant::now()))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.running {
            self.queue.stats().executing.fetch_sub(1, Ordering::Relaxed);
        }
        if !self.members.is_empty() {
            self.answer_all(&internal("the request was given up").detail("a batch was dropped unanswered"));
        }
    }
}

fn internal(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Internal, message).quoting_nothing()
}

/// Whether this is a piece of a request that runs whole by now: it counts for nothing.
fn is_void(member: &Portion<Arc<Pending>>) -> bool {
    member.is_piece() && member.item.is_alone()
}
