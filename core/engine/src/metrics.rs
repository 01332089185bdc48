//! The core's metric families in Prometheus text format. Names and labels are all in
//! this file; the buckets are where observations fall into them.
//!
//! `serving_*` follows OpenMetrics: counters end in `_total`, units are seconds and
//! bytes. `nv_inference_*` has the names and the microseconds that Triton's dashboards ask
//! for. Every series has the model and version of the table as it is now: those of a
//! version that is gone are gone, and all unknown names share one empty label.

use crate::error::Word;
use crate::stats::{Histogram, Protocol, ROWS, SECONDS, Stats, Timed};
use crate::status;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Lines of text under construction.
struct Page<'a> {
    out: String,
    versions: Vec<Version<'a>>,
    seconds: Vec<String>,
    rows: Vec<String>,
}

struct Version<'a> {
    stats: &'a Stats,
    /// `model="m",version="1"`
    labels: String,
}

/// One series a version.
type Simple = (&'static str, Kind, &'static str, fn(&Stats) -> u64);

const SERVING: [Simple; 11] = [
    ("serving_inference_total", Kind::Counter, "Rows answered.", |s| s.inferences.load(Relaxed)),
    ("serving_execution_total", Kind::Counter, "Model runs that succeeded.", |s| s.executions.load(Relaxed)),
    ("serving_execution_failed_total", Kind::Counter, "Model runs that failed.", |s| {
        s.failed_runs.load(Relaxed)
    }),
    (
        "serving_execution_abandoned_total",
        Kind::Counter,
        "Model runs that were ended because nobody waited for them any more.",
        |s| s.abandoned_runs.load(Relaxed),
    ),
    (
        "serving_dropped_expired_total",
        Kind::Counter,
        "Requests whose deadline passed in the queue; never run.",
        |s| s.dropped_expired.load(Relaxed),
    ),
    (
        "serving_dropped_cancelled_total",
        Kind::Counter,
        "Requests whose caller left while they were queued; never run.",
        |s| s.dropped_cancelled.load(Relaxed),
    ),
    ("serving_queue_requests", Kind::Gauge, "Requests waiting in the queue.", waiting),
    ("serving_queue_rows", Kind::Gauge, "Rows waiting in the queue.", |s| s.depth_rows.load(Relaxed)),
    ("serving_queue_bytes", Kind::Gauge, "Bytes of input waiting in the queue.", |s| {
        s.depth_bytes.load(Relaxed)
    }),
    ("serving_in_flight_requests", Kind::Gauge, "Requests accepted and not yet answered.", |s| {
        s.in_flight.load(Relaxed)
    }),
    ("serving_executing_batches", Kind::Gauge, "Batches being run now.", |s| s.executing.load(Relaxed)),
];

const TRITON: [Simple; 9] = [
    ("nv_inference_request_success", Kind::Counter, "Inference requests that were answered well.", |s| {
        s.success.get().0
    }),
    ("nv_inference_count", Kind::Counter, "Rows inferred.", |s| s.inferences.load(Relaxed)),
    ("nv_inference_exec_count", Kind::Counter, "Model runs.", |s| s.executions.load(Relaxed)),
    ("nv_inference_pending_request_count", Kind::Gauge, "Requests accepted and not executing.", waiting),
    (
        "nv_inference_request_duration_us",
        Kind::Counter,
        "Microseconds of requests that were answered well, from end to end.",
        |s| micros(&s.success),
    ),
    ("nv_inference_queue_duration_us", Kind::Counter, "Microseconds that requests waited.", |s| {
        micros(&s.queued)
    }),
    (
        "nv_inference_compute_input_duration_us",
        Kind::Counter,
        "Microseconds in which requests' inputs were brought together.",
        |s| micros(&s.compute_input),
    ),
    (
        "nv_inference_compute_infer_duration_us",
        Kind::Counter,
        "Microseconds that requests' runs took.",
        |s| micros(&s.compute_infer),
    ),
    (
        "nv_inference_compute_output_duration_us",
        Kind::Counter,
        "Microseconds in which requests' answers were written.",
        |s| micros(&s.compute_output),
    ),
];

fn waiting(stats: &Stats) -> u64 {
    stats.depth_requests.load(Relaxed)
}

fn micros(timed: &Timed) -> u64 {
    timed.get().1 / 1000
}

/// Triton's reasons; all four are there from the start.
const REASONS: [&str; 4] = ["REJECTED", "CANCELED", "BACKEND", "OTHER"];

