//! A request that was accepted: in line, in a batch, or about to be answered.

use super::Queue;
use super::mailbox::Mailbox;
use super::pieces::Pieces;
use crate::admission::Reservation;
use crate::batching::policy::{Fate, Item};
use crate::codec::answer::{Encode, Reply};
use crate::codec::prepare::Prepared;
use crate::error::Error;
use crate::loans::Weight;
use crate::observe::RequestRecord;
use crate::shadow::{Copy, Source};
use crate::shared_memory::Destinations;
use crate::stats::shadow::Dropped;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

const WAITING: u8 = 0;
const LEFT: u8 = 1;
const ANSWERED: u8 = 2;

#[derive(Debug)]
pub struct Pending {
    pub prepared: Prepared,
    pub rows: usize,
    pub weight: Weight,
    /// Runs whole and by itself: from the start, or since its pieces did not fit together.
    alone: AtomicBool,
    pub level: usize,
    pub id: Option<Arc<str>>,
    pub encode: Encode,
    /// Where its outputs go that are not in the answer.
    pub(super) destinations: Destinations,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    /// The answers so far to the pieces of a request that is larger than a batch.
    pub(super) pieces: Mutex<Pieces>,
    /// Only for requests that are traced, sampled or in the access log.
    record: Option<Arc<RequestRecord>>,
    mailbox: Option<Arc<Mailbox>>,
    state: AtomicU8,
    slot: Mutex<Slot>,
    /// Before what it holds: see [`Source`].
    beside: Option<Beside>,
    /// What it holds of the process's budget, which its answer is counted in as well.
    pub(super) reservation: Reservation,
}

/// What a request, or what looks like one, has to do with shadows.
#[derive(Debug)]
pub enum Beside {
    /// Copies of it are made.
    Source(Source),
    /// It is one itself: nobody waits for it.
    Copy(Arc<Copy>),
}

#[derive(Debug, Default)]
struct Slot {
    reply: Option<Reply>,
    waker: Option<Waker>,
}

/// All that travels with a request beside its tensors.
pub struct RequestMeta {
    pub id: Option<Arc<str>>,
    pub encode: Encode,
    pub destinations: Destinations,
    pub priority: u64,
    pub deadline: Option<Instant>,
    pub mailbox: Option<Arc<Mailbox>>,
    pub reservation: Reservation,
    pub record: Option<Arc<RequestRecord>>,
}

impl Pending {
    pub fn new(queue: &Queue, prepared: Prepared, meta: RequestMeta) -> Arc<Self> {
        Pending::with(queue, prepared, meta, None)
    }

    /// As [`Pending::new`], of one that has to do with shadows.
    pub fn with(queue: &Queue, prepared: Prepared, meta: RequestMeta, beside: Option<Beside>) -> Arc<Self> {
        let arrived = Instant::now();
        let (rows, alone) = queue.place_of(&prepared);
        let level = queue.options().level(meta.priority);
        let own = queue.options().timeout(level);
        let deadline = [meta.deadline, own.map(|t| arrived + t)].into_iter().flatten().min();
        Arc::new(Pending {
            alone: AtomicBool::new(alone),
            weight: queue.weight_of(&prepared, rows),
            rows,
            level,
            id: meta.id,
            encode: meta.encode,
            destinations: meta.destinations,
            arrived,
            deadline,
            pieces: Mutex::default(),
            record: meta.record,
            mailbox: meta.mailbox,
            state: AtomicU8::new(WAITING),
            slot: Mutex::new(Slot::default()),
            beside,
            reservation: meta.reservation,
            prepared,
        })
    }

    pub fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// From now on it runs whole, and pieces of it that still run count for nothing; whether
    /// that is new.
    pub(super) fn stay_whole(&self) -> bool {
        let new = !self.alone.swap(true, Ordering::Relaxed);
        *self.pieces.lock() = Pieces::default();
        new
    }

    /// What it holds of the budget, for another that is made in its place.
    pub fn into_reservation(self: Arc<Self>) -> Option<Reservation> {
        Arc::into_inner(self).map(|pending| pending.reservation)
    }

    pub fn record(&self) -> Option<&Arc<RequestRecord>> {
        self.record.as_ref()
    }

