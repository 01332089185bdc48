//! Connections that have not said anything yet: how long they may be silent.

use super::{Shared, drain_begins};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// A draining server leaves a connection this long, from its beginning, for its first bytes:
/// they may be on their way. One that has been silent for longer is closed at once (fault 111).
const YOUNG: Duration = Duration::from_millis(500);

/// Wait for the first bytes, which stay unread: whether they are HTTP/2's. `None` when they
/// do not come in time, when the server drains, or when the peer is gone.
pub async fn first_words(stream: &TcpStream, shared: &Shared, began: Instant) -> Option<bool> {
    let mut draining = shared.draining.subscribe();
    let drained = async {
        drain_begins(&mut draining).await;
        tokio::time::sleep_until((began + YOUNG).into()).await;
    };
    tokio::select! {
        biased;
        http2 = speaks_http2(stream) => http2.ok(),
        () = tokio::time::sleep(shared.config.head_timeout) => None,
        () = drained => None,
    }
}

/// Look at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    let mut pause = Duration::from_millis(5);
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Part of a preface: peek would return at once, so wait a little.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
