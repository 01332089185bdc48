//! Log records from a bounded, lossy ring: stating a fact never waits.

use crate::fields::Fields;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

const CAPACITY: usize = 4096;
/// At most so many come out at once: see `observe::ring`.
const HANDFUL: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Event {
    pub at: SystemTime,
    pub level: Level,
    pub event: &'static str,
    /// Further fields, in order; empty values are left out.
    pub fields: Fields,
}

#[derive(Debug, Default)]
pub struct Events {
    ring: Mutex<Ring>,
    arrived: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    closed: bool,
}

impl Events {
    pub fn emit(&self, level: Level, event: &'static str, fields: Fields) {
        self.emit_lazily(level, event, fields);
        self.arrived.notify_one();
    }

    /// Without waking whoever waits: it comes with the next record that does, or when the
    /// wait is over.
    pub fn emit_lazily(&self, level: Level, event: &'static str, fields: Fields) {
        let record = Event { at: SystemTime::now(), level, event, fields };
        let mut ring = self.ring.lock();
        if ring.events.len() >= CAPACITY {
            ring.events.pop_front();
            self.dropped.fetch_add(1, Relaxed);
        }
        ring.events.push_back(record);
    }

    /// Wait for records, and take a handful; `None` once closed and empty.
    pub fn wait(&self, timeout: Duration) -> Option<Vec<Event>> {
        let mut ring = self.ring.lock();
        if ring.events.is_empty() && !ring.closed {
            self.arrived.wait_for(&mut ring, timeout);
        }
        if ring.events.is_empty() && ring.closed {
            return None;
        }
        let count = ring.events.len().min(HANDFUL);
        Some(ring.events.drain(..count).collect())
    }

    pub fn close(&self) {
        self.ring.lock().closed = true;
        self.arrived.notify_all();
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_drops_the_oldest_and_counts() {
        let events = Events::default();
        for i in 0..CAPACITY + 3 {
            events.emit(Level::Info, "x", vec![("i", i.into())]);
        }
        let mut got = Vec::new();
        while got.len() < CAPACITY {
            let handful = events.wait(Duration::MAX).unwrap();
            assert!(handful.len() <= HANDFUL);
            got.extend(handful);
        }
        assert_eq!((got.len(), got[0].fields[0].1.clone()), (CAPACITY, 3usize.into()));
        assert!(events.wait(Duration::ZERO).unwrap().is_empty());
        assert_eq!(events.dropped(), 3);
        events.close();
        assert!(events.wait(Duration::ZERO).is_none());
    }
}
