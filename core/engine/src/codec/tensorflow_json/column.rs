//! One input while its values come: a whole tensor, or rows of it.

use super::nest::Nest;
use super::words::{Document, Place, is_json, kind, parse_error, type_name, unfit};
use crate::admission::Reservation;
use crate::codec::json::document::{MAX_DEPTH, Words};
use crate::codec::json::elements::{Elements, Leaves};
use crate::codec::json::number;
use crate::codec::{InputTensor, Payload, bytes_tensor};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::{Datatype, Shape, TensorSpec, show, shown};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiter::Peek;

/// Padded or not.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of text that are taken for an element, as long as nothing better is known.
const CHARACTERS: usize = 8;

pub(super) struct Column<'s> {
    spec: &'s TensorSpec,
    /// Of one value; the first says it.
    shape: Option<Shape>,
    /// Elements of all values, and of one.
    count: usize,
    size: usize,
    pub(super) values: usize,
    out: Elements,
}

/// What a column reads from.
pub(super) struct Source<'r, 'j> {
    pub(super) document: &'r mut Document<'j>,
    pub(super) held: &'r mut Reservation,
    /// Containers that are open around the value.
    pub(super) depth: usize,
    pub(super) place: Place,
}

impl<'s> Column<'s> {
    /// `room`: bytes of text that may be about it.
    pub(super) fn new(spec: &'s TensorSpec, room: usize) -> Self {
        let out = Elements::new(room / CHARACTERS + 1, room);
        Column { spec, shape: None, count: 0, size: 0, values: 0, out }
    }

    pub(super) fn name(&self) -> &'s str {
        &self.spec.name
    }

    /// The whole tensor, of which one value has come.
    pub(super) fn whole(mut self, held: &mut Reservation) -> InputTensor {
        let shape = self.shape.take().unwrap_or_default();
        self.tensor(shape, held)
    }

    /// The tensor of whose rows one after the other has come.
    pub(super) fn stacked(mut self, held: &mut Reservation) -> InputTensor {
        let mut shape = self.shape.take().unwrap_or_default();
        shape.insert(0, i64::try_from(self.values).unwrap_or(i64::MAX));
        self.tensor(shape, held)
    }

    fn tensor(self, shape: Shape, held: &mut Reservation) -> InputTensor {
        let Leaves { data, count } = self.out.finish(self.count, held);
        InputTensor {
            name: self.spec.name.to_string(),
            datatype: self.spec.datatype.name().to_owned(),
            shape,
            payload: Payload::Json { data, count },
        }
    }

    /// The value that the document is at.
    ///
    /// # Errors
    /// `BadRequest` for one that is ragged, shaped otherwise than those before it, or has elements that
    /// are not of the input's datatype; `Unimplemented` for datatypes that JSON has no form for.
    pub(super) fn read(&mut self, source: Source<'_, '_>) -> Result<()> {
        let (before, datatype) = (self.count, self.spec.datatype);
        let place = source.place;
        let mut walk = Walk { name: &self.spec.name, datatype, first: self.values == 0, source };
        let (out, count) = (&mut self.out, &mut self.count);
        let shape = match datatype {
            Datatype::Bool => walk.fixed(out, count, |walk, peek| walk.boolean(peek)),
            Datatype::Uint8 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<u8>(peek)?.to_le_bytes()))
            }
            Datatype::Uint32 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<u32>(peek)?.to_le_bytes()))
            }
            Datatype::Uint64 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<u64>(peek)?.to_le_bytes()))
            }
            Datatype::Int8 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<i8>(peek)?.to_le_bytes()))
            }
            Datatype::Int16 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<i16>(peek)?.to_le_bytes()))
            }
            Datatype::Int32 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<i32>(peek)?.to_le_bytes()))
            }
            Datatype::Int64 => {
                walk.fixed(out, count, |walk, peek| Ok(walk.integer::<i64>(peek)?.to_le_bytes()))
            }
            Datatype::Fp32 => walk.fixed(out, count, |walk, peek| walk.fp32(peek)),
            Datatype::Fp64 => walk.fixed(out, count, |walk, peek| walk.fp64(peek)),
            Datatype::Bytes => walk.texts(out, count),
            Datatype::Uint16 | Datatype::Fp16 | Datatype::Bf16 => Err(walk.no_form()?),
        }?;
        self.hold(shape, self.count - before, place)
    }

    /// All values have one shape.
    fn hold(&mut self, shape: Shape, size: usize, place: Place) -> Result<()> {
        self.values += 1;
        let Some(first) = &self.shape else {
            (self.shape, self.size) = (Some(shape), size);
            return Ok(());
        };
        let text = if self.size != size {
            format!("Expecting tensor size: {} but got: {size}", self.size)
        } else if *first != shape {
            format!("Expecting shape {} but got: {}", show(first), show(&shape))
        } else {
            return Ok(());
        };
        Err(place.error(&self.spec.name, ErrorCode::BadRequest, &text))
    }
}

