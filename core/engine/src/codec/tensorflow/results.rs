//! `ClassificationResponse`, `RegressionResponse` and `MultiInferenceResponse`: their exact lengths first,
//! then their bytes, once.

use super::answer::{put_message, put_spec, spec_len};
use super::classified::{Classes, Found, Numbers, found};
use super::refusals;
use crate::admission::Reservation;
use crate::codec::answer::{Form, Reply};
use crate::codec::compression::Encoding;
use crate::codec::protobuf::write::len_field;
use crate::codec::{AnswerHead, InferRequest, OutputTensor, frame};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::Signature;
use bytes::{BufMut, Bytes};

/// The answer to `Classify`.
#[derive(Debug)]
pub struct ClassificationResponse;

/// The answer to `Regress`.
#[derive(Debug)]
pub struct RegressionResponse;

/// The answer to `MultiInference`.
#[derive(Debug)]
pub struct MultiInferenceResponse;

/// The two, which look the same but for what the result is.
macro_rules! form {
    ($form:ident, $write:ident) => {
        impl Form for $form {
            fn encode(
                &self,
                encoding: Encoding,
                head: &AnswerHead<'_>,
                outputs: &[OutputTensor<'_>],
                of: &Reservation,
            ) -> Reply {
                frame::answer(encoding, of, |framed| $write(head, outputs, framed, of))
            }

            /// What makes an answer may be larger than that, and smaller.
            fn most_raw(&self, _: usize) -> usize {
                usize::MAX
            }

            fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
                refusals::reworded(error, request, signature)
            }
        }
    };
}

form!(ClassificationResponse, one);
form!(RegressionResponse, one);
form!(MultiInferenceResponse, several);

/// A result, and the spec that names its signature.
fn one(head: &AnswerHead<'_>, outputs: &[OutputTensor<'_>], framed: bool, of: &Reservation) -> Result<Bytes> {
    let found = found(head, outputs)?;
    let (name, result) =
        found.first().ok_or_else(|| Error::new(ErrorCode::Internal, "no signature was asked for"))?;
    let (result_len, spec_len) = (result_len(result), spec_len(head, name));
    let mut buffer = frame::buffer(len_field(1, result_len) + len_field(2, spec_len), framed, of)?;
    let out = buffer.room(0)?;
    put_message(out, 1, result_len);
    put_result(out, result);
    put_message(out, 2, spec_len);
    put_spec(out, head, name);
    buffer.finish()
}

fn several(
    head: &AnswerHead<'_>,
    outputs: &[OutputTensor<'_>],
    framed: bool,
    of: &Reservation,
) -> Result<Bytes> {
    let found = found(head, outputs)?;
    let lens: Vec<_> =
        found.iter().map(|(name, result)| (spec_len(head, name), result_len(result))).collect();
    let inner = |(spec, result): &(usize, usize)| len_field(1, *spec) + len_field(2, *result);
    let len = lens.iter().map(|both| len_field(1, inner(both))).sum();
    let mut buffer = frame::buffer(len, framed, of)?;
    let out = buffer.room(0)?;
    for ((name, result), both) in found.iter().zip(&lens) {
        put_message(out, 1, inner(both));
        put_message(out, 1, both.0);
        put_spec(out, head, name);
        let number = if let Found::Classes(_) = result { 2 } else { 3 };
        put_message(out, number, both.1);
        put_result(out, result);
    }
    buffer.finish()
}

/// Bytes of a 32-bit float in field 1 or 2; 0 is the default and is not written.
fn float_len(value: f32) -> usize {
    if value.to_bits() == 0 { 0 } else { 5 }
}

fn put_float(out: &mut Vec<u8>, number: u8, value: f32) {
    const FIXED32: u8 = 5;
    if value.to_bits() != 0 {
        out.put_u8(number << 3 | FIXED32);
        out.put_f32_le(value);
    }
}

/// Of a `ClassificationResult` or a `RegressionResult`.
fn result_len(result: &Found<'_>) -> usize {
    match result {
        Found::Values(values) => values_len(*values),
        Found::Classes(classes) => {
            let mut walk = classes.walk();
            (0..classes.examples).map(|_| len_field(1, row_len(classes, &mut walk))).sum()
        }
    }
}

fn put_result(out: &mut Vec<u8>, result: &Found<'_>) {
    match result {
        Found::Values(values) => put_values(out, *values),
        Found::Classes(classes) => put_classes(out, classes),
    }
}

fn values_len(values: Numbers<'_>) -> usize {
    (0..values.len()).map(|at| len_field(1, float_len(values.get(at)))).sum()
}

fn put_values(out: &mut Vec<u8>, values: Numbers<'_>) {
    for at in 0..values.len() {
        let value = values.get(at);
        put_message(out, 1, float_len(value));
        put_float(out, 1, value);
    }
}

fn class_len((label, score): (&[u8], f32)) -> usize {
    let label_len = if label.is_empty() { 0 } else { len_field(1, label.len()) };
    label_len + float_len(score)
}

/// Of the next example's `Classifications`.
fn row_len(classes: &Classes<'_>, walk: &mut super::classified::Walk<'_>) -> usize {
    (0..classes.classes).map(|_| len_field(1, class_len(walk.next()))).sum()
}

fn put_classes(out: &mut Vec<u8>, classes: &Classes<'_>) {
    // One walks ahead, for the length of a row stands before it.
    let (mut ahead, mut walk) = (classes.walk(), classes.walk());
    for _ in 0..classes.examples {
        put_message(out, 1, row_len(classes, &mut ahead));
        for _ in 0..classes.classes {
            let (label, score) = walk.next();
            put_message(out, 1, class_len((label, score)));
            if !label.is_empty() {
                put_message(out, 1, label.len());
                out.put_slice(label);
            }
            put_float(out, 2, score);
        }
    }
}
