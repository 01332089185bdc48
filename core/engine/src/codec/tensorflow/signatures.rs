//! Which of a model's signatures a request's examples are for.

use super::SIGNATURE;
use super::examples::{Examples, Of, Task};
use super::refusals;
use crate::error::{Error, Result};
use crate::tensor::Signature;
use crate::tensor::named::{Asked, Method, NamedSignature};
use std::sync::Arc;

/// The signatures that are asked for, in the order of the tasks.
///
/// # Errors
/// `FailedPrecondition` for one that the model has not, `BadRequest` for one of another method, one that
/// is asked for twice, signatures that take other inputs than one another, and no example at all.
pub(in crate::codec) fn asked(examples: &Examples, signature: &Signature) -> Result<Asked> {
    let mut signatures: Vec<Arc<NamedSignature>> = Vec::with_capacity(examples.tasks.len());
    for task in &examples.tasks {
        let named = find(task, examples.of, signature)?;
        if signatures.iter().any(|other| other.name == named.name) {
            return Err(refusals::evaluated_twice(&named.name));
        }
        if signatures.first().is_some_and(|first| first.inputs != named.inputs) {
            return Err(Error::bad("Input tensor must be the same for all Signatures."));
        }
        signatures.push(named.clone());
    }
    if examples.count == 0 {
        return Err(Error::bad("Input is empty."));
    }
    Ok(Asked { signatures, examples: examples.count })
}

fn find<'s>(task: &Task, of: Of, signature: &'s Signature) -> Result<&'s Arc<NamedSignature>> {
    let named = match &*task.signature {
        "" => return only(task.method, signature),
        SIGNATURE => return Err(refusals::other_method(task.method, "predict", "")),
        name => signature.named.iter().find(|named| &*named.name == name),
    };
    match named {
        Some(named) if named.method() == task.method => Ok(named),
        Some(named) => Err(refusals::other_method(task.method, named.method().name(), "")),
        None if of == Of::Several => Err(refusals::not_in_graph(&task.signature)),
        None => Err(refusals::unknown_signature(&task.signature)),
    }
}

/// The one that is meant where none is named: the only one of its method.
fn only(method: Method, signature: &Signature) -> Result<&Arc<NamedSignature>> {
    let mut all = signature.named.iter().filter(|named| named.method() == method);
    match (all.next(), all.next()) {
        (Some(named), None) => Ok(named),
        (None, _) => Err(refusals::other_method(
            method,
            "predict",
            &format!(
                ". The model has no signature of tensorflow/serving/{}: its configuration would name one \
                 under 'signatures'",
                method.name()
            ),
        )),
        (Some(first), Some(second)) => Err(refusals::other_method(
            method,
            "predict",
            &format!(". Ask for one of the model's by its name, such as {} or {}", first.name, second.name),
        )),
    }
}
