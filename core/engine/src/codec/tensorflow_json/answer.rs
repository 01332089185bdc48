//! The answer to a prediction: `predictions` by rows, `outputs` by columns.

use super::words::{is_json, type_name};
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::AnswerBuf;
use crate::codec::compression::{self, Encoding};
use crate::codec::json::answer::{ENDS, ESCAPED, comma, most_raw, numbers, put_text};
use crate::codec::json::{lists, values};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor, tensorflow};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Signature, TensorSpec};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// As asked by `instances`: a list with what belongs to each row.
#[derive(Debug)]
pub struct RowAnswer;

/// As asked by `inputs`: whole tensors.
#[derive(Debug)]
pub struct ColumnAnswer;

impl Form for RowAnswer {
    fn encode(
        &self,
        encoding: Encoding,
        _: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        let rows = rows_of(outputs)?;
        answer(encoding, outputs, of, |buffer| put_rows(buffer, outputs, rows))
    }

    fn most_raw(&self, limit: usize) -> usize {
        most_raw(limit)
    }

    fn takes(&self, output: &TensorSpec, _: bool) -> Result<()> {
        if output.expected().is_empty() {
            return Err(no_rows(&output.name));
        }
        check_type(output)
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        tensorflow::reworded(error, request, signature)
    }
}

impl Form for ColumnAnswer {
    fn encode(
        &self,
        encoding: Encoding,
        _: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        answer(encoding, outputs, of, |buffer| put_columns(buffer, outputs))
    }

    fn most_raw(&self, limit: usize) -> usize {
        most_raw(limit)
    }

    fn takes(&self, output: &TensorSpec, _: bool) -> Result<()> {
        check_type(output)
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        tensorflow::reworded(error, request, signature)
    }
}

fn check_type(output: &TensorSpec) -> Result<()> {
    if is_json(output.datatype) {
        return Ok(());
    }
    Err(Error::bad(format!(
        "Failed to write JSON value for tensor type: {} (output '{}')",
        type_name(output.datatype),
        output.name
    )))
}

fn no_rows(name: &str) -> Error {
    Error::bad(format!("Tensor name: {name} has no shape information"))
}

/// How many rows all outputs have.
fn rows_of(outputs: &[OutputTensor<'_>]) -> Result<i64> {
    let mut rows = None;
    for output in outputs {
        let &first = output.shape.first().ok_or_else(|| no_rows(output.name))?;
        let expected = *rows.get_or_insert(first);
        if first != expected {
            return Err(Error::bad(format!(
                "Tensor name: {} has inconsistent batch size: {first} expecting: {expected}",
                output.name
            )));
        }
    }
    Ok(rows.unwrap_or_default())
}

/// The whole answer, of which `put` writes what is within its braces.
fn answer(
    encoding: Encoding,
    outputs: &[OutputTensor<'_>],
    of: &Reservation,
    put: impl FnOnce(&mut AnswerBuf<'_>) -> Result<()>,
) -> Reply {
    let mut buffer = lists::buffer(outputs, of)?;
    put(&mut buffer)?;
    buffer.room(ENDS)?.push(b'}');
    let body = compression::encoded(encoding, buffer.finish()?, of)?;
    Ok(Answer { body, json_len: None, encoding })
}

fn put_rows(buffer: &mut AnswerBuf<'_>, outputs: &[OutputTensor<'_>], rows: i64) -> Result<()> {
    let mut cells: Vec<_> = outputs.iter().map(Cells::of).collect();
    put(buffer, b"{\"predictions\":[")?;
    for row in 0..rows {
        if row > 0 {
            put(buffer, b",")?;
        }
        match (outputs, cells.as_mut_slice()) {
            ([output], [cells]) => nested(buffer, &output.shape[1..], cells)?,
            (outputs, cells) => {
                for (i, (output, cells)) in outputs.iter().zip(cells).enumerate() {
                    put_key(buffer, if i == 0 { b'{' } else { b',' }, output.name)?;
                    nested(buffer, &output.shape[1..], cells)?;
                }
                put(buffer, b"}")?;
            }
        }
    }
    put(buffer, b"]")
}

fn put_columns(buffer: &mut AnswerBuf<'_>, outputs: &[OutputTensor<'_>]) -> Result<()> {
    put(buffer, b"{\"outputs\":")?;
    if let [output] = outputs {
        return nested(buffer, &output.shape, &mut Cells::of(output));
    }
    for (i, output) in outputs.iter().enumerate() {
        put_key(buffer, if i == 0 { b'{' } else { b',' }, output.name)?;
        nested(buffer, &output.shape, &mut Cells::of(output))?;
    }
    put(buffer, b"}")
}

fn put(buffer: &mut AnswerBuf<'_>, text: &[u8]) -> Result<()> {
    buffer.room(text.len())?.extend_from_slice(text);
    Ok(())
}

fn put_key(buffer: &mut AnswerBuf<'_>, before: u8, name: &str) -> Result<()> {
    let out = buffer.room(ESCAPED * name.len() + ENDS)?;
    out.push(before);
    values::string(out, name);
    out.push(b':');
    Ok(())
}

fn nested(buffer: &mut AnswerBuf<'_>, dims: &[i64], cells: &mut Cells<'_>) -> Result<()> {
    lists::nested(buffer, dims, &mut |buffer, count| cells.put(buffer, count))
}

/// An output's elements, from the first that is not written yet.
struct Cells<'a> {
    name: &'a str,
    datatype: Datatype,
    left: &'a [u8],
    /// Of texts: how many are written, and whether they go as bytes.
    texts: usize,
    base64: bool,
}

