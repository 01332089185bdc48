//! Requests that are not plain inference: they wait in a bounded line until
//! somebody who knows their protocol pulls and answers them.

use crate::admission::Reservation;
use crate::codec::buffer::AnswerBuf;
use crate::codec::frame;
use crate::error::{Error, ErrorCode, Result};
use crate::queue::departures::Departures;
use crate::stats::Protocol;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

const CAPACITY: usize = 256;

/// Notes that some call's client has left, or its deadline has passed, without an answer.
pub static LEFT: Departures = Departures::new();

#[derive(Debug)]
pub struct Call {
    pub protocol: Protocol,
    /// gRPC: the service that the RPC is of.
    pub service: &'static str,
    /// gRPC: the RPC's name; HTTP: the verb.
    pub method: String,
    /// HTTP: the path as sent, without the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub request_id: Option<String>,
    /// gRPC: whether the answer goes out as it is, in its frame.
    pub framed: bool,
    answer: Mutex<Option<oneshot::Sender<Outcome>>>,
    /// What the call holds of the budget until whoever answers it lets go, also when its client
    /// has left before.
    held: Reservation,
    /// What whoever answers it needs besides.
    work: Mutex<Reservation>,
}

/// The answer's body. gRPC: in its frame, where the call asks for that; HTTP: JSON.
type Outcome = Result<Bytes>;

/// The client's end of a call: a future of what it comes to. Dropped before that, the client has left.
#[derive(Debug)]
pub struct Answer(Option<oneshot::Receiver<Outcome>>);

impl Future for Answer {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let received = match &mut self.0 {
            Some(receiver) => std::task::ready!(Pin::new(receiver).poll(cx)).ok(),
            None => None,
        };
        self.0 = None;
        // Whoever took it may have let it go unanswered.
        Poll::Ready(
            received.unwrap_or_else(|| Err(Error::new(ErrorCode::Internal, "the request was given up"))),
        )
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(receiver) = self.0.take() {
            drop(receiver);
            LEFT.note();
        }
    }
}

/// What headers take as texts.
pub fn text_bytes(headers: &[(String, String)]) -> usize {
    headers.iter().map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len()).sum()
}

impl Call {
    /// `held` counts the body; the copy of it that whoever answers is given, and the headers,
    /// are counted here.
    ///
    /// # Errors
    /// `Full` where the budget has no room for them.
    pub fn new(
        (protocol, method): (Protocol, impl Into<String>),
        path: impl Into<String>,
        headers: Vec<(String, String)>,
        body: Bytes,
        mut held: Reservation,
    ) -> Result<(Call, Answer)> {
        let (tx, rx) = oneshot::channel();
        held.take(text_bytes(&headers).saturating_add(body.len()))?;
        let call = Call {
            protocol,
            service: "",
            method: method.into(),
            path: path.into(),
            headers,
            body,
            request_id: None,
            framed: protocol == Protocol::Grpc,
            answer: Mutex::new(Some(tx)),
            work: Mutex::new(held.beside()),
            held,
        };
        Ok((call, Answer(Some(rx))))
    }

    /// Answer once with a copy of `body`, or say that it is too large; false when it was
    /// answered before or the client had left.
    pub fn respond(&self, body: &[u8]) -> bool {
        self.end(match self.protocol {
            Protocol::Grpc => frame::copied(body, self.framed, &self.held),
            Protocol::Http => AnswerBuf::copied(body, &self.held),
        })
    }

    pub fn fail(&self, error: Error) -> bool {
        self.end(Err(error))
    }

    /// Count `more` bytes until whoever answers the call lets go.
    ///
    /// # Errors
    /// As [`Reservation::take`].
    pub fn hold(&self, more: usize) -> Result<()> {
        self.work.lock().take(more)
    }

    /// Whether it is unanswered and its client waits: it has not left, nor has its deadline passed.
    pub fn is_awaited(&self) -> bool {
        !self.is_dead()
    }

    fn end(&self, outcome: Outcome) -> bool {
        self.answer.lock().take().is_some_and(|tx| tx.send(outcome).is_ok())
    }

    fn is_dead(&self) -> bool {
        self.answer.lock().as_ref().is_none_or(oneshot::Sender::is_closed)
    }
}

