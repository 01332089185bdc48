//! A graph's constants: their types and shapes, and what the small ones hold.

use super::{Result, fields, keep, merged, text};
use crate::codec::wire::{CUT, Reader, Value};

pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;
const BOOL: i64 = 9;
pub const UINT64: i64 = 13;
/// Constants with more elements are known by type and shape alone; of floats only such as decide
/// shapes are of use.
pub const SMALL: usize = 4096;
const FEW: usize = 64;
/// As much of a list as is read where it is longer.
const TOO_MANY: usize = SMALL + 1;
/// `TensorProto`'s lists of whole numbers: `int32_data`, `int64_data`, `uint64_data`.
const LISTS: [u32; 3] = [5, 7, 11];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constant {
    pub elem_type: i64,
    pub dims: Vec<i64>,
    /// Its whole numbers (of `UINT64` the same bits), `None` where they are many, kept elsewhere,
    /// or of another type.
    pub values: Option<Vec<i64>>,
    pub floats: Option<Vec<f64>>,
}

/// The name and the constant of a `TensorProto`.
pub fn tensor(data: &[u8]) -> Result<(&str, Constant)> {
    let mut found = Tensor::default();
    for field in fields(data) {
        let (number, value) = field?;
        found.take(number, value)?;
    }
    Ok((found.name, found.constant()))
}

/// Of a `SparseTensorProto`: it goes by the name of its values; of its shape only the rank is used.
pub fn sparse(data: &[u8]) -> Result<(Box<str>, Constant)> {
    let (mut values, mut dims) = (Vec::new(), Vec::new());
    for field in fields(data) {
        match field? {
            (1, Value::Len(part)) => keep(&mut values, part)?,
            (3, value) => extend_integers(&mut dims, value, usize::MAX)?,
            _ => {}
        }
    }
    let whole = merged(&values)?;
    let (name, constant) = tensor(&whole)?;
    Ok((name.into(), Constant { elem_type: constant.elem_type, dims, ..Constant::default() }))
}

/// A `TensorProto` as it is read.
#[derive(Default)]
struct Tensor<'a> {
    name: &'a str,
    elem_type: i64,
    dims: Vec<i64>,
    count: Count,
    raw: Option<&'a [u8]>,
    integers: [Vec<i64>; LISTS.len()],
    floats: Vec<f64>,
    is_elsewhere: bool,
}

impl<'a> Tensor<'a> {
    fn take(&mut self, number: u32, value: Value<'a>) -> Result<()> {
        match (number, value) {
            (1, value) => {
                let before = self.dims.len();
                extend_integers(&mut self.dims, value, usize::MAX)?;
                self.dims[before..].iter().for_each(|&size| self.count.times(size));
            }
            (2, Value::Varint(elem_type)) => self.elem_type = elem_type as i64,
            (8, Value::Len(name)) => self.name = text(name)?,
            (9, Value::Len(raw)) => self.raw = Some(raw),
            (13 | 14, _) => self.is_elsewhere = true,
            // Dimensions come first, whoever writes them.
            _ if self.count.is_small() || self.count.is_negative() => self.take_listed(number, value)?,
            _ => {}
        }
        Ok(())
    }

    fn take_listed(&mut self, number: u32, value: Value<'_>) -> Result<()> {
        if let Some(list) = LISTS.iter().position(|&list| list == number) {
            return extend_integers(&mut self.integers[list], value, TOO_MANY);
        }
        match number {
            4 => extend_floats::<4>(&mut self.floats, value, TOO_MANY),
            10 => extend_floats::<8>(&mut self.floats, value, TOO_MANY),
            _ => {}
        }
        Ok(())
    }

    fn constant(self) -> Constant {
        let is_known = !self.is_elsewhere && self.count.is_small();
        let (values, floats) = if is_known { (self.values(), self.few_floats()) } else { (None, None) };
        Constant { elem_type: self.elem_type, dims: self.dims, values, floats }
    }

