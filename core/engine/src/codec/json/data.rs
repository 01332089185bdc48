//! The `data` array of one input: leaves in order, to raw little-endian bytes.

use super::document::{Document, MAX_DEPTH, Plain, Words, cut, kind};
use super::elements::{Elements, Leaves};
use super::nest::{Nest, Ragged};
use super::number;
use crate::admission::Reservation;
use crate::codec::bytes_tensor;
use crate::error::{Error, Result};
use crate::tensor::{Datatype, shown};
use jiter::Peek;

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
                Some(Peek::Array) => self.enter(&mut nest)?,
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
                    if nest.depth() == 0 {
                        return Ok(count);
                    }
                    self.document.array_step()?
                }
            };
        }
    }

    fn enter(&mut self, nest: &mut Nest) -> Result<Option<Peek>> {
        nest.enter().map_err(|Ragged| self.ragged())?;
        if self.depth + nest.depth() > MAX_DEPTH {
            return Err(Plain::too_deep());
        }
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
        .quoting_nothing()
    }

    #[cold]
    fn no_integer(&self, text: &str) -> Error {
        if text.bytes().any(|b| !b.is_ascii_digit() && b != b'-') {
            let wanted =
                format!("'data' of {} input '{}' must hold integers", self.datatype, shown(self.tensor));
            return Error::bad(format!("{wanted}, got {}", cut(text))).quoting(self.tensor, wanted);
        }
        self.out_of_range(text)
    }

    #[cold]
    fn out_of_range(&self, text: &str) -> Error {
        let (tensor, datatype) = (shown(self.tensor), self.datatype);
        let what = format!("a value in 'data' of input '{tensor}' is out of range for {datatype}");
        Error::bad(format!("{what}: {}", cut(text))).quoting(self.tensor, what)
    }

    #[cold]
    fn ragged(&self) -> Error {
        Error::bad(format!("the arrays in 'data' of input '{}' are ragged", shown(self.tensor)))
            .quoting_nothing()
    }

    #[cold]
    fn not_an_array(&self, got: Peek) -> Error {
        Error::bad(format!("'data' of input '{}' must be an array, got {}", shown(self.tensor), kind(got)))
            .quoting_nothing()
    }
}
