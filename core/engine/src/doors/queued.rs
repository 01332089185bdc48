//! A request that is all there, on its way into a version's line and out of it.

use super::Shared;
use super::copies::{self, Begun, Copying};
use super::outcome::OutcomeGuard;
use super::steering::{self, Steering};
use crate::admission::Reservation;
use crate::checks::Checks;
use crate::codec::InferRequest;
use crate::codec::answer::{Encode, Form, Reply};
use crate::codec::prepare::{self, Prepared};
use crate::error::{Error, ErrorCode, Result};
use crate::events::Level;
use crate::observe::Noted;
use crate::offload::Job;
use crate::queue::mailbox::Mailbox;
use crate::queue::{Pending, Queue, Refused, RequestMeta};
use crate::shared_memory::Destinations;
use crate::stop::{NEVER, Stop};
use crate::tensor::Signature;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A request that is all there, with what goes into a line beside it.
pub(super) struct Whole<'h> {
    /// The version that was resolved.
    pub queue: Arc<Queue>,
    pub request: Arc<InferRequest>,
    pub encode: Encode,
    pub deadline: Option<Instant>,
    pub reservation: Reservation,
    pub destinations: Destinations,
    pub steering: Steering<'h>,
    /// The version by whose signature its data was laid out, where it was by any.
    pub laid_out_by: Option<Arc<Queue>>,
}

/// Join the line of the version that was resolved, and wait for its answer.
pub(super) async fn queued(
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    whole: Whole<'_>,
    guard: &mut OutcomeGuard<'_>,
) -> Reply {
    let Whole { mut queue, request, encode, deadline, mut reservation, destinations, steering, laid_out_by } =
        whole;
    let form = encode.form;
    let refusal = |error, of: Option<&Queue>| form.refusal(error, &request, of.map(Queue::signature));
    loop {
        refuse_late(&queue, deadline)?;
        let before = reservation.bytes();
        let (prepared, anomaly);
        (prepared, anomaly, reservation) = prepare_for(shared, &request, &queue, form, deadline, reservation)
            .await
            .map_err(|error| refusal(error, Some(&queue)))?;
        guard.draw_sample(&queue, &request, &prepared, anomaly);
        let meta = RequestMeta {
            id: request.id.clone(),
            encode: encode.told(guard.routed().map(|on| on.why)),
            destinations: destinations.clone(),
            priority: request.priority,
            deadline,
            mailbox: Some(mailbox.clone()),
            reservation,
            record: guard.record.clone(),
        };
        let copying = guard.take_shadows().map(|shadows| {
            let (protocol, id) = guard.came();
            let begun = Begun { id, protocol, on: &queue, prepared: &prepared, meta: &meta };
            copies::begin(shared, shadows, begun)
        });
        let beside = copying.as_ref().and_then(Copying::source);
        let pending = Pending::with(&queue, prepared, meta, beside);
        refuse_heavy(shared, &queue, &pending)?;
        if let Some(record) = guard.record() {
            record.joined(pending.rows, pending.arrived);
        }
        match queue.push(pending) {
            Ok(ticket) => {
                // Its tensors are the line's now, and no version has to stay that doesn't answer it.
                drop((request, laid_out_by));
                // They come after it, and wait for nothing.
                if let Some(copying) = copying {
                    copying.send(shared);
                }
                return ticket.await;
            }
            Err(Refused::Error(error)) => return Err(error),
            Err(Refused::Closed(pending)) => {
                let again = guard.resolve_again(steering::of(&request, steering));
                queue = again.map_err(|error| refusal(error, None))?;
                if let Some(before) = &laid_out_by {
                    check_same_inputs(&request.model, before.signature(), queue.signature())?;
                }
                reservation = pending.into_reservation().unwrap_or_else(|| shared.budget.reserve());
                // What was copied for that version went with it.
                reservation.give_back(reservation.bytes().saturating_sub(before));
            }
        }
    }
}

/// A request whose data was laid out by the signature of a version that has closed since may go to
/// another only where that asks for the same.
pub(super) fn check_same_inputs(model: &str, before: &Signature, after: &Signature) -> Result<()> {
    if before.inputs == after.inputs && before.schema == after.schema {
        return Ok(());
    }
    let model = crate::tensor::shown(model);
    let text = format!("model '{model}' changed its inputs while the request was read: send it again");
    Err(Error::new(ErrorCode::Unavailable, text).retry(Duration::from_secs(1)))
}

/// A request that fits its model and its schema.
struct Checked {
    prepared: Prepared,
    /// One that the schema only counts.
    anomaly: Option<Noted>,
}

impl Checked {
    fn of(request: &InferRequest, queue: &Queue, checks: Option<&Checks>, stop: &Stop) -> Result<Self> {
        let mut prepared = prepare::prepare(request, queue.signature(), &queue.limits(stop))?;
        let anomaly = match checks {
            Some(checks) => checks.check(&mut prepared, stop)?,
            None => None,
        };
        Ok(Checked { prepared, anomaly })
    }
}

fn tell(shared: &Shared, queue: &Queue, checks: &Checks, mut noted: Noted) -> Noted {
    noted.told = checks.tells();
    if noted.told {
        let reason = if queue.hides(&noted.input) { &noted.brief } else { &noted.words };
        let fields = vec![
            ("model", queue.model().into()),
            ("version", queue.version().into()),
            ("reason", reason.as_str().into()),
        ];
        shared.events.emit_lazily(Level::Warning, "request_anomaly", fields);
    }
    noted
}

/// Heavy conversions run on the helpers, never on an I/O thread.
async fn prepare_for(
    shared: &Shared,
    request: &Arc<InferRequest>,
    queue: &Arc<Queue>,
    form: &dyn Form,
    deadline: Option<Instant>,
    mut held: Reservation,
) -> Result<(Prepared, Option<Noted>, Reservation)> {
    let checks = queue.checks();
    let copied = checks.as_ref().map_or(0, |checks| checks.copied(request));
    if copied > 0 {
        held.take(copied)?;
    }
    let checked = checks.as_ref().map_or(0, |checks| checks.cost(request));
    let bytes = prepare::cost(request).saturating_add(checked);
    let (Checked { prepared, anomaly }, held) = if bytes > prepare::MUCH {
        let (request, queue, checks) = (request.clone(), queue.clone(), checks.clone());
        let work = move |stop: &Stop, _: &mut _| Checked::of(&request, &queue, checks.as_deref(), stop);
        Box::pin(shared.offload.run(Job { bytes, client: held.client(), deadline, held }, work)).await?
    } else {
        (Checked::of(request, queue, checks.as_deref(), &NEVER)?, held)
    };
    let anomaly = anomaly.zip(checks).map(|(noted, checks)| tell(shared, queue, &checks, noted));
    // Before running, not after.
    for (output, wanted) in prepared.outputs.iter().enumerate() {
        let placed = request.outputs.get(output).is_some_and(|asked| asked.place.is_some());
        if wanted.classes == 0 && !placed {
            form.takes(&queue.signature().outputs[wanted.place], wanted.binary)?;
        }
    }
    Ok((prepared, anomaly, held))
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
