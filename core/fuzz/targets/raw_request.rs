//! Bodies that are one tensor and nothing else.
#![no_main]

use engine::codec::json;
use engine::tensor::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let mut inputs = fuzzed::signature().inputs;
    let mut one = inputs.swap_remove(usize::from(first) % inputs.len());
    one.optional = false;
    let signature = Signature { inputs: vec![one], ..Signature::default() };
    if let Ok(request) = json::decode_raw_binary("m", &signature, fuzzed::owned(body)) {
        fuzzed::check(&request, &signature);
    }
});
