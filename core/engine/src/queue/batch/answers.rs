//! How a run's outputs become the members' answers.

use super::{Batch, OutputView, internal, is_void};
use crate::batching::assemble;
use crate::batching::policy::Portion;
use crate::codec::answer::Reply;
use crate::codec::bytes_tensor::Marks;
use crate::codec::{AnswerHead, OutputTensor, classes};
use crate::error::Error;
use crate::queue::pending::Pending;
use crate::queue::pieces::{Joined, Kept, Piece, Pieces};
use crate::shared_memory::{Destinations, Slice};
use crate::stats::outputs::Counted;
use crate::tensor::{Datatype, Shape};
use std::sync::{Arc, OnceLock};

/// A run's outputs while they are cut, and where their texts begin.
pub(super) struct Views<'v, 'a> {
    views: &'v [OutputView<'a>],
    marks: Vec<OnceLock<Marks>>,
}

impl<'v, 'a> Views<'v, 'a> {
    pub(super) fn new(views: &'v [OutputView<'a>]) -> Self {
        Views { views, marks: views.iter().map(|_| OnceLock::new()).collect() }
    }

    fn get(&self, at: usize) -> Option<(&'v OutputView<'a>, &OnceLock<Marks>)> {
        Some((self.views.get(at)?, self.marks.get(at)?))
    }
}

impl Batch {
    pub(super) fn check(&self, views: &[OutputView<'_>]) -> Result<(), Error> {
        if views.len() != self.outputs.len() {
            return Err(internal(format!("{} outputs expected, got {}", self.outputs.len(), views.len())));
        }
        for (&place, view) in self.outputs.iter().zip(views) {
            let spec = &self.queue.signature().outputs[place];
            if view.datatype != spec.datatype {
                return Err(internal(format!(
                    "output '{}' came as {}, the model declares {}",
                    spec.name, view.datatype, spec.datatype
                )));
            }
            let rows = view.shape.first().copied().unwrap_or(-1);
            if self.shares_rows && usize::try_from(rows) != Ok(self.rows) {
                return Err(internal(format!(
                    "output '{}' has {rows} rows for a batch of {}",
                    spec.name, self.rows
                )));
            }
        }
        Ok(())
    }

    /// The answer to one member; `None` while other parts of it are still to run.
    pub(super) fn reply(
        &self,
        member: &Portion<Arc<Pending>>,
        views: &Views<'_, '_>,
        start: usize,
    ) -> Option<Reply> {
        if !member.item.is_waiting() {
            return None;
        }
        let wanted = &member.item.prepared.outputs;
        let cut: Result<Vec<_>, Error> =
            wanted.iter().map(|one| self.cut(views, one.place, start, member.rows)).collect();
        let cut = match cut {
            Ok(cut) => cut,
            Err(error) => return Some(Err(error)),
        };
        if !member.is_piece() {
            return Some(self.encode(&member.item, &cut));
        }
        let joined = match self.keep_piece(member, cut)? {
            Ok(joined) => joined,
            Err(error) => return Some(Err(error)),
        };
        self.share_with_copies(&member.item, &joined.outputs);
        let outputs: Vec<_> = joined.outputs.iter().map(|(shape, data)| (shape.clone(), &data[..])).collect();
        Some(self.encode(&member.item, &outputs))
    }

    /// One member's rows of the output at `place` in the signature.
    pub(super) fn cut<'a>(
        &self,
        views: &Views<'_, 'a>,
        place: usize,
        start: usize,
        rows: usize,
    ) -> Result<(Shape, &'a [u8]), Error> {
        let at = self.outputs.iter().position(|&output| output == place);
        let missing = || internal("an output is missing");
        let (view, marks) = at.and_then(|i| views.get(i)).ok_or_else(missing)?;
        if !self.shares_rows {
            return Ok((view.shape.clone(), view.data));
        }
        let data = assemble::rows_of(view.data, view.datatype, marks, self.rows, start, rows)
            .ok_or_else(|| internal("rows are missing from an output"))?;
        let mut shape = view.shape.clone();
        shape[0] = i64::try_from(rows).map_err(|_| internal("too many rows"))?;
        Ok((shape, data))
    }

