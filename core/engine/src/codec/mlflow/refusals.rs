//! What MLflow's clients are told, in the words that its own server has where it has some, and the
//! envelope of it.

mod schema;
mod values;
mod words;

use crate::codec::json::document::Words;
use crate::codec::json::{self, MAX_DEPTH};
use crate::error::{Error, ErrorCode};
use crate::status;
use crate::tensor::shown;
use bytes::Bytes;
use jiter::JiterError;
pub(super) use schema::{
    extra_inputs, mismatch, missing_inputs, params, terse_mismatch, too_few, unusable, wrong_shape,
};
use std::fmt::Display;
pub(super) use values::{
    cut, incompatible, missing_cell, no_base64, no_bool, no_datetime, no_float, no_integer, no_list, no_utf8,
    out_of_range, rounded, unfit,
};
pub(super) use words::tuple;
use words::{listed, python};

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
