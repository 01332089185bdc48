//! One engine behind every door: hold the request against the version that the
//! table names now, join its line, wait for the answer, count the outcome.

use super::Shared;
use crate::admission::Reservation;
use crate::codec::InferRequest;
use crate::codec::prepare::{self, Prepared};
use crate::error::{Error, ErrorCode, Result};
use crate::observe::trace::Context;
use crate::observe::{Origin, RequestRecord};
use crate::offload::Job;
use crate::queue::mailbox::Mailbox;
use crate::queue::{Answer, Form, Pending, Queue, Refused, Reply, RequestMeta};
use crate::routes::parse_version;
use crate::stats::{Protocol, Stats};
use crate::stop::{NEVER, Stop};
use crate::tensor::Datatype;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A decoded request, with what its answer is to look like, before it is checked and queued.
pub struct DecodedRequest {
    pub request: InferRequest,
    pub form: Form,
    pub deadline: Option<Instant>,
    pub reservation: Reservation,
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
    stats: Option<Arc<Stats>>,
    record: Option<Arc<RequestRecord>>,
    done: bool,
}

impl<'a> OutcomeGuard<'a> {
    /// `parent` reads the trace that the request brought; only asked where traces are on.
    pub fn open(
        shared: &'a Shared,
        request_head: RequestHead<'a, '_>,
        parent: impl FnOnce() -> Option<Context>,
    ) -> Self {
        OutcomeGuard {
            shared,
            protocol: request_head.protocol,
            started: request_head.started,
            method: request_head.method,
            request_id: request_head.request_id,
            replayed: request_head.replayed,
            stats: None,
            record: shared.observer.begin(|| request_head.origin(), parent),
            done: false,
        }
    }

    pub fn record(&self) -> Option<&RequestRecord> {
        self.record.as_deref()
    }

    /// Draw it for the request log: it is whole, and fits the model of `queue`.
    fn draw_sample(&mut self, queue: &Queue, request: &InferRequest, prepared: &Prepared) {
        if queue.draws_sample() && self.shared.observer.takes_samples(self.replayed) {
            let record = self.record.get_or_insert_with(|| {
                let request_head = RequestHead {
                    protocol: self.protocol,
                    started: self.started,
                    method: self.method,
                    path: "",
                    request_id: self.request_id,
                    replayed: self.replayed,
                };
                let record = self.shared.observer.begin_late(request_head.origin());
                record.decoded(request);
                record
            });
            record.keep_inputs(&queue.signature().inputs, prepared);
        }
        if let Some(record) = &self.record {
            record.on(queue.version());
        }
    }

    /// When the request's head came.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Name the version; until then the outcome goes to the unknown ones.
    pub fn on(&mut self, queue: &Queue) {
        self.stats = Some(queue.stats().clone());
    }

    pub fn is_on_a_version(&self) -> bool {
        self.stats.is_some()
    }

    /// Count the outcome. The record comes back, for the answer names its ids.
    pub fn close(mut self, outcome: std::result::Result<&Answer, &Error>) -> Option<Arc<RequestRecord>> {
        self.done = true;
        self.count(outcome.map(|answer| answer.body.len()));
        self.record.take()
    }

