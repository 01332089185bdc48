//! gRPC's requests: what their heads say, and the bytes of their messages.

use super::answer::{GRPC_ACCEPT_ENCODING, GRPC_ENCODING};
use crate::admission::Reservation;
use crate::codec::compression::Encoding;
use crate::doors::body::{self, Message};
use crate::doors::infer::RequestHead;
pub use crate::doors::steering::head_bytes;
use crate::doors::steering::{self, Said, Steering};
use crate::doors::{Compression, Shared};
use crate::error::{Error, Result};
use crate::ids;
use crate::stats::Protocol;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use std::time::{Duration, Instant};

/// What a stream or a watch takes while it is open and quiet, in bytes, beside what every request
/// does: its tasks and buffers. Measured: 10,600.
pub const OPEN_STREAM: usize = 10 << 10;

/// What the head of a gRPC request says.
pub struct Head {
    pub started: Instant,
    pub timeout: Option<Duration>,
    pub request_id: Option<String>,
    pub encoding: Encoding,
    replayed: bool,
    said: Option<Box<Said>>,
    /// `grpc-accept-encoding`, read only when an answer is to be compressed.
    accepts: Option<HeaderValue>,
}

impl Head {
    pub fn read(shared: &Shared, headers: &HeaderMap) -> Result<Head> {
        let encoding = match headers.get(GRPC_ENCODING) {
            None => Encoding::Identity,
            Some(value) => Encoding::parse(value.to_str().unwrap_or("?"))?,
        };
        let timeout = headers.get("grpc-timeout").map(|v| parse_timeout(v.as_bytes())).transpose()?;
        Ok(Head {
            started: Instant::now(),
            timeout,
            request_id: ids::from_client(headers).map(str::to_owned),
            encoding,
            replayed: headers.contains_key(ids::REPLAY),
            said: steering::read(shared, headers)?,
            accepts: headers.get(GRPC_ACCEPT_ENCODING).cloned(),
        })
    }

    /// Who is to answer a message; `headers`: those of this head.
    pub fn steering<'h>(&'h self, headers: &'h HeaderMap) -> Steering<'h> {
        Steering { said: self.said.as_deref(), headers: Some(headers) }
    }

    /// What an account of one of its messages begins with.
    pub fn request_head(&self, method: &'static str) -> RequestHead<'_, '_> {
        RequestHead {
            protocol: Protocol::Grpc,
            started: self.started,
            method,
            path: "",
            request_id: self.request_id.as_deref(),
            replayed: self.replayed,
        }
    }

    /// How to send the answer to a message that came compressed or not.
    pub fn answer_encoding(&self, shared: &Shared, compressed: bool) -> Encoding {
        let wanted = match shared.config.grpc_compression {
            Compression::Auto if compressed => self.encoding,
            Compression::Always(encoding) => encoding,
            Compression::Auto | Compression::None => Encoding::Identity,
        };
        if wanted != Encoding::Identity && self.accepts(wanted) { wanted } else { Encoding::Identity }
    }

    fn accepts(&self, wanted: Encoding) -> bool {
        let Some(value) = self.accepts.as_ref().and_then(|v| v.to_str().ok()) else { return false };
        value.split(',').take(16).any(|name| Encoding::parse(name.trim()) == Ok(wanted))
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(value: &[u8]) -> Result<Duration> {
    let bad = || Error::bad("malformed grpc-timeout");
    let (unit, digits) = value.split_last().ok_or_else(bad)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    let number = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(bad()),
    })
}

/// A message's bytes; decompressed, where it is marked so, by what the head says.
pub async fn whole(
    shared: &Shared,
    head: &Head,
    message: Message,
    deadline: Option<Instant>,
) -> Result<(Bytes, Reservation)> {
    let Message { compressed, data, reservation } = message;
    if !compressed {
        return Ok((data, reservation));
    }
    if head.encoding == Encoding::Identity {
        return Err(Error::bad("the message is marked as compressed but grpc-encoding names no compression"));
    }
    Box::pin(body::inflate(shared, head.encoding, data, deadline, reservation)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_strictly() {
        assert_eq!(parse_timeout(b"5S").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_timeout(b"250m").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_timeout(b"99999999H").unwrap(), Duration::from_secs(99_999_999 * 3600));
        for bad in [&b""[..], b"S", b"5", b"-5S", b"123456789S", b"5 S", b"5x"] {
            assert!(parse_timeout(bad).is_err());
        }
    }
}