impl<'a> Cells<'a> {
    fn of(output: &OutputTensor<'a>) -> Self {
        let base64 = output.datatype == Datatype::Bytes && output.name.ends_with("_bytes");
        Cells { name: output.name, datatype: output.datatype, left: output.data, texts: 0, base64 }
    }

    /// The next `count`, with commas between them.
    fn put(&mut self, buffer: &mut AnswerBuf<'_>, count: usize) -> Result<()> {
        let Some(size) = self.datatype.size() else { return self.put_texts(buffer, count) };
        let (now, left) = self.left.split_at(count.saturating_mul(size).min(self.left.len()));
        self.left = left;
        numbers(buffer, self.datatype, now, |_| {
            Error::bad(format!("output '{}' has no form in JSON", self.name))
        })
    }

    fn put_texts(&mut self, buffer: &mut AnswerBuf<'_>, count: usize) -> Result<()> {
        for i in 0..count {
            let Some(element) = bytes_tensor::elements(self.left).next() else { break };
            self.left = self.left.get(bytes_tensor::room(element)..).unwrap_or_default();
            match std::str::from_utf8(element) {
                _ if self.base64 => put_base64(buffer, i, element)?,
                Ok(text) => put_text(buffer, i, text)?,
                Err(_) => {
                    return Err(Error::bad(format!(
                        "string element {} of output '{}' is not valid UTF-8; of outputs whose name ends in \
                         _bytes any bytes can be sent",
                        self.texts, self.name
                    )));
                }
            }
            self.texts += 1;
        }
        Ok(())
    }
}

fn put_base64(buffer: &mut AnswerBuf<'_>, i: usize, element: &[u8]) -> Result<()> {
    const BEFORE: &[u8] = b"{\"b64\":\"";
    let length = element.len().div_ceil(3).saturating_mul(4);
    let out = comma(buffer, i, length.saturating_add(2 * BEFORE.len()))?;
    out.extend_from_slice(BEFORE);
    let begin = out.len();
    out.resize(begin + length, 0);
    // It is exactly as long.
    let written = STANDARD.encode_slice(element, &mut out[begin..]).unwrap_or_default();
    out.truncate(begin + written);
    out.extend_from_slice(b"\"}");
    Ok(())
}
