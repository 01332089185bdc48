//! CloudEvents in binary mode (CloudEvents' HTTP binding 1.0, 3.1), as KServe's server has them: a
//! request that brings the four required attributes is answered with an event of its own, whose
//! attributes are headers too. What is inside, both ways, is as without them.

use crate::ids;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::time::SystemTime;

const ID: HeaderName = HeaderName::from_static("ce-id");
const SOURCE: HeaderName = HeaderName::from_static("ce-source");
const SPEC_VERSION: HeaderName = HeaderName::from_static("ce-specversion");
const TIME: HeaderName = HeaderName::from_static("ce-time");
const TYPE: HeaderName = HeaderName::from_static("ce-type");

const OF_AN_ANSWER: HeaderValue = HeaderValue::from_static("io.kserve.inference.response");
/// Beside what is no ASCII (the binding, 3.1.3.2).
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// KServe's condition; what the attributes say makes no difference to it.
pub fn is_event(headers: &HeaderMap) -> bool {
    [SPEC_VERSION, SOURCE, TYPE, ID].iter().all(|name| headers.contains_key(name))
}

/// The attributes of an answer.
pub fn put(headers: &mut HeaderMap, model: &str) {
    headers.insert(SPEC_VERSION, HeaderValue::from_static("1.0"));
    headers.insert(TYPE, OF_AN_ANSWER);
    let source = format!("io.kserve.inference.{}", utf8_percent_encode(model, ENCODED));
    let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    for (name, text) in [(ID, ids::make()), (SOURCE, source), (TIME, time)] {
        // All of it is visible ASCII.
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_all_four_attributes() {
        let mut headers = HeaderMap::new();
        for name in [SPEC_VERSION, SOURCE, TYPE, ID] {
            assert!(!is_event(&headers), "without {name}");
            headers.insert(name, HeaderValue::from_static("x"));
        }
        assert!(is_event(&headers));
    }

    #[test]
    fn an_answers_attributes_are_headers_whatever_the_model_is_called() {
        let mut headers = HeaderMap::new();
        put(&mut headers, "caf\u{e9} \"1\"%");
        assert_eq!(headers[SOURCE], "io.kserve.inference.caf%C3%A9%20%221%22%25");
        assert_eq!((&headers[SPEC_VERSION], &headers[TYPE]), (&"1.0".parse().unwrap(), &OF_AN_ANSWER));
        let time = headers[TIME].to_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
        let id = headers[ID].clone();
        put(&mut headers, "m");
        assert_ne!(headers[ID], id, "an id is of one event");
        assert_eq!(headers.len(), 5);
    }
}
