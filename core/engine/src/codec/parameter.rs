//! A request's parameters that no codec knows: an alias, or what a route keeps its clients by.

use super::InferRequest;
use crate::error::{Error, Result};

/// Parameters that are kept of a request, and the bytes of a name or a text: others are none.
pub const MOST: usize = 16;
pub const LONGEST: usize = 255;
/// Names the version that is to answer by another name.
pub const ALIAS: &str = "alias";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    /// A text, or a whole number as one.
    pub value: String,
}

impl Parameter {
    pub(super) fn owned_bytes(&self) -> usize {
        size_of::<Self>() + self.name.capacity() + self.value.capacity()
    }
}

impl InferRequest {
    /// Keeps a parameter with a value; an empty one says as little as none.
    pub(super) fn keep_parameter(&mut self, name: &str, value: &str) {
        let fits = !value.is_empty() && name.len() <= LONGEST && value.len() <= LONGEST;
        if fits && self.parameters.len() < MOST {
            self.parameters.push(Parameter { name: name.to_owned(), value: value.to_owned() });
        }
    }

    /// The alias that it names, empty without one.
    pub fn alias(&self) -> &str {
        self.parameters.iter().find(|one| one.name == ALIAS).map_or("", |one| &one.value)
    }
}

/// An alias is a text, of a length that one can have.
///
/// # Errors
/// `BadRequest` where it is longer.
pub(super) fn check_alias(value: &str) -> Result<()> {
    if value.len() <= LONGEST {
        return Ok(());
    }
    Err(Error::bad(format!("parameter '{ALIAS}' has {} bytes, at most {LONGEST} are accepted", value.len())))
}
