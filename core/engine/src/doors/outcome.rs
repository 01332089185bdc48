//! What becomes of a request, counted once: which version it went to and why, and how it ended.

use super::Shared;
use crate::codec::InferRequest;
use crate::codec::answer::Answer;
use crate::codec::prepare::Prepared;
use crate::error::{Error, ErrorCode, Result};
use crate::observe::trace::Context;
use crate::observe::{Begun, Noted, Origin, RequestRecord, Takers, Undecided, sample};
use crate::queue::Queue;
use crate::routes::{Reference, Resolved};
use crate::stats::{Protocol, Why};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The version that a request went to, and why: told with every answer.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    pub version: u64,
    pub why: Why,
}

/// The version that answered.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
/// Why that one.
const MODEL_ROUTE: HeaderName = HeaderName::from_static(Why::KEY);

impl Routed {
    pub fn put(self, headers: &mut HeaderMap) {
        headers.insert(MODEL_VERSION, HeaderValue::from(self.version));
        self.put_why(headers);
    }

    /// Where the answer's body names the version.
    pub fn put_why(self, headers: &mut HeaderMap) {
        headers.insert(MODEL_ROUTE, HeaderValue::from_static(self.why.name()));
    }
}

/// What the head of a request says that is needed to count, log and trace it.
#[derive(Clone, Copy)]
pub struct RequestHead<'a, 'p> {
    pub protocol: Protocol,
    pub started: Instant,
    /// gRPC: the RPC's name; HTTP: the verb.
    pub method: &'static str,
    /// HTTP: the path; empty on gRPC.
    pub path: &'p str,
    pub request_id: Option<&'a str>,
    /// It is out of a request log, and goes into none again where that is not asked for.
    pub replayed: bool,
}

impl RequestHead<'_, '_> {
    fn origin(&self) -> Origin {
        Origin {
            protocol: self.protocol,
            method: self.method.into(),
            path: self.path.to_owned(),
            request_id: self.request_id.map(str::to_owned),
            started: self.started,
        }
    }
}

/// A guard that counts a request's outcome exactly once, and hands it to access log, traces and
/// request log. Dropped without [`OutcomeGuard::close`], the request counts as cancelled.
pub struct OutcomeGuard<'a> {
    shared: &'a Shared,
    protocol: Protocol,
    started: Instant,
    /// For a [`RequestRecord`] that is made only once the request is drawn for the request log.
    method: &'static str,
    request_id: Option<&'a str>,
    replayed: bool,
    place: Place,
    pub(super) record: Option<Arc<RequestRecord>>,
    /// Whether it is traced hangs on its model.
    undecided: Option<Undecided>,
    done: bool,
}

/// Where a request goes, as far as it is known.
enum Place {
    Unasked,
    /// The table has no such version, or it doesn't answer.
    Nowhere,
    On(Resolved),
}

impl<'a> OutcomeGuard<'a> {
    /// `parent` reads the trace that the request brought; only asked where traces are on.
    pub fn open(
        shared: &'a Shared,
        request_head: RequestHead<'a, '_>,
        parent: impl FnOnce() -> Option<Context>,
    ) -> Self {
        let Begun { record, undecided } = shared.observer.begin(|| request_head.origin(), parent);
        OutcomeGuard {
            shared,
            protocol: request_head.protocol,
            started: request_head.started,
            method: request_head.method,
            request_id: request_head.request_id,
            replayed: request_head.replayed,
            place: Place::Unasked,
            record,
            undecided,
            done: false,
        }
    }

    pub fn record(&self) -> Option<&RequestRecord> {
        self.record.as_deref()
    }

    /// Note the model that it names, as soon as that is known.
    pub fn named(&mut self, model: &str) {
        self.decide_trace(model);
        if let Some(record) = &self.record {
            record.named(model);
        }
    }

    fn decide_trace(&mut self, model: &str) {
        if let Some(undecided) = self.undecided.take() {
            let origin = self.late_origin();
            self.shared.observer.decide(&undecided, model, &mut self.record, origin);
        }
    }

