//! The datatypes of numbers, as they are compared with bounds.

use super::bound::Bound;
use half::{bf16, f16};

/// A number of one datatype. Its `Key` orders as it does, but for NaN, whose keys are in no range.
pub trait Number: Copy {
    type Key: Copy + PartialOrd + std::fmt::Debug;
    type Raw: Copy;
    /// Ordinals of the least and the greatest number; those between go up as the numbers do.
    const ORDINALS: (i128, i128);
    /// Whether NaN, where there is one, is neither below nor above any key.
    const NAN_HAS_NO_PLACE: bool = true;

    fn split(data: &[u8]) -> &[Self::Raw];
    fn read(raw: Self::Raw) -> Self;
    fn of_ordinal(ordinal: i128) -> Self;
    fn key(self) -> Self::Key;
    fn is_nan(self) -> bool;
    /// As it is compared with bounds, and exact.
    fn value(self) -> Bound;
    /// As errors show it.
    fn show(self) -> String;
}

macro_rules! integer {
    ($($kind:ty),*) => { $(
        impl Number for $kind {
            type Key = $kind;
            type Raw = [u8; size_of::<$kind>()];
            const ORDINALS: (i128, i128) = (<$kind>::MIN as i128, <$kind>::MAX as i128);

            fn split(data: &[u8]) -> &[Self::Raw] {
                data.as_chunks().0
            }

            #[inline]
            fn read(raw: Self::Raw) -> Self {
                <$kind>::from_le_bytes(raw)
            }

            fn of_ordinal(ordinal: i128) -> Self {
                ordinal as $kind
            }

            #[inline]
            fn key(self) -> $kind {
                self
            }

            #[inline]
            fn is_nan(self) -> bool {
                false
            }

            fn value(self) -> Bound {
                Bound::Whole(self.into())
            }

            fn show(self) -> String {
                self.to_string()
            }
        }
    )* };
}

integer!(u8, u16, u32, u64, i8, i16, i32, i64);

/// Ordinals of IEEE numbers: magnitudes up from 0, and from -1 down for those with a sign.
macro_rules! float {
    ($kind:ty, $bits:ty) => {
        impl Number for $kind {
            type Key = $kind;
            type Raw = [u8; size_of::<$kind>()];
            const ORDINALS: (i128, i128) =
                (-1 - <$kind>::INFINITY.to_bits() as i128, <$kind>::INFINITY.to_bits() as i128);

            fn split(data: &[u8]) -> &[Self::Raw] {
                data.as_chunks().0
            }

            #[inline]
            fn read(raw: Self::Raw) -> Self {
                <$kind>::from_le_bytes(raw)
            }

            fn of_ordinal(ordinal: i128) -> Self {
                match ordinal {
                    0.. => <$kind>::from_bits(ordinal as $bits),
                    _ => -<$kind>::from_bits((-1 - ordinal) as $bits),
                }
            }

            #[inline]
            fn key(self) -> $kind {
                self
            }

            #[inline]
            fn is_nan(self) -> bool {
                self != self
            }

            fn value(self) -> Bound {
                Bound::Float(self.into())
            }

            fn show(self) -> String {
                self.to_string()
            }
        }
    };
}

float!(f32, u32);
float!(f64, u64);

/// Their bits order as the numbers do once those of a negative one are turned: no conversion.
macro_rules! half {
    ($kind:ty) => {
        impl Number for $kind {
            type Key = i16;
            type Raw = [u8; 2];
            const NAN_HAS_NO_PLACE: bool = false;
            const ORDINALS: (i128, i128) =
                (-1 - <$kind>::INFINITY.to_bits() as i128, <$kind>::INFINITY.to_bits() as i128);

            fn split(data: &[u8]) -> &[Self::Raw] {
                data.as_chunks().0
            }

            #[inline]
            fn read(raw: Self::Raw) -> Self {
                <$kind>::from_bits(u16::from_le_bytes(raw))
            }

            fn of_ordinal(ordinal: i128) -> Self {
                match ordinal {
                    0.. => <$kind>::from_bits(ordinal as u16),
                    _ => <$kind>::from_bits((-1 - ordinal) as u16 | 0x8000),
                }
            }

            #[inline]
            fn key(self) -> i16 {
                let bits = self.to_bits();
                (bits & 0x7fff) as i16 ^ (bits as i16 >> 15)
            }

            #[inline]
            fn is_nan(self) -> bool {
                self.to_bits() & 0x7fff > <$kind>::INFINITY.to_bits()
            }

            fn value(self) -> Bound {
                Bound::Float(self.to_f64())
            }

            fn show(self) -> String {
                self.to_f64().to_string()
            }
        }
    };
}

half!(f16);
half!(bf16);
