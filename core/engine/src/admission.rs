//! Byte budgets: what may be held in memory, counted while a body still arrives and before an
//! answer is written.

use crate::error::{Error, Result, Word};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How many bytes of requests and answers the process may hold at once, and one of them.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
    max_message: usize,
    /// Bytes of large reservations that were given back: memory that the allocator may keep.
    released: AtomicUsize,
}

/// Smaller reservations leave nothing worth handing back to the system.
const LARGE: usize = 64 << 10;

impl Budget {
    pub fn new(max: usize) -> Arc<Self> {
        Budget::of_messages(max, usize::MAX)
    }

    /// `max` bytes for all, of which a message may take `max_message`.
    pub fn of_messages(max: usize, max_message: usize) -> Arc<Self> {
        Arc::new(Budget { used: AtomicUsize::new(0), max, max_message, released: AtomicUsize::new(0) })
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// Counts on, around the largest number, and never back.
    pub fn released(&self) -> usize {
        self.released.load(Ordering::Relaxed)
    }

    /// An empty reservation that can grow.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    /// Take `more` bytes; false, with nothing taken, when the budget has not that many.
    #[must_use]
    pub fn grow(&mut self, more: usize) -> bool {
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.max {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }

    /// Count bytes that are held already, also beyond the budget: what comes next is refused.
    pub fn hold(&mut self, more: usize) {
        self.budget.used.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
    }

    /// Take `more` bytes before they are allocated.
    ///
    /// # Errors
    /// `Full`, with nothing taken, when the budget has not that many.
    pub fn take(&mut self, more: usize) -> Result<()> {
        if self.grow(more) { Ok(()) } else { Err(full()) }
    }

    /// Give back `less` bytes that are held no longer.
    pub fn give_back(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.budget.used.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }

    /// An empty one of the same budget: for what has a life of its own.
    pub fn another(&self) -> Reservation {
        self.budget.reserve()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that one message may have, request or answer.
    pub fn max_message(&self) -> usize {
        self.budget.max_message
    }
}

/// There is no room in the budget.
pub fn full() -> Error {
    Error::new(
        Word::Full,
        "the server holds as many bytes of requests and answers as it may, try again later",
    )
    .retry(Duration::from_millis(100))
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes >= LARGE {
            self.budget.released.fetch_add(self.bytes, Ordering::Relaxed);
        }
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_over_the_budget_takes_nothing_and_a_drop_gives_back() {
        let budget = Budget::new(100);
        let mut a = budget.reserve();
        assert!(a.grow(60));
        let mut b = budget.reserve();
        assert!(!b.grow(41));
        assert_eq!(budget.used(), 60);
        assert!(b.grow(40));
        drop(a);
        assert_eq!(budget.used(), 40);
        drop(b);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_held_no_longer_is_given_back_and_no_more_than_that() {
        let budget = Budget::of_messages(100, 60);
        let mut a = budget.reserve();
        a.take(50).unwrap();
        assert_eq!(a.take(51).unwrap_err().word, Word::Full);
        a.give_back(20);
        let mut b = a.another();
        b.take(70).unwrap();
        a.give_back(1000);
        assert_eq!((budget.used(), b.max_message()), (70, 60));
    }
}
