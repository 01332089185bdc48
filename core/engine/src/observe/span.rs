//! Spans: what a request, its wait, its batch and its run took.

use super::ring::Weigh;
use super::trace::{Context, SpanId, TraceId};
use crate::fields::Fields;
use std::time::{Instant, SystemTime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server,
    Internal,
}

/// The attribute that is another with each request.
pub const REQUEST_ID: &str = "request_id";

/// One finished span; times in nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace: TraceId,
    pub span: SpanId,
    pub parent: Option<SpanId>,
    /// `request`, `queue`, `batch` or `run`.
    pub name: &'static str,
    pub kind: Kind,
    pub start_ns: u64,
    pub end_ns: u64,
    /// A request's batch; a batch's requests.
    pub links: Vec<Context>,
    pub attributes: Fields,
    /// Empty: it went well.
    pub error: String,
}

impl Weigh for Span {
    fn weight(&self) -> usize {
        1
    }
}

/// One moment on both clocks: the spans of one request must not jump with the wall
/// clock between them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at: Instant,
    unix_ns: u64,
}

impl Clock {
    pub fn now() -> Clock {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Clock { at: Instant::now(), unix_ns: u64::try_from(epoch.as_nanos()).unwrap_or(u64::MAX) }
    }

    pub fn unix_ns(&self, at: Instant) -> u64 {
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match at.checked_duration_since(self.at) {
            Some(after) => self.unix_ns.saturating_add(nanos(after)),
            None => self.unix_ns.saturating_sub(nanos(self.at.saturating_duration_since(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn both_sides_of_a_clock_are_told() {
        let clock = Clock::now();
        let second = Duration::from_secs(1);
        assert_eq!(clock.unix_ns(clock.at + second), clock.unix_ns + 1_000_000_000);
        let earlier = clock.at.checked_sub(second).unwrap();
        assert_eq!(clock.unix_ns(earlier), clock.unix_ns - 1_000_000_000);
    }
}
