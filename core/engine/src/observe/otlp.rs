//! Spans as OTLP's protobuf messages. What attributes are called is told once, as [`Names`].

use super::span::{Kind, REQUEST_ID, Span};
use super::trace::Context;
use crate::error::ErrorCode;
use crate::fields::{Fields, Value};
use crate::stats::Protocol;
use crate::status::{grpc_code, http_status};

/// Characters of a text; clients chose it.
const MAX_TEXT: usize = 1024;

// Field numbers and wire types. Of a scope:
const SPANS: u8 = 0x12;
// Of a span:
const NAME: u8 = 0x2a;
const KIND: u8 = 0x30;
const TRACE_ID: u8 = 0x0a;
const SPAN_ID: u8 = 0x12;
const PARENT_ID: u8 = 0x22;
const START: u8 = 0x39;
const END: u8 = 0x41;
const ATTRIBUTES: u8 = 0x4a;
const LINKS: u8 = 0x6a;
const STATUS: u8 = 0x7a;
const FLAGS: [u8; 2] = [0x85, 0x01];
// Of a link, after ids like the span's:
const LINK_FLAGS: u8 = 0x35;
const LINK_LEN: usize = (2 + 16) + (2 + 8) + (1 + 4);
// Of an attribute, its value and a status:
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;
const TEXT: u8 = 0x0a;
const INT: u8 = 0x18;
const DOUBLE: u8 = 0x21;
const MESSAGE: u8 = 0x12;
const CODE_ERROR: [u8; 2] = [0x18, 2];

const SAMPLED: u32 = 0x01;
/// Whether a parent's place is known, and where it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// What the attributes of a door's requests are called.
#[derive(Clone, Debug, PartialEq)]
pub struct Door {
    pub protocol: Protocol,
    /// Serialized attributes of all its requests: before the method and the code, and after.
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    pub method: String,
    pub code: String,
    /// The codes that say that an error is the server's.
    pub faults: Vec<i64>,
}

/// What attributes are called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// Before the core's own names.
    pub prefix: String,
    /// Of an error that is the client's, and of the error's word.
    pub message: String,
    pub error: String,
    pub doors: Vec<Door>,
}

/// The spans as the `spans` of a `ScopeSpans` message.
pub fn encode<'a>(spans: impl Iterator<Item = &'a Span>, names: &Names) -> Vec<u8> {
    let (mut out, mut body) = (Vec::new(), Vec::new());
    for span in spans {
        body.clear();
        write_body(&mut body, span, names);
        put(&mut out, SPANS, &body);
    }
    out
}

fn write_body(body: &mut Vec<u8>, span: &Span, names: &Names) {
    put(body, NAME, span.name.as_bytes());
    put_fixed(body, KIND, &[kind_number(span.kind)]);
    let is_fault = put_common(body, &span.attributes, names);
    put(body, TRACE_ID, &span.trace.bytes());
    put(body, SPAN_ID, &span.span.bytes());
    if let Some(parent) = span.parent {
        put(body, PARENT_ID, &parent.bytes());
    }
    put_fixed(body, START, &span.start_ns.to_le_bytes());
    put_fixed(body, END, &span.end_ns.to_le_bytes());
    body.extend_from_slice(&FLAGS);
    body.extend_from_slice(&flags(span).to_le_bytes());
    if let Some(id) = text_of(&span.attributes, REQUEST_ID) {
        put_attribute(body, &[&names.prefix, REQUEST_ID], &Value::Text(id.into()));
    }
    span.links.iter().for_each(|link| put_link(body, link));
    match cut(&span.error) {
        "" => {}
        error if is_fault => put_status(body, error),
        error => put_attribute(body, &[&names.message], &Value::Text(error.into())),
    }
}

/// OTLP's `SpanKind`.
fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
    }
}

