//! `PredictionLog`: a request as a server has logged it.

use super::examples::{decode_classify, decode_multi_inference, decode_regress};
use super::request::{Fields, decode_predict};
use crate::codec::InferRequest;
use crate::codec::wire::Reader;
use crate::error::{Error, Result};
use crate::stop::Stop;
use bytes::Bytes;

/// What a log holds.
#[derive(Debug)]
pub enum Logged {
    Request(Box<InferRequest>),
    /// Of a call that this server does not have, by the name of its field.
    Other(&'static str),
}

/// Decodes a `PredictionLog`. Which model it was sent to does not matter.
///
/// # Errors
/// `BadRequest` for a malformed message, one without a request, and as those that decode its request.
pub fn decode_log(stop: &Stop, message: &Bytes) -> Result<Logged> {
    let mut found = None;
    let mut fields = Fields::new(stop);
    let mut reader = Reader::new(message);
    while let Some((number, value)) = fields.next(&mut reader)? {
        if (2..=7).contains(&number) {
            // Of a choice the last one counts.
            found = Some((number, value.len()?));
        }
    }
    let (number, log) = found.ok_or_else(|| Error::bad("it holds no log of a request"))?;
    let decode: fn(&Stop, Bytes) -> Result<InferRequest> = match number {
        2 => decode_classify,
        3 => decode_regress,
        4 => decode_multi_inference,
        5 => return Ok(Logged::Other("session_run_log")),
        6 => decode_predict,
        _ => return Ok(Logged::Other("predict_streamed_log")),
    };
    let request = request(&mut fields, log)?;
    decode(stop, message.slice_ref(request)).map(|request| Logged::Request(Box::new(request)))
}

/// Field 1 of whichever log.
fn request<'a>(fields: &mut Fields<'_>, log: &'a [u8]) -> Result<&'a [u8]> {
    let mut found = None;
    let mut reader = Reader::new(log);
    while let Some((number, value)) = fields.next(&mut reader)? {
        if number == 1 {
            found = Some(value.len()?);
        }
    }
    found.ok_or_else(|| Error::bad("its log holds no request"))
}
