//! JSON requests, with and without a binary part behind them.
#![no_main]

use bytes::Bytes;
use engine::codec::binary::{self, Split};
use engine::codec::json;
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&first, body)) = data.split_first() else { return };
    // 0: no header; else a length of the JSON part, as the header tells it.
    let length = usize::from(first) * body.len() / 255;
    let header = (first > 0).then(|| length.to_string());
    let (json, rest) = match binary::split(header.as_deref(), fuzzed::owned(body)) {
        Ok(Split::Json(json)) => (json, Bytes::new()),
        Ok(Split::Mixed { json, binary }) => (json, binary),
        Ok(Split::Raw(_)) | Err(_) => return,
    };
    if let Ok(request) = json::decode_infer(&NEVER, "m", &json, rest, &mut fuzzed::boundless()) {
        fuzzed::check(&request, &fuzzed::signature());
    }
});
