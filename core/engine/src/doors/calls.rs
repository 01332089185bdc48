//! Requests that are not plain inference: they wait in a bounded line until
//! somebody who knows their protocol pulls and answers them.

use crate::error::{Error, Result, Word};
use crate::stats::Protocol;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::oneshot;

const CAPACITY: usize = 256;

#[derive(Debug)]
pub struct CallAnswer {
    pub status: u16,
    pub content_type: String,
    pub body: Bytes,
}

#[derive(Debug)]
pub struct Call {
    pub protocol: Protocol,
    /// gRPC: the RPC's name; HTTP: the verb.
    pub method: String,
    /// HTTP: the path as sent, without the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub request_id: Option<String>,
    answer: Mutex<Option<oneshot::Sender<Result<CallAnswer>>>>,
}

impl Call {
    pub fn new(
        protocol: Protocol,
        method: impl Into<String>,
        path: impl Into<String>,
        body: Bytes,
    ) -> (Call, oneshot::Receiver<Result<CallAnswer>>) {
        let (tx, rx) = oneshot::channel();
        let call = Call {
            protocol,
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body,
            request_id: None,
            answer: Mutex::new(Some(tx)),
        };
        (call, rx)
    }

    /// Answer once; false when it was answered before or the client had left.
    pub fn respond(&self, answer: Result<CallAnswer>) -> bool {
        self.answer.lock().take().is_some_and(|tx| tx.send(answer).is_ok())
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
            return Err(Error::new(Word::Unavailable, "the server is stopping"));
        }
        if line.calls.len() >= CAPACITY {
            line.calls.retain(|c| !c.is_dead());
        }
        if line.calls.len() >= CAPACITY {
            return Err(Error::new(Word::Full, "too many calls are waiting, try again later")
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
            call.respond(Err(Error::new(Word::Unavailable, "the server is stopping")));
        }
        drop(line);
        self.arrived.notify_all();
    }
}

/// What became of a call that somebody has taken.
pub fn outcome(
    received: std::result::Result<Result<CallAnswer>, oneshot::error::RecvError>,
) -> Result<CallAnswer> {
    received.unwrap_or_else(|_| Err(Error::new(Word::Internal, "the request was given up")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_whose_client_left_is_dropped_and_the_line_is_bounded() {
        let calls = Calls::default();
        let (call, left) = Call::new(Protocol::Grpc, "A", "", Bytes::new());
        calls.push(call).unwrap();
        drop(left);
        let (call, _stays) = Call::new(Protocol::Grpc, "B", "", Bytes::new());
        calls.push(call).unwrap();
        assert_eq!(calls.next().unwrap().method, "B");
        let mut waiting = Vec::new();
        for _ in 0..CAPACITY {
            let (call, rx) = Call::new(Protocol::Grpc, "C", "", Bytes::new());
            calls.push(call).unwrap();
            waiting.push(rx);
        }
        let (call, _rx) = Call::new(Protocol::Grpc, "D", "", Bytes::new());
        assert_eq!(calls.push(call).unwrap_err().word, Word::Full);
    }
}
