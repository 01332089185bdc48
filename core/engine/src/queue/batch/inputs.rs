//! How the members' inputs become a run's.

use super::{Batch, Gathered, internal};
use crate::batching::assemble::{self, Joining, Part};
use crate::batching::policy::Portion;
use crate::codec::prepare::{Data, PreparedTensor};
use crate::error::{Error, Result};
use crate::queue::mailbox::Wakes;
use crate::queue::pending::Pending;
use crate::shared_memory::Slice;
use crate::stop::NEVER;
use crate::tensor::{Datatype, Shape};
use bytes::Bytes;
use std::sync::Arc;

type Member = Portion<Arc<Pending>>;

/// What could not be brought, by its member's place.
type Failed = Vec<(usize, Error)>;

impl Batch {
    pub(super) fn inputs(&mut self) -> Result<Vec<Gathered>> {
        let (data, failed) = match &self.members[..] {
            [one] => self.of_one(one)?,
            _ => self.joined()?,
        };
        self.leave_out(failed);
        let Some(shapes) = self.members.first().map(shapes) else {
            return Ok(vec![None; self.queue.signature().inputs.len()]);
        };
        let rows = i64::try_from(self.rows).map_err(|_| internal("too many rows"))?;
        let both = shapes.into_iter().zip(data).map(|(shape, data)| {
            let (mut shape, data) = (shape?, data?);
            if self.shares_rows
                && let Some(first) = shape.first_mut()
            {
                *first = rows;
            }
            Some((shape, data))
        });
        Ok(both.collect())
    }

    fn datatype(&self, input: usize) -> Datatype {
        self.queue.signature().inputs[input].datatype
    }

    /// A request's own memory is the batch's where it is alone.
    fn of_one(&self, one: &Member) -> Result<(Vec<Option<Bytes>>, Failed)> {
        let mut found = Vec::with_capacity(one.item.prepared.inputs.len());
        for (input, tensor) in one.item.prepared.inputs.iter().enumerate() {
            let Some(tensor) = tensor else {
                found.push(None);
                continue;
            };
            let datatype = self.datatype(input);
            found.push(Some(match (part(one, tensor, datatype)?, &tensor.data) {
                (Part::Here(rows), Data::Here(data)) => {
                    assemble::alone(data.slice_ref(rows), datatype, &one.item.reservation)?
                }
                (Part::Here(_), Data::Shared(_)) => return Err(missing()),
                (Part::Shared(slice), _) => match slice.read(&NEVER) {
                    Ok(data) => data,
                    Err(error) => return Ok((Vec::new(), vec![(0, error)])),
                },
            }));
        }
        Ok((found, Vec::new()))
    }

    /// Member after member, so that one that cannot be read leaves nothing behind in any input.
    fn joined(&self) -> Result<(Vec<Option<Bytes>>, Failed)> {
        let parts: Vec<_> = self.members.iter().map(|member| self.parts(member)).collect::<Result<_>>()?;
        let Some(first) = self.members.first() else { return Ok((Vec::new(), Vec::new())) };
        let mut joining = Vec::new();
        for input in 0..first.item.prepared.inputs.len() {
            let all = parts.iter().filter_map(|parts| parts[input].as_ref());
            let there = parts.iter().all(|parts| parts[input].is_some());
            joining.push(there.then(|| Joining::room(all, &first.item.reservation)).transpose()?);
        }
        let mut failed = Vec::new();
        for (place, parts) in parts.iter().enumerate() {
            if let Err(error) = add(&mut joining, parts) {
                failed.push((place, error));
            }
        }
        Ok((joining.into_iter().map(|input| input.map(Joining::finish)).collect(), failed))
    }

    fn parts<'a>(&self, member: &'a Member) -> Result<Vec<Option<Part<'a>>>> {
        let inputs = member.item.prepared.inputs.iter().enumerate();
        inputs
            .map(|(input, tensor)| {
                tensor.as_ref().map(|tensor| part(member, tensor, self.datatype(input))).transpose()
            })
            .collect()
    }

    /// Answer those whose inputs could not be brought; the others are the batch.
    fn leave_out(&mut self, failed: Failed) {
        let mut wakes = Wakes::default();
        for (place, error) in failed.into_iter().rev() {
            let member = self.members.remove(place);
            self.rows -= member.rows;
            if let Some(waker) = member.item.answer(Err(error)) {
                wakes.add(member.item.mailbox(), waker);
            }
        }
    }
}

/// Of each input that came.
fn shapes(member: &Member) -> Vec<Option<Shape>> {
    member.item.prepared.inputs.iter().map(|tensor| Some(tensor.as_ref()?.shape.clone())).collect()
}

/// Add a member's part to each input; all of it or nothing.
fn add(joining: &mut [Option<Joining>], parts: &[Option<Part<'_>>]) -> Result<()> {
    let before: Vec<_> = joining.iter().flatten().map(Joining::written).collect();
    let mut both = joining.iter_mut().zip(parts);
    let outcome = both.try_for_each(|(input, part)| match (input, part) {
        (Some(input), Some(part)) => input.add(part),
        _ => Ok(()),
    });
    if outcome.is_err() {
        joining.iter_mut().flatten().zip(before).for_each(|(input, len)| input.truncate(len));
    }
    outcome
}

/// The rows of `tensor` that `member` stands for.
fn part<'a>(member: &Member, tensor: &'a PreparedTensor, datatype: Datatype) -> Result<Part<'a>> {
    let (total, start, rows) = (member.item.rows, member.start, member.rows);
    let part = match &tensor.data {
        Data::Here(data) if !member.is_piece() => Some(Part::Here(data)),
        Data::Shared(slice) if !member.is_piece() => Some(Part::Shared(slice.clone())),
        Data::Here(data) => {
            assemble::rows_of(data, datatype, &tensor.marks, total, start, rows).map(Part::Here)
        }
        Data::Shared(slice) => shared_rows(slice, total, start, rows).map(Part::Shared),
    };
    part.ok_or_else(missing)
}

/// By equal strides: nothing else is left in shared memory.
fn shared_rows(slice: &Slice, total: usize, start: usize, rows: usize) -> Option<Slice> {
    let end = start.checked_add(rows).filter(|&end| end <= total)?;
    let stride = slice.len().checked_div(total)?;
    slice.part(start * stride..end * stride)
}

fn missing() -> Error {
    internal("rows are missing from an input")
}
