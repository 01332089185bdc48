//! TensorFlow Serving's JSON, by a signature of one input and by one of each datatype.
#![no_main]

use engine::codec::tensorflow_json::decode_predict;
use engine::stop::NEVER;
use engine::tensor::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let mut signature = fuzzed::signature();
    // 0: all of them, of which one is needed; else that one alone.
    if let Some(at) = usize::from(first).checked_sub(1) {
        let mut only = signature.inputs.swap_remove(at % signature.inputs.len());
        only.optional = false;
        signature = Signature { inputs: vec![only], ..signature };
    }
    if let Ok((request, _)) = decode_predict(&NEVER, &signature, body, &mut fuzzed::boundless()) {
        fuzzed::check(&request, &signature);
    }
});
