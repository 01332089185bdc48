//! How much a connection may send before anybody takes it: cut from a pool, so that what
//! all connections may send unasked stays a part of the process's budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// HTTP/2 gives every connection and stream this much before a server has a say.
pub const LEAST: usize = 65_535;
/// A connection gets this part of what is left: many get less each, none gets nothing.
const SPREAD: usize = 16;
/// The part of the process's budget that windows are cut from.
const PART: usize = 4;

#[derive(Debug)]
pub struct Windows {
    free: AtomicUsize,
    /// The pool when nobody has a window.
    pub all: usize,
}

/// What one connection was given; dropping it gives it back.
#[derive(Debug)]
pub struct Window {
    pool: Arc<Windows>,
    taken: usize,
    pub bytes: usize,
}

impl Windows {
    pub fn new(process_bytes: usize) -> Arc<Self> {
        let all = process_bytes / PART;
        Arc::new(Windows { free: AtomicUsize::new(all), all })
    }

    /// Bytes of the pool that open connections have.
    pub fn taken(&self) -> usize {
        self.all - self.free.load(Ordering::Relaxed)
    }

    /// A window for one more connection, `most` bytes where there is plenty.
    pub fn allot(self: &Arc<Self>, most: usize) -> Window {
        let free = self.free.load(Ordering::Relaxed);
        let bytes = size(free, most);
        // Two that come at once may both see the same rest: the second then takes less than
        // its window, never more than there is.
        let take = |free: usize| Some(free - bytes.min(free));
        let before = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(free);
        Window { pool: self.clone(), taken: bytes.min(before), bytes }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.pool.free.fetch_add(self.taken, Ordering::Relaxed);
    }
}

/// Bytes of a window with so many left in the pool. Pure.
fn size(free: usize, most: usize) -> usize {
    (free / SPREAD).clamp(LEAST, most.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn fault_103_windows_shrink_with_the_pool_down_to_what_the_protocol_gives() {
        for (free, most, expected) in [
            (1 << 30, 16 * MIB, 16 * MIB),
            (256 * MIB, 16 * MIB, 16 * MIB),
            (128 * MIB, 16 * MIB, 8 * MIB),
            (16 * MIB, 16 * MIB, MIB),
            (MIB, 16 * MIB, 65_536),
            (MIB / 2, 16 * MIB, LEAST),
            (0, 16 * MIB, LEAST),
            (1 << 30, 512 << 10, 512 << 10),
            (1 << 30, 1, LEAST),
        ] {
            assert_eq!(size(free, most), expected, "{free} free, {most} wanted");
        }
    }

    #[test]
    fn fault_103_ten_thousand_windows_take_the_pool_and_the_least_each_beyond_it() {
        let pool = Windows::new(4 << 30);
        let windows: Vec<Window> = (0..10_000).map(|_| pool.allot(16 * MIB)).collect();
        assert!(windows[0].bytes > windows[200].bytes);
        let all: usize = windows.iter().map(|w| w.bytes).sum();
        assert!(all <= (1 << 30) + 10_000 * LEAST);
        assert_eq!(pool.taken(), pool.all);
        drop(windows);
        assert_eq!(pool.taken(), 0);
    }
}
