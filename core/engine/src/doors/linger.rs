//! What a client still sends after its answer is thrown away for a while. A socket that is closed
//! with unread data is reset, and a reset takes the answer away from a client that has not read it
//! yet: so at the end of an HTTP/1 connection, and of an HTTP/2 stream, whose reset many clients
//! take for a failure, whatever came before it and whichever reason it gives.

use super::body::due;
use super::incoming::Incoming;
use super::{Shared, drain_begins};
use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    // A broken connection is an end, too.
    let _ = until_drained(throw_away(stream, most(shared), shared.config.body_timeout), shared).await;
}

/// The same for one stream of an HTTP/2 connection, whose streams have these bytes together.
pub async fn hear_out(body: &mut Incoming, unheard: &Unheard, shared: &Shared) {
    let heard = unheard.hear(body, most(shared), shared.config.body_timeout);
    until_drained(heard, shared).await;
}

fn most(shared: &Shared) -> usize {
    shared.config.max_message_bytes.saturating_mul(MESSAGES)
}

/// `None` where a drain has ended it.
async fn until_drained<T>(heard: impl Future<Output = T>, shared: &Shared) -> Option<T> {
    let mut draining = shared.draining.subscribe();
    let drained = async {
        drain_begins(&mut draining).await;
        tokio::time::sleep(DRAINING).await;
    };
    tokio::select! {
        ended = heard => Some(ended),
        () = drained => None,
    }
}

/// What the streams of one HTTP/2 connection send on after they were answered.
#[derive(Debug, Default)]
pub struct Unheard {
    streams: AtomicUsize,
    /// Thrown away since there was none of them last.
    bytes: AtomicUsize,
}

/// One that is heard out.
struct Stream<'a>(&'a Unheard);

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.bytes.store(0, Ordering::Relaxed);
        }
    }
}

impl Unheard {
    /// Until its end, a silence, its time, or the connection's bytes are over: then the stream is
    /// reset with NO_ERROR when it is dropped (RFC 9113, 8.1).
    async fn hear<B>(&self, body: &mut B, most: usize, timeout: Duration)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        self.streams.fetch_add(1, Ordering::Relaxed);
        let _one = Stream(self);
        let (began, mut read) = (Instant::now(), 0);
        while self.bytes.load(Ordering::Relaxed) < most {
            let until = due(began, timeout, read).min(Instant::now() + SILENCE);
            // What it takes makes room for as much; an end, also one by a reset, is the end.
            let Ok(Some(Ok(frame))) = timeout_at(until.into(), body.frame()).await else { return };
            let some = frame.data_ref().map_or(0, Bytes::len);
            read += some;
            self.bytes.fetch_add(some, Ordering::Relaxed);
        }
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
    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;
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

    /// So many pieces of 1,000 bytes, and then nothing more, or the end.
    fn sends(pieces: usize, ends: bool) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let piece = || Ok(Frame::data(Bytes::from_static(&[0; 1000])));
        let then = stream::pending().take(usize::from(!ends));
        StreamBody::new(stream::repeat_with(piece).take(pieces).chain(then))
    }

    #[tokio::test]
    async fn a_stream_is_heard_to_its_end_and_its_bytes_are_its_connections_again() {
        let unheard = Unheard::default();
        unheard.hear(&mut sends(8, true), 10_000, LATER).await;
        let mut again = sends(9, true);
        unheard.hear(&mut again, 10_000, LATER).await;
        assert!(again.frame().await.is_none(), "not all of it was taken");
    }

    #[tokio::test]
    async fn the_streams_of_a_connection_have_its_bytes_together() {
        let unheard = Unheard::default();
        let (mut quiet, mut loud) = (sends(6, false), sends(100, true));
        let first = unheard.hear(&mut quiet, 10_000, Duration::from_millis(50));
        let second = async {
            tokio::task::yield_now().await;
            unheard.hear(&mut loud, 10_000, LATER).await;
        };
        tokio::join!(first, second);
        let mut left = 0;
        while loud.frame().await.is_some() {
            left += 1;
        }
        assert_eq!(left, 96);
    }

    #[tokio::test]
    async fn a_stream_that_stays_is_left_when_its_time_is_over() {
        let unheard = Unheard::default();
        unheard.hear(&mut sends(1, false), 10_000, Duration::from_millis(20)).await;
        assert_eq!(unheard.streams.load(Ordering::Relaxed), 0);
    }
}
