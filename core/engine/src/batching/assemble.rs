//! Gather rows of several requests into one tensor, and cut an output into theirs.

use crate::admission::Reservation;
use crate::codec::buffer::COUNTED;
use crate::codec::bytes_tensor::Marks;
use crate::error::Result;
use crate::memory::{ALIGN, AlignedBuf};
use crate::shared_memory::Slice;
use crate::stop::NEVER;
use crate::tensor::Datatype;
use bytes::Bytes;
use std::sync::OnceLock;

/// The bytes of `rows` rows from `start` of a tensor with `total` rows.
///
/// BYTES elements vary in length, so they are found by marks, made once for all rows of the
/// tensor; everything else is cut by equal strides. `None` when the rows are not there.
pub fn rows_of<'a>(
    data: &'a [u8],
    datatype: Datatype,
    marks: &OnceLock<Marks>,
    total: usize,
    start: usize,
    rows: usize,
) -> Option<&'a [u8]> {
    if start == 0 && rows == total {
        return Some(data);
    }
    let end = start.checked_add(rows).filter(|&e| e <= total)?;
    if datatype == Datatype::Bytes {
        let marks = marks.get_or_init(|| Marks::of(data));
        return string_rows(data, marks, total, start, end);
    }
    let stride = data.len().checked_div(total)?;
    data.get(start * stride..end * stride)
}

fn string_rows<'a>(
    data: &'a [u8],
    marks: &Marks,
    total: usize,
    start: usize,
    end: usize,
) -> Option<&'a [u8]> {
    let per_row = marks.count().checked_div(total)?;
    let offset = |row: usize| marks.offset(data, row * per_row);
    data.get(offset(start)?..offset(end)?)
}

/// What one request brings to an input of a batch.
#[derive(Debug)]
pub enum Part<'a> {
    Here(&'a [u8]),
    /// Read when it is added; it counts in its request's reservation already.
    Shared(Slice),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Here(data) => data.len(),
            Part::Shared(slice) => slice.len(),
        }
    }

    fn copied(&self) -> usize {
        match self {
            Part::Here(data) => data.len(),
            Part::Shared(_) => 0,
        }
    }
}

/// One input of a batch while its parts are put one after another, in memory aligned for the model.
/// What is copied counts in the budget, also beyond it: its requests were accepted.
pub struct Joining(AlignedBuf);

impl Joining {
    /// Room for `parts`, counted in the budget of `of`.
    ///
    /// # Errors
    /// `Full` where the machine has no memory for them.
    pub fn room<'p, 'a: 'p>(
        parts: impl Iterator<Item = &'p Part<'a>> + Clone,
        of: &Reservation,
    ) -> Result<Joining> {
        let len = parts.clone().map(Part::len).fold(0, usize::saturating_add);
        let copied = parts.map(Part::copied).fold(0, usize::saturating_add);
        let buf = AlignedBuf::with_capacity(len)?.held_by(counted(copied, of));
        debug_assert_eq!(buf.as_ref().as_ptr() as usize % ALIGN, 0);
        Ok(Joining(buf))
    }

    /// Where this fails the parts before stay as they are.
    ///
    /// # Errors
    /// Those of [`Slice::read_to`].
    pub fn add(&mut self, part: &Part<'_>) -> Result<()> {
        match part {
            Part::Here(data) => self.0.extend(data),
            Part::Shared(slice) => slice.read_to(&mut self.0, &NEVER),
        }
    }

    /// Bytes of its parts so far.
    pub fn written(&self) -> usize {
        self.0.len()
    }

    /// Take back what was added since it had `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// The only part of an input: itself where it is aligned for its elements, else a copy.
///
/// # Errors
/// As [`Joining::room`].
pub fn alone(part: Bytes, datatype: Datatype, of: &Reservation) -> Result<Bytes> {
    if (part.as_ptr() as usize).is_multiple_of(datatype.size().unwrap_or(1)) {
        return Ok(part);
    }
    let part = Part::Here(&part);
    let mut copy = Joining::room(std::iter::once(&part), of)?;
    copy.add(&part)?;
    Ok(copy.finish())
}

