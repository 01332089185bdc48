//! The decoder held against a dumb twin: serde_json, and a walk that copies.

use super::column::BASE64;
use super::decode_predict;
use super::tests::{boundless, data, tensor};
use crate::codec::bytes_tensor::push;
use crate::stop::NEVER;
use crate::tensor::{Datatype, Signature};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

type Raw = (String, Vec<i64>, Vec<u8>);

/// Names that no single damaged byte turns into another.
const NAMES: [&str; 3] = ["alpha", "b", "gamma_"];

fn signature(types: &[Datatype]) -> Signature {
    let specs = NAMES.iter().zip(types).map(|(name, &kind)| tensor(name, kind, &[-1], false));
    Signature { inputs: specs.collect(), ..Default::default() }
}

/// What a body says, or nothing where it may say none of it.
fn naive(body: &Value, signature: &Signature) -> Option<Vec<Raw>> {
    let body = body.as_object()?;
    if let Some(name) = body.get("signature_name")
        && !["", "serving_default"].contains(&name.as_str()?)
    {
        return None;
    }
    match (body.get("instances"), body.get("inputs")) {
        (Some(rows), None) => naive_rows(rows.as_array()?, signature),
        (None, Some(inputs)) => naive_columns(inputs, signature),
        _ => None,
    }
}

fn is_named(value: &Value) -> bool {
    let is_base64 = |object: &Map<_, _>| object.len() == 1 && object.get("b64").is_some_and(Value::is_string);
    value.as_object().is_some_and(|object| !is_base64(object))
}

fn naive_columns(inputs: &Value, signature: &Signature) -> Option<Vec<Raw>> {
    let named = if is_named(inputs) { inputs.as_object()?.clone() } else { only(inputs, signature)? };
    naive_named(&named, signature)
}

/// A value of the one input that there is.
fn only(value: &Value, signature: &Signature) -> Option<Map<String, Value>> {
    let [spec] = signature.inputs.as_slice() else { return None };
    Some(Map::from_iter([(spec.name.to_string(), value.clone())]))
}

fn naive_named(named: &Map<String, Value>, signature: &Signature) -> Option<Vec<Raw>> {
    if named.len() != signature.inputs.len() {
        return None;
    }
    let one = |spec: &crate::tensor::TensorSpec| {
        let value = named.get(&*spec.name)?;
        let (mut shape, mut first) = (Vec::new(), value);
        while let Some(list) = first.as_array() {
            shape.push(i64::try_from(list.len()).ok()?);
            let Some(inner) = list.first() else { break };
            first = inner;
        }
        let mut raw = Vec::new();
        fill(value, &shape, spec.datatype, &mut raw)?;
        Some((spec.name.to_string(), shape, raw))
    };
    signature.inputs.iter().map(one).collect()
}

fn naive_rows(rows: &[Value], signature: &Signature) -> Option<Vec<Raw>> {
    let named = is_named(rows.first()?);
    let mut stacked: Vec<Raw> = Vec::new();
    for row in rows {
        if is_named(row) != named {
            return None;
        }
        let row = if named { row.as_object()?.clone() } else { only(row, signature)? };
        let values = naive_named(&row, signature)?;
        if stacked.is_empty() {
            stacked = values;
            stacked.iter_mut().for_each(|(_, shape, _)| shape.insert(0, 1));
            continue;
        }
        for ((_, shape, raw), (_, next, more)) in stacked.iter_mut().zip(values) {
            if shape[1..] != next {
                return None;
            }
            shape[0] += 1;
            raw.extend(more);
        }
    }
    Some(stacked)
}

fn fill(value: &Value, shape: &[i64], datatype: Datatype, out: &mut Vec<u8>) -> Option<()> {
    let Some((&length, inner)) = shape.split_first() else { return leaf(value, datatype, out) };
    let list = value.as_array()?;
    if i64::try_from(list.len()) != Ok(length) {
        return None;
    }
    list.iter().try_for_each(|one| fill(one, inner, datatype, out))
}

fn leaf(value: &Value, datatype: Datatype, out: &mut Vec<u8>) -> Option<()> {
    match datatype {
        Datatype::Fp32 => out.extend((value.as_f64()? as f32).to_le_bytes()),
        Datatype::Fp64 => out.extend(value.as_f64()?.to_le_bytes()),
        Datatype::Int64 => out.extend(value.as_i64()?.to_le_bytes()),
        Datatype::Uint8 => out.push(u8::try_from(value.as_u64()?).ok()?),
        Datatype::Bool => out.push(u8::from(value.as_bool()?)),
        _ => {
            let decoded = match value.as_object() {
                Some(object) if object.len() == 1 => BASE64.decode(object.get("b64")?.as_str()?).ok()?,
                _ => value.as_str()?.as_bytes().to_vec(),
            };
            std::str::from_utf8(&decoded).ok()?;
            push(out, &decoded);
        }
    }
    Some(())
}

