//! How many bytes may be held at once, and who is told what is given back.

use super::{Bound, Reservation};
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may be held at once, and one message of them; those of a share count in what it
/// is a share of.
#[derive(Debug)]
pub struct Budget {
    pub(super) used: AtomicUsize,
    max: usize,
    pub(super) max_message: usize,
    /// What fits here and in all that this is a share of.
    ceiling: usize,
    pub(super) bound: Bound,
    pub(super) whole: Option<Arc<Budget>>,
    /// Bytes that were given back, of which the allocator may keep the memory.
    large: AtomicUsize,
    small: AtomicUsize,
}

/// One of these leaves memory worth handing back to the system; smaller ones only many together.
pub(super) const LARGE: usize = 64 << 10;

/// Bytes that were given back so far, in large and in small parts. They count on, around the
/// largest number, and never back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    pub large: usize,
    pub small: usize,
}

impl Budget {
    /// The process's.
    pub fn new(max: usize) -> Arc<Self> {
        Budget::of_messages(max, usize::MAX)
    }

    /// The process's, of `max` bytes for all, of which a message may take `max_message`.
    pub fn of_messages(max: usize, max_message: usize) -> Arc<Self> {
        Arc::new(Budget::made(max, max_message, Bound::Process, None))
    }

    pub fn share(self: &Arc<Self>, bound: Bound, max: usize) -> Arc<Self> {
        Arc::new(Budget::made(max, self.max_message, bound, Some(self.clone())))
    }

    fn made(max: usize, max_message: usize, bound: Bound, whole: Option<Arc<Budget>>) -> Self {
        let ceiling = whole.as_ref().map_or(max, |whole| whole.ceiling.min(max));
        let [used, large, small] = [const { AtomicUsize::new(0) }; 3];
        Budget { used, max, max_message, ceiling, bound, whole, large, small }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// Of the process's budget; a share's is told to that.
    pub fn released(&self) -> Released {
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Released { large: of(&self.large), small: of(&self.small) }
    }

    /// An empty reservation that can grow.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0, beside: 0 }
    }

    /// Whether one message could hold so many bytes, if nothing else were held.
    ///
    /// # Errors
    /// `TooLarge` naming both sizes and the settings.
    pub fn check(&self, bytes: usize) -> Result<()> {
        if bytes <= self.ceiling {
            return Ok(());
        }
        let over = self.chain().find(|budget| bytes > budget.max).unwrap_or(self);
        Err(over.bound.too_large(bytes, over.max))
    }

    /// This one and those that it is a share of.
    pub(super) fn chain(&self) -> impl Iterator<Item = &Budget> {
        std::iter::successors(Some(self), |budget| budget.whole.as_deref())
    }

    pub(super) fn take(&self, more: usize) -> bool {
        let before = self.used.fetch_add(more, Ordering::Relaxed);
        let fits = before.saturating_add(more) <= self.max;
        if !fits {
            self.give_back(more);
        }
        fits
    }

    pub(super) fn note_released(&self, bytes: usize) {
        if let Some(process) = self.chain().last().filter(|_| bytes > 0) {
            let counter = if bytes >= LARGE { &process.large } else { &process.small };
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
