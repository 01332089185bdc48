//! Memory whose size follows data: where there is none, that is an error and no end of the
//! process. Buffers aligned for vector loads, filled once and then shared as [`Bytes`].

use crate::admission::Reservation;
use crate::error::{Error, ErrorCode, Result};
use bytes::Bytes;
use std::alloc::{Layout, alloc, dealloc};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Duration;

/// How the process's allocator hands memory that is free back to the system. It keeps what was
/// used until somebody asks, and another thread's free blocks until that thread does.
static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Whoever chose the allocator says how; the first one counts.
pub fn set_give_back(how: fn()) {
    let _ = GIVE_BACK.set(how);
}

/// Hand back what this thread has free. Takes milliseconds where it is much.
pub fn give_back() {
    if let Some(how) = GIVE_BACK.get() {
        how();
    }
}

/// The machine has not got the memory.
pub fn none_left() -> Error {
    Error::new(ErrorCode::Full, "the server has no memory for this now, try again later")
        .retry(Duration::from_secs(1))
}

/// An empty vector with room for exactly `capacity` elements.
///
/// # Errors
/// `Full` where that much memory is not to be had.
pub fn room<T>(capacity: usize) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(capacity).map_err(|_| none_left())?;
    Ok(vec)
}

/// Make room for `more` elements behind those there are, and for as many again as there are, so
/// that growing in small steps costs no more than once.
///
/// # Errors
/// As [`room`].
pub fn more<T>(vec: &mut Vec<T>, more: usize) -> Result<()> {
    vec.try_reserve(more).map_err(|_| none_left())
}

/// # Errors
/// As [`room`].
pub fn copied(data: &[u8]) -> Result<Bytes> {
    let mut copy = room(data.len())?;
    copy.extend_from_slice(data);
    Ok(copy.into())
}

pub const ALIGN: usize = 64;

/// A growing buffer: the allocation is aligned to [`ALIGN`], and the content starts
/// `skew` bytes into it.
///
/// A message whose last field is a tensor ends where the tensor ends; choosing
/// the skew so that the *end* is aligned makes the tensor's start aligned to its
/// element size, and the array handed to the model needs no copy.
pub struct AlignedBuf {
    base: NonNull<u8>,
    capacity: usize,
    skew: usize,
    len: usize,
    /// What it holds of the process's budget, where it is counted by itself.
    _held: Option<Reservation>,
}

// SAFETY: the buffer owns its memory and hands out only ordinary borrows of it.
unsafe impl Send for AlignedBuf {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// # Errors
    /// As for all of these, `Full` where there is no memory for it.
    pub fn with_capacity(capacity: usize) -> Result<Self> {
        AlignedBuf::skewed(capacity, 0)
    }

    /// Room for `capacity` bytes, laid so that a content of `total` bytes ends aligned.
    pub fn ending_aligned(capacity: usize, total: usize) -> Result<Self> {
        AlignedBuf::skewed(capacity, (ALIGN - total % ALIGN) % ALIGN)
    }

    fn skewed(capacity: usize, skew: usize) -> Result<Self> {
        let capacity = capacity.saturating_add(skew).max(ALIGN);
        Ok(AlignedBuf { base: allocate(capacity)?, capacity, skew, len: 0, _held: None })
    }

