//! Which threads run models that take long. Pure: what the clocks say is an argument.

use std::time::Duration;

/// What a run computes that others should not wait for.
pub const LONG: Duration = Duration::from_millis(2);
/// So many long runs in a row, with so much computed in them, make a thread one of long runs: a first
/// run, which may have more to do than those after it, does not.
const ROW: u32 = 2;
const ENOUGH: Duration = Duration::from_millis(50);

/// What a thread's runs were like.
#[derive(Debug, Default)]
pub struct LongRuns {
    /// The thread's clock, when it was looked at last, and the runs since then.
    looked: Duration,
    runs: u32,
    /// Long ones in a row, and what was computed in them.
    row: u32,
    computed: Duration,
    known: bool,
}

impl LongRuns {
    /// Whether its runs are known as long.
    pub fn known(&self) -> bool {
        self.known
    }

    /// A run has ended that took `took`, whoever had the CPU. Whether it is worth a look at what the
    /// thread itself has computed, which costs a system call.
    pub fn ended(&mut self, took: Duration) -> bool {
        self.runs = self.runs.saturating_add(1);
        took >= LONG && !self.known
    }

    /// The thread has computed `computed` since it began. Whether it is known from now on as one
    /// whose runs are long: told once.
    pub fn look(&mut self, computed: Duration) -> bool {
        let since = computed.saturating_sub(self.looked);
        let each = since / self.runs.max(1);
        self.looked = computed;
        self.runs = 0;
        if each < LONG {
            (self.row, self.computed) = (0, Duration::ZERO);
            return false;
        }
        self.row = self.row.saturating_add(1);
        self.computed = self.computed.saturating_add(since);
        let found = !self.known && self.row >= ROW && self.computed >= ENOUGH;
        self.known |= found;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of a thread: how long each took, and what of it the thread itself computed, in
    /// milliseconds. Returns the number of the run that shows it as one of long runs.
    fn known_at(runs: &[(u64, u64)]) -> Option<usize> {
        let (mut thread, mut clock) = (LongRuns::default(), Duration::ZERO);
        runs.iter().position(|&(took, computed)| {
            clock += Duration::from_millis(computed);
            thread.ended(Duration::from_millis(took)) && thread.look(clock)
        })
    }

    #[test]
    fn runs_that_compute_long_show_after_a_few() {
        assert_eq!(known_at(&[(150, 150); 10]), Some(1));
        assert_eq!(known_at(&[(5, 5); 20]), Some(9));
        assert_eq!(known_at(&[(300, 80), (300, 80)]), Some(1));
    }

    #[test]
    fn short_runs_never_do_however_long_they_wait() {
        assert_eq!(known_at(&[(1, 1); 1000]), None);
        // Others had the CPU, or another process computed.
        assert_eq!(known_at(&[(100, 1); 1000]), None);
    }

    #[test]
    fn a_first_run_that_takes_long_is_not_enough() {
        let mut runs = vec![(400, 400)];
        runs.extend([(0, 0); 100]);
        runs.extend([(30, 0); 10]);
        assert_eq!(known_at(&runs), None);
    }

    #[test]
    fn what_counts_is_the_mean_since_the_last_look() {
        // Hundreds of short runs between two of 3 ms.
        let mut runs = Vec::new();
        for _ in 0..100 {
            runs.extend([(1, 0); 200]);
            runs.push((3, 3));
        }
        assert_eq!(known_at(&runs), None);
        // A few short ones between long ones.
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.extend([(0, 0); 5]);
            runs.push((100, 100));
        }
        assert_eq!(known_at(&runs), Some(11));
    }

    #[test]
    fn it_is_told_once_and_no_clock_is_read_afterwards() {
        let mut thread = LongRuns::default();
        let clock = |at: u64| Duration::from_millis(100 * at);
        assert!(thread.ended(clock(1)) && !thread.look(clock(1)));
        assert!(thread.ended(clock(1)) && thread.look(clock(2)));
        assert!(!thread.ended(clock(1)));
        assert!(!thread.look(clock(3)));
    }
}
