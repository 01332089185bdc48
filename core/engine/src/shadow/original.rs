//! A request of which copies are made: what they share with it, and its answer, for them to be
//! compared with.
//!
//! What the copies hold of the request is counted once: by the request itself until it is answered, and by
//! them from then on.

use super::report::{About, Report};
use super::rules::Place;
use crate::admission::{Budget, Reservation};
use crate::codec::prepare::{Data, PreparedTensor};
use crate::error::ErrorCode;
use crate::memory;
use crate::observe::sample::Tensor;
use crate::stats::shadow::{Dropped, Uncompared};
use crate::stats::{Protocol, Stats};
use crate::tensor::{Datatype, Shape};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// An output as a run made it.
pub type Output<'a> = (&'a Arc<str>, Datatype, &'a Shape, &'a [u8]);

/// Two answers that are there.
#[derive(Debug)]
pub(super) struct Job {
    pub given: Arc<[Tensor]>,
    pub copy: Arc<Copy>,
    pub found: Vec<Tensor>,
}

/// Who keeps what copies hold within bounds, and compares answers.
pub(super) trait Keeper: std::fmt::Debug + Send + Sync {
    /// How long an answer is kept.
    fn timeout(&self) -> Duration;
    fn process(&self) -> &Arc<Budget>;
    fn take(&self, bytes: usize) -> bool;
    fn give_back(&self, bytes: usize);
    fn submit(self: Arc<Self>, job: Job);
}

#[derive(Debug)]
pub struct Original {
    shadows: Arc<dyn Keeper>,
    /// From then on nothing is compared with its answer any more.
    pub deadline: Instant,
    pub(super) about: About,
    inputs: Vec<Option<PreparedTensor>>,
    /// What the request holds.
    bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    given: Given,
    /// Copies that are ahead of the answer.
    ahead: Vec<(Arc<Copy>, Vec<Tensor>)>,
    /// Of the bytes that all copies may hold, and of the process's.
    pooled: usize,
    held: Reservation,
}

#[derive(Debug)]
enum Given {
    Awaited,
    There(Arc<[Tensor]>),
    Gone(Uncompared),
}

/// What is known of a request before it is copied.
pub struct Facts {
    pub id: Option<Arc<str>>,
    pub request_id: String,
    pub protocol: Protocol,
    pub version: u64,
    pub inputs: Vec<Option<PreparedTensor>>,
    /// What it holds of the budget.
    pub bytes: usize,
}

impl Original {
    /// `pooled`: bytes that were taken for it from those of all copies.
    pub(super) fn new(shadows: Arc<dyn Keeper>, facts: Facts, pooled: usize) -> Arc<Self> {
        let state =
            State { given: Given::Awaited, ahead: Vec::new(), pooled, held: shadows.process().reserve() };
        Arc::new(Original {
            deadline: Instant::now() + shadows.timeout(),
            shadows,
            about: About {
                at: SystemTime::now(),
                id: facts.id,
                request_id: facts.request_id,
                protocol: facts.protocol,
                version: facts.version,
            },
            inputs: facts.inputs,
            bytes: facts.bytes,
            state: Mutex::new(state),
        })
    }

    /// Its inputs, whose names and datatypes are these.
    pub(super) fn inputs(&self, named: &[(Arc<str>, Datatype)]) -> Vec<Tensor> {
        let both = named.iter().zip(&self.inputs);
        let found = both.filter_map(|((name, datatype), input)| match input.as_ref()?.data {
            Data::Here(ref data) => Some(Tensor {
                name: name.clone(),
                datatype: *datatype,
                shape: input.as_ref()?.shape.clone(),
                data: data.clone(),
            }),
            Data::Shared(_) => None,
        });
        found.collect()
    }

    /// A copy has run: compare it, now or once the answer is there.
    fn compare(&self, copy: Arc<Copy>, found: Vec<Tensor>) {
        let mut state = self.state.lock();
        match &state.given {
            Given::Awaited => state.ahead.push((copy, found)),
            Given::There(given) => {
                let job = Job { given: given.clone(), copy, found };
                drop(state);
                self.shadows.clone().submit(job);
            }
            Given::Gone(why) => copy.uncompared(*why),
        }
    }

