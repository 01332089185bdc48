//! What keeps a client on its version where several share a model's requests: the value of a header, of a
//! key of gRPC's metadata, or of a request's parameter, whose name the route says.

use super::draw::Key;
use crate::codec::Parameter;
use http::HeaderMap;
use std::sync::Arc;

/// The name of what a route keeps its clients by; of headers in small letters.
pub type Sticky = Arc<str>;

/// What a request brings that may be a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Its head's.
    pub head: Option<&'a HeaderMap>,
    pub parameters: &'a [Parameter],
}

impl Keys<'_> {
    /// The head's goes before the parameter of the same name. An empty value is none.
    pub fn named(&self, name: &str) -> Option<Key> {
        let in_head = self.head.and_then(|head| head.get(name)).filter(|value| !value.is_empty());
        in_head.map(|value| Key::of(value.as_bytes())).or_else(|| {
            let parameter = self.parameters.iter().find(|one| one.name.eq_ignore_ascii_case(name))?;
            Some(Key::of(parameter.value.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_key_is_the_heads_or_else_the_parameters() {
        let parameters = [Parameter { name: "X-User".into(), value: "b".into() }];
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| Keys { head: Some(headers), parameters: &parameters }.named("x-user");
        assert_eq!(of(&headers), Some(Key::of(b"b")));
        headers.insert("x-user", HeaderValue::from_static(""));
        assert_eq!(of(&headers), Some(Key::of(b"b")));
        headers.insert("x-user", HeaderValue::from_static("a"));
        assert_eq!(of(&headers), Some(Key::of(b"a")));
        assert_eq!(Keys::default().named("x-user"), None);
        // What no header can be called is a parameter at most.
        assert_eq!(Keys { head: Some(&headers), parameters: &[] }.named("x user"), None);
    }
}
