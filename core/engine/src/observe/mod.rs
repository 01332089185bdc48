//! What is recorded of single requests: spans for traces, samples for the request log, records
//! for the access log. They go into bounded rings that drop what does not fit; nothing here can
//! fail a request, or slow one that was not drawn.

pub mod batch;
pub mod line;
pub mod otlp;
pub mod rate_limit;
pub mod record;
pub mod ring;
pub mod sample;
pub mod span;
pub mod trace;
pub mod trace_rules;

pub use batch::BatchTrace;
pub use record::{Origin, RequestRecord};
pub use sample::{Noted, Takers};

use arc_swap::ArcSwap;
use rate_limit::RateLimit;
use ring::Ring;
use sample::Sample;
use span::Span;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use trace_rules::{Count, Rule, TraceRules};

/// What is to be noted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Shares of all requests, 0 to 1; that of traces until [`Observer::trace`] says otherwise.
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
    /// Samples, and values in them, that statistics get a second, of all versions together.
    pub statistics_samples: f64,
    pub statistics_values: f64,
}

const TRACES: u8 = 1;
const ACCESS: u8 = 2;
const SAMPLES: u8 = 4;
const REPLAYED: u8 = 8;
/// Spans have somewhere to wait.
const SPANS: u8 = 16;
/// Models have trace rules of their own.
const MODELS: u8 = 32;

/// What is known of a request's record at its head.
#[derive(Debug, Default)]
pub struct Begun {
    pub record: Option<Arc<RequestRecord>>,
    pub undecided: Option<Undecided>,
}

/// A request that may be traced, once its model is known.
#[derive(Debug)]
pub struct Undecided {
    parent: Option<trace::Context>,
}

/// What all doors note to. Off until it is told [`Rules`].
#[derive(Debug, Default)]
pub struct Observer {
    /// What is on at all: the one thing every request looks at.
    on: AtomicU8,
    access: AtomicU64,
    rules: ArcSwap<TraceRules>,
    sample_max: AtomicUsize,
    pub spans: Ring<Span>,
    pub samples: Ring<Sample>,
    too_large: AtomicU64,
    /// What statistics get of all versions together, and what was too large for them.
    statistics_samples: RateLimit,
    statistics_values: RateLimit,
    statistics_too_large: AtomicU64,
}

impl Observer {
    pub fn set(&self, rules: &Rules) {
        self.access.store(trace::threshold(rules.access_rate), Relaxed);
        self.sample_max.store(rules.sample_max_bytes, Relaxed);
        self.spans.resize(rules.span_buffer);
        self.samples.resize(rules.sample_buffer_bytes);
        self.statistics_samples.set(rules.statistics_samples);
        self.statistics_values.set(rules.statistics_values);
        let mut on = 0;
        for (bit, is_on) in [
            (SPANS, rules.span_buffer > 0),
            (ACCESS, rules.access_rate > 0.0),
            (SAMPLES, rules.sample_buffer_bytes > 0),
            (REPLAYED, rules.sample_replayed),
        ] {
            on |= if is_on { bit } else { 0 };
        }
        self.on.store(on, Relaxed);
        let all = Rule::new(rules.trace_rate, rules.trace_parents, Count::new(Count::UNLIMITED));
        self.trace(TraceRules::new(all, HashMap::new()));
    }

    /// Which requests are traced from now on.
    pub fn trace(&self, rules: TraceRules) {
        let wanted = [(TRACES, rules.is_on()), (MODELS, rules.differ())];
        let bits = wanted.iter().filter(|(_, is_on)| *is_on).fold(0, |bits, (bit, _)| bits | bit);
        self.rules.store(Arc::new(rules));
        let next = |on: u8| on & !(TRACES | MODELS) | if on & SPANS == 0 { 0 } else { bits };
        self.on.fetch_update(Relaxed, Relaxed, |on| Some(next(on))).unwrap_or_default();
    }

    /// Record a request from its head on, when it is traced, brought a trace, or is
    /// drawn for the access log. `parent` reads the trace that it brought. Where models have rules of
    /// their own its trace waits for its model.
    pub fn begin(
        self: &Arc<Self>,
        origin: impl FnOnce() -> Origin,
        parent: impl FnOnce() -> Option<trace::Context>,
    ) -> Begun {
        let on = self.on.load(Relaxed);
        if on & (TRACES | ACCESS) == 0 {
            return Begun::default();
        }
        let parent = if on & TRACES == 0 { None } else { parent() };
        let (traces, waits) = (on & TRACES != 0, on & (TRACES | MODELS) == TRACES | MODELS);
        let own = if traces && !waits { self.rules.load().decide("", parent) } else { None };
        let access = on & ACCESS != 0 && trace::drawn(self.access.load(Relaxed));
        let record = (own.is_some() || access)
            .then(|| RequestRecord::new(self.clone(), origin(), own, parent.map(|p| p.span), access));
        Begun { record, undecided: waits.then_some(Undecided { parent }) }
    }

    /// Decide on a trace that waited for its model; empty where that stays unknown. `record` is begun
    /// where it is traced, if it was not before.
    pub fn decide(
        self: &Arc<Self>,
        undecided: &Undecided,
        model: &str,
        record: &mut Option<Arc<RequestRecord>>,
        origin: impl FnOnce() -> Origin,
    ) {
        if let Some(own) = self.rules.load().decide(model, undecided.parent) {
            record
                .get_or_insert_with(|| RequestRecord::new(self.clone(), origin(), None, None, false))
                .trace(own, undecided.parent.map(|p| p.span));
        }
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

    /// Whether a version's request may be taken for statistics, by what all versions have together.
    pub fn takes_for_statistics(&self, values: u64, now: Instant) -> bool {
        self.statistics_samples.take(1, now) && self.statistics_values.take(values, now)
    }

    fn keep(&self, sample: Sample) {
        self.samples.push(sample);
    }

    fn note_too_large(&self, takers: Takers) {
        self.too_large.fetch_add((takers.drawn || takers.anomaly).into(), Relaxed);
        self.statistics_too_large.fetch_add(takers.statistics.into(), Relaxed);
    }

    pub fn statistics_too_large(&self) -> u64 {
        self.statistics_too_large.load(Relaxed)
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
