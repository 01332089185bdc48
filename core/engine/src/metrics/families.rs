//! The table of the core's metric families: names, kinds, help texts, buckets, and the figures
//! that they tell.
//!
//! `serving_*` follows OpenMetrics: counters end in `_total`, units are seconds and bytes.
//! `nv_inference_*` has the names and the microseconds that Triton's dashboards ask for.

use crate::figures::{Figures, Observed, Totals};
use crate::stats::{ROWS, SECONDS};
use std::slice::from_ref;

#[derive(Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Copy)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

pub type Value<F> = fn(&F) -> u64;
pub type Observe = fn(&Figures) -> &[Observed];

/// One number of a version, or of the server; `key` is its name among the figures.
pub struct Single<F> {
    pub key: &'static str,
    pub family: Family,
    pub value: Value<F>,
}

/// A histogram of each version, or one for each protocol; `key` is its name among the figures.
pub struct Distribution {
    pub key: &'static str,
    pub family: Family,
    pub bounds: &'static [f64],
    /// What its sum counts by, in the unit of its bounds.
    pub unit: f64,
    pub by_protocol: bool,
    pub observed: Observe,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, help }
}

const fn single<F>(key: &'static str, family: Family, value: Value<F>) -> Single<F> {
    Single { key, family, value }
}

const fn durations(key: &'static str, family: Family, by_protocol: bool, observed: Observe) -> Distribution {
    Distribution { key, family, bounds: &SECONDS, unit: 1e-9, by_protocol, observed }
}

/// By protocol and code.
pub const REQUESTS: Family = counter("serving_request_total", "Inference requests answered, by outcome.");

/// By why the request came to the version.
pub const ROUTES: Family =
    counter("serving_route_total", "Inference requests answered, by why they came to this version.");

pub const DISTRIBUTIONS: [Distribution; 4] = [
    durations(
        "total",
        histogram("serving_request_duration_seconds", "From the request's head to its answer."),
        true,
        |f| &f.request,
    ),
    durations(
        "queue",
        histogram("serving_queue_duration_seconds", "From entering the queue to its batch being cut."),
        false,
        |f| from_ref(&f.queue),
    ),
    durations(
        "compute",
        histogram("serving_compute_duration_seconds", "One run of the model."),
        false,
        |f| from_ref(&f.compute),
    ),
    Distribution {
        key: "batch",
        family: histogram("serving_batch_size", "Rows of one run."),
        bounds: &ROWS,
        unit: 1.0,
        by_protocol: false,
        observed: |f| from_ref(&f.batch),
    },
];

pub const OF_VERSIONS: [Single<Figures>; 14] = [
    single("rows", counter("serving_inference_total", "Rows answered."), |f| f.rows),
    single("runs", counter("serving_execution_total", "Model runs that succeeded."), |f| f.runs),
    single("runs_failed", counter("serving_execution_failed_total", "Model runs that failed."), |f| {
        f.runs_failed
    }),
    single(
        "runs_abandoned",
        counter(
            "serving_execution_abandoned_total",
            "Model runs that were ended because nobody waited for them any more.",
        ),
        |f| f.runs_abandoned,
    ),
    single(
        "expired",
        counter("serving_dropped_expired_total", "Requests whose deadline passed in the queue; never run."),
        |f| f.expired,
    ),
    single(
        "cancelled",
        counter(
            "serving_dropped_cancelled_total",
            "Requests whose caller left while they were queued; never run.",
        ),
        |f| f.cancelled,
    ),
    single(
        "fell_back",
        counter(
            "serving_fallback_total",
            "Requests that a version failed to which weights had sent them, and the default version was \
             asked for.",
        ),
        |f| f.fell_back.iter().sum(),
    ),
    single(
        "inspected",
        counter(
            "serving_inspected_answers_total",
            "Answers with floating outputs that were looked at for NaN and infinity, while a rollout is under \
             way.",
        ),
        |f| f.inspected,
    ),
    single(
        "nonfinite",
        counter(
            "serving_nonfinite_answers_total",
            "Answers with NaN or infinity in an output, of those that were looked at.",
        ),
        |f| f.nonfinite,
    ),
    single("queue_requests", gauge("serving_queue_requests", "Requests waiting in the queue."), |f| {
        f.queue_requests
    }),
    single("queue_rows", gauge("serving_queue_rows", "Rows waiting in the queue."), |f| f.queue_rows),
    single("queue_bytes", gauge("serving_queue_bytes", "Bytes of input waiting in the queue."), |f| {
        f.queue_bytes
    }),
    single(
        "in_flight_requests",
        gauge("serving_in_flight_requests", "Requests accepted and not yet answered."),
        |f| f.in_flight_requests,
    ),
    single("executing_batches", gauge("serving_executing_batches", "Batches being run now."), |f| {
        f.executing_batches
    }),
];

