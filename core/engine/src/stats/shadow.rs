//! What became of the copies of requests that a version ran as a shadow: none of its requests.

use super::{Histogram, SECONDS, WORDS};
use crate::error::ErrorCode;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Why a copy was never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// As many of the version wait or run as may.
    Full,
    /// Copies hold as many bytes as they may, or more than half of the process's budget is taken.
    Memory,
    /// The version asks for other inputs than the one that answers.
    Inputs,
    /// Its inputs are in its client's shared memory, which may change once the client is answered.
    SharedMemory,
    /// It waited too long.
    Late,
    /// The version is leaving.
    Leaving,
}

impl Dropped {
    pub const ALL: [Dropped; 6] = [
        Dropped::Full,
        Dropped::Memory,
        Dropped::Inputs,
        Dropped::SharedMemory,
        Dropped::Late,
        Dropped::Leaving,
    ];

    /// As labels have it.
    pub const fn name(self) -> &'static str {
        match self {
            Dropped::Full => "full",
            Dropped::Memory => "memory",
            Dropped::Inputs => "inputs",
            Dropped::SharedMemory => "shared_memory",
            Dropped::Late => "late",
            Dropped::Leaving => "leaving",
        }
    }
}

/// Why a copy that ran well was compared with nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncompared {
    /// The request itself was not answered well.
    Failed,
    /// One of the two answers came too late for the other.
    Late,
    /// There was no room to keep an answer for it.
    Memory,
}

impl Uncompared {
    pub const ALL: [Uncompared; 3] = [Uncompared::Failed, Uncompared::Late, Uncompared::Memory];

    /// As labels have it.
    pub const fn name(self) -> &'static str {
        match self {
            Uncompared::Failed => "failed",
            Uncompared::Late => "late",
            Uncompared::Memory => "memory",
        }
    }
}

/// Each copy is counted in `copies` as it is made or refused, and ends in one of the others.
#[derive(Debug)]
pub struct Shadowed {
    copies: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    failed: [AtomicU64; WORDS],
    uncompared: [AtomicU64; Uncompared::ALL.len()],
    compared: AtomicU64,
    different: AtomicU64,
    /// Runs of copies that succeeded.
    pub(crate) took: Histogram<{ SECONDS.len() }>,
}

/// Those of a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShadowCounts {
    pub copies: u64,
    /// In the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// By word.
    pub failed: [u64; WORDS],
    /// In the order of [`Uncompared::ALL`].
    pub uncompared: [u64; Uncompared::ALL.len()],
    pub compared: u64,
    /// Of those compared.
    pub different: u64,
}

impl Shadowed {
    pub(super) fn new() -> Box<Self> {
        Box::new(Shadowed {
            copies: AtomicU64::new(0),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
            failed: std::array::from_fn(|_| AtomicU64::new(0)),
            uncompared: std::array::from_fn(|_| AtomicU64::new(0)),
            compared: AtomicU64::new(0),
            different: AtomicU64::new(0),
            took: Histogram::new(&SECONDS),
        })
    }

    /// A request fell to the shadow's share.
    pub fn drawn(&self) {
        self.copies.fetch_add(1, Relaxed);
    }

    pub fn dropped(&self, why: Dropped) {
        self.dropped[why as usize].fetch_add(1, Relaxed);
    }

    pub fn failed(&self, word: ErrorCode) {
        self.failed[word as usize].fetch_add(1, Relaxed);
    }

    pub fn uncompared(&self, why: Uncompared) {
        self.uncompared[why as usize].fetch_add(1, Relaxed);
    }

    pub fn compared(&self, different: bool) {
        self.compared.fetch_add(1, Relaxed);
        self.different.fetch_add(u64::from(different), Relaxed);
    }

    /// A run of copies that succeeded.
    pub fn ran(&self, compute: Duration) {
        self.took.observe_time(compute);
    }

    pub fn counts(&self) -> ShadowCounts {
        let get = |counted: &AtomicU64| counted.load(Relaxed);
        ShadowCounts {
            copies: get(&self.copies),
            dropped: self.dropped.each_ref().map(get),
            failed: self.failed.each_ref().map(get),
            uncompared: self.uncompared.each_ref().map(get),
            compared: get(&self.compared),
            different: get(&self.different),
        }
    }
}
