//! Parameters: entries of a `map<string, InferParameter>`, and what a request's mean.

use super::refusals::{no_sequences, reserved};
use crate::codec::InferRequest;
use crate::codec::names;
use crate::codec::parameter::{ALIAS, check_alias};
use crate::codec::place::{PREFIX, Placing};
use crate::codec::wire::{Reader, Value};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Parameter<'a> {
    Unset,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Double,
    Uint(u64),
}

impl Parameter<'_> {
    /// 0, "" and false say the same as no parameter at all.
    fn is_empty(self) -> bool {
        matches!(
            self,
            Parameter::Unset
                | Parameter::Bool(false)
                | Parameter::Int(0)
                | Parameter::Uint(0)
                | Parameter::Text("")
        )
    }
}

/// One entry of a `map<string, InferParameter>`.
pub(super) fn parameter(entry: &[u8]) -> Result<(&str, Parameter<'_>)> {
    let mut key = "";
    let mut parameter = Parameter::Unset;
    let mut reader = Reader::new(entry);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => key = value.text()?,
            2 => parameter = choice(value.len()?, parameter)?,
            _ => {}
        }
    }
    Ok((key, parameter))
}

fn choice<'a>(encoded: &'a [u8], mut parameter: Parameter<'a>) -> Result<Parameter<'a>> {
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = reader.field()? {
        parameter = match number {
            1 => Parameter::Bool(value.varint()? != 0),
            2 => Parameter::Int(value.varint()? as i64),
            3 => Parameter::Text(value.text()?),
            4 => Parameter::Double,
            5 => Parameter::Uint(value.varint()?),
            _ => parameter,
        };
    }
    Ok(parameter)
}

/// Takes what a request's own parameter says into the request.
pub(super) fn read(request: &mut InferRequest, value: Value<'_>) -> Result<()> {
    let (key, parameter) = parameter(value.len()?)?;
    match (key, parameter) {
        ("timeout", Parameter::Int(timeout)) => request.timeout_us = not_negative(key, timeout)?,
        ("timeout", _) => return Err(wrong_type(key, "int64_param")),
        ("priority", Parameter::Uint(priority)) => request.priority = priority,
        ("priority", Parameter::Int(priority)) => request.priority = not_negative(key, priority)?,
        ("priority", _) => return Err(wrong_type(key, "uint64_param or int64_param")),
        ("sequence_id" | "sequence_start" | "sequence_end", set) if !set.is_empty() => {
            return Err(no_sequences(key));
        }
        ("triton_enable_empty_final_response", _) => {}
        _ if key.starts_with("triton_") => return Err(reserved(key)),
        (ALIAS, Parameter::Text(alias)) => {
            check_alias(alias)?;
            request.keep_parameter(key, alias);
        }
        (ALIAS, set) if !set.is_empty() => return Err(wrong_type(key, "string_param")),
        (_, Parameter::Text(text)) => request.keep_parameter(key, text),
        (_, Parameter::Int(number)) => request.keep_parameter(key, itoa::Buffer::new().format(number)),
        (_, Parameter::Uint(number)) => request.keep_parameter(key, itoa::Buffer::new().format(number)),
        _ => {}
    }
    Ok(())
}

/// How many classes an output's parameter asks for.
pub(super) fn classes(parameter: Parameter<'_>) -> Result<usize> {
    match parameter {
        Parameter::Int(count) => {
            Ok(usize::try_from(not_negative("classification", count)?).unwrap_or(usize::MAX))
        }
        _ => Err(wrong_type("classification", "int64_param")),
    }
}

/// Takes what a tensor's own parameter says of its place; others say nothing here.
pub(super) fn read_place(placing: &mut Placing, key: &str, parameter: Parameter<'_>) -> Result<()> {
    let Some(rest) = key.strip_prefix(PREFIX) else { return Ok(()) };
    match (rest, parameter) {
        ("region", Parameter::Text(region)) => {
            placing.region = Some(names::name("a shared memory region's name", region)?.to_owned());
        }
        ("region", _) => return Err(wrong_type(key, "string_param")),
        ("offset", parameter) => placing.offset = Some(size(key, parameter)?),
        ("byte_size", parameter) => placing.byte_size = Some(size(key, parameter)?),
        _ => {}
    }
    Ok(())
}

fn size(key: &str, parameter: Parameter<'_>) -> Result<u64> {
    match parameter {
        Parameter::Int(size) => not_negative(key, size),
        Parameter::Uint(size) => Ok(size),
        _ => Err(wrong_type(key, "int64_param")),
    }
}

fn not_negative(key: &str, value: i64) -> Result<u64> {
    u64::try_from(value)
        .map_err(|_| Error::bad(format!("parameter '{key}' must not be negative, got {value}")))
}

fn wrong_type(key: &str, expected: &str) -> Error {
    Error::bad(format!("invalid value type for '{key}' parameter, expected {expected}."))
}
