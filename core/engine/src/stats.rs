//! Counters of one (model, version). Everything derives from the timings that ride with
//! a request and a batch. What takes room is made by the first request that needs it: of many
//! versions most are asked by nobody.

pub mod fine;
pub mod outputs;
pub mod shadow;
mod why;

pub use shadow::Shadowed;
pub use why::Why;

use crate::error::ErrorCode;
use fine::FineTimes;
use outputs::{Counted, Counting, Outputs};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Seconds, from a tiny model's queue time to a minute.
pub const SECONDS: [f64; 22] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];
pub const ROWS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    pub const ALL: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

    pub fn name(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }
}

#[derive(Debug)]
pub struct Histogram<const N: usize> {
    pub bounds: &'static [f64; N],
    /// Observations at or below each bound, not cumulative; the last is +Inf.
    counts: [AtomicU64; N],
    over: AtomicU64,
    /// In nanoseconds, or in whole units for rows.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [f64; N]) -> Self {
        Histogram {
            bounds,
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            over: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, value: f64, raw: u64, times: u64) {
        let bucket = self.bounds.partition_point(|&b| b < value);
        self.counts.get(bucket).unwrap_or(&self.over).fetch_add(times, Relaxed);
        self.sum.fetch_add(raw.saturating_mul(times), Relaxed);
    }

    fn observe_time(&self, time: Duration) {
        self.observe(time.as_secs_f64(), nanos(time), 1);
    }

