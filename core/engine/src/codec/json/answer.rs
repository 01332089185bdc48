//! An inference answer: JSON, then the binary tensors.

use super::values::{self, NotJson, integer, list, string};
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::{AnswerBuf, too_large};
use crate::codec::compression::{self, Encoding};
use crate::codec::{AnswerHead, OutputTensor, bytes_tensor};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, TensorSpec};
use bytes::Bytes;

/// Raw bytes of data that are written between two looks at the room there is.
pub(in crate::codec) const STRETCH: usize = 16 << 10;
/// The most that a byte of a string becomes, a control character.
pub(in crate::codec) const ESCAPED: usize = 6;

/// The REST answer of inference.
#[derive(Debug)]
pub struct InferAnswer;

impl Form for InferAnswer {
    fn encode(
        &self,
        encoding: Encoding,
        head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        let (body, json_len) = encode_infer(head, outputs, of)?;
        let body = compression::encoded(encoding, body, of)?;
        Ok(Answer { body, json_len, encoding })
    }

    fn most_raw(&self, limit: usize) -> usize {
        most_raw(limit)
    }

    fn takes(&self, output: &TensorSpec, binary: bool) -> Result<()> {
        if !binary && matches!(output.datatype, Datatype::Fp16 | Datatype::Bf16) {
            return Err(no_text(output.datatype, &output.name));
        }
        Ok(())
    }
}

/// Encodes a whole body; `Some(bytes of the JSON)` when binary tensors follow
/// it, `None` when all of it is JSON (also when the binary tensors are empty).
/// Counted in the budget of `of`.
///
/// Data is flat. FP32 is the shortest text that reads back to the same FP32;
/// NaN and the infinities are bare words, as in requests.
///
/// # Errors
/// `TooLarge` as soon as the body is known to be over the limit, `Full`, and `BadRequest`
/// naming the output for what JSON cannot carry: FP16 and BF16, and BYTES that are not UTF-8.
pub fn encode_infer(
    head: &AnswerHead,
    outputs: &[OutputTensor],
    of: &Reservation,
) -> Result<(Bytes, Option<usize>)> {
    let limit = of.max_message();
    let least = outputs.iter().map(least).fold(0, usize::saturating_add);
    if least > limit {
        return Err(too_large(format_args!("at least {least}"), limit));
    }
    let mut buffer = AnswerBuf::new(of, guess(head, outputs).min(limit.saturating_add(STRETCH)), limit)?;
    put_head(buffer.room(head_room(head))?, head);
    for (i, output) in outputs.iter().enumerate() {
        let out = buffer.room(tensor_room(output))?;
        if i > 0 {
            out.push(b',');
        }
        tensor(out, output);
        if !output.binary && !output.placed {
            data(&mut buffer, output)?;
        }
        buffer.room(ENDS)?.push(b'}');
    }
    buffer.room(ENDS)?.extend_from_slice(b"]}");
    let json = buffer.len();
    for output in outputs.iter().filter(|output| output.binary) {
        buffer.room(output.data.len())?.extend_from_slice(output.data);
    }
    let has_binary = buffer.len() > json;
    Ok((buffer.finish()?, has_binary.then_some(json)))
}

/// For what closes a list or an object.
pub(in crate::codec) const ENDS: usize = 8;

