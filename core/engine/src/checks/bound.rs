//! A bound of numbers, compared with numbers of every datatype without rounding either.

use std::cmp::Ordering;
use std::fmt;

/// A number, as a schema states a bound or as a request has it: 64 bits of either kind whole.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    Whole(i128),
    Float(f64),
}

/// 2^126: any number of a request that is larger has no fraction, and is above all integers.
const FAR: f64 = (1u128 << 126) as f64;

impl Bound {
    pub fn is_nan(self) -> bool {
        matches!(self, Bound::Float(number) if number.is_nan())
    }

    pub fn is_infinite(self) -> bool {
        matches!(self, Bound::Float(number) if number.is_infinite())
    }

    pub fn has_fraction(self) -> bool {
        matches!(self, Bound::Float(number) if number.fract() != 0.0 && !number.is_nan())
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Bound::Whole(one), Bound::Whole(other)) => Some(one.cmp(&other)),
            (Bound::Float(one), Bound::Float(other)) => one.partial_cmp(&other),
            (Bound::Whole(one), Bound::Float(other)) => compare(one, other),
            (Bound::Float(one), Bound::Whole(other)) => compare(other, one).map(Ordering::reverse),
        }
    }
}

fn compare(whole: i128, number: f64) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    if number.abs() >= FAR {
        return Some(if number > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    // What is left of the point fits, and is exact; what is right of it decides between equals.
    let order = whole.cmp(&(number.trunc() as i128));
    Some(order.then_with(|| 0.0.partial_cmp(&number.fract()).unwrap_or(Ordering::Equal)))
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Whole(number) => number.fmt(f),
            Bound::Float(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Bound::{Float, Whole};
    use super::*;
    use proptest::prelude::*;

    const TOP: f64 = 9_007_199_254_740_992.0; // 2^53

    #[test]
    fn a_whole_number_and_one_with_a_point_are_compared_as_they_are() {
        for (whole, number, order) in [
            (9_007_199_254_740_993, TOP, Ordering::Greater),
            (9_007_199_254_740_991, TOP, Ordering::Less),
            (9_007_199_254_740_992, TOP, Ordering::Equal),
            (i128::from(i64::MAX), 9.223_372_036_854_776e18, Ordering::Less),
            (i128::from(u64::MAX), 1.844_674_407_370_955_2e19, Ordering::Less),
            (i128::from(i64::MIN), -9.223_372_036_854_776e18, Ordering::Equal),
            (0, -0.0, Ordering::Equal),
            (0, -0.5, Ordering::Greater),
            (-1, -0.5, Ordering::Less),
            (0, f64::MIN_POSITIVE, Ordering::Less),
            (i128::from(u64::MAX), 1e308, Ordering::Less),
            (i128::from(i64::MIN), f64::NEG_INFINITY, Ordering::Greater),
        ] {
            assert_eq!(Whole(whole).partial_cmp(&Float(number)), Some(order), "{whole} {number}");
            assert_eq!(Float(number).partial_cmp(&Whole(whole)), Some(order.reverse()), "{number} {whole}");
        }
        assert_eq!(Whole(0).partial_cmp(&Float(f64::NAN)), None);
    }

    proptest! {
        /// `part` 256ths, which 53 bits hold, against the same scale in integers.
        #[test]
        fn it_agrees_with_integers_of_a_finer_scale(
            whole in any::<i64>(), near in -3i64..4, part in -(1i64 << 53)..(1i64 << 53),
        ) {
            let number = part as f64 / 256.0;
            for whole in [i128::from(whole), i128::from(part / 256) + i128::from(near)] {
                let expected = (whole * 256).cmp(&i128::from(part));
                prop_assert_eq!(Whole(whole).partial_cmp(&Float(number)), Some(expected));
            }
        }
    }
}
