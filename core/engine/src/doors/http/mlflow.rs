//! MLflow's scoring protocol: `/invocations` and `/ping` for the default model, and the same below
//! `/models/NAME`, by version and by alias.

use super::answer::json;
use super::protocol::{Bodies, Decoded, Kind, Named, Protocol, Split, Verb, Version, row};
use crate::admission::Reservation;
use crate::codec::{mlflow, names};
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::routes::Reference;
use crate::status;
use crate::stop::Stop;
use crate::tensor::{Signature, shown};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use std::time::Duration;

pub static PROTOCOL: Protocol = Protocol {
    rows: &[
        row(Verb::Post, "/invocations", SCORE),
        row(Verb::Post, "/models/{model}@{label}/invocations", SCORE),
        row(Verb::Post, "/models/{model}/invocations", SCORE),
        row(Verb::Post, "/models/{model}/versions/{version}/invocations", SCORE),
        row(Verb::Get, "/ping", Kind::Local(ping)),
        row(Verb::Get, "/health", Kind::Local(ping)),
        row(Verb::Get, "/version", Kind::Local(version_text)),
        row(Verb::Get, "/models/{model}@{label}/ping", Kind::Local(model_ping)),
        row(Verb::Get, "/models/{model}/ping", Kind::Local(model_ping)),
        row(Verb::Get, "/models/{model}/versions/{version}/ping", Kind::Local(model_ping)),
        row(Verb::Any, "/models/{model}/versions/**", Kind::Nowhere(no_version)),
    ],
    any_case: false,
    status: status::http_status_shedding,
    error,
    name: names::encoded_model,
    version,
    wrong_verb: Some(wrong_verb),
};

const SCORE: Kind =
    Kind::Infer(&Bodies { head, split, decode, form: &mlflow::Predictions::Tensors, events: false });

/// An alias comes percent-encoded.
fn version(found: Version<'_>) -> Result<String> {
    match found {
        Version::Number(text) => Ok(text.to_owned()),
        Version::Label(encoded) => {
            let alias = percent_decode_str(encoded).decode_utf8();
            let alias = alias.map_err(|_| Error::bad("the model's alias is not valid UTF-8"))?;
            match alias.parse::<i64>() {
                Ok(_) => Err(Error::bad(format!("'{}' is no alias: name versions by number", shown(&alias)))),
                Err(_) => Ok(names::name("the model's alias", &alias)?.to_owned()),
            }
        }
    }
}

fn wrong_verb(needed: &str) -> Error {
    Error::new(ErrorCode::MethodNotAllowed, format!("Method Not Allowed: use {needed}"))
}

fn no_version(text: &str) -> Error {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        let text = shown(text);
        let words = format!("Not Found: /models/NAME/versions/{text} answers below /invocations and /ping");
        return Error::new(ErrorCode::NotFound, words);
    }
    let text = shown(text);
    let expected = "expected an integer, as in /models/NAME/versions/1/invocations";
    Error::new(ErrorCode::NotFound, format!("Not Found: '{text}' is no version: {expected}"))
}

/// What is wrong with a content type is told as plain text.
fn error(error: &Error) -> (Bytes, HeaderValue) {
    match error.code {
        ErrorCode::UnsupportedMediaType => {
            (error.message.clone().into(), HeaderValue::from_static("text/plain; charset=utf-8"))
        }
        _ => (mlflow::error(error), super::answer::JSON),
    }
}

fn ping(shared: &Shared, _: &Named) -> Result<Response<Full<Bytes>>> {
    // Where nothing says which model is meant, the server's own readiness is.
    let model_ready = shared.default_model().map_or(Ok(true), |model| is_ready(shared, &model, ""))?;
    pong(shared.is_ready() && model_ready)
}

fn model_ping(shared: &Shared, named: &Named) -> Result<Response<Full<Bytes>>> {
    let ready = is_ready(shared, &named.model, &named.version);
    pong(ready.map_err(|error| mlflow::not_run(error, &named.model, &named.version))?)
}

fn is_ready(shared: &Shared, model: &str, version: &str) -> Result<bool> {
    shared.routes.is_ready(Reference::to(model, version))
}

fn pong(ready: bool) -> Result<Response<Full<Bytes>>> {
    if ready {
        return Ok(json(Bytes::from_static(b"\n")));
    }
    Err(Error::new(ErrorCode::Unavailable, "the model is not ready").retry(Duration::from_secs(1)))
}

/// The gateway's own: there is no MLflow behind it.
fn version_text(_: &Shared, _: &Named) -> Result<Response<Full<Bytes>>> {
    Ok(json(Bytes::from_static(env!("CARGO_PKG_VERSION").as_bytes())))
}

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const PARQUET: &str = "application/vnd.apache.parquet";

/// The content type, without which nobody knows what the body is.
fn head(headers: &HeaderMap) -> Result<Option<String>> {
    let value = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    if ![JSON, CSV, PARQUET].contains(&&*kind) {
        let got = if kind.is_empty() { "none".into() } else { format!("'{}'", shown(&kind)) };
        return Err(unsupported(format!(
            "This predictor only supports the following content types: Types: ['{CSV}', '{JSON}', \
             '{PARQUET}']. Got {got}."
        )));
    }
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !name.trim().eq_ignore_ascii_case("charset") {
            let name = shown(name.trim());
            return Err(unsupported(format!("Unrecognized content type parameters: {name}.")));
        }
        if !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(unsupported("The scoring server only supports UTF-8"));
        }
    }
    Ok(Some(kind))
}

