//! The inputs and outputs that a request names, held against a signature's.

use super::WantedOutput;
use crate::codec::{InferRequest, classes};
use crate::error::{Error, Result};
use crate::near;
use crate::tensor::{Signature, TensorSpec, shown};

/// For each input of the request, its index in the signature.
pub(super) fn places(request: &InferRequest, signature: &Signature) -> Result<Vec<usize>> {
    let mut seen = vec![false; signature.inputs.len()];
    let mut places = Vec::with_capacity(request.inputs.len().min(seen.len()));
    for input in &request.inputs {
        let (place, _) = signature.input(&input.name).ok_or_else(|| {
            let mut error = unexpected("input", &input.name, request);
            error.message.push_str(&right_names(&input.name, &signature.inputs, "its inputs:"));
            error
        })?;
        if std::mem::replace(&mut seen[place], true) {
            return Err(duplicate("input", &input.name));
        }
        places.push(place);
    }
    let missing: Vec<&str> = signature
        .inputs
        .iter()
        .zip(&seen)
        .filter(|(spec, seen)| !**seen && !spec.optional)
        .map(|(spec, _)| &*spec.name)
        .collect();
    if missing.is_empty() { Ok(places) } else { Err(missing_inputs(request, signature, &missing)) }
}

fn unexpected(kind: &str, name: &str, request: &InferRequest) -> Error {
    Error::bad(format!("unexpected inference {kind} '{}' for model '{}'", shown(name), shown(&request.model)))
        .quoting_nothing()
}

fn right_names(name: &str, specs: &[TensorSpec], lead: &str) -> String {
    near::hint(name, specs.iter().map(|spec| &*spec.name), specs.len(), lead)
}

fn duplicate(kind: &str, name: &str) -> Error {
    Error::bad(format!("{kind} '{}' already exists in request", shown(name))).quoting_nothing()
}

/// Names of a request that an error lists: it may have thousands.
const SHOWN: usize = 32;

fn missing_inputs(request: &InferRequest, signature: &Signature, missing: &[&str]) -> Error {
    let all = signature.inputs.len();
    let required = signature.inputs.iter().filter(|spec| !spec.optional).count();
    let expected = match required == all {
        true => format!("expected {all} inputs but got {} inputs", request.inputs.len()),
        false => {
            format!(
                "expected number of inputs between {required} and {all} but got {} inputs",
                request.inputs.len()
            )
        }
    };
    let mut got = names(request.inputs.iter().take(SHOWN).map(|input| input.name.as_str()));
    if request.inputs.len() > SHOWN {
        got.push_str(",...");
    }
    Error::bad(format!(
        "{expected} for model '{}'. Got input(s) [{got}], but missing required input(s) [{}]. \
         Please provide all required input(s).",
        shown(&request.model),
        names(missing.iter().copied())
    ))
    .quoting_nothing()
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{}'", shown(name))).collect::<Vec<_>>().join(",")
}

/// One that the model has, but which cannot be sent, is another mistake than a wrong name.
fn no_output(name: &str, request: &InferRequest, signature: &Signature) -> Error {
    let mut error = unexpected("output", name, request);
    let why = match signature.left_out.iter().find(|(left, _)| &**left == name) {
        Some((_, why)) => format!(": {why}"),
        None => right_names(name, &signature.outputs, "its outputs:"),
    };
    error.message.push_str(&why);
    error
}

/// The outputs asked for, all of them when none is named.
pub(super) fn outputs(request: &InferRequest, signature: &Signature) -> Result<Vec<WantedOutput>> {
    if request.outputs.is_empty() {
        let whole = |place| WantedOutput { place, binary: request.binary_output, classes: 0 };
        return Ok((0..signature.outputs.len()).map(whole).collect());
    }
    let mut seen = vec![false; signature.outputs.len()];
    let mut outputs = Vec::with_capacity(request.outputs.len().min(seen.len()));
    for output in &request.outputs {
        let (place, spec) =
            signature.output(&output.name).ok_or_else(|| no_output(&output.name, request, signature))?;
        if std::mem::replace(&mut seen[place], true) {
            return Err(duplicate("output", &output.name));
        }
        if output.classes > 0 {
            classes::check(spec)?;
        }
        let binary = output.binary.unwrap_or(request.binary_output);
        outputs.push(WantedOutput { place, binary, classes: output.classes });
    }
    Ok(outputs)
}
