//! Where the elements of one tensor go while they are read.

use crate::admission::Reservation;
use crate::error::Result;
use crate::memory;
use bytes::Bytes;

/// A tensor's data as converted: raw bytes and the number of elements.
pub(in crate::codec) struct Leaves {
    pub(in crate::codec) data: Bytes,
    pub(in crate::codec) count: usize,
}

/// Room for `more` bytes behind `out`, counted before it is there.
#[inline]
pub(in crate::codec) fn room<'o>(
    out: &'o mut Vec<u8>,
    more: usize,
    held: &mut Reservation,
) -> Result<&'o mut Vec<u8>> {
    if out.capacity() - out.len() < more {
        grow(out, more.max(out.len()), held)?;
    }
    Ok(out)
}

fn grow(out: &mut Vec<u8>, more: usize, held: &mut Reservation) -> Result<()> {
    held.take(out.len().saturating_add(more).saturating_sub(out.capacity()))?;
    out.try_reserve_exact(more).map_err(|_| memory::none_left())
}

/// Raw bytes of elements, counted by a reservation before there is room for them.
#[derive(Default)]
pub(in crate::codec) struct Elements {
    out: Vec<u8>,
    expected: usize,
    room: usize,
}

impl Elements {
    /// `expected` elements and at most `room` bytes of text are to come.
    pub(in crate::codec) fn new(expected: usize, room: usize) -> Self {
        Elements { out: Vec::new(), expected, room }
    }

    /// Room for elements of `size` bytes: one takes two characters, itself and what comes after
    /// it. As much as shape and text agree on.
    pub(in crate::codec) fn expect_fixed(&mut self, size: usize, held: &mut Reservation) -> Result<()> {
        grow(&mut self.out, self.expected.min(self.room / 2 + 1).saturating_mul(size), held)
    }

    pub(in crate::codec) fn expect_strings(&mut self, held: &mut Reservation) -> Result<()> {
        grow(&mut self.out, self.room.min(self.expected.saturating_mul(16)), held)
    }

    #[inline]
    pub(in crate::codec) fn room(&mut self, more: usize, held: &mut Reservation) -> Result<&mut Vec<u8>> {
        room(&mut self.out, more, held)
    }

    /// What is there so far.
    pub(in crate::codec) fn data(&self) -> &[u8] {
        &self.out
    }

    /// Gives back what a shape promised and the data did not bring, so that many
    /// inputs of one request cannot each hold the room of all its text.
    pub(in crate::codec) fn finish(mut self, count: usize, held: &mut Reservation) -> Leaves {
        if self.out.capacity() / 2 > self.out.len()
            && let Ok(mut exact) = memory::room(self.out.len())
        {
            exact.extend_from_slice(&self.out);
            held.give_back(self.out.capacity() - exact.capacity());
            self.out = exact;
        }
        Leaves { data: self.out.into(), count }
    }
}
