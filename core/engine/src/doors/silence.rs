//! Connections that have not said anything yet: how long they may be silent.

use super::{Shared, drain_begins};
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};
use tokio::io::Interest;
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

/// Wait for enough of the first bytes to tell, without taking them.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let socket = socket2::SockRef::from(stream);
    let look = || {
        let mut first = [const { MaybeUninit::new(0) }; PREFACE.len()];
        let seen = socket.peek(&mut first)?;
        // SAFETY: all of it was zero at the least.
        judged(&first.map(|byte| unsafe { byte.assume_init() })[..seen])
    };
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        match stream.try_io(Interest::READABLE, look) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !ready.is_read_closed() => {}
            said => return said,
        }
    }
}

/// Whether these are a preface's bytes; as long as that can't be told, no more than if there were
/// none.
fn judged(first: &[u8]) -> io::Result<bool> {
    match first.len() {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        seen if first != &PREFACE[..seen] => Ok(false),
        seen if seen < PREFACE.len() => Err(io::ErrorKind::WouldBlock.into()),
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::test_sockets::pair;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_first_bytes_are_waited_for_however_they_come() {
        let (server, mut client) = pair().await;
        client.set_nodelay(true).unwrap();
        let looking = tokio::spawn(async move { speaks_http2(&server).await });
        for byte in PREFACE {
            client.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(looking.await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn what_begins_like_a_preface_may_be_something_else_or_nothing() {
        for (rest, expected) in [(Some(b"POST"), Some(false)), (None, None)] {
            let (server, mut client) = pair().await;
            client.write_all(b"PR").await.unwrap();
            let looking = tokio::spawn(async move { speaks_http2(&server).await });
            tokio::time::sleep(Duration::from_millis(5)).await;
            match rest {
                Some(rest) => client.write_all(rest).await.unwrap(),
                None => drop(client),
            }
            let said = tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap().unwrap();
            assert_eq!(said.ok(), expected);
        }
    }
}
