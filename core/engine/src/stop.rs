//! Whether work is still wanted: its caller may have left, or its deadline passed.

use crate::error::{Error, ErrorCode, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Looked at between the parts of long work.
#[derive(Debug, Default)]
pub struct Stop {
    left: AtomicBool,
    deadline: Option<Instant>,
}

/// For work that is done while its caller waits for it: it never stops.
pub static NEVER: Stop = Stop::at(None);

impl Stop {
    pub const fn at(deadline: Option<Instant>) -> Stop {
        Stop { left: AtomicBool::new(false), deadline }
    }

    /// Nobody waits for the work any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// `Cancelled` when the caller has left, `Expired` past the deadline.
    pub fn check(&self) -> Result<()> {
        if self.left.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::Cancelled, "the caller left"));
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
        let stop = Stop::at(None);
        stop.leave();
        assert_eq!(stop.check().unwrap_err().code, ErrorCode::Cancelled);
        assert_eq!(Stop::at(Some(Instant::now())).check().unwrap_err().code, ErrorCode::Expired);
    }
}
