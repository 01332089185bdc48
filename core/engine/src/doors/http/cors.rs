//! Pages of other sites that the operator lets read answers (CORS): those whose origin is listed.
//! To all others nothing is said, and their browsers keep the answers from them.

use super::protocol::Named;
use crate::doors::Shared;
use crate::error::Result;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST");
/// What a page may read of an answer's head beside what every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "inference-header-content-length, x-model-version, x-model-route, x-request-id, traceparent, retry-after, \
     x-should-retry, etag, ce-id, ce-source, ce-specversion, ce-time, ce-type",
);
/// How long a browser need not ask again (seconds).
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What is said to the page that a request comes from.
#[derive(Debug, Default)]
pub struct Cors {
    /// What is answered hangs on the origin, for caches between.
    varies: bool,
    allowed: Option<HeaderValue>,
    /// A preflight, and the headers that the page will send.
    preflight: Option<Option<HeaderValue>>,
}

impl Cors {
    /// `origins`: as browsers write them, or `*` for any.
    pub fn of<B>(origins: &[String], request: &Request<B>) -> Cors {
        if origins.is_empty() {
            return Cors::default();
        }
        let any = origins.iter().any(|origin| origin == "*");
        let headers = request.headers();
        let origin = headers.get(ORIGIN).filter(|_| headers.get_all(ORIGIN).iter().count() == 1);
        let allowed = match origin {
            Some(_) if any => Some(HeaderValue::from_static("*")),
            Some(origin) if origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes()) => {
                Some(origin.clone())
            }
            _ => None,
        };
        let asks =
            *request.method() == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let preflight =
            (asks && allowed.is_some()).then(|| headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned());
        Cors { varies: !any, allowed, preflight }
    }

    /// Whether a page asks what it may, which is answered at once and runs nothing.
    pub fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    pub fn put(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(allowed) = self.allowed else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let Some(asked) = self.preflight else {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(asked) = asked {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
    }
}

/// The answer to a preflight; what it says is put there as on every answer.
///
/// # Errors
/// None.
pub fn preflight(_: &Shared, _: &Named) -> Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://ui.example";

    fn said(origins: &[&str], request: http::request::Builder) -> (bool, HeaderMap) {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        let cors = Cors::of(&origins, &request.body(()).unwrap());
        let mut headers = HeaderMap::new();
        let preflight = cors.is_preflight();
        cors.put(&mut headers);
        (preflight, headers)
    }

    #[test]
    fn only_listed_origins_are_told_anything() {
        let from = |origin: &str| Request::get("/v2").header(ORIGIN, origin);
        let (preflight, headers) = said(&[HERE], from(HERE));
        assert!(!preflight);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], HERE);
        assert_eq!(headers[VARY], "origin");
        let exposed: Vec<_> = headers[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap().split(", ").collect();
        for name in ["x-model-version", "x-model-route", "x-request-id"] {
            assert!(exposed.contains(&name), "{name}");
        }
        for other in
            ["https://evil.example", "null", "https://ui.example.evil.example", "https://ui.example:8443"]
        {
            let (_, headers) = said(&[HERE], from(other));
            assert_eq!(headers.keys().collect::<Vec<_>>(), [VARY], "{other}");
        }
        let twice = from(HERE).header(ORIGIN, HERE);
        assert!(!said(&[HERE], twice).1.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!(said(&[], from(HERE)).1.is_empty());
        let (_, any) = said(&["*"], from("https://evil.example"));
        assert_eq!(any[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!any.contains_key(VARY));
        assert!(said(&["*"], Request::get("/v2")).1.is_empty());
    }

    #[test]
    fn a_preflight_is_answered_for_listed_origins_alone() {
        let asks = |origin: &str| {
            Request::options("/v2/models/m/infer")
                .header(ORIGIN, origin)
                .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
                .header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type,x-routing-key")
        };
        let (preflight, headers) = said(&[HERE], asks(HERE));
        assert!(preflight);
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_HEADERS], "content-type,x-routing-key");
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, POST");
        assert!(!headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS));
        assert!(!said(&[HERE], asks("https://evil.example")).0);
        assert!(!said(&[], asks(HERE)).0);
        assert!(!said(&[HERE], Request::options("*").header(ORIGIN, HERE)).0, "no preflight");
    }
}
