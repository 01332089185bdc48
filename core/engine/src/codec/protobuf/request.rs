//! Requests: the fields of a message, as slices of it.

use super::parameters::{self, classes, parameter, read_place};
use super::refusals::{no_data, no_shared_classes};
use crate::codec::place::Placing;
use crate::codec::wire::{Reader, Value};
use crate::codec::{InferRequest, InputTensor, MAX_TENSORS, Payload, RequestedOutput, names};
use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::tensor::{MAX_RANK, Shape, shown};
use bytes::Bytes;

/// Encoders write an input's contents once; more parts are legal, but a
/// thousand of them only come from an attacker.
const MAX_PARTS: usize = 16;
/// Fields between two looks at whether the work is still wanted.
const LOOK: usize = 4096;

/// Decodes a `ModelInferRequest`.
///
/// # Errors
/// `BadRequest` for a malformed message (fault 47), raw and typed contents
/// together, a wrong number of raw entries (fault 52), or a parameter of the
/// wrong type; `Unimplemented` for sequences; and those of `stop`.
pub fn decode_infer(stop: &Stop, message: Bytes) -> Result<InferRequest> {
    let mut request = InferRequest::default();
    let mut raw: Vec<Bytes> = Vec::new();
    let mut reader = Reader::new(&message);
    let mut fields = 0usize;
    while let Some((number, value)) = reader.field()? {
        fields += 1;
        if fields.is_multiple_of(LOOK) {
            stop.check()?;
        }
        match number {
            1 => request.model = names::model(value.text()?)?.into(),
            2 => request.version = names::name("the model's version", value.text()?)?.to_owned(),
            3 => request.id = Some(names::id(value.text()?)?).filter(|id| !id.is_empty()),
            4 => parameters::read(&mut request, value)?,
            5 => push(&mut request.inputs, "inputs", input(&message, value.len()?)?)?,
            6 => push(&mut request.outputs, "outputs", output(value.len()?)?)?,
            7 => push(&mut raw, "raw_input_contents", message.slice_ref(value.len()?))?,
            _ => {}
        }
    }
    if !raw.is_empty() {
        give_raw(&mut request, raw)?;
    }
    Ok(request)
}

fn push<T>(list: &mut Vec<T>, what: &str, item: T) -> Result<()> {
    if list.len() >= MAX_TENSORS {
        return Err(Error::bad(format!("the request has more than {MAX_TENSORS} {what}")));
    }
    list.push(item);
    Ok(())
}

/// Raw entries belong to the inputs in order, one for each that is not in shared memory.
fn give_raw(request: &mut InferRequest, raw: Vec<Bytes>) -> Result<()> {
    let model = shown(&request.model);
    let came = raw.len();
    let mut entries = raw.into_iter();
    for input in &mut request.inputs {
        if matches!(input.payload, Payload::Shared(_)) {
            continue;
        }
        if matches!(input.payload, Payload::Typed(_)) {
            return Err(Error::bad(format!(
                "contents field must not be specified when using raw_input_contents for '{}' for model '{model}'",
                shown(&input.name)
            )));
        }
        let entry = entries.next().ok_or_else(|| no_data(&input.name, &request.model))?;
        input.payload = Payload::Raw(entry);
    }
    match entries.len() {
        0 => Ok(()),
        surplus => Err(Error::bad(format!(
            "unexpected additional raw_input_contents for model '{model}': expected {} entries, got {came}",
            came - surplus
        ))),
    }
}

fn input(message: &Bytes, encoded: &[u8]) -> Result<InputTensor> {
    let (mut name, mut datatype) = ("", "");
    let mut shape = Shape::new();
    let mut parts: Vec<Bytes> = Vec::new();
    let mut placing = Placing::default();
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = names::name("an input's name", value.text()?)?,
            2 => datatype = names::name("an input's datatype", value.text()?)?,
            3 => dims(&mut shape, value, name)?,
            4 => {
                let (key, parameter) = parameter(value.len()?)?;
                read_place(&mut placing, key, parameter)?;
            }
            5 if parts.len() < MAX_PARTS => parts.push(message.slice_ref(value.len()?)),
            5 => return Err(Error::bad(format!("input '{}' has too many contents fields", shown(name)))),
            _ => {}
        }
    }
    let payload = match placing.place(name)? {
        None if parts.is_empty() => Payload::Missing,
        None => Payload::Typed(parts),
        Some(place) if parts.is_empty() => Payload::Shared(place),
        Some(_) => {
            return Err(Error::bad(format!(
                "contents field must not be specified when using shared memory for input '{}'",
                shown(name)
            )));
        }
    };
    Ok(InputTensor { name: name.to_owned(), datatype: datatype.to_owned(), shape, payload })
}

/// Packed or one at a time; a shape longer than any tensor's is refused before
/// it is stored (fault 51).
fn dims(shape: &mut Shape, value: Value<'_>, name: &str) -> Result<()> {
    match value {
        Value::Varint(dim) => dim_push(shape, dim, name),
        _ => {
            let mut reader = Reader::new(value.len()?);
            while !reader.is_empty() {
                dim_push(shape, reader.varint()?, name)?;
            }
            Ok(())
        }
    }
}

fn dim_push(shape: &mut Shape, dim: u64, name: &str) -> Result<()> {
    if shape.len() >= MAX_RANK {
        return Err(Error::bad(format!("input '{}' has more than {MAX_RANK} dimensions", shown(name))));
    }
    shape.push(dim as i64);
    Ok(())
}

fn output(encoded: &[u8]) -> Result<RequestedOutput> {
    let mut name = "";
    let mut wanted = 0;
    let mut placing = Placing::default();
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = names::name("an output's name", value.text()?)?,
            2 => {
                let (key, value) = parameter(value.len()?)?;
                if key == "classification" {
                    wanted = classes(value)?;
                } else {
                    read_place(&mut placing, key, value)?;
                }
            }
            _ => {}
        }
    }
    if wanted > 0 && placing.region.is_some() {
        return Err(no_shared_classes(name));
    }
    let place = placing.place(name)?;
    Ok(RequestedOutput { name: name.to_owned(), binary: None, classes: wanted, place })
}

/// Decodes a message of a model name in field 1 and a version in field 2:
/// `ModelReadyRequest`, `ModelMetadataRequest` and the like.
///
/// # Errors
/// `BadRequest` for a malformed message.
pub fn decode_model_ref(message: Bytes) -> Result<(String, String)> {
    let (mut name, mut version) = ("", "");
    let mut reader = Reader::new(&message);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = names::model(value.text()?)?,
            2 => version = names::name("the model's version", value.text()?)?,
            _ => {}
        }
    }
    Ok((name.to_owned(), version.to_owned()))
}
