//! `ModelInfer` and its small neighbours: protobuf bytes <-> requests and answers.
//!
//! Decoding keeps tensor data as slices of the message; typed contents stay
//! undecoded until the model is known. Encoding computes the exact size first
//! and copies each output once, into the frame that goes to the socket.

use super::wire::{Reader, Value};
use super::{AnswerHead, InferRequest, InputTensor, MAX_TENSORS, OutputTensor, Payload, RequestedOutput};
use crate::error::{Error, Result, Word};
use crate::tensor::{MAX_RANK, Shape, shown};
use bytes::{BufMut, Bytes, BytesMut};

/// The largest message a gRPC client can take.
pub const MAX_MESSAGE: usize = i32::MAX as usize;

/// Encoders write an input's contents once; more parts are legal, but a
/// thousand of them only come from an attacker.
const MAX_PARTS: usize = 16;

/// How the parameters of tensors in shared memory begin.
const SHARED_MEMORY: &str = "shared_memory_";

// ----- requests -------------------------------------------------------------

/// Decodes a `ModelInferRequest`.
///
/// # Errors
/// `BadRequest` for a malformed message (fault 47), raw and typed contents
/// together, a wrong number of raw entries (fault 52), or a parameter of the
/// wrong type; `Unimplemented` for classification, sequences and shared memory.
pub fn decode_infer(message: Bytes) -> Result<InferRequest> {
    let mut request = InferRequest::default();
    let mut raw: Vec<Bytes> = Vec::new();
    let mut reader = Reader::new(&message);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => request.model = value.text()?.to_owned(),
            2 => request.version = value.text()?.to_owned(),
            3 => request.id = Some(value.text()?.to_owned()).filter(|id| !id.is_empty()),
            4 => request_parameter(&mut request, value)?,
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

/// Raw entries belong to the inputs in order, one each.
fn give_raw(request: &mut InferRequest, raw: Vec<Bytes>) -> Result<()> {
    let model = shown(&request.model);
    let mut entries = raw.into_iter();
    for input in &mut request.inputs {
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
            "unexpected additional raw_input_contents for model '{model}': expected {} entries, got {}",
            request.inputs.len(),
            request.inputs.len() + surplus
        ))),
    }
}

/// The error for an input without data.
pub(super) fn no_data(tensor: &str, model: &str) -> Error {
    Error::bad(format!(
        "unable to find data for input tensor '{}' for model '{}' in request.",
        shown(tensor),
        shown(model)
    ))
}

fn input(message: &Bytes, encoded: &[u8]) -> Result<InputTensor> {
    let (mut name, mut datatype) = ("", "");
    let mut shape = Shape::new();
    let mut parts: Vec<Bytes> = Vec::new();
    let mut shared_memory = false;
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = value.text()?,
            2 => datatype = value.text()?,
            3 => dims(&mut shape, value)?,
            4 => shared_memory |= parameter(value.len()?)?.0.starts_with(SHARED_MEMORY),
            5 if parts.len() < MAX_PARTS => parts.push(message.slice_ref(value.len()?)),
            5 => return Err(Error::bad(format!("input '{}' has too many contents fields", shown(name)))),
            _ => {}
        }
    }
    if shared_memory {
        return Err(no_shared_memory("input", name));
    }
    let payload = if parts.is_empty() { Payload::Missing } else { Payload::Typed(parts) };
    Ok(InputTensor { name: name.to_owned(), datatype: datatype.to_owned(), shape, payload })
}

/// Packed or one at a time; a shape longer than any tensor's is refused before
/// it is stored (fault 51).
fn dims(shape: &mut Shape, value: Value<'_>) -> Result<()> {
    match value {
        Value::Varint(dim) => dim_push(shape, dim),
        _ => {
            let mut reader = Reader::new(value.len()?);
            while !reader.is_empty() {
                dim_push(shape, reader.varint()?)?;
            }
            Ok(())
        }
    }
}

fn dim_push(shape: &mut Shape, dim: u64) -> Result<()> {
    if shape.len() >= MAX_RANK {
        return Err(Error::bad(format!("an input has more than {MAX_RANK} dimensions")));
    }
    shape.push(dim as i64);
    Ok(())
}

fn output(encoded: &[u8]) -> Result<RequestedOutput> {
    let mut name = "";
    let (mut classification, mut shared_memory) = (false, false);
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = value.text()?,
            2 => {
                let (key, _) = parameter(value.len()?)?;
                classification |= key == "classification";
                shared_memory |= key.starts_with(SHARED_MEMORY);
            }
            _ => {}
        }
    }
    if classification {
        return Err(no_classification(name));
    }
    if shared_memory {
        return Err(no_shared_memory("output", name));
    }
    Ok(RequestedOutput { name: name.to_owned(), binary: None })
}

