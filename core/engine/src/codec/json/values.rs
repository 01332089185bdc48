//! Values as JSON text: what answers and the request log write alike.

use crate::codec::bytes_tensor;
use crate::tensor::Datatype;

/// Why a tensor's elements cannot be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotJson {
    /// JSON has no form for them: FP16 and BF16.
    Datatype,
    /// The string element of this number is not UTF-8.
    Element(usize),
}

/// Appends the elements of a tensor's raw bytes as one flat list.
///
/// # Errors
/// What they hold JSON cannot carry; the list is then begun and not ended.
pub(crate) fn elements(out: &mut Vec<u8>, datatype: Datatype, raw: &[u8]) -> Result<(), NotJson> {
    out.push(b'[');
    run(out, datatype, raw)?;
    out.push(b']');
    Ok(())
}

/// Appends elements with commas between them: a stretch of a list, or all of it.
///
/// # Errors
/// As [`elements`].
pub(crate) fn run(out: &mut Vec<u8>, datatype: Datatype, raw: &[u8]) -> Result<(), NotJson> {
    match datatype {
        Datatype::Bool => {
            joined(out, raw.iter(), |out, &b| out.extend_from_slice(if b == 0 { b"false" } else { b"true" }))
        }
        Datatype::Uint8 => joined(out, fixed(raw), |out, b| integer(out, u8::from_le_bytes(b))),
        Datatype::Uint16 => joined(out, fixed(raw), |out, b| integer(out, u16::from_le_bytes(b))),
        Datatype::Uint32 => joined(out, fixed(raw), |out, b| integer(out, u32::from_le_bytes(b))),
        Datatype::Uint64 => joined(out, fixed(raw), |out, b| integer(out, u64::from_le_bytes(b))),
        Datatype::Int8 => joined(out, fixed(raw), |out, b| integer(out, i8::from_le_bytes(b))),
        Datatype::Int16 => joined(out, fixed(raw), |out, b| integer(out, i16::from_le_bytes(b))),
        Datatype::Int32 => joined(out, fixed(raw), |out, b| integer(out, i32::from_le_bytes(b))),
        Datatype::Int64 => joined(out, fixed(raw), |out, b| integer(out, i64::from_le_bytes(b))),
        Datatype::Fp32 => joined(out, fixed(raw), |out, b| float(out, f32::from_le_bytes(b))),
        Datatype::Fp64 => joined(out, fixed(raw), |out, b| float(out, f64::from_le_bytes(b))),
        Datatype::Bytes => return strings(out, raw),
        Datatype::Fp16 | Datatype::Bf16 => return Err(NotJson::Datatype),
    }
    Ok(())
}

fn strings(out: &mut Vec<u8>, raw: &[u8]) -> Result<(), NotJson> {
    for (i, element) in bytes_tensor::elements(raw).enumerate() {
        let text = std::str::from_utf8(element).map_err(|_| NotJson::Element(i))?;
        if i > 0 {
            out.push(b',');
        }
        string(out, text);
    }
    Ok(())
}

pub(crate) fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    out.push(b'[');
    joined(out, items, put);
    out.push(b']');
}

fn joined<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, put: impl Fn(&mut Vec<u8>, T)) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        put(out, item);
    }
}

/// Bytes of [`string`]'s text for `text`.
pub(crate) fn string_len(text: &[u8]) -> usize {
    let escaped = |&byte: &u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    2 + text.iter().map(escaped).sum::<usize>()
}

pub(crate) fn fixed<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> {
    raw.as_chunks::<N>().0.iter().copied()
}

#[inline]
pub(crate) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Both widths of float, for [`float`].
pub(crate) trait Float: zmij::Float + Copy {
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

/// The shortest text that reads back to the same value, of the same width; NaN and the
/// infinities are bare words.
#[inline]
pub(crate) fn float(out: &mut Vec<u8>, value: impl Float) {
    match value.word() {
        Some(word) => out.extend_from_slice(word),
        None => out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes()),
    }
}

/// A JSON string: quotes, backslashes and control characters are escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
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
