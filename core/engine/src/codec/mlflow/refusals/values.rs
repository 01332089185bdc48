//! What clients are told of a value that is none of its input's.

use super::words::echo;
use crate::codec::mlflow::target::{Target, numpy_name};
use crate::error::{Error, ErrorCode};
use crate::tensor::{Datatype, shown};

fn of(target: &Target<'_>) -> String {
    as_type(target, target.declared)
}

fn as_type(target: &Target<'_>, datatype: Datatype) -> String {
    format!("(input '{}', {})", shown(target.name), numpy_name(datatype))
}

/// `what` quotes the value, `brief` does not.
#[cold]
fn refusal(target: &Target<'_>, what: &str, brief: &str, of: &str) -> Error {
    let brief = format!("Invalid input. {brief} {of}");
    Error::bad(format!("Invalid input. {what} {of}")).quoting(target.name, brief)
}

#[cold]
pub(in crate::codec::mlflow) fn no_float(target: &Target<'_>, text: &str) -> Error {
    let brief = "could not convert string to float";
    refusal(target, &format!("{brief}: '{}'", echo(text)), brief, &of(target))
}

#[cold]
pub(in crate::codec::mlflow) fn no_integer(target: &Target<'_>, text: &str) -> Error {
    let brief = "invalid literal for int() with base 10";
    refusal(target, &format!("{brief}: '{}'", echo(text)), brief, &of(target))
}

#[cold]
pub(in crate::codec::mlflow) fn no_bool(target: &Target<'_>, text: &str) -> Error {
    let what = format!("'{}' is neither true nor false", echo(text));
    refusal(target, &what, "a value is neither true nor false", &of(target))
}

#[cold]
pub(in crate::codec::mlflow) fn missing_cell(target: &Target<'_>) -> Error {
    Error::bad(format!("Invalid input. a missing value cannot be converted {}", of(target)))
}

#[cold]
pub(in crate::codec::mlflow) fn cut(target: &Target<'_>, text: &str) -> Error {
    let what = format!("{} is no integer: the conversion would change it", echo(text));
    refusal(target, &what, "a value is no integer: the conversion would change it", &of(target))
}

/// By a conversion to `datatype`.
#[cold]
pub(in crate::codec::mlflow) fn rounded(target: &Target<'_>, datatype: Datatype, text: &str) -> Error {
    let what = format!("the conversion would round {}", echo(text));
    refusal(target, &what, "the conversion would round a value", &as_type(target, datatype))
}

/// Of `datatype`.
#[cold]
pub(in crate::codec::mlflow) fn out_of_range(target: &Target<'_>, datatype: Datatype, text: &str) -> Error {
    let what = format!("{} is out of range", echo(text));
    refusal(target, &what, "a value is out of range", &as_type(target, datatype))
}

#[cold]
pub(in crate::codec::mlflow) fn unfit(target: &Target<'_>, what: &str) -> Error {
    let wanted = match target.declared {
        Datatype::Bytes => "strings",
        _ => "numbers",
    };
    Error::bad(format!("Invalid input. expected {wanted}, got {what} {}", of(target)))
}

#[cold]
pub(in crate::codec::mlflow) fn no_datetime(target: &Target<'_>, text: &str) -> Error {
    let no_datetime =
        "is no date and time like 2026-11-30T12:30:00, without a time zone, of the years 1678 to 2261";
    let what = format!("'{}' {no_datetime}", echo(text));
    refusal(target, &what, &format!("a value {no_datetime}"), &of_kind(target, "datetime"))
}

#[cold]
pub(in crate::codec::mlflow) fn no_base64(target: &Target<'_>, text: &str) -> Error {
    let what = format!("'{}' is not base64", echo(text));
    refusal(target, &what, "a value is not base64", &of_kind(target, "binary"))
}

#[cold]
pub(in crate::codec::mlflow) fn no_utf8(target: &Target<'_>, text: &str) -> Error {
    let what = format!("'{}' stands for bytes that are not valid UTF-8", echo(text));
    refusal(target, &what, "a value stands for bytes that are not valid UTF-8", &of_kind(target, "binary"))
}

/// A value of a column of lists that is none, or one of lists of another depth.
#[cold]
pub(in crate::codec::mlflow) fn no_list(target: &Target<'_>) -> Error {
    let depth = match target.lists {
        1 => "a list".to_owned(),
        lists => format!("lists of {lists} levels"),
    };
    Error::bad(format!("Invalid input. expected {depth} in each row {}", of_kind(target, "array")))
}

fn of_kind(target: &Target<'_>, kind: &str) -> String {
    format!("(input '{}', {kind})", shown(target.name))
}

/// What is declared and what the model takes do not go together.
#[cold]
pub(in crate::codec::mlflow) fn incompatible(target: &Target<'_>) -> Error {
    Error::new(
        ErrorCode::SchemaMismatch,
        format!(
            "Incompatible input types for column {}. Can not safely convert {} to {}.",
            shown(target.name),
            numpy_name(target.declared),
            numpy_name(target.datatype)
        ),
    )
}
