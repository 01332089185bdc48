//! An inference answer: JSON, then the binary tensors.

use crate::codec::{AnswerHead, OutputTensor, bytes_tensor};
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
    let raw = output.data;
    match output.datatype {
        Datatype::Bool => {
            list(out, raw.iter(), |out, &b| out.extend_from_slice(if b == 0 { b"false" } else { b"true" }))
        }
        Datatype::Uint8 => list(out, fixed(raw), |out, b| integer(out, u8::from_le_bytes(b))),
        Datatype::Uint16 => list(out, fixed(raw), |out, b| integer(out, u16::from_le_bytes(b))),
        Datatype::Uint32 => list(out, fixed(raw), |out, b| integer(out, u32::from_le_bytes(b))),
        Datatype::Uint64 => list(out, fixed(raw), |out, b| integer(out, u64::from_le_bytes(b))),
        Datatype::Int8 => list(out, fixed(raw), |out, b| integer(out, i8::from_le_bytes(b))),
        Datatype::Int16 => list(out, fixed(raw), |out, b| integer(out, i16::from_le_bytes(b))),
        Datatype::Int32 => list(out, fixed(raw), |out, b| integer(out, i32::from_le_bytes(b))),
        Datatype::Int64 => list(out, fixed(raw), |out, b| integer(out, i64::from_le_bytes(b))),
        Datatype::Fp32 => list(out, fixed(raw), |out, b| float(out, f32::from_le_bytes(b))),
        Datatype::Fp64 => list(out, fixed(raw), |out, b| float(out, f64::from_le_bytes(b))),
        Datatype::Bytes => return strings(out, output),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::bad(format!(
                "sending {} data via JSON is not supported. Please use the binary data format for output '{}'",
                output.datatype, output.name
            )));
        }
    }
    Ok(())
}

fn strings(out: &mut Vec<u8>, output: &OutputTensor) -> Result<()> {
    out.push(b'[');
    for (i, element) in bytes_tensor::elements(output.data).enumerate() {
        let text = std::str::from_utf8(element).map_err(|_| {
            Error::bad(format!(
                "string element {i} of output '{}' is not valid UTF-8 and cannot be sent via JSON, \
                 ask for the output with parameter 'binary_data'",
                output.name
            ))
        })?;
        if i > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    out.push(b']');
    Ok(())
}

fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, item);
    }
    out.push(b']');
}

fn fixed<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> {
    raw.as_chunks::<N>().0.iter().copied()
}

#[inline]
fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Both widths of float, for [`float`].
trait Float: zmij::Float + Copy {
    /// The word for a value that has no digits.
    fn word(self) -> Option<&'static [u8]>;
}

macro_rules! float_words {
    ($float:ty) => {
        impl Float for $float {
            #[inline]
            fn word(self) -> Option<&'static [u8]> {
                if self.is_finite() {
                    None
                } else if self.is_nan() {
                    Some(b"NaN")
                } else if self > 0.0 {
                    Some(b"Infinity")
                } else {
                    Some(b"-Infinity")
                }
            }
        }
    };
}

float_words!(f32);
float_words!(f64);

#[inline]
fn float(out: &mut Vec<u8>, value: impl Float) {
    match value.word() {
        Some(word) => out.extend_from_slice(word),
        None => out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes()),
    }
}

/// A JSON string: quotes, backslashes and control characters are escaped.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[plain..i]);
        plain = i + 1;
        escape(out, byte);
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
    }
}