    pub fn mailbox(&self) -> Option<&Arc<Mailbox>> {
        self.mailbox.as_ref()
    }

    pub(super) fn source(&self) -> Option<&Source> {
        match self.beside.as_ref()? {
            Beside::Source(source) => Some(source),
            Beside::Copy(_) => None,
        }
    }

    pub(super) fn copy(&self) -> Option<&Arc<Copy>> {
        match self.beside.as_ref()? {
            Beside::Copy(copy) => Some(copy),
            Beside::Source(_) => None,
        }
    }

    /// It has run; whether nothing ended it before.
    pub(super) fn end_copy(&self) -> bool {
        self.state.compare_exchange(WAITING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It is not run.
    pub(super) fn drop_copy(&self, why: Dropped) {
        if let Some(copy) = self.copy().filter(|_| self.end_copy()) {
            copy.dropped(why);
        }
    }

    pub(super) fn fail_copy(&self, error: &Error) {
        if let Some(copy) = self.copy().filter(|_| self.end_copy()) {
            copy.failed(error.code);
        }
    }

    /// Hand the answer over; the waker is for the caller to deliver. Only the first
    /// answer counts, and none reaches a caller who left.
    #[must_use]
    pub fn answer(&self, reply: Reply) -> Option<Waker> {
        self.state.compare_exchange(WAITING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).ok()?;
        if let (Err(error), Some(copy)) = (&reply, self.copy()) {
            copy.failed(error.code);
            return None;
        }
        let mut slot = self.slot.lock();
        slot.reply = Some(reply);
        slot.waker.take()
    }

    pub fn is_waiting(&self) -> bool {
        self.state.load(Ordering::Acquire) == WAITING
    }

    /// Whether the caller left before an answer was there.
    pub fn has_left(&self) -> bool {
        self.state.load(Ordering::Acquire) == LEFT
    }
}

impl Item for Arc<Pending> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn weight(&self) -> Weight {
        self.weight
    }

    fn alone(&self) -> bool {
        self.is_alone()
    }

    fn joins(&self, other: &Self) -> bool {
        let inputs = self.prepared.inputs.iter().zip(&other.prepared.inputs);
        inputs.into_iter().all(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => a.shape.get(1..) == b.shape.get(1..),
            (None, None) => true,
            _ => false,
        })
    }

    fn fate(&self, now: Instant) -> Fate {
        match self.deadline {
            _ if !self.is_waiting() => Fate::Left,
            Some(deadline) if deadline <= now => Fate::Expired,
            _ => Fate::Live,
        }
    }

    fn arrived(&self) -> Instant {
        self.arrived
    }

    fn level(&self) -> usize {
        self.level
    }
}

/// The caller's end: a future of the answer. Dropping it leaves the line.
pub struct Ticket {
    pending: Arc<Pending>,
    queue: Arc<Queue>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Ticket {
    pub(super) fn new(pending: Arc<Pending>, queue: Arc<Queue>) -> Self {
        queue.stats().in_flight.fetch_add(1, Ordering::Relaxed);
        Ticket { pending, queue, timer: None }
    }

    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn take(&self, cx: &mut Context<'_>) -> Option<Reply> {
        let mut slot = self.pending.slot.lock();
        if let Some(reply) = slot.reply.take() {
            return Some(reply);
        }
        slot.waker = Some(cx.waker().clone());
        None
    }

    /// The deadline's timer is only made for requests that really wait.
    fn expired(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.pending.deadline else { return false };
        let timer = self.timer.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep_until(tokio::time::Instant::from_std(deadline)))
        });
        timer.as_mut().poll(cx).is_ready()
    }
}

impl Future for Ticket {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        if let Some(reply) = self.take(cx) {
            return Poll::Ready(reply);
        }
        if self.expired(cx) {
            return Poll::Ready(Err(expired()));
        }
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.stats().in_flight.fetch_sub(1, Ordering::Relaxed);
        let left = self.pending.state.compare_exchange(WAITING, LEFT, Ordering::AcqRel, Ordering::Acquire);
        if left.is_ok() {
            self.queue.caller_left();
        }
    }
}

pub fn expired() -> Error {
    Error::expired()
}
