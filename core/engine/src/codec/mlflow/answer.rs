//! Answers of MLflow's scoring protocol: an object of outputs, or a list of rows.

use super::{halves, refusals};
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::AnswerBuf;
use crate::codec::compression::{self, Encoding};
use crate::codec::json::answer::{ENDS, ESCAPED, STRETCH, comma, most, most_raw, numbers, put_text};
use crate::codec::json::lists;
use crate::codec::json::values::{self, NotJson};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Signature};

/// `{"predictions": ...}`.
#[derive(Debug)]
pub enum Predictions {
    /// `{output: nested list}`.
    Tensors,
    /// `[{output: value}, ...]`, an object for each row; as tensors where outputs have not one entry for
    /// each row.
    Rows,
}

impl Form for Predictions {
    fn encode(
        &self,
        encoding: Encoding,
        _head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        let mut buffer = lists::buffer(outputs, of)?;
        buffer.room(2 * ENDS)?.extend_from_slice(b"{\"predictions\": ");
        match (self, count_rows(outputs)) {
            (Predictions::Rows, Some(rows)) => put_rows(&mut buffer, outputs, rows)?,
            _ => put_tensors(&mut buffer, outputs)?,
        }
        buffer.room(ENDS)?.push(b'}');
        let body = compression::encoded(encoding, buffer.finish()?, of)?;
        Ok(Answer { body, json_len: None, encoding })
    }

    fn most_raw(&self, limit: usize) -> usize {
        most_raw(limit)
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        // A version that has a signature was found.
        if signature.is_some() { error } else { refusals::not_run(error, &request.model, &request.version) }
    }
}

fn no_text(datatype: Datatype, output: &str) -> Error {
    Error::bad(format!(
        "output '{output}' is {datatype}, which this form does not carry: use the binary data of /v2"
    ))
}

fn put_tensors(buffer: &mut AnswerBuf<'_>, outputs: &[OutputTensor<'_>]) -> Result<()> {
    buffer.room(ENDS)?.push(b'{');
    for (i, output) in outputs.iter().enumerate() {
        key(buffer, i, output.name)?;
        nested(buffer, &mut Elements::of(output), &output.shape)?;
    }
    buffer.room(ENDS)?.push(b'}');
    Ok(())
}

fn put_rows(buffer: &mut AnswerBuf<'_>, outputs: &[OutputTensor<'_>], rows: usize) -> Result<()> {
    buffer.room(ENDS)?.push(b'[');
    let mut columns: Vec<_> = outputs.iter().map(Elements::of).collect();
    for row in 0..rows {
        comma(buffer, row, 0)?.push(b'{');
        for (i, (output, elements)) in outputs.iter().zip(&mut columns).enumerate() {
            key(buffer, i, output.name)?;
            // One value of a row stands for itself.
            let shape = match output.shape.get(1..).unwrap_or_default() {
                [1] => &[],
                rest => rest,
            };
            nested(buffer, elements, shape)?;
        }
        buffer.room(ENDS)?.push(b'}');
    }
    buffer.room(ENDS)?.push(b']');
    Ok(())
}

/// The first dimension; `None` where the outputs do not share one.
fn count_rows(outputs: &[OutputTensor<'_>]) -> Option<usize> {
    let Some(first) = outputs.first() else { return Some(0) };
    let rows = first.shape.first()?;
    let is_shared = outputs.iter().all(|output| output.shape.first() == Some(rows));
    is_shared.then(|| usize::try_from(*rows).unwrap_or_default())
}

fn key(buffer: &mut AnswerBuf<'_>, i: usize, name: &str) -> Result<()> {
    let out = comma(buffer, i, ESCAPED * name.len())?;
    values::string(out, name);
    out.push(b':');
    Ok(())
}

fn nested(buffer: &mut AnswerBuf<'_>, elements: &mut Elements<'_>, shape: &[i64]) -> Result<()> {
    lists::nested(buffer, shape, &mut |buffer, count| elements.run(buffer, count))
}

/// An output's elements, taken from the front.
enum Elements<'o> {
    Fixed { name: &'o str, datatype: Datatype, size: usize, rest: &'o [u8] },
    Texts { name: &'o str, number: usize, rest: Box<dyn Iterator<Item = &'o [u8]> + 'o> },
}

impl<'o> Elements<'o> {
    fn of(output: &OutputTensor<'o>) -> Self {
        let name = output.name;
        match output.datatype.size() {
            Some(size) => Elements::Fixed { name, datatype: output.datatype, size, rest: output.data },
            None => Elements::Texts { name, number: 0, rest: Box::new(bytes_tensor::elements(output.data)) },
        }
    }

    /// The next `count`, with commas between them: a stretch at a time, however many they are.
    fn run(&mut self, buffer: &mut AnswerBuf<'_>, count: usize) -> Result<()> {
        match self {
            Elements::Fixed { name, datatype, size, rest } => {
                let (data, after) =
                    rest.split_at_checked(count.saturating_mul(*size)).unwrap_or((*rest, &[]));
                *rest = after;
                let refused = |why| match why {
                    NotJson::Datatype => no_text(*datatype, name),
                    NotJson::Element(number) => not_utf8(name, number),
                };
                match halves::is_half(*datatype) {
                    true => put_halves(buffer, *datatype, data, refused),
                    false => numbers(buffer, *datatype, data, refused),
                }
            }
            Elements::Texts { name, number, rest } => {
                for (i, element) in rest.by_ref().take(count).enumerate() {
                    let text = std::str::from_utf8(element).map_err(|_| not_utf8(name, *number))?;
                    *number += 1;
                    put_text(buffer, i, text)?;
                }
                Ok(())
            }
        }
    }
}

/// As the FP32s that they are, a stretch at a time.
fn put_halves(
    buffer: &mut AnswerBuf<'_>,
    datatype: Datatype,
    data: &[u8],
    refused: impl Fn(NotJson) -> Error,
) -> Result<()> {
    for (i, stretch) in data.chunks(STRETCH).enumerate() {
        let wide = halves::widened(datatype, stretch);
        let out = comma(buffer, i, wide.len() * most(Datatype::Fp32))?;
        values::run(out, Datatype::Fp32, &wide).map_err(&refused)?;
    }
    Ok(())
}

fn not_utf8(name: &str, number: usize) -> Error {
    Error::bad(format!(
        "string element {number} of output '{name}' is not valid UTF-8 and cannot be sent as JSON"
    ))
}