    /// Each bound and how many observations are at or below it, the last for +Inf; and
    /// their sum, in nanoseconds or whole units.
    pub fn read(&self) -> ([u64; N], u64, u64) {
        let mut total = 0;
        let below = std::array::from_fn(|i| {
            total += self.counts[i].load(Relaxed);
            total
        });
        (below, total + self.over.load(Relaxed), self.sum.load(Relaxed))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A count and the nanoseconds it took, as Triton's statistics have it.
#[derive(Debug, Default)]
pub struct Timed {
    pub count: AtomicU64,
    pub ns: AtomicU64,
}

impl Timed {
    fn add(&self, times: u64, time: Duration) {
        self.count.fetch_add(times, Relaxed);
        self.ns.fetch_add(nanos(time).saturating_mul(times), Relaxed);
    }

    pub fn get(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.ns.load(Relaxed))
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct BatchTimes {
    pub runs: u64,
    pub input_ns: u64,
    pub infer_ns: u64,
    pub output_ns: u64,
}

/// How one run went.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub requests: usize,
    pub rows: usize,
    pub gather: Duration,
    pub compute: Duration,
    pub scatter: Duration,
}

const WORDS: usize = ErrorCode::ALL.len();

/// The requests over one protocol.
#[derive(Debug)]
pub struct Requests {
    /// Answers by outcome, success first and then by word.
    pub outcomes: [AtomicU64; WORDS + 1],
    pub took: Histogram<{ SECONDS.len() }>,
}

impl Requests {
    fn new() -> Box<Self> {
        Box::new(Requests {
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            took: Histogram::new(&SECONDS),
        })
    }
}

/// The runs, and the waiting for them.
#[derive(Debug)]
pub struct Runs {
    pub queue: Histogram<{ SECONDS.len() }>,
    pub compute: Histogram<{ SECONDS.len() }>,
    pub batch: Histogram<{ ROWS.len() }>,
}

impl Runs {
    fn new() -> Box<Self> {
        Box::new(Runs {
            queue: Histogram::new(&SECONDS),
            compute: Histogram::new(&SECONDS),
            batch: Histogram::new(&ROWS),
        })
    }
}

/// Requests that one version failed and another was asked for.
#[derive(Debug)]
pub struct Fallbacks {
    /// Those that this one failed, by word; none of its answers.
    pub failed: [AtomicU64; WORDS],
    /// Those that this one was asked for, by outcome as in [`Requests`]: part of its answers.
    pub stood_in: [AtomicU64; WORDS + 1],
}

#[derive(Debug)]
pub struct Stats {
    pub model: Arc<str>,
    pub version: u64,
    /// By protocol; none before its first request.
    requests: [OnceLock<Box<Requests>>; 2],
    /// Those answered, well or badly, by why they came here; in the order of [`Why::ALL`].
    pub routes: [AtomicU64; Why::ALL.len()],
    /// None before the first of them.
    runs: OnceLock<Box<Runs>>,
    pub success: Timed,
    pub fail: Timed,
    pub queued: Timed,
    pub compute_input: Timed,
    pub compute_infer: Timed,
    pub compute_output: Timed,
    pub inferences: AtomicU64,
    pub executions: AtomicU64,
    pub failed_runs: AtomicU64,
    /// Ended before their end: nobody waited for them any more.
    pub abandoned_runs: AtomicU64,
    /// Milliseconds since the epoch.
    pub last_inference: AtomicU64,
    pub executing: AtomicU64,
    pub dropped_expired: AtomicU64,
    pub dropped_cancelled: AtomicU64,
    /// Queue depth, written by the queue.
    pub depth_requests: AtomicU64,
    pub depth_rows: AtomicU64,
    pub depth_bytes: AtomicU64,
    pub in_flight: AtomicU64,
    /// None before the first of them.
    fallbacks: OnceLock<Box<Fallbacks>>,
    /// What of its answers is [counted](Counting), and what was; none before it was ever asked for.
    counting: AtomicU8,
    outputs: OnceLock<Box<Outputs>>,
    fine: OnceLock<Box<FineTimes>>,
    /// None before the first copy.
    shadowed: OnceLock<Box<Shadowed>>,
    by_rows: Mutex<BTreeMap<usize, BatchTimes>>,
    /// Smoothed nanoseconds a row takes, for retry hints.
    row_ns: AtomicU64,
}

impl Stats {
    pub fn new(model: &str, version: u64) -> Arc<Self> {
        Arc::new(Stats {
            model: model.into(),
            version,
            requests: std::array::from_fn(|_| OnceLock::new()),
            routes: std::array::from_fn(|_| AtomicU64::new(0)),
            runs: OnceLock::new(),
            success: Timed::default(),
            fail: Timed::default(),
            queued: Timed::default(),
            compute_input: Timed::default(),
            compute_infer: Timed::default(),
            compute_output: Timed::default(),
            inferences: AtomicU64::new(0),
            executions: AtomicU64::new(0),
            failed_runs: AtomicU64::new(0),
            abandoned_runs: AtomicU64::new(0),
            last_inference: AtomicU64::new(0),
            executing: AtomicU64::new(0),
            dropped_expired: AtomicU64::new(0),
            dropped_cancelled: AtomicU64::new(0),
            depth_requests: AtomicU64::new(0),
            depth_rows: AtomicU64::new(0),
            depth_bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            fallbacks: OnceLock::new(),
            counting: AtomicU8::new(Counting::Nothing as u8),
            outputs: OnceLock::new(),
            fine: OnceLock::new(),
            shadowed: OnceLock::new(),
            by_rows: Mutex::new(BTreeMap::new()),
            row_ns: AtomicU64::new(0),
        })
    }

    /// A request has come: what is counted of its protocol is told from now on.
    pub fn asked(&self, protocol: Protocol) -> &Requests {
        self.requests[protocol as usize].get_or_init(Requests::new)
    }

    /// Whether any request has come yet.
    pub fn is_asked(&self) -> bool {
        self.requests.iter().any(|one| one.get().is_some())
    }

    /// `None` before the protocol's first request.
    pub fn requests(&self, protocol: Protocol) -> Option<&Requests> {
        self.requests[protocol as usize].get().map(|one| &**one)
    }

    /// `None` before the first of them.
    pub fn runs(&self) -> Option<&Runs> {
        self.runs.get().map(|one| &**one)
    }

    fn first_or_next_run(&self) -> &Runs {
        self.runs.get_or_init(Runs::new)
    }

    /// A request was answered: the one place where its outcome is counted.
    pub fn answered(&self, protocol: Protocol, outcome: Result<(), ErrorCode>, took: Duration) {
        let place = match outcome {
            Ok(()) => {
                self.success.add(1, took);
                0
            }
            Err(word) => {
                self.fail.add(1, took);
                1 + word as usize
            }
        };
        let requests = self.asked(protocol);
        requests.outcomes[place].fetch_add(1, Relaxed);
        requests.took.observe_time(took);
        if let Some(fine) = self.fine_if_counted() {
            fine.took.observe_time(took);
        }
    }

    fn fine_if_counted(&self) -> Option<&FineTimes> {
        let counted = self.counting.load(Relaxed) != Counting::Nothing as u8;
        counted.then(|| &**self.fine.get_or_init(FineTimes::new))
    }

    /// `None` where times were never counted finely.
    pub fn fine_times(&self) -> Option<&FineTimes> {
        self.fine.get().map(|one| &**one)
    }

    /// It failed a request, which another version was asked for then.
    pub fn fell_back(&self, word: ErrorCode) {
        self.first_or_next_fallback().failed[word as usize].fetch_add(1, Relaxed);
    }

    /// It answered a request that another version had failed; `answered` counts it as well.
    pub fn stood_in(&self, outcome: Result<(), ErrorCode>) {
        let place = outcome.map_or_else(|word| 1 + word as usize, |()| 0);
        self.first_or_next_fallback().stood_in[place].fetch_add(1, Relaxed);
    }

    /// How long such a request took in all, the time with the version that failed it included.
    pub fn stood_in_for(&self, took: Duration) {
        if let Some(fine) = self.fine_if_counted() {
            fine.stood_in.observe_time(took);
        }
    }

    /// `None` before the first of them.
    pub fn fallbacks(&self) -> Option<&Fallbacks> {
        self.fallbacks.get().map(|one| &**one)
    }

    fn first_or_next_fallback(&self) -> &Fallbacks {
        self.fallbacks.get_or_init(|| {
            Box::new(Fallbacks {
                failed: std::array::from_fn(|_| AtomicU64::new(0)),
                stood_in: std::array::from_fn(|_| AtomicU64::new(0)),
            })
        })
    }

    /// From now on; what was counted stays.
    pub fn count_outputs(&self, counting: Counting) {
        if counting.of_outputs() {
            self.outputs.get_or_init(Outputs::new);
        }
        self.counting.store(counting as u8, Relaxed);
    }

    /// An answer's outputs, which are asked for only where they are counted.
    #[inline]
    pub fn answers<'a, O: Iterator<Item = Counted<'a>> + Clone>(&self, outputs: impl FnOnce() -> O) {
        let counting = Counting::from_code(self.counting.load(Relaxed));
        if counting.of_outputs() {
            self.count_answer(counting, outputs());
        }
    }

    #[cold]
    fn count_answer<'a>(&self, counting: Counting, outputs: impl Iterator<Item = Counted<'a>> + Clone) {
        self.outputs.get_or_init(Outputs::new).count(counting, outputs);
    }

    /// `None` where nothing of them was ever counted.
    pub fn outputs(&self) -> Option<&Outputs> {
        self.outputs.get().map(|one| &**one)
    }

    /// What is counted of the copies that it gets as a shadow.
    pub fn as_shadow(&self) -> &Shadowed {
        self.shadowed.get_or_init(Shadowed::new)
    }

    /// `None` before the first copy.
    pub fn shadowed(&self) -> Option<&Shadowed> {
        self.shadowed.get().map(|one| &**one)
    }

    /// A request that came here for this reason was answered, well or badly.
    pub fn routed(&self, why: Why) {
        self.routes[why as usize].fetch_add(1, Relaxed);
    }

    /// A member of a batch that succeeded: how long it had waited.
    pub fn waited(&self, time: Duration) {
        self.first_or_next_run().queue.observe_time(time);
        self.queued.add(1, time);
    }

    /// What a request usually takes, from its place in line to its answer; zero before the first.
    pub fn usual(&self) -> Duration {
        let mean = |timed: &Timed| match timed.get() {
            (0, _) => 0,
            (count, ns) => ns / count,
        };
        Duration::from_nanos(mean(&self.queued).saturating_add(mean(&self.compute_infer)))
    }

    /// A run that succeeded.
    pub fn ran(&self, run: &Run) {
        let requests = run.requests as u64;
        self.executions.fetch_add(1, Relaxed);
        self.inferences.fetch_add(run.rows as u64, Relaxed);
        self.compute_input.add(requests, run.gather);
        self.compute_infer.add(requests, run.compute);
        self.compute_output.add(requests, run.scatter);
        let runs = self.first_or_next_run();
        runs.compute.observe_time(run.compute);
        runs.batch.observe(run.rows as f64, run.rows as u64, 1);
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_inference.store(u64::try_from(epoch.as_millis()).unwrap_or(0), Relaxed);
        let per_row = nanos(run.compute) / (run.rows.max(1) as u64);
        let before = self.row_ns.load(Relaxed);
        self.row_ns.store(if before == 0 { per_row } else { before - before / 8 + per_row / 8 }, Relaxed);
        let mut by_rows = self.by_rows.lock();
        // Unbatched models may bring any number of rows: the table stays bounded.
        if by_rows.len() < 4096 || by_rows.contains_key(&run.rows) {
            let entry = by_rows.entry(run.rows).or_default();
            entry.runs += 1;
            entry.input_ns += nanos(run.gather);
            entry.infer_ns += nanos(run.compute);
            entry.output_ns += nanos(run.scatter);
        }
    }

    pub fn by_rows(&self) -> BTreeMap<usize, BatchTimes> {
        self.by_rows.lock().clone()
    }

    /// How long until `rows` queued rows are worked off, by what runs took lately.
    pub fn retry_hint(&self, rows: usize) -> Duration {
        let ns = self.row_ns.load(Relaxed).saturating_mul(rows as u64);
        Duration::from_nanos(ns).clamp(Duration::from_millis(10), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_counted_by_its_rows() {
        let stats = Stats::new("m", 3);
        let run = Run {
            requests: 2,
            rows: 5,
            gather: Duration::ZERO,
            compute: Duration::from_millis(1),
            scatter: Duration::ZERO,
        };
        stats.ran(&run);
        assert_eq!(stats.compute_infer.get(), (2, 2_000_000));
        assert_eq!(stats.by_rows()[&5].runs, 1);
        let (below, all, sum) = stats.runs().unwrap().batch.read();
        assert_eq!((below[2], below[3], all, sum), (0, 1, 1, 5));
    }
    #[test]
    fn what_takes_room_is_made_by_what_needs_it() {
        let stats = Stats::new("m", 3);
        assert!(!stats.is_asked() && stats.runs().is_none());
        stats.asked(Protocol::Http);
        assert!(stats.is_asked() && stats.runs().is_none());
        assert!(stats.requests(Protocol::Http).is_some() && stats.requests(Protocol::Grpc).is_none());
        stats.waited(Duration::ZERO);
        assert!(stats.runs().is_some());
    }
}
