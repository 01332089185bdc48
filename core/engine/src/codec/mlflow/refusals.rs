//! What MLflow's clients are told, in the words that its own server has where it has some, and the
//! envelope of it.

use super::target::{Target, numpy_name};
use crate::codec::json::document::Words;
use crate::codec::json::{self, MAX_DEPTH};
use crate::error::{Error, ErrorCode};
use crate::status;
use crate::tensor::{Datatype, shown};
use bytes::Bytes;
use jiter::JiterError;
use std::fmt::{Display, Write};

/// Characters of a request that an error repeats.
const ECHOED: usize = 64;
/// Names that an error lists.
const LISTED: usize = 16;

/// The body of an answer that is an error.
pub fn error(error: &Error) -> Bytes {
    let code = status::mlflow_code(error.code);
    let mut text = format!("{{\"error_code\":\"{code}\",\"message\":{}", json::quoted(&error.message));
    text.push_str(match error.code {
        ErrorCode::SchemaMismatch => ",\"sqlstate\":\"KAM01\",\"error_class\":\"SCHEMA_ENFORCEMENT_FAILED\"}",
        _ if code == "BAD_REQUEST" => ",\"sqlstate\":\"KAM00\",\"error_class\":\"INVALID_PARAMETER_VALUE\"}",
        _ => "}",
    });
    text.into()
}

/// How MLflow says that a text is no JSON.
pub(super) struct Scoring;

impl Words for Scoring {
    #[cold]
    fn syntax(error: JiterError) -> Error {
        no_json_text(error)
    }

    #[cold]
    fn too_deep() -> Error {
        no_json_text(format_args!("nested more than {MAX_DEPTH} levels deep"))
    }
}

/// `'inputs', …` as MLflow writes a set of them.
const FORMATS: &str = "{'dataframe_records', 'dataframe_split', 'inputs', 'instances'}";

#[cold]
pub(super) fn no_json_text(why: impl Display) -> Error {
    Error::bad(format!("Invalid input. Ensure that input is a valid JSON formatted string. Error: '{why}'"))
}

#[cold]
pub(super) fn too_deep() -> Error {
    no_json_text(format_args!("nested more than {} levels deep", MAX_DEPTH / 2))
}

#[cold]
pub(super) fn not_a_dictionary(what: &str) -> Error {
    let received = match what {
        "an array" => "a list".to_owned(),
        other => format!("unexpected input type '{other}'"),
    };
    Error::bad(format!(
        "Invalid input. The input must be a JSON dictionary with exactly one of the input fields {FORMATS}. \
         Received {received}."
    ))
}

#[cold]
pub(super) fn not_one_format(found: &[&str]) -> Error {
    Error::bad(format!(
        "The input must be a JSON dictionary with exactly one of the input fields {FORMATS}. Received \
         dictionary with input fields: {}.",
        listed(found)
    ))
}

#[cold]
pub(super) fn for_language_models(key: &str) -> Error {
    Error::bad(format!(
        "Invalid input. '{key}' is of the form for language models, which no model here takes: send exactly \
         one of {FORMATS}."
    ))
}

#[cold]
pub(super) fn twice(key: &str) -> Error {
    Error::bad(format!("Invalid input. '{}' appears twice in one JSON object", shown(key)))
}

#[cold]
pub(super) fn split_not_a_dictionary(what: &str) -> Error {
    Error::bad(format!("Invalid input. Dataframe split format must be a dictionary. Got {}.", python(what)))
}

#[cold]
pub(super) fn split_fields(found: &[String]) -> Error {
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let names = listed(&found);
    Error::bad(format!(
        "Invalid input. Dataframe split format must have 'data' field and optionally 'columns' and 'index' \
         fields. Got {{{}}}.",
        &names[1..names.len() - 1]
    ))
}

#[cold]
pub(super) fn split_invalid(why: impl Display) -> Error {
    Error::bad(format!(
        "Invalid input. Provided dataframe_split field is not a valid dataframe representation in 'split' \
         format. Error: '{why}'"
    ))
}

#[cold]
pub(super) fn records_not_a_list(what: &str) -> Error {
    Error::bad(format!(
        "Invalid input. Dataframe records format must be a list of records. Got {}.",
        python(what)
    ))
}

#[cold]
pub(super) fn records_invalid(why: impl Display) -> Error {
    Error::bad(format!(
        "Invalid input. Provided dataframe_records field is not a valid dataframe representation in 'records' \
         format. Error: '{why}'"
    ))
}

