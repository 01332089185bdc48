//! One engine behind every door: hold the request against the version that the
//! table names now, join its line, wait for the answer, count the outcome.

use super::Shared;
use crate::admission::Reservation;
use crate::codec::prepare::{self, Prepared};
use crate::codec::{InferRequest, Payload};
use crate::error::{Error, Result, Word};
use crate::queue::mailbox::Mailbox;
use crate::queue::{Answer, Form, Pending, Queue, Refused, Reply, Terms};
use crate::routes::parse_version;
use crate::stats::{Protocol, Stats};
use crate::tensor::Datatype;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A decoded request on its way into a line.
pub struct Offer {
    pub request: InferRequest,
    pub form: Form,
    pub deadline: Option<Instant>,
    pub reservation: Reservation,
}

/// Counts a request's outcome once; one that is dropped unfinished was cancelled.
pub struct Account<'a> {
    shared: &'a Shared,
    protocol: Protocol,
    started: Instant,
    stats: Option<Arc<Stats>>,
    done: bool,
}

impl<'a> Account<'a> {
    pub fn open(shared: &'a Shared, protocol: Protocol, started: Instant) -> Self {
        Account { shared, protocol, started, stats: None, done: false }
    }

    /// When the request's head came.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Name the version; until then the outcome goes to the unknown ones.
    pub fn on(&mut self, queue: &Queue) {
        self.stats = Some(queue.stats().clone());
    }

    pub fn close(mut self, outcome: std::result::Result<(), Word>) {
        self.done = true;
        self.count(outcome);
    }

    fn count(&self, outcome: std::result::Result<(), Word>) {
        let stats = self.stats.as_ref().unwrap_or(&self.shared.unresolved);
        stats.answered(self.protocol, outcome, self.started.elapsed());
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.count(Err(Word::Cancelled));
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
pub async fn run(shared: &Shared, mailbox: &Arc<Mailbox>, offer: Offer, account: &mut Account<'_>) -> Reply {
    let Offer { request, form, deadline, reservation } = offer;
    let request = Arc::new(request);
    let mut queue = shared.routes.pick(&request.model, &request.version)?;
    let mut reservation = Some(reservation);
    loop {
        account.on(&queue);
        let prepared = prepare_for(&request, &queue, form).await?;
        // Converted tensors are larger than what came: up to eight times for typed INT64.
        let converted =
            request.inputs.iter().any(|i| matches!(i.payload, Payload::Typed(_) | Payload::Json { .. }));
        if converted && reservation.as_mut().is_some_and(|r| !r.grow(prepared.bytes)) {
            return Err(super::body::budget_full());
        }
        let terms = Terms {
            id: request.id.clone(),
            form,
            priority: request.priority,
            deadline,
            mailbox: Some(mailbox.clone()),
            // A second round, after a swap in between, goes on uncounted: rare, and
            // bounded by the line's own bytes.
            reservation: reservation.take(),
        };
        match queue.push(Pending::new(&queue, prepared, terms)) {
            Ok(ticket) => return ticket.await.map(|answer| counted(shared, answer)),
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Closed) => {
                let next = shared.routes.pick(&request.model, &request.version)?;
                if Arc::ptr_eq(&next, &queue) {
                    return Err(leaving(&request.model));
                }
                queue = next;
            }
        }
    }
}

/// Smaller answers are not worth the counting: a connection holds few of them.
const COUNTED: usize = 4 << 10;

/// An answer's bytes count against the process's budget until the last one is sent:
/// a client that never reads must not fill the memory (fault 28).
fn counted(shared: &Shared, mut answer: Answer) -> Answer {
    if answer.body.len() >= COUNTED {
        let mut reservation = shared.budget.reserve();
        reservation.hold(answer.body.len());
        answer.body = Bytes::from_owner(Unsent { body: answer.body, _reservation: reservation });
    }
    answer
}

struct Unsent {
    body: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn leaving(model: &str) -> Error {
    let text = format!("model '{}' is leaving or the server is stopping", crate::tensor::shown(model));
    Error::new(Word::Unavailable, text).retry(Duration::from_secs(1))
}

/// Heavy conversions run on the small pool, never on an I/O thread.
async fn prepare_for(request: &Arc<InferRequest>, queue: &Arc<Queue>, form: Form) -> Result<Prepared> {
    let prepared = if prepare::costs_much(request) {
        let (request, queue) = (request.clone(), queue.clone());
        let work = move || prepare::prepare(&request, queue.signature(), &queue.limits());
        Box::pin(off_thread(work)).await?
    } else {
        prepare::prepare(request, queue.signature(), &queue.limits())?
    };
    if matches!(form, Form::Http(_)) {
        refuse_halves_in_json(&prepared, queue)?;
    }
    Ok(prepared)
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

/// Run `work` on the runtime's small blocking pool.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(Error::new(Word::Internal, "the request could not be decoded").detail(error.to_string()))
        }
    }
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
        let text =
            format!("Request for unknown model: '{}' version {v} is not found", crate::tensor::shown(model));
        return Err(Error::new(Word::NotFound, text));
    }
    Ok(route.is_ready(version))
}
