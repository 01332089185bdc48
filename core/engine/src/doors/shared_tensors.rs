//! Tensors of a request that are in its client's shared memory: found before it is prepared. Those
//! whose bytes have to be looked at then (texts, BOOL) are read here, what is much away from the I/O
//! threads; all others go from the region into their batch, when that is brought together.

use super::Shared;
use crate::admission::Reservation;
use crate::codec::place::Place;
use crate::codec::{InferRequest, Payload};
use crate::error::{Error, ErrorCode, Result};
use crate::offload::Job;
use crate::shared_memory::{Destinations, Slice};
use crate::stop::{NEVER, Stop};
use crate::tensor::Datatype;
use std::time::Instant;

/// As much of a body is copied on an I/O thread, too.
const READ_INLINE: usize = 1 << 20;

/// A request whose inputs are here or found, where its outputs go, and what it holds of the budget.
pub type Brought = (InferRequest, Destinations, Reservation);

/// Find what of `request` is elsewhere, and read what has to be looked at.
///
/// # Errors
/// Those of finding and reading it; `TooLarge` and `Full` before anything is read.
pub async fn bring(
    shared: &Shared,
    mut request: InferRequest,
    deadline: Option<Instant>,
    mut held: Reservation,
) -> Result<Brought> {
    let destinations = destinations(shared, &request)?;
    let sources = sources(shared, &request)?;
    let bytes = sources.iter().map(|(_, slice)| slice.len()).fold(0, usize::saturating_add);
    let limit = held.max_message();
    if bytes > limit {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "the inputs in shared memory have {bytes} bytes, more than the limit of {limit} bytes (setting \
                 limits.max_message_bytes)"
            ),
        ));
    }
    held.take(bytes)?;
    let sources = leave(&mut request, sources);
    let bytes = sources.iter().map(|(_, slice)| slice.len()).sum();
    let read = move |stop: &Stop| -> Result<InferRequest> {
        for (input, slice) in sources {
            request.inputs[input].payload = Payload::Raw(slice.read(stop)?);
        }
        Ok(request)
    };
    if bytes <= READ_INLINE {
        return Ok((read(&NEVER)?, destinations, held));
    }
    let work = move |stop: &Stop, _: &mut Reservation| read(stop);
    let job = Job { bytes, client: held.client(), deadline, held };
    let (request, held) = shared.offload.run(job, work).await?;
    Ok((request, destinations, held))
}

/// Those that are read only for their batch are given to `request` as they are; the others come back.
fn leave(request: &mut InferRequest, sources: Vec<(usize, Slice)>) -> Vec<(usize, Slice)> {
    let looked_at = |name: &str| matches!(Datatype::from_name(name), Some(Datatype::Bytes | Datatype::Bool));
    let (read, left): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|(input, _)| looked_at(&request.inputs[*input].datatype));
    for (input, slice) in left {
        request.inputs[input].payload = Payload::Found(slice);
    }
    read
}

fn sources(shared: &Shared, request: &InferRequest) -> Result<Vec<(usize, Slice)>> {
    let placed = request.inputs.iter().enumerate().filter_map(|(input, tensor)| match &tensor.payload {
        Payload::Shared(place) => Some((input, place)),
        _ => None,
    });
    placed.map(|(input, place)| Ok((input, slice(shared, place)?))).collect()
}

fn destinations(shared: &Shared, request: &InferRequest) -> Result<Destinations> {
    let places = request.outputs.iter().map(|output| output.place.as_ref());
    let found = places.map(|place| place.map(|place| slice(shared, place)).transpose());
    found.collect::<Result<_>>().map(Destinations::new)
}

fn slice(shared: &Shared, place: &Place) -> Result<Slice> {
    shared.regions.slice(&place.region, place.offset, place.byte_size)
}
