//! Examples held against the signatures that they are for.

use super::{Limits, Prepared, PreparedTensor, WantedOutput};
use crate::codec::tensorflow::{self, Examples};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::Signature;

/// As [`super::prepare`], of examples: one row each of what the features fill.
///
/// # Errors
/// Those of finding the signatures, and of reading the features.
pub(super) fn prepare(examples: &Examples, signature: &Signature, limits: &Limits<'_>) -> Result<Prepared> {
    let asked = tensorflow::asked(examples, signature)?;
    // All of them take the same.
    let places = asked.signatures.first().map_or(&[][..], |named| &named.inputs);
    let rows = tensorflow::rows(examples, signature, places, limits.max_string_elements, limits.stop)?;
    let mut prepared = Prepared { inputs: vec![None; signature.inputs.len()], ..Prepared::default() };
    for (place, shape, data) in rows {
        prepared.bytes += data.len();
        prepared.inputs[place] = Some(PreparedTensor::new(shape, data));
    }
    for name in asked.signatures.iter().flat_map(|named| named.outputs()) {
        let (place, _) = signature
            .output(name)
            .ok_or_else(|| Error::new(ErrorCode::Internal, format!("the model has no output '{name}'")))?;
        if prepared.outputs.iter().all(|wanted| wanted.place != place) {
            prepared.outputs.push(WantedOutput { place, ..WantedOutput::default() });
        }
    }
    prepared.asked = Some(Box::new(asked));
    Ok(prepared)
}
