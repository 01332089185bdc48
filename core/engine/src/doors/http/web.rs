//! What is there for browsers and for those who generate clients: `/`, the description of the
//! calls, and the page that shows it.

use super::oip;
use super::protocol::{Kind, Protocol, Row, Verb};
use crate::doors::Shared;
use crate::doors::pages::{self, Page};
use crate::error::{Error, ErrorCode, Result};
use bytes::Bytes;
use http::header::{ACCEPT, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

pub static PROTOCOL: Protocol = Protocol {
    rows: &[
        Row { verb: Verb::Any, pattern: "/", kind: Kind::Entrance },
        Row { verb: Verb::Get, pattern: "/openapi.json", kind: Kind::Page },
        Row { verb: Verb::Get, pattern: "/docs/**", kind: Kind::Page },
    ],
    ..oip::PROTOCOL
};

/// The file that is asked for; `None` where somebody else makes the page.
///
/// # Errors
/// `NotFound` where there are no pages, `Misdirected` as `Own::check`.
pub fn page<'a, B>(shared: &'a Shared, request: &Request<B>) -> Result<Option<&'a Page>> {
    if !shared.config.web.pages {
        let words = "Not Found: pages are switched off here (setting http.pages)";
        return Err(Error::new(ErrorCode::NotFound, words));
    }
    shared.own().check(request)?;
    Ok(pages::find(shared.pages(), request.uri().path()))
}

/// Where a browser goes from `/`; `None` for whoever else asks.
///
/// # Errors
/// `Misdirected` as `Own::check`.
pub fn redirect<B>(shared: &Shared, request: &Request<B>) -> Result<Option<Response<Full<Bytes>>>> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !shared.config.web.pages || !reads || !wants_html(request.headers()) {
        return Ok(None);
    }
    shared.own().check(request)?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    // Relative: what stands in front may have put a path before it.
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("docs"));
    vary(response.headers_mut());
    Ok(Some(response))
}

/// `/` is another thing to who accepts HTML.
pub fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("accept"));
}

/// Whether HTML is named: who takes anything gets JSON.
fn wants_html(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        is_html && !parts.any(is_refusal)
    })
}

/// `q=0`, `q=0.000`.
fn is_refusal(parameter: &str) -> bool {
    let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    quality.is_some_and(|q| q.starts_with('0') && q.bytes().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_html_gets_it() {
        let wants = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for one in accept {
                headers.append(ACCEPT, one.parse().unwrap());
            }
            wants_html(&headers)
        };
        for accept in [
            &["text/html"][..],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/json", "Text/HTML;q=0.1"],
        ] {
            assert!(wants(accept), "{accept:?}");
        }
        for accept in
            [&[][..], &["*/*"], &["application/json"], &["text/*"], &["text/html;q=0"], &["text/html; q=0.0"]]
        {
            assert!(!wants(accept), "{accept:?}");
        }
    }

    #[test]
    fn the_pages_paths_are_known() {
        for (path, there) in
            [("/docs", true), ("/docs/x.js", true), ("/openapi.json", true), ("/docsx", false)]
        {
            let found = PROTOCOL.find(&Method::GET, path);
            assert_eq!(matches!(found, Some(Ok((Kind::Page, _)))), there, "{path}");
        }
        assert!(matches!(PROTOCOL.find(&Method::POST, "/"), Some(Ok((Kind::Entrance, _)))));
    }
}
