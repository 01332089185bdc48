//! The Open Inference Protocol's paths and bodies, with the binary tensors of Triton's.

use super::answer::{JSON_LENGTH, health, json_error};
use super::protocol::{Bodies, Decoded, Kind, Named, Protocol, Split, Verb, Version, row};
use super::request::header_text;
use crate::admission::Reservation;
use crate::codec::binary::{self, Split as Body};
use crate::codec::{json, names};
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::routes::Reference;
use crate::status;
use crate::stop::Stop;
use crate::tensor::{Signature, shown};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body_util::Full;

pub static PROTOCOL: Protocol = Protocol {
    rows: &[
        row(Verb::Post, "/v2/models/{model}/infer", Kind::Infer(&BODIES)),
        row(Verb::Post, "/v2/models/{model}/versions/{version}/infer", Kind::Infer(&BODIES)),
        row(Verb::Get, "/v2/health/live", Kind::Local(|_, _| Ok(health("{\"live\":true}".into(), true)))),
        row(Verb::Get, "/v2/health/ready", Kind::Local(ready)),
        row(Verb::Get, "/v2/models/{model}/ready", Kind::Local(model_ready)),
        row(Verb::Get, "/v2/models/{model}/versions/{version}/ready", Kind::Local(model_ready)),
        row(Verb::Get, "/v2/models/{model}/openapi.json", Kind::Page),
        row(Verb::Any, "/v2/models/{model}/versions/{version}/**", Kind::Call),
        row(Verb::Any, "/v2/models/{model}/versions/**", Kind::Nowhere(no_version)),
        row(Verb::Any, "/v2/**", Kind::Call),
    ],
    any_case: false,
    status: status::http_status,
    error: json_error,
    name: names::encoded_model,
    version,
    wrong_verb: Some(wrong_verb),
};

static BODIES: Bodies = Bodies { head, split, decode, form: &json::InferAnswer, events: true };

/// Its paths have no labels.
fn version(found: Version<'_>) -> Result<String> {
    let (Version::Number(text) | Version::Label(text)) = found;
    Ok(text.to_owned())
}

fn wrong_verb(needed: &str) -> Error {
    Error::new(ErrorCode::MethodNotAllowed, format!("Method Not Allowed: use {needed}"))
}

fn no_version(text: &str) -> Error {
    let found = match text {
        "" => "no version follows '/versions'".to_owned(),
        text => format!("'{}' is no version", shown(text)),
    };
    let expected = "expected an integer, as in /v2/models/NAME/versions/1/infer";
    Error::new(ErrorCode::NotFound, format!("Not Found: {found}: {expected}"))
}

fn ready(shared: &Shared, _: &Named) -> Result<Response<Full<Bytes>>> {
    let ready = shared.is_ready();
    Ok(health(format!("{{\"ready\":{ready}}}"), ready))
}

fn model_ready(shared: &Shared, named: &Named) -> Result<Response<Full<Bytes>>> {
    let Named { model, version } = named;
    let ready = shared.routes.is_ready(Reference::to(model, version))?;
    Ok(health(format!("{{\"name\":{},\"ready\":{ready}}}", json::quoted(model)), ready))
}

/// The length of the JSON before binary tensors. Clients that set no content type, or curl's
/// default for `-d`, mean JSON.
fn head(headers: &HeaderMap) -> Result<Option<String>> {
    const TAKEN: [&str; 4] =
        ["application/json", "application/octet-stream", "application/x-www-form-urlencoded", "text/json"];
    if let Some(value) = headers.get(CONTENT_TYPE) {
        let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim();
        if !TAKEN.iter().any(|t| kind.eq_ignore_ascii_case(t)) {
            return Err(Error::new(
                ErrorCode::UnsupportedMediaType,
                "unsupported content type: use application/json, or application/octet-stream with binary \
                 tensors",
            ));
        }
    }
    header_text(headers, &JSON_LENGTH)
}

fn split(json_length: Option<&str>, data: Bytes) -> Result<Split> {
    Ok(match binary::split(json_length, data)? {
        Body::Json(text) => Split { text, ..Split::default() },
        Body::Mixed { json, binary } => Split { text: json, binary, ..Split::default() },
        Body::Raw(binary) => Split { binary, needs_signature: true, ..Split::default() },
    })
}

fn decode(
    stop: &Stop,
    model: &str,
    body: &Split,
    signature: Option<&Signature>,
    held: &mut Reservation,
) -> Result<Decoded> {
    let request = match signature {
        Some(signature) => json::decode_raw_binary(model, signature, body.binary.clone()),
        None => json::decode_infer(stop, model, &body.text, body.binary.clone(), held),
    }?;
    Ok((request, &json::InferAnswer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn found(method: &Method, path: &str) -> Option<Result<(Kind, Named)>> {
        PROTOCOL.find(method, path)
    }

    #[test]
    fn fault_43_wrong_methods_are_not_allowed() {
        for (method, path) in [
            (Method::GET, "/v2/models/m/infer"),
            (Method::POST, "/v2/health/live"),
            (Method::TRACE, "/v2/health/ready"),
        ] {
            assert_eq!(found(&method, path).unwrap().unwrap_err().code, ErrorCode::MethodNotAllowed);
        }
        assert!(found(&Method::GET, "/elsewhere").is_none());
    }

    #[test]
    fn what_a_path_names_is_found_whatever_is_beside_it() {
        for path in
            ["/v2", "/v2/", "/v2/x", "/v2/models/..", "/v2/models/m/versions/3/stats", "/v2/models/m/infer/"]
        {
            assert!(matches!(found(&Method::PUT, path), Some(Ok((Kind::Call, _)))), "{path}");
        }
        let (kind, named) = found(&Method::POST, "/v2/models/a%20b/versions/007/infer").unwrap().unwrap();
        assert!(matches!(kind, Kind::Infer(_)));
        assert_eq!((&*named.model, &*named.version), ("a b", "007"));
    }

    #[test]
    fn what_is_no_version_is_named() {
        for (path, part) in [
            ("/v2/models/m/versions/abc/infer", "'abc' is no version: expected an integer"),
            ("/v2/models/m/versions/-1", "'-1' is no version"),
            ("/v2/models/m/versions", "no version follows"),
            ("/v2/models/m/versions//infer", "no version follows"),
        ] {
            let error = found(&Method::POST, path).unwrap().unwrap_err();
            assert_eq!(error.code, ErrorCode::NotFound);
            assert!(error.message.contains(part), "{path}: {}", error.message);
        }
    }
}
