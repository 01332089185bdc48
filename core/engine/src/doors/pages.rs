//! The pages for browsers: a few files that are the same for everybody, held once.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, InvalidHeaderValue,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use std::hash::{DefaultHasher, Hasher};

/// A page's own scripts, styles and pictures, and calls to the server that it came from; nothing
/// else, and no page around it. Icons in styles are `data:`.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

#[derive(Debug)]
pub struct Page {
    path: String,
    kind: HeaderValue,
    tag: HeaderValue,
    body: Bytes,
}

impl Page {
    /// # Errors
    /// Where `kind` is no content type.
    pub fn new(path: String, kind: &str, body: Vec<u8>) -> Result<Page, InvalidHeaderValue> {
        let mut hasher = DefaultHasher::new();
        hasher.write(&body);
        let tag = format!("\"{:016x}-{:x}\"", hasher.finish(), body.len());
        Ok(Page { path, kind: kind.parse()?, tag: tag.parse()?, body: Bytes::from(body) })
    }

    /// Whole, or 304 to who has it.
    pub fn answer(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let known = self.is_known(headers);
        let mut response = Response::new(Full::new(if known { Bytes::new() } else { self.body.clone() }));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(CONTENT_TYPE, self.kind.clone());
        }
        response.headers_mut().insert(ETAG, self.tag.clone());
        guard(response.headers_mut());
        response
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let tags =
            headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        tags.map(<[u8]>::trim_ascii)
            .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes())
    }
}

/// What tells a browser how little a page may do, and to ask again before it shows an old one.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

pub fn find<'a>(pages: &'a [Page], path: &str) -> Option<&'a Page> {
    pages.iter().find(|page| page.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body;

    #[test]
    fn who_has_a_page_is_not_sent_it_again() {
        let page = Page::new("/docs".into(), "text/html", b"<p>".to_vec()).unwrap();
        let asked = |tags: &[&str]| {
            let mut headers = HeaderMap::new();
            for tag in tags {
                headers.append(IF_NONE_MATCH, tag.parse().unwrap());
            }
            page.answer(&headers)
        };
        let whole = asked(&[]);
        assert_eq!((whole.status(), whole.body().size_hint().exact()), (StatusCode::OK, Some(3)));
        let tag = whole.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [&tag[..], &format!("\"x\", {tag}"), &format!("W/{tag}"), "*"] {
            let answer = asked(&[known]);
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(answer.body().size_hint().exact(), Some(0));
            assert_eq!(answer.headers()[ETAG], *tag);
        }
        assert_eq!(asked(&["\"x\"", "y"]).status(), StatusCode::OK);
        assert!(Page::new("/docs".into(), "a\nb", Vec::new()).is_err());
    }
}
