//! A request's parameters that no codec knows: an alias, or what a route keeps its clients by.

use super::InferRequest;
use crate::error::{Error, Result};

/// Parameters that are kept of a request beside its alias, and the bytes of a name or a text: others are none.
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
        // Whoever names a version is not answered by another, however much else they say.
        let has_room = self.parameters.len() < MOST || (name == ALIAS && self.alias().is_empty());
        if fits && has_room {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::codec::json;
    use crate::stop::NEVER;
    use bytes::Bytes;

    fn decoded(parameters: &str) -> Result<InferRequest> {
        let x = r#"{"name":"x","shape":[1],"datatype":"INT8","data":[1]}"#;
        let body = format!(r#"{{"parameters":{parameters},"inputs":[{x}]}}"#);
        let mut held = Budget::new(1 << 20).reserve();
        json::decode_infer(&NEVER, "m", body.as_bytes(), Bytes::new(), &mut held)
    }

    #[test]
    fn texts_and_whole_numbers_are_kept_and_one_of_them_is_an_alias() {
        let request = decoded(
            r#"{"alias":"champion","x-user":"u","tenant":-17,"rate":0.5,"on":true,"none":null,
                "empty":"","priority":3}"#,
        )
        .unwrap();
        let kept: Vec<_> = request.parameters.iter().map(|one| (&*one.name, &*one.value)).collect();
        assert_eq!(kept, [("alias", "champion"), ("x-user", "u"), ("tenant", "-17")]);
        assert_eq!((request.alias(), request.priority), ("champion", 3));
        assert_eq!(decoded("{}").unwrap().alias(), "");
    }

    #[test]
    fn an_alias_is_a_text_of_a_length_that_one_can_have() {
        for (alias, words) in [
            ("3", "parameter 'alias'"),
            ("true", "parameter 'alias'"),
            (&*format!("{:?}", "a".repeat(LONGEST + 1)), "has 256 bytes, at most 255"),
        ] {
            let error = decoded(&format!(r#"{{"alias":{alias}}}"#)).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let many: Vec<_> = (0..100).map(|number| format!(r#""p{number}":"v""#)).collect();
        assert_eq!(decoded(&format!("{{{}}}", many.join(","))).unwrap().parameters.len(), MOST);
        let late = decoded(&format!(r#"{{{},"alias":"a","alias":"b","late":"v"}}"#, many.join(","))).unwrap();
        assert_eq!((late.alias(), late.parameters.len()), ("a", MOST + 1));
        let long = format!(r#"{{"user":{:?}}}"#, "a".repeat(LONGEST + 1));
        assert!(decoded(&long).unwrap().parameters.is_empty());
        let request = decoded(r#"{"user":"somebody"}"#).unwrap();
        let without = InferRequest { parameters: Vec::new(), ..request.clone() };
        assert!(request.owned_bytes() >= without.owned_bytes() + "usersomebody".len());
    }
}
