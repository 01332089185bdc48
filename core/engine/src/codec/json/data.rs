//! The `data` array of one input: leaves in order, to raw little-endian bytes.

use super::document::{Document, MAX_DEPTH, Plain, Words, cut, kind};
use super::elements::{Elements, Leaves};
use super::number;
use crate::admission::Reservation;
use crate::codec::bytes_tensor;
use crate::error::{Error, Result};
use crate::tensor::{Datatype, shown};
use jiter::Peek;
use smallvec::SmallVec;

/// Reads the array the document is at into `out`. `depth` containers are open already.
///
/// # Errors
/// `BadRequest` naming `tensor` for elements that are not of `datatype` or out
/// of its range (fault 58), ragged arrays (60), and FP16 and BF16, which JSON
/// cannot carry.
pub(super) fn read(
    document: &mut Document<'_>,
    tensor: &str,
    datatype: Datatype,
    depth: usize,
    out: Elements,
    held: &mut Reservation,
) -> Result<Leaves> {
    let mut walk = Walk { document, tensor, datatype, depth, held };
    match datatype {
        Datatype::Bool => walk.fixed(out, |walk, peek| walk.boolean(peek)),
        Datatype::Uint8 => walk.fixed(out, |walk, peek| Ok(walk.integer::<u8>(peek)?.to_le_bytes())),
        Datatype::Uint16 => walk.fixed(out, |walk, peek| Ok(walk.integer::<u16>(peek)?.to_le_bytes())),
        Datatype::Uint32 => walk.fixed(out, |walk, peek| Ok(walk.integer::<u32>(peek)?.to_le_bytes())),
        Datatype::Uint64 => walk.fixed(out, |walk, peek| Ok(walk.integer::<u64>(peek)?.to_le_bytes())),
        Datatype::Int8 => walk.fixed(out, |walk, peek| Ok(walk.integer::<i8>(peek)?.to_le_bytes())),
        Datatype::Int16 => walk.fixed(out, |walk, peek| Ok(walk.integer::<i16>(peek)?.to_le_bytes())),
        Datatype::Int32 => walk.fixed(out, |walk, peek| Ok(walk.integer::<i32>(peek)?.to_le_bytes())),
        Datatype::Int64 => walk.fixed(out, |walk, peek| Ok(walk.integer::<i64>(peek)?.to_le_bytes())),
        Datatype::Fp32 => walk.fixed(out, |walk, peek| walk.fp32(peek)),
        Datatype::Fp64 => walk.fixed(out, |walk, peek| walk.fp64(peek)),
        Datatype::Bytes => walk.strings(out),
        Datatype::Fp16 | Datatype::Bf16 => Err(Error::bad(format!(
            "receiving {datatype} data via JSON is not supported. Please use the binary data format for input '{}'",
            shown(tensor)
        ))),
    }
}

struct Walk<'w, 'j> {
    document: &'w mut Document<'j>,
    tensor: &'w str,
    datatype: Datatype,
    depth: usize,
    held: &'w mut Reservation,
}

