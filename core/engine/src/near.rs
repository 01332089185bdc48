//! The known name that a wrong one was meant to be, for errors. Bounded in what is compared, and in
//! the time that it takes of all errors together: whoever sends nothing but wrong names gets no
//! more work out of it than others do.

use crate::tensor::shown;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bytes of a name that is compared; a word of the machine holds a bit for each.
const LONGEST: usize = 64;
/// Names compared for one error.
const MOST: usize = 4096;
/// Names that an error lists where none is near.
const FEW: usize = 8;
/// Searches take one part of the time in so many, once they took `BURST` in a row.
const SHARE: u32 = 50;
const BURST: Duration = Duration::from_millis(20);

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
static ALLOWANCE: Allowance = Allowance { paid_at: AtomicU64::new(0) };

/// The name of `known` that differs least from `name`, if one differs by little. Large and small
/// letters are the same. `None` also where wrong names came so often that there is no time for it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let begun = BEGUN.elapsed();
    if !ALLOWANCE.admits(begun) {
        return None;
    }
    let found = search(name, known);
    ALLOWANCE.spend(begun, BEGUN.elapsed().saturating_sub(begun));
    found
}

/// What an error says after a name that is none of `count` known ones: the nearest, or all of them
/// where they are few; `lead` goes before those.
pub fn hint<'a, I>(name: &str, known: I, count: usize, lead: &str) -> String
where
    I: IntoIterator<Item = &'a str> + Clone,
{
    match nearest(name, known.clone()) {
        Some(near) => format!("; did you mean '{}'?", shown(near)),
        None if (1..=FEW).contains(&count) => format!("; {lead} {}", listed(known)),
        None => String::new(),
    }
}

fn listed<'a>(known: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = known.into_iter().map(|name| format!("'{}'", shown(name))).collect();
    names.sort_unstable();
    names.join(", ")
}

fn search<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = Pattern::new(name.as_bytes());
    let most = name.len().div_ceil(3);
    known
        .into_iter()
        .take(MOST)
        .filter(|other| other.len() <= LONGEST && other.len().abs_diff(name.len()) <= most)
        .map(|other| (wanted.edits(other.as_bytes()), other))
        .filter(|(edits, other)| *edits <= most.min(4) && *edits < other.len())
        .min()
        .map(|(_, other)| other)
}

/// A name against which many are held. For each byte, the places where it stands in the name.
struct Pattern {
    places: [u64; 256],
    last: u64,
    len: usize,
}

impl Pattern {
    /// `name` has one to [`LONGEST`] bytes.
    fn new(name: &[u8]) -> Self {
        let mut places = [0; 256];
        for (at, byte) in name.iter().enumerate() {
            places[usize::from(byte.to_ascii_lowercase())] |= 1 << at;
        }
        Pattern { places, last: 1 << (name.len() - 1), len: name.len() }
    }

    /// Bytes to insert, delete or replace to make one of the other (Levenshtein's distance), by
    /// Myers's algorithm: a column of the table is two words, the bits saying where its numbers
    /// grow by one (`up`) and where they shrink (`down`).
    fn edits(&self, other: &[u8]) -> usize {
        let (mut up, mut down, mut edits) = (!0u64, 0u64, self.len);
        for byte in other {
            let same = self.places[usize::from(byte.to_ascii_lowercase())];
            let diagonal = (((same & up).wrapping_add(up)) ^ up) | same | down;
            let (mut right_up, mut right_down) = (down | !(diagonal | up), up & diagonal);
            if right_up & self.last != 0 {
                edits += 1;
            } else if right_down & self.last != 0 {
                edits -= 1;
            }
            right_up = (right_up << 1) | 1;
            right_down <<= 1;
            up = right_down | !(same | down | right_up);
            down = right_up & (same | down);
        }
        edits
    }
}

/// A share of the time. Times are since a beginning that is the same for all.
struct Allowance {
    /// When what was spent will have been earned, in nanoseconds.
    paid_at: AtomicU64,
}

impl Allowance {
    fn admits(&self, now: Duration) -> bool {
        self.paid_at.load(Relaxed) <= nanos(now + BURST * SHARE)
    }

    fn spend(&self, now: Duration, took: Duration) {
        let earned = |at: u64| Some(at.max(nanos(now)).saturating_add(nanos(took * SHARE)));
        // It never says no.
        let _ = self.paid_at.fetch_update(Relaxed, Relaxed, earned);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table, number by number.
    fn plainly(a: &[u8], b: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut before = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let change = before + usize::from(!x.eq_ignore_ascii_case(y));
                before = row[j + 1];
                row[j + 1] = change.min(row[j] + 1).min(before + 1);
            }
        }
        row[b.len()]
    }

    proptest! {
        #[test]
        fn edits_are_counted_as_the_whole_table_counts_them(a in "[a-cA]{1,64}", b in "[a-cA]{0,64}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            prop_assert_eq!(Pattern::new(a).edits(b), plainly(a, b));
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["digits", "resnet50", "tiny", "Image"];
        for (wrong, right) in [
            ("digts", Some("digits")),
            ("ditigs", Some("digits")),
            ("ResNet-50", Some("resnet50")),
            ("image", Some("Image")),
            ("tiyn", Some("tiny")),
            ("bert", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(search_or_none(wrong, &known), right, "{wrong}");
        }
        assert_eq!(nearest(&"a".repeat(65), ["a".repeat(65).as_str()]), None);
        assert_eq!(nearest("ab", ["ac", "aa"]), Some("aa"), "of two the first by name");
    }

    fn search_or_none<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
        nearest(name, known.iter().copied())
    }

    #[test]
    fn a_few_names_are_listed_and_many_are_not() {
        assert_eq!(hint("digts", ["digits", "x"], 2, "known:"), "; did you mean 'digits'?");
        assert_eq!(hint("bert", ["x", "digits"], 2, "known:"), "; known: 'digits', 'x'");
        assert_eq!(hint("bert", ["x"; 9], 9, "known:"), "");
        assert_eq!(hint("bert", [], 0, "known:"), "");
    }

    #[test]
    fn searches_take_a_share_of_the_time_and_no_more() {
        let allowance = Allowance { paid_at: AtomicU64::new(0) };
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        while now < Duration::from_secs(100) {
            if allowance.admits(now) {
                allowance.spend(now, Duration::from_millis(1));
                spent += Duration::from_millis(1);
            }
            now += Duration::from_millis(1);
        }
        let share = Duration::from_secs(100) / SHARE;
        assert!(spent >= share && spent <= share + 2 * BURST, "{spent:?}");
    }
}