    /// Of a record that begins after the head, and so is none of the access log's.
    fn late_origin(&self) -> impl FnOnce() -> Origin + use<'a> {
        let request_head = RequestHead {
            protocol: self.protocol,
            started: self.started,
            method: self.method,
            path: "",
            request_id: self.request_id,
            replayed: self.replayed,
        };
        move || request_head.origin()
    }

    /// Who takes a sample of it: it is whole, and fits the model of `queue`.
    fn takers(&self, queue: &Queue, prepared: &Prepared, anomaly: Option<&Noted>) -> Takers {
        let drawn = queue.draws_sample();
        let anomaly = queue.is_sampled() && anomaly.is_some_and(|one| one.told);
        if !(drawn || anomaly || queue.statistics().is_on())
            || !self.shared.observer.takes_samples(self.replayed)
        {
            return Takers::default();
        }
        // The version's own share first: what it may not have takes nothing from the others.
        let statistics = queue.statistics().take(1, self.started)
            && self.shared.observer.takes_for_statistics(values(queue, prepared), self.started);
        Takers { drawn, statistics, anomaly }
    }

    /// Take a sample of it, where anybody wants one.
    pub(super) fn draw_sample(
        &mut self,
        queue: &Queue,
        request: &InferRequest,
        prepared: &Prepared,
        anomaly: Option<Noted>,
    ) {
        let takers = self.takers(queue, prepared, anomaly.as_ref());
        if takers.any() {
            let origin = self.late_origin();
            let record = self.record.get_or_insert_with(|| {
                let record = self.shared.observer.begin_late(origin());
                record.decoded(request);
                record
            });
            record.keep_inputs(&queue.signature().inputs, prepared, takers);
            if let Some(anomaly) = anomaly {
                record.noted(anomaly);
            }
        }
        if let (Some(record), Some(routed)) = (&self.record, self.routed()) {
            record.on(routed.version, routed.why);
        }
    }

    /// When the request's head came.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Ask the table who answers; until then, and where nobody does, the outcome goes to the
    /// unknown ones. The answer is kept: whoever asks again gets the same queue.
    ///
    /// # Errors
    /// As [`crate::routes::Routes::resolve`].
    pub fn resolve(&mut self, asked: Reference<'_>) -> Result<Arc<Queue>> {
        let resolved = match &self.place {
            Place::On(resolved) => return Ok(resolved.queue.clone()),
            Place::Unasked | Place::Nowhere => self.shared.routes.resolve(asked),
        };
        self.goes(resolved)
    }

    /// The queue that was resolved has closed: ask again, with what the request drew.
    pub(super) fn resolve_again(&mut self, asked: Reference<'_>) -> Result<Arc<Queue>> {
        let Place::On(before) = &self.place else { return self.resolve(asked) };
        let next = self.shared.routes.resolve_again(asked, before)?;
        if Arc::ptr_eq(&next.queue, &before.queue) {
            return Err(leaving(asked.model));
        }
        self.goes(Ok(next))
    }

    fn goes(&mut self, resolved: Result<Resolved>) -> Result<Arc<Queue>> {
        match resolved {
            Ok(resolved) => {
                let queue = resolved.queue.clone();
                queue.stats().asked(self.protocol);
                self.place = Place::On(resolved);
                Ok(queue)
            }
            Err(error) => {
                self.place = Place::Nowhere;
                Err(error)
            }
        }
    }

    /// A request that was refused before anybody asked which version it is for is that
    /// version's refusal all the same.
    pub fn refused(&mut self, asked: Reference<'_>) {
        if matches!(self.place, Place::Unasked) {
            // Where there is none it stays with the unknown ones.
            let _ = self.resolve(asked);
        }
    }

    /// The version that it is on, where there is one.
    pub(super) fn queue(&self) -> Option<Arc<Queue>> {
        match &self.place {
            Place::On(resolved) => Some(resolved.queue.clone()),
            Place::Unasked | Place::Nowhere => None,
        }
    }

    /// The version that answers where the one fails to which its draw fell.
    pub(super) fn spare(&self) -> Option<Arc<Queue>> {
        match &self.place {
            Place::On(resolved) => resolved.spare.clone(),
            Place::Unasked | Place::Nowhere => None,
        }
    }

    /// Who is to run copies of it, where anybody is; told once.
    pub(super) fn take_shadows(&mut self) -> Option<Box<[Arc<Queue>]>> {
        match &mut self.place {
            Place::On(resolved) => resolved.shadows.take(),
            Place::Unasked | Place::Nowhere => None,
        }
    }

    /// How it came, and by what its caller knows it.
    pub(super) fn came(&self) -> (Protocol, Option<&'a str>) {
        (self.protocol, self.request_id)
    }

    /// Go on to `spare`; the queue that it was on.
    pub(super) fn falls_back(&mut self, spare: Arc<Queue>) -> Option<Arc<Queue>> {
        let Place::On(before) = &mut self.place else { return None };
        spare.stats().asked(self.protocol);
        before.spare = None;
        before.why = Why::Fallback;
        Some(std::mem::replace(&mut before.queue, spare))
    }

    /// The version that it went to and why, where there is one.
    pub fn routed(&self) -> Option<Routed> {
        match &self.place {
            Place::On(resolved) => Some(Routed { version: resolved.version(), why: resolved.why }),
            Place::Unasked | Place::Nowhere => None,
        }
    }

    /// Its error as it may be logged; `None`: as it is.
    pub fn redacted(&self, error: &Error) -> Option<Error> {
        self.shared.redacted(error, self.queue().as_deref())
    }

    /// Count the outcome. The record comes back, for the answer names its ids.
    pub fn close(mut self, outcome: std::result::Result<&Answer, &Error>) -> Option<Arc<RequestRecord>> {
        self.done = true;
        self.count(outcome.map(|answer| answer.body.len()));
        self.record.take()
    }

    fn count(&mut self, outcome: std::result::Result<usize, &Error>) {
        self.decide_trace("");
        let stats = match &self.place {
            Place::On(resolved) => {
                let stats = resolved.queue.stats();
                stats.routed(resolved.why);
                if resolved.why == Why::Fallback {
                    stats.stood_in_for(self.started.elapsed());
                }
                stats
            }
            Place::Unasked | Place::Nowhere => &self.shared.unresolved,
        };
        stats.answered(self.protocol, outcome.map(|_| ()).map_err(|e| e.code), self.started.elapsed());
        if let Some(record) = &self.record {
            let redacted = outcome.err().and_then(|error| self.redacted(error));
            let told = outcome.map_err(|error| redacted.as_ref().unwrap_or(error));
            record.finish(&self.shared.events, told);
        }
    }
}

impl Drop for OutcomeGuard<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.count(Err(&Error::new(ErrorCode::Cancelled, "the caller left")));
        }
    }
}

/// What statistics of its inputs cost.
fn values(queue: &Queue, prepared: &Prepared) -> u64 {
    let inputs = queue.signature().inputs.iter().zip(&prepared.inputs);
    let given = inputs.filter_map(|(spec, input)| Some((spec.datatype, &input.as_ref()?.shape)));
    given.map(|(datatype, shape)| sample::values(datatype, shape)).fold(0, u64::saturating_add)
}

fn leaving(model: &str) -> Error {
    let text = format!("model '{}' is leaving or the server is stopping", crate::tensor::shown(model));
    Error::new(ErrorCode::Unavailable, text).retry(Duration::from_secs(1))
}
