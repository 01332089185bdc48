//! `PredictResponse`: its exact length first, then its bytes, once.

use super::{SIGNATURE, refusals, types};
use crate::admission::Reservation;
use crate::codec::answer::{Form, Reply};
use crate::codec::compression::Encoding;
use crate::codec::protobuf::write::{len_field, put_tag, put_text, put_varint, text_len, varint_len};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor, frame};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Signature};
use bytes::{BufMut, Bytes};

/// The answer to `Predict`: numbers in `tensor_content`, texts in `string_val`.
#[derive(Debug)]
pub struct PredictResponse;

impl Form for PredictResponse {
    fn encode(
        &self,
        encoding: Encoding,
        head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        frame::answer(encoding, of, |framed| encode_predict(head, outputs, framed, of))
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        refusals::reworded(error, request, signature)
    }
}

/// Field 1 of a message, as a varint.
const VARINT_1: u8 = 0x08;

fn encode_predict(
    head: &AnswerHead<'_>,
    outputs: &[OutputTensor<'_>],
    framed: bool,
    of: &Reservation,
) -> Result<Bytes> {
    let spec_len = spec_len(head, SIGNATURE);
    let len =
        outputs.iter().map(|output| len_field(1, entry_len(output))).sum::<usize>() + len_field(2, spec_len);
    let mut buffer = frame::buffer(len, framed, of)?;
    let out = buffer.room(0)?;
    for output in outputs {
        put_message(out, 1, entry_len(output));
        put_text(out, 1, output.name);
        put_message(out, 2, tensor_len(output));
        put_tensor(out, output);
    }
    put_message(out, 2, spec_len);
    put_spec(out, head, SIGNATURE);
    buffer.finish()
}

/// What stands before a message of `len` bytes.
pub(super) fn put_message(out: &mut Vec<u8>, number: u32, len: usize) {
    put_tag(out, number);
    put_varint(out, len as u64);
}

fn entry_len(output: &OutputTensor<'_>) -> usize {
    text_len(1, output.name) + len_field(2, tensor_len(output))
}

fn tensor_len(output: &OutputTensor<'_>) -> usize {
    // The type's number has one byte.
    2 + len_field(2, shape_len(&output.shape)) + data_len(output)
}

fn data_len(output: &OutputTensor<'_>) -> usize {
    match output.datatype {
        Datatype::Bytes => bytes_tensor::elements(output.data).map(|text| len_field(8, text.len())).sum(),
        _ if output.data.is_empty() => 0,
        _ => len_field(4, output.data.len()),
    }
}

fn put_tensor(out: &mut Vec<u8>, output: &OutputTensor<'_>) {
    out.put_slice(&[VARINT_1, types::number_of(output.datatype)]);
    put_message(out, 2, shape_len(&output.shape));
    for &size in &output.shape {
        put_message(out, 2, size_len(size));
        put_number(out, size as u64);
    }
    if output.datatype == Datatype::Bytes {
        for text in bytes_tensor::elements(output.data) {
            put_message(out, 8, text.len());
            out.put_slice(text);
        }
    } else if !output.data.is_empty() {
        put_message(out, 4, output.data.len());
        out.put_slice(output.data);
    }
}

fn shape_len(shape: &[i64]) -> usize {
    shape.iter().map(|&size| len_field(2, size_len(size))).sum()
}

fn size_len(size: i64) -> usize {
    number_len(size as u64)
}

/// Of a number in field 1, where 0 is the default and is not written.
fn number_len(number: u64) -> usize {
    if number == 0 { 0 } else { 1 + varint_len(number) }
}

fn put_number(out: &mut Vec<u8>, number: u64) {
    if number != 0 {
        out.put_u8(VARINT_1);
        put_varint(out, number);
    }
}

fn version(head: &AnswerHead<'_>) -> u64 {
    head.version.parse().unwrap_or_default()
}

pub(super) fn spec_len(head: &AnswerHead<'_>, signature: &str) -> usize {
    text_len(1, head.model) + len_field(2, number_len(version(head))) + text_len(3, signature)
}

/// A `ModelSpec`, with the version that answered as an `Int64Value`.
pub(super) fn put_spec(out: &mut Vec<u8>, head: &AnswerHead<'_>, signature: &str) {
    let version = version(head);
    put_text(out, 1, head.model);
    put_message(out, 2, number_len(version));
    put_number(out, version);
    put_text(out, 3, signature);
}