/// What a client sent a table as: Parquet becomes CSV before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Csv,
    Parquet,
}

impl Table {
    #[cold]
    pub(super) fn invalid(self, why: impl Display) -> Error {
        let (form, method) = match self {
            Table::Csv => ("CSV-formatted", "to_csv"),
            Table::Parquet => ("Parquet", "to_parquet"),
        };
        Error::bad(format!(
            "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid {form} Pandas \
             DataFrame produced using the `pandas.DataFrame.{method}()` method. Error: '{why}'"
        ))
    }
}

#[cold]
pub(super) fn unequal_lengths() -> Error {
    Error::bad("Invalid input. The length of values for each input/column name are not the same")
}

#[cold]
pub(super) fn mixed_instances() -> Error {
    Error::bad(
        "Invalid input. The entries of a list are either all dictionaries of input names and values, or none is",
    )
}

#[cold]
pub(super) fn too_many_columns(most: usize) -> Error {
    Error::bad(format!("Invalid input. A data frame has at most {most} columns"))
}

/// `missing` cells that did not come, where a text may leave out `most`.
#[cold]
pub(super) fn too_many_missing(missing: usize, most: usize) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "a data frame in which {missing} cells did not come: a body of this size may leave out {most}; send \
             them as null, or fewer columns"
        ),
    )
}

#[cold]
pub(super) fn ragged(name: &str) -> Error {
    Error::bad(format!(
        "Invalid input. The arrays of input '{}' differ in length: the requested array has an inhomogeneous \
         shape",
        shown(name)
    ))
}

#[cold]
pub(super) fn nested_cells(name: &str) -> Error {
    Error::bad(format!(
        "Invalid input. Column '{}' holds lists beside other columns of one input",
        shown(name)
    ))
}

/// An alias that no version has is told as MLflow's registry does, and a number that no version can have
/// as one that none has.
pub fn not_run(error: Error, model: &str, version: &str) -> Error {
    if error.code != ErrorCode::BadRequest || version.is_empty() || version.parse::<i64>().is_ok() {
        return error;
    }
    let named = shown(version);
    let text = if version.bytes().all(|b| b.is_ascii_digit()) {
        format!("Request for unknown model: '{}' version {named} is not found", shown(model))
    } else {
        format!("Registered model alias {named} not found.")
    };
    Error::new(ErrorCode::NotFound, text)
}

// ----- values ---------------------------------------------------------------

fn of(target: &Target<'_>) -> String {
    as_type(target, target.declared)
}

fn as_type(target: &Target<'_>, datatype: Datatype) -> String {
    format!("(input '{}', {})", shown(target.name), numpy_name(datatype))
}

#[cold]
pub(super) fn no_float(target: &Target<'_>, text: &str) -> Error {
    Error::bad(format!("Invalid input. could not convert string to float: '{}' {}", echo(text), of(target)))
}

#[cold]
pub(super) fn no_integer(target: &Target<'_>, text: &str) -> Error {
    let text = echo(text);
    Error::bad(format!("Invalid input. invalid literal for int() with base 10: '{text}' {}", of(target)))
}

#[cold]
pub(super) fn no_bool(target: &Target<'_>, text: &str) -> Error {
    Error::bad(format!("Invalid input. '{}' is neither true nor false {}", echo(text), of(target)))
}

#[cold]
pub(super) fn missing_cell(target: &Target<'_>) -> Error {
    Error::bad(format!("Invalid input. a missing value cannot be converted {}", of(target)))
}

#[cold]
pub(super) fn cut(target: &Target<'_>, text: &str) -> Error {
    let text = echo(text);
    Error::bad(format!("Invalid input. {text} is no integer: the conversion would change it {}", of(target)))
}

/// By a conversion to `datatype`.
#[cold]
pub(super) fn rounded(target: &Target<'_>, datatype: Datatype, text: &str) -> Error {
    let (text, of) = (echo(text), as_type(target, datatype));
    Error::bad(format!("Invalid input. the conversion would round {text} {of}"))
}

/// Of `datatype`.
#[cold]
pub(super) fn out_of_range(target: &Target<'_>, datatype: Datatype, text: &str) -> Error {
    Error::bad(format!("Invalid input. {} is out of range {}", echo(text), as_type(target, datatype)))
}

