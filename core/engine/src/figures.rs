//! What one version did until a moment, as plain numbers. They are read once and are the source
//! of whatever tells of them: the scrape, Triton's statistics, Python's arrays.

use crate::error::ErrorCode;
use crate::stats::fine::{FINE, FineTimes};
use crate::stats::outputs::{CLASSES, Outputs, SCORES};
use crate::stats::shadow::ShadowCounts;
use crate::stats::{Histogram, Protocol, ROWS, Requests, Runs, SECONDS, Stats, Timed, Why};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a request can end: well, or with one of the words in their order.
pub const OUTCOMES: usize = ErrorCode::ALL.len() + 1;
const PROTOCOLS: usize = Protocol::ALL.len();
/// Buckets of the longest histogram, the one without an upper bound among them.
const MOST_BUCKETS: usize = SECONDS.len() + 1;

#[derive(Clone, Debug)]
pub struct Figures {
    /// Empty, with version 0, for requests that name what nobody has.
    pub model: Arc<str>,
    pub version: u64,
    /// The protocols over which any request has come: of others there is nothing to tell.
    pub asked: [bool; PROTOCOLS],
    /// Answers by protocol and outcome.
    pub outcomes: [[u64; OUTCOMES]; PROTOCOLS],
    /// Requests that it failed and another version was asked for, by outcome: none of its answers.
    pub fell_back: [u64; OUTCOMES],
    /// Those that another had failed, by outcome: part of its answers.
    pub stood_in: [u64; OUTCOMES],
    /// Answers whose floating outputs were looked at, and those of them with NaN or infinity.
    pub inspected: u64,
    pub nonfinite: u64,
    /// How their classes and scores are distributed; none before that was ever counted.
    pub distributions: Option<Box<Distributions>>,
    /// How long requests took, finely; none before that was ever counted.
    pub fine: Option<Box<FineFigures>>,
    /// Answers by why the request came to this version, in the order of [`Why::ALL`].
    pub routes: [u64; Why::ALL.len()],
    /// By protocol.
    pub request: [Observed; PROTOCOLS],
    pub queue: Observed,
    pub compute: Observed,
    pub batch: Observed,
    pub success: Times,
    pub fail: Times,
    pub queued: Times,
    pub compute_input: Times,
    pub compute_infer: Times,
    pub compute_output: Times,
    pub rows: u64,
    pub runs: u64,
    pub runs_failed: u64,
    pub runs_abandoned: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub queue_requests: u64,
    pub queue_rows: u64,
    pub queue_bytes: u64,
    pub in_flight_requests: u64,
    pub executing_batches: u64,
    /// Milliseconds since the epoch.
    pub last_inference: u64,
    /// Of copies that it ran as a shadow: they are in none of the others. `None` before the first.
    pub shadow: Option<Box<ShadowFigures>>,
}

/// Of all answers, and of those among them that another version had failed.
#[derive(Clone, Debug)]
pub struct FineFigures {
    pub took: FineObserved,
    pub stood_in: FineObserved,
}

/// How many were at or below each bound, and all of them; `sum`: in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct FineObserved {
    pub below: [u64; FINE],
    pub all: u64,
    pub sum: u64,
}

impl FineFigures {
    fn of(times: &FineTimes) -> Box<Self> {
        Box::new(FineFigures {
            took: FineObserved::of(&times.took),
            stood_in: FineObserved::of(&times.stood_in),
        })
    }
}

impl FineObserved {
    fn of(histogram: &Histogram<FINE>) -> Self {
        let (below, all, sum) = histogram.read();
        FineObserved { below, all, sum }
    }
}

#[derive(Clone, Debug)]
pub struct ShadowFigures {
    pub counts: ShadowCounts,
    /// Their runs.
    pub compute: Observed,
}

/// Observations by class and by size; and the sums of the squares of the answers' numbers of them.
#[derive(Clone, Debug)]
pub struct Distributions {
    pub classes: [u64; CLASSES],
    pub scores: [u64; SCORES],
    pub squares: [u64; 2],
}

impl Distributions {
    fn of(outputs: &Outputs) -> Option<Box<Self>> {
        let get = |counted: &AtomicU64| counted.load(Relaxed);
        let squares = [get(&outputs.classes.squares), get(&outputs.scores.squares)];
        squares.iter().any(|&one| one > 0).then(|| {
            Box::new(Distributions {
                classes: outputs.classes.counts.each_ref().map(get),
                scores: outputs.scores.counts.each_ref().map(get),
                squares,
            })
        })
    }
}

/// A count and the nanoseconds it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    pub count: u64,
    pub ns: u64,
}