/// What [`OF_VERSIONS`] says and more, in Triton's words.
pub const TRITON: [(Family, Value<Figures>); 9] = [
    (counter("nv_inference_request_success", "Inference requests that were answered well."), |f| {
        f.success.count
    }),
    (counter("nv_inference_count", "Rows inferred."), |f| f.rows),
    (counter("nv_inference_exec_count", "Model runs."), |f| f.runs),
    (gauge("nv_inference_pending_request_count", "Requests accepted and not executing."), |f| {
        f.queue_requests
    }),
    (
        counter(
            "nv_inference_request_duration_us",
            "Microseconds of requests that were answered well, from end to end.",
        ),
        |f| f.success.ns / 1000,
    ),
    (counter("nv_inference_queue_duration_us", "Microseconds that requests waited."), |f| f.queued.ns / 1000),
    (
        counter(
            "nv_inference_compute_input_duration_us",
            "Microseconds in which requests' inputs were brought together.",
        ),
        |f| f.compute_input.ns / 1000,
    ),
    (counter("nv_inference_compute_infer_duration_us", "Microseconds that requests' runs took."), |f| {
        f.compute_infer.ns / 1000
    }),
    (
        counter(
            "nv_inference_compute_output_duration_us",
            "Microseconds in which requests' answers were written.",
        ),
        |f| f.compute_output.ns / 1000,
    ),
];

/// Of the copies that versions ran as shadows; by reason, and by their words in small letters.
pub const SHADOW_COPIES: Family =
    counter("serving_shadow_copies_total", "Requests of which a version was to run a copy as a shadow.");
pub const SHADOW_DROPPED: Family =
    counter("serving_shadow_dropped_total", "Copies for a shadow that were not run, by reason.");
pub const SHADOW_FAILED: Family =
    counter("serving_shadow_failed_total", "Copies that a shadow failed, by error.");
pub const SHADOW_UNCOMPARED: Family = counter(
    "serving_shadow_uncompared_total",
    "Copies that a shadow answered and that were compared with nothing, by reason.",
);
pub const SHADOW_COMPARED: Family =
    counter("serving_shadow_compared_total", "Answers of a shadow that were compared with those given.");
pub const SHADOW_DIFFERENT: Family = counter(
    "serving_shadow_different_total",
    "Of the answers of a shadow that were compared, those that differ in any output.",
);
pub const SHADOW_COMPUTE: Family =
    histogram("serving_shadow_compute_duration_seconds", "One run of copies by a shadow.");

/// By reason.
pub const TRITON_FAILURES: Family =
    counter("nv_inference_request_failure", "Inference requests that failed, by Triton's reasons.");

pub const OF_SERVER: [Single<Totals>; 12] = [
    single("connections", gauge("serving_connections", "Open connections on the data ports."), |t| {
        t.connections
    }),
    single(
        "connections_total",
        counter("serving_connection_total", "Connections accepted on the data ports."),
        |t| t.connections_total,
    ),
    single(
        "connections_refused",
        counter("serving_connection_refused_total", "Connections closed at once, all places being taken."),
        |t| t.connections_refused,
    ),
    single("buffered_bytes", gauge("serving_buffered_bytes", "Bytes of requests and answers held."), |t| {
        t.buffered_bytes
    }),
    single(
        "buffered_bytes_limit",
        gauge("serving_buffered_bytes_limit", "Bytes of requests and answers that may be held."),
        |t| t.buffered_bytes_limit,
    ),
    single(
        "window_bytes",
        gauge(
            "serving_window_bytes",
            "Bytes of the receive windows that open connections have from their pool.",
        ),
        |t| t.window_bytes,
    ),
    single(
        "window_bytes_limit",
        gauge("serving_window_bytes_limit", "Bytes of the pool that receive windows are cut from."),
        |t| t.window_bytes_limit,
    ),
    single(
        "events_dropped",
        counter("serving_event_dropped_total", "Log records dropped, the ring being full."),
        |t| t.events_dropped,
    ),
    single(
        "spans_dropped",
        counter("serving_span_dropped_total", "Spans dropped, the ring being full."),
        |t| t.spans_dropped,
    ),
    single(
        "samples_dropped",
        counter("serving_sample_dropped_total", "Sampled requests dropped, the ring being full."),
        |t| t.samples_dropped,
    ),
    single(
        "samples_too_large",
        counter("serving_sample_too_large_total", "Sampled requests not kept, being too large."),
        |t| t.samples_too_large,
    ),
    single(
        "statistics_too_large",
        counter(
            "serving_statistics_too_large_total",
            "Requests of which no statistics were made, being too large.",
        ),
        |t| t.statistics_too_large,
    ),
];
