//! Triton's classification: of each row of an output its largest elements, as texts
//! `value:index[:label]`.

use super::buffer::{AnswerBuf, COUNTED};
use super::{OutputTensor, bytes_tensor};
use crate::admission::Reservation;
use crate::error::{Error, Result};
use crate::memory;
use crate::tensor::labels::Labels;
use crate::tensor::{Datatype, Shape, TensorSpec, elements};
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::{Display, Write};

/// Elements that a row may have.
pub const MOST_ELEMENTS: usize = 1_000_000;
/// Bytes that a text usually takes in its tensor.
const USUAL: usize = 32;

/// To be asked before anything runs.
///
/// # Errors
/// `BadRequest` naming the output where its elements are not such as can be ranked, or a row has
/// more than [`MOST_ELEMENTS`] whatever the request.
pub fn check(spec: &TensorSpec) -> Result<()> {
    if matches!(spec.datatype, Datatype::Bool | Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes) {
        return Err(unsupported(&spec.name, spec.datatype));
    }
    // What varies may be 1.
    let fixed = spec.shape.iter().filter_map(|&dim| usize::try_from(dim).ok());
    check_count(&spec.name, fixed.fold(1, usize::saturating_mul))
}

fn unsupported(output: &str, datatype: Datatype) -> Error {
    Error::bad(format!(
        "class result not available for output '{output}' due to unsupported type '{datatype}'"
    ))
}

fn check_count(output: &str, count: usize) -> Result<()> {
    if count > MOST_ELEMENTS {
        return Err(Error::bad(format!(
            "class result not available for output '{output}': it has {count} elements, at most \
             {MOST_ELEMENTS} are ranked"
        )));
    }
    Ok(())
}

/// The shape and the texts of the `most` largest elements of each row, the largest first; of equal
/// ones the first goes first, and NaN goes last. Axis 0 counts rows where the output `has_rows`,
/// else it is one row. Counted in the budget of `of`.
///
/// # Errors
/// As [`check`]; `TooLarge` and `Full` as an answer.
pub fn largest(
    output: &OutputTensor<'_>,
    most: usize,
    has_rows: bool,
    labels: Option<&Labels>,
    of: &Reservation,
) -> Result<(Shape, Bytes)> {
    let (mut shape, row) = match output.shape.split_first() {
        Some((&rows, row)) if has_rows => (Shape::from_slice(&[rows]), row),
        _ => (Shape::new(), &output.shape[..]),
    };
    let count = elements(output.name, row)?;
    check_count(output.name, count)?;
    let ranking = Ranking { count, most: most.min(count), labels, of };
    shape.push(ranking.most as i64);
    Ok((shape, ranking.texts(output)?))
}

/// How a row's elements are ranked.
struct Ranking<'a> {
    count: usize,
    most: usize,
    labels: Option<&'a Labels>,
    of: &'a Reservation,
}

/// An element among the largest: its rank and its number. The heap's first is the least of them.
type Kept = Reverse<(u64, Reverse<u32>)>;

