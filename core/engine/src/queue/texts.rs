//! What a request's texts weigh, and what runs borrow for them.

use super::{Line, Pending, Queue};
use crate::codec::prepare::Prepared;
use crate::loans::{Lent, Loan, Loans, Weight};
use crate::tensor::Datatype;
use std::sync::Arc;
use std::time::Instant;

impl Queue {
    /// Runs on texts borrow from there.
    pub fn borrow_from(&self, loans: &Arc<Loans>) {
        self.loans.get_or_init(|| loans.clone());
    }

    /// What a request brings for a run to hold. Where a model answers in texts they are taken to
    /// be as many as it is asked, or as its outputs say, a dimension that varies counted as 1.
    pub(super) fn weight_of(&self, prepared: &Prepared, rows: usize) -> Weight {
        let mut weight = Weight { bytes: prepared.bytes, ..Weight::default() };
        if !self.has_texts {
            return weight;
        }
        for (spec, tensor) in self.signature.inputs.iter().zip(&prepared.inputs) {
            if let Some(tensor) = tensor.as_ref().filter(|_| spec.datatype == Datatype::Bytes) {
                weight.texts = weight.texts.saturating_add(count(&tensor.shape, 1));
                weight.text_bytes += tensor.data.len();
            }
        }
        let answered = prepared.outputs.iter().filter_map(|wanted| {
            let spec = &self.signature.outputs[wanted.place];
            (spec.datatype == Datatype::Bytes).then(|| count(&spec.shape, rows))
        });
        weight.texts = weight.texts.max(answered.fold(0, usize::saturating_add));
        weight
    }

    /// What the heaviest of a request's runs holds: all of it, unless it is cut into pieces.
    pub fn heaviest_run(&self, pending: &Arc<Pending>) -> Weight {
        let max = self.rules().max_rows.max(1);
        let rows = if pending.is_alone() { pending.rows } else { pending.rows.min(max) };
        pending.weight.share(0, rows, pending.rows)
    }

    /// What the next batch may weigh, and what is borrowed for it; or what to wait for first,
    /// with no lock and no permit held.
    pub(super) fn lend(
        &self,
        line: &Line,
        now: Instant,
    ) -> Result<(Weight, Option<Loan>), impl FnOnce() + use<>> {
        let room = self.options.room();
        let Some(loans) = self.loans.get().filter(|_| self.has_texts) else { return Ok((room, None)) };
        match loans.ask(line.lines.next_weight(now, self.rules(), room)) {
            Lent::Enough(loan) => Ok((room, loan)),
            Lent::One(loan) => Ok((Weight::default(), Some(loan))),
            Lent::Wait(seen) => {
                let loans = loans.clone();
                Err(move || loans.wait(seen))
            }
        }
    }
}

/// Elements of a shape; its first dimension counts `rows` where it varies, others 1.
fn count(shape: &[i64], rows: usize) -> usize {
    shape.iter().enumerate().fold(1usize, |all, (axis, &dim)| match usize::try_from(dim) {
        Ok(dim) => all.saturating_mul(dim),
        Err(_) if axis == 0 => all.saturating_mul(rows),
        Err(_) => all,
    })
}
