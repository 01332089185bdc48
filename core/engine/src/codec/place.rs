//! The parameters that say where in shared memory a tensor is, the same on both doors.

use crate::error::{Error, Result};
use crate::tensor::shown;

/// How they all begin.
pub const PREFIX: &str = "shared_memory_";

/// A part of a region that a client has registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub region: String,
    pub offset: u64,
    pub byte_size: u64,
}

/// The parameters of one tensor, as they come.
#[derive(Clone, Debug, Default)]
pub struct Placing {
    pub region: Option<String>,
    pub offset: Option<u64>,
    pub byte_size: Option<u64>,
}

impl Placing {
    /// The place of `tensor`; `None` where it has none.
    ///
    /// # Errors
    /// `BadRequest` naming the parameter that is missing beside others.
    pub fn place(self, tensor: &str) -> Result<Option<Place>> {
        match self {
            Placing { region: Some(region), offset, byte_size: Some(byte_size) } => {
                Ok(Some(Place { region, offset: offset.unwrap_or(0), byte_size }))
            }
            Placing { region: Some(_), byte_size: None, .. } => Err(Error::bad(format!(
                "'shared_memory_byte_size' must be specified along with 'shared_memory_region' parameter for \
                 tensor '{}'",
                shown(tensor)
            ))),
            Placing { offset: Some(_), .. } => Err(without_region("offset", tensor)),
            Placing { byte_size: Some(_), .. } => Err(without_region("byte_size", tensor)),
            Placing { .. } => Ok(None),
        }
    }
}

fn without_region(key: &str, tensor: &str) -> Error {
    Error::bad(format!(
        "'{PREFIX}{key}' can not be specified without 'shared_memory_region' parameter for tensor '{}'",
        shown(tensor)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_region_and_a_size() {
        let placing = |region: Option<&str>, offset, byte_size| Placing {
            region: region.map(str::to_owned),
            offset,
            byte_size,
        };
        assert_eq!(placing(None, None, None).place("x").unwrap(), None);
        let place = Place { region: "r".into(), offset: 0, byte_size: 4 };
        assert_eq!(placing(Some("r"), None, Some(4)).place("x").unwrap(), Some(place));
        for (wrong, word) in [
            (placing(Some("r"), Some(0), None), "must be specified along with"),
            (placing(None, Some(0), None), "'shared_memory_offset' can not be specified without"),
            (placing(None, None, Some(4)), "'shared_memory_byte_size' can not be specified without"),
        ] {
            let error = wrong.place("x").unwrap_err();
            assert!(error.message.contains(word) && error.message.ends_with("'x'"), "{error}");
        }
    }
}
