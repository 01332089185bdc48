//! A connection's socket: notes when a head begins, when the peer stops reading, and how
//! much of what was sent has reached it. hyper's own time-out for heads begins with the
//! wait for one, so that it cannot tell an idle connection from a slow head.

use super::half_closed::HalfClosed;
use super::lifetime::Activity;
use super::turns::{self, Turns};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub struct Noted {
    pub io: TcpStream,
    activity: Arc<Activity>,
    began: Instant,
    half_closed: Option<HalfClosed>,
    turns: Turns,
}

impl Noted {
    pub fn new(io: TcpStream, activity: Arc<Activity>, began: Instant) -> Self {
        Noted { io, activity, began, half_closed: None, turns: Turns::default() }
    }

    /// The peer sends no more, and may wait for an answer all the same.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.half_closed.get_or_insert_with(HalfClosed::new).poll(cx, &self.io, &self.activity)
    }

    /// While others have theirs there is more to write, as when the peer takes no more.
    fn poll_turn_to_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.turns.poll(cx);
        if turn.is_pending() {
            self.activity.wrote(None, self.began);
        }
        turn
    }

    fn wrote(&mut self, cx: &Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.half_closed.is_some() {
            // It may wait for nothing more now.
            cx.waker().wake_by_ref();
        }
        match &polled {
            Poll::Pending => {
                self.turns.waits();
                self.activity.wrote(None, self.began);
            }
            Poll::Ready(written) => {
                let written = written.as_ref().map_or(0, |n| *n);
                self.turns.moved(written);
                self.activity.wrote(Some(written), self.began);
            }
        }
        polled
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.activity.closed();
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.half_closed.is_some() {
            return self.poll_half_closed(cx);
        }
        ready!(self.turns.poll(cx));
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        match polled {
            Poll::Ready(_) => self.turns.moved(buf.filled().len() - before),
            Poll::Pending => self.turns.waits(),
        }
        if matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before && self.activity.may_wait() {
            return self.poll_half_closed(cx);
        }
        if polled.is_ready() {
            self.activity.read(self.began);
        }
        polled
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn_to_write(cx));
        let polled = Pin::new(&mut self.io).poll_write(cx, turns::first(buf));
        self.wrote(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn_to_write(cx));
        let polled = match turns::first_of(bufs) {
            [one] => Pin::new(&mut self.io).poll_write(cx, turns::first(one)),
            several => Pin::new(&mut self.io).poll_write_vectored(cx, several),
        };
        self.wrote(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
