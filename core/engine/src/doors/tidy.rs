//! Memory handed back to the system once what was held of it has gone: bodies that came, or whose
//! client left half-way, answers, and many small things together. The allocator would keep it
//! until the next of that size.

use super::Shared;
use crate::admission::Released;
use crate::memory;
use std::sync::Arc;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);
/// Less than this is not worth the work.
const WORTH: usize = 8 << 20;
/// A moment in which no more than this goes, in small parts, is quiet.
const LITTLE: usize = 1 << 20;
/// A thread that is never quiet hands back all the same, only later.
const LONGEST: u32 = 10;

/// When a thread hands back, by what was released of the budget.
#[derive(Debug, Default)]
struct Tidy {
    seen: Released,
    owed: Released,
    /// The most that was held at any look since it handed back.
    most: usize,
    waited: u32,
}

impl Tidy {
    /// Look once more, `held` being what is held now; whether it is time. What goes is needed
    /// again at once where requests follow each other, so that it waits for a quiet moment.
    fn look(&mut self, released: Released, held: usize) -> bool {
        let large = released.large.wrapping_sub(self.seen.large);
        let small = released.small.wrapping_sub(self.seen.small);
        self.seen = released;
        self.owed.large = self.owed.large.saturating_add(large);
        self.owed.small = self.owed.small.saturating_add(small);
        self.most = self.most.max(held);
        // Small requests that come and go all the time need the same memory again and again:
        // they leave some only where fewer of them are there than were.
        let left = self.owed.large.max(self.most - held);
        self.waited = if left < WORTH { 0 } else { self.waited + 1 };
        let quiet = large == 0 && small <= LITTLE;
        let owed = self.owed.large.saturating_add(self.owed.small);
        let now = owed >= WORTH && (quiet || self.waited >= LONGEST);
        if now {
            *self = Tidy { seen: released, most: held, ..Tidy::default() };
        }
        now
    }
}

/// One I/O thread's, for as long as it runs: each thread has free blocks of its own.
pub async fn tidy(shared: Arc<Shared>) {
    let mut tidy = Tidy::default();
    let mut moments = tokio::time::interval(EVERY);
    moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        moments.tick().await;
        if tidy.look(shared.budget.released(), shared.budget.used()) {
            memory::give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at MiB that went in large parts and in small ones so far, and that are held.
    fn looks(seen: &[(usize, usize, usize)]) -> Vec<bool> {
        let mut tidy = Tidy::default();
        let mut look = |&(large, small, held)| {
            tidy.look(Released { large: large << 20, small: small << 20 }, held << 20)
        };
        seen.iter().map(&mut look).collect()
    }

    /// Of what went in large parts.
    fn large(seen: &[usize]) -> Vec<bool> {
        looks(&seen.iter().map(|&large| (large, 0, 0)).collect::<Vec<_>>())
    }

    #[test]
    fn it_waits_for_a_quiet_moment_and_hands_back_once() {
        assert_eq!(large(&[0, 10, 20, 20, 20]), [false, false, false, true, false]);
    }

    #[test]
    fn little_is_left_where_it_is_until_it_is_much() {
        assert_eq!(large(&[2, 2, 4, 4, 9, 9]), [false, false, false, false, false, true]);
    }

    #[test]
    fn a_thread_that_is_never_quiet_hands_back_now_and_then() {
        let often: Vec<usize> = (0..40).map(|i| 8 * i).collect();
        assert_eq!(large(&often).iter().filter(|&&now| now).count(), 3);
    }

    #[test]
    fn fault_103_many_small_things_that_went_are_handed_back_in_a_quiet_moment() {
        assert_eq!(
            looks(&[(0, 0, 300), (0, 200, 100), (0, 300, 0), (0, 300, 0)]),
            [false, false, false, true]
        );
        // A trickle beside them is no unrest.
        assert_eq!(looks(&[(0, 0, 300), (0, 300, 0), (0, 301, 0), (0, 302, 0)]), [false, false, true, false]);
    }

    #[test]
    fn fault_103_small_things_that_went_while_others_go_on_are_handed_back_later() {
        let busy: Vec<_> = (0..40).map(|i| (0, 50 * i, if i < 5 { 300 } else { 10 })).collect();
        assert_eq!(looks(&busy).iter().filter(|&&now| now).count(), 1);
    }

    #[test]
    fn small_requests_that_come_and_go_all_the_time_keep_their_memory() {
        let steady: Vec<_> = (0..100).map(|i| (0, 50 * i, 5 + i % 2)).collect();
        assert!(!looks(&steady).contains(&true));
    }
}
