//! The answers to a classification and a regression: `results`.

use super::words;
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Form, Reply};
use crate::codec::buffer::AnswerBuf;
use crate::codec::compression::{self, Encoding};
use crate::codec::json::answer::{ENDS, ESCAPED};
use crate::codec::json::values;
use crate::codec::tensorflow::{self, Classes, Found, Numbers, found};
use crate::codec::{AnswerHead, InferRequest, OutputTensor};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::{Datatype, Signature};

/// Of each example its classes, each a label and a score.
#[derive(Debug)]
pub struct ClassifyAnswer;

/// Of each example its value.
#[derive(Debug)]
pub struct RegressAnswer;

macro_rules! form {
    ($form:ident) => {
        impl Form for $form {
            fn encode(
                &self,
                encoding: Encoding,
                head: &AnswerHead<'_>,
                outputs: &[OutputTensor<'_>],
                of: &Reservation,
            ) -> Reply {
                answer(encoding, head, outputs, of)
            }

            fn most_raw(&self, _: usize) -> usize {
                usize::MAX
            }

            fn refusal(&self, error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
                refusal(error, request, signature)
            }
        }
    };
}

form!(ClassifyAnswer);
form!(RegressAnswer);

fn refusal(error: Error, request: &InferRequest, signature: Option<&Signature>) -> Error {
    match &request.examples {
        // Their words over REST, where it is a mistake of the request as all others.
        Some(examples) if error.code == ErrorCode::FailedPrecondition => {
            words::not_found(examples.signature())
        }
        _ => tensorflow::reworded(error, request, signature),
    }
}

fn answer(
    encoding: Encoding,
    head: &AnswerHead<'_>,
    outputs: &[OutputTensor<'_>],
    of: &Reservation,
) -> Reply {
    let found = found(head, outputs)?;
    let mut buffer = AnswerBuf::new(of, ENDS, of.max_message())?;
    buffer.room(ENDS)?.extend_from_slice(b"{\"results\":[");
    match found.into_iter().next() {
        Some((_, Found::Classes(classes))) => put_classes(&mut buffer, &classes)?,
        Some((_, Found::Values(values))) => put_values(&mut buffer, values)?,
        None => {}
    }
    buffer.room(ENDS)?.extend_from_slice(b"]}");
    let body = compression::encoded(encoding, buffer.finish()?, of)?;
    Ok(Answer { body, json_len: None, encoding })
}

/// Characters of a float and what stands around it, at most.
const FLOAT: usize = 64;

fn put_float(out: &mut Vec<u8>, value: f32) -> Result<()> {
    values::run(out, Datatype::Fp32, &value.to_le_bytes())
        .map_err(|_| Error::new(ErrorCode::Internal, "a float has no form in JSON"))
}

fn put_values(buffer: &mut AnswerBuf<'_>, values: Numbers<'_>) -> Result<()> {
    for at in 0..values.len() {
        let out = buffer.room(FLOAT)?;
        if at > 0 {
            out.push(b',');
        }
        put_float(out, values.get(at))?;
    }
    Ok(())
}

fn put_classes(buffer: &mut AnswerBuf<'_>, classes: &Classes<'_>) -> Result<()> {
    let mut walk = classes.walk();
    for example in 0..classes.examples {
        buffer.room(ENDS)?.extend_from_slice(if example == 0 { b"[" } else { b",[" });
        for class in 0..classes.classes {
            let (label, score) = walk.next();
            let label = std::str::from_utf8(label).map_err(|_| {
                Error::bad(format!("the label of class {class} of example {example} is not UTF-8"))
            })?;
            let out = buffer.room(label.len().saturating_mul(ESCAPED).saturating_add(FLOAT))?;
            out.extend_from_slice(if class == 0 { b"[" } else { b",[" });
            values::string(out, label);
            out.push(b',');
            put_float(out, score)?;
            out.push(b']');
        }
        buffer.room(ENDS)?.push(b']');
    }
    Ok(())
}
