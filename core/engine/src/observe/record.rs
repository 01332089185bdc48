//! The record of one request that is traced, sampled or in the access log: filled in while it
//! is answered, and made into spans, a sample and a log record when it ends.

use super::Observer;
use super::sample::{self, Kept, Noted, Sample, Takers, Tensor};
use super::span::{Clock, Kind, Span};
use super::trace::{Context, SpanId};
use crate::codec::InferRequest;
use crate::codec::names::recorded_model;
use crate::codec::prepare::{Prepared, PreparedTensor};
use crate::error::{Error, ErrorCode};
use crate::events::{Events, Level};
use crate::fields::{Fields, Value};
use crate::ids;
use crate::stats::{Protocol, Why};
use crate::status;
use crate::tensor::{Datatype, Shape, TensorSpec, shown};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Where a request came in.
#[derive(Debug)]
pub struct Origin {
    pub protocol: Protocol,
    /// gRPC: the RPC's name; HTTP: the verb.
    pub method: Cow<'static, str>,
    /// HTTP: the path as sent; empty on gRPC.
    pub path: String,
    /// The client's; one is made when there is none.
    pub request_id: Option<String>,
    /// When the head came.
    pub started: Instant,
}

#[derive(Debug)]
pub struct RequestRecord {
    observer: Arc<Observer>,
    clock: Clock,
    protocol: Protocol,
    method: Cow<'static, str>,
    path: String,
    request_id: String,
    started: Instant,
    trace: OnceLock<Place>,
    access: bool,
    notes: Mutex<Notes>,
}

/// Where a request stands in a trace.
#[derive(Debug)]
struct Place {
    /// Its own span; not sampled when it is only named to the caller.
    own: Context,
    parent: Option<SpanId>,
}

#[derive(Debug, Default)]
struct Notes {
    model: String,
    version: Option<u64>,
    why: Option<Why>,
    id: String,
    priority: u64,
    timeout_us: u64,
    bytes_in: usize,
    rows: Option<usize>,
    /// Joined the line, left it for its (first) batch.
    arrived: Option<Instant>,
    cut: Option<Instant>,
    compute: Duration,
    /// The last batch it was in.
    batch: Option<Context>,
    kept: Kept,
    takers: Takers,
    anomaly: Option<Noted>,
}

impl RequestRecord {
    pub(super) fn new(
        observer: Arc<Observer>,
        origin: Origin,
        own: Option<Context>,
        parent: Option<SpanId>,
        access: bool,
    ) -> Arc<RequestRecord> {
        Arc::new(RequestRecord {
            observer,
            clock: Clock::now(),
            protocol: origin.protocol,
            method: origin.method,
            path: origin.path,
            request_id: origin.request_id.unwrap_or_else(ids::make),
            started: origin.started,
            trace: own.map(|own| Place { own, parent }).map_or_else(OnceLock::new, OnceLock::from),
            access,
            notes: Mutex::default(),
        })
    }

    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// It is in a trace, which was known only now; the first that is said holds.
    pub(super) fn trace(&self, own: Context, parent: Option<SpanId>) {
        self.trace.get_or_init(|| Place { own, parent });
    }

    /// What the answer's `traceparent` names.
    pub fn own(&self) -> Option<&Context> {
        self.trace.get().map(|place| &place.own)
    }

    /// The span that others link to, of a request that is traced.
    pub fn traced(&self) -> Option<&Context> {
        self.own().filter(|own| own.sampled)
    }

    pub fn observer(&self) -> &Arc<Observer> {
        &self.observer
    }

    /// The body has come.
    pub fn received(&self, bytes: usize) {
        self.notes.lock().bytes_in = bytes;
    }

    /// The model that it names, whether or not there is one.
    pub fn named(&self, model: &str) {
        let mut notes = self.notes.lock();
        if notes.model.is_empty() {
            notes.model = recorded_model(model);
        }
    }

    pub fn decoded(&self, request: &InferRequest) {
        self.named(&request.model);
        let mut notes = self.notes.lock();
        notes.id = request.id.as_deref().unwrap_or_default().to_owned();
        notes.priority = request.priority;
        notes.timeout_us = request.timeout_us;
    }

