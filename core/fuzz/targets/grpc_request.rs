//! `ModelInfer` messages, and those that only name a model.
#![no_main]

use engine::codec::protobuf;
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = protobuf::decode_model_ref(fuzzed::owned(data));
    if let Ok(request) = protobuf::decode_infer(&NEVER, fuzzed::owned(data)) {
        fuzzed::check(&request, &fuzzed::signature());
    }
});
