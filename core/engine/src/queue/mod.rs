//! The bounded line of requests for one slot.

pub mod batch;
mod copies;
mod deferred;
pub mod departures;
pub mod first_requests;
mod leaving;
pub mod mailbox;
mod options;
pub mod pending;
mod pieces;
mod pull;
mod texts;

pub use batch::Batch;
pub use deferred::{defer_wakes, wake_touched};
pub use options::{LevelPolicy, Options};
pub use pending::{Pending, RequestMeta, Ticket};

use crate::batching::policy::{Lines, Rules};
use crate::checks::Checks;
use crate::codec::prepare::{Limits, Prepared};
use crate::error::{Error, ErrorCode, Redaction};
use crate::loans::Loans;
use crate::observe::rate_limit::RateLimit;
use crate::observe::trace;
use crate::permits::{Permits, Share};
use crate::stats::Stats;
use crate::stats::shadow::Dropped;
use crate::stop::Stop;
use crate::tensor::{Datatype, Signature};
use arc_swap::ArcSwapOption;
use copies::{Copies, CopyLine};
use first_requests::FIRST_REQUESTS;
use mailbox::Wakes;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Queue {
    model: Arc<str>,
    version: u64,
    version_text: String,
    signature: Signature,
    options: Options,
    rules: Rules,
    /// The rules since real requests proved batching; see [`Queue::batch_from_now_on`].
    learnt: OnceLock<Rules>,
    permits: Option<Arc<Permits>>,
    /// Whether inputs or outputs are texts, and from whom their runs borrow once a server
    /// publishes the queue.
    has_texts: bool,
    loans: OnceLock<Arc<Loans>>,
    share: Arc<Share>,
    stats: Arc<Stats>,
    /// The share of requests that goes to the request log, as a bound for a random number.
    samples: AtomicU64,
    /// Of how many a second statistics are made.
    statistics: RateLimit,
    /// What its schema asks of requests, where it is held against any.
    checks: ArcSwapOption<Checks>,
    /// Which of its tensors' values are in no log, where any are.
    redaction: ArcSwapOption<Redaction>,
    line: Mutex<Line>,
    arrived: Condvar,
    /// Callers that left since the line was last cleared of them.
    left: AtomicUsize,
    copies: Copies,
}

#[derive(Debug)]
struct Line {
    lines: Lines<Arc<Pending>>,
    bytes: usize,
    copies: CopyLine,
    /// Pullers that sleep, and how many of those are being woken.
    waiting: usize,
    woken: usize,
    closed: bool,
    /// By which number its first request is announced, until it has come.
    first: Option<u64>,
}

impl Line {
    fn announce(&mut self) {
        if let Some(number) = self.first.take() {
            FIRST_REQUESTS.note(number);
        }
    }
}

/// Why a request could not join the line.
#[derive(Debug)]
pub enum Refused {
    /// The version is leaving: read the table again. Here is the request back.
    Closed(Arc<Pending>),
    Error(Error),
}