fn unsupported(text: impl Into<String>) -> Error {
    Error::new(ErrorCode::UnsupportedMediaType, text)
}

/// What comes as Parquet becomes CSV first: its reader is Python's.
fn split(kind: Option<&str>, text: Bytes) -> Result<Split> {
    let is_parquet = kind == Some(PARQUET);
    Ok(Split {
        text,
        needs_signature: true,
        is_table: is_parquet || kind == Some(CSV),
        made_by: is_parquet.then_some("/invocations"),
        ..Split::default()
    })
}

/// The body says no datatypes: they are the signature's.
fn decode(
    stop: &Stop,
    _: &str,
    body: &Split,
    signature: Option<&Signature>,
    held: &mut Reservation,
) -> Result<Decoded> {
    let none = Signature::default();
    let signature = signature.unwrap_or(&none);
    if body.is_table {
        let came_as = if body.made_by.is_some() { mlflow::Table::Parquet } else { mlflow::Table::Csv };
        return mlflow::decode_table(stop, &body.text, came_as, signature, held);
    }
    mlflow::decode_json(stop, &body.text, signature, held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    #[test]
    fn scoring_is_found_with_what_its_path_names() {
        for (path, model, version) in [
            ("/invocations", "", ""),
            ("/models/m/invocations", "m", ""),
            ("/models/a%20b/versions/3/invocations", "a b", "3"),
            ("/models/m@champion/invocations", "m", "champion"),
            ("/models/a@b@champion/invocations", "a@b", "champion"),
            ("/models/a%40b/invocations", "a@b", ""),
        ] {
            let (kind, named) = PROTOCOL.find(&Method::POST, path).unwrap().unwrap();
            assert!(matches!(kind, Kind::Infer(_)), "{path}");
            assert_eq!((&*named.model, &*named.version), (model, version), "{path}");
        }
        for path in ["/ping", "/health", "/version", "/models/m/ping", "/models/m@a/ping"] {
            let found = PROTOCOL.find(&Method::GET, path).unwrap().unwrap();
            assert!(matches!(found.0, Kind::Local(_)), "{path}");
        }
        for path in ["/invocations/", "/models", "/models/m", "/pingx"] {
            assert!(PROTOCOL.find(&Method::POST, path).is_none(), "{path}");
        }
    }

    #[test]
    fn fault_43_wrong_methods_are_not_allowed() {
        for (method, path) in
            [(Method::GET, "/invocations"), (Method::POST, "/ping"), (Method::TRACE, "/models/m/invocations")]
        {
            let error = PROTOCOL.find(&method, path).unwrap().unwrap_err();
            assert_eq!(error.code, ErrorCode::MethodNotAllowed, "{path}");
        }
    }

    #[test]
    fn fault_61_what_a_path_cannot_name_is_refused_in_words() {
        for (path, code, text) in [
            ("/models/%2e%2e/invocations", ErrorCode::BadRequest, "path traversal"),
            ("/models/m@12/invocations", ErrorCode::BadRequest, "'12' is no alias"),
            ("/models/m@%ff/invocations", ErrorCode::BadRequest, "alias is not valid UTF-8"),
            ("/models/m/versions/a/invocations", ErrorCode::NotFound, "'a' is no version"),
            ("/models/m/versions/1/foo", ErrorCode::NotFound, "versions/1 answers below /invocations"),
            ("/models/m/versions/1", ErrorCode::NotFound, "Not Found: /models/NAME/versions/1 answers"),
            ("/models/m/versions/", ErrorCode::NotFound, "'' is no version"),
        ] {
            let error = PROTOCOL.find(&Method::POST, path).unwrap().unwrap_err();
            assert_eq!(error.code, code, "{path}");
            assert!(error.message.contains(text), "{path}: {}", error.message);
        }
    }

    #[test]
    fn the_content_type_says_what_the_body_is() {
        let head = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            head(&headers)
        };
        for (value, kind) in [
            ("application/json", JSON),
            ("APPLICATION/JSON ; Charset=UTF-8", JSON),
            ("text/csv;charset=\"utf-8\";", CSV),
            (PARQUET, PARQUET),
        ] {
            assert_eq!(head(Some(value)).unwrap().as_deref(), Some(kind), "{value}");
        }
        for (value, text) in [
            (None, "Got none."),
            (Some("text/plain"), "only supports the following content types"),
            (Some("application/x-www-form-urlencoded"), "'application/vnd.apache.parquet']. Got"),
            (Some("application/json; charset=latin-1"), "only supports UTF-8"),
            (Some("application/json; q=1"), "Unrecognized content type parameters: q"),
        ] {
            let error = head(value).unwrap_err();
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType, "{value:?}");
            assert!(error.message.contains(text), "{value:?}: {}", error.message);
            assert_eq!(super::error(&error).1, "text/plain; charset=utf-8");
        }
    }
}