    /// Keep a piece of an oversize request; its outputs once the last piece has come. Where the
    /// pieces do not fit together the request runs again, whole.
    fn keep_piece(
        &self,
        member: &Portion<Arc<Pending>>,
        cut: Vec<(Shape, &[u8])>,
    ) -> Option<Result<Joined, Error>> {
        if is_void(member) {
            return None;
        }
        let of = &member.item.reservation;
        // What goes elsewhere, or shrinks to its classes, is bounded by the budget; the answer itself
        // when it is made.
        let elsewhere = !member.item.destinations.is_empty()
            || member.item.prepared.outputs.iter().any(|wanted| wanted.classes > 0);
        let most = if elsewhere { usize::MAX } else { member.item.encode.form.most_raw(of.max_message()) };
        let piece = Piece { start: member.start, rows: member.rows, outputs: cut };
        let mut pieces = member.item.pieces.lock();
        match pieces.keep(piece, member.item.rows, most, of) {
            Ok(Kept::Waiting) => None,
            Ok(Kept::Joined(joined)) => Some(Ok(joined)),
            Ok(Kept::Unfit) => {
                drop(pieces);
                self.queue.run_whole(&member.item);
                None
            }
            Err(error) => {
                *pieces = Pieces::default();
                Some(Err(error))
            }
        }
    }

    /// `outputs` in the order in which the request asks for them.
    fn encode(&self, pending: &Pending, outputs: &[(Shape, &[u8])]) -> Reply {
        let head = AnswerHead {
            model: self.queue.model(),
            version: self.queue.version_text(),
            id: pending.id.as_deref(),
            asked: pending.prepared.asked.as_deref(),
        };
        let prepared = &pending.prepared;
        let specs = prepared.outputs.iter().map(|wanted| &self.queue.signature().outputs[wanted.place]);
        self.queue.stats().answers(|| {
            specs.clone().zip(outputs).map(|(spec, (shape, data))| Counted {
                datatype: spec.datatype,
                shape,
                data,
            })
        });
        let mut tensors: Vec<_> = specs
            .clone()
            .zip(&prepared.outputs)
            .zip(outputs)
            .map(|((spec, wanted), (shape, data))| OutputTensor {
                name: &spec.name,
                datatype: spec.datatype,
                shape: spec.shown(shape, prepared.as_described),
                data,
                binary: wanted.binary,
                placed: false,
            })
            .collect();
        if let Some(record) = pending.record() {
            record.keep_outputs(specs.zip(&tensors).map(|(s, t)| (&s.name, t.datatype, &t.shape, t.data)));
        }
        let placed = place(&mut tensors, &pending.destinations)?;
        let answer = if prepared.outputs.iter().any(|wanted| wanted.classes > 0) {
            self.encode_classes(pending, &head, tensors)
        } else {
            pending.encode.outputs(&head, &tensors, &pending.reservation)
        }?;
        // Regions are written to for an answer that is sent, and for nobody who has left.
        if pending.is_waiting() {
            for (slice, data) in placed {
                slice.write(data)?;
            }
        }
        Ok(answer)
    }

    /// As [`Batch::encode`], with classes in the place of outputs for which they are asked.
    fn encode_classes(
        &self,
        pending: &Pending,
        head: &AnswerHead<'_>,
        tensors: Vec<OutputTensor<'_>>,
    ) -> Reply {
        let (of, wanted, has_rows) = (&pending.reservation, &pending.prepared.outputs, self.queue.batches());
        let mut found = Vec::with_capacity(tensors.len());
        for (tensor, wanted) in tensors.iter().zip(wanted) {
            let labels = self.queue.signature().outputs[wanted.place].labels.as_deref();
            found.push(match wanted.classes {
                0 => None,
                most => Some(classes::largest(tensor, most, has_rows, labels, of)?),
            });
        }
        let mut tensors = tensors;
        for (tensor, found) in tensors.iter_mut().zip(&found) {
            if let Some((shape, data)) = found {
                (tensor.datatype, tensor.shape, tensor.data) = (Datatype::Bytes, shape.clone(), data);
            }
        }
        pending.encode.outputs(head, &tensors, of)
    }
}

/// Take the data of those outputs that have a destination out of the answer: what goes where.
fn place<'d, 't>(
    tensors: &mut [OutputTensor<'t>],
    destinations: &'d Destinations,
) -> Result<Vec<(&'d Slice, &'t [u8])>, Error> {
    let mut placed = Vec::new();
    for (output, tensor) in tensors.iter_mut().enumerate() {
        let Some(slice) = destinations.get(output) else { continue };
        let size = tensor.data.len();
        if size > slice.len() {
            return Err(Error::bad(format!(
                "shared memory size specified with the request for output '{}' ({} bytes) should be at least \
                 {size} bytes to hold the results",
                tensor.name,
                slice.len()
            )));
        }
        placed.push((slice, tensor.data));
        (tensor.data, tensor.placed) = (&[], true);
    }
    Ok(placed)
}
