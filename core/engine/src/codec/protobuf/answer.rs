//! Answers: their exact length first, then their bytes, once.

use super::write::{len_field, put_tag, put_text, put_varint, text_len, varint_len};
use crate::admission::Reservation;
use crate::codec::answer::{Form, Reply};
use crate::codec::compression::Encoding;
use crate::codec::frame::{self, buffer, put_frame};
use crate::codec::{AnswerHead, OutputTensor};
use crate::error::Result;
use crate::stats::Why;
use bytes::{BufMut, Bytes};

/// `parameters { key: "triton_final_response" value { bool_param: … } }`,
/// without the bool's value, which follows.
const FINAL_RESPONSE: [u8; 28] = *b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08";
const FINAL_RESPONSE_LEN: usize = FINAL_RESPONSE.len() + 1;

/// The answer to `ModelInfer`.
#[derive(Debug)]
pub struct ModelInferResponse;

/// An answer on a stream, the last one to its request: a parameter says why its version gave it, for the
/// stream's head, which came before, can't.
#[derive(Debug)]
pub struct ModelStreamInferResponse {
    pub why: Option<Why>,
}

/// By `Why`.
static ON_A_STREAM: [ModelStreamInferResponse; Why::ALL.len()] = {
    let mut all = [const { ModelStreamInferResponse { why: None } }; Why::ALL.len()];
    let mut at = 0;
    while at < all.len() {
        all[at].why = Some(Why::ALL[at]);
        at += 1;
    }
    all
};

impl Form for ModelInferResponse {
    fn encode(
        &self,
        encoding: Encoding,
        head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        frame::answer(encoding, of, |framed| encode_infer(head, outputs, framed, of))
    }
}

impl Form for ModelStreamInferResponse {
    fn encode(
        &self,
        encoding: Encoding,
        head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        frame::answer(encoding, of, |framed| encode_stream_infer(head, outputs, (true, self.why), framed, of))
    }

    fn told(&self, why: Why) -> Option<&'static dyn Form> {
        let found = ON_A_STREAM.iter().find(|form| form.why == Some(why));
        found.map(|form| form as &dyn Form)
    }
}

/// Bytes of the unframed `ModelInferResponse`.
fn infer_len(head: &AnswerHead, outputs: &[OutputTensor]) -> usize {
    head_len(head) + outputs.iter().map(output_len).sum::<usize>()
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
    let mut buffer = buffer(infer_len(head, outputs), framed, of)?;
    put_infer(buffer.room(0)?, head, None, outputs);
    buffer.finish()
}

/// Encodes a `ModelStreamInferResponse` that holds an answer, `framed` as [`encode_infer`] does: whether it is
/// the last one to its request, and why its version gave it.
///
/// # Errors
/// As [`encode_infer`].
pub fn encode_stream_infer(
    head: &AnswerHead,
    outputs: &[OutputTensor],
    (last, why): (bool, Option<Why>),
    framed: bool,
    of: &Reservation,
) -> Result<Bytes> {
    let len = infer_len(head, outputs) + FINAL_RESPONSE_LEN + why_len(why);
    let mut buffer = buffer(len_field(2, len), framed, of)?;
    let out = buffer.room(0)?;
    put_tag(out, 2);
    put_varint(out, len as u64);
    put_infer(out, head, Some((last, why)), outputs);
    buffer.finish()
}

/// Encodes a `ModelStreamInferResponse` that holds an error, `framed` or not; the model and the
/// version of `head` are empty when the request was never accepted. `why`: it came to the version that
/// refused it, if it did.
pub fn encode_stream_error(message: &str, head: &AnswerHead, why: Option<Why>, framed: bool) -> Bytes {
    let len = head_len(head) + why_len(why);
    // Names and ids are bounded, and so are texts of errors.
    let mut out = Vec::new();
    if framed {
        put_frame(&mut out, text_len(1, message) + len_field(2, len));
    }
    put_text(&mut out, 1, message);
    put_tag(&mut out, 2);
    put_varint(&mut out, len as u64);
    put_head(&mut out, head);
    put_why(&mut out, why);
    out.into()
}

/// An answer of one bool in field 1: `ServerLiveResponse`, `ServerReadyResponse`,
/// `ModelReadyResponse`.
pub fn encode_bool(value: bool) -> Bytes {
    // False is the field's default and is not written.
    Bytes::from_static(if value { &[0x08, 1] } else { &[] })
}

/// `streamed`: on a stream, whether it is the last one to its request, and why its version gave it.
fn put_infer(
    out: &mut Vec<u8>,
    head: &AnswerHead,
    streamed: Option<(bool, Option<Why>)>,
    outputs: &[OutputTensor],
) {
    put_head(out, head);
    if let Some((last, why)) = streamed {
        out.put_slice(&FINAL_RESPONSE);
        out.put_u8(u8::from(last));
        put_why(out, why);
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

/// As a parameter, a text.
fn put_why(out: &mut Vec<u8>, why: Option<Why>) {
    let Some(why) = why else { return };
    put_tag(out, 4);
    put_varint(out, why_entry_len(why) as u64);
    put_text(out, 1, Why::KEY);
    put_tag(out, 2);
    put_varint(out, text_len(3, why.name()) as u64);
    put_text(out, 3, why.name());
}

fn why_entry_len(why: Why) -> usize {
    text_len(1, Why::KEY) + len_field(2, text_len(3, why.name()))
}

fn why_len(why: Option<Why>) -> usize {
    why.map_or(0, |why| len_field(4, why_entry_len(why)))
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