/// A histogram's observations.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    counts: [u64; MOST_BUCKETS],
    buckets: usize,
    /// In nanoseconds, or in whole units for rows.
    pub sum: u64,
}

impl Observed {
    /// How many were at or below each bound, then all of them.
    pub fn counts(&self) -> &[u64] {
        &self.counts[..self.buckets]
    }

    pub fn all(&self) -> u64 {
        self.counts[self.buckets - 1]
    }

    /// Nothing yet, in a histogram of so many bounds.
    const fn none(bounds: usize) -> Self {
        Observed { counts: [0; MOST_BUCKETS], buckets: bounds + 1, sum: 0 }
    }

    fn of<const N: usize>(histogram: &Histogram<N>) -> Self {
        const { assert!(N < MOST_BUCKETS) };
        let (below, all, sum) = histogram.read();
        let mut observed = Observed { sum, ..Observed::none(N) };
        observed.counts[..N].copy_from_slice(&below);
        observed.counts[N] = all;
        observed
    }
}

impl Times {
    fn of(timed: &Timed) -> Self {
        let (count, ns) = timed.get();
        Times { count, ns }
    }
}

impl Figures {
    /// Those of now. Requests go on being counted meanwhile: one may be in one figure and not yet
    /// in another.
    pub fn of(stats: &Stats) -> Self {
        let get = |counted: &AtomicU64| counted.load(Relaxed);
        let requests = Protocol::ALL.map(|protocol| stats.requests(protocol));
        let outcomes = |of: &Requests| of.outcomes.each_ref().map(get);
        let seconds = |of: Option<&Histogram<{ SECONDS.len() }>>| {
            of.map_or(const { Observed::none(SECONDS.len()) }, Observed::of)
        };
        let runs = |which: fn(&Runs) -> &Histogram<{ SECONDS.len() }>| seconds(stats.runs().map(which));
        Figures {
            model: stats.model.clone(),
            version: stats.version,
            asked: requests.map(|of| of.is_some()),
            outcomes: requests.map(|of| of.map_or([0; OUTCOMES], outcomes)),
            fell_back: stats.fallbacks().map_or([0; OUTCOMES], |of| {
                std::array::from_fn(|place| place.checked_sub(1).map_or(0, |word| get(&of.failed[word])))
            }),
            stood_in: stats.fallbacks().map_or([0; OUTCOMES], |of| of.stood_in.each_ref().map(get)),
            inspected: stats.outputs().map_or(0, |of| get(&of.inspected)),
            nonfinite: stats.outputs().map_or(0, |of| get(&of.nonfinite)),
            distributions: stats.outputs().and_then(Distributions::of),
            fine: stats.fine_times().map(FineFigures::of),
            routes: stats.routes.each_ref().map(get),
            request: requests.map(|of| seconds(of.map(|of| &of.took))),
            queue: runs(|of| &of.queue),
            compute: runs(|of| &of.compute),
            batch: stats.runs().map_or(const { Observed::none(ROWS.len()) }, |of| Observed::of(&of.batch)),
            success: Times::of(&stats.success),
            fail: Times::of(&stats.fail),
            queued: Times::of(&stats.queued),
            compute_input: Times::of(&stats.compute_input),
            compute_infer: Times::of(&stats.compute_infer),
            compute_output: Times::of(&stats.compute_output),
            rows: get(&stats.inferences),
            runs: get(&stats.executions),
            runs_failed: get(&stats.failed_runs),
            runs_abandoned: get(&stats.abandoned_runs),
            expired: get(&stats.dropped_expired),
            cancelled: get(&stats.dropped_cancelled),
            queue_requests: get(&stats.depth_requests),
            queue_rows: get(&stats.depth_rows),
            queue_bytes: get(&stats.depth_bytes),
            in_flight_requests: get(&stats.in_flight),
            executing_batches: get(&stats.executing),
            last_inference: get(&stats.last_inference),
            shadow: stats
                .shadowed()
                .map(|of| Box::new(ShadowFigures { counts: of.counts(), compute: Observed::of(&of.took) })),
        }
    }
}

/// What the doors hold and have dropped, all versions together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub connections: u64,
    pub connections_total: u64,
    pub connections_refused: u64,
    pub buffered_bytes: u64,
    pub buffered_bytes_limit: u64,
    pub window_bytes: u64,
    pub window_bytes_limit: u64,
    pub events_dropped: u64,
    pub spans_dropped: u64,
    pub samples_dropped: u64,
    pub samples_too_large: u64,
    pub statistics_too_large: u64,
}
