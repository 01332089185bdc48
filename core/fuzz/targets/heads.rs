//! What is read of headers and paths: versions, encodings, traces, lengths.
#![no_main]

use engine::codec::{binary, compression::Encoding};
use engine::observe::trace;
use engine::routes::parse_version;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = trace::Context::parse(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Encoding::parse(text);
    let _ = binary::split(Some(text), fuzzed::owned(data));
    if let Ok(Some(version)) = parse_version(text) {
        assert!(version > 0);
    }
});
