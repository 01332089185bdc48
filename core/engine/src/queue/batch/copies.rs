//! The end of a batch of copies: nobody is answered, and what came of it is held against the answers
//! that were given.

use super::answers::Views;
use super::{Batch, internal};
use crate::batching::policy::Portion;
use crate::error::Error;
use crate::queue::pending::Pending;
use crate::queue::pieces::{Kept, Piece};
use crate::shadow::Output;
use crate::tensor::{Datatype, Shape};
use std::sync::Arc;
use std::time::Instant;

/// Outputs as they are cut for one request: by place in the signature.
type Cut<'a> = Vec<(usize, Shape, &'a [u8])>;

impl Batch {
    /// Whether it is of copies: none of its members is a request, or all are.
    pub fn is_of_copies(&self) -> bool {
        self.members.first().is_some_and(|member| member.item.copy().is_some())
    }

    pub(super) fn complete_copies(&mut self, views: &Views<'_, '_>) {
        let compute = Instant::now().saturating_duration_since(self.gathered_at);
        self.queue.stats().as_shadow().ran(compute);
        // What follows is no run.
        self.permit = None;
        self.loan = None;
        let mut start = 0;
        for member in std::mem::take(&mut self.members) {
            self.end_copy(&member, views, start);
            start += member.rows;
        }
    }

    fn end_copy(&self, member: &Portion<Arc<Pending>>, views: &Views<'_, '_>, start: usize) {
        let pending = &member.item;
        let Some(copy) = pending.copy().filter(|_| pending.is_waiting()) else { return };
        let outputs = match self.outputs_of(pending, views, start, member.rows) {
            Ok(outputs) => outputs,
            Err(error) => return pending.fail_copy(&error),
        };
        if !member.is_piece() {
            if pending.end_copy() {
                copy.ran(self.named(&outputs));
            }
            return;
        }
        let outputs = outputs.into_iter().map(|(_, shape, data)| (shape, data)).collect();
        let piece = Piece { start: member.start, rows: member.rows, outputs };
        let of = &pending.reservation;
        let kept = pending.pieces.lock().keep(piece, pending.rows, of.max_message(), of);
        match kept {
            Ok(Kept::Waiting) => {}
            Ok(Kept::Joined(joined)) => {
                let places = pending.prepared.outputs.iter().map(|wanted| wanted.place);
                let outputs: Vec<_> = places
                    .zip(&joined.outputs)
                    .map(|(place, (shape, data))| (place, shape.clone(), &data[..]))
                    .collect();
                if pending.end_copy() {
                    copy.ran(self.named(&outputs));
                }
            }
            Ok(Kept::Unfit) => pending.fail_copy(&internal("its pieces do not fit together")),
            Err(error) => pending.fail_copy(&error),
        }
    }

    fn outputs_of<'a>(
        &self,
        pending: &Pending,
        views: &Views<'_, 'a>,
        start: usize,
        rows: usize,
    ) -> Result<Cut<'a>, Error> {
        let cut = pending.prepared.outputs.iter().map(|wanted| {
            let (shape, data) = self.cut(views, wanted.place, start, rows)?;
            Ok((wanted.place, shape, data))
        });
        cut.collect()
    }

    fn named<'a>(&'a self, outputs: &'a Cut<'a>) -> impl Iterator<Item = Output<'a>> + Clone {
        outputs.iter().map(|(place, shape, data)| {
            let spec = &self.queue.signature().outputs[*place];
            (&spec.name, spec.datatype, shape, *data)
        })
    }

    /// Keep what a request was answered with, for those who run copies of it.
    pub(super) fn keep_for_copies(
        &self,
        member: &Portion<Arc<Pending>>,
        views: &Views<'_, '_>,
        start: usize,
    ) {
        let Some(source) = member.item.source() else { return };
        if let Ok(outputs) = self.outputs_of(&member.item, views, start, member.rows) {
            source.answered(self.named(&outputs));
        }
    }

    /// As [`Batch::keep_for_copies`], of a request whose pieces were joined.
    pub(super) fn share_with_copies(&self, pending: &Pending, outputs: &[(Shape, bytes::Bytes)]) {
        let Some(source) = pending.source() else { return };
        let specs =
            pending.prepared.outputs.iter().map(|wanted| &self.queue.signature().outputs[wanted.place]);
        let both = specs.zip(outputs);
        source.answered_with(both.map(|(spec, (shape, data))| {
            let datatype: Datatype = spec.datatype;
            (spec.name.clone(), datatype, shape.clone(), data.clone())
        }));
    }
}