    /// Counted by `held` for as long as it lives.
    pub fn held_by(self, held: Option<Reservation>) -> Self {
        // Not built anew: it has a drop of its own.
        let mut this = self;
        this._held = held;
        this
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn extend(&mut self, more: &[u8]) -> Result<()> {
        let need = (self.skew + self.len).checked_add(more.len()).ok_or_else(none_left)?;
        if need > self.capacity {
            self.grow(need.max(self.capacity.saturating_mul(2)))?;
        }
        // SAFETY: `grow` made room for `more` behind the content, and `more` is a
        // borrow of other memory, since `self` is borrowed mutably.
        unsafe {
            copy(more.as_ptr(), self.base.as_ptr().add(self.skew + self.len), more.len());
        }
        self.len += more.len();
        Ok(())
    }

    /// Keep its first `len` bytes, where it has more.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Let `read` write to `more` bytes of room behind the content: it says how many it wrote, from
    /// the room's start on, or why not.
    ///
    /// # Safety
    /// It has written as many as it says.
    pub unsafe fn fill<E>(
        &mut self,
        more: usize,
        read: impl FnOnce(&mut [MaybeUninit<u8>]) -> std::result::Result<usize, E>,
    ) -> Result<std::result::Result<usize, E>> {
        let need = (self.skew + self.len).checked_add(more).ok_or_else(none_left)?;
        if need > self.capacity {
            self.grow(need)?;
        }
        // SAFETY: there is room for `more` behind the content, borrowed mutably with `self`; it
        // need not be initialised.
        let room = unsafe {
            std::slice::from_raw_parts_mut(self.base.as_ptr().add(self.skew + self.len).cast(), more)
        };
        let came = read(room);
        self.len += came.as_ref().map_or(0, |&came| came.min(more));
        Ok(came)
    }

    fn grow(&mut self, capacity: usize) -> Result<()> {
        let base = allocate(capacity)?;
        // SAFETY: both allocations hold at least skew + len bytes and are distinct;
        // the old one was made by `allocate(self.capacity)`.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.base.as_ptr().add(self.skew),
                base.as_ptr().add(self.skew),
                self.len,
            );
            dealloc(self.base.as_ptr(), layout(self.capacity));
        }
        self.base = base;
        self.capacity = capacity;
        Ok(())
    }

    pub fn freeze(self) -> Bytes {
        if self.len == 0 { Bytes::new() } else { Bytes::from_owner(self) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `extend` initialised exactly these bytes.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(self.skew), self.len) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated by `allocate` with this capacity.
        unsafe { dealloc(self.base.as_ptr(), layout(self.capacity)) }
    }
}

/// The C library copies large blocks by `rep movsb`, which on some processors (AMD
/// Zen 3 and 4) is several times slower when source and destination lie at unlucky
/// offsets within a page, as a stream of frames makes them. Blocks of this size
/// take its vector loop instead: with 602 KB inputs the copy fell from 46 % to 25 %
/// of the I/O thread's time.
const BLOCK: usize = 2048;

/// # Safety
/// As for [`std::ptr::copy_nonoverlapping`].
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    let mut done = 0;
    while done < len {
        let block = BLOCK.min(len - done);
        // SAFETY: the caller's promise, for a part of the range.
        unsafe {
            // The optimiser would join the blocks again if it saw through.
            std::ptr::copy_nonoverlapping(std::hint::black_box(from.add(done)), to.add(done), block);
        }
        done += block;
    }
}

fn allocate(capacity: usize) -> Result<NonNull<u8>> {
    let layout = Layout::from_size_align(capacity, ALIGN).map_err(|_| none_left())?;
    // SAFETY: the layout's size is at least ALIGN, never zero.
    NonNull::new(unsafe { alloc(layout) }).ok_or_else(none_left)
}

/// Of a block that [`allocate`] made.
fn layout(capacity: usize) -> Layout {
    // SAFETY: a layout of this size was made when the block was, and ALIGN is a power of two.
    unsafe { Layout::from_size_align_unchecked(capacity, ALIGN) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_aligned_and_growth_keeps_the_content() {
        let total = 1003;
        let mut buf = AlignedBuf::ending_aligned(10, total).unwrap();
        let data: Vec<u8> = (0..total).map(|i| i as u8).collect();
        for chunk in data.chunks(37) {
            buf.extend(chunk).unwrap();
        }
        let bytes = buf.freeze();
        assert_eq!(&bytes[..], &data[..]);
        assert_eq!((bytes.as_ptr() as usize + total) % ALIGN, 0);
    }

    #[test]
    fn fault_102_memory_that_is_not_there_is_an_error() {
        let huge = isize::MAX as usize;
        for error in [
            AlignedBuf::with_capacity(huge).err(),
            AlignedBuf::with_capacity(huge - ALIGN).err(),
            AlignedBuf::ending_aligned(usize::MAX, 1).err(),
            room::<u64>(huge).err(),
            room::<u8>(huge).err(),
            more(&mut vec![1u8], huge).err(),
        ] {
            assert_eq!(error.unwrap().code, ErrorCode::Full);
        }
    }
}
