//! MLflow's scoring requests in CSV, as it comes and as it is made of Parquet, by signatures of each kind.
#![no_main]

use engine::codec::mlflow::{Table, decode_table};
use engine::stop::NEVER;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first_chunk() else { return };
    let signature = fuzzed::scored(u16::from_le_bytes(*choice));
    for came_as in [Table::Csv, Table::Parquet] {
        if let Ok((request, _)) = decode_table(&NEVER, body, came_as, &signature, &mut fuzzed::boundless()) {
            fuzzed::check(&request, &signature);
        }
    }
});
