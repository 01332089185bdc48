//! What clients are told of a request that does not fit the model's schema.

use super::words::{echo, listed, tuple};
use crate::error::{Error, ErrorCode};
use std::fmt::Write;

/// How a request does not fit the schema: `data` is what it brings, `schema` what it should.
#[cold]
pub(in crate::codec::mlflow) fn mismatch(data: &str, schema: &str, reason: &str) -> Error {
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
pub(in crate::codec::mlflow) fn terse_mismatch() -> Error {
    let words = "Failed to enforce model input schema. Please check your input data.";
    Error::new(ErrorCode::SchemaMismatch, words)
}

#[cold]
pub(in crate::codec::mlflow) fn missing_inputs(missing: &[&str], extra: &[String]) -> String {
    let mut text = format!("Model is missing inputs {}.", listed(missing));
    if !extra.is_empty() {
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, " Note that there were extra inputs: {}.", listed(&extra));
    }
    text
}

#[cold]
pub(in crate::codec::mlflow) fn extra_inputs(extra: &[String]) -> String {
    let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    format!("Model was given inputs that it does not have: {} (setting mlflow.strict).", listed(&extra))
}

#[cold]
pub(in crate::codec::mlflow) fn too_few(declared: usize, got: usize) -> String {
    format!(
        "Model inference is missing inputs. The model signature declares {declared} inputs but the provided \
         value only has {got} inputs. Note: the inputs were not named in the signature so we can only verify \
         their count."
    )
}

#[cold]
pub(in crate::codec::mlflow) fn wrong_shape(got: &[i64], expected: &[i64]) -> String {
    format!("Shape of input {} does not match expected shape {}.", tuple(got), tuple(expected))
}

#[cold]
pub(in crate::codec::mlflow) fn params(data: &str, why: &str) -> Error {
    Error::new(ErrorCode::SchemaMismatch, format!("Failed to predict data '{}'. \nError: {why}", echo(data)))
}

#[cold]
pub(in crate::codec::mlflow) fn unusable(why: &str) -> Error {
    Error::new(
        ErrorCode::Unimplemented,
        format!("The model's signature cannot be served in this form: {why}"),
    )
}
