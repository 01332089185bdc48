//! Answers: their exact length first, then their bytes, once.

use super::MAX_MESSAGE;
use super::write::{len_field, put_frame, put_tag, put_text, put_varint, text_len, varint_len};
use crate::admission::Reservation;
use crate::codec::buffer::{AnswerBuf, too_large};
use crate::codec::{AnswerHead, OutputTensor};
use crate::error::Result;
use bytes::{BufMut, Bytes};

/// `parameters { key: "triton_final_response" value { bool_param: … } }`,
/// without the bool's value, which follows.
const FINAL_RESPONSE: [u8; 28] = *b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08";
const FINAL_RESPONSE_LEN: usize = FINAL_RESPONSE.len() + 1;
/// What goes before a gRPC message.
const FRAME: usize = 5;

/// Bytes of the unframed `ModelInferResponse`.
fn infer_len(head: &AnswerHead, outputs: &[OutputTensor]) -> usize {
    head_len(head) + outputs.iter().map(output_len).sum::<usize>()
}

/// A buffer for a message of `len` bytes and its frame, in the budget of `of`.
fn buffer(of: &Reservation, len: usize) -> Result<AnswerBuf<'_>> {
    let limit = of.max_message().min(MAX_MESSAGE);
    if len > limit {
        return Err(too_large(len, limit));
    }
    AnswerBuf::new(of, FRAME + len, usize::MAX)
}

/// Encodes a `ModelInferResponse` with raw contents, `framed` with the five
/// bytes that go before a gRPC message. Counted in the budget of `of`.
///
/// # Errors
/// `TooLarge` and `Full`, before anything is written.
pub fn encode_infer(
    head: &AnswerHead,
    outputs: &[OutputTensor],
    framed: bool,
    of: &Reservation,
) -> Result<Bytes> {
    let len = infer_len(head, outputs);
    let mut buffer = buffer(of, len)?;
    let out = buffer.room(0)?;
    if framed {
        put_frame(out, len);
    }
    put_infer(out, head, None, outputs);
    buffer.finish()
}

/// Encodes a framed `ModelStreamInferResponse` that holds an answer.
///
/// # Errors
/// As [`encode_infer`].
pub fn encode_stream_infer(
    head: &AnswerHead,
    outputs: &[OutputTensor],
    final_response: bool,
    of: &Reservation,
) -> Result<Bytes> {
    let len = infer_len(head, outputs) + FINAL_RESPONSE_LEN;
    let mut buffer = buffer(of, len_field(2, len))?;
    let out = buffer.room(0)?;
    put_frame(out, len_field(2, len));
    put_tag(out, 2);
    put_varint(out, len as u64);
    put_infer(out, head, Some(final_response), outputs);
    buffer.finish()
}

/// Encodes a framed `ModelStreamInferResponse` that holds an error; `model` and
/// `version` are empty when the request was never accepted.
pub fn encode_stream_error(message: &str, id: Option<&str>, model: &str, version: &str) -> Bytes {
    let head = AnswerHead { model, version, id };
    let len = head_len(&head);
    // Names and ids are bounded, and so are texts of errors.
    let mut out = Vec::new();
    put_frame(&mut out, text_len(1, message) + len_field(2, len));
    put_text(&mut out, 1, message);
    put_tag(&mut out, 2);
    put_varint(&mut out, len as u64);
    put_head(&mut out, &head);
    out.into()
}

/// Any other answer, encoded already, in its frame.
///
/// # Errors
/// As [`encode_infer`].
pub fn framed(message: &[u8], of: &Reservation) -> Result<Bytes> {
    let mut buffer = buffer(of, message.len())?;
    let out = buffer.room(0)?;
    put_frame(out, message.len());
    out.extend_from_slice(message);
    buffer.finish()
}

/// Encodes a framed answer of one bool in field 1: `ServerLiveResponse`,
/// `ServerReadyResponse`, `ModelReadyResponse`.
pub fn encode_bool_response(value: bool) -> Bytes {
    // False is the field's default and is not written.
    if value { Bytes::from_static(&[0, 0, 0, 0, 2, 0x08, 1]) } else { Bytes::from_static(&[0, 0, 0, 0, 0]) }
}

fn put_infer(out: &mut Vec<u8>, head: &AnswerHead, final_response: Option<bool>, outputs: &[OutputTensor]) {
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

fn put_head(out: &mut Vec<u8>, head: &AnswerHead) {
    put_text(out, 1, head.model);
    put_text(out, 2, head.version);
    put_text(out, 3, head.id.unwrap_or_default());
}

fn put_meta(out: &mut Vec<u8>, output: &OutputTensor) {
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