fn put_head(out: &mut Vec<u8>, head: &AnswerHead) {
    out.extend_from_slice(b"{\"model_name\":");
    string(out, head.model);
    out.extend_from_slice(b",\"model_version\":");
    string(out, head.version);
    if let Some(id) = head.id {
        out.extend_from_slice(b",\"id\":");
        string(out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
}

fn head_room(head: &AnswerHead) -> usize {
    128 + ESCAPED * (head.model.len() + head.version.len() + head.id.map_or(0, str::len))
}

/// For a tensor without its data.
fn tensor_room(output: &OutputTensor) -> usize {
    128 + ESCAPED * output.name.len() + output.shape.len() * 21
}

/// Bytes of a tensor's data that an answer has at the very least: an element and its comma.
pub(in crate::codec) fn least(output: &OutputTensor) -> usize {
    let raw = output.data.len();
    match (output.binary, output.datatype.size()) {
        (true, _) => raw,
        (false, Some(size)) => raw / size * 2,
        // A length of four bytes before each; two quotes and a comma instead.
        (false, None) => raw / 4 * 3,
    }
}

/// Raw bytes of data that an answer of `limit` bytes may have: an INT64 of eight may be two characters,
/// its comma included.
pub(in crate::codec) fn most_raw(limit: usize) -> usize {
    limit.saturating_mul(4)
}

/// The most characters that a raw byte of an element becomes, its comma included.
pub(in crate::codec) fn most(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Bool => 6,
        Datatype::Int8 => 5,
        _ => 4,
    }
}

/// A little more than the body will usually need; enough for whatever is small.
fn guess(head: &AnswerHead, outputs: &[OutputTensor]) -> usize {
    outputs.iter().map(guess_output).fold(head_room(head) + ENDS, usize::saturating_add)
}

pub(in crate::codec) fn guess_output(output: &OutputTensor) -> usize {
    let data = output.data.len();
    let text = match output.datatype {
        _ if output.binary => data,
        Datatype::Bytes => data.saturating_add(data / 8),
        datatype if data <= STRETCH => data * most(datatype),
        Datatype::Bool => data.saturating_mul(6),
        Datatype::Uint8 | Datatype::Int8 => data.saturating_mul(4),
        // Up to 3 characters a byte; 11 to 13 for most FP32, 18 to 20 for most FP64.
        Datatype::Fp32 => data.saturating_mul(13) / 4,
        _ => data.saturating_mul(3),
    };
    text.saturating_add(tensor_room(output) + 3 * ENDS)
}

fn tensor(out: &mut Vec<u8>, output: &OutputTensor) {
    out.extend_from_slice(b"{\"name\":");
    string(out, output.name);
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(output.datatype.name().as_bytes());
    out.extend_from_slice(b"\",\"shape\":");
    list(out, output.shape.iter(), |out, &dim| integer(out, dim));
    // Clients of Triton's take parameters to mean binary data.
    if output.placed {
        return;
    }
    if output.binary {
        out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        integer(out, output.data.len());
        out.push(b'}');
    } else {
        out.extend_from_slice(b",\"data\":");
    }
}

/// The list of a tensor's elements: however large it is, no more than a stretch is written beyond what
/// there is room for.
fn data(buffer: &mut AnswerBuf<'_>, output: &OutputTensor) -> Result<()> {
    buffer.room(ENDS)?.push(b'[');
    match output.datatype {
        Datatype::Bytes => strings(buffer, output)?,
        datatype => numbers(buffer, datatype, output.data, |why| not_json(output, why))?,
    }
    buffer.room(ENDS)?.push(b']');
    Ok(())
}

fn strings(buffer: &mut AnswerBuf<'_>, output: &OutputTensor) -> Result<()> {
    for (i, element) in bytes_tensor::elements(output.data).enumerate() {
        let text = std::str::from_utf8(element).map_err(|_| not_json(output, NotJson::Element(i)))?;
        put_text(buffer, i, text)?;
    }
    Ok(())
}

/// Elements of one size with commas between them, a stretch at a time.
///
/// # Errors
/// `TooLarge`, `Full`, and what `refused` makes of elements that JSON cannot carry.
pub(in crate::codec) fn numbers(
    buffer: &mut AnswerBuf<'_>,
    datatype: Datatype,
    raw: &[u8],
    refused: impl Fn(NotJson) -> Error,
) -> Result<()> {
    for (i, stretch) in raw.chunks(STRETCH).enumerate() {
        let out = comma(buffer, i, stretch.len() * most(datatype))?;
        values::run(out, datatype, stretch).map_err(&refused)?;
    }
    Ok(())
}

/// The text that is number `i` of a list.
///
/// # Errors
/// `TooLarge` and `Full`.
pub(in crate::codec) fn put_text(buffer: &mut AnswerBuf<'_>, i: usize, text: &str) -> Result<()> {
    let is_long = text.len() > STRETCH;
    let most = if is_long { values::string_len(text.as_bytes()) } else { ESCAPED * text.len() };
    string(comma(buffer, i, most)?, text);
    Ok(())
}

/// Room for the next part of a list, behind a comma where it is not the first.
pub(in crate::codec) fn comma<'b>(
    buffer: &'b mut AnswerBuf<'_>,
    i: usize,
    room: usize,
) -> Result<&'b mut Vec<u8>> {
    let out = buffer.room(room + ENDS)?;
    if i > 0 {
        out.push(b',');
    }
    Ok(out)
}

fn not_json(output: &OutputTensor, why: NotJson) -> Error {
    match why {
        NotJson::Datatype => no_text(output.datatype, output.name),
        NotJson::Element(i) => Error::bad(format!(
            "string element {i} of output '{}' is not valid UTF-8 and cannot be sent via JSON, \
             ask for the output with parameter 'binary_data'",
            output.name
        )),
    }
}

fn no_text(datatype: Datatype, output: &str) -> Error {
    Error::bad(format!(
        "sending {datatype} data via JSON is not supported. Please use the binary data format for output \
         '{output}'"
    ))
}