#[derive(Debug, Default)]
pub struct Calls {
    line: Mutex<Line>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    calls: VecDeque<Call>,
    closed: bool,
}

impl Calls {
    /// # Errors
    /// `Full` when the line is, `Unavailable` once the server stops.
    pub fn push(&self, call: Call) -> Result<()> {
        let mut line = self.line.lock();
        if line.closed {
            return Err(Error::new(ErrorCode::Unavailable, "the server is stopping"));
        }
        if line.calls.len() >= CAPACITY {
            line.calls.retain(|c| !c.is_dead());
        }
        if line.calls.len() >= CAPACITY {
            return Err(Error::new(ErrorCode::Full, "too many calls are waiting, try again later")
                .retry(Duration::from_millis(100)));
        }
        line.calls.push_back(call);
        drop(line);
        self.arrived.notify_one();
        Ok(())
    }

    /// Wait for a call whose client still waits; `None` once closed.
    pub fn next(&self) -> Option<Call> {
        let mut line = self.line.lock();
        loop {
            while let Some(call) = line.calls.pop_front() {
                if !call.is_dead() {
                    return Some(call);
                }
            }
            if line.closed {
                return None;
            }
            self.arrived.wait(&mut line);
        }
    }

    pub fn close(&self) {
        let mut line = self.line.lock();
        line.closed = true;
        for call in line.calls.drain(..) {
            call.fail(Error::new(ErrorCode::Unavailable, "the server is stopping"));
        }
        drop(line);
        self.arrived.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use std::sync::Arc;

    fn asked(method: &str, budget: &Arc<Budget>) -> (Call, Answer) {
        let body = Bytes::from_static(&[7; 100]);
        Call::new((Protocol::Grpc, method), "", Vec::new(), body, budget.reserve()).unwrap()
    }

    fn came(answer: &mut Answer) -> Outcome {
        match Pin::new(answer).poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => unreachable!("nothing has come"),
        }
    }

    #[test]
    fn fault_103_a_call_counts_while_somebody_has_it_and_its_answer_is_bounded() {
        let budget = Budget::of_messages(100_000, 50_000);
        let (one, mut answer) = asked("A", &budget);
        assert_eq!(budget.used(), 100);
        assert!(one.respond(&[1; 50_001]));
        assert_eq!(came(&mut answer).unwrap_err().code, ErrorCode::TooLarge);
        drop(one);
        let (one, mut answer) = asked("B", &budget);
        assert!(one.respond(&[1; 50_000]));
        drop(one);
        let body = came(&mut answer).unwrap();
        assert_eq!((body.len(), budget.used()), (50_005, 50_005));
        drop((body, answer));
        assert_eq!(budget.used(), 0);
        let (one, answer) = asked("D", &budget);
        assert!(one.hold(50_000).is_ok() && one.hold(50_000).is_err() && one.is_awaited());
        assert_eq!(budget.used(), 50_100);
        drop(answer);
        assert!(!one.is_awaited());
        drop(one);
        assert_eq!(budget.used(), 0);
        let body = Bytes::from(vec![7; 100_001]);
        let refused = Call::new((Protocol::Http, "C"), "", Vec::new(), body, budget.reserve());
        assert_eq!(refused.err().unwrap().code, ErrorCode::TooLarge);
    }

    #[test]
    fn a_call_whose_client_left_is_dropped_and_the_line_is_bounded() {
        let (calls, budget) = (Calls::default(), Budget::new(usize::MAX));
        let (call, left) = asked("A", &budget);
        calls.push(call).unwrap();
        drop(left);
        // It would not return.
        LEFT.wait();
        let (call, _stays) = asked("B", &budget);
        calls.push(call).unwrap();
        assert_eq!(calls.next().unwrap().method, "B");
        let mut waiting = Vec::new();
        for _ in 0..CAPACITY {
            let (call, rx) = asked("C", &budget);
            calls.push(call).unwrap();
            waiting.push(rx);
        }
        let (call, _rx) = asked("D", &budget);
        assert_eq!(calls.push(call).unwrap_err().code, ErrorCode::Full);
    }
}