/// Which of [`REASONS`] a word is.
fn reason(word: Word) -> usize {
    match word {
        // Sent away before it ran.
        Word::Full | Word::Expired | Word::Unavailable => 0,
        Word::Cancelled => 1,
        Word::Internal | Word::BadData => 2,
        Word::BadRequest
        | Word::NotFound
        | Word::TooLarge
        | Word::Unimplemented
        | Word::MethodNotAllowed
        | Word::UnsupportedMediaType
        | Word::UnsupportedEncoding
        | Word::UnmetExpectation
        | Word::SlowBody
        | Word::Unauthenticated
        | Word::PermissionDenied => 3,
    }
}

/// The families of all versions.
pub fn of_versions(all: &[Arc<Stats>]) -> String {
    let mut page = Page::new(all);
    page.outcomes();
    page.histograms();
    page.simple(&SERVING);
    page.simple(&TRITON);
    page.failures();
    page.out
}

/// A family of one series without labels.
pub fn single(out: &mut String, name: &str, is_counter: bool, help: &str, value: u64) {
    head(out, name, if is_counter { Kind::Counter } else { Kind::Gauge }, help);
    let _ = writeln!(out, "{name} {value}");
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl<'a> Page<'a> {
    fn new(all: &'a [Arc<Stats>]) -> Self {
        let version = |stats: &'a Arc<Stats>| Version {
            labels: format!("model=\"{}\",version=\"{}\"", escape(&stats.model), number(stats.version)),
            stats,
        };
        let bounds = |all: &[f64]| all.iter().map(f64::to_string).collect();
        Page {
            out: String::with_capacity(4096 + all.len() * 20_000),
            versions: all.iter().map(version).collect(),
            seconds: bounds(&SECONDS),
            rows: bounds(&ROWS),
        }
    }

    fn simple(&mut self, families: &[Simple]) {
        let mut digits = itoa::Buffer::new();
        for &(name, kind, help, value) in families {
            head(&mut self.out, name, kind, help);
            for version in &self.versions {
                line(&mut self.out, name, &version.labels, digits.format(value(version.stats)));
            }
        }
    }

    /// Two words can share a code: their counts are one series.
    fn outcomes(&mut self) {
        let name = "serving_request_total";
        head(&mut self.out, name, Kind::Counter, "Inference requests answered, by outcome.");
        for version in &self.versions {
            for protocol in Protocol::ALL {
                for (code, count) in by_code(version.stats, protocol) {
                    let labels =
                        format!("{},protocol=\"{}\",code=\"{code}\"", version.labels, protocol.name());
                    line(&mut self.out, name, &labels, &count.to_string());
                }
            }
        }
    }

    fn failures(&mut self) {
        let name = "nv_inference_request_failure";
        head(&mut self.out, name, Kind::Counter, "Inference requests that failed, by Triton's reasons.");
        for version in &self.versions {
            let mut counts = [0; REASONS.len()];
            for word in Word::ALL {
                let of_word = version.stats.outcomes.iter().map(|o| o[1 + word as usize].load(Relaxed));
                counts[reason(word)] += of_word.sum::<u64>();
            }
            for (reason, count) in REASONS.iter().zip(counts) {
                let labels = format!("{},reason=\"{reason}\"", version.labels);
                line(&mut self.out, name, &labels, &count.to_string());
            }
        }
    }

    fn histograms(&mut self) {
        let seconds = 1e-9;
        let name = "serving_request_duration_seconds";
        head(&mut self.out, name, Kind::Histogram, "From the request's head to its answer.");
        for version in &self.versions {
            for protocol in Protocol::ALL {
                let labels = format!("{},protocol=\"{}\"", version.labels, protocol.name());
                let histogram = &version.stats.request[protocol as usize];
                write_histogram(&mut self.out, name, &labels, histogram, &self.seconds, seconds);
            }
        }
        let name = "serving_queue_duration_seconds";
        head(&mut self.out, name, Kind::Histogram, "From entering the queue to its batch being cut.");
        for version in &self.versions {
            let histogram = &version.stats.queue;
            write_histogram(&mut self.out, name, &version.labels, histogram, &self.seconds, seconds);
        }
        let name = "serving_compute_duration_seconds";
        head(&mut self.out, name, Kind::Histogram, "One run of the model.");
        for version in &self.versions {
            let histogram = &version.stats.compute;
            write_histogram(&mut self.out, name, &version.labels, histogram, &self.seconds, seconds);
        }
        let name = "serving_batch_size";
        head(&mut self.out, name, Kind::Histogram, "Rows of one run.");
        for version in &self.versions {
            write_histogram(&mut self.out, name, &version.labels, &version.stats.batch, &self.rows, 1.0);
        }
    }
}

