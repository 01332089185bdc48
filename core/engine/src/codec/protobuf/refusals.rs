//! The words for what a request lacks or asks for in vain, the same on both doors.

use crate::error::{Error, ErrorCode};
use crate::tensor::shown;

/// The error for an input without data.
pub(in crate::codec) fn no_data(tensor: &str, model: &str) -> Error {
    Error::bad(format!(
        "unable to find data for input tensor '{}' for model '{}' in request.",
        shown(tensor),
        shown(model)
    ))
}

/// Classes of an output that is to be written into shared memory.
pub(in crate::codec) fn no_shared_classes(output: &str) -> Error {
    Error::bad(format!(
        "shared memory can not be used for output '{}' with parameter 'classification'",
        shown(output)
    ))
}

pub(in crate::codec) fn no_sequences(key: &str) -> Error {
    Error::new(
        ErrorCode::Unimplemented,
        format!("parameter '{}' is not supported: sequences are not built", shown(key)),
    )
}

pub(in crate::codec) fn reserved(key: &str) -> Error {
    Error::bad(format!("parameter keys starting with 'triton_' are reserved, got '{}'", shown(key)))
}
