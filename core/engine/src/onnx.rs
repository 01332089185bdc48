//! ONNX files, read off their bytes: without onnxruntime, and without classes made for them.
//!
//! Nothing is allocated for what a file merely claims: lists grow by what stands there, depth is
//! bounded, weights are looked at where they lie. Field numbers are those of ONNX's public schema.

pub mod beside;
pub mod constant;
pub mod file;
pub mod graph;
pub mod interface;

use crate::codec::wire::{CUT, Malformed, Reader, Value};
use std::borrow::Cow;
use std::fmt;

/// Why bytes are no whole ONNX protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOnnx {
    Cut,
    Malformed,
    NotUtf8,
    /// Graphs in graphs, and how many are read.
    TooDeep(usize),
    /// No fault of the file's: there is no memory for what it holds.
    NoMemory,
}

/// What it does or has, as the end of a sentence.
impl fmt::Display for NotOnnx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotOnnx::Cut => f.write_str("ends in the middle of a field"),
            NotOnnx::Malformed => f.write_str("is not an ONNX protobuf"),
            NotOnnx::NotUtf8 => f.write_str("holds a name that is not UTF-8"),
            NotOnnx::TooDeep(most) => write!(f, "has graphs nested more than {most} deep"),
            NotOnnx::NoMemory => f.write_str("holds more than there is memory for"),
        }
    }
}

impl From<Malformed> for NotOnnx {
    fn from(malformed: Malformed) -> Self {
        if malformed == CUT { NotOnnx::Cut } else { NotOnnx::Malformed }
    }
}

type Result<T> = std::result::Result<T, NotOnnx>;

fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>)>> {
    let mut reader = Reader::of_file(message);
    std::iter::from_fn(move || reader.field().map_err(NotOnnx::from).transpose())
}

/// The length-delimited fields of a message, the others skipped.
fn messages(message: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8])>> {
    fields(message).filter_map(|field| match field {
        Ok((number, Value::Len(value))) => Some(Ok((number, value))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// As protobuf has it, the last one of a field counts.
fn last(message: &[u8], wanted: u32) -> Result<Option<&[u8]>> {
    let mut found = None;
    for field in messages(message) {
        let (number, value) = field?;
        if number == wanted {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Where there is no memory for a list whose length a file decides, that ends the read and not the
/// process.
fn keep<T>(into: &mut Vec<T>, one: T) -> Result<()> {
    into.try_reserve(1).map_err(|_| NotOnnx::NoMemory)?;
    into.push(one);
    Ok(())
}

fn text(value: &[u8]) -> Result<&str> {
    std::str::from_utf8(value).map_err(|_| NotOnnx::NotUtf8)
}

/// A message whose field is there several times: as protobuf has it, each goes on with those
/// before.
fn merged<'a>(parts: &[&'a [u8]]) -> Result<Cow<'a, [u8]>> {
    if let [one] = parts {
        return Ok(Cow::Borrowed(one));
    }
    let mut all = Vec::new();
    all.try_reserve_exact(parts.iter().map(|part| part.len()).sum()).map_err(|_| NotOnnx::NoMemory)?;
    parts.iter().for_each(|part| all.extend_from_slice(part));
    Ok(Cow::Owned(all))
}

#[cfg(test)]
mod tests;
