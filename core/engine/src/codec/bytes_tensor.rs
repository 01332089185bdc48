//! BYTES tensors: per element a little-endian `u32` length, then that many bytes.

use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::tensor::shown;

pub(super) const PREFIX: usize = size_of::<u32>();
/// Elements between two looks at whether the work is still wanted.
pub(super) const LOOK: usize = 4096;

/// Walks a BYTES tensor's elements and holds them against what the shape says.
///
/// Elements must be valid UTF-8: the runtime's string tensors are, and nothing
/// is ever replaced (fault 56).
///
/// # Errors
/// `BadRequest` naming `tensor`, with the expected and the found number of
/// elements, when a length is cut, runs past the end, the count differs from
/// `expected`, or an element is not UTF-8; and those of `stop`.
pub fn check(tensor: &str, data: &[u8], expected: usize, stop: &Stop) -> Result<()> {
    let mut rest = data;
    let mut got = 0usize;
    while !rest.is_empty() {
        if got.is_multiple_of(LOOK) {
            stop.check()?;
        }
        let Some((prefix, after)) = rest.split_first_chunk::<PREFIX>() else {
            return Err(cut_prefix(tensor, rest.len(), expected, got));
        };
        let len = u32::from_le_bytes(*prefix) as usize;
        let Some((element, after)) = after.split_at_checked(len) else {
            return Err(cut_element(tensor, len, after.len(), expected, got));
        };
        if std::str::from_utf8(element).is_err() {
            return Err(not_utf8(tensor, got));
        }
        rest = after;
        got += 1;
    }
    if got == expected { Ok(()) } else { Err(wrong_count(tensor, expected, got)) }
}

/// What is wrong with `count` packed elements that something other than a client has made: `None`
/// where they are all there, valid UTF-8, and nothing is behind them.
pub fn flaw(data: &[u8], count: usize) -> Option<String> {
    let (mut got, mut end) = (0usize, 0usize);
    for element in elements(data) {
        if std::str::from_utf8(element).is_err() {
            return Some(format!("text {got} is not UTF-8"));
        }
        end += room(element);
        got += 1;
    }
    if end != data.len() {
        return Some("a text past the end".into());
    }
    (got != count).then(|| format!("{got} texts, {count} were said"))
}

/// Refuses more string elements than the setting allows: each costs the runtime
/// far more memory than its four bytes here.
///
/// # Errors
/// `BadRequest` naming `tensor` and the limit.
pub fn check_count(tensor: &str, expected: usize, max_elements: usize) -> Result<()> {
    if expected > max_elements {
        return Err(Error::bad(format!(
            "input '{}' has {expected} string elements, at most {max_elements} are accepted",
            shown(tensor)
        )));
    }
    Ok(())
}

#[cfg(test)]
thread_local! {
    /// Elements that this thread has walked over.
    pub static WALKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The elements of a tensor that [`check`] has accepted, in row-major order.
/// On unchecked data it ends at the first element that does not fit.
pub fn elements(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        #[cfg(test)]
        WALKED.with(|walked| walked.set(walked.get() + 1));
        let (prefix, after) = rest.split_first_chunk::<PREFIX>()?;
        let (element, after) = after.split_at_checked(u32::from_le_bytes(*prefix) as usize)?;
        rest = after;
        Some(element)
    })
}

/// Where a tensor's elements begin: a mark for each [`Marks::STEP`] of them, so that none is
/// found by a walk from the first. 8 bytes for at least 256 of the tensor's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    count: usize,
    starts: Box<[usize]>,
    end: usize,
}

impl Marks {
    pub const STEP: usize = 64;

