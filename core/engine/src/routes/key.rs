//! What keeps a client on its version where several share a model's requests: the value of a header, of a
//! key of gRPC's metadata, or of a request's parameter, whose name the route says.

use super::draw::Key;
use crate::codec::Parameter;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of what a route keeps its clients by; of headers in small letters.
pub type Sticky = Arc<str>;

/// What a request brings that may be a key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keys<'a> {
    /// Out of its head: see [`super::Routes::keys_in`].
    pub head: &'a [(Sticky, Key)],
    pub parameters: &'a [Parameter],
}

impl Keys<'_> {
    /// The head's goes before the parameter of the same name. An empty value is none.
    pub fn named(&self, name: &str) -> Option<Key> {
        let in_head = self.head.iter().find(|(found, _)| **found == *name).map(|&(_, key)| key);
        in_head.or_else(|| {
            let parameter = self.parameters.iter().find(|one| one.name.eq_ignore_ascii_case(name))?;
            Some(Key::of(parameter.value.as_bytes()))
        })
    }
}

/// The names that a table's routes keep their clients by, and how many routes do.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    counts: BTreeMap<Sticky, usize>,
}

impl Names {
    pub(super) fn add(&mut self, name: Option<&Sticky>) {
        if let Some(name) = name {
            *self.counts.entry(name.clone()).or_default() += 1;
        }
    }

    pub(super) fn take(&mut self, name: Option<&Sticky>) {
        let Some(name) = name else { return };
        match self.counts.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.counts.remove(name);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// By the head's names, of which there are fewer than there may be routes.
    pub(super) fn keys_in(&self, headers: &HeaderMap) -> Vec<(Sticky, Key)> {
        let found = headers.keys().filter_map(|name| {
            let (sticky, _) = self.counts.get_key_value(name.as_str())?;
            let value = headers.get(name).filter(|value| !value.is_empty())?;
            Some((sticky.clone(), Key::of(value.as_bytes())))
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn names(all: &[&str]) -> Names {
        let mut names = Names::default();
        for name in all {
            names.add(Some(&Sticky::from(*name)));
        }
        names
    }

    #[test]
    fn a_name_is_looked_for_as_long_as_a_route_has_it() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", HeaderValue::from_static("a"));
        headers.insert("x-other", HeaderValue::from_static("b"));
        let mut names = names(&["x-user", "x-user", "x-absent"]);
        let user = Sticky::from("x-user");
        for found in [1, 1, 0] {
            assert_eq!(names.keys_in(&headers).len(), found);
            assert_eq!(names.counts.contains_key("x-user"), found > 0);
            names.take(Some(&user));
        }
        names.take(Some(&Sticky::from("x-absent")));
        assert!(names.is_empty());
    }

    #[test]
    fn a_key_is_the_heads_or_else_the_parameters() {
        let parameters = [Parameter { name: "X-User".into(), value: "b".into() }];
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| {
            let head = names(&["x-user"]).keys_in(headers);
            Keys { head: &head, parameters: &parameters }.named("x-user")
        };
        assert_eq!(of(&headers), Some(Key::of(b"b")));
        headers.insert("x-user", HeaderValue::from_static(""));
        assert_eq!(of(&headers), Some(Key::of(b"b")));
        headers.insert("x-user", HeaderValue::from_static("a"));
        assert_eq!(of(&headers), Some(Key::of(b"a")));
        assert_eq!(Keys::default().named("x-user"), None);
    }
}
