//! The end of an HTTP/1 connection whose client may still be sending: what it sends is thrown
//! away for a while. A socket that is closed with unread data is reset, and a reset takes the
//! answer away from a client that has not read it yet.

use super::body::due;
use super::{Shared, drain_begins};
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout_at;

/// A client that sends nothing for this long has read its answer, or will not.
const SILENCE: Duration = Duration::from_secs(2);
/// Thrown away at most, in the largest messages: what is refused may be larger than one.
const MESSAGES: usize = 4;
/// What a drain leaves those who are still sending.
const DRAINING: Duration = Duration::from_secs(1);

/// Read until the client closes, is silent, or has had its bytes or the time that a body has. The
/// answer and its end have been sent.
pub async fn linger(stream: &TcpStream, shared: &Shared) {
    let mut draining = shared.draining.subscribe();
    let drained = async {
        drain_begins(&mut draining).await;
        tokio::time::sleep(DRAINING).await;
    };
    let bytes = shared.config.max_message_bytes.saturating_mul(MESSAGES);
    tokio::select! {
        // A broken connection is an end, too.
        _ = throw_away(stream, bytes, shared.config.body_timeout) => {}
        () = drained => {}
    }
}

async fn throw_away(stream: &TcpStream, bytes: usize, timeout: Duration) -> io::Result<()> {
    let (began, mut read) = (Instant::now(), 0);
    while read < bytes {
        let until = due(began, timeout, read).min(Instant::now() + SILENCE);
        timeout_at(until.into(), stream.readable()).await??;
        match read_once(stream) {
            Ok(0) => break,
            Ok(some) => read += some,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Others' turn, however fast it comes.
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// On the stack: a connection that lingers holds no buffer while it waits.
fn read_once(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 32 << 10])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::test_sockets::pair;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_client_that_sends_on_gets_its_answer_and_then_the_end() {
        let (mut server, mut client) = pair().await;
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let served = tokio::spawn(async move { throw_away(&server, 8 << 20, LATER).await });
        client.write_all(&vec![0; 4 << 20]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        drop(client);
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn no_more_is_read_than_may_be() {
        let (server, mut client) = pair().await;
        let sends = tokio::spawn(async move { client.write_all(&vec![0; 64 << 20]).await });
        throw_away(&server, 1 << 20, LATER).await.unwrap();
        drop(server);
        assert!(sends.await.unwrap().is_err(), "all of it was taken");
    }

    #[tokio::test]
    async fn a_client_that_stays_is_left_when_its_time_is_over() {
        let (server, _client) = pair().await;
        let ended = throw_away(&server, 1 << 20, Duration::from_millis(20)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