    pub fn of(data: &[u8]) -> Self {
        let (mut count, mut end, mut starts) = (0usize, 0, Vec::new());
        for element in elements(data) {
            if count.is_multiple_of(Self::STEP) {
                starts.push(end);
            }
            end += PREFIX + element.len();
            count += 1;
        }
        Marks { count, starts: starts.into(), end }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Where the element of this number begins in `data`, the tensor that the marks are of; the
    /// end, for the one after the last.
    pub fn offset(&self, data: &[u8], number: usize) -> Option<usize> {
        if number >= self.count {
            return (number == self.count).then_some(self.end);
        }
        let start = *self.starts.get(number / Self::STEP)?;
        let passed = elements(data.get(start..)?).take(number % Self::STEP);
        Some(start + passed.map(|element| PREFIX + element.len()).sum::<usize>())
    }
}

/// Appends one element with its length prefix. `element` must be shorter than
/// 4 GiB; what is longer cannot be expressed and is cut there.
pub fn push(out: &mut Vec<u8>, element: &[u8]) {
    let len = u32::try_from(element.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&element[..len as usize]);
}

/// Bytes that [`push`] appends.
pub fn room(element: &[u8]) -> usize {
    PREFIX + element.len()
}

/// The count of string elements differs from the shape's.
pub(super) fn wrong_count(tensor: &str, expected: usize, got: usize) -> Error {
    Error::bad(format!(
        "unexpected number of string elements for input '{}': expected {expected} string elements, got {got}",
        shown(tensor)
    ))
}

fn cut_prefix(tensor: &str, left: usize, expected: usize, got: usize) -> Error {
    Error::bad(format!(
        "incomplete string length indicator for input '{}': {left} bytes left where {PREFIX} are needed, \
         expected {expected} string elements, got {got}",
        shown(tensor)
    ))
}

fn cut_element(tensor: &str, len: usize, left: usize, expected: usize, got: usize) -> Error {
    Error::bad(format!(
        "incomplete string data for input '{}': element {got} should have {len} bytes, only {left} are left, \
         expected {expected} string elements, got {got}",
        shown(tensor)
    ))
}

fn not_utf8(tensor: &str, index: usize) -> Error {
    Error::bad(format!("string element {index} of input '{}' is not valid UTF-8", shown(tensor)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stop::NEVER;
    use proptest::prelude::*;

    fn packed(elements: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for element in elements {
            push(&mut out, element);
        }
        out
    }

    fn message(data: &[u8], expected: usize) -> String {
        check("x", data, expected, &NEVER).unwrap_err().message
    }

    #[test]
    fn fault_55_a_length_past_the_end_names_both_counts() {
        let mut data = packed(&[b"ab"]);
        data.extend(0xffff_ffffu32.to_le_bytes());
        let text = message(&data, 2);
        assert!(text.contains("incomplete string data for input 'x'"), "{text}");
        assert!(text.contains("expected 2 string elements, got 1"), "{text}");
    }

    #[test]
    fn fault_55_a_cut_length_names_both_counts() {
        let text = message(&[2, 0], 1);
        assert!(text.contains("incomplete string length indicator"), "{text}");
        assert!(text.contains("expected 1 string elements, got 0"), "{text}");
    }

    #[test]
    fn fault_55_short_and_extra_elements_name_both_counts() {
        let data = packed(&[b"a", b"b"]);
        assert!(message(&data, 3).contains("unexpected number of string elements"));
        assert!(message(&data, 3).contains("expected 3 string elements, got 2"));
        assert!(message(&data, 1).contains("expected 1 string elements, got 2"));
        assert!(message(b"", 1).contains("expected 1 string elements, got 0"));
        check("x", b"", 0, &NEVER).unwrap();
    }

    #[test]
    fn fault_55_two_to_the_twentieth_empties_are_counted() {
        let data = vec![0u8; 4 << 20];
        check("x", &data, 1 << 20, &NEVER).unwrap();
        assert!(message(&data, 1).contains("got 1048576"));
        assert!(check_count("x", 1 << 20, 1000).unwrap_err().message.contains("at most 1000"));
    }

    #[test]
    fn fault_56_bytes_that_are_not_utf8_are_refused_and_nul_is_kept() {
        assert!(
            message(&packed(&[b"ok", b"\xff\xfe"]), 2).contains("element 1 of input 'x' is not valid UTF-8")
        );
        let data = packed(&[b"a\0b", "\u{1f600}\u{e9}".as_bytes(), b""]);
        check("x", &data, 3, &NEVER).unwrap();
        let back: Vec<&[u8]> = elements(&data).collect();
        assert_eq!(back, [b"a\0b", "\u{1f600}\u{e9}".as_bytes(), b""]);
    }

    proptest! {
        #[test]
        fn marks_find_what_a_walk_finds(lengths in prop::collection::vec(0usize..6, 0..300)) {
            let mut data = Vec::new();
            let mut starts = vec![0];
            for &length in &lengths {
                push(&mut data, &[7; 6][..length]);
                starts.push(data.len());
            }
            let marks = Marks::of(&data);
            prop_assert_eq!(marks.count(), lengths.len());
            for (number, start) in starts.iter().enumerate() {
                prop_assert_eq!(marks.offset(&data, number), Some(*start));
            }
            prop_assert_eq!(marks.offset(&data, starts.len()), None);
        }

        #[test]
        fn elements_read_back(strings: Vec<String>) {
            let mut data = Vec::new();
            for s in &strings {
                push(&mut data, s.as_bytes());
            }
            check("x", &data, strings.len(), &NEVER).unwrap();
            let back: Vec<&[u8]> = elements(&data).collect();
            prop_assert_eq!(back, strings.iter().map(String::as_bytes).collect::<Vec<_>>());
        }

        #[test]
        fn what_a_client_may_not_send_is_flawed(
            strings: Vec<String>, cut in 0usize..3, raw: Vec<u8>, count in 0usize..4,
        ) {
            let mut data = Vec::new();
            strings.iter().for_each(|s| push(&mut data, s.as_bytes()));
            prop_assert_eq!(flaw(&data, strings.len()), None);
            data.truncate(data.len().saturating_sub(cut));
            for (data, count) in [(&data, strings.len()), (&data, count), (&raw, count)] {
                let accepted = check("x", data, count, &NEVER).is_ok();
                prop_assert_eq!(flaw(data, count).is_none(), accepted);
            }
        }

        #[test]
        fn any_bytes_end(data: Vec<u8>, expected in 0usize..10) {
            let _ = check("x", &data, expected, &NEVER);
            prop_assert!(elements(&data).count() <= data.len() / 4);
        }
    }
}
