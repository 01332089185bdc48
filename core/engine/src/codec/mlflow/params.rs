//! `params`: held against the parameters that a model declares. No ONNX model reads them.

use super::plan::Plan;
use super::reader::Reader;
use super::refusals;
use crate::codec::json::document;
use crate::error::{Error, Result};
use crate::tensor::schema::{Param, ParamKind};
use jiter::Peek;

/// Containers open around a parameter's value.
const DEPTH: usize = 2;

/// Reads the value that the document is at: anything where the model declares none.
///
/// # Errors
/// `SchemaMismatch` naming the parameter whose value is of another type.
pub(super) fn read(reader: &mut Reader<'_>, plan: &Plan<'_>) -> Result<()> {
    let declared = &plan.signature.schema.params;
    if declared.is_empty() || reader.document.peek()? == Peek::Null {
        return reader.document.skip(1);
    }
    if let other @ (Peek::Array | Peek::String | Peek::True | Peek::False) = reader.document.peek()? {
        return Err(no_dictionary(plan, other));
    }
    if reader.document.peek()?.is_num() {
        let peek = reader.document.peek()?;
        return Err(no_dictionary(plan, peek));
    }
    let find = |text: &str| declared.iter().find(|param| &*param.name == text);
    let mut next = reader.document.object("'params'", find)?;
    while let Some(param) = next {
        match param {
            Some(param) => value(reader, plan, param)?,
            None => reader.document.skip(DEPTH)?,
        }
        next = reader.document.next_key(find)?;
    }
    Ok(())
}

fn no_dictionary(plan: &Plan<'_>, peek: Peek) -> Error {
    let why = format!("Parameters must be a dictionary. Got {}.", document::kind(peek));
    refusals::params(plan.text, &why)
}

fn value(reader: &mut Reader<'_>, plan: &Plan<'_>, param: &Param) -> Result<()> {
    match (reader.document.peek()?, param.list) {
        (Peek::Null, _) => reader.document.skip(DEPTH),
        (Peek::Array, true) => {
            let mut next = reader.document.known_array()?;
            while let Some(peek) = next {
                scalar(reader, plan, param, peek)?;
                next = reader.document.array_step()?;
            }
            Ok(())
        }
        (peek, true) if param.kind != ParamKind::Any => {
            Err(invalid(plan, param, &format!("expected a list, got {}", document::kind(peek))))
        }
        (peek, _) => scalar(reader, plan, param, peek),
    }
}

fn scalar(reader: &mut Reader<'_>, plan: &Plan<'_>, param: &Param, peek: Peek) -> Result<()> {
    let document = &mut reader.document;
    let is_number = peek.is_num();
    let (fits, wanted) = match param.kind {
        ParamKind::Any => (true, ""),
        ParamKind::Boolean => (matches!(peek, Peek::True | Peek::False), "a bool"),
        ParamKind::Text => (peek == Peek::String, "a string"),
        ParamKind::Float => (is_number, "a number"),
        ParamKind::Integer | ParamKind::Long => (is_number, "an integer"),
    };
    if !fits {
        let what = format!("expected {wanted}, got {}", document::kind(peek));
        return Err(invalid(plan, param, &what));
    }
    let text = if is_number { Some(document.number(peek)?) } else { None };
    let Some(text) = text else { return document.skip(DEPTH + 1) };
    let is_fit = match param.kind {
        ParamKind::Integer => text.parse::<i32>().is_ok(),
        ParamKind::Long => text.parse::<i64>().is_ok(),
        _ => true,
    };
    if is_fit {
        return Ok(());
    }
    let what = format!("expected {wanted} in its range, got {}", document::cut(text));
    Err(invalid(plan, param, &what))
}

#[cold]
fn invalid(plan: &Plan<'_>, param: &Param, what: &str) -> Error {
    let name = crate::tensor::shown(&param.name);
    refusals::params(plan.text, &format!("Invalid parameters found: '{name}': {what}"))
}
