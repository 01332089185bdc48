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
            3 => dims(&mut shape, value, name)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::oracle::{
        BoolResponse, InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelRef,
        ModelStreamInferResponse, ParameterChoice, RequestedOutput as Wanted, Tensor,
    };
    use crate::tensor::Datatype;
    use proptest::prelude::*;
    use prost::Message;

    fn decode(request: &ModelInferRequest) -> Result<InferRequest> {
        decode_infer(request.encode_to_vec().into())
    }

    fn refusal(request: &ModelInferRequest) -> Error {
        decode(request).unwrap_err()
    }

    fn named(name: &str) -> Tensor {
        Tensor { name: name.into(), datatype: "FP32".into(), shape: vec![1, 2], ..Default::default() }
    }

    fn with_inputs(inputs: Vec<Tensor>, raw: usize) -> ModelInferRequest {
        ModelInferRequest {
            model_name: "m".into(),
            inputs,
            raw_input_contents: vec![Bytes::from_static(&[0; 8]); raw],
            ..Default::default()
        }
    }

    fn with_parameter(key: &str, choice: ParameterChoice) -> ModelInferRequest {
        ModelInferRequest { parameters: [(key.into(), choice.into())].into(), ..Default::default() }
    }

    #[test]
    fn raw_data_is_a_slice_of_the_message() {
        let encoded = Bytes::from(with_inputs(vec![named("x")], 1).encode_to_vec());
        let request = decode_infer(encoded.clone()).unwrap();
        let Payload::Raw(data) = &request.inputs[0].payload else { panic!("not raw") };
        let message = encoded.as_ptr_range();
        assert!(message.contains(&data.as_ptr()));
        assert_eq!(data.len(), 8);
    }

    #[test]
    fn fault_52_contents_beside_raw_are_refused_in_tritons_words() {
        let mut typed = named("b");
        typed.contents = Some(InferTensorContents::default());
        assert_eq!(
            refusal(&with_inputs(vec![named("a"), typed], 2)).message,
            "contents field must not be specified when using raw_input_contents for 'b' for model 'm'"
        );
    }

    #[test]
    fn fault_52_too_few_and_surplus_raw_entries_are_refused() {
        assert_eq!(
            refusal(&with_inputs(vec![named("a"), named("b")], 1)).message,
            "unable to find data for input tensor 'b' for model 'm' in request."
        );
        assert!(refusal(&with_inputs(vec![named("a")], 3)).message.ends_with("expected 1 entries, got 3"));
    }

    #[test]
    fn an_input_without_any_data_is_left_to_the_model() {
        let request = decode(&with_inputs(vec![named("a")], 0)).unwrap();
        assert!(matches!(request.inputs[0].payload, Payload::Missing));
    }

    #[test]
    fn fault_51_ten_thousand_dims_are_refused_before_they_are_stored() {
        let mut input = named("a");
        input.shape = vec![1; 10_000];
        assert!(refusal(&with_inputs(vec![input], 0)).message.contains("more than 64 dimensions"));
    }

    #[test]
    fn a_flood_of_two_byte_inputs_is_refused() {
        let flood = [0x2a, 0].repeat(100_000);
        assert!(decode_infer(flood.into()).unwrap_err().message.contains("more than 4096 inputs"));
        let flood = [0x3a, 0].repeat(100_000);
        assert!(
            decode_infer(flood.into()).unwrap_err().message.contains("more than 4096 raw_input_contents")
        );
        let contents = [0x2a, 0].repeat(1000);
        let mut nested = vec![0x2a, 0xd0, 0x0f];
        nested.extend(contents);
        assert!(decode_infer(nested.into()).unwrap_err().message.contains("too many contents"));
    }

    #[test]
    fn fault_47_malformed_messages_are_bad_requests() {
        for bad in
            [&b"\xff\xff\xff"[..], b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x08\x01", b"\x2a\x03\x0a\x05a"]
        {
            assert_eq!(
                decode_infer(Bytes::copy_from_slice(bad)).unwrap_err().word,
                Word::BadRequest,
                "{bad:?}"
            );
        }
        assert!(decode_infer(vec![0x0b; 100_000].into()).is_err());
    }

    #[test]
    fn timeout_and_priority_are_read_with_their_types() {
        let request = decode(&with_parameter("timeout", ParameterChoice::Int64(7))).unwrap();
        assert_eq!(request.timeout_us, 7);
        assert_eq!(
            refusal(&with_parameter("timeout", ParameterChoice::Uint64(7))).message,
            "invalid value type for 'timeout' parameter, expected int64_param."
        );
        assert_eq!(decode(&with_parameter("priority", ParameterChoice::Uint64(3))).unwrap().priority, 3);
        assert_eq!(decode(&with_parameter("priority", ParameterChoice::Int64(3))).unwrap().priority, 3);
        for key in ["timeout", "priority"] {
            assert!(refusal(&with_parameter(key, ParameterChoice::Int64(-1))).message.contains("negative"));
            assert_eq!(
                refusal(&with_parameter(key, ParameterChoice::String("1".into()))).word,
                Word::BadRequest
            );
            assert_eq!(refusal(&with_parameter(key, ParameterChoice::Double(1.0))).word, Word::BadRequest);
        }
    }

    #[test]
    fn free_parameters_pass_and_reserved_ones_do_not() {
        for choice in [ParameterChoice::Bool(true), ParameterChoice::Uint64(1), ParameterChoice::Double(0.5)]
        {
            decode(&with_parameter("anything", choice)).unwrap();
        }
        decode(&with_parameter("triton_enable_empty_final_response", ParameterChoice::Bool(true))).unwrap();
        let error = refusal(&with_parameter("triton_x", ParameterChoice::Bool(true)));
        assert!(error.message.contains("parameter keys starting with 'triton_' are reserved"));
        assert_eq!(error.word, Word::BadRequest);
    }

    #[test]
    fn what_is_not_built_is_said_to_be() {
        let one = || InferParameter::from(ParameterChoice::Int64(1));
        for key in ["sequence_id", "sequence_start", "sequence_end"] {
            assert_eq!(refusal(&with_parameter(key, ParameterChoice::Int64(1))).word, Word::Unimplemented);
        }
        decode(&with_parameter("sequence_id", ParameterChoice::Int64(0))).unwrap();
        let mut input = named("a");
        input.parameters.insert("shared_memory_region".into(), one());
        assert_eq!(refusal(&with_inputs(vec![input], 0)).word, Word::Unimplemented);
        for key in ["classification", "shared_memory_region"] {
            let output = Wanted { name: "y".into(), parameters: [(key.to_owned(), one())].into() };
            let request = ModelInferRequest { outputs: vec![output], ..Default::default() };
            assert_eq!(refusal(&request).word, Word::Unimplemented);
        }
    }

    fn unframe(framed: &[u8]) -> &[u8] {
        let (head, message) = framed.split_at(5);
        assert_eq!(head[0], 0);
        assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
        message
    }

    #[test]
    fn small_answers_are_what_prost_writes() {
        for value in [false, true] {
            assert_eq!(BoolResponse::decode(unframe(&encode_bool_response(value))).unwrap().value, value);
        }
        let model = ModelRef { name: "m".into(), version: "3".into() };
        assert_eq!(decode_model_ref(model.encode_to_vec().into()).unwrap(), ("m".into(), "3".into()));
        assert_eq!(decode_model_ref(Bytes::new()).unwrap(), (String::new(), String::new()));
        assert!(decode_model_ref(Bytes::from_static(b"\x0a\x01\xff")).is_err());
    }

    #[test]
    fn a_stream_error_holds_the_message_and_the_id() {
        let framed = encode_stream_error("no such model", Some("7"), "m", "");
        let answer = ModelStreamInferResponse::decode(unframe(&framed)).unwrap();
        assert_eq!(answer.error_message, "no such model");
        let inner = answer.infer_response.unwrap();
        assert_eq!(
            (inner.id.as_str(), inner.model_name.as_str(), inner.model_version.as_str()),
            ("7", "m", "")
        );
        let bare = encode_stream_error("x", None, "", "");
        assert!(ModelStreamInferResponse::decode(unframe(&bare)).unwrap().infer_response.is_some());
    }

    fn tensors() -> impl Strategy<Value = Vec<(String, Vec<i64>, Vec<u8>)>> {
        prop::collection::vec((".{0,8}", prop::collection::vec(any::<i64>(), 0..5), any::<Vec<u8>>()), 0..4)
    }

    proptest! {
        #[test]
        fn answers_read_back_with_prost(tensors in tensors(), model in ".{0,20}", version in "[0-9]{0,3}", id: Option<String>, last: bool) {
            let outputs: Vec<OutputTensor> = tensors.iter().map(|(name, shape, data)| OutputTensor {
                name, datatype: Datatype::Fp32, shape: shape.as_slice().into(), data, binary: false,
            }).collect();
            let head = AnswerHead { model: &model, version: &version, id: id.as_deref() };
            let plain = encode_infer(&head, &outputs, false);
            prop_assert_eq!(plain.len(), infer_len(&head, &outputs));
            let framed = encode_infer(&head, &outputs, true);
            prop_assert_eq!(unframe(&framed), &plain[..]);
            let answer = ModelInferResponse::decode(plain).unwrap();
            prop_assert_eq!(&answer.model_name, &model);
            prop_assert_eq!(&answer.model_version, &version);
            prop_assert_eq!(&answer.id, id.as_deref().unwrap_or_default());
            prop_assert_eq!(answer.outputs.len(), tensors.len());
            prop_assert_eq!(answer.raw_output_contents.len(), tensors.len());
            for ((output, raw), (name, shape, data)) in answer.outputs.iter().zip(&answer.raw_output_contents).zip(&tensors) {
                prop_assert_eq!(&output.name, name);
                prop_assert_eq!(&output.shape, shape);
                prop_assert_eq!(output.datatype.as_str(), "FP32");
                prop_assert_eq!(raw, data);
            }
            let streamed = ModelStreamInferResponse::decode(unframe(&encode_stream_infer(&head, &outputs, last))).unwrap();
            let mut inner = streamed.infer_response.unwrap();
            let parameter = inner.parameters.remove("triton_final_response").unwrap();
            prop_assert_eq!(parameter.parameter_choice, Some(ParameterChoice::Bool(last)));
            prop_assert_eq!(inner, answer);
        }

        #[test]
        fn requests_of_prost_are_read(tensors in tensors(), id: String, outputs: Vec<String>, typed: bool) {
            let message = ModelInferRequest {
                model_name: "m".into(),
                model_version: "2".into(),
                id: id.clone(),
                inputs: tensors.iter().map(|(name, shape, _)| Tensor {
                    name: name.clone(), datatype: "INT8".into(), shape: shape.clone(),
                    contents: typed.then(InferTensorContents::default), ..Default::default()
                }).collect(),
                outputs: outputs.iter().map(|name| Wanted { name: name.clone(), ..Default::default() }).collect(),
                raw_input_contents: if typed { vec![] } else { tensors.iter().map(|(_, _, data)| data.clone().into()).collect() },
                ..Default::default()
            };
            let request = decode(&message).unwrap();
            prop_assert_eq!((request.model.as_str(), request.version.as_str()), ("m", "2"));
            prop_assert_eq!(request.id.unwrap_or_default(), id);
            prop_assert_eq!(request.outputs.into_iter().map(|o| o.name).collect::<Vec<_>>(), outputs);
            for (input, (name, shape, data)) in request.inputs.iter().zip(&tensors) {
                prop_assert_eq!(&input.name, name);
                prop_assert_eq!(input.shape.as_slice(), shape.as_slice());
                match &input.payload {
                    Payload::Raw(raw) => prop_assert_eq!(raw, data),
                    Payload::Typed(parts) => prop_assert!(typed && parts.len() == 1),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }

        #[test]
        fn fault_47_any_bytes_end(bytes: Vec<u8>) {
            let _ = decode_infer(bytes.clone().into());
            let _ = decode_model_ref(bytes.into());
        }

        #[test]
        fn fault_47_damaged_requests_end(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut typed = named("a");
            typed.contents = Some(InferTensorContents { fp32_contents: vec![1.0; 8], ..Default::default() });
            let mut message = with_parameter("timeout", ParameterChoice::Int64(5));
            message.inputs = vec![typed, named("b")];
            let mut encoded = message.encode_to_vec();
            encoded.truncate(encoded.len().saturating_sub(cut % 16));
            if let Some(target) = encoded.get_mut(at) {
                *target = byte;
            }
            let _ = decode_infer(encoded.into());
        }
    }
}