    /// Keep the inputs for `takers` of samples; `specs` are the model's. Those in shared memory are read
    /// for it, unless that would be more than is kept; where they cannot be, nothing is kept.
    pub fn keep_inputs(&self, specs: &[TensorSpec], prepared: &Prepared, takers: Takers) {
        let max = self.sample_max();
        let mut notes = self.notes.lock();
        notes.takers = notes.takers.or(takers);
        notes.kept = if prepared.bytes > max {
            Kept::TooLarge
        } else {
            let specs = specs.iter().zip(&prepared.inputs);
            let tensor = |(spec, input): (&TensorSpec, &Option<PreparedTensor>)| {
                let input = input.as_ref()?;
                let shape = spec.shown(&input.shape, prepared.as_described);
                let data = input.data.here();
                let (name, datatype) = (spec.name.clone(), spec.datatype);
                Some(data.map(|data| Tensor { name, datatype, shape, data }))
            };
            let tensors: Result<_, _> = specs.filter_map(tensor).collect();
            tensors.map_or(Kept::Nothing, |tensors| Kept::of(tensors, max))
        };
    }

    /// A value of it is not as its model's schema says.
    pub fn noted(&self, anomaly: Noted) {
        self.notes.lock().anomaly = Some(anomaly);
    }

    /// The version that is to answer it, and why.
    pub fn on(&self, version: u64, why: Why) {
        let mut notes = self.notes.lock();
        notes.version = Some(version);
        notes.why = Some(why);
    }

    /// It joins the line.
    pub fn joined(&self, rows: usize, arrived: Instant) {
        let mut notes = self.notes.lock();
        notes.rows = Some(rows);
        notes.arrived = Some(arrived);
    }

    /// It goes into a batch.
    pub fn cut(&self, at: Instant, batch: Option<Context>) {
        let mut notes = self.notes.lock();
        notes.cut.get_or_insert(at);
        notes.batch = batch.or(notes.batch);
    }

    /// A run of its batch is over, well or badly.
    pub fn ran(&self, compute: Duration) {
        self.notes.lock().compute += compute;
    }

    /// Keep the outputs for who takes samples.
    pub fn keep_outputs<'a>(
        &self,
        outputs: impl Iterator<Item = (&'a Arc<str>, Datatype, &'a Shape, &'a [u8])> + Clone,
    ) {
        let mut notes = self.notes.lock();
        if notes.takers.statistics {
            let values = outputs.clone().map(|(_, datatype, shape, _)| sample::values(datatype, shape));
            let values = values.fold(0, u64::saturating_add);
            self.observer.statistics_values.charge(values, self.started);
        }
        notes.kept.add_outputs(self.sample_max(), outputs);
    }

    fn sample_max(&self) -> usize {
        self.observer.sample_max.load(Relaxed)
    }

    /// Tell what became of it: spans, a sample, a line for the access log. `outcome` is
    /// the answer's bytes.
    pub fn finish(&self, events: &Events, outcome: Result<usize, &Error>) {
        let ended = Instant::now();
        let notes = std::mem::take(&mut *self.notes.lock());
        if self.access {
            events.emit_lazily(Level::Info, "request", self.record(&notes, outcome, ended));
        }
        if let Some(own) = self.traced() {
            self.push_spans(own, &notes, outcome, ended);
        }
        self.push_sample(notes, outcome, ended);
    }

    fn push_spans(&self, own: &Context, notes: &Notes, outcome: Result<usize, &Error>, ended: Instant) {
        let error = outcome.err().map(|e| e.message.clone()).unwrap_or_default();
        if let Some(arrived) = notes.arrived {
            // Never cut: it left, or was sent away, from the line.
            let error = if notes.cut.is_none() { error.clone() } else { String::new() };
            self.observer.spans.push(Span {
                trace: own.trace,
                span: SpanId::random(),
                parent: Some(own.span),
                name: "queue",
                kind: Kind::Internal,
                start_ns: self.clock.unix_ns(arrived),
                end_ns: self.clock.unix_ns(notes.cut.unwrap_or(ended)),
                links: Vec::new(),
                attributes: Vec::new(),
                error,
            });
        }
        self.observer.spans.push(Span {
            trace: own.trace,
            span: own.span,
            parent: self.trace.get().and_then(|place| place.parent),
            name: "request",
            kind: Kind::Server,
            start_ns: self.clock.unix_ns(self.started),
            end_ns: self.clock.unix_ns(ended),
            links: notes.batch.into_iter().collect(),
            attributes: self.attributes(notes, outcome),
            error,
        });
    }

