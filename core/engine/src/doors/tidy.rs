//! Memory handed back to the system once what was large has gone: bodies that came, or whose
//! client left half-way, and answers. The allocator would keep it until the next of that size.

use super::Shared;
use crate::memory;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);
/// Less than this is not worth the work.
const WORTH: usize = 8 << 20;
/// A thread that is never quiet hands back all the same, only later.
const LONGEST: u32 = 10;

/// When a thread hands back, by what was released of the budget.
#[derive(Debug, Default)]
struct Tidy {
    seen: usize,
    owed: usize,
    waited: u32,
}

impl Tidy {
    /// Look once more; whether it is time. A quiet moment is one in which nothing large went:
    /// what goes is needed again at once where bodies follow each other.
    fn look(&mut self, released: usize) -> bool {
        let went = released.wrapping_sub(self.seen);
        self.seen = released;
        self.owed = self.owed.saturating_add(went);
        if self.owed < WORTH {
            return false;
        }
        self.waited += 1;
        if went > 0 && self.waited < LONGEST {
            return false;
        }
        (self.owed, self.waited) = (0, 0);
        true
    }
}

/// One I/O thread's, for as long as it runs: each thread has free blocks of its own.
pub async fn tidy(shared: Arc<Shared>) {
    let mut tidy = Tidy::default();
    let mut moments = tokio::time::interval(EVERY);
    moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        moments.tick().await;
        if tidy.look(shared.budget.released()) {
            memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(released: &[usize]) -> Vec<bool> {
        let mut tidy = Tidy::default();
        released.iter().map(|&mib| tidy.look(mib << 20)).collect()
    }

    #[test]
    fn it_waits_for_a_quiet_moment_and_hands_back_once() {
        assert_eq!(looks(&[0, 10, 20, 20, 20]), [false, false, false, true, false]);
    }

    #[test]
    fn little_is_left_where_it_is_until_it_is_much() {
        assert_eq!(looks(&[2, 2, 4, 4, 9, 9]), [false, false, false, false, false, true]);
    }

    #[test]
    fn a_thread_that_is_never_quiet_hands_back_now_and_then() {
        let often: Vec<usize> = (0..40).map(|i| 8 * i).collect();
        assert_eq!(looks(&often).iter().filter(|&&now| now).count(), 3);
    }
}
