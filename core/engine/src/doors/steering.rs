//! What a request's head says of who is to answer it: an alias, the version that a tester forces, the keys
//! that routes keep their clients by.

use crate::admission::Reservation;
use crate::codec::{InferRequest, names};
use crate::doors::Shared;
use crate::error::{Error, Result};
use crate::routes::{Keys, Reference};
use http::{HeaderMap, HeaderName};

/// Names the version that is to answer by another name.
const ALIAS: HeaderName = HeaderName::from_static("x-serving-alias");
/// Names a version, or an alias, that is to answer whatever the route says; for testers.
const FORCED: HeaderName = HeaderName::from_static("x-serving-version");

/// What a head says of it, and the head itself: routes look their keys up in it. A key is read by the table
/// that says whose it is, when that is asked, for the head may have come long before, as a stream's has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steering<'h> {
    pub said: Option<&'h Said>,
    pub headers: Option<&'h HeaderMap>,
}

#[derive(Debug, Default)]
pub struct Said {
    alias: String,
    forced: String,
}

/// Most heads say nothing. The tester's header is read only where it is taken.
///
/// # Errors
/// `BadRequest` for a name that came more than once, is no text or too long.
pub fn read(shared: &Shared, headers: &HeaderMap) -> Result<Option<Box<Said>>> {
    let alias = name(headers, &ALIAS)?;
    let forced = if shared.config.forced_version { name(headers, &FORCED)? } else { "" };
    if alias.is_empty() && forced.is_empty() {
        return Ok(None);
    }
    Ok(Some(Box::new(Said { alias: alias.to_owned(), forced: forced.to_owned() })))
}

fn name<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Result<&'h str> {
    let Some(first) = headers.get(header) else { return Ok("") };
    if headers.get_all(header).iter().nth(1).is_some() {
        return Err(Error::bad(format!("header {header} came more than once")));
    }
    let text = std::str::from_utf8(first.as_bytes());
    let text = text.map_err(|_| Error::bad(format!("header {header} is not text")))?;
    names::name(&format!("header {header}"), text.trim())
}

/// Bytes of a head that are nobody's: most are smaller.
const SMALL_HEAD: usize = 8 << 10;

/// What the head of a request takes beyond that while its message comes and is answered, counted as long as
/// what is returned.
///
/// # Errors
/// `Full` where there is no room for it now, `TooLarge` where there never is.
pub fn counted(headers: &HeaderMap, reserve: impl FnOnce() -> Reservation) -> Result<Option<Reservation>> {
    let Some(more) = head_bytes(headers).checked_sub(SMALL_HEAD) else { return Ok(None) };
    let mut held = reserve();
    held.take(more)?;
    Ok(Some(held))
}

/// What a head takes that waits for its message.
pub fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER).sum()
}

/// Of a header beside its name and value: its places in a table that is half empty, and what holds
/// both. Measured: 290.
const HEADER: usize = 288;

/// What a request names, with what its head says; before it is decoded it has no parameters.
pub fn reference<'a>(
    (model, version): (&'a str, &'a str),
    steering: Steering<'a>,
    request: Option<&'a InferRequest>,
) -> Reference<'a> {
    let said = steering.said;
    let own = request.map_or("", InferRequest::alias);
    let alias = if own.is_empty() { said.map_or("", |said| &said.alias) } else { own };
    Reference {
        model,
        version,
        alias,
        forced: said.map_or("", |said| &said.forced),
        keys: Keys { head: steering.headers, parameters: request.map_or(&[], |request| &request.parameters) },
    }
}

/// What a decoded request names.
pub fn of<'a>(request: &'a InferRequest, steering: Steering<'a>) -> Reference<'a> {
    reference((&request.model, &request.version), steering, Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::codec::Parameter;
    use crate::doors::Config;
    use crate::doors::test_config::config;
    use crate::error::ErrorCode;
    use crate::routes::Key;
    use http::HeaderValue;

    fn headers(all: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_head_that_says_nothing_costs_nothing() {
        let shared = Shared::new(config());
        assert!(read(&shared, &headers(&[("x-user", b"a"), ("accept", b"b")])).unwrap().is_none());
    }

    #[test]
    fn a_tester_is_heard_only_where_that_is_allowed() {
        let said = headers(&[("x-serving-version", b"4"), ("x-serving-alias", b" champion ")]);
        for (forced_version, forced) in [(true, "4"), (false, "")] {
            let shared = Shared::new(Config { forced_version, ..config() });
            let read = read(&shared, &said).unwrap();
            let asked = reference(("m", ""), steering(&read, &said), None);
            assert_eq!((asked.alias, asked.forced), ("champion", forced));
        }
    }

    #[test]
    fn names_that_can_not_be_told_are_refused() {
        let shared = Shared::new(config());
        let long = [b'a'; 1025];
        for (all, words) in [
            (&[("x-serving-alias", &b"a"[..]), ("x-serving-alias", b"b")][..], "came more than once"),
            (&[("x-serving-alias", b"\xff")], "is not text"),
            (&[("x-serving-version", &long)], "header x-serving-version has 1025 bytes, at most 1024"),
        ] {
            let error = read(&shared, &headers(all)).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest);
            assert!(error.message.contains(words), "{error}");
        }
    }

    fn steering<'h>(read: &'h Option<Box<Said>>, headers: &'h HeaderMap) -> Steering<'h> {
        Steering { said: read.as_deref(), headers: Some(headers) }
    }

    #[test]
    fn a_parameter_goes_before_a_header_and_keys_are_in_the_head() {
        let shared = Shared::new(config());
        let said = headers(&[("x-user", b"somebody"), ("x-serving-alias", b"head")]);
        let read = read(&shared, &said).unwrap();
        let own = Parameter { name: "alias".into(), value: "own".into() };
        let request = InferRequest { model: "m".into(), parameters: vec![own], ..InferRequest::default() };
        let asked = of(&request, steering(&read, &said));
        assert_eq!((asked.model, asked.version, asked.alias), ("m", "", "own"));
        assert_eq!(asked.keys.named("x-user"), Some(Key::of(b"somebody")));
        assert_eq!(asked.keys.named("x-other"), None);
        assert_eq!(reference(("m", ""), steering(&read, &said), None).alias, "head");
    }

    #[test]
    fn a_large_head_counts_as_long_as_it_is_kept() {
        let budget = Budget::new(1 << 20);
        let small = headers(&[("x-user", b"a"), ("accept", b"b")]);
        assert!(counted(&small, || budget.reserve()).unwrap().is_none());
        let mut large = HeaderMap::new();
        for number in 0..1000 {
            large.insert(HeaderName::try_from(format!("x-{number}")).unwrap(), HeaderValue::from_static("a"));
        }
        let held = counted(&large, || budget.reserve()).unwrap();
        assert_eq!(budget.used(), head_bytes(&large) - SMALL_HEAD);
        drop(held);
        assert_eq!(budget.used(), 0);
        let none = Budget::new(1000);
        assert_eq!(counted(&large, || none.reserve()).unwrap_err().code, ErrorCode::TooLarge);
    }
}
