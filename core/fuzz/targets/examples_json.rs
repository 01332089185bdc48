//! Classification and regression as TensorFlow Serving's JSON says them.
#![no_main]

use engine::codec::tensorflow_json::{decode_classify, decode_regress};
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for decode in [decode_classify, decode_regress] {
        if let Ok(request) = decode(&NEVER, data, &mut fuzzed::boundless()) {
            fuzzed::check(&request, &fuzzed::signature());
        }
    }
});
