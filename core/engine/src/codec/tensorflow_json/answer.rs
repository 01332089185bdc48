//! The answer to a prediction: `predictions` by rows, `outputs` by columns.

use super::words::{is_json, type_name};
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::{AnswerBuf, too_large};
use crate::codec::compression::{self, Encoding};
use crate::codec::json::answer::{ENDS, ESCAPED, STRETCH, comma, guess_output, least, most};
use crate::codec::json::values;
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor, tensorflow};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Signature, TensorSpec};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

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

/// An FP64 of eight bytes may be four characters, its comma included.
fn most_raw(limit: usize) -> usize {
    limit.saturating_mul(4)
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
    let limit = of.max_message();
    let smallest = outputs.iter().map(least).fold(0, usize::saturating_add);
    if smallest > limit {
        return Err(too_large(format_args!("at least {smallest}"), limit));
    }
    let guess = outputs.iter().map(|output| guess_output(output).saturating_add(brackets(output)));
    let guess = guess.fold(4 * ENDS, usize::saturating_add);
    let mut buffer = AnswerBuf::new(of, guess.min(limit.saturating_add(STRETCH)), limit)?;
    put(&mut buffer)?;
    buffer.room(ENDS)?.push(b'}');
    let body = buffer.finish()?;
    let body: Bytes = match encoding {
        Encoding::Identity => body,
        encoding => compression::deflate(encoding, &body, of)?,
    };
    Ok(Answer { body, json_len: None, encoding })
}

/// About as many characters as the lists of all rows take.
fn brackets(output: &OutputTensor<'_>) -> usize {
    let lists = output.shape.split_last().map_or(1, |(_, outer)| {
        outer.iter().fold(1usize, |all, &dim| all.saturating_mul(usize::try_from(dim).unwrap_or(0)))
    });
    lists.min(output.data.len()).saturating_mul(4)
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

/// The next elements as lists of the lengths that `dims` says; one by itself where it says none.
fn nested(buffer: &mut AnswerBuf<'_>, dims: &[i64], cells: &mut Cells<'_>) -> Result<()> {
    let Some((&length, inner)) = dims.split_first() else { return cells.put(buffer, 1) };
    put(buffer, b"[")?;
    if inner.is_empty() {
        cells.put(buffer, usize::try_from(length).unwrap_or_default())?;
    } else {
        for i in 0..length {
            if i > 0 {
                put(buffer, b",")?;
            }
            nested(buffer, inner, cells)?;
        }
    }
    put(buffer, b"]")
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
        for (i, stretch) in now.chunks(STRETCH).enumerate() {
            let out = comma(buffer, i, stretch.len() * most(self.datatype))?;
            let written = values::run(out, self.datatype, stretch);
            written.map_err(|_| Error::bad(format!("output '{}' has no form in JSON", self.name)))?;
        }
        Ok(())
    }

    fn put_texts(&mut self, buffer: &mut AnswerBuf<'_>, count: usize) -> Result<()> {
        for i in 0..count {
            let Some(element) = bytes_tensor::elements(self.left).next() else { break };
            self.left = self.left.get(bytes_tensor::room(element)..).unwrap_or_default();
            match std::str::from_utf8(element) {
                _ if self.base64 => put_base64(buffer, i, element)?,
                Ok(text) => {
                    let long = element.len() > STRETCH;
                    let most = if long { values::string_len(element) } else { ESCAPED * element.len() };
                    values::string(comma(buffer, i, most)?, text);
                }
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