/// What the decoder says of the same text, in the signature's order.
fn decoded(text: &[u8], signature: &Signature) -> Option<Vec<Raw>> {
    let (request, _) = decode_predict(&NEVER, signature, text, &mut boundless()).ok()?;
    let mut raw: Vec<Raw> = request
        .inputs
        .iter()
        .map(|input| (input.name.clone(), input.shape.to_vec(), data(input).to_vec()))
        .collect();
    raw.sort_by_key(|(name, ..)| signature.input(name).map(|(at, _)| at));
    Some(raw)
}

fn types() -> impl Strategy<Value = Vec<Datatype>> {
    let all =
        [Datatype::Fp32, Datatype::Fp64, Datatype::Int64, Datatype::Uint8, Datatype::Bool, Datatype::Bytes];
    prop::collection::vec(prop::sample::select(all.to_vec()), 1..=3)
}

fn scalar(datatype: Datatype, seed: u64) -> Value {
    match datatype {
        Datatype::Fp32 | Datatype::Fp64 => json!((seed % 4096) as f64 / 8.0 - 100.0),
        Datatype::Int64 => json!(seed % 100_000),
        Datatype::Uint8 => json!(seed % 256),
        Datatype::Bool => json!(seed.is_multiple_of(2)),
        _ if seed.is_multiple_of(3) => json!({ "b64": STANDARD.encode(seed.to_string()) }),
        _ => json!(format!("\u{e9}\"{}\\\n", seed % 1000)),
    }
}

fn nested(shape: &[usize], datatype: Datatype, seed: &mut u64) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    match shape.split_first() {
        None => scalar(datatype, *seed >> 33),
        Some((&length, inner)) => (0..length).map(|_| nested(inner, datatype, seed)).collect(),
    }
}

/// A body that fits, mostly: rows or columns, named or not.
fn body(
    types: &[Datatype],
    shape: &[usize],
    rows: usize,
    by_rows: bool,
    named: bool,
    mut seed: u64,
) -> Value {
    let row = |seed: &mut u64| -> Value {
        if types.len() == 1 && !named {
            return nested(shape, types[0], seed);
        }
        let members =
            NAMES.iter().zip(types).map(|(name, &kind)| ((*name).into(), nested(shape, kind, seed)));
        Value::Object(members.collect())
    };
    match by_rows {
        true => {
            json!({ "signature_name": "serving_default", "instances": (0..rows).map(|_| row(&mut seed)).collect::<Value>() })
        }
        false => json!({ "ignored": [{}, [null]], "inputs": row(&mut seed) }),
    }
}

proptest! {
    #[test]
    fn what_fits_is_what_the_twin_reads(
        types in types(), shape in prop::collection::vec(0usize..4, 0..4), rows in 0usize..4,
        by_rows: bool, named: bool, seed: u64,
    ) {
        let (signature, body) = (signature(&types), body(&types, &shape, rows, by_rows, named, seed));
        let expected = naive(&body, &signature);
        prop_assert_eq!(expected.is_some(), !by_rows || rows > 0, "{}", body);
        prop_assert_eq!(decoded(body.to_string().as_bytes(), &signature), expected, "{}", body);
    }

    #[test]
    fn damaged_bodies_are_taken_where_the_twin_takes_them(
        types in types(), shape in prop::collection::vec(0usize..4, 0..3), rows in 1usize..4,
        by_rows: bool, named: bool, seed: u64,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..3), 1..3),
    ) {
        const BYTES: &[u8] = b"[]{}:,\"0123456789.e true b64\\\xff";
        let signature = signature(&types);
        let mut text = body(&types, &shape, rows, by_rows, named, seed).to_string().into_bytes();
        for (at, byte, kind) in damage {
            let (at, byte) = (at.index(text.len()), BYTES[byte.index(BYTES.len())]);
            match kind {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
        }
        let parsed: Option<Value> = serde_json::from_slice(&text).ok();
        let expected = parsed.and_then(|body| naive(&body, &signature));
        prop_assert_eq!(decoded(&text, &signature), expected, "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn any_bytes_end(text: Vec<u8>, types in types()) {
        let _ = decoded(&text, &signature(&types));
    }
}
