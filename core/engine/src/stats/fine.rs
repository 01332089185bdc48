//! How long requests took, finely enough to tell that a version is somewhat slower than another: the
//! buckets of the scrape reach up to six times as far as the one before. Counted while somebody asks for it.

use super::Histogram;

const OF_AN_OCTAVE: usize = 16;
/// From 2^-15 s (31 microseconds) to 2^6 (64 s).
const OCTAVES: usize = 21;
const LOWEST: f64 = 1.0 / 32768.0;
pub const FINE: usize = OCTAVES * OF_AN_OCTAVE + 1;
/// Seconds: sixteen to each power of two, evenly, so twice a bound is one as well.
pub static FINE_SECONDS: [f64; FINE] = bounds();

const fn bounds() -> [f64; FINE] {
    let mut found = [0.0; FINE];
    let (mut place, mut octave) = (0, LOWEST);
    while place < FINE {
        let within = place % OF_AN_OCTAVE;
        found[place] = octave * (1.0 + within as f64 / OF_AN_OCTAVE as f64);
        place += 1;
        if place % OF_AN_OCTAVE == 0 {
            octave *= 2.0;
        }
    }
    found
}

#[derive(Debug)]
pub struct FineTimes {
    /// Of all answers, from the request's head on.
    pub took: Histogram<FINE>,
    /// Of those among them that another version had failed.
    pub stood_in: Histogram<FINE>,
}

impl FineTimes {
    pub(super) fn new() -> Box<Self> {
        Box::new(FineTimes { took: Histogram::new(&FINE_SECONDS), stood_in: Histogram::new(&FINE_SECONDS) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use crate::figures::Figures;
    use crate::stats::outputs::{Counted, Counting};
    use crate::stats::{Protocol, Stats};
    use std::time::Duration;

    #[test]
    fn no_bound_is_more_than_a_sixteenth_beyond_the_one_before() {
        assert_eq!((FINE_SECONDS[0], FINE_SECONDS[FINE - 1]), (LOWEST, 64.0));
        for pair in FINE_SECONDS.windows(2) {
            assert!(1.0 < pair[1] / pair[0] && pair[1] / pair[0] <= 1.0625);
        }
        for (place, bound) in FINE_SECONDS.iter().enumerate().take(FINE - OF_AN_OCTAVE) {
            assert_eq!(FINE_SECONDS[place + OF_AN_OCTAVE], 2.0 * bound);
        }
    }

    #[test]
    fn times_are_counted_while_anything_is_and_what_was_counted_stays() {
        let stats = Stats::new("m", 1);
        let answer = |ms| stats.answered(Protocol::Http, Ok(()), Duration::from_millis(ms));
        let all = || stats.fine_times().map(|of| of.took.read().1);
        answer(1);
        assert_eq!((all(), Figures::of(&stats).fine.is_none()), (None, true));
        stats.count_outputs(Counting::Times);
        stats.answers(|| -> std::iter::Empty<Counted<'_>> { unreachable!("asked for") });
        answer(1);
        stats.answered(Protocol::Grpc, Err(ErrorCode::Internal), Duration::from_secs(100));
        stats.stood_in_for(Duration::from_millis(3));
        stats.count_outputs(Counting::Nothing);
        answer(1);
        stats.stood_in_for(Duration::from_millis(3));
        assert_eq!(all(), Some(2));
        let fine = Figures::of(&stats).fine.unwrap();
        assert_eq!((fine.took.all, fine.took.below[FINE - 1], fine.stood_in.all), (2, 1, 1));
    }
}
