//! What JSON is refused with, in TensorFlow Serving's words, which its clients look for.

use crate::codec::json::document::{self, MAX_DEPTH};
use crate::codec::tensorflow;
use crate::error::{Error, ErrorCode};
use crate::tensor::{Datatype, Signature, shown};
use jiter::{JiterError, Peek};

/// Of texts that are no JSON.
pub(super) struct Words;

pub(super) type Document<'j> = document::Document<'j, Words>;

impl document::Words for Words {
    #[cold]
    fn syntax(error: JiterError) -> Error {
        let what = error.error_type.to_string();
        parse_error(format_args!("{}.", what.trim_end_matches('.')), error.index)
    }

    #[cold]
    fn too_deep() -> Error {
        Error::bad(format!("JSON Parse error: nested more than {MAX_DEPTH} levels deep"))
    }
}

/// `what` ends with a full stop.
#[cold]
pub(super) fn parse_error(what: impl std::fmt::Display, offset: usize) -> Error {
    Error::bad(format!("JSON Parse error: {what} at offset: {offset}"))
}

#[cold]
pub(super) fn twice(key: &str) -> Error {
    Error::bad(format!("key '{key}' appears twice in the request"))
}

/// The model has no signature of that name.
#[cold]
pub(super) fn not_found(name: &str) -> Error {
    Error::bad(format!("Serving signature name: \"{}\" not found in signature def", shown(name)))
}

/// Prediction asks for another signature than the model's own: for one that another call answers, or
/// for none.
#[cold]
pub(super) fn not_for_predict(name: &str, signature: &Signature) -> Error {
    let Some(named) = signature.named.iter().find(|named| &*named.name == name) else {
        return not_found(name);
    };
    let (name, method) = (shown(name), named.method().name());
    Error::bad(format!(
        "Serving signature name: \"{name}\" has the method tensorflow/serving/{method}: ask for it by :{method}"
    ))
}

/// Where in a body a tensor stands, for errors.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// It is one of `inputs`.
    Whole,
    /// An element of `instances`, and whether its values have names.
    Row { number: usize, named: bool },
}

impl Place {
    /// An error of the input `name`, told with where it is.
    #[cold]
    pub(super) fn error(self, name: &str, code: ErrorCode, text: &str) -> Error {
        match self {
            Place::Whole => Error::new(code, format!("{text} (input '{name}')")),
            Place::Row { number, named } => {
                let status = match code {
                    ErrorCode::Unimplemented => "UNIMPLEMENTED",
                    _ => "INVALID_ARGUMENT",
                };
                let key = if named { format!(" key: {name}") } else { String::new() };
                Error::bad(format!(
                    "Failed to process element: {number}{key} of 'instances' list. Error: {status}: {text}"
                ))
            }
        }
    }
}

/// What an element should have been.
pub(super) fn unfit(value: &str, peek: Peek, datatype: Datatype) -> String {
    let (kind, expected) = (kind(peek), type_name(datatype));
    format!("JSON Value: {} Type: {kind} is not of expected type: {expected}", shown(value))
}

/// What a value is, by its first character.
pub(super) fn kind(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "Null",
        Peek::False => "False",
        Peek::True => "True",
        Peek::Object => "Object",
        Peek::Array => "Array",
        Peek::String => "String",
        _ => "Number",
    }
}

/// `half` for FP16.
pub(super) fn type_name(datatype: Datatype) -> String {
    tensorflow::name_of(datatype).trim_start_matches("DT_").to_lowercase()
}

/// Whether JSON has a form for a datatype.
pub(super) fn is_json(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Fp16 | Datatype::Bf16 | Datatype::Uint16)
}
