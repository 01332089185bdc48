//! A request's body as it comes, over either protocol, and the budget that it counts in.

use crate::admission::Budget;
use crate::error::Error;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

pub struct Incoming {
    wire: Wire,
    budget: Arc<Budget>,
    /// There was no room for its request: whoever reads it learns that first.
    refusal: Option<Box<Error>>,
}

enum Wire {
    Http1(hyper::body::Incoming),
    Http2(h2::RecvStream),
}

impl Incoming {
    pub fn http1(body: hyper::body::Incoming, connection: Arc<Budget>) -> Self {
        Incoming { wire: Wire::Http1(body), budget: connection, refusal: None }
    }

    pub fn http2(body: h2::RecvStream, connection: Arc<Budget>, refusal: Option<Error>) -> Self {
        Incoming { wire: Wire::Http2(body), budget: connection, refusal: refusal.map(Box::new) }
    }

    /// What its connection may hold.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What came; the peer may not send as much again before it is [released](Self::release).
    pub fn poll_unreleased(&mut self, cx: &mut Context<'_>) -> Polled {
        if let Some(refusal) = self.refusal.take() {
            return Poll::Ready(Some(Err(refusal)));
        }
        match &mut self.wire {
            Wire::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Wire::Http2(body) => poll_http2(body, cx),
        }
    }

    pub fn release(&mut self, bytes: usize) {
        if let Wire::Http2(body) = &mut self.wire {
            // Fails only for more than came, or a stream that is gone with its window.
            let _ = body.flow_control().release_capacity(bytes);
        }
    }
}

fn poll_http2(body: &mut h2::RecvStream, cx: &mut Context<'_>) -> Polled {
    // After the data poll_data says `None` again and again.
    let polled = match ready!(body.poll_data(cx)) {
        Some(data) => Some(data.map(Frame::data)),
        None => ready!(body.poll_trailers(cx)).map(|t| t.map(Frame::trailers)).transpose(),
    };
    Poll::Ready(match polled {
        // The peer needs no more than the answer: an end, not a failure.
        Some(Err(error)) if error.reason() == Some(h2::Reason::NO_ERROR) => None,
        polled => polled.map(|frame| frame.map_err(Into::into)),
    })
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let polled = self.poll_unreleased(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.release(data.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.wire {
            Wire::Http1(body) => body.is_end_stream(),
            Wire::Http2(body) => body.is_end_stream(),
        }
    }
}
