//! Bytes that are held, and whose they are.

use super::Budget;
use crate::error::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Somebody among others while any budget of theirs is held; later the numbers may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub address: usize,
    pub connection: usize,
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    pub(super) budget: Arc<Budget>,
    pub(super) bytes: usize,
    /// Held for the same message by another reservation, for at least as long.
    pub(super) beside: usize,
}

impl Reservation {
    /// Take `more` bytes.
    ///
    /// # Errors
    /// With nothing taken: `Full`, naming the first bound that has not that many now;
    /// `TooLarge` where the message alone would be over a bound.
    pub fn take(&mut self, more: usize) -> Result<()> {
        for (place, budget) in self.budget.chain().enumerate() {
            if !budget.take(more) {
                self.budget.chain().take(place).for_each(|lower| lower.give_back(more));
                self.budget.check(self.beside.saturating_add(self.bytes).saturating_add(more))?;
                return Err(budget.bound.refusal());
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Count bytes that are held already, also beyond the budget: what comes next is refused.
    pub fn hold(&mut self, more: usize) {
        for budget in self.budget.chain() {
            budget.used.fetch_add(more, Ordering::Relaxed);
        }
        self.bytes += more;
    }

    /// Give back `less` bytes that are held no longer.
    pub fn give_back(&mut self, less: usize) {
        let less = less.min(self.bytes);
        self.budget.note_released(less);
        self.budget.chain().for_each(|budget| budget.give_back(less));
        self.bytes -= less;
    }

    /// An empty one of the same connection: for what has a life of its own.
    pub fn another(&self) -> Reservation {
        self.budget.reserve()
    }

    /// An empty one for more of the same message, while this one stays as it is.
    pub fn beside(&self) -> Reservation {
        let beside = self.beside.saturating_add(self.bytes);
        Reservation { budget: self.budget.clone(), bytes: 0, beside }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whose it is.
    pub fn client(&self) -> Client {
        let connection = Arc::as_ptr(&self.budget).addr();
        Client {
            address: self.budget.whole.as_ref().map_or(connection, |w| Arc::as_ptr(w).addr()),
            connection,
        }
    }

    /// Bytes that one message may have, request or answer.
    pub fn max_message(&self) -> usize {
        self.budget.max_message
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}