    fn attributes(&self, notes: &Notes, outcome: Result<usize, &Error>) -> Fields {
        let mut fields: Fields = vec![
            ("model", notes.model.as_str().into()),
            ("protocol", self.protocol.name().into()),
            ("method", self.method.as_ref().into()),
            ("status", outcome.map_or_else(|e| e.code.name(), |_| "ok").into()),
            ("request_id", self.request_id.as_str().into()),
        ];
        fields.extend(notes.version.map(|version| ("version", version.into())));
        fields.extend(notes.why.map(|why| ("route", why.name().into())));
        fields.extend(notes.rows.map(|rows| ("rows", rows.into())));
        fields
    }

    fn head(&self) -> Fields {
        vec![
            ("request_id", self.request_id.as_str().into()),
            ("protocol", self.protocol.name().into()),
            ("method", self.method.as_ref().into()),
            ("path", shown(&self.path).into()),
        ]
    }

    /// Tell the access log of a request that is not inference: a call, health.
    pub fn finish_other(&self, events: &Events, outcome: Result<(), ErrorCode>, code: &str, bytes: u64) {
        let mut fields = self.head();
        fields.push(("status", outcome.map_or_else(ErrorCode::name, |()| "ok").into()));
        fields.push(("code", code.into()));
        fields.push(("total_ms", millis(self.started.elapsed())));
        fields.push(("bytes_out", bytes.into()));
        events.emit_lazily(Level::Info, "request", fields);
    }

    fn record(&self, notes: &Notes, outcome: Result<usize, &Error>, ended: Instant) -> Fields {
        let word: Result<(), ErrorCode> = outcome.map(|_| ()).map_err(|e| e.code);
        let mut fields = self.head();
        fields.push(("model", notes.model.as_str().into()));
        fields.extend(notes.version.map(|version| ("version", version.into())));
        fields.extend(notes.why.map(|why| ("route", why.name().into())));
        fields.push(("status", word.map_or_else(ErrorCode::name, |()| "ok").into()));
        fields.push(("code", status::code_label(self.protocol, word).into()));
        fields.push(("total_ms", millis(ended.saturating_duration_since(self.started))));
        fields.push(("queue_ms", millis(notes.waited(ended))));
        fields.push(("compute_ms", millis(notes.compute)));
        fields.extend(notes.rows.map(|rows| ("rows", rows.into())));
        fields.push(("bytes_in", notes.bytes_in.into()));
        fields.push(("bytes_out", outcome.unwrap_or(0).into()));
        fields.extend(self.traced().map(|own| ("trace_id", own.trace.to_string().into())));
        fields
    }

    fn push_sample(&self, notes: Notes, outcome: Result<usize, &Error>, ended: Instant) {
        let queue = notes.waited(ended);
        let (inputs, outputs) = match notes.kept {
            Kept::Nothing => return,
            Kept::TooLarge => return self.observer.note_too_large(notes.takers),
            Kept::Tensors { inputs, outputs } => match sample::detached(inputs) {
                Some(inputs) => (inputs, outputs),
                None => return self.observer.note_too_large(notes.takers),
            },
        };
        let (word, message) = match outcome {
            Ok(_) => ("", String::new()),
            Err(error) => (error.code.name(), error.message.clone()),
        };
        self.observer.keep(Sample {
            takers: notes.takers,
            model: notes.model,
            version: notes.version.unwrap_or(0),
            route: notes.why.map_or("", Why::name),
            protocol: self.protocol,
            id: notes.id,
            request_id: self.request_id.clone(),
            at_ns: self.clock.unix_ns(self.started),
            total: ended.saturating_duration_since(self.started),
            queue,
            compute: notes.compute,
            word,
            message,
            anomaly: notes.anomaly,
            inputs,
            // What a late answer computed is nothing that the client got.
            outputs: if word.is_empty() { outputs } else { Vec::new() },
            priority: notes.priority,
            timeout_us: notes.timeout_us,
        });
    }
}

impl Notes {
    fn waited(&self, ended: Instant) -> Duration {
        let until = self.cut.unwrap_or(ended);
        self.arrived.map_or(Duration::ZERO, |arrived| until.saturating_duration_since(arrived))
    }
}

/// To the microsecond.
fn millis(time: Duration) -> Value {
    Value::Float(time.as_micros() as f64 / 1e3)
}
