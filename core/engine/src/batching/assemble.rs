//! Gather rows of several requests into one tensor, and cut an output into theirs.

use crate::codec::bytes_tensor;
use crate::memory::{ALIGN, AlignedBuf};
use crate::tensor::Datatype;
use bytes::Bytes;

/// The bytes of `rows` rows from `start` of a tensor with `total` rows.
///
/// BYTES elements vary in length, so they are walked; everything else is cut by
/// equal strides. `None` when the rows are not there.
pub fn rows_of(data: &[u8], datatype: Datatype, total: usize, start: usize, rows: usize) -> Option<&[u8]> {
    if start == 0 && rows == total {
        return Some(data);
    }
    let end = start.checked_add(rows).filter(|&e| e <= total)?;
    if datatype == Datatype::Bytes {
        return string_rows(data, total, start, end);
    }
    let stride = data.len().checked_div(total)?;
    data.get(start * stride..end * stride)
}

fn string_rows(data: &[u8], total: usize, start: usize, end: usize) -> Option<&[u8]> {
    let per_row = bytes_tensor::elements(data).count().checked_div(total)?;
    let offset = |row: usize| -> usize {
        bytes_tensor::elements(data).take(row * per_row).map(|element| 4 + element.len()).sum()
    };
    data.get(offset(start)..offset(end))
}

/// The parts one after another, in memory aligned for the model. A single part
/// that is aligned for its elements already is not copied.
pub fn gather(parts: &[Bytes], datatype: Datatype) -> Bytes {
    let element = datatype.size().unwrap_or(1);
    if let [one] = parts
        && (one.as_ptr() as usize).is_multiple_of(element)
    {
        return one.clone();
    }
    let mut buf = AlignedBuf::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        buf.extend(part);
    }
    debug_assert_eq!(buf.as_ref().as_ptr() as usize % ALIGN, 0);
    buf.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_that_are_not_there_are_none() {
        assert_eq!(rows_of(&[0; 8], Datatype::Fp32, 2, 1, 2), None);
        assert_eq!(rows_of(&[0; 8], Datatype::Fp32, 2, 1, 1).unwrap().len(), 4);
    }

    #[test]
    fn a_single_aligned_part_is_not_copied() {
        let mut buf = AlignedBuf::with_capacity(8);
        buf.extend(&[1; 8]);
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
            let mut start = 0;
            for (part, rows) in parts.iter().zip(&words) {
                let cut = rows_of(&all, Datatype::Bytes, total, start, rows.len()).unwrap();
                prop_assert_eq!(cut, &part[..]);
                start += rows.len();
            }
        }
    }
}