/// The attributes that don't tell one request, texts that say nothing left out; whether an error
/// of theirs is the server's: the status of the span then, else an attribute.
fn put_common(body: &mut Vec<u8>, attributes: &Fields, names: &Names) -> bool {
    for (name, value) in attributes {
        let is_door = ["protocol", "method"].contains(name);
        if !is_door && *name != REQUEST_ID && *value != Value::Text(String::new()) {
            put_attribute(body, &[&names.prefix, name], value);
        }
    }
    let protocol = text_of(attributes, "protocol");
    let status = text_of(attributes, "status");
    let door = names.doors.iter().find(|door| Some(door.protocol.name()) == protocol);
    let is_fault = door.is_none_or(|door| put_door(body, attributes, status, door));
    if let Some(word) = status.filter(|&word| word != "ok") {
        put_attribute(body, &[&names.error], &Value::Text(word.into()));
    }
    is_fault
}

fn put_door(body: &mut Vec<u8>, attributes: &Fields, status: Option<&str>, door: &Door) -> bool {
    let method = text_of(attributes, "method").unwrap_or_default();
    let code = code(door.protocol, status.unwrap_or("ok"));
    body.extend_from_slice(&door.before);
    put_attribute(body, &[&door.method], &Value::Text(method.into()));
    put_attribute(body, &[&door.code], &Value::Int(code));
    body.extend_from_slice(&door.after);
    status.is_none() || door.faults.contains(&code)
}

/// What a door calls an outcome.
fn code(protocol: Protocol, status: &str) -> i64 {
    let word = if status == "ok" { None } else { Some(ErrorCode::from_name(status)) };
    match (protocol, word.map(|word| word.unwrap_or(ErrorCode::Internal))) {
        (Protocol::Grpc, word) => word.map_or(0, grpc_code).into(),
        (Protocol::Http, word) => word.map_or(200, |word| http_status(word).as_u16()).into(),
    }
}

fn flags(span: &Span) -> u32 {
    match (span.parent, span.kind) {
        (None, _) => SAMPLED,
        // The caller may be traced elsewhere.
        (Some(_), Kind::Server) => SAMPLED | HAS_IS_REMOTE | IS_REMOTE,
        (Some(_), Kind::Internal) => SAMPLED | HAS_IS_REMOTE,
    }
}

fn text_of<'a>(attributes: &'a Fields, name: &str) -> Option<&'a str> {
    attributes.iter().find_map(|(key, value)| match value {
        Value::Text(text) if *key == name && !text.is_empty() => Some(text.as_str()),
        _ => None,
    })
}

fn cut(text: &str) -> &str {
    // No character is less than a byte: most texts need no counting.
    if text.len() <= MAX_TEXT {
        return text;
    }
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}

fn put_link(out: &mut Vec<u8>, link: &Context) {
    put_head(out, LINKS, LINK_LEN);
    put(out, TRACE_ID, &link.trace.bytes());
    put(out, SPAN_ID, &link.span.bytes());
    put_fixed(out, LINK_FLAGS, &u32::from(link.sampled).to_le_bytes());
}

/// `key`: its parts.
fn put_attribute(out: &mut Vec<u8>, key: &[&str], value: &Value) {
    let mut encoded = Vec::new();
    match value {
        Value::Text(text) => put(&mut encoded, TEXT, cut(text).as_bytes()),
        Value::Int(number) => put_number(&mut encoded, INT, *number as u64),
        Value::Float(number) => put_fixed(&mut encoded, DOUBLE, &number.to_le_bytes()),
    }
    let key_len = key.iter().map(|part| part.len()).sum();
    put_head(out, ATTRIBUTES, field_len(key_len) + field_len(encoded.len()));
    put_head(out, KEY, key_len);
    key.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    put(out, VALUE, &encoded);
}

fn put_status(out: &mut Vec<u8>, message: &str) {
    put_head(out, STATUS, field_len(message.len()) + CODE_ERROR.len());
    put(out, MESSAGE, message.as_bytes());
    out.extend_from_slice(&CODE_ERROR);
}

/// A field that has a length.
fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    put_head(out, tag, content.len());
    out.extend_from_slice(content);
}

fn put_fixed(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    out.extend_from_slice(content);
}

fn put_head(out: &mut Vec<u8>, tag: u8, len: usize) {
    put_number(out, tag, len as u64);
}

fn put_number(out: &mut Vec<u8>, tag: u8, mut number: u64) {
    out.push(tag);
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of a field with so much in it.
fn field_len(content: usize) -> usize {
    let digits = (usize::BITS - (content | 1).leading_zeros()).div_ceil(7);
    1 + digits as usize + content
}

#[cfg(test)]
mod tests;