pub(super) fn no_classification(output: &str) -> Error {
    Error::new(
        Word::Unimplemented,
        format!("parameter 'classification' of output '{}' is not supported", shown(output)),
    )
}

pub(super) fn no_shared_memory(kind: &str, name: &str) -> Error {
    Error::new(
        Word::Unimplemented,
        format!("shared memory is not supported, {kind} '{}' asks for it", shown(name)),
    )
}

pub(super) fn no_sequences(key: &str) -> Error {
    Error::new(
        Word::Unimplemented,
        format!("parameter '{}' is not supported: sequences are not built", shown(key)),
    )
}

// ----- parameters -----------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
enum Parameter<'a> {
    Unset,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Double,
    Uint(u64),
}

impl Parameter<'_> {
    /// 0, "" and false say the same as no parameter at all.
    fn is_empty(self) -> bool {
        matches!(
            self,
            Parameter::Unset
                | Parameter::Bool(false)
                | Parameter::Int(0)
                | Parameter::Uint(0)
                | Parameter::Text("")
        )
    }
}

/// One entry of a `map<string, InferParameter>`.
fn parameter(entry: &[u8]) -> Result<(&str, Parameter<'_>)> {
    let mut key = "";
    let mut parameter = Parameter::Unset;
    let mut reader = Reader::new(entry);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => key = value.text()?,
            2 => parameter = choice(value.len()?, parameter)?,
            _ => {}
        }
    }
    Ok((key, parameter))
}

fn choice<'a>(encoded: &'a [u8], mut parameter: Parameter<'a>) -> Result<Parameter<'a>> {
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        parameter = match number {
            1 => Parameter::Bool(value.varint()? != 0),
            2 => Parameter::Int(value.varint()? as i64),
            3 => Parameter::Text(value.text()?),
            4 => Parameter::Double,
            5 => Parameter::Uint(value.varint()?),
            _ => parameter,
        };
    }
    Ok(parameter)
}

fn request_parameter(request: &mut InferRequest, value: Value<'_>) -> Result<()> {
    let (key, parameter) = parameter(value.len()?)?;
    match (key, parameter) {
        ("timeout", Parameter::Int(timeout)) => request.timeout_us = not_negative(key, timeout)?,
        ("timeout", _) => return Err(wrong_type(key, "int64_param")),
        ("priority", Parameter::Uint(priority)) => request.priority = priority,
        ("priority", Parameter::Int(priority)) => request.priority = not_negative(key, priority)?,
        ("priority", _) => return Err(wrong_type(key, "uint64_param or int64_param")),
        ("sequence_id" | "sequence_start" | "sequence_end", set) if !set.is_empty() => {
            return Err(no_sequences(key));
        }
        ("triton_enable_empty_final_response", _) => {}
        _ if key.starts_with("triton_") => return Err(reserved(key)),
        _ => {}
    }
    Ok(())
}

fn not_negative(key: &str, value: i64) -> Result<u64> {
    u64::try_from(value)
        .map_err(|_| Error::bad(format!("parameter '{key}' must not be negative, got {value}")))
}

fn wrong_type(key: &str, expected: &str) -> Error {
    Error::bad(format!("invalid value type for '{key}' parameter, expected {expected}."))
}

pub(super) fn reserved(key: &str) -> Error {
    Error::bad(format!("parameter keys starting with 'triton_' are reserved, got '{}'", shown(key)))
}

// ----- answers --------------------------------------------------------------

/// Bytes of the unframed `ModelInferResponse`; a door refuses what is over
/// [`MAX_MESSAGE`] before it encodes.
pub fn infer_len(head: &AnswerHead, outputs: &[OutputTensor]) -> usize {
    head_len(head) + outputs.iter().map(output_len).sum::<usize>()
}

/// Encodes a `ModelInferResponse` with raw contents, `framed` with the five
/// bytes that go before a gRPC message.
pub fn encode_infer(head: &AnswerHead, outputs: &[OutputTensor], framed: bool) -> Bytes {
    let len = infer_len(head, outputs);
    let mut out = if framed { frame(len) } else { BytesMut::with_capacity(len) };
    put_infer(&mut out, head, None, outputs);
    out.freeze()
}

