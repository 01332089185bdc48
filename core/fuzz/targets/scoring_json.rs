//! MLflow's scoring requests in JSON, by signatures of each kind.
#![no_main]

use engine::codec::mlflow::decode_json;
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first_chunk() else { return };
    let signature = fuzzed::scored(u16::from_le_bytes(*choice));
    if let Ok((request, _)) = decode_json(&NEVER, body, &signature, &mut fuzzed::boundless()) {
        fuzzed::check(&request, &signature);
    }
});
