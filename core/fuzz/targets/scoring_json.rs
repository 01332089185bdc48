//! MLflow's scoring requests in JSON, by signatures of each kind.
#![no_main]

use engine::codec::mlflow::decode_json;
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    let signature = fuzzed::scored(first);
    if let Ok((request, _)) = decode_json(&NEVER, body, &signature, &mut fuzzed::boundless()) {
        fuzzed::check(&request, &signature);
    }
});
