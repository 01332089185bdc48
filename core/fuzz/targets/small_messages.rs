//! Messages of health and reflection, with the answers to them.
#![no_main]

use engine::codec::protobuf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = protobuf::decode_health_check(data);
    if let Ok(answer) = protobuf::reflect(data) {
        // It repeats the request beside a file at most.
        assert!(answer.len() < data.len() + (64 << 10));
    }
});