struct Walk<'w, 'r, 'j> {
    name: &'w str,
    datatype: Datatype,
    /// Nothing has come of this input before.
    first: bool,
    source: Source<'r, 'j>,
}

impl<'j> Walk<'_, '_, 'j> {
    fn fixed<const N: usize>(
        &mut self,
        out: &mut Elements,
        count: &mut usize,
        leaf: impl Fn(&mut Self, Peek) -> Result<[u8; N]>,
    ) -> Result<Shape> {
        if self.first {
            out.expect_fixed(N, self.source.held)?;
        }
        self.leaves(count, |walk, peek, _| {
            let element = leaf(walk, peek)?;
            out.room(N, walk.source.held)?.extend_from_slice(&element);
            Ok(())
        })
    }

    fn texts(&mut self, out: &mut Elements, count: &mut usize) -> Result<Shape> {
        if self.first {
            out.expect_strings(self.source.held)?;
        }
        self.leaves(count, |walk, peek, number| match peek {
            Peek::String => {
                let text = walk.source.document.known_string()?.as_bytes();
                bytes_tensor::push(out.room(bytes_tensor::room(text), walk.source.held)?, text);
                Ok(())
            }
            Peek::Object => walk.base64(out, number),
            other => Err(walk.unfit(other)?),
        })
    }

    /// Calls `leaf` for each element, with its number in `count`. Whatever the depth within the bound,
    /// lists at one depth are of one length, and elements all at one depth (fault 60).
    fn leaves(
        &mut self,
        count: &mut usize,
        mut leaf: impl FnMut(&mut Self, Peek, usize) -> Result<()>,
    ) -> Result<Shape> {
        let mut nest = Nest::default();
        let first = self.source.document.peek()?;
        if first != Peek::Array {
            leaf(self, first, *count)?;
            *count += 1;
            return Ok(Shape::new());
        }
        let (mut next, mut lists) = (Some(first), 0usize);
        loop {
            lists += 1;
            self.source.document.look(lists)?;
            next = match next {
                Some(Peek::Array) => self.enter(&mut nest)?,
                Some(peek) => self.run(&mut nest, peek, count, &mut leaf)?,
                None => {
                    nest.leave().map_err(|text| self.flaw(&text))?;
                    if nest.depth() == 0 {
                        return Ok(nest.shape());
                    }
                    self.source.document.array_step()?
                }
            };
        }
    }

    fn enter(&mut self, nest: &mut Nest) -> Result<Option<Peek>> {
        if self.source.depth + nest.depth() >= MAX_DEPTH {
            return Err(super::words::Words::too_deep());
        }
        nest.enter().map_err(|text| self.flaw(&text))?;
        self.source.document.known_array()
    }

    /// Elements beside each other, of which `peek` is the first; what comes after them.
    #[inline]
    fn run(
        &mut self,
        nest: &mut Nest,
        mut peek: Peek,
        count: &mut usize,
        leaf: &mut impl FnMut(&mut Self, Peek, usize) -> Result<()>,
    ) -> Result<Option<Peek>> {
        if let Err(rank) = nest.elements() {
            return Err(self.wrong_level(nest.depth(), rank)?);
        }
        let before = *count;
        let next = loop {
            leaf(self, peek, *count)?;
            *count += 1;
            self.source.document.look(*count)?;
            match self.source.document.array_step()? {
                Some(Peek::Array) => break Some(Peek::Array),
                Some(after) => peek = after,
                None => break None,
            }
        };
        nest.add(*count - before);
        Ok(next)
    }

    fn boolean(&mut self, peek: Peek) -> Result<[u8; 1]> {
        match peek {
            Peek::True | Peek::False => Ok([u8::from(self.source.document.known_bool(peek)?)]),
            other => Err(self.unfit(other)?),
        }
    }

