//! `PredictRequest`: the fields of a message, as slices of it.

use super::{SIGNATURE, types};
use crate::codec::bytes_tensor::room;
use crate::codec::wire::{Reader, Value};
use crate::codec::{InferRequest, InputTensor, MAX_TENSORS, Payload, RequestedOutput, names};
use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::tensor::{Datatype, MAX_RANK, Shape, elements, shown};
use bytes::Bytes;

/// Fields between two looks at whether the work is still wanted.
const LOOK: usize = 4096;

/// Decodes a `PredictRequest`.
///
/// # Errors
/// `BadRequest` for a malformed message (fault 47), one without a model's name, a version's label
/// that could be a number, and a tensor whose type or shape none can have; and those of `stop`.
pub fn decode_predict(stop: &Stop, message: Bytes) -> Result<InferRequest> {
    let mut request = InferRequest::default();
    let mut spec = None;
    let mut fields = Fields::new(stop);
    let mut reader = Reader::new(&message);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 => spec.get_or_insert_with(ModelSpec::default).merge(value.len()?, &mut fields)?,
            2 => push(&mut request.inputs, "inputs", input(&message, value.len()?, &mut fields)?)?,
            3 => push(&mut request.outputs, "entries in output_filter", output(value)?)?,
            _ => {}
        }
    }
    spec.ok_or_else(|| Error::bad("Missing ModelSpec"))?.put(&mut request)?;
    Ok(request)
}

/// The fields of a message and its parts, counted: a few bytes may hold thousands.
pub(super) struct Fields<'s> {
    stop: &'s Stop,
    count: usize,
}

impl<'s> Fields<'s> {
    pub(super) fn new(stop: &'s Stop) -> Self {
        Fields { stop, count: 0 }
    }

    #[inline]
    pub(super) fn next<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Option<(u32, Value<'a>)>> {
        self.count += 1;
        if self.count.is_multiple_of(LOOK) {
            self.stop.check()?;
        }
        Ok(reader.field()?)
    }

    /// For what a field holds many of: `done` of them.
    #[inline]
    pub(super) fn look(&self, done: usize) -> Result<()> {
        if done.is_multiple_of(LOOK) { self.stop.check() } else { Ok(()) }
    }
}

fn push<T>(list: &mut Vec<T>, what: &str, item: T) -> Result<()> {
    if list.len() >= MAX_TENSORS {
        return Err(Error::bad(format!("the request has more than {MAX_TENSORS} {what}")));
    }
    list.push(item);
    Ok(())
}

#[derive(Default)]
pub(super) struct ModelSpec<'a> {
    pub(super) name: &'a str,
    version: Version<'a>,
    pub(super) signature: &'a str,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Version<'a> {
    #[default]
    Any,
    Number(i64),
    Label(&'a str),
}

impl<'a> ModelSpec<'a> {
    pub(super) fn merge(&mut self, encoded: &'a [u8], fields: &mut Fields<'_>) -> Result<()> {
        let mut reader = Reader::new(encoded);
        while let Some((number, value)) = fields.next(&mut reader)? {
            match number {
                1 => self.name = names::model(value.text()?)?,
                2 => self.version = Version::Number(self.version.number(value.len()?, fields)?),
                3 => self.signature = names::name("the signature's name", value.text()?)?,
                4 => self.version = Version::Label(names::name("the version's label", value.text()?)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn put(self, request: &mut InferRequest) -> Result<()> {
        self.put_version(request)?;
        request.signature =
            Some(self.signature).filter(|name| !["", SIGNATURE].contains(name)).map(Into::into);
        Ok(())
    }

    /// All but the signature.
    pub(super) fn put_version(&self, request: &mut InferRequest) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::bad("ModelSpec has no name specified."));
        }
        request.model = self.name.into();
        request.version = self.version.text()?;
        Ok(())
    }

    /// Whether both ask for the same version of the same model.
    pub(super) fn is_of_version(&self, other: &ModelSpec<'_>) -> bool {
        self.name == other.name && self.version == other.version
    }
}

impl Version<'_> {
    /// Of an `Int64Value`, merged with the one before.
    fn number(self, encoded: &[u8], fields: &mut Fields<'_>) -> Result<i64> {
        let mut number = if let Version::Number(before) = self { before } else { 0 };
        let mut reader = Reader::new(encoded);
        while let Some((field, value)) = fields.next(&mut reader)? {
            if field == 1 {
                number = value.varint()? as i64;
            }
        }
        Ok(number)
    }

    /// As a route takes it: a number, an alias, or nothing.
    fn text(self) -> Result<String> {
        match self {
            Version::Any => Ok(String::new()),
            Version::Number(number) => Ok(number.to_string()),
            Version::Label(text) => label(text).map(str::to_owned),
        }
    }
}

/// A version's label as a route takes it: never one that could be a number.
///
/// # Errors
/// `BadRequest`.
pub fn label(text: &str) -> Result<&str> {
    names::name("the version's label", text)?;
    if text.is_empty() || text.parse::<i64>().is_ok() {
        return Err(super::refusals::no_label(text));
    }
    Ok(text)
}

fn output(value: Value<'_>) -> Result<RequestedOutput> {
    let name = names::name("an output's name", value.text()?)?.to_owned();
    Ok(RequestedOutput { name, ..Default::default() })
}

/// An entry of `inputs`.
fn input(message: &Bytes, entry: &[u8], fields: &mut Fields<'_>) -> Result<InputTensor> {
    let (mut name, mut tensor) = ("", None);
    let mut reader = Reader::new(entry);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 => name = names::name("an input's name", value.text()?)?,
            2 if tensor.is_none() => tensor = Some(value.len()?),
            2 => return Err(Error::bad("an entry of inputs has more than one tensor")),
            _ => {}
        }
    }
    let encoded = tensor.unwrap_or_default();
    let tensor = TensorProto::read(name, encoded, fields)?;
    let payload =
        tensor.payload(name, || message.slice_ref(encoded), |content| message.slice_ref(content))?;
    let TensorProto { datatype, shape, .. } = tensor;
    Ok(InputTensor { name: name.to_owned(), datatype: datatype.name().to_owned(), shape, payload })
}