impl<'j> Walk<'_, 'j> {
    fn fixed<const N: usize>(
        &mut self,
        mut out: Elements,
        leaf: impl Fn(&mut Self, Peek) -> Result<[u8; N]>,
    ) -> Result<Leaves> {
        out.expect_fixed(N, self.held)?;
        let count = self.leaves(|walk, peek| {
            let element = leaf(walk, peek)?;
            out.room(N, walk.held)?.extend_from_slice(&element);
            Ok(())
        })?;
        Ok(out.finish(count, self.held))
    }

    fn strings(&mut self, mut out: Elements) -> Result<Leaves> {
        out.expect_strings(self.held)?;
        let count = self.leaves(|walk, peek| {
            if peek != Peek::String {
                return Err(walk.unfit(peek));
            }
            let text = walk.document.known_string()?.as_bytes();
            bytes_tensor::push(out.room(bytes_tensor::room(text), walk.held)?, text);
            Ok(())
        })?;
        Ok(out.finish(count, self.held))
    }

    /// Calls `leaf` for every element, in order, and counts them. Arrays may nest
    /// to any depth within the bound, but must be regular: those at one depth
    /// are of one length, and elements are all at one depth (fault 60).
    fn leaves(&mut self, mut leaf: impl FnMut(&mut Self, Peek) -> Result<()>) -> Result<usize> {
        let mut nest = Nest::default();
        let mut count = 0;
        let mut next = match self.document.peek()? {
            Peek::Array => self.enter(&mut nest)?,
            other => return Err(self.not_an_array(other)),
        };
        let mut arrays = 0usize;
        loop {
            arrays += 1;
            self.document.look(arrays)?;
            next = match next {
                Some(Peek::Array) => {
                    nest.child_array().map_err(|Ragged| self.ragged())?;
                    self.enter(&mut nest)?
                }
                Some(mut peek) => {
                    nest.elements().map_err(|Ragged| self.ragged())?;
                    loop {
                        leaf(self, peek)?;
                        count += 1;
                        self.document.look(count)?;
                        nest.grow();
                        match self.document.array_step()? {
                            Some(Peek::Array) => break Some(Peek::Array),
                            Some(after) => peek = after,
                            None => break None,
                        }
                    }
                }
                None => {
                    nest.leave().map_err(|Ragged| self.ragged())?;
                    if nest.open.is_empty() {
                        return Ok(count);
                    }
                    self.document.array_step()?
                }
            };
        }
    }

    fn enter(&mut self, nest: &mut Nest) -> Result<Option<Peek>> {
        if self.depth + nest.open.len() >= MAX_DEPTH {
            return Err(Plain::too_deep());
        }
        nest.open.push(0);
        self.document.known_array()
    }

    fn boolean(&mut self, peek: Peek) -> Result<[u8; 1]> {
        match peek {
            Peek::True | Peek::False => Ok([u8::from(self.document.known_bool(peek)?)]),
            other => Err(self.unfit(other)),
        }
    }

    fn integer<T: std::str::FromStr + Default>(&mut self, peek: Peek) -> Result<T> {
        let text = self.number(peek)?;
        match text.parse() {
            Ok(value) => Ok(value),
            // The parser of unsigned integers knows no sign.
            Err(_) if text == "-0" => Ok(T::default()),
            Err(_) => Err(self.no_integer(text)),
        }
    }

    fn fp32(&mut self, peek: Peek) -> Result<[u8; 4]> {
        let text = self.number(peek)?;
        number::fp32(text).map(f32::to_le_bytes).ok_or_else(|| self.out_of_range(text))
    }

    fn fp64(&mut self, peek: Peek) -> Result<[u8; 8]> {
        let text = self.number(peek)?;
        number::fp64(text).map(f64::to_le_bytes).ok_or_else(|| self.out_of_range(text))
    }

    #[inline]
    fn number(&mut self, peek: Peek) -> Result<&'j str> {
        if peek.is_num() { self.document.number(peek) } else { Err(self.unfit(peek)) }
    }

    #[cold]
    fn unfit(&self, got: Peek) -> Error {
        let wanted = match self.datatype {
            Datatype::Bool => "true or false",
            Datatype::Bytes => "strings",
            Datatype::Fp32 | Datatype::Fp64 => "numbers",
            _ => "integers",
        };
        Error::bad(format!(
            "'data' of {} input '{}' must hold {wanted}, got {}",
            self.datatype,
            shown(self.tensor),
            kind(got)
        ))
    }

    #[cold]
    fn no_integer(&self, text: &str) -> Error {
        if text.bytes().any(|b| !b.is_ascii_digit() && b != b'-') {
            return Error::bad(format!(
                "'data' of {} input '{}' must hold integers, got {}",
                self.datatype,
                shown(self.tensor),
                cut(text)
            ));
        }
        self.out_of_range(text)
    }

    #[cold]
    fn out_of_range(&self, text: &str) -> Error {
        Error::bad(format!(
            "a value in 'data' of input '{}' is out of range for {}: {}",
            shown(self.tensor),
            self.datatype,
            cut(text)
        ))
    }

    #[cold]
    fn ragged(&self) -> Error {
        Error::bad(format!("the arrays in 'data' of input '{}' are ragged", shown(self.tensor)))
    }

    #[cold]
    fn not_an_array(&self, got: Peek) -> Error {
        Error::bad(format!("'data' of input '{}' must be an array, got {}", shown(self.tensor), kind(got)))
    }
}

/// Arrays of one depth differ in length, or elements in depth.
struct Ragged;

/// The arrays that are open, and what those before them have shown.
#[derive(Default)]
struct Nest {
    /// Values so far in each open array, outermost first.
    open: SmallVec<[usize; 8]>,
    /// Length of the arrays at each depth, once one has ended.
    lengths: SmallVec<[Option<usize>; 8]>,
    /// The depth of the elements, once there was one.
    leaf_depth: Option<usize>,
}

impl Nest {
    /// The innermost open array holds an array.
    fn child_array(&mut self) -> std::result::Result<(), Ragged> {
        if self.leaf_depth == Some(self.open.len()) {
            return Err(Ragged);
        }
        self.grow();
        Ok(())
    }

    /// The innermost open array holds elements.
    fn elements(&mut self) -> std::result::Result<(), Ragged> {
        let depth = self.open.len();
        let arrays_here = self.lengths.get(depth).is_some_and(Option::is_some);
        if arrays_here || self.leaf_depth.is_some_and(|seen| seen != depth) {
            return Err(Ragged);
        }
        self.leaf_depth = Some(depth);
        Ok(())
    }

    #[inline]
    fn grow(&mut self) {
        if let Some(values) = self.open.last_mut() {
            *values += 1;
        }
    }

    /// The innermost open array ends.
    fn leave(&mut self) -> std::result::Result<(), Ragged> {
        let values = self.open.pop().unwrap_or_default();
        let depth = self.open.len();
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, None);
        }
        match self.lengths[depth].replace(values) {
            Some(before) if before != values => Err(Ragged),
            _ => Ok(()),
        }
    }
}
