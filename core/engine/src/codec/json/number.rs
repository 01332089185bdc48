//! Decimal text to the nearest FP32 or FP64, rounded once.
//!
//! Plain decimals of up to 15 digits, which is nearly all that clients send,
//! take one division; everything else takes the standard library's parser.

/// Powers of ten that FP64 holds exactly, as far as 15 digits need them.
const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The bits of an FP64 mantissa that FP32 has no room for.
const SPARE: u64 = (1 << 29) - 1;
/// Exactly half way between two neighbouring FP32.
const MIDDLE: u64 = 1 << 28;

/// The FP64 nearest to a JSON number's text; `None` when it is no number, or
/// so large that only infinity is near.
#[inline]
pub(crate) fn fp64(text: &str) -> Option<f64> {
    short(text).or_else(|| text.parse().ok().filter(|value: &f64| value.is_finite() || !has_digits(text)))
}

/// The FP32 nearest to a JSON number's text, as [`fp64`].
///
/// Going by way of FP64 rounds twice, which goes wrong only where the first
/// rounding ends exactly in the middle of two FP32.
#[inline]
pub(crate) fn fp32(text: &str) -> Option<f32> {
    match short(text) {
        Some(value) if value.to_bits() & SPARE != MIDDLE => Some(value as f32),
        _ => text.parse().ok().filter(|value: &f32| value.is_finite() || !has_digits(text)),
    }
}

/// A number without exponent and of few enough digits that dividing its digits
/// by a power of ten, both exact, rounds once. Never subnormal, never infinite.
#[inline]
fn short(text: &str) -> Option<f64> {
    let (digits, negative) = match text.as_bytes() {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    if digits.is_empty() || digits.len() > TENS.len() {
        return None;
    }
    let mut value = 0u64;
    let mut point = None;
    for (i, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(i),
            _ => return None,
        }
    }
    if value >= 1 << 53 {
        return None;
    }
    let decimals = point.map_or(0, |point| digits.len() - point - 1);
    let value = value as f64 / TENS[decimals];
    Some(if negative { -value } else { value })
}

/// `NaN` and the infinities are written in letters only.
fn has_digits(number: &str) -> bool {
    number.ends_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn like_std(text: &str) {
        let wide: f64 = text.parse().unwrap();
        let narrow: f32 = text.parse().unwrap();
        assert_eq!(
            fp64(text).map(f64::to_bits),
            Some(wide).filter(|v| v.is_finite()).map(f64::to_bits),
            "{text}"
        );
        assert_eq!(
            fp32(text).map(f32::to_bits),
            Some(narrow).filter(|v| v.is_finite()).map(f32::to_bits),
            "{text}"
        );
    }

    #[test]
    fn edges_are_as_the_standard_library_has_them() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1",
            "16777217",
            "16777219",
            "33554434.0",
            "9007199254740993",
            "0.1",
            "-2.5",
            "1.00000017881393",
            "1.00000017881393432617187499",
            "999999999999999",
            "9999999999999999",
            "1e38",
            "3.5e38",
            "1e-46",
            "0.00000000000001",
            "8388608.5",
            "8388609.5",
            "1e400",
            "123456789012345.6",
        ] {
            like_std(text);
        }
    }

    #[test]
    fn words_are_taken_as_values() {
        assert!(fp32("NaN").unwrap().is_nan() && fp64("NaN").unwrap().is_nan());
        assert_eq!(fp32("-Infinity"), Some(f32::NEG_INFINITY));
        assert_eq!(fp64("Infinity"), Some(f64::INFINITY));
    }

    proptest! {
        #[test]
        fn any_decimal_is_as_the_standard_library_has_it(text in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?(e-?[0-9]{1,3})?") {
            like_std(&text);
        }

        #[test]
        fn near_the_middle_of_two_fp32_as_well(bits in 0x2000_0000u32..0x5800_0000, digits in 6usize..17) {
            let middle = (f64::from(f32::from_bits(bits)) + f64::from(f32::from_bits(bits + 1))) / 2.0;
            like_std(&format!("{middle:.digits$}"));
            like_std(&format!("{middle}"));
        }
    }
}
