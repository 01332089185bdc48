//! TensorFlow Serving's REST paths under `/v1`. Prediction is decoded here; status, metadata and what is
//! refused are calls.

use super::answer::json_error;
use super::monitoring;
use super::protocol::{Bodies, Decoded, Kind, Protocol, Split, Verb, Version, row};
use crate::admission::Reservation;
use crate::codec::{names, tensorflow, tensorflow_json};
use crate::error::{Error, Result};
use crate::status;
use crate::stop::Stop;
use crate::tensor::{Signature, shown};
use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

pub static PROTOCOL: Protocol = Protocol {
    rows: &[
        row(Verb::Post, "/v1/models/{name}:predict", PREDICT),
        row(Verb::Post, "/v1/models/{name}/versions/{version}:predict", PREDICT),
        row(Verb::Post, "/v1/models/{name}/labels/{label}:predict", PREDICT),
        row(Verb::Post, "/v1/models/{name}:classify", CLASSIFY),
        row(Verb::Post, "/v1/models/{name}/versions/{version}:classify", CLASSIFY),
        row(Verb::Post, "/v1/models/{name}/labels/{label}:classify", CLASSIFY),
        row(Verb::Post, "/v1/models/{name}:regress", REGRESS),
        row(Verb::Post, "/v1/models/{name}/versions/{version}:regress", REGRESS),
        row(Verb::Post, "/v1/models/{name}/labels/{label}:regress", REGRESS),
        row(Verb::Any, "/v1/**", Kind::Call),
        row(Verb::Get, monitoring::PATH, Kind::Metrics),
    ],
    any_case: true,
    status: status::http_status_shedding,
    error: json_error,
    name: names::encoded_model,
    version,
    wrong_verb: None,
};

const PREDICT: Kind =
    Kind::Infer(&Bodies { head, split, decode, form: &tensorflow_json::ColumnAnswer, events: false });

const CLASSIFY: Kind = Kind::Infer(&Bodies {
    head,
    split: whole,
    decode: |stop, _, body, _, held| {
        let request = tensorflow_json::decode_classify(stop, &body.text, held)?;
        Ok((request, &tensorflow_json::ClassifyAnswer))
    },
    form: &tensorflow_json::ClassifyAnswer,
    events: false,
});

const REGRESS: Kind = Kind::Infer(&Bodies {
    head,
    split: whole,
    decode: |stop, _, body, _, held| {
        let request = tensorflow_json::decode_regress(stop, &body.text, held)?;
        Ok((request, &tensorflow_json::RegressAnswer))
    },
    form: &tensorflow_json::RegressAnswer,
    events: false,
});

fn version(found: Version<'_>) -> Result<String> {
    match found {
        Version::Number("") => Ok(String::new()),
        Version::Number(text) => match text.parse::<i64>() {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(Error::bad(format!("Failed to convert version: {} to numeric.", shown(text)))),
        },
        Version::Label(encoded) => {
            let label = percent_decode_str(encoded).decode_utf8();
            let label = label.map_err(|_| Error::bad("the version's label is not valid UTF-8"))?;
            tensorflow::label(&label).map(str::to_owned)
        }
    }
}

/// Whatever type the body is said to have, it is JSON.
fn head(_: &HeaderMap) -> Result<Option<String>> {
    Ok(None)
}

fn split(_: Option<&str>, text: Bytes) -> Result<Split> {
    Ok(Split { text, needs_signature: true, ..Split::default() })
}

/// Examples say what their features are.
fn whole(_: Option<&str>, text: Bytes) -> Result<Split> {
    Ok(Split { text, ..Split::default() })
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
    tensorflow_json::decode_predict(stop, signature.unwrap_or(&none), &body.text, held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use http::Method;

    #[test]
    fn prediction_is_found_whatever_the_case_with_what_its_path_names() {
        for (path, model, version) in [
            ("/v1/models/m:predict", "m", ""),
            ("/V1/MODELS/M:Predict", "M", ""),
            ("/v1/models/a%20b%3Ac:predict", "a b:c", ""),
            ("/v1/models/m/versions/007:predict", "m", "7"),
            ("/v1/models/m/Labels/St%41ble:predict", "m", "StAble"),
        ] {
            let (kind, named) = PROTOCOL.find(&Method::POST, path).unwrap().unwrap();
            assert!(matches!(kind, Kind::Infer(_)), "{path}");
            assert_eq!((&*named.model, &*named.version), (model, version), "{path}");
        }
    }

    #[test]
    fn what_is_no_prediction_is_a_call() {
        for path in [
            "/v1/models/m",
            "/v1/models/m:classify:predict",
            "/v1/models/m/versions/1/labels/a:predict",
            "/v1/models/m/versions/a:predict",
            "/v1/models/:predict",
            "/v1/",
            "/v1",
        ] {
            let found = PROTOCOL.find(&Method::POST, path);
            assert!(matches!(found, Some(Ok((Kind::Call, _)))), "{path}");
        }
        for method in [Method::GET, Method::OPTIONS, Method::TRACE] {
            let found = PROTOCOL.find(&method, "/v1/models/m:predict");
            assert!(matches!(found, Some(Ok((Kind::Call, _)))), "{method}");
        }
        assert!(PROTOCOL.find(&Method::POST, "/v11/models/m:predict").is_none());
    }

    #[test]
    fn what_a_path_cannot_name_is_refused_in_words() {
        let predict = "/v1/models/m/versions/9223372036854775808:predict";
        for (path, text) in [
            (predict, "Failed to convert version: 9223372036854775808 to numeric."),
            ("/v1/models/m/labels/12:predict", "Unrecognized servable version label: 12"),
            ("/v1/models/m/labels/%ff:predict", "label is not valid UTF-8"),
            ("/v1/models/%2e%2e:predict", "path traversal"),
        ] {
            let error = PROTOCOL.find(&Method::POST, path).unwrap().unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest, "{path}");
            assert!(error.message.contains(text), "{path}: {}", error.message);
        }
    }
}
