//! What a request is refused with, in TensorFlow Serving's words, which its clients look for.

use super::types;
use crate::codec::InferRequest;
use crate::error::{Error, ErrorCode};
use crate::tensor::named::Method;
use crate::tensor::{Datatype, Signature, shown};
use std::collections::BTreeSet;

/// `Predict` asks for another signature than the model's own.
pub(in crate::codec) fn no_signature(name: &str, signature: &Signature) -> Error {
    let mut error = unknown_signature(name);
    if let Some(named) = signature.named.iter().find(|named| &*named.name == name) {
        let (method, call) = match named.method() {
            Method::Classify => ("classify", "Classify"),
            Method::Regress => ("regress", "Regress"),
        };
        error.message.push_str(&format!(" Its method is tensorflow/serving/{method}: ask for it by {call}"));
    }
    error
}

/// The model has no signature of the name that the request asks for.
pub(super) fn unknown_signature(name: &str) -> Error {
    let text = format!("Serving signature key \"{}\" not found.", shown(name));
    Error::new(ErrorCode::FailedPrecondition, text)
}

/// The same, of one of several.
pub(super) fn not_in_graph(name: &str) -> Error {
    Error::bad(format!("Requested signature not found in model graph: {}", shown(name)))
}

pub(super) fn evaluated_twice(name: &str) -> Error {
    Error::bad(format!("Duplicate evaluation of signature: {}", shown(name)))
}

/// The signature that is asked for by `method` is another's; `more` follows.
pub(super) fn other_method(method: Method, found: &str, more: &str) -> Error {
    let (kind, method) = match method {
        Method::Classify => ("classification", "classify"),
        Method::Regress => ("regression", "regress"),
    };
    Error::bad(format!(
        "Expected {kind} signature method_name to be tensorflow/serving/{method}. Was: \
         tensorflow/serving/{found}{more}"
    ))
}

pub(super) fn no_label(label: &str) -> Error {
    Error::bad(format!("Unrecognized servable version label: {}", shown(label)))
}

/// `error` in their words where they have some; `signature`: of the version that was to answer, where one
/// was found.
pub(in crate::codec) fn reworded(
    error: Error,
    request: &InferRequest,
    signature: Option<&Signature>,
) -> Error {
    match (error.code, signature) {
        (ErrorCode::NotFound | ErrorCode::BadRequest, None) => not_served(error, request),
        (ErrorCode::BadRequest, Some(signature)) if request.examples.is_none() => {
            unfit(request, signature).unwrap_or(error)
        }
        _ => error,
    }
}

fn not_served(error: Error, request: &InferRequest) -> Error {
    let model = shown(&request.model);
    let asked = match (request.version.as_str(), error.led_to) {
        ("", _) => format!("Latest({model})"),
        (number, _) if number.parse::<i64>().is_ok() => format!("Specific({model}, {number})"),
        (_, Some(number)) => format!("Specific({model}, {number})"),
        // No model has it, or none of that name.
        (label, None) => return no_label(label),
    };
    let text = format!("Servable not found for request: {asked}: {}", error.message);
    Error { code: ErrorCode::NotFound, message: text, ..error }
}

/// What of the request does not fit, in the order in which they look; `None` where they have no words of
/// their own for it.
fn unfit(request: &InferRequest, signature: &Signature) -> Option<Error> {
    let sent = || request.inputs.iter().map(|input| &*input.name);
    let known = || signature.inputs.iter().map(|spec| &*spec.name);
    let required = signature.inputs.iter().filter(|spec| !spec.optional).map(|spec| &*spec.name);
    let extra = without(sent(), known());
    let missing = without(required, sent());
    let text = if !missing.is_empty() || extra.len() > missing.len() {
        sizes(request, signature, &extra, &missing)
    } else if let Some(output) = wrong_output(request, signature) {
        output
    } else {
        wrong_type(request, signature)?
    };
    Some(Error::bad(text))
}

fn sizes(request: &InferRequest, signature: &Signature, extra: &Names<'_>, missing: &Names<'_>) -> String {
    let sent: Names<'_> = request.inputs.iter().map(|input| &*input.name).collect();
    let known: Names<'_> = signature.inputs.iter().map(|spec| &*spec.name).collect();
    if sent.len() == known.len()
        && let Some(name) = extra.first()
    {
        return format!(
            "input tensor alias not found in signature: {}. Inputs expected to be in the set {{{}}}.",
            shown(name),
            listed(&known)
        );
    }
    format!(
        "input size does not match signature: {}!={} len({{{}}}) != len({{{}}}). Sent extra: {{{}}}. \
         Missing but required: {{{}}}.",
        sent.len(),
        known.len(),
        listed(&sent),
        listed(&known),
        listed(extra),
        listed(missing)
    )
}

fn wrong_output(request: &InferRequest, signature: &Signature) -> Option<String> {
    let mut seen = BTreeSet::new();
    request.outputs.iter().find_map(|output| {
        let name = &*output.name;
        // Why one that the model has cannot be sent is told in our words.
        if signature.left_out.iter().any(|(left, _)| &**left == name) {
            return None;
        }
        if signature.output(name).is_none() {
            let known: Names<'_> = signature.outputs.iter().map(|spec| &*spec.name).collect();
            return Some(format!(
                "output tensor alias not found in signature: {} Outputs expected to be in the set {{{}}}.",
                shown(name),
                listed(&known)
            ));
        }
        (!seen.insert(name)).then(|| format!("duplicate output tensor alias: {}", shown(name)))
    })
}

/// Said with the names by which their clients know types.
fn wrong_type(request: &InferRequest, signature: &Signature) -> Option<String> {
    request.inputs.iter().find_map(|input| {
        let (_, spec) = signature.input(&input.name)?;
        let sent = Datatype::from_name(&input.datatype).filter(|sent| *sent != spec.datatype)?;
        let (sent, expected) = (types::name_of(sent), types::name_of(spec.datatype));
        Some(format!("input '{}' has the dtype {sent}, the model expects {expected}", spec.name))
    })
}

type Names<'a> = BTreeSet<&'a str>;

fn without<'a>(names: impl Iterator<Item = &'a str>, others: impl Iterator<Item = &'a str>) -> Names<'a> {
    let others: Names<'_> = others.collect();
    names.filter(|name| !others.contains(name)).collect()
}

/// Names that an error lists: a request may have thousands.
const SHOWN: usize = 32;

fn listed(names: &Names<'_>) -> String {
    let mut text = names.iter().take(SHOWN).map(|name| shown(name)).collect::<Vec<_>>().join(",");
    if names.len() > SHOWN {
        text.push_str(",...");
    }
    text
}
