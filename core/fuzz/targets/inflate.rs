//! Compressed bodies: never more than the limit comes out.
#![no_main]

use engine::codec::compression::{Encoding, deflate, inflate};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    for encoding in [Encoding::Gzip, Encoding::Deflate] {
        if let Ok(out) = inflate(encoding, &fuzzed::owned(data), LIMIT) {
            assert!(out.len() <= LIMIT);
        }
        let there = deflate(encoding, data, &fuzzed::boundless()).expect("it has room");
        match inflate(encoding, &there, LIMIT) {
            Ok(back) => assert_eq!(&back[..], data),
            Err(_) => assert!(data.len() > LIMIT),
        }
    }
});
