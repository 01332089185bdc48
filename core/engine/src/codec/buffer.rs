//! An answer's bytes while they are written: held against the limit of one message, and counted
//! against the process's budget before the memory is taken (fault 102).

use crate::admission::Reservation;
use crate::error::{Error, ErrorCode, Result};
use crate::memory::{none_left, room};
use bytes::Bytes;
use std::fmt::Display;
use std::io;

/// Smaller answers are not worth the counting: a connection holds few of them.
pub const COUNTED: usize = 4 << 10;

pub struct AnswerBuf<'a> {
    out: Vec<u8>,
    limit: usize,
    of: &'a Reservation,
    held: Option<Reservation>,
}

impl<'a> AnswerBuf<'a> {
    /// Room for `capacity` bytes, of which an answer may at last have `limit`. Counted in the
    /// budget of `of`.
    ///
    /// # Errors
    /// `Full` where the budget or the machine has not that much.
    pub fn new(of: &'a Reservation, capacity: usize, limit: usize) -> Result<Self> {
        let mut buffer = AnswerBuf { out: Vec::new(), limit, of, held: None };
        buffer.enlarge(capacity)?;
        Ok(buffer)
    }

    /// A copy of an answer that somebody else has encoded.
    ///
    /// # Errors
    /// `TooLarge` and `Full`, before it is copied.
    pub fn copied(body: &[u8], of: &'a Reservation) -> Result<Bytes> {
        let limit = of.max_message();
        if body.len() > limit {
            return Err(too_large(body.len(), limit));
        }
        let mut buffer = AnswerBuf::new(of, body.len(), limit)?;
        buffer.room(0)?.extend_from_slice(body);
        buffer.finish()
    }

    /// What is written so far, with room for `more` behind it. Whoever writes more than that
    /// writes what nobody counts.
    ///
    /// # Errors
    /// As [`AnswerBuf::new`], and `TooLarge` when the limit is passed already.
    #[inline]
    pub fn room(&mut self, more: usize) -> Result<&mut Vec<u8>> {
        if self.out.capacity() - self.out.len() < more {
            self.grow(more)?;
        }
        Ok(&mut self.out)
    }

    pub fn len(&self) -> usize {
        self.out.len()
    }

    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<()> {
        let len = self.out.len();
        if len > self.limit {
            return Err(too_large(format_args!("more than {len}"), self.limit));
        }
        let need = len.checked_add(more).ok_or_else(none_left)?;
        let most = self.limit.saturating_add(more);
        self.enlarge(need.max(self.out.capacity().saturating_mul(2).min(most)))
    }

    fn enlarge(&mut self, capacity: usize) -> Result<()> {
        if capacity >= COUNTED {
            let held = self.held.get_or_insert_with(|| self.of.beside());
            held.take(capacity.saturating_sub(held.bytes()))?;
        }
        let more = capacity.saturating_sub(self.out.len());
        self.out.try_reserve_exact(more).map_err(|_| none_left())
    }

    /// The answer, counted until the last byte of it is sent: a client that never reads must
    /// not fill the memory (fault 28).
    ///
    /// # Errors
    /// `TooLarge` when it is over the limit after all.
    pub fn finish(self) -> Result<Bytes> {
        let AnswerBuf { out, limit, held, .. } = self;
        if out.len() > limit {
            return Err(too_large(out.len(), limit));
        }
        let Some(mut held) = held else { return Ok(out.into()) };
        let out = without_slack(out);
        held.give_back(held.bytes().saturating_sub(out.capacity()));
        Ok(Bytes::from_owner(Counted { out, _held: held }))
    }
}

/// What was taken ahead and not needed goes back, where it is worth a copy.
pub(super) fn without_slack(out: Vec<u8>) -> Vec<u8> {
    if out.capacity() / 2 <= out.len() {
        return out;
    }
    match room(out.len()) {
        Ok(mut exact) => {
            exact.extend_from_slice(&out);
            exact
        }
        Err(_) => out,
    }
}

struct Counted {
    out: Vec<u8>,
    _held: Reservation,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.out
    }
}

/// For packers; errors are ours, wrapped.
impl io::Write for AnswerBuf<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.room(data.len()).map_err(io::Error::other)?.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer of `size` bytes, which may be in words, is over the limit.
pub fn too_large(size: impl Display, limit: usize) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!(
            "the answer takes {size} bytes, over the limit of {limit} bytes (setting limits.max_message_bytes); \
             ask for fewer rows or outputs"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;

    #[test]
    fn fault_102_small_answers_are_not_counted_and_large_ones_until_they_are_dropped() {
        let budget = Budget::new(100_000);
        let of = budget.reserve();
        let mut buffer = AnswerBuf::new(&of, 100, usize::MAX).unwrap();
        buffer.room(50).unwrap().extend([7; 50]);
        let small = buffer.finish().unwrap();
        assert_eq!((small.len(), budget.used()), (50, 0));
        let mut buffer = AnswerBuf::new(&of, 100, usize::MAX).unwrap();
        for _ in 0..90 {
            buffer.room(500).unwrap().extend([7; 500]);
        }
        let large = buffer.finish().unwrap();
        assert!((45_000..=90_000).contains(&budget.used()), "{}", budget.used());
        drop(large.slice(..10));
        assert!(budget.used() >= 45_000);
        drop(large);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn fault_102_an_answer_stops_at_the_limit_and_one_without_room_is_full() {
        let budget = Budget::new(100_000);
        let of = budget.reserve();
        let mut buffer = AnswerBuf::new(&of, 1000, 10_000).unwrap();
        let error = loop {
            match buffer.room(3000) {
                Ok(out) => out.extend([7; 3000]),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("the limit of 10000 bytes (setting limits.max_message_bytes)"));
        assert!(buffer.len() <= 15_000);
        assert!(budget.used() <= 20_000);
        drop(buffer);
        let mut others = budget.reserve();
        others.take(1).unwrap();
        assert_eq!(AnswerBuf::new(&of, 100_000, usize::MAX).err().unwrap().code, ErrorCode::Full);
        assert_eq!(budget.used(), 1);
    }

    #[test]
    fn room_that_was_not_needed_is_given_back() {
        let budget = Budget::new(usize::MAX);
        let of = budget.reserve();
        let mut buffer = AnswerBuf::new(&of, 1 << 20, usize::MAX).unwrap();
        buffer.room(10_000).unwrap().extend([7; 10_000]);
        let answer = buffer.finish().unwrap();
        assert_eq!((answer.len(), budget.used()), (10_000, 10_000));
    }
}
