//! One engine behind every door: ask the table once who answers, hold the request against that
//! version, join its line, wait for the answer, count the outcome.

use super::steering::{self, Steering};
use super::{Shared, shared_tensors};
use crate::admission::Reservation;
use crate::codec::InferRequest;
use crate::codec::answer::{Answer, Encode, Form, Reply};
use crate::codec::prepare::{self, Prepared};
use crate::error::{Error, ErrorCode, Result};
use crate::observe::trace::Context;
use crate::observe::{Begun, Origin, RequestRecord, Undecided};
use crate::offload::Job;
use crate::queue::mailbox::Mailbox;
use crate::queue::{Pending, Queue, Refused, RequestMeta};
use crate::routes::{Reference, Resolved, Why};
use crate::shared_memory::Destinations;
use crate::stats::Protocol;
use crate::stop::{NEVER, Stop};
use crate::tensor::Signature;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A decoded request, with what its answer is to look like, before it is checked and queued.
pub struct DecodedRequest {
    pub request: InferRequest,
    pub encode: Encode,
    pub deadline: Option<Instant>,
    pub reservation: Reservation,
    pub steering: Steering,
    /// Whether its data was laid out by the signature of the version that was resolved.
    pub by_signature: bool,
}

/// The version that a request went to, and why: told with every answer.
#[derive(Clone, Copy, Debug)]
pub struct Routed {
    pub version: u64,
    pub why: Why,
}

/// The version that answered.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-model-version");
/// Why that one.
const MODEL_ROUTE: HeaderName = HeaderName::from_static("x-model-route");

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
    record: Option<Arc<RequestRecord>>,
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

    /// Draw it for the request log: it is whole, and fits the model of `queue`.
    fn draw_sample(&mut self, queue: &Queue, request: &InferRequest, prepared: &Prepared) {
        if queue.draws_sample() && self.shared.observer.takes_samples(self.replayed) {
            let origin = self.late_origin();
            let record = self.record.get_or_insert_with(|| {
                let record = self.shared.observer.begin_late(origin());
                record.decoded(request);
                record
            });
            record.keep_inputs(&queue.signature().inputs, prepared);
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
    fn resolve_again(&mut self, asked: Reference<'_>) -> Result<Arc<Queue>> {
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

    /// The version that it went to and why, where there is one.
    pub fn routed(&self) -> Option<Routed> {
        match &self.place {
            Place::On(resolved) => Some(Routed { version: resolved.version(), why: resolved.why }),
            Place::Unasked | Place::Nowhere => None,
        }
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
                resolved.queue.stats().routed(resolved.why);
                resolved.queue.stats()
            }
            Place::Unasked | Place::Nowhere => &self.shared.unresolved,
        };
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
/// The table is asked here, after decoding and just before the line is joined; a line that
/// closed in between sends the request back to the table, with all its inputs, so a swap loses
/// nothing.
pub async fn run(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    decoded: DecodedRequest,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    let DecodedRequest { mut request, encode, deadline, mut reservation, steering, by_signature } = decoded;
    guard.named(&request.model);
    if let Some(record) = guard.record() {
        record.decoded(&request);
    }
    let form = encode.form;
    let resolved = guard.resolve(steering::of(&request, &steering));
    let mut queue = resolved.map_err(|error| form.refusal(error, &request, None))?;
    let laid_out_by = by_signature.then(|| queue.clone());
    let mut destinations = Destinations::default();
    if request.uses_shared_memory() {
        let bringing = shared_tensors::bring(shared, request, deadline, reservation);
        (request, destinations, reservation) = Box::pin(bringing).await?;
    }
    let request = Arc::new(request);
    let refusal = |error, of: Option<&Queue>| form.refusal(error, &request, of.map(Queue::signature));
    let converted = prepare::converted_bytes(&request);
    if converted > 0 {
        prepare::check_filled(&request, reservation.max_message())?;
        reservation.take(converted)?;
    }
    loop {
        refuse_late(&queue, deadline)?;
        let prepared;
        (prepared, reservation) = prepare_for(shared, &request, &queue, form, deadline, reservation)
            .await
            .map_err(|error| refusal(error, Some(&queue)))?;
        guard.draw_sample(&queue, &request, &prepared);
        let meta = RequestMeta {
            id: request.id.clone(),
            encode,
            destinations: destinations.clone(),
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
                // Its tensors are the line's now, and no version has to stay that doesn't answer it.
                drop((request, laid_out_by));
                return ticket.await;
            }
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Closed(pending)) => {
                let again = guard.resolve_again(steering::of(&request, &steering));
                queue = again.map_err(|error| refusal(error, None))?;
                if let Some(before) = &laid_out_by {
                    check_same_inputs(&request.model, before.signature(), queue.signature())?;
                }
                reservation = pending.into_reservation().unwrap_or_else(|| shared.budget.reserve());
            }
        }
    }
}

fn leaving(model: &str) -> Error {
    let text = format!("model '{}' is leaving or the server is stopping", crate::tensor::shown(model));
    Error::new(ErrorCode::Unavailable, text).retry(Duration::from_secs(1))
}

/// A request whose data was laid out by the signature of a version that has closed since may go to
/// another only where that asks for the same.
fn check_same_inputs(model: &str, before: &Signature, after: &Signature) -> Result<()> {
    if before.inputs == after.inputs && before.schema == after.schema {
        return Ok(());
    }
    let model = crate::tensor::shown(model);
    let text = format!("model '{model}' changed its inputs while the request was read: send it again");
    Err(Error::new(ErrorCode::Unavailable, text).retry(Duration::from_secs(1)))
}

/// Heavy conversions run on the helpers, never on an I/O thread.
async fn prepare_for(
    shared: &Shared,
    request: &Arc<InferRequest>,
    queue: &Arc<Queue>,
    form: &dyn Form,
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
    // Before running, not after.
    for (output, wanted) in prepared.outputs.iter().enumerate() {
        let placed = request.outputs.get(output).is_some_and(|asked| asked.place.is_some());
        if wanted.classes == 0 && !placed {
            form.takes(&queue.signature().outputs[wanted.place], wanted.binary)?;
        }
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

#[cfg(test)]
mod tests;
