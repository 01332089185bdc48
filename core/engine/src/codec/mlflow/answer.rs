//! Answers of MLflow's scoring protocol: an object of outputs, or a list of rows.

use super::refusals;
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::AnswerBuf;
use crate::codec::compression::{self, Encoding};
use crate::codec::json::values::{self, NotJson};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Signature, TensorSpec};
use bytes::Bytes;
use std::slice::Chunks;

/// Raw bytes of data that are written between two looks at the room there is.
const STRETCH: usize = 16 << 10;
/// The most that a byte of a text becomes, a control character.
const ESCAPED: usize = 6;
/// The most characters that a raw byte of a number becomes, its comma included.
const MOST: usize = 6;
/// For what opens, parts or closes lists.
const MARKS: usize = 8;

/// `{"predictions": {output: nested list}}`.
#[derive(Debug)]
pub struct Predictions;

/// `{"predictions": [{output: value}, ...]}`, an object for each row; as [`Predictions`] where outputs have
/// not one entry for each row.
#[derive(Debug)]
pub struct Rows;

impl Form for Predictions {
    fn encode(
        &self,
        encoding: Encoding,
        _head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        finished(encoding, predictions(outputs, of)?, of)
    }

    fn most_raw(&self, limit: usize) -> usize {
        limit.saturating_mul(4)
    }

    fn takes(&self, output: &TensorSpec, _binary: bool) -> Result<()> {
        takes(output)
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        // A version that has a signature was found.
        if signature.is_some() { error } else { refusals::not_run(error, &request.model, &request.version) }
    }
}

impl Form for Rows {
    fn encode(
        &self,
        encoding: Encoding,
        _head: &AnswerHead<'_>,
        outputs: &[OutputTensor<'_>],
        of: &Reservation,
    ) -> Reply {
        finished(encoding, rows(outputs, of)?, of)
    }

    fn most_raw(&self, limit: usize) -> usize {
        limit.saturating_mul(4)
    }

    fn takes(&self, output: &TensorSpec, _binary: bool) -> Result<()> {
        takes(output)
    }

    fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
        // A version that has a signature was found.
        if signature.is_some() { error } else { refusals::not_run(error, &request.model, &request.version) }
    }
}

fn finished(encoding: Encoding, body: Bytes, of: &Reservation) -> Reply {
    let body = match encoding {
        Encoding::Identity => body,
        encoding => compression::deflate(encoding, &body, of)?,
    };
    Ok(Answer { body, json_len: None, encoding })
}

fn takes(output: &TensorSpec) -> Result<()> {
    if matches!(output.datatype, Datatype::Fp16 | Datatype::Bf16) {
        return Err(no_text(output.datatype, &output.name));
    }
    Ok(())
}

fn no_text(datatype: Datatype, output: &str) -> Error {
    Error::bad(format!(
        "output '{output}' is {datatype}, which this form does not carry: use the binary data of /v2"
    ))
}