/// Encodes a framed `ModelStreamInferResponse` that holds an answer.
pub fn encode_stream_infer(head: &AnswerHead, outputs: &[OutputTensor], final_response: bool) -> Bytes {
    let len = infer_len(head, outputs) + FINAL_RESPONSE_LEN;
    let mut out = frame(len_field(2, len));
    put_tag(&mut out, 2);
    put_varint(&mut out, len as u64);
    put_infer(&mut out, head, Some(final_response), outputs);
    out.freeze()
}

/// Encodes a framed `ModelStreamInferResponse` that holds an error; `model` and
/// `version` are empty when the request was never accepted.
pub fn encode_stream_error(message: &str, id: Option<&str>, model: &str, version: &str) -> Bytes {
    let head = AnswerHead { model, version, id };
    let len = head_len(&head);
    let mut out = frame(text_len(1, message) + len_field(2, len));
    put_text(&mut out, 1, message);
    put_tag(&mut out, 2);
    put_varint(&mut out, len as u64);
    put_head(&mut out, &head);
    out.freeze()
}

/// Encodes a framed answer of one bool in field 1: `ServerLiveResponse`,
/// `ServerReadyResponse`, `ModelReadyResponse`.
pub fn encode_bool_response(value: bool) -> Bytes {
    // False is the field's default and is not written.
    if value { Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 1]) } else { Bytes::from_static(&[0, 0, 0, 0, 0]) }
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
            1 => name = value.text()?,
            2 => version = value.text()?,
            _ => {}
        }
    }
    Ok((name.to_owned(), version.to_owned()))
}

// ----- writing the wire format ----------------------------------------------

const LEN: u32 = 2;

/// `parameters { key: "triton_final_response" value { bool_param: … } }`,
/// without the bool's value, which follows.
const FINAL_RESPONSE: [u8; 28] = *b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08";
const FINAL_RESPONSE_LEN: usize = FINAL_RESPONSE.len() + 1;

/// A buffer of the exact size, with the gRPC frame head written: not
/// compressed, then the length.
fn frame(len: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(5 + len);
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    out
}

fn put_infer(out: &mut BytesMut, head: &AnswerHead, final_response: Option<bool>, outputs: &[OutputTensor]) {
    put_head(out, head);
    if let Some(last) = final_response {
        out.put_slice(&FINAL_RESPONSE);
        out.put_u8(u8::from(last));
    }
    for output in outputs {
        put_tag(out, 5);
        put_varint(out, meta_len(output) as u64);
        put_meta(out, output);
    }
    for output in outputs {
        // Also for an empty tensor: entries belong to outputs by position.
        put_tag(out, 6);
        put_varint(out, output.data.len() as u64);
        out.put_slice(output.data);
    }
}

fn put_head(out: &mut BytesMut, head: &AnswerHead) {
    put_text(out, 1, head.model);
    put_text(out, 2, head.version);
    put_text(out, 3, head.id.unwrap_or_default());
}

fn put_meta(out: &mut BytesMut, output: &OutputTensor) {
    put_text(out, 1, output.name);
    put_text(out, 2, output.datatype.name());
    if !output.shape.is_empty() {
        put_tag(out, 3);
        put_varint(out, dims_len(output) as u64);
        for &dim in &output.shape {
            put_varint(out, dim as u64);
        }
    }
}

fn head_len(head: &AnswerHead) -> usize {
    text_len(1, head.model) + text_len(2, head.version) + text_len(3, head.id.unwrap_or_default())
}

fn output_len(output: &OutputTensor) -> usize {
    len_field(5, meta_len(output)) + len_field(6, output.data.len())
}

fn meta_len(output: &OutputTensor) -> usize {
    let dims = if output.shape.is_empty() { 0 } else { len_field(3, dims_len(output)) };
    text_len(1, output.name) + text_len(2, output.datatype.name()) + dims
}

fn dims_len(output: &OutputTensor) -> usize {
    output.shape.iter().map(|&dim| varint_len(dim as u64)).sum()
}

fn put_text(out: &mut BytesMut, number: u32, text: &str) {
    if !text.is_empty() {
        put_tag(out, number);
        put_varint(out, text.len() as u64);
        out.put_slice(text.as_bytes());
    }
}

fn text_len(number: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { len_field(number, text.len()) }
}

fn len_field(number: u32, len: usize) -> usize {
    varint_len(u64::from(number << 3)) + varint_len(len as u64) + len
}

/// Everything an answer holds, but the one bool, is length-delimited.
fn put_tag(out: &mut BytesMut, number: u32) {
    put_varint(out, u64::from(number << 3 | LEN));
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
