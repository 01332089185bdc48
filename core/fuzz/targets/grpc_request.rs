//! `ModelInfer` messages, TensorFlow Serving's with tensors and with examples, and those that only name a
//! model.
#![no_main]

use engine::codec::{protobuf, tensorflow};
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = protobuf::decode_model_ref(fuzzed::owned(data));
    let decoders = [
        protobuf::decode_infer,
        tensorflow::decode_predict,
        tensorflow::decode_classify,
        tensorflow::decode_regress,
        tensorflow::decode_multi_inference,
    ];
    for request in decoders.into_iter().filter_map(|decode| decode(&NEVER, fuzzed::owned(data)).ok()) {
        fuzzed::check(&request, &fuzzed::signature());
    }
});
