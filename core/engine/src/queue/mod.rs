//! The bounded line of requests for one slot.

pub mod batch;
pub mod departures;
pub mod mailbox;
pub mod pending;
mod pieces;
mod texts;

pub use batch::Batch;
pub use pending::{Answer, Form, Pending, Reply, Terms, Ticket};

use crate::batching::policy::{Fate, Lines, Ready, Rules};
use crate::codec::prepare::{Limits, Prepared};
use crate::error::{Error, Word};
use crate::loans::{Loans, Weight};
use crate::observe::trace;
use crate::permits::{Permits, Share};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::tensor::{Datatype, Signature};
use departures::DEPARTURES;
use mailbox::Wakes;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A puller is woken when the I/O thread has read what there is; one that would
/// have waited longer than this is woken from the middle of its work.
const OVERDUE: Duration = Duration::from_millis(2);

#[derive(Clone, Debug)]
pub struct Options {
    /// Rows of the largest batch; 0 runs every request alone.
    pub max_rows: usize,
    pub delay: Duration,
    pub preferred: Vec<usize>,
    /// Whether a request with more rows than a batch may have is cut into pieces; else it runs
    /// whole and alone.
    pub may_cut: bool,
    pub max_queue_requests: usize,
    pub max_queue_rows: usize,
    pub max_queue_bytes: usize,
    /// 0 or 1: no levels.
    pub priority_levels: usize,
    /// The level of a request that names none, from 1; 0 is the middle one.
    pub default_priority: usize,
    pub default_timeout: Option<Duration>,
    /// Of one BYTES tensor, and of all that a batch gathers.
    pub max_string_elements: usize,
    /// Of the inputs that a batch gathers.
    pub max_batch_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_rows: 0,
            delay: Duration::ZERO,
            preferred: Vec::new(),
            may_cut: true,
            max_queue_requests: 1024,
            max_queue_rows: 65_536,
            max_queue_bytes: 256 << 20,
            priority_levels: 0,
            default_priority: 0,
            default_timeout: None,
            max_string_elements: 1 << 20,
            max_batch_bytes: 64 << 20,
        }
    }
}

impl Options {
    /// Index of the line for `parameters.priority`: 0 is the default, 1 the highest.
    fn level(&self, priority: u64) -> usize {
        let levels = self.priority_levels.max(1);
        let wanted = match usize::try_from(priority).unwrap_or(usize::MAX) {
            0 if self.default_priority == 0 => levels.div_ceil(2),
            0 => self.default_priority,
            level => level,
        };
        wanted.clamp(1, levels) - 1
    }

    /// What a batch of several requests may weigh.
    fn room(&self) -> Weight {
        Weight {
            texts: self.max_string_elements,
            text_bytes: self.max_batch_bytes,
            bytes: self.max_batch_bytes,
        }
    }

    fn rules(&self) -> Rules {
        let mut preferred = self.preferred.clone();
        preferred.sort_unstable();
        Rules {
            max_rows: self.max_rows,
            delay: self.delay,
            preferred,
            levels: self.priority_levels.max(1),
            may_cut: self.may_cut,
        }
    }
}

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
    /// Which share of the requests goes to the request log.
    samples: AtomicU64,
    line: Mutex<Line>,
    arrived: Condvar,
    /// Callers that left since the line was last cleared of them.
    left: AtomicUsize,
}

#[derive(Debug)]
struct Line {
    lines: Lines<Arc<Pending>>,
    bytes: usize,
    /// Pullers asleep, and of those how many a wake-up is under way to.
    waiting: usize,
    woken: usize,
    closed: bool,
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
            waiting: 0,
            woken: 0,
            closed: false,
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
            line: Mutex::new(line),
            arrived: Condvar::new(),
            left: AtomicUsize::new(0),
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

    /// Which share of the requests, 0 to 1, goes to the request log.
    pub fn sample(&self, rate: f64) {
        self.samples.store(trace::threshold(rate), Ordering::Relaxed);
    }

