//! What requests over HTTP say, whichever protocol's: single headers, and bodies.

use crate::admission::Reservation;
use crate::codec::compression::Encoding;
use crate::doors::incoming::Incoming;
use crate::doors::lifetime::Busy;
use crate::doors::{Shared, body};
use crate::error::{Error, Result};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName};
use hyper::body::Body;
use std::time::Instant;

/// # Errors
/// `BadRequest` where it came more than once, or is no text.
pub fn header_text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Error::bad(format!("header {name} came more than once")));
    }
    first
        .map(|v| v.to_str().map(str::to_owned).map_err(|_| Error::bad(format!("header {name} is not text"))))
        .transpose()
}

/// The body, whole and decompressed, within the limit.
///
/// # Errors
/// Those of reading and of decompressing it.
pub async fn read(
    shared: &Shared,
    (headers, incoming): (&HeaderMap, &mut Incoming),
    deadline: Option<Instant>,
    busy: &Busy,
) -> Result<(Bytes, Reservation)> {
    let encoding = match header_text(headers, &CONTENT_ENCODING)? {
        None => Encoding::Identity,
        Some(text) => Encoding::parse(&text)?,
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if incoming.is_end_stream() {
        return Ok((Bytes::new(), incoming.budget().reserve()));
    }
    let (data, reservation) = body::read_http(shared, incoming, length).await?;
    busy.note_read();
    if encoding == Encoding::Identity {
        return Ok((data, reservation));
    }
    Box::pin(body::inflate(shared, encoding, data, deadline, reservation)).await
}
