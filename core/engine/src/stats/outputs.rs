//! What a version's answers hold, counted while somebody asks for it: those with NaN or infinity in a
//! floating output, and how classes and scores are distributed. Pure counting of bytes; the cost of
//! not being asked is one load.

use crate::tensor::Datatype;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Classes that are told apart; of integer labels their remainder.
pub const CLASSES: usize = 256;
/// Of one sign: four to each power of two from 2^-20 to 2^20, and one for what is larger.
const OF_A_SIGN: usize = 40 * 4 + 1;
/// Ascending; the one in the middle is for what is smaller than 2^-20.
pub const SCORES: usize = 2 * OF_A_SIGN + 1;
/// Elements of one answer that are looked at for classes and scores: enough for a share, few enough not to
/// show.
const MOST_ELEMENTS: usize = 1024;

/// What is counted of a version's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    #[default]
    Nothing,
    /// How long they take, [finely](super::fine).
    Times,
    /// And those with NaN or infinity.
    NonFinite,
    /// And their classes and scores.
    Distributions,
}

impl Counting {
    const ALL: [Counting; 4] =
        [Counting::Nothing, Counting::Times, Counting::NonFinite, Counting::Distributions];

    /// Whether the outputs themselves are looked at.
    pub(super) fn of_outputs(self) -> bool {
        matches!(self, Counting::NonFinite | Counting::Distributions)
    }

    pub(super) fn from_code(code: u8) -> Counting {
        Counting::ALL.get(usize::from(code)).copied().unwrap_or_default()
    }
}

/// One output of one answer: row-major little-endian memory, the last axis fastest.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    pub datatype: Datatype,
    pub shape: &'a [i64],
    pub data: &'a [u8],
}

/// What has been observed of answers that bring different numbers of observations each.
#[derive(Debug)]
pub struct Spread<const N: usize> {
    pub counts: [AtomicU64; N],
    /// Of the squares of the answers' numbers: with the sum of all, how many independent ones they are worth.
    pub squares: AtomicU64,
}

impl<const N: usize> Spread<N> {
    fn new() -> Self {
        Spread { counts: std::array::from_fn(|_| AtomicU64::new(0)), squares: AtomicU64::new(0) }
    }

    /// One answer's.
    fn add(&self, places: impl Iterator<Item = usize>) {
        let (mut found, mut all) = ([0_u16; N], 0_u64);
        for place in places.take(MOST_ELEMENTS) {
            if let Some(count) = found.get_mut(place) {
                *count += 1;
                all += 1;
            }
        }
        for (count, &more) in self.counts.iter().zip(&found).filter(|(_, more)| **more > 0) {
            count.fetch_add(u64::from(more), Relaxed);
        }
        self.squares.fetch_add(all * all, Relaxed);
    }
}

#[derive(Debug)]
pub struct Outputs {
    /// Answers with a floating output.
    pub inspected: AtomicU64,
    /// Those of them with NaN or infinity in one.
    pub nonfinite: AtomicU64,
    pub classes: Spread<CLASSES>,
    pub scores: Spread<SCORES>,
}

impl Outputs {
    pub(super) fn new() -> Box<Self> {
        Box::new(Outputs {
            inspected: AtomicU64::new(0),
            nonfinite: AtomicU64::new(0),
            classes: Spread::new(),
            scores: Spread::new(),
        })
    }

    pub(super) fn count<'a>(&self, counting: Counting, outputs: impl Iterator<Item = Counted<'a>> + Clone) {
        let mut floating = outputs.clone().filter(|one| is_floating(one.datatype)).peekable();
        if floating.peek().is_some() {
            self.inspected.fetch_add(1, Relaxed);
            if floating.any(|one| is_nonfinite(one.datatype, one.data)) {
                self.nonfinite.fetch_add(1, Relaxed);
            }
        }
        if counting == Counting::Distributions {
            if let Some(one) = outputs.clone().find(Counted::has_classes) {
                self.classes.add(one.classes());
            }
            if let Some(one) = outputs.clone().find(|one| is_floating(one.datatype)) {
                self.scores.add(one.numbers().map(bucket));
            }
        }
    }
}

fn is_floating(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64)
}

