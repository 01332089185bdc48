//! `tensorflow.Example`: the features of one, as slices of its message.

use super::request::Fields;
use crate::codec::bytes_tensor::room;
use crate::codec::names;
use crate::codec::wire::{CUT, Malformed, Reader, Value};
use crate::error::{Error, Result};
use crate::tensor::shown;

/// Which of the lists a feature has, by their field's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes = 1,
    Float = 2,
    Int64 = 3,
}

impl Kind {
    fn of(field: u32) -> Option<Kind> {
        [Kind::Bytes, Kind::Float, Kind::Int64].into_iter().find(|kind| *kind as u32 == field)
    }

    /// As their errors call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bytes => "string",
            Kind::Float => "float",
            Kind::Int64 => "int64",
        }
    }
}

/// A feature's list, undecoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature<'a> {
    pub(super) kind: Kind,
    pub(super) list: &'a [u8],
}

/// Calls `each` with the features of an example that have a list. One that stands twice comes twice: the
/// last counts.
pub(super) fn features<'a>(
    example: &'a [u8],
    fields: &mut Fields<'_>,
    each: &mut dyn FnMut(&mut Fields<'_>, &'a str, Feature<'a>) -> Result<()>,
) -> Result<()> {
    let mut reader = Reader::new(example);
    while let Some((number, value)) = fields.next(&mut reader)? {
        if number != 1 {
            continue;
        }
        let mut entries = Reader::new(value.len()?);
        while let Some((number, value)) = fields.next(&mut entries)? {
            if number == 1
                && let (name, Some(feature)) = entry(value.len()?, fields)?
            {
                each(fields, name, feature)?;
            }
        }
    }
    Ok(())
}

/// An entry of the map of features.
fn entry<'a>(encoded: &'a [u8], fields: &mut Fields<'_>) -> Result<(&'a str, Option<Feature<'a>>)> {
    let (mut name, mut found) = ("", None);
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 => name = names::name("a feature's name", value.text()?)?,
            2 if found.is_none() => found = Some(value.len()?),
            2 => return Err(Error::bad("an entry of an example's features has more than one feature")),
            _ => {}
        }
    }
    let mut feature = None;
    let mut reader = Reader::new(found.unwrap_or_default());
    while let Some((number, value)) = fields.next(&mut reader)? {
        let Some(kind) = Kind::of(number) else { continue };
        if feature.is_some() {
            return Err(Error::bad(format!("feature '{}' has more than one list", shown(name))));
        }
        feature = Some(Feature { kind, list: value.len()? });
    }
    Ok((name, feature))
}

/// One value of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Element<'a> {
    Bytes(&'a [u8]),
    Float(f32),
    Int64(i64),
}

impl<'a> Feature<'a> {
    /// Calls `each` with every value, packed and unpacked alike.
    #[inline]
    pub(super) fn values(
        self,
        fields: &mut Fields<'_>,
        mut each: impl FnMut(Element<'a>) -> Result<()>,
    ) -> Result<()> {
        let mut reader = Reader::new(self.list);
        while let Some((number, value)) = fields.next(&mut reader)? {
            if number != 1 {
                continue;
            }
            match (self.kind, value) {
                (Kind::Bytes, Value::Len(text)) => each(Element::Bytes(text))?,
                (Kind::Float, Value::Fixed32(bytes)) => each(Element::Float(f32::from_le_bytes(bytes)))?,
                (Kind::Float, Value::Len(packed)) => {
                    let (values, rest) = packed.as_chunks::<4>();
                    if !rest.is_empty() {
                        return Err(Malformed("a packed field is cut inside an element").into());
                    }
                    for (done, bytes) in values.iter().enumerate() {
                        fields.look(done)?;
                        each(Element::Float(f32::from_le_bytes(*bytes)))?;
                    }
                }
                (Kind::Int64, Value::Varint(value)) => each(Element::Int64(value as i64))?,
                (Kind::Int64, Value::Len(packed)) => {
                    let (mut reader, mut done) = (Reader::new(packed), 0usize);
                    while !reader.is_empty() {
                        done += 1;
                        fields.look(done)?;
                        each(Element::Int64(reader.varint()? as i64))?;
                    }
                }
                _ => return Err(Malformed("a field has the wrong wire type").into()),
            }
        }
        Ok(())
    }

    /// The most bytes that its values take in a tensor.
    pub(super) fn most_bytes(self, fields: &mut Fields<'_>) -> Result<usize> {
        const WIDEST: usize = 8;
        let mut total = 0usize;
        let mut reader = Reader::new(self.list);
        while let Some((number, value)) = fields.next(&mut reader)? {
            if number != 1 {
                continue;
            }
            total += match (self.kind, value) {
                (Kind::Bytes, Value::Len(text)) => room(text),
                (Kind::Float, Value::Len(packed)) => packed.len() / 4 * WIDEST,
                // Each varint ends with a byte below 128.
                (Kind::Int64, Value::Len(packed)) => {
                    if packed.last().is_some_and(|last| *last >= 0x80) {
                        return Err(CUT.into());
                    }
                    packed.iter().filter(|byte| **byte < 0x80).count() * WIDEST
                }
                _ => WIDEST,
            };
        }
        Ok(total)
    }
}