fn by_code(stats: &Stats, protocol: Protocol) -> Vec<(String, u64)> {
    let counts = &stats.outcomes[protocol as usize];
    let mut by_code = vec![(status::code_label(protocol, Ok(())), counts[0].load(Relaxed))];
    for word in Word::ALL {
        let count = counts[1 + word as usize].load(Relaxed);
        if count == 0 {
            continue;
        }
        let code = status::code_label(protocol, Err(word));
        match by_code.iter_mut().find(|(known, _)| *known == code) {
            Some((_, sum)) => *sum += count,
            None => by_code.push((code, count)),
        }
    }
    by_code
}

fn write_histogram<const N: usize>(
    out: &mut String,
    name: &str,
    labels: &str,
    histogram: &Histogram<N>,
    bounds: &[String],
    unit: f64,
) {
    let (below, all, sum) = histogram.read();
    let mut digits = itoa::Buffer::new();
    for (bound, count) in bounds.iter().zip(below) {
        bucket(out, name, labels, bound, digits.format(count));
    }
    bucket(out, name, labels, "+Inf", digits.format(all));
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", sum as f64 * unit);
    let _ = writeln!(out, "{name}_count{{{labels}}} {all}");
}

fn bucket(out: &mut String, name: &str, labels: &str, bound: &str, count: &str) {
    for part in [name, "_bucket{", labels, ",le=\"", bound, "\"} ", count, "\n"] {
        out.push_str(part);
    }
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    for part in [name, "{", labels, "} ", value, "\n"] {
        out.push_str(part);
    }
}

/// Requests whose model or version is not known are counted under empty labels.
fn number(version: u64) -> String {
    if version == 0 { String::new() } else { version.to_string() }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Run;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn busy(model: &str, version: u64) -> Arc<Stats> {
        let stats = Stats::new(model, version);
        let took = Duration::from_micros(80);
        stats.answered(Protocol::Grpc, Ok(()), took);
        for word in [Word::BadRequest, Word::BadData, Word::Full] {
            stats.answered(Protocol::Http, Err(word), took);
        }
        stats.answered(Protocol::Grpc, Err(Word::Cancelled), took);
        stats.waited(Duration::from_micros(30));
        stats.ran(&Run {
            requests: 2,
            rows: 5,
            gather: Duration::from_micros(3),
            compute: Duration::from_millis(1),
            scatter: Duration::from_micros(4),
        });
        stats
    }

    #[test]
    fn outcomes_and_histograms_appear_under_their_labels() {
        let text = of_versions(&[busy("m\"x", 3)]);
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
    }

    #[test]
    fn triton_s_families_say_the_same_in_its_words() {
        let text = of_versions(&[busy("m", 1)]);
        for (name, extra, value) in [
            ("request_success", "", 1),
            ("request_failure", ",reason=\"REJECTED\"", 1),
            ("request_failure", ",reason=\"CANCELED\"", 1),
            ("request_failure", ",reason=\"BACKEND\"", 1),
            ("request_failure", ",reason=\"OTHER\"", 1),
            ("count", "", 5),
            ("exec_count", "", 1),
            ("pending_request_count", "", 0),
            ("request_duration_us", "", 80),
            ("queue_duration_us", "", 30),
            ("compute_input_duration_us", "", 6),
            ("compute_infer_duration_us", "", 2000),
            ("compute_output_duration_us", "", 8),
        ] {
            let line = format!("nv_inference_{name}{{model=\"m\",version=\"1\"{extra}}} {value}\n");
            assert!(text.contains(&line), "{line} not in\n{text}");
        }
        let idle = of_versions(&[Stats::new("m", 1)]);
        for reason in REASONS {
            assert!(idle.contains(&format!("reason=\"{reason}\"}} 0\n")), "{reason}");
        }
    }

    /// One block a family, its head once; counters and units named as OpenMetrics asks.
    #[test]
    fn families_are_whole_and_named_by_the_rules() {
        let text = of_versions(&[busy("a", 1), busy("a", 2), busy("b", 1)]);
        let (mut seen, mut family, mut kind) = (BTreeSet::new(), "", "");
        let mut series = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                family = rest.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} comes twice");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').unwrap();
                assert_eq!(name, family);
                kind = of;
                let is_ours = name.starts_with("serving_");
                assert!(!is_ours || (kind == "counter") == name.ends_with("_total"), "{name}");
                assert!(!is_ours || !["_ms", "_us", "_ns", "_kb", "_mb"].iter().any(|u| name.ends_with(u)));
            } else {
                let (id, _) = line.rsplit_once(' ').unwrap();
                let name = id.split('{').next().unwrap();
                let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} under {family}"));
                let allowed = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
                assert!(allowed.contains(&suffix), "{line}");
                assert!(series.insert(id), "{id} comes twice");
            }
        }
    }
}