    /// Keep an answer for as long as copies may be compared with it; or not, and why.
    fn given(&self, answer: Result<Vec<Tensor>, Uncompared>) {
        let (ahead, given) = {
            let mut state = self.state.lock();
            if !matches!(state.given, Given::Awaited) {
                return;
            }
            let given: Result<Arc<[Tensor]>, _> = answer.map(Into::into);
            state.given = match &given {
                Ok(given) => Given::There(given.clone()),
                Err(why) => Given::Gone(*why),
            };
            (std::mem::take(&mut state.ahead), given)
        };
        for (copy, found) in ahead {
            match &given {
                Ok(given) => self.shadows.clone().submit(Job { given: given.clone(), copy, found }),
                Err(why) => copy.uncompared(*why),
            }
        }
    }

    /// Nothing is to be compared any more: it has become too late.
    pub fn expire(&self) {
        self.given(Err(Uncompared::Late));
        let mut state = self.state.lock();
        if matches!(state.given, Given::There(_)) {
            state.given = Given::Gone(Uncompared::Late);
        }
    }

    /// Count bytes that are kept for a comparison; whether there is room for them.
    fn keep(&self, bytes: usize) -> bool {
        if !self.shadows.take(bytes) {
            return false;
        }
        let mut state = self.state.lock();
        state.pooled += bytes;
        state.held.hold(bytes);
        true
    }

    fn copied<'a>(&self, outputs: impl Iterator<Item = Output<'a>> + Clone) -> Option<Vec<Tensor>> {
        if !self.keep(outputs.clone().map(|(.., data)| data.len()).sum()) {
            return None;
        }
        let copied = outputs.map(|(name, datatype, shape, data)| {
            let data = memory::copied(data).ok()?;
            Some(Tensor { name: name.clone(), datatype, shape: shape.clone(), data })
        });
        copied.collect()
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        self.shadows.give_back(self.state.get_mut().pooled);
    }
}

/// The request's own end, which travels with it. Dropped without an answer, it has none.
#[derive(Debug)]
pub struct Source(Arc<Original>);

impl Source {
    pub fn of(original: &Arc<Original>) -> Self {
        Source(original.clone())
    }

    /// It was answered with these outputs, which are copied.
    pub fn answered<'a>(&self, outputs: impl Iterator<Item = Output<'a>> + Clone) {
        // Nobody else has it: all copies are gone.
        if Arc::strong_count(&self.0) > 1 {
            self.0.given(self.0.copied(outputs).ok_or(Uncompared::Memory));
        }
    }

    /// It was answered with these outputs, which are shared.
    pub fn answered_with(&self, outputs: impl Iterator<Item = (Arc<str>, Datatype, Shape, Bytes)>) {
        let tensors: Vec<_> =
            outputs.map(|(name, datatype, shape, data)| Tensor { name, datatype, shape, data }).collect();
        let fits = self.0.keep(tensors.iter().map(|one| one.data.len()).sum());
        self.0.given(if fits { Ok(tensors) } else { Err(Uncompared::Memory) });
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.0.given(Err(Uncompared::Failed));
        if Arc::strong_count(&self.0) > 1 {
            // What the copies share with it they hold alone from now on.
            self.0.state.lock().held.hold(self.0.bytes);
        }
    }
}

/// A copy's end: what is counted of it, and where.
#[derive(Debug)]
pub struct Copy {
    pub(super) original: Arc<Original>,
    pub(super) report: Arc<Report>,
    stats: Arc<Stats>,
    _place: Place,
}

impl Copy {
    pub fn new(
        original: &Arc<Original>,
        report: &Arc<Report>,
        stats: &Arc<Stats>,
        place: Place,
    ) -> Arc<Self> {
        Arc::new(Copy {
            original: original.clone(),
            report: report.clone(),
            stats: stats.clone(),
            _place: place,
        })
    }

    pub fn original(&self) -> &Arc<Original> {
        &self.original
    }

    pub fn dropped(&self, why: Dropped) {
        self.stats.as_shadow().dropped(why);
    }

    pub fn failed(&self, word: ErrorCode) {
        self.stats.as_shadow().failed(word);
    }

    fn uncompared(&self, why: Uncompared) {
        self.stats.as_shadow().uncompared(why);
    }

    /// It ran to these outputs, which are copied to be compared.
    pub fn ran<'a>(self: &Arc<Self>, outputs: impl Iterator<Item = Output<'a>> + Clone) {
        match self.original.copied(outputs) {
            Some(found) => self.original.compare(self.clone(), found),
            None => self.uncompared(Uncompared::Memory),
        }
    }

    pub(super) fn model(&self) -> &str {
        &self.stats.model
    }

    pub(super) fn version(&self) -> u64 {
        self.stats.version
    }

    pub(super) fn compared(&self, different: bool) {
        self.stats.as_shadow().compared(different);
    }
}
