//! A file's inputs and outputs as it states them.

use super::{Result, fields, keep, last, messages, text};
use crate::codec::wire::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

const MAX_DEPTH: usize = 16;
const UNKNOWN: &str = "an unknown type";
/// ONNX's element types from 1 on, as onnxruntime writes them.
const ELEMENTS: [&str; 23] = [
    "float",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "string",
    "bool",
    "float16",
    "double",
    "uint32",
    "uint64",
    "complex64",
    "complex128",
    "bfloat16",
    "float8e4m3fn",
    "float8e4m3fnuz",
    "float8e5m2",
    "float8e5m2fnuz",
    "uint4",
    "int4",
    "float4e2m1",
];
// Fields of TypeProto.
const TENSOR: u32 = 1;
const SEQUENCE: u32 = 4;
const MAP: u32 = 5;
const SPARSE: u32 = 8;
const OPTIONAL: u32 = 9;

/// An input or output, as far as it is stated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated<'a> {
    pub name: Option<&'a str>,
    /// Whether an initializer has its name.
    pub is_given: bool,
    /// Its type as onnxruntime writes it: `seq(map(int64,tensor(float)))`; empty where none is.
    pub words: String,
    /// Of a tensor: its element type, 0 where none is stated.
    pub element: Option<u64>,
    /// Of a tensor with a shape: its dimensions, -1 for one that may vary.
    pub sizes: Option<Vec<i64>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface<'a> {
    pub inputs: Vec<Stated<'a>>,
    pub outputs: Vec<Stated<'a>>,
}

/// Of a serialized `ModelProto`.
pub fn read(model: &[u8]) -> Result<Interface<'_>> {
    let (mut found, mut given) = (Interface::default(), BTreeSet::new());
    for field in messages(model) {
        let (7, graph) = field? else { continue };
        for field in messages(graph) {
            match field? {
                (5, initializer) => given.extend(last(initializer, 8)?.map(text).transpose()?),
                (11, input) => keep(&mut found.inputs, stated(input)?)?,
                (12, output) => keep(&mut found.outputs, stated(output)?)?,
                _ => {}
            }
        }
    }
    for input in &mut found.inputs {
        input.is_given = input.name.is_some_and(|name| given.contains(name));
    }
    Ok(found)
}

fn stated(info: &[u8]) -> Result<Stated<'_>> {
    let mut found = Stated { name: last(info, 1)?.map(text).transpose()?, ..Stated::default() };
    let Some(stated) = last(info, 2)? else { return Ok(found) };
    if let Some(tensor) = last(stated, TENSOR)? {
        found.element = Some(element(tensor)?);
        found.sizes = last(tensor, 2)?.map(sizes).transpose()?;
    }
    if messages(stated).next().is_some() {
        write_type(stated, 1, &mut found.words)?;
    }
    Ok(found)
}

fn sizes(shape: &[u8]) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    for field in messages(shape) {
        let (1, dimension) = field? else { continue };
        let size = number(dimension)?.map_or(-1, |size| size as i64);
        keep(&mut found, if size > 0 { size } else { -1 })?;
    }
    Ok(found)
}

fn write_type(stated: &[u8], depth: usize, out: &mut String) -> Result<()> {
    if depth <= MAX_DEPTH {
        for field in messages(stated) {
            let (kind, value) = field?;
            if [TENSOR, SEQUENCE, MAP, SPARSE, OPTIONAL].contains(&kind) {
                return write_kind(kind, value, depth, out);
            }
        }
    }
    out.push_str(UNKNOWN);
    Ok(())
}

fn write_kind(kind: u32, value: &[u8], depth: usize, out: &mut String) -> Result<()> {
    let inner = |number| last(value, number).map(Option::unwrap_or_default);
    match kind {
        SEQUENCE | OPTIONAL => {
            out.push_str(if kind == SEQUENCE { "seq(" } else { "optional(" });
            write_type(inner(1)?, depth + 1, out)?;
        }
        MAP => {
            // Writing to a String does not fail.
            let _ = write!(out, "map({},", element_name(element(value)?));
            write_type(inner(2)?, depth + 1, out)?;
        }
        _ => {
            let sparse = if kind == SPARSE { "sparse_" } else { "" };
            let _ = write!(out, "{sparse}tensor({}", element_name(element(value)?));
        }
    }
    out.push(')');
    Ok(())
}

/// Of a tensor its element type, of a map its key's; 0 where none is stated.
fn element(data: &[u8]) -> Result<u64> {
    Ok(number(data)?.unwrap_or(0))
}

/// Field 1, where it is a number.
fn number(data: &[u8]) -> Result<Option<u64>> {
    let mut found = None;
    for field in fields(data) {
        if let (1, Value::Varint(number)) = field? {
            found = Some(number);
        }
    }
    Ok(found)
}

fn element_name(element: u64) -> &'static str {
    let place = usize::try_from(element).ok().and_then(|element| element.checked_sub(1));
    place.and_then(|place| ELEMENTS.get(place)).copied().unwrap_or(UNKNOWN)
}