    fn integer<T: std::str::FromStr + Default>(&mut self, peek: Peek) -> Result<T> {
        let text = self.number(peek)?;
        match text.parse() {
            Ok(value) => Ok(value),
            // The parser of unsigned integers knows no sign.
            Err(_) if text == "-0" => Ok(T::default()),
            Err(_) => Err(self.flaw(&unfit(text, peek, self.datatype))),
        }
    }

    /// Beyond the largest is infinite, as there.
    fn fp32(&mut self, peek: Peek) -> Result<[u8; 4]> {
        let text = self.number(peek)?;
        let value = number::fp32(text).or_else(|| number::fp64(text).map(|wide| wide as f32));
        value.map(f32::to_le_bytes).ok_or_else(|| self.too_big(text))
    }

    fn fp64(&mut self, peek: Peek) -> Result<[u8; 8]> {
        let text = self.number(peek)?;
        number::fp64(text).map(f64::to_le_bytes).ok_or_else(|| self.too_big(text))
    }

    #[inline]
    fn number(&mut self, peek: Peek) -> Result<&'j str> {
        if peek.is_num() { self.source.document.number(peek) } else { Err(self.unfit(peek)?) }
    }

    /// Bytes as `{"b64": "..."}`, which has no other member.
    fn base64(&mut self, out: &mut Elements, number: usize) -> Result<()> {
        let start = self.source.document.index();
        let is_named = self.source.document.object("", |key| key == "b64")?;
        if is_named != Some(true) || self.source.document.peek()? != Peek::String {
            return Err(self.no_base64(start));
        }
        let text = self.source.document.known_string()?.as_bytes();
        let room = bytes_tensor::room(&[]) + base64::decoded_len_estimate(text.len());
        let out = out.room(room, self.source.held)?;
        let length_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let begin = out.len();
        let flaw = if BASE64.decode_vec(text, out).is_err() {
            Some("Unable to base64 decode".to_owned())
        } else {
            let decoded = &out[begin..];
            let length = u32::try_from(decoded.len()).unwrap_or_default();
            let is_text = std::str::from_utf8(decoded).is_ok();
            out[length_at..begin].copy_from_slice(&length.to_le_bytes());
            (!is_text).then(|| format!("string element {number} is not valid UTF-8"))
        };
        if let Some(text) = flaw {
            return Err(self.flaw(&text));
        }
        match self.source.document.next_key(|_| ())? {
            None => Ok(()),
            Some(()) => Err(self.no_base64(start)),
        }
    }

    #[cold]
    fn no_base64(&self, start: usize) -> Error {
        let value = self.source.document.since(start);
        self.flaw(&format!("JSON Value: {} not formatted correctly for base64 data", shown(value)))
    }

    /// The value at hand is none of the datatype; where it is none at all, that.
    #[cold]
    fn unfit(&mut self, peek: Peek) -> Result<Error> {
        let value = self.source.document.value(self.source.depth)?;
        Ok(self.flaw(&unfit(value, peek, self.datatype)))
    }

    #[cold]
    fn no_form(&mut self) -> Result<Error> {
        let peek = self.source.document.peek()?;
        let value = self.source.document.value(self.source.depth)?;
        let (value, kind, name) = (shown(value), kind(peek), type_name(self.datatype));
        let text = format!("Conversion of JSON Value: {value} Type: {kind} to type: {name}");
        debug_assert!(!is_json(self.datatype));
        Ok(self.source.place.error(self.name, ErrorCode::Unimplemented, &text))
    }

    #[cold]
    fn wrong_level(&mut self, level: usize, rank: usize) -> Result<Error> {
        let value = self.source.document.value(self.source.depth)?;
        let value = shown(value);
        Ok(self.flaw(&format!(
            "JSON Value: {value} found at incorrect level: {level} in the JSON DOM. Expected at level: {rank}"
        )))
    }

    #[cold]
    fn flaw(&self, text: &str) -> Error {
        self.source.place.error(self.name, ErrorCode::BadRequest, text)
    }

    #[cold]
    fn too_big(&self, text: &str) -> Error {
        let offset = self.source.document.index() - text.len();
        parse_error("Number too big to be stored in double.", offset)
    }
}
