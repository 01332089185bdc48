//! Numbers held against a range, many at a time.

use super::bound::Bound;
use super::constraint::{Anomaly, Constraint, Expected, Kind, count_of_values};
use super::number::Number;
use crate::tensor::Datatype;
use half::{bf16, f16};
use multiversion::multiversion;

/// So many are compared before anybody looks at the outcome.
const TOGETHER: usize = 256;

/// What a number of one datatype has to be: in a range of its own datatype, ends included, or NaN where
/// that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Range<N: Number> {
    low: N::Key,
    high: N::Key,
    nan: bool,
    whole: bool,
}

macro_rules! numbers {
    ($($name:ident: $kind:ty = $($datatype:ident)|+),* $(,)?) => {
        /// A range, by the datatype of its numbers.
        #[derive(Clone, Copy, Debug)]
        pub enum Numbers {
            $($name(Range<$kind>)),*
        }

        impl Numbers {
            /// `None` for texts.
            pub fn new(of: &Constraint, datatype: Datatype) -> Option<Self> {
                match datatype {
                    $($(Datatype::$datatype)|+ => Some(Numbers::$name(Range::new(of))),)*
                    Datatype::Bytes => None,
                }
            }

            /// The first value that is none. `rows`: sizes of the first axis, where there is one.
            pub fn find(&self, of: &Constraint, data: &[u8], rows: Option<usize>) -> Option<Anomaly> {
                match self {
                    $(Numbers::$name(range) => range.find(of, <$kind>::split(data), rows)),*
                }
            }
        }
    };
}

numbers! {
    U8: u8 = Bool | Uint8,
    U16: u16 = Uint16,
    U32: u32 = Uint32,
    U64: u64 = Uint64,
    I8: i8 = Int8,
    I16: i16 = Int16,
    I32: i32 = Int32,
    I64: i64 = Int64,
    F16: f16 = Fp16,
    Bf16: bf16 = Bf16,
    F32: f32 = Fp32,
    F64: f64 = Fp64,
}

impl<N: Number> Range<N> {
    fn new(of: &Constraint) -> Self {
        let (first, last) = N::ORDINALS;
        let inside = |n: N| of.infinite || !n.value().is_infinite();
        let is_above = |n: N| n.value() > Bound::Whole(0);
        let least = of.least.unwrap_or(Bound::Float(f64::NEG_INFINITY));
        let most = of.most.unwrap_or(Bound::Float(f64::INFINITY));
        // Numbers go up with ordinals: so does whether one is far enough up.
        let from = first_where::<N>(|n| n.value() >= least && (is_above(n) || inside(n)));
        let until = first_where::<N>(|n| n.value() > most || (is_above(n) && !inside(n))) - 1;
        let (from, until) = if from > until { (last, first) } else { (from, until) };
        let (low, high) = (N::of_ordinal(from).key(), N::of_ordinal(until).key());
        Range { low, high, nan: of.nan && !of.required, whole: of.whole }
    }

    #[inline]
    fn has_between(&self, number: N) -> bool {
        let key = number.key();
        (key >= self.low) & (key <= self.high)
    }

    #[inline]
    fn has(&self, number: N) -> bool {
        self.has_between(number) | (number.is_nan() & self.nan)
    }

    fn find(&self, of: &Constraint, all: &[N::Raw], rows: Option<usize>) -> Option<Anomaly> {
        let at = match of.column {
            Some((column, width)) => {
                let mut column = all.iter().skip(column).step_by(width);
                column.position(|raw| !self.takes(N::read(*raw)))
            }
            None if self.whole => all.iter().position(|raw| !self.takes(N::read(*raw))),
            None if !self.nan => first_without(all, |number| self.has_between(number)),
            // Of a NaN neither is so.
            None if N::NAN_HAS_NO_PLACE => first_without(all, |number: N| {
                let key = number.key();
                !((key < self.low) | (key > self.high))
            }),
            None => first_without(all, |number| self.has(number)),
        };
        let Some(at) = at else { return count_of_values(of, all.len(), rows) };
        let place = of.column.map_or(at, |(column, width)| at * width + column);
        Some(anomaly(of, N::read(all[place]), at))
    }

    fn takes(&self, number: N) -> bool {
        self.has(number) && !(self.whole && number.value().has_fraction())
    }
}

/// Where the first number stands of which it does not hold. Compiled for the vectors that most CPUs have,
/// too, which the wheel's baseline does not ask for.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn first_without<N: Number>(all: &[N::Raw], holds: impl Fn(N) -> bool) -> Option<usize> {
    let mut before = 0;
    for some in all.chunks(TOGETHER) {
        // Without a branch for each, so that several are compared at once.
        if !some.iter().fold(true, |all, raw| all & holds(N::read(*raw))) {
            let outside = some.iter().position(|raw| !holds(N::read(*raw)));
            return outside.map(|at| before + at);
        }
        before += some.len();
    }
    None
}

/// The ordinal of the first number of which `holds`, that of all above it, too; one more than the last
/// where it is of none.
fn first_where<N: Number>(holds: impl Fn(N) -> bool) -> i128 {
    let (mut low, mut high) = (N::ORDINALS.0, N::ORDINALS.1 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(N::of_ordinal(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

fn anomaly<N: Number>(of: &Constraint, number: N, at: usize) -> Anomaly {
    let value = number.value();
    let (kind, expected) = if number.is_nan() {
        let missing = of.required && of.nan;
        if missing { (Kind::Missing, Expected::Value) } else { (Kind::Nan, Expected::Number) }
    } else if value.is_infinite() && !of.infinite {
        (Kind::Infinite, Expected::Finite)
    } else {
        match (of.least, of.most) {
            (Some(least), _) if value < least => (Kind::TooSmall, Expected::Least(least)),
            (_, Some(most)) if value > most => (Kind::TooLarge, Expected::Most(most)),
            _ => (Kind::Fraction, Expected::Whole),
        }
    };
    Anomaly { kind, expected, got: number.show(), at: Some(at) }
}
