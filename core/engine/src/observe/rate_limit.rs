//! So much a second, and no more: the generic cell rate algorithm, on one atomic number.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// A second: what was saved up for as long may be taken at once.
const BURST_NS: u64 = 1_000_000_000;
const NONE: u64 = u64::MAX;
/// What moments are counted from.
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nothing until it is [`RateLimit::set`].
#[derive(Debug)]
pub struct RateLimit {
    /// What one unit costs, in nanoseconds.
    each_ns: AtomicU64,
    /// Until then everything is spent.
    spent_until: AtomicU64,
}

impl Default for RateLimit {
    fn default() -> Self {
        RateLimit { each_ns: AtomicU64::new(NONE), spent_until: AtomicU64::new(0) }
    }
}

impl RateLimit {
    /// Units a second from now on: none from 0 down, all of them from a thousand million on.
    pub fn set(&self, per_second: f64) {
        let each = if per_second > 0.0 { BURST_NS as f64 / per_second } else { f64::INFINITY };
        // The cast saturates.
        self.each_ns.store(if each < 1.0 { 0 } else { each.ceil() as u64 }, Relaxed);
    }

    /// Whether anything is given at all.
    pub fn is_on(&self) -> bool {
        self.each_ns.load(Relaxed) != NONE
    }

    /// Take so many `units`, where less than a second's worth is spent ahead. More than is there are
    /// given at once and paid off after: so that what is large is rare, not left out.
    pub fn take(&self, units: u64, now: Instant) -> bool {
        let each = self.each_ns.load(Relaxed);
        if each == NONE {
            return false;
        }
        let now = nanos(now);
        let spent = |until: u64| {
            let from = until.max(now);
            (from < now.saturating_add(BURST_NS)).then(|| from.saturating_add(units.saturating_mul(each)))
        };
        each == 0 || self.spent_until.fetch_update(Relaxed, Relaxed, spent).is_ok()
    }

    /// Spend `units` that were needed before anybody could ask.
    pub fn charge(&self, units: u64, now: Instant) {
        let each = self.each_ns.load(Relaxed);
        if each == NONE || each == 0 {
            return;
        }
        let spent = |until: u64| Some(until.max(nanos(now)).saturating_add(units.saturating_mul(each)));
        self.spent_until.fetch_update(Relaxed, Relaxed, spent).unwrap_or_default();
    }
}

fn nanos(at: Instant) -> u64 {
    u64::try_from(at.saturating_duration_since(*BEGIN).as_nanos()).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn limit(per_second: f64) -> RateLimit {
        let limit = RateLimit::default();
        limit.set(per_second);
        limit
    }

    fn at(ms: u64) -> Instant {
        *BEGIN + Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_given_until_it_is_set_and_everything_without_a_bound() {
        assert!(!RateLimit::default().is_on() && !RateLimit::default().take(1, at(0)));
        assert!(!limit(0.0).take(1, at(0)) && !limit(-1.0).is_on());
        let all = limit(f64::INFINITY);
        assert!((0..10_000).all(|_| all.take(u64::MAX, at(0))));
    }

    #[test]
    fn a_second_is_saved_up_and_then_it_comes_evenly() {
        let limit = limit(10.0);
        let taken = |from: u64, to: u64| (from..to).filter(|&ms| limit.take(1, at(ms))).count();
        assert_eq!((0..100).filter(|_| limit.take(1, at(0))).count(), 10);
        assert_eq!(taken(1, 5001), 50);
        assert_eq!((0..100).filter(|_| limit.take(1, at(60_000))).count(), 10);
    }

    #[test]
    fn what_is_large_is_given_once_and_paid_off() {
        let limit = limit(1000.0);
        assert!(limit.take(5000, at(0)) && !limit.take(1, at(3999)) && limit.take(1, at(4001)));
    }

    #[test]
    fn what_is_charged_is_missing_after() {
        let limit = limit(1000.0);
        limit.charge(3000, at(0));
        assert!(!limit.take(1, at(1999)) && limit.take(1, at(2001)));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_is_given_than_it_allows(
            per_second in 1.0f64..2000.0, steps in prop::collection::vec((0u64..50, 1u64..5), 1..300)
        ) {
            let limit = limit(per_second);
            let (mut ms, mut given) = (0, 0);
            for (wait, units) in steps {
                ms += wait;
                if limit.take(units, at(ms)) {
                    given += units;
                }
                // What was saved up, what came since, and the last that was given on credit.
                prop_assert!(given as f64 <= per_second * (1.0 + ms as f64 / 1e3) * 1.001 + 5.0);
            }
        }
    }
}
