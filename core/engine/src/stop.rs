//! Whether work is still wanted: its caller may have left, or its deadline passed.

use crate::error::{Error, ErrorCode, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Looked at between the parts of long work.
#[derive(Debug, Default)]
pub struct Stop {
    left: AtomicBool,
    deadline: Option<Instant>,
    /// Looks after which the work is too much for where it is done.
    left_looks: Option<AtomicUsize>,
}

/// For work that is done while its caller waits for it: it never stops.
pub static NEVER: Stop = Stop::at(None);

impl Stop {
    pub const fn at(deadline: Option<Instant>) -> Stop {
        Stop { left: AtomicBool::new(false), deadline, left_looks: None }
    }

    /// For work that is begun where it must be little, and ends after `looks` of its own; what it came to
    /// then counts for nothing, and it is done again elsewhere.
    pub const fn after(looks: usize) -> Stop {
        Stop { left: AtomicBool::new(false), deadline: None, left_looks: Some(AtomicUsize::new(looks)) }
    }

    /// Whether the work turned out to be too much.
    pub fn is_spent(&self) -> bool {
        self.left_looks.as_ref().is_some_and(|looks| looks.load(Ordering::Relaxed) == 0)
    }

    /// Nobody waits for the work any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// `Cancelled` when the caller has left or the looks are spent, `Expired` past the deadline.
    pub fn check(&self) -> Result<()> {
        if self.left.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::Cancelled, "the caller left"));
        }
        if let Some(looks) = &self.left_looks {
            let left = looks.load(Ordering::Relaxed).saturating_sub(1);
            looks.store(left, Ordering::Relaxed);
            if left == 0 {
                return Err(Error::new(ErrorCode::Cancelled, "too much for this thread"));
            }
        }
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(Error::expired()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_stops_when_its_caller_leaves_or_its_deadline_passes() {
        assert_eq!(NEVER.check(), Ok(()));
        assert!(!NEVER.is_spent());
        let stop = Stop::at(None);
        stop.leave();
        assert_eq!(stop.check().unwrap_err().code, ErrorCode::Cancelled);
        assert_eq!(Stop::at(Some(Instant::now())).check().unwrap_err().code, ErrorCode::Expired);
    }

    #[test]
    fn work_that_must_be_little_ends_when_its_looks_are_spent() {
        let stop = Stop::after(2);
        assert_eq!(stop.check(), Ok(()));
        assert!(!stop.is_spent());
        for _ in 0..2 {
            assert_eq!(stop.check().unwrap_err().code, ErrorCode::Cancelled);
            assert!(stop.is_spent());
        }
    }
}
