//! Counters of one (model, version), and their Prometheus text.
//!
//! Everything derives from the timings that ride with a request and a batch.
//! Names, labels and buckets of the core's families are all in this file.

use crate::doors::status;
use crate::error::Word;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// Seconds, from a tiny model's queue time to a minute.
const SECONDS: [f64; 22] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];
const ROWS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

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
struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
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

    fn write(&self, out: &mut String, name: &str, labels: &str, unit: f64) {
        let mut total = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.load(Relaxed);
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        total += self.over.load(Relaxed);
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}");
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum.load(Relaxed) as f64 * unit);
        let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
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

const WORDS: usize = Word::ALL.len();

#[derive(Debug)]
pub struct Stats {
    pub model: Arc<str>,
    pub version: u64,
    /// Per protocol: answers by outcome, success first and then by word.
    outcomes: [[AtomicU64; WORDS + 1]; 2],
    request: [Histogram<{ SECONDS.len() }>; 2],
    queue: Histogram<{ SECONDS.len() }>,
    compute: Histogram<{ SECONDS.len() }>,
    batch: Histogram<{ ROWS.len() }>,
    pub success: Timed,
    pub fail: Timed,
    pub queued: Timed,
    pub compute_input: Timed,
    pub compute_infer: Timed,
    pub compute_output: Timed,
    pub inferences: AtomicU64,
    pub executions: AtomicU64,
    pub failed_runs: AtomicU64,
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
    by_rows: Mutex<BTreeMap<usize, BatchTimes>>,
    /// Smoothed nanoseconds a row takes, for retry hints.
    row_ns: AtomicU64,
}

impl Stats {
    pub fn new(model: &str, version: u64) -> Arc<Self> {
        Arc::new(Stats {
            model: model.into(),
            version,
            outcomes: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            request: std::array::from_fn(|_| Histogram::new(&SECONDS)),
            queue: Histogram::new(&SECONDS),
            compute: Histogram::new(&SECONDS),
            batch: Histogram::new(&ROWS),
            success: Timed::default(),
            fail: Timed::default(),
            queued: Timed::default(),
            compute_input: Timed::default(),
            compute_infer: Timed::default(),
            compute_output: Timed::default(),
            inferences: AtomicU64::new(0),
            executions: AtomicU64::new(0),
            failed_runs: AtomicU64::new(0),
            last_inference: AtomicU64::new(0),
            executing: AtomicU64::new(0),
            dropped_expired: AtomicU64::new(0),
            dropped_cancelled: AtomicU64::new(0),
            depth_requests: AtomicU64::new(0),
            depth_rows: AtomicU64::new(0),
            depth_bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            by_rows: Mutex::new(BTreeMap::new()),
            row_ns: AtomicU64::new(0),
        })
    }

    /// A request was answered: the one place where its outcome is counted.
    pub fn answered(&self, protocol: Protocol, outcome: Result<(), Word>, took: Duration) {
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
        self.outcomes[protocol as usize][place].fetch_add(1, Relaxed);
        self.request[protocol as usize].observe_time(took);
    }

    /// A member of a batch that succeeded: how long it had waited.
    pub fn waited(&self, time: Duration) {
        self.queue.observe_time(time);
        self.queued.add(1, time);
    }

