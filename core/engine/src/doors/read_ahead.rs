//! A stream's requests, read also while nobody asks for them: what came is counted at once
//! and never left with the HTTP/2 library, and the peer gets room for more only when it is
//! used.

use super::incoming::{BodyError, Incoming};
use crate::admission::Reservation;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Smaller pieces that have to wait are joined: each would keep a buffer of the library's
/// alive, larger than itself.
const SMALL: usize = 32 << 10;
/// Bytes of a buffer of joined pieces; a power of two.
const JOINED: usize = 64 << 10;

/// Clones share one body: one of them is read, the other drives it.
#[derive(Clone)]
pub struct ReadAhead {
    ahead: Arc<Mutex<Ahead>>,
}

struct Ahead {
    body: Incoming,
    whole: VecDeque<Bytes>,
    joined: BytesMut,
    held: Reservation,
    end: Option<Option<BodyError>>,
}

impl ReadAhead {
    pub fn new(body: Incoming) -> Self {
        let held = body.budget().reserve();
        let ahead = Ahead { body, whole: VecDeque::new(), joined: BytesMut::new(), held, end: None };
        ReadAhead { ahead: Arc::new(Mutex::new(ahead)) }
    }

    /// Run `work`, which reads this body, and take in what it leaves, in one task.
    pub async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            let polled = work.as_mut().poll(cx);
            if polled.is_pending() && self.ahead.lock().fill(cx) {
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }
}

impl Ahead {
    /// What is there now; true if there was anything.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let mut some = false;
        while self.end.is_none()
            && let Poll::Ready(data) = self.poll_data(cx)
        {
            some = true;
            if let Some(data) = data {
                self.keep(data);
            }
        }
        some
    }

    /// The next data, unreleased; `None` at the end, which is noted.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match ready!(self.body.poll_unreleased(cx)) {
                None => self.end = Some(None),
                Some(Err(error)) => self.end = Some(Some(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(data)),
                    Err(_trailers) => continue,
                },
            }
            return Poll::Ready(None);
        }
    }

    fn keep(&mut self, data: Bytes) {
        if let Err(refused) = self.held.take(data.len()) {
            self.end = Some(Some(refused.into()));
        } else if data.len() < SMALL {
            self.join(data);
        } else {
            self.close_joined();
            self.whole.push_back(data);
        }
    }

    /// Fills each buffer to its end: one that grew by itself would be half empty.
    fn join(&mut self, mut data: Bytes) {
        while !data.is_empty() {
            let part = data.split_to((JOINED - self.joined.len()).min(data.len()));
            let need = self.joined.len() + part.len();
            if need > self.joined.capacity() {
                let mut larger = BytesMut::with_capacity(need.next_power_of_two());
                larger.extend_from_slice(&self.joined);
                self.joined = larger;
            }
            self.joined.extend_from_slice(&part);
            if self.joined.len() == JOINED {
                self.close_joined();
            }
        }
    }

    fn close_joined(&mut self) {
        if !self.joined.is_empty() {
            self.whole.push_back(std::mem::take(&mut self.joined).freeze());
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close_joined();
        }
        let data = self.whole.pop_front()?;
        self.held.give_back(data.len());
        self.body.release(data.len());
        Some(data)
    }
}

impl Body for ReadAhead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut ahead = self.ahead.lock();
        if let Some(data) = ahead.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if ahead.end.is_none()
            && let Some(data) = ready!(ahead.poll_data(cx))
        {
            // The reader keeps up: it counts this itself.
            ahead.body.release(data.len());
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(ahead.end.as_mut().and_then(Option::take).map(Err))
    }

    fn is_end_stream(&self) -> bool {
        let ahead = self.ahead.lock();
        ahead.whole.is_empty() && ahead.joined.is_empty() && matches!(ahead.end, Some(None))
    }
}