    fn count(&self, outcome: std::result::Result<usize, &Error>) {
        let stats = self.stats.as_ref().unwrap_or(&self.shared.unresolved);
        stats.answered(self.protocol, outcome.map(|_| ()).map_err(|e| e.code), self.started.elapsed());
        if let Some(record) = &self.record {
            record.finish(&self.shared.events, outcome);
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

/// The earliest of the deadlines that are set.
pub fn deadline(
    shared: &Shared,
    started: Instant,
    asked: Option<Duration>,
    timeout_us: u64,
) -> Option<Instant> {
    let own = (timeout_us > 0).then(|| Duration::from_micros(timeout_us));
    let limits = [asked, own, shared.config.request_timeout];
    limits.into_iter().flatten().filter_map(|t| started.checked_add(t)).min()
}

/// Run a request to its answer.
///
/// The table is read here, after decoding and just before the line is joined; a
/// line that closed in between sends the request back to the table, so a swap
/// loses nothing.
pub async fn run(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    decoded: DecodedRequest,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    let DecodedRequest { request, form, deadline, mut reservation } = decoded;
    if let Some(record) = guard.record() {
        record.decoded(&request);
    }
    let request = Arc::new(request);
    let mut queue = shared.routes.pick(&request.model, &request.version)?;
    let converted = prepare::converted_bytes(&request);
    if converted > 0 {
        reservation.take(converted)?;
    }
    loop {
        guard.on(&queue);
        refuse_late(&queue, deadline)?;
        let prepared;
        (prepared, reservation) = prepare_for(shared, &request, &queue, form, deadline, reservation).await?;
        guard.draw_sample(&queue, &request, &prepared);
        let meta = RequestMeta {
            id: request.id.clone(),
            form,
            priority: request.priority,
            deadline,
            mailbox: Some(mailbox.clone()),
            reservation,
            record: guard.record.clone(),
        };
        let pending = Pending::new(&queue, prepared, meta);
        refuse_heavy(shared, &queue, &pending)?;
        if let Some(record) = guard.record() {
            record.joined(pending.rows, pending.arrived);
        }
        match queue.push(pending) {
            Ok(ticket) => {
                // Its tensors are the line's now.
                drop(request);
                return ticket.await;
            }
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Closed(pending)) => {
                let next = shared.routes.pick(&request.model, &request.version)?;
                if Arc::ptr_eq(&next, &queue) {
                    return Err(leaving(&request.model));
                }
                queue = next;
                reservation = pending.into_reservation().unwrap_or_else(|| shared.budget.reserve());
            }
        }
    }
}

fn leaving(model: &str) -> Error {
    let text = format!("model '{}' is leaving or the server is stopping", crate::tensor::shown(model));
    Error::new(ErrorCode::Unavailable, text).retry(Duration::from_secs(1))
}

/// Heavy conversions run on the helpers, never on an I/O thread.
async fn prepare_for(
    shared: &Shared,
    request: &Arc<InferRequest>,
    queue: &Arc<Queue>,
    form: Form,
    deadline: Option<Instant>,
    held: Reservation,
) -> Result<(Prepared, Reservation)> {
    let bytes = prepare::cost(request);
    let (prepared, held) = if bytes > prepare::MUCH {
        let (request, queue) = (request.clone(), queue.clone());
        let work =
            move |stop: &Stop, _: &mut _| prepare::prepare(&request, queue.signature(), &queue.limits(stop));
        Box::pin(shared.offload.run(Job { bytes, client: held.client(), deadline, held }, work)).await?
    } else {
        (prepare::prepare(request, queue.signature(), &queue.limits(&NEVER))?, held)
    };
    if matches!(form, Form::Http(_)) {
        refuse_halves_in_json(&prepared, queue)?;
    }
    Ok((prepared, held))
}

/// Texts that take more memory to run than the process may hold would never have room.
fn refuse_heavy(shared: &Shared, queue: &Queue, pending: &Arc<Pending>) -> Result<()> {
    let (cost, most) = (queue.heaviest_run(pending).cost(), shared.budget.max());
    if cost <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::TooLarge,
        format!(
            "{} string elements take about {cost} bytes to run, more than the limit of {most} bytes \
             (setting limits.process_bytes)",
            pending.weight.texts
        ),
    ))
}

/// Decoding may have taken until the deadline, or have read it only now.
fn refuse_late(queue: &Queue, deadline: Option<Instant>) -> Result<()> {
    if deadline.is_some_and(|d| d <= Instant::now()) {
        queue.stats().dropped_expired.fetch_add(1, Ordering::Relaxed);
        return Err(Error::expired());
    }
    Ok(())
}

/// FP16 and BF16 have no JSON form: refuse before running, not after.
fn refuse_halves_in_json(prepared: &Prepared, queue: &Queue) -> Result<()> {
    for &(place, binary) in &prepared.outputs {
        let spec = &queue.signature().outputs[place];
        if !binary && matches!(spec.datatype, Datatype::Fp16 | Datatype::Bf16) {
            return Err(Error::bad(format!(
                "sending {} data via JSON is not supported. Please use the binary data format for output '{}'",
                spec.datatype, spec.name
            )));
        }
    }
    Ok(())
}

/// Whether a model, or one version of it, answers now.
///
/// # Errors
/// `NotFound` for an unknown model or version, `BadRequest` for a bad version.
pub fn is_ready(shared: &Shared, model: &str, version: &str) -> Result<bool> {
    let version = parse_version(version)?;
    let table = shared.routes.table();
    let route = table.route(model)?;
    if let Some(v) = version
        && !route.versions.contains_key(&v)
        && !route.unavailable.contains_key(&v)
    {
        return Err(route.absent(model, v));
    }
    Ok(route.is_ready(version))
}