#[cold]
pub(super) fn unfit(target: &Target<'_>, what: &str) -> Error {
    let wanted = match target.declared {
        Datatype::Bytes => "strings",
        _ => "numbers",
    };
    Error::bad(format!("Invalid input. expected {wanted}, got {what} {}", of(target)))
}

#[cold]
pub(super) fn no_datetime(target: &Target<'_>, text: &str) -> Error {
    Error::bad(format!(
        "Invalid input. '{}' is no date and time like 2026-11-30T12:30:00, without a time zone, of the years \
         1678 to 2261 {}",
        echo(text),
        of_kind(target, "datetime")
    ))
}

#[cold]
pub(super) fn no_base64(target: &Target<'_>, text: &str) -> Error {
    let text = echo(text);
    Error::bad(format!("Invalid input. '{text}' is not base64 {}", of_kind(target, "binary")))
}

#[cold]
pub(super) fn no_utf8(target: &Target<'_>, text: &str) -> Error {
    let (text, of) = (echo(text), of_kind(target, "binary"));
    Error::bad(format!("Invalid input. '{text}' stands for bytes that are not valid UTF-8 {of}"))
}

/// A value of a column of lists that is none, or one of lists of another depth.
#[cold]
pub(super) fn no_list(target: &Target<'_>) -> Error {
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
pub(super) fn incompatible(target: &Target<'_>) -> Error {
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

// ----- the schema -----------------------------------------------------------

/// How a request does not fit the schema: `data` is what it brings, `schema` what it should.
#[cold]
pub(super) fn mismatch(data: &str, schema: &str, reason: &str) -> Error {
    let data = echo(data);
    Error::new(
        ErrorCode::SchemaMismatch,
        format!(
            "Failed to predict data '{data}'. \nError: Failed to enforce schema of data '{data}' with schema \
             '{schema}'. Error: {reason}"
        ),
    )
}

/// All that is told where the setting `mlflow.schema_details` is off.
#[cold]
pub(super) fn terse_mismatch() -> Error {
    let words = "Failed to enforce model input schema. Please check your input data.";
    Error::new(ErrorCode::SchemaMismatch, words)
}

#[cold]
pub(super) fn missing_inputs(missing: &[&str], extra: &[String]) -> String {
    let mut text = format!("Model is missing inputs {}.", listed(missing));
    if !extra.is_empty() {
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, " Note that there were extra inputs: {}.", listed(&extra));
    }
    text
}

#[cold]
pub(super) fn extra_inputs(extra: &[String]) -> String {
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    format!("Model was given inputs that it does not have: {} (setting mlflow.strict).", listed(&extra))
}

#[cold]
pub(super) fn too_few(declared: usize, got: usize) -> String {
    format!(
        "Model inference is missing inputs. The model signature declares {declared} inputs but the provided \
         value only has {got} inputs. Note: the inputs were not named in the signature so we can only verify \
         their count."
    )
}

#[cold]
pub(super) fn wrong_shape(got: &[i64], expected: &[i64]) -> String {
    format!("Shape of input {} does not match expected shape {}.", tuple(got), tuple(expected))
}

#[cold]
pub(super) fn params(data: &str, why: &str) -> Error {
    Error::new(ErrorCode::SchemaMismatch, format!("Failed to predict data '{}'. \nError: {why}", echo(data)))
}

#[cold]
pub(super) fn unusable(why: &str) -> Error {
    Error::new(
        ErrorCode::Unimplemented,
        format!("The model's signature cannot be served in this form: {why}"),
    )
}

// ----- words ----------------------------------------------------------------

/// The beginning of what a client sent, on one line.
pub(super) fn echo(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHOED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(ECHOED).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A shape as Python writes it.
pub(super) fn tuple(shape: &[i64]) -> String {
    let mut text = String::from("(");
    for (i, dim) in shape.iter().take(LISTED).enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(&dim.to_string());
    }
    match shape.len() {
        1 => text.push(','),
        len if len > LISTED => text.push_str(", ..."),
        _ => {}
    }
    text.push(')');
    text
}

fn listed(names: &[&str]) -> String {
    let mut all: Vec<String> = names.iter().take(LISTED).map(|name| format!("'{}'", shown(name))).collect();
    if names.len() > LISTED {
        all.push("...".into());
    }
    format!("[{}]", all.join(", "))
}

/// What JSON calls something, as Python does.
fn python(what: &str) -> &str {
    match what {
        "an array" => "list",
        "an object" => "dictionary",
        other => other,
    }
}
