//! A sample as a line of the request log's JSON Lines.

use super::sample::{Sample, Tensor};
use crate::codec::json::number::fp64;
use crate::codec::json::values::{elements, fixed, float, integer, list, string};
use crate::tensor::Datatype;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

/// Tensors of more elements go as base64: nobody reads so many numbers, and it is shorter.
const MAX_ELEMENTS: u64 = 256;
const MAX_TEXT_BYTES: usize = 65536;

/// The tensors that go with their values: `None` for all, else those named.
pub type Shown<'a> = Option<&'a [String]>;

/// The lines of the first samples: as many as `most` bytes hold, the first one in any case;
/// and how many they are. A line that did not fit any more is to be written again.
pub fn lines<'a>(samples: impl Iterator<Item = (&'a Sample, Shown<'a>)>, most: usize) -> (Vec<u8>, usize) {
    let (mut out, mut count) = (Vec::new(), 0);
    for (sample, shown) in samples {
        let whole = out.len();
        line(&mut out, sample, shown);
        if count > 0 && out.len() > most {
            out.truncate(whole);
            break;
        }
        count += 1;
        if out.len() >= most {
            break;
        }
    }
    (out, count)
}

/// One line, its end included; texts that say nothing are left out.
fn line(out: &mut Vec<u8>, sample: &Sample, shown: Shown<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    time(out, sample.at_ns);
    out.extend_from_slice(b"\",\"model\":");
    string(out, &sample.model);
    out.extend_from_slice(b",\"version\":");
    integer(out, sample.version);
    text(out, "route", sample.route);
    text(out, "protocol", sample.protocol.name());
    text(out, "id", &sample.id);
    text(out, "request_id", &sample.request_id);
    text(out, "status", if sample.word.is_empty() { "OK" } else { sample.word });
    text(out, "message", &sample.message);
    if let Some(noted) = &sample.anomaly {
        text(out, "anomaly", if is_shown(&noted.input, shown) { &noted.words } else { &noted.brief });
    }
    seconds(out, "total_s", sample.total);
    seconds(out, "queue_s", sample.queue);
    seconds(out, "compute_s", sample.compute);
    parameters(out, sample);
    tensors(out, "inputs", &sample.inputs, shown);
    tensors(out, "outputs", &sample.outputs, shown);
    out.extend_from_slice(b"}\n");
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    if !value.is_empty() {
        key(out, name);
        string(out, value);
    }
}

/// UTC, to the nearest microsecond.
fn time(out: &mut Vec<u8>, at_ns: u64) {
    let at = Duration::from_micros(at_ns.saturating_add(500) / 1000);
    put(out, format_args!("{}", humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + at)));
}

/// To the nearest tenth of a microsecond.
fn seconds(out: &mut Vec<u8>, name: &str, value: Duration) {
    let ticks = (value.as_nanos() + 50) / 100;
    key(out, name);
    put(out, format_args!("{}.{:07}", ticks / 10_000_000, ticks % 10_000_000));
}

fn parameters(out: &mut Vec<u8>, sample: &Sample) {
    let given = [("priority", sample.priority), ("timeout", sample.timeout_us)];
    let mut set = given.iter().filter(|(_, value)| *value > 0).peekable();
    if set.peek().is_none() {
        return;
    }
    key(out, "parameters");
    out.push(b'{');
    for (i, (name, value)) in set.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string(out, name);
        out.push(b':');
        integer(out, *value);
    }
    out.push(b'}');
}

fn tensors(out: &mut Vec<u8>, name: &str, tensors: &[Tensor], shown: Shown<'_>) {
    key(out, name);
    list(out, tensors.iter(), |out, tensor| {
        out.extend_from_slice(b"{\"name\":");
        string(out, &tensor.name);
        text(out, "datatype", tensor.datatype.name());
        key(out, "shape");
        list(out, tensor.shape.iter(), |out, &dim| integer(out, dim));
        if is_shown(&tensor.name, shown) {
            data(out, tensor);
        } else {
            out.extend_from_slice(b",\"redacted\":true");
        }
        out.push(b'}');
    });
}

fn is_shown(tensor: &str, shown: Shown<'_>) -> bool {
    shown.is_none_or(|names| names.iter().any(|name| name == tensor))
}

/// The elements as JSON, or the bytes as base64 where JSON cannot carry them, or they are long.
fn data(out: &mut Vec<u8>, tensor: &Tensor) {
    let before = out.len();
    if is_short(tensor) {
        key(out, "data");
        if plain(out, tensor) {
            return;
        }
        out.truncate(before);
    }
    text(out, "encoding", "base64");
    key(out, "data");
    put(out, format_args!("\"{}\"", Base64Display::new(&tensor.data, &STANDARD)));
}

fn is_short(tensor: &Tensor) -> bool {
    let elements = tensor.shape.iter().fold(1u64, |n, dim| n.saturating_mul(dim.unsigned_abs()));
    elements <= MAX_ELEMENTS && (tensor.datatype != Datatype::Bytes || tensor.data.len() <= MAX_TEXT_BYTES)
}

fn plain(out: &mut Vec<u8>, tensor: &Tensor) -> bool {
    if tensor.datatype == Datatype::Fp32 {
        list(out, fixed(&tensor.data), |out, b| fp32(out, f32::from_le_bytes(b)));
        return true;
    }
    elements(out, tensor.datatype, &tensor.data).is_ok()
}

/// FP32 in text that reads back to the same number, whichever way it is read.
///
/// Answers have the shortest text whose nearest FP32 is the value. Who reads a log mostly
/// takes the nearest FP64 first and narrows that: two roundings, which of a few values make
/// the neighbour (7.038531e-26). Those are written with the digits of the FP64 that they
/// equal, which narrows to the value exactly.
fn fp32(out: &mut Vec<u8>, value: f32) {
    let before = out.len();
    float(out, value);
    let text = std::str::from_utf8(&out[before..]).ok();
    if value.is_finite() && text.and_then(fp64).map(|wide| wide as f32) != Some(value) {
        out.truncate(before);
        float(out, f64::from(value));
    }
}

fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests;