struct TensorProto<'a> {
    datatype: Datatype,
    shape: Shape,
    content: &'a [u8],
    /// Of `string_val`: how many there are, what they take as a tensor of BYTES, and the last of them.
    texts: usize,
    texts_room: usize,
    last_room: usize,
}

impl<'a> TensorProto<'a> {
    fn read(name: &str, encoded: &'a [u8], fields: &mut Fields<'_>) -> Result<Self> {
        let mut found = TensorProto {
            datatype: Datatype::Bytes,
            shape: Shape::new(),
            content: &[],
            texts: 0,
            texts_room: 0,
            last_room: room(&[]),
        };
        let mut dtype = 0;
        let mut reader = Reader::new(encoded);
        while let Some((number, value)) = fields.next(&mut reader)? {
            match number {
                // An enum is an int32 on the wire.
                1 => dtype = value.varint()? as i32,
                2 => dims(&mut found.shape, value.len()?, name, fields)?,
                4 => found.content = value.len()?,
                8 => found.text(value.len()?),
                _ => {}
            }
        }
        found.datatype = types::datatype(dtype).ok_or_else(|| no_such_type(name, dtype))?;
        Ok(found)
    }

    fn text(&mut self, text: &[u8]) {
        self.texts += 1;
        self.last_room = room(text);
        self.texts_room += self.last_room;
    }

    fn payload(
        &self,
        name: &str,
        whole: impl FnOnce() -> Bytes,
        slice: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<Payload> {
        if self.content.is_empty() {
            return Ok(Payload::Values { message: whole(), size: self.filled(name) });
        }
        match self.datatype {
            Datatype::Bytes => Err(Error::bad(format!(
                "input '{}' is DT_STRING in tensor_content, expected string_val",
                shown(name)
            ))),
            _ => Ok(Payload::Raw(slice(self.content))),
        }
    }

    /// Bytes of the tensor once the last value has filled it up. A shape that is none is refused later,
    /// before any memory is taken.
    fn filled(&self, name: &str) -> usize {
        let count = elements(name, &self.shape).unwrap_or(0);
        match self.datatype.size() {
            Some(size) => count.saturating_mul(size),
            None => count
                .saturating_sub(self.texts)
                .saturating_mul(self.last_room)
                .saturating_add(self.texts_room),
        }
    }
}

fn no_such_type(name: &str, dtype: i32) -> Error {
    let kind = types::other_name(dtype);
    Error::bad(format!("input '{}' has the dtype {kind}, which no tensor here can have", shown(name)))
}

/// Of a `TensorShapeProto`. A shape longer than any tensor's is refused before it is stored (fault 51).
fn dims(shape: &mut Shape, encoded: &[u8], name: &str, fields: &mut Fields<'_>) -> Result<()> {
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            2 if shape.len() >= MAX_RANK => {
                return Err(Error::bad(format!(
                    "input '{}' has more than {MAX_RANK} dimensions",
                    shown(name)
                )));
            }
            2 => shape.push(size(value.len()?, fields)?),
            3 if value.varint()? != 0 => {
                return Err(Error::bad(format!("input '{}' has a shape of unknown rank", shown(name))));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Of a `Dim`.
fn size(encoded: &[u8], fields: &mut Fields<'_>) -> Result<i64> {
    let mut size = 0;
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = fields.next(&mut reader)? {
        if number == 1 {
            size = value.varint()? as i64;
        }
    }
    Ok(size)
}
