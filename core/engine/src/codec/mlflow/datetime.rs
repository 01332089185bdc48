//! Dates and times of a data frame's cells, as the text that a model gets: the one that pandas prints of a
//! timestamp, since ONNX has no type for them and MLflow hands the model's texts over so.

use std::fmt::Write;

/// What stands for a time that is not there.
pub(super) const NONE: &str = "NaT";
/// Whole years that nanoseconds since 1970 in 64 bits reach.
const YEARS: std::ops::RangeInclusive<i64> = 1678..=2261;
const A_SECOND: i128 = 1_000_000_000;
const A_DAY: i128 = 86_400 * A_SECOND;

struct Timestamp {
    year: i64,
    month: u32,
    day: u32,
    /// Since midnight, in nanoseconds.
    time: i128,
}

/// Of a date, or a date and a time, as ISO 8601 writes them (`2026-11-30T12:30:00.5`, with a blank for the
/// `T`); `None` for anything else, a time zone among it, and for years out of range.
pub(super) fn of_text(text: &str) -> Option<String> {
    let text = text.trim();
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time_of(time)?),
        None => (text, 0),
    };
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let is_day = (1..=12).contains(&month) && (1..=days(i64::from(year), month)).contains(&day);
    is_day.then(|| shown(&Timestamp { year: year.into(), month, day, time }))?
}

/// Of nanoseconds since 1970; `None` for years out of range.
pub(super) fn of_nanoseconds(since_1970: i128) -> Option<String> {
    let day = i64::try_from(since_1970.div_euclid(A_DAY)).ok()?;
    let (year, month, day) = date_of(day)?;
    shown(&Timestamp { year, month, day, time: since_1970.rem_euclid(A_DAY) })
}

/// `12:30`, `12:30:00`, `12:30:00.123456789`.
fn time_of(text: &str) -> Option<i128> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.split(':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = parts.next();
    let has_rest = parts.next().is_some() || (seconds.is_none() && text.contains('.'));
    let seconds = seconds.map_or(Some(0), |text| digits(text, 2))?;
    if has_rest || hours > 23 || minutes > 59 || seconds > 59 || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let nanoseconds = match fraction.len() {
        0 => 0,
        length @ 1..=9 => {
            u64::from(digits(fraction, length)?) * 10u64.pow(9 - u32::try_from(length).unwrap_or(9))
        }
        _ => return None,
    };
    let whole = u64::from(hours) * 3600 + u64::from(minutes) * 60 + u64::from(seconds);
    Some(i128::from(whole) * A_SECOND + i128::from(nanoseconds))
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let are_digits = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| text.parse().ok())?
}

fn shown(Timestamp { year, month, day, time }: &Timestamp) -> Option<String> {
    if !YEARS.contains(year) {
        return None;
    }
    let (seconds, rest) = (time / A_SECOND, time % A_SECOND);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02} {hours:02}:{minutes:02}:{seconds:02}");
    // Writing to a string cannot fail.
    let _ = match (rest, rest % 1000) {
        (0, _) => Ok(()),
        (rest, 0) => write!(text, ".{:06}", rest / 1000),
        (rest, _) => write!(text, ".{rest:09}"),
    };
    Some(text)
}

fn days(year: i64, month: u32) -> u32 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Of a day's number since 1970-01-01; `None` for years out of range, of which there are few enough to be
/// counted through.
fn date_of(number: i64) -> Option<(i64, u32, u32)> {
    let in_year = |year| (1..=12).map(|month| i64::from(days(year, month))).sum::<i64>();
    let (mut year, mut left) = (1970, number);
    while left < 0 {
        year -= 1;
        left += in_year(year);
        YEARS.contains(&year).then_some(())?;
    }
    while left >= in_year(year) {
        left -= in_year(year);
        year += 1;
        YEARS.contains(&year).then_some(())?;
    }
    let mut month = 1;
    while left >= i64::from(days(year, month)) {
        left -= i64::from(days(year, month));
        month += 1;
    }
    Some((year, month, u32::try_from(left).ok()? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_and_times_are_shown_as_pandas_prints_them() {
        for (text, shown) in [
            ("2020-01-01", "2020-01-01 00:00:00"),
            (" 2020-02-29T12:30 ", "2020-02-29 12:30:00"),
            ("1999-12-31 23:59:59", "1999-12-31 23:59:59"),
            ("2020-01-01T12:00:00.5", "2020-01-01 12:00:00.500000"),
            ("2020-01-01T12:00:00.123456789", "2020-01-01 12:00:00.123456789"),
            ("2020-01-01T12:00:00.000", "2020-01-01 12:00:00"),
        ] {
            assert_eq!(of_text(text).as_deref(), Some(shown), "{text}");
        }
        for (since, shown) in [
            (0, "1970-01-01 00:00:00"),
            (1_577_836_800_000, "1970-01-01 00:26:17.836800"),
            (1, "1970-01-01 00:00:00.000000001"),
            (-1, "1969-12-31 23:59:59.999999999"),
            (951_782_400 * A_SECOND, "2000-02-29 00:00:00"),
        ] {
            assert_eq!(of_nanoseconds(since).as_deref(), Some(shown), "{since}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "nonsense",
            "2020",
            "2020-13-01",
            "2021-02-29",
            "2020-00-01",
            "2020-1-2",
            "2020-01-01T",
            "2020-01-01T24:00",
            "2020-01-01T12",
            "2020-01-01T12:00.5",
            "2020-01-01T12:00:00.",
            "2020-01-01T12:00:00.1234567890",
            "2020-01-01T12:00:00Z",
            "2020-01-01T12:00:00+02:00",
            "1400-01-01",
            "2262-01-01",
            "2020-01-01T12:00:00:00",
            "+020-01-01",
        ] {
            assert_eq!(of_text(text), None, "{text}");
        }
        for since in [i128::MAX, i128::MIN, i128::from(i64::MAX) * 1000] {
            assert_eq!(of_nanoseconds(since), None);
        }
    }

    proptest! {
        /// Seconds since 1970 go to the same date that another library writes of them.
        #[test]
        fn any_time_is_the_one_that_another_library_has(seconds in 0u32.., nanoseconds in 0u32..1_000_000_000) {
            let since = std::time::Duration::new(seconds.into(), nanoseconds);
            let theirs = humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since).to_string();
            let text = theirs.trim_end_matches('Z');
            let ours = of_nanoseconds(since.as_nanos() as i128).unwrap();
            prop_assert_eq!(of_text(text), Some(ours.clone()));
            prop_assert!(text.starts_with(&ours[..10]) && text[11..].starts_with(&ours[11..19]));
        }
    }
}
