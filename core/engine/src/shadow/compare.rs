//! How two answers' tensors differ. Pure.

use crate::codec::bytes_tensor;
use crate::observe::sample::Tensor;
use crate::tensor::Datatype;
use half::{bf16, f16};

/// Two numbers are alike where they are no further apart than `absolute`, and `relative` times the
/// size of the one that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    pub absolute: f64,
    pub relative: f64,
}

/// How one output of a shadow differs from that of the answer given.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found {
    /// It is no output of both.
    pub missing: bool,
    /// Another datatype, or another shape: then no elements are compared.
    pub datatype: bool,
    pub shape: bool,
    /// Elements compared; those that are not alike; and of these the ones that are NaN or infinite in
    /// one answer alone, or infinite in both, to either side.
    pub elements: u64,
    pub different: u64,
    pub nonfinite: u64,
    /// Of floating point elements that are finite in both: the largest distance, the sum of all, and
    /// how many there were.
    pub max: f64,
    pub sum: f64,
    pub finite: u64,
    /// Rows along the last axis of scores, and those whose largest element is another one.
    pub rows: u64,
    pub classes: u64,
}

impl Found {
    /// What only one of the two answers has.
    pub const MISSING: Found = Found {
        missing: true,
        datatype: false,
        shape: false,
        elements: 0,
        different: 0,
        nonfinite: 0,
        max: 0.0,
        sum: 0.0,
        finite: 0,
        rows: 0,
        classes: 0,
    };

    pub fn is_different(&self) -> bool {
        self.missing || self.datatype || self.shape || self.different > 0
    }
}

/// Hold what a shadow answered against what was answered.
pub(super) fn compare(given: &Tensor, shadow: &Tensor, within: Tolerance) -> Found {
    let found = Found {
        datatype: given.datatype != shadow.datatype,
        shape: given.shape != shadow.shape,
        ..Found::default()
    };
    if found.datatype || found.shape {
        return found;
    }
    let (a, b) = (&given.data[..], &shadow.data[..]);
    let width = classes_of(&given.shape);
    match given.datatype {
        Datatype::Fp32 => floats(a, b, width, within, |raw: [u8; 4]| f32::from_le_bytes(raw).into()),
        Datatype::Fp64 => floats(a, b, width, within, f64::from_le_bytes),
        Datatype::Fp16 => floats(a, b, width, within, |raw: [u8; 2]| f16::from_le_bytes(raw).to_f64()),
        Datatype::Bf16 => floats(a, b, width, within, |raw: [u8; 2]| bf16::from_le_bytes(raw).to_f64()),
        Datatype::Bytes => equals(bytes_tensor::elements(a), bytes_tensor::elements(b)),
        Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => equals(a.iter(), b.iter()),
        Datatype::Uint16 | Datatype::Int16 => fixed::<2>(a, b),
        Datatype::Uint32 | Datatype::Int32 => fixed::<4>(a, b),
        Datatype::Uint64 | Datatype::Int64 => fixed::<8>(a, b),
    }
}

/// How many elements a row of scores has; 0 where there are none: axis 0 counts rows.
fn classes_of(shape: &[i64]) -> usize {
    match shape {
        [_, .., last] if *last > 1 => usize::try_from(*last).unwrap_or(0),
        _ => 0,
    }
}

fn fixed<const N: usize>(a: &[u8], b: &[u8]) -> Found {
    equals(a.as_chunks::<N>().0.iter(), b.as_chunks::<N>().0.iter())
}

fn equals<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> Found {
    let mut found = Found::default();
    for (a, b) in a.zip(b) {
        found.elements += 1;
        found.different += u64::from(a != b);
    }
    found
}

fn floats<const N: usize>(
    a: &[u8],
    b: &[u8],
    width: usize,
    within: Tolerance,
    wide: impl Fn([u8; N]) -> f64,
) -> Found {
    let (a, b) = (a.as_chunks::<N>().0, b.as_chunks::<N>().0);
    let mut found = Found::default();
    for (a, b) in a.iter().zip(b) {
        found.take(wide(*a), wide(*b), within);
    }
    if width > 0 {
        for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
            found.rows += 1;
            // A row without a largest element is none of a class, in whichever answer.
            if let (Some(a), Some(b)) = (largest(a, &wide), largest(b, &wide)) {
                found.classes += u64::from(a != b);
            }
        }
    }
    found
}

impl Found {
    fn take(&mut self, given: f64, shadow: f64, within: Tolerance) {
        self.elements += 1;
        if given.is_finite() && shadow.is_finite() {
            let distance = (given - shadow).abs();
            self.max = self.max.max(distance);
            self.sum += distance;
            self.finite += 1;
            let alike = distance <= within.absolute + within.relative * given.abs();
            self.different += u64::from(!alike);
        } else if !(given.is_nan() && shadow.is_nan()) && given != shadow {
            self.different += 1;
            self.nonfinite += 1;
        }
    }
}

/// The first of the largest; `None` where any is NaN.
fn largest<const N: usize>(row: &[[u8; N]], wide: &impl Fn([u8; N]) -> f64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (place, value) in row.iter().map(|raw| wide(*raw)).enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((place, value));
        }
    }
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests;
