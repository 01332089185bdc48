//! Spans as OTLP's protobuf messages.
//!
//! What differs from span to span is written here. What many share comes from whoever
//! encodes, as a [`Template`] that is asked for once and kept: it is most of a message,
//! and whoever makes it may take a hundred times as long as all the rest.

use super::span::{Kind, REQUEST_ID, Span};
use super::trace::Context;
use crate::fields::{Fields, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Clients choose some attributes, so they choose how many templates there are.
const MAX_TEMPLATES: usize = 1024;
/// Characters of a text; clients chose it too.
const MAX_TEXT: usize = 1024;

// Field numbers and wire types. Of a scope:
const SPANS: u8 = 0x12;
// Of a span:
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
const MESSAGE: u8 = 0x12;
const CODE_ERROR: [u8; 2] = [0x18, 2];

const SAMPLED: u32 = 0x01;
/// Whether a parent's place is known, and where it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// What all spans share that have the same name, kind and [`common`] attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Fields of a `Span` message: `name`, `kind`, `attributes`.
    pub fields: Vec<u8>,
    /// Whether an error of theirs is the server's: the status of the span then, else an
    /// attribute.
    pub is_fault: bool,
}

/// The attributes that a template is made of: those that don't tell one request.
pub fn common(span: &Span) -> impl Iterator<Item = &(&'static str, Value)> {
    span.attributes.iter().filter(|(name, _)| *name != REQUEST_ID)
}

#[derive(Debug)]
pub struct Encoder {
    /// The exported names of two attributes.
    request_id: String,
    message: String,
    templates: HashMap<Box<[u8]>, Arc<Template>>,
    // Used again for every span.
    key: Vec<u8>,
    body: Vec<u8>,
}

impl Encoder {
    /// `request_id`, `message`: what the attributes with a request's id and with the error
    /// that the client made are called.
    pub fn new(request_id: String, message: String) -> Encoder {
        let (key, body) = (Vec::new(), Vec::new());
        Encoder { request_id, message, templates: HashMap::new(), key, body }
    }

    /// The spans as the `spans` of a `ScopeSpans` message. `make` is asked for templates
    /// that are not known; its error ends the encoding.
    pub fn encode<'a, E>(
        &mut self,
        spans: impl Iterator<Item = &'a Span>,
        mut make: impl FnMut(&Span) -> Result<Template, E>,
    ) -> Result<Vec<u8>, E> {
        let mut out = Vec::new();
        for span in spans {
            let template = self.template(span, &mut make)?;
            self.write_body(span, &template);
            put(&mut out, SPANS, &self.body);
        }
        Ok(out)
    }

    fn template<E>(
        &mut self,
        span: &Span,
        make: impl FnOnce(&Span) -> Result<Template, E>,
    ) -> Result<Arc<Template>, E> {
        write_key(&mut self.key, span);
        if let Some(known) = self.templates.get(self.key.as_slice()) {
            return Ok(known.clone());
        }
        let made = Arc::new(make(span)?);
        if self.templates.len() >= MAX_TEMPLATES {
            // Those in use are soon here again.
            self.templates.clear();
        }
        self.templates.insert(self.key.as_slice().into(), made.clone());
        Ok(made)
    }

    fn write_body(&mut self, span: &Span, template: &Template) {
        let body = &mut self.body;
        body.clear();
        body.extend_from_slice(&template.fields);
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
            put_attribute(body, &self.request_id, cut(id));
        }
        span.links.iter().for_each(|link| put_link(body, link));
        match cut(&span.error) {
            "" => {}
            error if template.is_fault => put_status(body, error),
            error => put_attribute(body, &self.message, error),
        }
    }
}

/// Two spans have the same key when they may share a template.
fn write_key(key: &mut Vec<u8>, span: &Span) {
    key.clear();
    put_key_text(key, span.name);
    key.push(span.kind as u8);
    for (name, value) in common(span) {
        put_key_text(key, name);
        match value {
            Value::Text(text) => {
                key.push(0);
                put_key_text(key, text);
            }
            Value::Int(number) => put_fixed(key, 1, &number.to_le_bytes()),
            Value::Float(number) => put_fixed(key, 2, &number.to_bits().to_le_bytes()),
        }
    }
}

/// With its length, so that no two lists of texts are the same bytes.
fn put_key_text(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(&text.len().to_le_bytes());
    key.extend_from_slice(text.as_bytes());
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

fn put_attribute(out: &mut Vec<u8>, key: &str, text: &str) {
    let value = field_len(text.len());
    put_head(out, ATTRIBUTES, field_len(key.len()) + field_len(value));
    put(out, KEY, key.as_bytes());
    put_head(out, VALUE, value);
    put(out, TEXT, text.as_bytes());
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

fn put_head(out: &mut Vec<u8>, tag: u8, mut len: usize) {
    out.push(tag);
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
}

/// Bytes of a field with so much in it.
fn field_len(content: usize) -> usize {
    let digits = (usize::BITS - (content | 1).leading_zeros()).div_ceil(7);
    1 + digits as usize + content
}

#[cfg(test)]
mod tests;