fn counted(len: usize, of: &Reservation) -> Option<Reservation> {
    (len >= COUNTED).then(|| {
        let mut held = of.another();
        held.hold(len);
        held
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::codec::bytes_tensor;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn gather(parts: &[Bytes], datatype: Datatype) -> Bytes {
        gather_in(&Budget::new(usize::MAX), parts, datatype)
    }

    fn gather_in(budget: &Arc<Budget>, parts: &[Bytes], datatype: Datatype) -> Bytes {
        let of = budget.reserve();
        if let [one] = parts {
            return alone(one.clone(), datatype, &of).unwrap();
        }
        let parts: Vec<_> = parts.iter().map(|part| Part::Here(part)).collect();
        let mut all = Joining::room(parts.iter(), &of).unwrap();
        for part in &parts {
            all.add(part).unwrap();
        }
        all.finish()
    }

    #[test]
    fn fault_103_a_batch_counts_its_copy_also_beyond_the_budget() {
        let budget = Budget::new(10);
        let parts = [Bytes::from(vec![1; 6000]), Bytes::from(vec![2; 6000])];
        let all = gather_in(&budget, &parts, Datatype::Uint8);
        assert_eq!((all.len(), budget.used()), (12_000, 12_000));
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn rows_that_are_not_there_are_none() {
        let marks = OnceLock::new();
        assert_eq!(rows_of(&[0; 8], Datatype::Fp32, &marks, 2, 1, 2), None);
        assert_eq!(rows_of(&[0; 8], Datatype::Fp32, &marks, 2, 1, 1).unwrap().len(), 4);
        assert_eq!(rows_of(&[0; 8], Datatype::Bytes, &marks, 2, 1, 2), None);
    }

    #[test]
    fn fault_110_texts_are_cut_in_one_walk_over_the_tensor_and_a_few_steps_a_piece() {
        const ROWS: usize = 4096;
        const TEXTS: usize = ROWS * 16;
        const PIECES: usize = ROWS / 8;
        let (data, marks) = (vec![0u8; 4 * TEXTS], OnceLock::new());
        let before = bytes_tensor::WALKED.get();
        for piece in 0..PIECES {
            let cut = rows_of(&data, Datatype::Bytes, &marks, ROWS, piece * 8, 8).unwrap();
            assert_eq!(cut.len(), 8 * 16 * 4);
        }
        let walked = bytes_tensor::WALKED.get() - before;
        assert!(walked <= TEXTS + 1 + PIECES * 2 * Marks::STEP, "{walked}");
    }

    #[test]
    fn a_single_aligned_part_is_not_copied() {
        let mut buf = AlignedBuf::with_capacity(8).unwrap();
        buf.extend(&[1; 8]).unwrap();
        let part = buf.freeze();
        assert_eq!(gather(std::slice::from_ref(&part), Datatype::Fp64).as_ptr(), part.as_ptr());
        let off = part.slice(1..5);
        assert_ne!(gather(std::slice::from_ref(&off), Datatype::Fp32).as_ptr(), off.as_ptr());
        assert_eq!(&gather(std::slice::from_ref(&off), Datatype::Fp32)[..], &off[..]);
    }

    proptest! {
        /// Cutting a gathered tensor gives every request its own rows back, strings too.
        #[test]
        fn gather_and_cut_are_inverse(words in prop::collection::vec(prop::collection::vec(".{0,9}", 1..4), 1..6)) {
            let parts: Vec<Bytes> = words.iter().map(|rows| {
                let mut data = Vec::new();
                rows.iter().for_each(|w| bytes_tensor::push(&mut data, w.as_bytes()));
                Bytes::from(data)
            }).collect();
            let all = gather(&parts, Datatype::Bytes);
            let total = words.iter().map(Vec::len).sum();
            let (mut start, marks) = (0, OnceLock::new());
            for (part, rows) in parts.iter().zip(&words) {
                let cut = rows_of(&all, Datatype::Bytes, &marks, total, start, rows.len()).unwrap();
                prop_assert_eq!(cut, &part[..]);
                start += rows.len();
            }
        }
    }
}