    /// A run that succeeded.
    pub fn ran(&self, run: &Run) {
        let requests = run.requests as u64;
        self.executions.fetch_add(1, Relaxed);
        self.inferences.fetch_add(run.rows as u64, Relaxed);
        self.compute_input.add(requests, run.gather);
        self.compute_infer.add(requests, run.compute);
        self.compute_output.add(requests, run.scatter);
        self.compute.observe_time(run.compute);
        self.batch.observe(run.rows as f64, run.rows as u64, 1);
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

/// Writes one family: `# HELP`, `# TYPE`, and a line or block for each of `all`.
fn family<'a>(
    out: &mut String,
    all: &'a [Arc<Stats>],
    (name, kind, help): (&str, &str, &str),
    mut each: impl FnMut(&mut String, &str, &'a Stats, &str),
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for stats in all {
        let labels =
            format!("model=\"{}\",version=\"{}\"", escape(&stats.model), version_label(stats.version));
        each(out, name, stats, &labels);
    }
}

/// Requests whose model or version is not known are counted under empty labels.
fn version_label(version: u64) -> String {
    if version == 0 { String::new() } else { version.to_string() }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

type Gauge = (&'static str, &'static str, &'static str, fn(&Stats) -> u64);

const SIMPLE: [Gauge; 10] = [
    ("serving_inference_total", "counter", "Rows answered.", |s| s.inferences.load(Relaxed)),
    ("serving_execution_total", "counter", "Model runs that succeeded.", |s| s.executions.load(Relaxed)),
    ("serving_execution_failed_total", "counter", "Model runs that failed.", |s| s.failed_runs.load(Relaxed)),
    (
        "serving_dropped_expired_total",
        "counter",
        "Requests whose deadline passed in the queue; never run.",
        |s| s.dropped_expired.load(Relaxed),
    ),
    (
        "serving_dropped_cancelled_total",
        "counter",
        "Requests whose caller left while they were queued; never run.",
        |s| s.dropped_cancelled.load(Relaxed),
    ),
    ("serving_queue_requests", "gauge", "Requests waiting in the queue.", |s| s.depth_requests.load(Relaxed)),
    ("serving_queue_rows", "gauge", "Rows waiting in the queue.", |s| s.depth_rows.load(Relaxed)),
    ("serving_queue_bytes", "gauge", "Bytes of input waiting in the queue.", |s| s.depth_bytes.load(Relaxed)),
    ("serving_in_flight_requests", "gauge", "Requests accepted and not yet answered.", |s| {
        s.in_flight.load(Relaxed)
    }),
    ("serving_executing_batches", "gauge", "Batches being run now.", |s| s.executing.load(Relaxed)),
];

/// The per-version families in Prometheus text format.
pub fn prometheus(all: &[Arc<Stats>]) -> String {
    let mut out = String::with_capacity(1024 + all.len() * 8192);
    family(
        &mut out,
        all,
        ("serving_request_total", "counter", "Inference requests answered, by outcome."),
        outcomes,
    );
    let seconds = 1e-9;
    family(
        &mut out,
        all,
        ("serving_request_duration_seconds", "histogram", "From the request's head to its answer."),
        |out, name, stats, labels| {
            for protocol in Protocol::ALL {
                let labels = format!("{labels},protocol=\"{}\"", protocol.name());
                stats.request[protocol as usize].write(out, name, &labels, seconds);
            }
        },
    );
    let queue =
        ("serving_queue_duration_seconds", "histogram", "From entering the queue to its batch being cut.");
    family(&mut out, all, queue, |out, name, s, labels| s.queue.write(out, name, labels, seconds));
    let compute = ("serving_compute_duration_seconds", "histogram", "One run of the model.");
    family(&mut out, all, compute, |out, name, s, labels| s.compute.write(out, name, labels, seconds));
    let batch = ("serving_batch_size", "histogram", "Rows of one run.");
    family(&mut out, all, batch, |out, name, s, labels| s.batch.write(out, name, labels, 1.0));
    for (name, kind, help, value) in SIMPLE {
        family(&mut out, all, (name, kind, help), |out, name, stats, labels| {
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(stats));
        });
    }
    out
}

/// Two words can share a code: their counts are one series.
fn outcomes(out: &mut String, name: &str, stats: &Stats, labels: &str) {
    for protocol in Protocol::ALL {
        let counts = &stats.outcomes[protocol as usize];
        let mut by_code: BTreeMap<String, u64> = BTreeMap::new();
        by_code.insert(status::code_label(protocol, Ok(())), counts[0].load(Relaxed));
        for word in Word::ALL {
            let count = counts[1 + word as usize].load(Relaxed);
            if count > 0 {
                *by_code.entry(status::code_label(protocol, Err(word))).or_default() += count;
            }
        }
        for (code, count) in by_code {
            let _ =
                writeln!(out, "{name}{{{labels},protocol=\"{}\",code=\"{code}\"}} {count}", protocol.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_histograms_appear_under_their_labels() {
        let stats = Stats::new("m\"x", 3);
        stats.answered(Protocol::Grpc, Ok(()), Duration::from_micros(80));
        stats.answered(Protocol::Http, Err(Word::BadRequest), Duration::from_micros(80));
        stats.answered(Protocol::Http, Err(Word::BadData), Duration::from_micros(80));
        let run = Run {
            requests: 2,
            rows: 5,
            gather: Duration::ZERO,
            compute: Duration::from_millis(1),
            scatter: Duration::ZERO,
        };
        stats.ran(&run);
        let text = prometheus(std::slice::from_ref(&stats));
        for line in [
            "serving_request_total{model=\"m\\\"x\",version=\"3\",protocol=\"grpc\",code=\"OK\"} 1",
            "serving_request_total{model=\"m\\\"x\",version=\"3\",protocol=\"http\",code=\"400\"} 2",
            "serving_batch_size_bucket{model=\"m\\\"x\",version=\"3\",le=\"4\"} 0",
            "serving_batch_size_bucket{model=\"m\\\"x\",version=\"3\",le=\"8\"} 1",
            "serving_batch_size_sum{model=\"m\\\"x\",version=\"3\"} 5",
            "serving_compute_duration_seconds_bucket{model=\"m\\\"x\",version=\"3\",le=\"0.001\"} 1",
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
        assert_eq!(stats.compute_infer.get(), (2, 2_000_000));
        assert_eq!(stats.by_rows()[&5].runs, 1);
    }
}
