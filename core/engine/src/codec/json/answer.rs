//! An inference answer: JSON, then the binary tensors.

use super::values::{self, NotJson, integer, list, string};
use crate::codec::{AnswerHead, OutputTensor};
use crate::error::{Error, Result};
use crate::tensor::Datatype;
use bytes::Bytes;

/// Encodes a whole body; `Some(bytes of the JSON)` when binary tensors follow
/// it, `None` when all of it is JSON (also when the binary tensors are empty).
///
/// Data is flat. FP32 is the shortest text that reads back to the same FP32;
/// NaN and the infinities are bare words, as in requests.
///
/// # Errors
/// `BadRequest` naming the output for what JSON cannot carry: FP16 and BF16,
/// and BYTES that are not UTF-8.
pub fn encode_infer(head: &AnswerHead, outputs: &[OutputTensor]) -> Result<(Bytes, Option<usize>)> {
    let mut out = Vec::with_capacity(guess(head, outputs));
    out.extend_from_slice(b"{\"model_name\":");
    string(&mut out, head.model);
    out.extend_from_slice(b",\"model_version\":");
    string(&mut out, head.version);
    if let Some(id) = head.id {
        out.extend_from_slice(b",\"id\":");
        string(&mut out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (i, output) in outputs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        tensor(&mut out, output)?;
    }
    out.extend_from_slice(b"]}");
    let json = out.len();
    for output in outputs.iter().filter(|output| output.binary) {
        out.extend_from_slice(output.data);
    }
    let has_binary = out.len() > json;
    Ok((out.into(), has_binary.then_some(json)))
}

/// A little more than the body will usually need.
fn guess(head: &AnswerHead, outputs: &[OutputTensor]) -> usize {
    let names = head.model.len() + head.version.len() + head.id.map_or(0, str::len);
    128 + names + outputs.iter().map(guess_output).sum::<usize>()
}

fn guess_output(output: &OutputTensor) -> usize {
    let data = output.data.len();
    let text = match output.datatype {
        _ if output.binary => data,
        Datatype::Bool => data * 6,
        Datatype::Uint8 | Datatype::Int8 => data * 4,
        Datatype::Bytes => data + data / 8,
        // Up to 3 characters a byte; 11 to 13 for most FP32, 18 to 20 for most FP64.
        Datatype::Fp32 => data * 13 / 4,
        _ => data * 3,
    };
    128 + output.name.len() + output.shape.len() * 8 + text
}

fn tensor(out: &mut Vec<u8>, output: &OutputTensor) -> Result<()> {
    out.extend_from_slice(b"{\"name\":");
    string(out, output.name);
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(output.datatype.name().as_bytes());
    out.extend_from_slice(b"\",\"shape\":");
    list(out, output.shape.iter(), |out, &dim| integer(out, dim));
    if output.binary {
        out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
        integer(out, output.data.len());
        out.push(b'}');
    } else {
        out.extend_from_slice(b",\"data\":");
        data(out, output)?;
    }
    out.push(b'}');
    Ok(())
}

fn data(out: &mut Vec<u8>, output: &OutputTensor) -> Result<()> {
    values::elements(out, output.datatype, output.data).map_err(|why| {
        Error::bad(match why {
            NotJson::Datatype => format!(
                "sending {} data via JSON is not supported. Please use the binary data format for output '{}'",
                output.datatype, output.name
            ),
            NotJson::Element(i) => format!(
                "string element {i} of output '{}' is not valid UTF-8 and cannot be sent via JSON, \
                 ask for the output with parameter 'binary_data'",
                output.name
            ),
        })
    })
}
