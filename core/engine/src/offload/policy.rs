//! Who of those waiting for a helper goes next. Pure: time is an argument.
//!
//! Shortest first, by the bytes to work on, where waiting counts as shortness: a piece of work
//! goes before all whose *due time* (when it came, and as long again as its bytes take at
//! [`PACE`]) is later. So small work passes large, and nothing is passed for ever. Large work
//! leaves some helpers to small work, which so never waits for large work to end.

use std::collections::BTreeSet;
use std::time::Duration;

/// Work on more bytes than this is large.
pub const LARGE: usize = 1 << 20;

/// Bytes a second that due times assume: slower than any work is, so that what is large gives
/// way to what came somewhat later.
const PACE: u64 = 16 << 20;

/// How many may run and wait.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Work that runs at once.
    pub helpers: usize,
    /// Helpers that large work leaves to small.
    pub kept: usize,
    /// Work that may wait.
    pub waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Small,
    Large,
}

impl Class {
    pub fn of(bytes: usize) -> Class {
        if bytes > LARGE { Class::Large } else { Class::Small }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Go,
    Wait,
    Full,
}

/// Its place in a line: due time, and arrival among equals.
type Place = (Duration, u64);

#[derive(Debug)]
pub struct Lines {
    rules: Rules,
    small: BTreeSet<Place>,
    large: BTreeSet<Place>,
    running_small: usize,
    running_large: usize,
}

/// One that waits, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    pub class: Class,
    place: Place,
}

impl Lines {
    pub fn new(rules: Rules) -> Self {
        let (small, large) = (BTreeSet::new(), BTreeSet::new());
        Lines { rules, small, large, running_small: 0, running_large: 0 }
    }

    pub fn waiting(&self) -> usize {
        self.small.len() + self.large.len()
    }

    pub fn running(&self) -> usize {
        self.running_small + self.running_large
    }

    /// Work on `bytes` comes at `now`, as the `number`th.
    pub fn come(&mut self, number: u64, bytes: usize, now: Duration) -> (Answer, Waiter) {
        let class = Class::of(bytes);
        let worth = Duration::from_millis(bytes as u64 * 1000 / PACE);
        let waiter = Waiter { class, place: (now.saturating_add(worth), number) };
        if self.line(class).is_empty() && self.has_room(class) {
            self.start(class);
            return (Answer::Go, waiter);
        }
        if self.waiting() >= self.rules.waiting {
            return (Answer::Full, waiter);
        }
        self.line(class).insert(waiter.place);
        (Answer::Wait, waiter)
    }

    /// One that waits goes without its turn.
    pub fn leave(&mut self, waiter: &Waiter) {
        self.line(waiter.class).remove(&waiter.place);
    }

    /// Work has ended.
    pub fn end(&mut self, class: Class) {
        match class {
            Class::Small => self.running_small -= 1,
            Class::Large => self.running_large -= 1,
        }
    }

    /// Whoever goes next, by its number; `None` where nobody may.
    pub fn next(&mut self) -> Option<u64> {
        let small = self.small.first().filter(|_| self.has_room(Class::Small));
        let large = self.large.first().filter(|_| self.has_room(Class::Large));
        let class = match (small, large) {
            (None, None) => return None,
            (Some(small), Some(large)) if large < small => Class::Large,
            (Some(_), _) => Class::Small,
            (None, Some(_)) => Class::Large,
        };
        let (_, number) = self.line(class).pop_first()?;
        self.start(class);
        Some(number)
    }

    fn line(&mut self, class: Class) -> &mut BTreeSet<Place> {
        match class {
            Class::Small => &mut self.small,
            Class::Large => &mut self.large,
        }
    }

    fn has_room(&self, class: Class) -> bool {
        let free = self.running() < self.rules.helpers;
        free && (class == Class::Small || self.running_large + self.rules.kept < self.rules.helpers)
    }

    fn start(&mut self, class: Class) {
        match class {
            Class::Small => self.running_small += 1,
            Class::Large => self.running_large += 1,
        }
    }
}

#[cfg(test)]
mod tests;
