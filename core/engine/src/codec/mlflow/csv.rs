//! CSV as pandas writes it: a line of names, then rows. Quotes that do not end are refused, which no
//! parser at hand does.

use super::cells::Value;
use super::frame::Frame;
use super::plan::Plan;
use super::reader::Reader;
use super::refusals::Table;
use crate::codec::InputTensor;
use crate::codec::names;
use crate::error::Result;
use std::borrow::Cow;

/// The inputs that are made of the columns.
///
/// # Errors
/// `BadRequest` for what is no CSV, and for cells that their columns cannot take; those of
/// [`Frame::finish`].
pub(super) fn read(reader: &mut Reader<'_>, plan: &Plan<'_>, came_as: Table) -> Result<Vec<InputTensor>> {
    let mut frame = Frame::new(plan);
    let mut text = Text { rest: plan.text, line: 1, came_as };
    if !text.begin_row() {
        return Err(came_as.invalid("no columns to parse from it"));
    }
    let mut more = true;
    while more {
        let name = text.field()?;
        names::name("a column's name", &name.text)?;
        frame.add(&name.text, reader)?;
        more = name.more;
    }
    while text.begin_row() {
        frame.begin_row(reader)?;
        let (mut at, mut more) = (0, true);
        while more {
            if at >= frame.columns() {
                let (columns, line) = (frame.columns(), text.line);
                return Err(came_as.invalid(format!("line {line} has more than {columns} fields")));
            }
            let field = text.field()?;
            frame.put(at, field.value(), reader)?;
            at += 1;
            more = field.more;
        }
    }
    frame.finish(reader)
}

struct Field<'t> {
    text: Cow<'t, str>,
    quoted: bool,
    /// Whether another one follows in its row.
    more: bool,
}

impl Field<'_> {
    /// What is empty without quotes is not there, also in a column of texts.
    fn value(&self) -> Value<'_> {
        if self.text.is_empty() && !self.quoted { Value::Missing } else { Value::Cell(&self.text) }
    }
}

struct Text<'t> {
    rest: &'t str,
    line: usize,
    came_as: Table,
}

impl<'t> Text<'t> {
    /// Whether another row begins; empty lines are passed over.
    fn begin_row(&mut self) -> bool {
        loop {
            let rest = self.rest;
            match rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])) {
                Some(after) => {
                    self.rest = after;
                    self.line += 1;
                }
                None => return !rest.is_empty(),
            }
        }
    }

    fn field(&mut self) -> Result<Field<'t>> {
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return self.quoted(quoted);
        }
        let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
        let field = &self.rest[..end];
        self.rest = &self.rest[end..];
        Ok(Field { text: Cow::Borrowed(field), quoted: false, more: self.separator() })
    }

    fn quoted(&mut self, text: &'t str) -> Result<Field<'t>> {
        let mut field = Cow::Borrowed("");
        let mut rest = text;
        loop {
            let Some(end) = rest.find('"') else {
                let line = self.line;
                return Err(self
                    .came_as
                    .invalid(format!("the quote that begins in line {line} does not end")));
            };
            let part = &rest[..end];
            rest = &rest[end + 1..];
            if field.is_empty() {
                field = Cow::Borrowed(part);
            } else {
                field.to_mut().push_str(part);
            }
            match rest.strip_prefix('"') {
                Some(after) => {
                    field.to_mut().push('"');
                    rest = after;
                }
                None => break,
            }
        }
        self.line += field.matches('\n').count();
        if !rest.is_empty() && !rest.starts_with([',', '\n', '\r']) {
            let line = self.line;
            return Err(self.came_as.invalid(format!("line {line} goes on behind a quoted field")));
        }
        self.rest = rest;
        Ok(Field { text: field, quoted: true, more: self.separator() })
    }

    /// Passes over what ends a field.
    fn separator(&mut self) -> bool {
        if let Some(after) = self.rest.strip_prefix(',') {
            self.rest = after;
            return true;
        }
        let rest = self.rest;
        if let Some(after) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])) {
            self.rest = after;
            self.line += 1;
        }
        false
    }
}