/// All bits of a floating number's exponent are set in NaN and infinity, and in nothing else.
fn is_nonfinite(datatype: Datatype, data: &[u8]) -> bool {
    match datatype {
        Datatype::Fp16 => any(data, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        Datatype::Bf16 => any(data, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        Datatype::Fp32 => any(data, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        Datatype::Fp64 => any(data, |b| u64::from_le_bytes(b) & (0x7ff << 52) == 0x7ff << 52),
        _ => false,
    }
}

/// Whether any element is so. Without a way out in the midst of a stretch, so that it is done many at a time.
fn any<const N: usize>(data: &[u8], is: fn([u8; N]) -> bool) -> bool {
    let elements = data.as_chunks::<N>().0;
    elements.chunks(4096).any(|some| some.iter().fold(false, |found, &one| found | is(one)))
}

impl<'a> Counted<'a> {
    /// Scores of 2 to [`CLASSES`] classes along the last axis, or a label for each row.
    fn has_classes(&self) -> bool {
        let last = self.shape.last().copied().unwrap_or(1);
        if is_floating(self.datatype) {
            return (2..=CLASSES as i64).contains(&last);
        }
        let is_label = matches!(
            self.datatype,
            Datatype::Int64
                | Datatype::Int32
                | Datatype::Int16
                | Datatype::Int8
                | Datatype::Uint64
                | Datatype::Uint32
                | Datatype::Uint16
                | Datatype::Uint8
        );
        is_label && (self.shape.len() < 2 || last == 1)
    }

    /// Of each row the place of its largest score, of equal ones the first, or its label.
    fn classes(self) -> Box<dyn Iterator<Item = usize> + 'a> {
        if is_floating(self.datatype) {
            let row = self.shape.last().and_then(|&last| usize::try_from(last).ok()).unwrap_or(1).max(1);
            let size = self.datatype.size().unwrap_or(1) * row;
            return Box::new(
                self.data.chunks_exact(size).map(move |row| Counted { data: row, ..self }.largest()),
            );
        }
        match self.datatype {
            // Labels that are the same are so in their lowest byte, too.
            Datatype::Int8 | Datatype::Uint8 => lowest::<1>(self.data),
            Datatype::Int16 | Datatype::Uint16 => lowest::<2>(self.data),
            Datatype::Int32 | Datatype::Uint32 => lowest::<4>(self.data),
            _ => lowest::<8>(self.data),
        }
    }

    fn largest(self) -> usize {
        let mut best = (0, f64::NEG_INFINITY);
        for (place, number) in self.numbers().enumerate() {
            if number > best.1 {
                best = (place, number);
            }
        }
        best.0
    }

    fn numbers(self) -> Box<dyn Iterator<Item = f64> + 'a> {
        match self.datatype {
            Datatype::Fp16 => read(self.data, |b| half::f16::from_le_bytes(b).to_f64()),
            Datatype::Bf16 => read(self.data, |b| half::bf16::from_le_bytes(b).to_f64()),
            Datatype::Fp32 => read(self.data, |b| f64::from(f32::from_le_bytes(b))),
            Datatype::Fp64 => read(self.data, f64::from_le_bytes),
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn read<const N: usize>(data: &[u8], number: fn([u8; N]) -> f64) -> Box<dyn Iterator<Item = f64> + '_> {
    Box::new(data.as_chunks::<N>().0.iter().map(move |&one| number(one)))
}

fn lowest<const N: usize>(data: &[u8]) -> Box<dyn Iterator<Item = usize> + '_> {
    Box::new(data.as_chunks::<N>().0.iter().map(|one| usize::from(one[0])))
}

/// The place of a score among [`SCORES`]; beyond them for what is no number of a size.
fn bucket(score: f64) -> usize {
    const MIDDLE: usize = OF_A_SIGN;
    if !score.is_finite() {
        return SCORES;
    }
    let bits = score.abs().to_bits();
    // The exponent, and the two highest bits of what follows.
    let quarters = (bits >> 50) as usize;
    let first = (1023 - 20) << 2;
    let Some(above) = quarters.checked_sub(first) else { return MIDDLE };
    let above = above.min(OF_A_SIGN - 1) + 1;
    if score < 0.0 { MIDDLE - above } else { MIDDLE + above }
}

#[cfg(test)]
mod tests;
