//! Whose budget is short, in words.

use crate::error::{Error, ErrorCode};
use std::time::Duration;

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Connection,
    Address,
    Process,
}

impl Bound {
    pub(super) fn refusal(self) -> Error {
        let text = match self {
            Bound::Connection => {
                "this connection holds as many bytes of requests and answers as one may \
                 (setting limits.connection_share), try again later"
            }
            Bound::Address => {
                "this client's address holds as many bytes of requests and answers as one may \
                 (setting limits.address_share), try again later"
            }
            Bound::Process => {
                "the server holds as many bytes of requests and answers as it may, try again later"
            }
        };
        Error::new(ErrorCode::Full, text).retry(Duration::from_millis(100))
    }

    /// Of what takes `bytes` where there are never more than `max`: waiting doesn't help.
    pub(super) fn too_large(self, bytes: usize, max: usize) -> Error {
        let whose = match self {
            Bound::Connection => {
                "a connection may hold (settings limits.connection_share, limits.process_bytes)"
            }
            Bound::Address => {
                "a client's address may hold (settings limits.address_share, limits.process_bytes)"
            }
            Bound::Process => "the server may hold (setting limits.process_bytes)",
        };
        let text =
            format!("the request and what becomes of it take {bytes} bytes, over the {max} that {whose}");
        Error::new(ErrorCode::TooLarge, text)
    }
}