fn predictions(outputs: &[OutputTensor<'_>], of: &Reservation) -> Result<Bytes> {
    let mut buffer = begin(outputs, of)?;
    buffer.room(MARKS)?.push(b'{');
    for (i, output) in outputs.iter().enumerate() {
        key(&mut buffer, i, output.name)?;
        let mut elements = Elements::of(output);
        nested(&mut buffer, &mut elements, &output.shape)?;
    }
    buffer.room(MARKS)?.extend_from_slice(b"}}");
    buffer.finish()
}

fn rows(outputs: &[OutputTensor<'_>], of: &Reservation) -> Result<Bytes> {
    let Some(rows) = count_rows(outputs) else { return predictions(outputs, of) };
    let mut buffer = begin(outputs, of)?;
    buffer.room(MARKS)?.push(b'[');
    let mut columns: Vec<_> = outputs.iter().map(Elements::of).collect();
    for row in 0..rows {
        let out = buffer.room(MARKS)?;
        if row > 0 {
            out.push(b',');
        }
        out.push(b'{');
        for (i, (output, elements)) in outputs.iter().zip(&mut columns).enumerate() {
            key(&mut buffer, i, output.name)?;
            // One value of a row stands for itself.
            let shape = match output.shape.get(1..).unwrap_or_default() {
                [1] => &[],
                rest => rest,
            };
            nested(&mut buffer, elements, shape)?;
        }
        buffer.room(MARKS)?.push(b'}');
    }
    buffer.room(MARKS)?.extend_from_slice(b"]}");
    buffer.finish()
}

/// The first dimension; `None` where the outputs do not share one.
fn count_rows(outputs: &[OutputTensor<'_>]) -> Option<usize> {
    let Some(first) = outputs.first() else { return Some(0) };
    let rows = first.shape.first()?;
    let is_shared = outputs.iter().all(|output| output.shape.first() == Some(rows));
    is_shared.then(|| usize::try_from(*rows).unwrap_or_default())
}

fn begin<'a>(outputs: &[OutputTensor<'_>], of: &'a Reservation) -> Result<AnswerBuf<'a>> {
    let limit = of.max_message();
    let guess = |output: &OutputTensor<'_>| output.data.len().min(STRETCH) * MOST + output.name.len() + 64;
    let guess = outputs.iter().map(guess).fold(64, usize::saturating_add);
    let mut buffer = AnswerBuf::new(of, guess.min(limit.saturating_add(STRETCH)), limit)?;
    buffer.room(64)?.extend_from_slice(b"{\"predictions\": ");
    Ok(buffer)
}

fn key(buffer: &mut AnswerBuf<'_>, i: usize, name: &str) -> Result<()> {
    let out = buffer.room(ESCAPED * name.len() + MARKS)?;
    if i > 0 {
        out.push(b',');
    }
    values::string(out, name);
    out.push(b':');
    Ok(())
}

/// The next elements of `shape`, as lists in lists; one element where it is empty.
fn nested(buffer: &mut AnswerBuf<'_>, elements: &mut Elements<'_>, shape: &[i64]) -> Result<()> {
    // Nothing stands below a list that is empty.
    let empty = shape.iter().position(|&dim| dim == 0);
    let shape = &shape[..empty.map_or(shape.len(), |at| at + 1)];
    let Some((&last, outer)) = shape.split_last() else { return elements.run(buffer, 1) };
    let sizes: Vec<u64> = outer.iter().map(|&dim| u64::try_from(dim).unwrap_or_default()).collect();
    let inner = usize::try_from(last).unwrap_or_default();
    let runs: u64 = sizes.iter().product();
    for run in 0..runs {
        // How many lists begin here, and end behind it, around the innermost.
        let (begins, ends) = (edges(&sizes, run), edges(&sizes, run + 1));
        let out = buffer.room(sizes.len() + MARKS)?;
        if run > 0 {
            out.push(b',');
        }
        out.resize(out.len() + begins + 1, b'[');
        elements.run(buffer, inner)?;
        let out = buffer.room(sizes.len() + MARKS)?;
        out.resize(out.len() + ends + 1, b']');
    }
    Ok(())
}

/// How many of the dimensions, from the last one, `run` begins anew.
fn edges(sizes: &[u64], run: u64) -> usize {
    let mut rest = run;
    let mut count = 0;
    for &size in sizes.iter().rev() {
        if !rest.is_multiple_of(size) {
            break;
        }
        rest /= size;
        count += 1;
    }
    count
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
                numbers(buffer, data.chunks(STRETCH), *datatype, name)
            }
            Elements::Texts { name, number, rest } => {
                for (i, element) in rest.by_ref().take(count).enumerate() {
                    let text = std::str::from_utf8(element).map_err(|_| not_utf8(name, *number))?;
                    *number += 1;
                    let most =
                        if text.len() > STRETCH { values::string_len(element) } else { ESCAPED * text.len() };
                    let out = buffer.room(most + MARKS)?;
                    if i > 0 {
                        out.push(b',');
                    }
                    values::string(out, text);
                }
                Ok(())
            }
        }
    }
}

fn numbers(buffer: &mut AnswerBuf<'_>, data: Chunks<'_, u8>, datatype: Datatype, name: &str) -> Result<()> {
    for (i, stretch) in data.enumerate() {
        let out = buffer.room(stretch.len() * MOST + MARKS)?;
        if i > 0 {
            out.push(b',');
        }
        values::run(out, datatype, stretch).map_err(|why| match why {
            NotJson::Datatype => no_text(datatype, name),
            NotJson::Element(number) => not_utf8(name, number),
        })?;
    }
    Ok(())
}

fn not_utf8(name: &str, number: usize) -> Error {
    Error::bad(format!(
        "string element {number} of output '{name}' is not valid UTF-8 and cannot be sent as JSON"
    ))
}
