//! Rows of a data frame, as objects and as lists; and columns as an object of lists.

use super::frame::Frame;
use super::reader::Reader;
use super::refusals;
use crate::codec::json::document;
use crate::error::Result;
use jiter::Peek;

/// `dataframe_records`, which the document is at.
///
/// # Errors
/// `BadRequest` for another form, and for cells that their columns cannot take.
pub(super) fn records(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>) -> Result<()> {
    match reader.document.peek()? {
        Peek::Array => {}
        other => return Err(refusals::records_not_a_list(document::kind(other))),
    }
    let mut next = reader.document.known_array()?;
    while let Some(peek) = next {
        if peek != Peek::Object {
            let why = format!("a record must be a dictionary, got {}", document::kind(peek));
            return Err(refusals::records_invalid(why));
        }
        record(reader, frame)?;
        next = reader.document.array_step()?;
    }
    Ok(())
}

/// A key of a record: the column that it names, or the name of a new one.
enum Key {
    Known(usize),
    New(String),
}

fn record(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>) -> Result<()> {
    frame.begin_row(reader)?;
    let mut hint = 0;
    let find = |frame: &Frame<'_, '_>, text: &str, hint| match frame.find(text, hint) {
        Some(at) => Key::Known(at),
        None => Key::New(text.to_owned()),
    };
    let mut next = reader.document.object("a record", |text| find(frame, text, hint))?;
    while let Some(key) = next {
        let at = match key {
            Key::Known(at) if frame.has_cell(at) => return Err(refusals::twice(frame.name(at))),
            Key::Known(at) => at,
            Key::New(name) => {
                crate::codec::names::name("a column's name", &name)?;
                frame.add(&name, reader)?
            }
        };
        frame.cell(at, reader)?;
        hint = at + 1;
        next = reader.document.next_key(|text| find(frame, text, hint))?;
    }
    Ok(())
}

/// Rows that are lists of cells; `named`: how many columns have names.
///
/// # Errors
/// As [`records`], and for rows that are longer than the list of names.
pub(super) fn lists(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>, named: Option<usize>) -> Result<()> {
    let mut next = match reader.document.peek()? {
        Peek::Array => reader.document.known_array()?,
        other => {
            return Err(refusals::split_invalid(format!(
                "rows must be a list, got {}",
                document::kind(other)
            )));
        }
    };
    while let Some(peek) = next {
        if peek != Peek::Array {
            return Err(refusals::split_invalid(format!(
                "a row must be a list, got {}",
                document::kind(peek)
            )));
        }
        list(reader, frame, named)?;
        next = reader.document.array_step()?;
    }
    Ok(())
}

fn list(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>, named: Option<usize>) -> Result<()> {
    frame.begin_row(reader)?;
    let mut at = 0;
    let mut next = reader.document.known_array()?;
    while next.is_some() {
        if at >= frame.columns() {
            if let Some(named) = named {
                return Err(refusals::split_invalid(format!("{named} columns passed, a row has more")));
            }
            frame.add(&at.to_string(), reader)?;
        }
        frame.cell(at, reader)?;
        at += 1;
        next = reader.document.array_step()?;
    }
    Ok(())
}

/// `inputs` or `instances` of a model whose signature has columns: an object of columns, a list of
/// records, a list of rows, or a list of the cells of one column.
///
/// # Errors
/// As [`records`], and for columns of different lengths.
pub(super) fn any(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>) -> Result<()> {
    match reader.document.peek()? {
        Peek::Object => return by_columns(reader, frame),
        Peek::Array => {}
        other => return Err(refusals::records_not_a_list(document::kind(other))),
    }
    let mut next = reader.document.known_array()?;
    let first = next;
    while let Some(peek) = next {
        match (first, peek) {
            (Some(Peek::Object), Peek::Object) => record(reader, frame)?,
            (Some(Peek::Array), Peek::Array) => list(reader, frame, None)?,
            (Some(Peek::Object | Peek::Array), _) | (_, Peek::Object | Peek::Array) => {
                return Err(refusals::mixed_instances());
            }
            _ => {
                frame.begin_row(reader)?;
                let at = if frame.columns() == 0 { frame.add("0", reader)? } else { 0 };
                frame.cell(at, reader)?;
            }
        }
        next = reader.document.array_step()?;
    }
    Ok(())
}

fn by_columns(reader: &mut Reader<'_>, frame: &mut Frame<'_, '_>) -> Result<()> {
    let mut next = reader.document.object("the columns", str::to_owned)?;
    while let Some(name) = next {
        crate::codec::names::name("a column's name", &name)?;
        let at = frame.add(&name, reader)?;
        frame.whole_column(at, reader)?;
        next = reader.document.next_key(str::to_owned)?;
    }
    Ok(())
}
