//! HTTP/1 clients that have closed their sending half while they wait for an answer. TCP does not
//! tell them from clients that are gone: both end with a FIN. So they are asked, by an interim
//! response that HTTP/1.1 clients skip: who is gone answers it with a reset.

use super::lifetime::Activity;
use super::pace::unacknowledged;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// From one question to the next, at first; then twice as long each time, for clients may count
/// interim responses.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// From one look for the reset to the next, at first and at last: the end of what the peer sends
/// has made the socket ready to be read for good, so that a reset makes it no readier.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LOOK: Duration = Duration::from_millis(250);

/// A peer that sends no more.
#[derive(Debug)]
pub struct HalfClosed {
    /// Whether the handler was given one more turn to read what had come.
    looked: bool,
    ask_at: Instant,
    ask_again: Duration,
    look: Pin<Box<Sleep>>,
    pause: Duration,
}

impl HalfClosed {
    pub fn new() -> Self {
        HalfClosed {
            looked: false,
            ask_at: Instant::now(),
            ask_again: ASK_AGAIN,
            look: Box::pin(sleep(FIRST_LOOK)),
            pause: FIRST_LOOK,
        }
    }

    /// What reading from it gives: an error once it is gone; its end once it waits for nothing
    /// more, or has left its request unfinished; nothing until then.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &TcpStream,
        activity: &Activity,
    ) -> Poll<io::Result<()>> {
        if !activity.is_active() && !activity.is_blocked() {
            return Poll::Ready(Ok(()));
        }
        if activity.is_unread() {
            // Its last bytes may be on their way to the handler.
            if std::mem::replace(&mut self.looked, true) {
                return Poll::Ready(Ok(()));
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.ask(io, activity)?;
        self.poll_gone(cx, io)
    }

    /// Only between answers, and where nothing is on its way to the peer: what is, asks as well.
    fn ask(&mut self, io: &TcpStream, activity: &Activity) -> io::Result<()> {
        if Instant::now() < self.ask_at || activity.is_blocked() || unacknowledged(io.as_raw_fd()) > 0 {
            return Ok(());
        }
        if io.try_write(INTERIM)? < INTERIM.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.ask_at = Instant::now() + self.ask_again;
        self.ask_again *= 2;
        self.pause = FIRST_LOOK;
        self.look.as_mut().reset(Instant::now() + FIRST_LOOK);
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>, io: &TcpStream) -> Poll<io::Result<()>> {
        loop {
            ready!(self.look.as_mut().poll(cx));
            if let Some(reset) = io.take_error()? {
                return Poll::Ready(Err(reset));
            }
            self.pause = (2 * self.pause).min(LOOK);
            self.look.as_mut().reset(Instant::now() + self.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::lifetime::Busy;
    use crate::doors::test_sockets::pair;
    use http::{Request, Version};
    use http_body_util::Full;
    use std::future::poll_fn;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn asks(body: &'static [u8]) -> (Arc<Activity>, Busy) {
        let activity = Activity::new(-1);
        let mut request = Request::new(Full::new(body));
        *request.version_mut() = Version::HTTP_11;
        let busy = Busy::http1(&activity, std::time::Instant::now(), &request);
        (activity, busy)
    }

    #[tokio::test]
    async fn fault_27_a_client_that_is_gone_is_told_from_one_that_waits() {
        let (activity, _busy) = asks(b"");
        let (server, mut client) = pair().await;
        client.shutdown().await.unwrap();
        let mut ended = HalfClosed { ask_again: Duration::from_millis(20), ..HalfClosed::new() };
        let mut asked = vec![0; 2 * INTERIM.len()];
        tokio::select! {
            gone = poll_fn(|cx| ended.poll(cx, &server, &activity)) => panic!("it waits: {gone:?}"),
            read = client.read_exact(&mut asked) => drop(read.unwrap()),
        }
        assert_eq!(asked, INTERIM.repeat(2));
        // It leaves while it waits: the next question finds that.
        drop(client);
        let gone = poll_fn(|cx| ended.poll(cx, &server, &activity)).await;
        assert!(gone.is_err());
    }

    /// Its resets do not come through, nor anything else: nothing of the question is acknowledged.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn fault_27_a_client_behind_a_filter_is_gone_once_it_acknowledges_nothing() {
        let (activity, _busy) = asks(b"");
        let (server, mut client) = pair().await;
        let patience = Some(Duration::from_millis(100));
        socket2::SockRef::from(&server).set_tcp_user_timeout(patience).unwrap();
        client.shutdown().await.unwrap();
        // It is read before the filter is there.
        server.readable().await.unwrap();
        let drop_all = socket2::SockFilter::new(0x06, 0, 0, 0);
        socket2::SockRef::from(&client).attach_filter(&[drop_all]).unwrap();
        let mut ended = HalfClosed::new();
        let gone = poll_fn(|cx| ended.poll(cx, &server, &activity)).await;
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_was_answered_or_left_his_request_unfinished_is_at_his_end() {
        let (server, mut client) = pair().await;
        client.shutdown().await.unwrap();
        let (activity, busy) = asks(b"more");
        let mut ended = HalfClosed::new();
        assert!(poll_fn(|cx| ended.poll(cx, &server, &activity)).await.is_ok());
        let mut ended = HalfClosed::new();
        busy.note_read();
        let waits = poll_fn(|cx| Poll::Ready(ended.poll(cx, &server, &activity).is_pending()));
        assert!(waits.await);
        drop(busy);
        assert!(poll_fn(|cx| ended.poll(cx, &server, &activity)).await.is_ok());
    }

    #[test]
    fn who_speaks_http_1_0_is_asked_nothing() {
        let activity = Activity::new(-1);
        let mut request = Request::new(Full::new(&b""[..]));
        *request.version_mut() = Version::HTTP_10;
        let _busy = Busy::http1(&activity, std::time::Instant::now(), &request);
        assert!(!activity.may_wait());
    }
}