    /// Whether this request is drawn for the request log.
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
            return Err(Refused::Error(Error::new(Word::Full, message).retry(hint)));
        }
        line.bytes += pending.prepared.bytes;
        line.lines.push(pending.clone());
        self.note_depth(&line);
        self.wake_or_note(line, now);
        Ok(Ticket::new(pending, self.clone()))
    }

    fn is_full(&self, line: &Line, pending: &Pending) -> bool {
        line.lines.requests() >= self.options.max_queue_requests
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

    /// On an I/O thread the wake-up waits until the thread has done what it can do
    /// now, so that one serves all that arrived; elsewhere it goes out at once.
    fn wake_or_note(self: &Arc<Self>, mut line: MutexGuard<'_, Line>, now: Instant) {
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
    fn wake(&self, line: &mut Line) {
        let batches = line.lines.rows().div_ceil(self.rules().max_rows.max(1)).max(1);
        while line.woken < line.waiting.min(batches) {
            line.woken += 1;
            self.arrived.notify_one();
        }
    }

    /// Wait for work and the right to run it; `None` once closed and empty.
    pub fn next_batch(self: &Arc<Self>) -> Option<Batch> {
        loop {
            if !self.wait_for_work() {
                return None;
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
                return Some(Batch::new(self.clone(), cut.members, permit, started).borrowing(loan));
            }
        }
    }

    /// Sleep until a batch should be cut; false once closed and empty.
    fn wait_for_work(&self) -> bool {
        let mut line = self.line.lock();
        loop {
            // What is left at the end goes out without waiting for company.
            let ready = if line.closed && !line.lines.is_empty() {
                Ready::Now
            } else {
                line.lines.ready(Instant::now(), self.rules())
            };
            match ready {
                Ready::Now => return true,
                Ready::Idle if line.closed => return false,
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

    fn count_dropped(&self, dropped: &[(Arc<Pending>, Fate)]) {
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

    fn purge(&self, line: &mut Line, now: Instant) {
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
    fn caller_left(&self) {
        DEPARTURES.note();
        let left = self.left.fetch_add(1, Ordering::Relaxed) + 1;
        let mut line = self.line.lock();
        if left * 2 > line.lines.requests() && !line.lines.is_empty() {
            self.purge(&mut line, Instant::now());
        }
    }

    fn note_depth(&self, line: &Line) {
        self.stats.depth_requests.store(line.lines.requests() as u64, Ordering::Relaxed);
        self.stats.depth_rows.store(line.lines.rows() as u64, Ordering::Relaxed);
        self.stats.depth_bytes.store(line.bytes as u64, Ordering::Relaxed);
    }

    /// Refuse new requests; let the queued ones out.
    pub fn close(&self) {
        self.line.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Close, and answer everything still in line; how many there were.
    pub fn abort(&self, error: &Error) -> usize {
        let all = {
            let mut line = self.line.lock();
            line.closed = true;
            line.bytes = 0;
            let all = line.lines.take_all();
            self.note_depth(&line);
            all
        };
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

thread_local! {
    /// On an I/O thread: the queues that got work and whose pullers are still to be woken.
    static TOUCHED: RefCell<Option<Touched>> = const { RefCell::new(None) };
}

struct Touched {
    queues: Vec<Arc<Queue>>,
    first: Arc<Notify>,
}

/// Make this thread an I/O thread: wake-ups wait for [`wake_touched`]. What comes
/// back is notified when there is something to wake. A task that waits for it stands
/// behind all that can run at that moment, so a burst of requests makes one wake-up;
/// and it gets its turn also on a thread so busy that it never sleeps.
pub fn defer_wakes() -> Arc<Notify> {
    let first = Arc::new(Notify::new());
    let touched = Touched { queues: Vec::new(), first: first.clone() };
    TOUCHED.with_borrow_mut(|slot| *slot = Some(touched));
    first
}

/// Wake the pullers of the queues that got work on this thread.
pub fn wake_touched() {
    TOUCHED.with_borrow_mut(|touched| {
        for queue in touched.iter_mut().flat_map(|t| t.queues.drain(..)) {
            let mut line = queue.line.lock();
            if !line.lines.is_empty() {
                queue.wake(&mut line);
            }
        }
    });
}

fn note_touched(queue: &Arc<Queue>) -> bool {
    TOUCHED.with_borrow_mut(|touched| match touched {
        None => false,
        Some(Touched { queues, first }) => {
            if queues.is_empty() {
                first.notify_one();
            }
            if !queues.iter().any(|q| Arc::ptr_eq(q, queue)) {
                queues.push(queue.clone());
            }
            true
        }
    })
}

#[cfg(test)]
mod tests;