    fn values(&self) -> Option<Vec<i64>> {
        let width = integer_width(self.elem_type)?;
        let cut = |number: i64| cut(number, self.elem_type);
        let Some(raw) = self.raw else {
            let list = match self.elem_type {
                INT64 => 1,
                12 | UINT64 => 2,
                _ => 0,
            };
            let listed = &self.integers[list];
            return (listed.len() == self.len()).then(|| listed.iter().copied().map(cut).collect());
        };
        let element = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, &byte| all << 8 | i64::from(byte));
        let read = |bytes| if self.elem_type == BOOL { element(bytes) } else { cut(element(bytes)) };
        (raw.len() == self.len() * width).then(|| raw.chunks_exact(width).map(read).collect())
    }

    fn few_floats(&self) -> Option<Vec<f64>> {
        let width = match self.elem_type {
            FLOAT => 4,
            10 => 2,
            11 => 8,
            _ => return None,
        };
        let Some(raw) = self.raw else {
            return (self.len() <= FEW && self.floats.len() == self.len()).then(|| self.floats.clone());
        };
        let is_whole = self.len() <= FEW && raw.len() == self.len() * width;
        is_whole.then(|| raw.chunks_exact(width).filter_map(float).collect())
    }

    /// Of one that is small.
    fn len(&self) -> usize {
        self.count.magnitude as usize
    }
}

/// A product of dimensions, whatever a file says they are.
struct Count {
    magnitude: u64,
    signs: u64,
}

impl Default for Count {
    fn default() -> Self {
        Count { magnitude: 1, signs: 0 }
    }
}

impl Count {
    fn times(&mut self, size: i64) {
        self.magnitude = self.magnitude.saturating_mul(size.unsigned_abs());
        self.signs += u64::from(size < 0);
    }

    fn is_negative(&self) -> bool {
        self.magnitude > 0 && self.signs % 2 == 1
    }

    fn is_small(&self) -> bool {
        !self.is_negative() && self.magnitude <= SMALL as u64
    }
}

/// Bytes of an element, where it is a whole number.
fn integer_width(elem_type: i64) -> Option<usize> {
    match elem_type {
        2 | 3 | BOOL => Some(1),
        4 | 5 => Some(2),
        6 | 12 => Some(4),
        INT64 | UINT64 => Some(8),
        _ => None,
    }
}

/// What is left of a listed number in an element of this type.
fn cut(number: i64, elem_type: i64) -> i64 {
    match elem_type {
        2 => i64::from(number as u8),
        3 => i64::from(number as i8),
        4 => i64::from(number as u16),
        5 => i64::from(number as i16),
        6 => i64::from(number as i32),
        BOOL => i64::from(number as u32 != 0),
        12 => i64::from(number as u32),
        _ => number,
    }
}

/// A repeated field of whole numbers: packed, or one of several. No more than `most` are kept.
pub(super) fn extend_integers(into: &mut Vec<i64>, value: Value<'_>, most: usize) -> Result<()> {
    match value {
        Value::Varint(number) if into.len() < most => keep(into, number as i64)?,
        Value::Len(packed) => {
            let (mut reader, most) = (Reader::of_file(packed), most.saturating_sub(into.len()));
            let room = most.min(TOO_MANY);
            for _ in 0..room {
                if reader.is_empty() {
                    break;
                }
                keep(into, reader.varint()? as i64)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// How many whole numbers such a field has.
pub(super) fn count_integers(value: Value<'_>) -> Result<usize> {
    match value {
        Value::Varint(_) => Ok(1),
        Value::Len([.., last]) if *last >= 0x80 => Err(CUT.into()),
        Value::Len(packed) => Ok(packed.iter().filter(|&&byte| byte < 0x80).count()),
        _ => Ok(0),
    }
}

/// A repeated field of floats, each of `WIDTH` bytes.
pub(super) fn extend_floats<const WIDTH: usize>(into: &mut Vec<f64>, value: Value<'_>, most: usize) {
    let room = most.saturating_sub(into.len());
    match value {
        Value::Fixed32(bytes) if WIDTH == 4 => into.extend(float(&bytes).filter(|_| room > 0)),
        Value::Fixed64(bytes) if WIDTH == 8 => into.extend(float(&bytes).filter(|_| room > 0)),
        Value::Len(packed) => into.extend(packed.chunks_exact(WIDTH).filter_map(float).take(room)),
        _ => {}
    }
}

/// How many floats of four bytes such a field has.
pub(super) fn count_floats(value: Value<'_>) -> usize {
    match value {
        Value::Fixed32(_) => 1,
        Value::Len(packed) => packed.len() / 4,
        _ => 0,
    }
}

/// A float of two, four or eight bytes.
pub(super) fn float(bytes: &[u8]) -> Option<f64> {
    match *bytes {
        [a, b] => Some(half(u16::from_le_bytes([a, b]))),
        [a, b, c, d] => Some(f64::from(f32::from_le_bytes([a, b, c, d]))),
        _ => bytes.try_into().ok().map(f64::from_le_bytes),
    }
}

/// IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if bits & 1023 == 0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}
