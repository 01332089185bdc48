//! Datatypes, shapes and checked sizes of the Open Inference Protocol.

use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// More dimensions than any model has; a bound on hostile shapes (fault 51).
pub const MAX_RANK: usize = 64;

pub type Shape = SmallVec<[i64; 6]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    pub const ALL: [Datatype; 14] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Bf16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Bf16 => "BF16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bytes => "BYTES",
        }
    }

    pub fn from_name(name: &str) -> Option<Datatype> {
        Datatype::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bytes of one element; `None` for BYTES, whose elements vary.
    pub fn size(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One input or output as the model declares it; -1 is a dimension that varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: Arc<str>,
    pub datatype: Datatype,
    pub shape: Vec<i64>,
    /// May be left out of a request (inputs only).
    pub optional: bool,
}

impl TensorSpec {
    /// Whether a concrete shape fits: same rank, and every fixed dimension equal.
    pub fn fits(&self, shape: &[i64]) -> bool {
        self.shape.len() == shape.len()
            && self.shape.iter().zip(shape).all(|(&want, &got)| want == -1 || want == got)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    pub fn input(&self, name: &str) -> Option<(usize, &TensorSpec)> {
        self.inputs.iter().enumerate().find(|(_, s)| &*s.name == name)
    }

    pub fn output(&self, name: &str) -> Option<(usize, &TensorSpec)> {
        self.outputs.iter().enumerate().find(|(_, s)| &*s.name == name)
    }
}

/// The number of elements of a shape, checked against overflow and negatives
/// before anything is allocated (faults 50 and 51).
///
/// # Errors
/// `BadRequest` naming `tensor` when a dimension is negative, the rank is over
/// [`MAX_RANK`], or the product does not fit.
pub fn elements(tensor: &str, shape: &[i64]) -> Result<usize> {
    if shape.len() > MAX_RANK {
        return Err(Error::bad(format!(
            "input '{}' has {} dimensions, at most {MAX_RANK} are accepted",
            shown(tensor),
            shape.len()
        )));
    }
    let mut product: usize = 1;
    let mut zero = false;
    for &dim in shape {
        let dim = usize::try_from(dim).map_err(|_| {
            Error::bad(format!("input '{}' has a negative dimension in shape {}", shown(tensor), show(shape)))
        })?;
        // A zero makes the whole product zero, but must not hide an overflow.
        if dim == 0 {
            zero = true;
            continue;
        }
        product = product.checked_mul(dim).filter(|&p| p <= isize::MAX as usize).ok_or_else(|| {
            Error::bad(format!(
                "input '{}': the number of elements of shape {} is too large",
                shown(tensor),
                show(shape)
            ))
        })?;
    }
    Ok(if zero { 0 } else { product })
}

/// Byte size of a tensor of fixed-size elements, checked against overflow.
///
/// # Errors
/// As [`elements`], and `BadRequest` when the byte size does not fit.
pub fn byte_size(tensor: &str, datatype: Datatype, shape: &[i64]) -> Result<Option<usize>> {
    let n = elements(tensor, shape)?;
    match datatype.size() {
        None => Ok(None),
        Some(size) => n.checked_mul(size).filter(|&b| b <= isize::MAX as usize).map(Some).ok_or_else(|| {
            Error::bad(format!(
                "input '{}': the byte size of shape {} is too large",
                shown(tensor),
                show(shape)
            ))
        }),
    }
}

/// A shape as errors show it: `[1,3,-1]`, cut after a few dimensions.
pub fn show(shape: &[i64]) -> String {
    let mut text = String::from("[");
    for (i, dim) in shape.iter().take(16).enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(&dim.to_string());
    }
    if shape.len() > 16 {
        text.push_str(",...");
    }
    text.push(']');
    text
}

/// A name from a request as errors show it: bounded, without control characters.
pub fn shown(name: &str) -> String {
    let mut text: String =
        name.chars().take(128).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(128).is_some() {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_before_memory_is_taken() {
        assert_eq!(elements("x", &[2, 3]).unwrap(), 6);
        assert_eq!(elements("x", &[]).unwrap(), 1);
        assert_eq!(elements("x", &[0, i64::MAX]).unwrap(), 0);
        assert!(elements("x", &[i64::MAX, 3]).is_err());
        assert!(elements("x", &[0, i64::MAX, i64::MAX]).is_err());
        assert!(elements("x", &[-1]).is_err());
        assert!(elements("x", &[1; 65]).is_err());
        assert!(byte_size("x", Datatype::Fp64, &[i64::MAX / 4]).is_err());
        assert_eq!(byte_size("x", Datatype::Bytes, &[4]).unwrap(), None);
    }
}