impl Ranking<'_> {
    fn texts(&self, output: &OutputTensor<'_>) -> Result<Bytes> {
        let data = output.data;
        match output.datatype {
            Datatype::Uint8 => self.rows(data, u8::from_le_bytes),
            Datatype::Uint16 => self.rows(data, u16::from_le_bytes),
            Datatype::Uint32 => self.rows(data, u32::from_le_bytes),
            Datatype::Uint64 => self.rows(data, u64::from_le_bytes),
            Datatype::Int8 => self.rows(data, i8::from_le_bytes),
            Datatype::Int16 => self.rows(data, i16::from_le_bytes),
            Datatype::Int32 => self.rows(data, i32::from_le_bytes),
            Datatype::Int64 => self.rows(data, i64::from_le_bytes),
            Datatype::Fp32 => self.rows(data, f32::from_le_bytes),
            Datatype::Fp64 => self.rows(data, f64::from_le_bytes),
            Datatype::Bool | Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => {
                Err(unsupported(output.name, output.datatype))
            }
        }
    }

    fn rows<const N: usize, V: Value>(&self, data: &[u8], read: fn([u8; N]) -> V) -> Result<Bytes> {
        if self.most == 0 {
            return Ok(Bytes::new());
        }
        let all = data.as_chunks::<N>().0;
        let usual = (all.len() / self.count).saturating_mul(self.most).saturating_mul(USUAL);
        let mut out = AnswerBuf::new(self.of, usual.min(64 << 10), self.of.max_message())?;
        let (mut heap, _held) = self.heap()?;
        let mut text = String::new();
        for row in all.chunks_exact(self.count) {
            for (number, element) in (0..).zip(row) {
                keep(&mut heap, self.most, Reverse((read(*element).rank(), Reverse(number))));
            }
            let mut best = heap.into_sorted_vec();
            for Reverse((_, Reverse(number))) in best.drain(..) {
                let number = number as usize;
                text.clear();
                read(row[number]).put(&mut text);
                self.name(number, &mut text);
                bytes_tensor::push(out.room(bytes_tensor::room(text.as_bytes()))?, text.as_bytes());
            }
            heap = BinaryHeap::from(best);
        }
        out.finish()
    }

    /// Room for one row's, and what it takes of the budget.
    fn heap(&self) -> Result<(BinaryHeap<Kept>, Reservation)> {
        let (bytes, mut held) = (self.most * size_of::<Kept>(), self.of.beside());
        if bytes >= COUNTED {
            held.take(bytes)?;
        }
        Ok((BinaryHeap::from(memory::room(self.most)?), held))
    }

    fn name(&self, number: usize, text: &mut String) {
        let _ = write!(text, ":{number}");
        if let Some(label) = self.labels.and_then(|labels| labels.get(number)) {
            text.push(':');
            text.push_str(label);
        }
    }
}

#[inline]
fn keep(heap: &mut BinaryHeap<Kept>, most: usize, one: Kept) {
    if heap.len() < most {
        heap.push(one);
    } else if let Some(mut least) = heap.peek_mut()
        && one < *least
    {
        *least = one;
    }
}

/// An element's value.
trait Value: Copy {
    /// Numbers in the order of the values; both zeros have the same, and NaN has the least.
    fn rank(self) -> u64;

    fn put(self, text: &mut String);
}

const SIGN: u64 = 1 << 63;

macro_rules! integers {
    ($($kind:ty: $widest:ty, $flipped:expr;)*) => {$(
        impl Value for $kind {
            #[inline]
            fn rank(self) -> u64 {
                <$widest>::from(self) as u64 ^ $flipped
            }

            fn put(self, text: &mut String) {
                text.push_str(itoa::Buffer::new().format(self));
            }
        }
    )*};
}

integers! {
    u8: u64, 0;
    u16: u64, 0;
    u32: u64, 0;
    u64: u64, 0;
    i8: i64, SIGN;
    i16: i64, SIGN;
    i32: i64, SIGN;
    i64: i64, SIGN;
}

fn float_rank(value: f64) -> u64 {
    if value.is_nan() {
        return 0;
    }
    // A negative zero becomes the other.
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn put_float(value: impl Display, is_nan: bool, text: &mut String) {
    let _ = if is_nan { write!(text, "nan") } else { write!(text, "{value:.6}") };
}

impl Value for f32 {
    #[inline]
    fn rank(self) -> u64 {
        float_rank(f64::from(self))
    }

    fn put(self, text: &mut String) {
        put_float(self, self.is_nan(), text);
    }
}

impl Value for f64 {
    #[inline]
    fn rank(self) -> u64 {
        float_rank(self)
    }

    fn put(self, text: &mut String) {
        put_float(self, self.is_nan(), text);
    }
}

#[cfg(test)]
mod tests;
