//! `dataframe_split`: names of columns, and rows of cells.

use super::frame::Frame;
use super::reader::Reader;
use super::{refusals, rows};
use crate::codec::json::document::{self, Document};
use crate::error::Result;
use crate::stop::Stop;
use jiter::Peek;

/// Containers open around what stands in the object.
const DEPTH: usize = 2;

#[derive(Clone)]
enum Key {
    Columns,
    Index,
    Data,
    Other(String),
}

fn key(text: &str) -> Key {
    match text {
        "columns" => Key::Columns,
        "index" => Key::Index,
        "data" => Key::Data,
        other => Key::Other(crate::tensor::shown(other)),
    }
}

fn name(key: &Key) -> String {
    match key {
        Key::Columns => "columns".into(),
        Key::Index => "index".into(),
        Key::Data => "data".into(),
        Key::Other(name) => name.clone(),
    }
}

/// Reads the value that the document is at.
///
/// # Errors
/// `BadRequest` for another form, cells that their columns cannot take, rows that are longer than the
/// list of columns.
pub(super) fn read<'a>(reader: &mut Reader<'a>, frame: &mut Frame<'_, '_>, stop: &'a Stop) -> Result<()> {
    match reader.document.peek()? {
        Peek::Object => {}
        other => return Err(refusals::split_not_a_dictionary(document::kind(other))),
    }
    let mut fields: Vec<String> = Vec::new();
    let (mut named, mut later, mut unknown) = (None, None, false);
    let mut next = reader.document.object("dataframe_split", key)?;
    while let Some(key) = next {
        let name = name(&key);
        if fields.contains(&name) {
            return Err(refusals::twice(&name));
        }
        if fields.len() < 8 {
            fields.push(name);
        }
        match key {
            Key::Columns => named = columns(reader, frame)?,
            Key::Index => index(reader)?,
            // Until the columns are known it is only passed over.
            Key::Data if named.is_none() => later = Some(reader.document.value(DEPTH)?),
            Key::Data => rows::lists(reader, frame, named)?,
            Key::Other(_) => {
                unknown = true;
                reader.document.skip(DEPTH)?;
            }
        }
        next = reader.document.next_key(self::key)?;
    }
    if unknown || !fields.iter().any(|name| name == "data") {
        return Err(refusals::split_fields(&fields));
    }
    match later {
        None => Ok(()),
        Some(text) => {
            let document = std::mem::replace(&mut reader.document, Document::new(text, stop));
            let read = rows::lists(reader, frame, named);
            reader.document = document;
            read
        }
    }
}

/// The names, and how many they are; `None` where none are given.
fn columns(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>) -> Result<Option<usize>> {
    if reader.document.null()? {
        return Ok(None);
    }
    let mut next = match reader.document.peek()? {
        Peek::Array => reader.document.known_array()?,
        other => {
            let why = format!("'columns' must be a list, got {}", document::kind(other));
            return Err(refusals::split_invalid(why));
        }
    };
    while let Some(peek) = next {
        let name = match peek {
            Peek::String => reader.document.known_string()?.to_owned(),
            peek if peek.is_num() => reader.document.number(peek)?.to_owned(),
            other => {
                let why = format!("a column's name must be a string, got {}", document::kind(other));
                return Err(refusals::split_invalid(why));
            }
        };
        crate::codec::names::name("a column's name", &name)?;
        frame.add(&name, reader)?;
        next = reader.document.array_step()?;
    }
    Ok(Some(frame.columns()))
}

fn index(reader: &mut Reader<'_>) -> Result<()> {
    match reader.document.peek()? {
        Peek::Array | Peek::Null => reader.document.skip(DEPTH),
        other => {
            Err(refusals::split_invalid(format!("'index' must be a list, got {}", document::kind(other))))
        }
    }
}
