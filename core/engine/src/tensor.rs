//! Datatypes, shapes and checked sizes of the Open Inference Protocol.

pub mod labels;
pub mod named;
pub mod schema;

use crate::error::{Error, Result};
use labels::Labels;
use named::NamedSignature;
use schema::Schema;
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
    pub described: Option<Described>,
    /// What its elements are called (outputs only).
    pub labels: Option<Arc<Labels>>,
}

/// Another shape under which clients know a tensor, as a configuration describes it: `[-1, 1]`
/// for the model's `[-1]`, `[-1, 4]` for `[-1, 2, 2]`. It has as many dimensions that vary, in
/// the same order, and as many elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub shape: Vec<i64>,
    /// An answer has this shape whatever the request's inputs have; else only where one of
    /// those came as it is described.
    pub always: bool,
}

impl TensorSpec {
    /// Whether a concrete shape is one that the model takes.
    pub fn fits(&self, shape: &[i64]) -> bool {
        fits(&self.shape, shape)
    }

    /// Whether a concrete shape is as the tensor is described to clients.
    pub fn is_described(&self, shape: &[i64]) -> bool {
        self.described.as_ref().is_some_and(|other| fits(&other.shape, shape))
    }

    /// The model's shape of a tensor that came with `shape`; `None` where that fits neither.
    pub fn taken(&self, shape: &Shape) -> Option<Shape> {
        match &self.described {
            Some(other) if fits(&other.shape, shape) => Some(refill(&other.shape, shape, &self.shape)),
            _ => self.fits(shape).then(|| shape.clone()),
        }
    }

    /// The shape that clients are shown of a tensor that the model has as `shape`. `as_described`:
    /// whether the request came as the configuration describes it.
    pub fn shown(&self, shape: &Shape, as_described: bool) -> Shape {
        match &self.described {
            Some(other) if (other.always || as_described) && self.fits(shape) => {
                refill(&self.shape, shape, &other.shape)
            }
            _ => shape.clone(),
        }
    }

    /// The shape by which clients know the tensor, for messages.
    pub fn expected(&self) -> &[i64] {
        match &self.described {
            Some(other) if other.always => &other.shape,
            _ => &self.shape,
        }
    }
}

/// Whether a concrete shape fits a pattern: same rank, and every fixed dimension equal.
pub fn fits(pattern: &[i64], shape: &[i64]) -> bool {
    pattern.len() == shape.len() && pattern.iter().zip(shape).all(|(&want, &got)| want == -1 || want == got)
}

/// `to` with the sizes that `shape` has where `from`, which it fits, varies.
fn refill(from: &[i64], shape: &[i64], to: &[i64]) -> Shape {
    let mut sizes = from.iter().zip(shape).filter(|(dim, _)| **dim == -1).map(|(_, size)| *size);
    to.iter().map(|&dim| if dim == -1 { sizes.next().unwrap_or(dim) } else { dim }).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Outputs that the model has and no tensor can carry: their names, and why in words.
    pub left_out: Vec<(Box<str>, Box<str>)>,
    /// For requests of MLflow's scoring protocol.
    pub schema: Schema,
    /// Beside this one.
    pub named: Vec<Arc<NamedSignature>>,
}

impl Signature {
    /// Whether axis 0 of every input and output varies, as it does where it counts rows.
    pub fn may_batch(&self) -> bool {
        let all =
            |specs: &[TensorSpec]| !specs.is_empty() && specs.iter().all(|s| s.shape.first() == Some(&-1));
        all(&self.inputs) && all(&self.outputs)
    }

    pub fn input(&self, name: &str) -> Option<(usize, &TensorSpec)> {
        self.inputs.iter().enumerate().find(|(_, s)| &*s.name == name)
    }

    /// [`Signature::input`], looked for at `guess` first: a request may name all of many inputs.
    pub fn input_near(&self, name: &str, guess: usize) -> Option<&TensorSpec> {
        let guessed = self.inputs.get(guess).filter(|spec| &*spec.name == name);
        guessed.or_else(|| self.input(name).map(|(_, spec)| spec))
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

    fn spec(shape: &[i64], described: &[i64], always: bool) -> TensorSpec {
        TensorSpec {
            name: "x".into(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
            optional: false,
            described: Some(Described { shape: described.to_vec(), always }),
            labels: None,
        }
    }

    #[test]
    fn a_described_tensor_is_taken_in_either_shape_and_in_no_third() {
        for (own, described, from, to) in [
            (&[-1][..], &[-1, 1][..], &[3, 1][..], &[3][..]),
            (&[-1, 2, 2], &[-1, 4], &[3, 4], &[3, 2, 2]),
            (&[2, -1, 3, -1], &[-1, 2, 3, -1], &[5, 2, 3, 7], &[2, 5, 3, 7]),
            (&[-1], &[-1, 1], &[0, 1], &[0]),
        ] {
            let (spec, from, to) = (spec(own, described, true), Shape::from(from), Shape::from(to));
            assert_eq!(spec.taken(&from), Some(to.clone()));
            assert_eq!(spec.taken(&to), Some(to.clone()));
            assert_eq!(spec.shown(&to, false), from);
            assert!(spec.is_described(&from) && !spec.is_described(&to));
        }
        assert_eq!(spec(&[-1], &[-1, 1], true).taken(&Shape::from_slice(&[3, 2])), None);
    }

    #[test]
    fn an_output_is_shown_as_described_where_the_request_came_so_or_always() {
        let own = Shape::from_slice(&[3]);
        assert_eq!(spec(&[-1], &[-1, 1], false).shown(&own, false), own);
        assert_eq!(spec(&[-1], &[-1, 1], false).shown(&own, true).as_slice(), [3, 1]);
        assert_eq!(spec(&[-1], &[-1, 1], true).shown(&own, false).as_slice(), [3, 1]);
        let undeclared = Shape::from_slice(&[3, 5]);
        assert_eq!(spec(&[-1], &[-1, 1], true).shown(&undeclared, true), undeclared);
    }

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
