//! What is recorded of single requests: spans for traces, samples for the request log, records
//! for the access log. They go into bounded rings that drop what does not fit; nothing here can
//! fail a request, or slow one that was not drawn.

pub mod batch;
pub mod line;
pub mod otlp;
pub mod record;
pub mod ring;
pub mod sample;
pub mod span;
pub mod trace;

pub use batch::BatchTrace;
pub use record::{Origin, RequestRecord};

use ring::Ring;
use sample::Sample;
use span::Span;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What is to be noted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Shares of all requests, 0 to 1.
    pub trace_rate: f64,
    pub access_rate: f64,
    /// Whether a caller's sampled `traceparent` alone starts a trace.
    pub trace_parents: bool,
    /// Spans, and bytes of samples, that wait to be taken.
    pub span_buffer: usize,
    pub sample_buffer_bytes: usize,
    /// Inputs and outputs of one sample.
    pub sample_max_bytes: usize,
    /// Whether requests that are sent again are sampled, too.
    pub sample_replayed: bool,
}

const TRACES: u8 = 1;
const ACCESS: u8 = 2;
const SAMPLES: u8 = 4;
const REPLAYED: u8 = 8;

/// What all doors note to. Off until it is told [`Rules`].
#[derive(Debug, Default)]
pub struct Observer {
    /// What is on at all: the one thing every request looks at.
    on: AtomicU8,
    trace: AtomicU64,
    access: AtomicU64,
    parents: AtomicBool,
    sample_max: AtomicUsize,
    pub spans: Ring<Span>,
    pub samples: Ring<Sample>,
    too_large: AtomicU64,
}

impl Observer {
    pub fn set(&self, rules: &Rules) {
        let traces = rules.trace_rate > 0.0 || rules.trace_parents;
        self.trace.store(trace::threshold(rules.trace_rate), Relaxed);
        self.access.store(trace::threshold(rules.access_rate), Relaxed);
        self.parents.store(rules.trace_parents, Relaxed);
        self.sample_max.store(rules.sample_max_bytes, Relaxed);
        self.spans.resize(rules.span_buffer);
        self.samples.resize(rules.sample_buffer_bytes);
        let mut on = 0;
        for (bit, is_on) in [
            (TRACES, traces && rules.span_buffer > 0),
            (ACCESS, rules.access_rate > 0.0),
            (SAMPLES, rules.sample_buffer_bytes > 0),
            (REPLAYED, rules.sample_replayed),
        ] {
            on |= if is_on { bit } else { 0 };
        }
        self.on.store(on, Relaxed);
    }

    /// Record a request from its head on, when it is traced, brought a trace, or is
    /// drawn for the access log. `parent` reads the trace that it brought.
    pub fn begin(
        self: &Arc<Self>,
        origin: impl FnOnce() -> Origin,
        parent: impl FnOnce() -> Option<trace::Context>,
    ) -> Option<Arc<RequestRecord>> {
        let on = self.on.load(Relaxed);
        if on & (TRACES | ACCESS) == 0 {
            return None;
        }
        let parent = if on & TRACES == 0 { None } else { parent() };
        let drawn = on & TRACES != 0 && trace::drawn(self.trace.load(Relaxed));
        let own = trace::decide(parent, drawn, self.parents.load(Relaxed));
        let access = on & ACCESS != 0 && trace::drawn(self.access.load(Relaxed));
        (own.is_some() || access)
            .then(|| RequestRecord::new(self.clone(), origin(), own, parent.map(|p| p.span), access))
    }

    /// Record a request that is not inference: for the access log alone.
    pub fn begin_other(self: &Arc<Self>, origin: impl FnOnce() -> Origin) -> Option<Arc<RequestRecord>> {
        let is_on = self.on.load(Relaxed) & ACCESS != 0 && trace::drawn(self.access.load(Relaxed));
        is_on.then(|| RequestRecord::new(self.clone(), origin(), None, None, true))
    }

    /// Record a request from its line on, for the request log alone.
    pub fn begin_late(self: &Arc<Self>, origin: Origin) -> Arc<RequestRecord> {
        RequestRecord::new(self.clone(), origin, None, None, false)
    }

    pub fn takes_samples(&self, replayed: bool) -> bool {
        let on = self.on.load(Relaxed);
        on & SAMPLES != 0 && (!replayed || on & REPLAYED != 0)
    }

    fn keep(&self, sample: Sample) {
        self.samples.push(sample);
    }

    fn note_too_large(&self) {
        self.too_large.fetch_add(1, Relaxed);
    }

    pub fn samples_too_large(&self) -> u64 {
        self.too_large.load(Relaxed)
    }

    pub fn close(&self) {
        self.on.store(0, Relaxed);
        self.spans.close();
        self.samples.close();
    }
}

#[cfg(test)]
mod tests;
