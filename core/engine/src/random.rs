//! Numbers for draws and ids, which need no secrets: SplitMix64.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Unlike any other of this process; seeded once a thread.
pub fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u8));
    }
    let state = STATE.get().wrapping_add(STEP);
    STATE.set(state);
    mix(state)
}

/// Spreads what is alike all over the numbers, always in the same way.
pub fn mix(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number for `bytes`, the same in every process and release: FNV-1a, spread.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(folded.wrapping_add(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_on_a_key_hangs_on_it_in_every_release() {
        assert_eq!(of_bytes(b""), 0xc381_7c01_6ba4_ff30);
        assert_eq!(of_bytes(b"user-1"), 0xf16d_8d44_0fbb_25d5);
    }
}
