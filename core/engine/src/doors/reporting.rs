//! What is logged of requests that fail, and with what of their values.

use super::Shared;
use crate::error::{Error, ErrorCode, Redaction};
use crate::events::Level;
use crate::queue::Queue;
use crate::stats::Protocol;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

impl Shared {
    /// Keep an error's original under its request id. Refusals in a storm say
    /// nothing new: only so many of them a second are kept. It is one that may be
    /// logged: see [`Shared::redacted`].
    pub fn report(&self, protocol: Protocol, request_id: &str, model: &str, error: &Error) {
        let level = match error.code {
            ErrorCode::Internal => Level::Error,
            // These say nothing of the request itself, and are counted.
            ErrorCode::Full
            | ErrorCode::TooManyRequests
            | ErrorCode::Expired
            | ErrorCode::Cancelled
            | ErrorCode::Unavailable => Level::Debug,
            _ => Level::Info,
        };
        if level != Level::Error && !self.quiet.admit() {
            return;
        }
        let fields = vec![
            ("request_id", request_id.into()),
            ("protocol", protocol.name().into()),
            ("model", crate::codec::names::recorded_model(model).into()),
            ("word", error.code.name().into()),
            ("message", error.message.clone().into()),
            ("detail", error.detail.clone().unwrap_or_default().into()),
        ];
        self.events.emit(level, "request_failed", fields);
    }

    /// An error of a request to `queue` as it may be logged; `None`: as it is. Whose values an error of
    /// no known version may quote nobody knows: none is logged once any model redacts some.
    pub(super) fn redacted(&self, error: &Error, queue: Option<&Queue>) -> Option<Error> {
        match queue {
            Some(queue) => queue.redacted(error),
            None if self.redacts.load(Ordering::Relaxed) => Redaction::default().redacted(error),
            None => None,
        }
    }
}

/// Lets a bounded number of records through each second.
pub(super) struct Quiet {
    started: Instant,
    second: AtomicU64,
    count: AtomicU64,
}

const RECORDS_A_SECOND: u64 = 100;

impl Default for Quiet {
    fn default() -> Self {
        Quiet { started: Instant::now(), second: AtomicU64::new(0), count: AtomicU64::new(0) }
    }
}

impl Quiet {
    fn admit(&self) -> bool {
        let second = self.started.elapsed().as_secs();
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < RECORDS_A_SECOND
    }
}
