//! Copies of a request for the versions that run as its model's shadows: drawn, bounded and sent without
//! any wait, after the request itself has joined its line.

use super::Shared;
use crate::codec::answer::Encode;
use crate::codec::prepare::{Data, Prepared, WantedOutput};
use crate::queue::pending::Beside;
use crate::queue::{Pending, Queue, RequestMeta};
use crate::shadow::{Copy, Facts, Original, Place, Source};
use crate::shared_memory::Destinations;
use crate::stats::Protocol;
use crate::stats::shadow::Dropped;
use crate::tensor::Signature;
use std::sync::Arc;

/// A request on its way into its line.
pub(super) struct Begun<'a> {
    /// By which its caller knows it.
    pub id: Option<&'a str>,
    pub protocol: Protocol,
    /// Whose line that is.
    pub on: &'a Queue,
    pub prepared: &'a Prepared,
    pub meta: &'a RequestMeta,
}

/// Copies that are to follow a request.
pub(super) struct Copying {
    /// None where all were dropped.
    of: Option<(Arc<Original>, Prepared)>,
    encode: Encode,
    to: Vec<(Arc<Queue>, Result<Place, Dropped>)>,
    /// What the request asks for: it is that of the version that answers.
    asked: Vec<Arc<str>>,
}

/// Take what copies of a request need, for as many of them as there is room for.
pub(super) fn begin(shared: &Shared, shadows: Box<[Arc<Queue>]>, begun: Begun<'_>) -> Copying {
    let most = shared.shadows.rules().copies;
    let mut to: Vec<_> = shadows
        .into_iter()
        .map(|queue| {
            let place = admit(&queue, &begun, most);
            (queue, place)
        })
        .collect();
    let any = to.iter().any(|(_, place)| place.is_ok());
    let of = if any { original(shared, &begun) } else { None };
    if of.is_none() {
        for (_, place) in to.iter_mut().filter(|(_, place)| place.is_ok()) {
            *place = Err(Dropped::Memory);
        }
    }
    let outputs = &begun.on.signature().outputs;
    let asked = begun.prepared.outputs.iter().map(|wanted| outputs[wanted.place].name.clone()).collect();
    Copying { of, encode: begun.meta.encode, to, asked }
}

fn original(shared: &Shared, begun: &Begun<'_>) -> Option<(Arc<Original>, Prepared)> {
    let facts = Facts {
        id: begun.meta.id.clone(),
        request_id: begun.id.unwrap_or_default().to_owned(),
        protocol: begun.protocol,
        version: begun.on.version(),
        inputs: begun.prepared.inputs.clone(),
        bytes: begun.meta.reservation.bytes().max(begun.prepared.bytes),
    };
    let original = shared.shadows.begin(facts)?;
    Some((original, begun.prepared.clone()))
}

/// Whether `queue` can take one.
fn admit(queue: &Queue, begun: &Begun<'_>, most: usize) -> Result<Place, Dropped> {
    let inputs = begun.prepared.inputs.iter().flatten();
    if inputs.into_iter().any(|input| matches!(input.data, Data::Shared(_))) {
        return Err(Dropped::SharedMemory);
    }
    if !takes_the_same(begun.on.signature(), queue.signature()) {
        return Err(Dropped::Inputs);
    }
    queue.place_for_copy(most).ok_or(Dropped::Full)
}

/// Whether what was prepared for one version is prepared for another.
fn takes_the_same(one: &Signature, other: &Signature) -> bool {
    let both = one.inputs.iter().zip(&other.inputs);
    one.inputs.len() == other.inputs.len()
        && both.into_iter().all(|(a, b)| (&a.name, a.datatype, &a.shape) == (&b.name, b.datatype, &b.shape))
}

impl Copying {
    /// What the request is to bring into its line.
    pub(super) fn source(&self) -> Option<Beside> {
        self.of.as_ref().map(|(original, _)| Beside::Source(Source::of(original)))
    }

    /// The request has joined its line.
    pub(super) fn send(self, shared: &Shared) {
        for (queue, place) in self.to {
            let stats = queue.stats().as_shadow();
            stats.drawn();
            let (place, (original, prepared)) = match (place, &self.of) {
                (Ok(place), Some(of)) => (place, of),
                (Err(why), _) => {
                    stats.dropped(why);
                    continue;
                }
                (Ok(_), None) => continue,
            };
            let copy = Copy::new(original, queue.report(), queue.stats(), place);
            let meta = RequestMeta {
                id: None,
                encode: self.encode,
                destinations: Destinations::default(),
                priority: 0,
                deadline: Some(original.deadline),
                mailbox: None,
                reservation: shared.budget.reserve(),
                record: None,
            };
            let outputs = wanted(&self.asked, queue.signature());
            let prepared = Prepared { outputs, asked: None, ..prepared.clone() };
            let pending = Pending::with(&queue, prepared, meta, Some(Beside::Copy(copy)));
            queue.push_copy(pending, &shared.shadows);
        }
    }
}

/// Those of the outputs asked for that a version has; where it has none of them any one, as no run is of
/// none: it shows that all that was asked for is missing.
fn wanted(asked: &[Arc<str>], signature: &Signature) -> Vec<WantedOutput> {
    let place = |name: &Arc<str>| signature.outputs.iter().position(|spec| spec.name == *name);
    let mut places: Vec<_> = asked.iter().filter_map(place).collect();
    if places.is_empty() && !signature.outputs.is_empty() {
        places.push(0);
    }
    places.into_iter().map(|place| WantedOutput { place, ..WantedOutput::default() }).collect()
}
