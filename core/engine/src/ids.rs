//! Request ids: accepted from the client, else made where something needs one.

use crate::codec::names::LONGEST_ID;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

pub const HEADER: &str = "x-request-id";
/// Marks a request that is sent again out of a request log.
pub const REPLAY: HeaderName = HeaderName::from_static("serving-replay");

/// The client's id, when it is short and visible ASCII.
pub fn from_client(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(HEADER)?.to_str().ok()?;
    let fits = !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(id)
}

/// A new id, unlike any other of this process or, very likely, another.
pub fn make() -> String {
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let half = |salt: u64| {
        let mut hasher = SEED.build_hasher();
        hasher.write_u64(number);
        hasher.write_u64(salt);
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

pub fn put(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_hurt_a_log_are_not_taken() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("abc-1"));
        assert_eq!(from_client(&headers), Some("abc-1"));
        headers.insert(HEADER, HeaderValue::from_str(&"x".repeat(129)).unwrap());
        assert_eq!(from_client(&headers), None);
        headers.insert(HEADER, HeaderValue::from_static("a b"));
        assert_eq!(from_client(&headers), None);
        assert_ne!(make(), make());
    }
}