impl Queue {
    pub fn new(
        stats: Arc<Stats>,
        signature: Signature,
        options: Options,
        permits: Option<Arc<Permits>>,
    ) -> Arc<Self> {
        let line = Line {
            lines: Lines::new(options.priority_levels),
            bytes: 0,
            copies: CopyLine::default(),
            waiting: 0,
            woken: 0,
            closed: false,
            first: None,
        };
        let mut tensors = signature.inputs.iter().chain(&signature.outputs);
        let has_texts = tensors.any(|spec| spec.datatype == Datatype::Bytes);
        Arc::new(Queue {
            model: stats.model.clone(),
            version: stats.version,
            version_text: stats.version.to_string(),
            signature,
            rules: options.rules(),
            learnt: OnceLock::new(),
            options,
            permits,
            has_texts,
            loans: OnceLock::new(),
            share: Arc::default(),
            stats,
            samples: AtomicU64::new(0),
            statistics: RateLimit::default(),
            checks: ArcSwapOption::empty(),
            redaction: ArcSwapOption::empty(),
            line: Mutex::new(line),
            arrived: Condvar::new(),
            left: AtomicUsize::new(0),
            copies: Copies::default(),
        })
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn version_text(&self) -> &str {
        &self.version_text
    }

    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// What a run takes, as its warm-up showed, until real ones tell.
    pub fn expect_runs(&self, of: Duration) {
        self.share.expect(of);
    }

    /// Which share of the requests, 0 to 1, is drawn for the request log and its like.
    pub fn sample(&self, rate: f64) {
        self.samples.store(trace::threshold(rate), Ordering::Relaxed);
    }

    /// Of how many requests a second statistics are made, at most.
    pub fn sample_for_statistics(&self, per_second: f64) {
        self.statistics.set(per_second);
    }

    /// The statistics' share; whoever takes of it asks [`crate::observe::Observer`], too.
    pub fn statistics(&self) -> &RateLimit {
        &self.statistics
    }

    /// Hold requests against these from now on; `None`: against nothing.
    pub fn check_by(&self, checks: Option<Arc<Checks>>) {
        self.checks.store(checks);
    }

    pub fn checks(&self) -> Option<Arc<Checks>> {
        self.checks.load_full()
    }

    /// Log values of these tensors alone from now on; `None`: of all.
    pub fn show_only(&self, shown: Option<Vec<String>>) {
        let tensors = self.signature.inputs.iter().chain(&self.signature.outputs);
        let redaction = shown.and_then(|shown| Redaction::of(tensors.map(|spec| &*spec.name), shown));
        self.redaction.store(redaction.map(Arc::new));
    }

    pub fn redacts(&self) -> bool {
        self.redaction.load().is_some()
    }

    /// Whether values of this tensor are in no log.
    pub fn hides(&self, tensor: &str) -> bool {
        self.redaction.load().as_ref().is_some_and(|redaction| redaction.hides(tensor))
    }

    /// An error of a request as it may be logged; `None`: as it is.
    pub fn redacted(&self, error: &Error) -> Option<Error> {
        self.redaction.load().as_ref().and_then(|redaction| redaction.redacted(error))
    }

    /// Whether any share of its requests is drawn.
    pub fn is_sampled(&self) -> bool {
        self.samples.load(Ordering::Relaxed) > 0
    }

    /// Whether this request is drawn by its share.
    pub fn draws_sample(&self) -> bool {
        trace::drawn(self.samples.load(Ordering::Relaxed))
    }

    pub fn limits<'a>(&self, stop: &'a Stop) -> Limits<'a> {
        Limits { max_string_elements: self.options.max_string_elements, stop }
    }

    /// Batch from now on, in a queue that ran every request alone so far; false where it
    /// batches already. Requests in line keep to themselves.
    pub fn batch_from_now_on(&self, max_rows: usize, preferred: Vec<usize>, may_cut: bool) -> bool {
        if self.rules.max_rows > 0 || max_rows == 0 {
            return false;
        }
        let options = Options { max_rows, preferred, may_cut, ..self.options.clone() };
        self.learnt.set(options.rules()).is_ok()
    }

    /// Whether axis 0 counts rows, as clients are told.
    fn batches(&self) -> bool {
        self.rules().max_rows > 0
    }

    fn rules(&self) -> &Rules {
        self.learnt.get().unwrap_or(&self.rules)
    }

    /// The request's rows, and whether it must run alone. Read once per request: the
    /// rules may change between two looks at them.
    ///
    /// Inputs with first dimensions of their own have no rows to share; such a request weighs
    /// as many as the longest has, and one without inputs a single one. One with more rows than
    /// the line holds weighs as many as that, and is not cut: there would be no end of pieces.
    /// One without any data in a tensor runs alone: no proof of batching speaks of such.
    fn place_of(&self, prepared: &Prepared) -> (usize, bool) {
        let rules = self.rules();
        if rules.max_rows == 0 {
            return (1, true);
        }
        let mut firsts = prepared.inputs.iter().flatten().map(|t| t.shape.first().copied());
        let Some(Some(first)) = firsts.next() else { return (1, true) };
        let (agree, longest) = firsts.fold((true, first), |(agree, longest), other| {
            (agree && other == Some(first), longest.max(other.unwrap_or(1)))
        });
        let (rows, most) = (usize::try_from(longest).unwrap_or(1), self.options.max_queue_rows);
        let hollow = prepared.inputs.iter().flatten().any(|t| t.shape.contains(&0));
        (rows.min(most), !agree || hollow || rows > most || rules.keeps_whole(rows))
    }

    /// Have [`FIRST_REQUESTS`] say `number` when the first request joins the line; at once where
    /// there is one.
    pub fn announce_first(&self, number: u64) {
        let mut line = self.line.lock();
        line.first = Some(number);
        if !line.lines.is_empty() || !line.copies.lines.is_empty() {
            line.announce();
        }
    }

    /// Join the line.
    ///
    /// # Errors
    /// `Closed` when the version is leaving; `Full` with a retry hint, at once,
    /// when a bound is reached. An empty line takes a request of any size.
    pub fn push(self: &Arc<Self>, pending: Arc<Pending>) -> Result<Ticket, Refused> {
        let now = Instant::now();
        if pending.deadline.is_some_and(|d| d <= now) {
            self.stats.dropped_expired.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Error(pending::expired()));
        }
        let mut line = self.line.lock();
        if line.closed {
            return Err(Refused::Closed(pending));
        }
        if self.is_full(&line, &pending) && self.left.load(Ordering::Relaxed) > 0 {
            self.purge(&mut line, now);
        }
        if self.is_full(&line, &pending) {
            let hint = self.stats.retry_hint(line.lines.rows());
            let message = format!("Exceeds maximum queue size for model '{}', try again later", self.model);
            return Err(Refused::Error(Error::new(ErrorCode::Full, message).retry(hint)));
        }
        line.bytes += pending.prepared.bytes;
        line.lines.push(pending.clone());
        line.announce();
        self.note_depth(&line);
        self.wake_or_note(line, now);
        Ok(Ticket::new(pending, self.clone()))
    }

    fn is_full(&self, line: &Line, pending: &Pending) -> bool {
        line.lines.requests() >= self.options.max_queue_requests
            || line.lines.waiting(pending.level) >= self.options.most_of(pending.level)
            || line.lines.rows() + pending.rows > self.options.max_queue_rows
            || (line.bytes + pending.prepared.bytes > self.options.max_queue_bytes && !line.lines.is_empty())
    }

    /// Run a request whole and alone, before those in line: its pieces do not fit together.
    /// Pieces that still run count for nothing; one that is in line goes.
    fn run_whole(&self, pending: &Arc<Pending>) {
        // Under the lock: nobody cuts it meanwhile.
        let mut line = self.line.lock();
        if !pending.stay_whole() {
            return;
        }
        if !line.lines.put_back(pending.clone(), |other| Arc::ptr_eq(other, pending)) {
            line.bytes += pending.prepared.bytes;
        }
        self.note_depth(&line);
        self.wake(&mut line);
    }

    fn note_depth(&self, line: &Line) {
        self.stats.depth_requests.store(line.lines.requests() as u64, Ordering::Relaxed);
        self.stats.depth_rows.store(line.lines.rows() as u64, Ordering::Relaxed);
        self.stats.depth_bytes.store(line.bytes as u64, Ordering::Relaxed);
    }

    /// Refuse new requests; let the queued ones out. Copies go.
    pub fn close(&self) {
        let copies = {
            let mut line = self.line.lock();
            line.closed = true;
            Queue::drop_copies(&mut line)
        };
        self.arrived.notify_all();
        copies.iter().for_each(|copy| copy.drop_copy(Dropped::Leaving));
    }

    /// Close, and answer everything still in line; how many there were.
    pub fn abort(&self, error: &Error) -> usize {
        let (all, copies) = {
            let mut line = self.line.lock();
            line.closed = true;
            line.bytes = 0;
            let all = line.lines.take_all();
            self.note_depth(&line);
            (all, Queue::drop_copies(&mut line))
        };
        copies.iter().for_each(|copy| copy.drop_copy(Dropped::Leaving));
        self.arrived.notify_all();
        let mut wakes = Wakes::default();
        for pending in &all {
            if let Some(waker) = pending.answer(Err(error.clone())) {
                wakes.add(pending.mailbox(), waker);
            }
        }
        all.len()
    }

    /// Requests, rows and bytes in line.
    pub fn depth(&self) -> (usize, usize, usize) {
        let line = self.line.lock();
        (line.lines.requests(), line.lines.rows(), line.bytes)
    }
}

#[cfg(test)]
mod tests;
