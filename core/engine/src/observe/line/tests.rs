use super::*;
use crate::codec::bytes_tensor;
use crate::observe::{Noted, Takers};
use crate::stats::Protocol;
use crate::tensor::Shape;
use bytes::Bytes;
use proptest::prelude::*;

fn tensor(datatype: Datatype, shape: &[i64], data: impl Into<Vec<u8>>) -> Tensor {
    let shape = Shape::from_slice(shape);
    Tensor { name: "x".into(), datatype, shape, data: Bytes::from(data.into()) }
}

fn sample(inputs: Vec<Tensor>) -> Sample {
    Sample {
        takers: Takers::default(),
        model: "m".to_owned(),
        version: 3,
        route: "default",
        protocol: Protocol::Grpc,
        id: String::new(),
        request_id: String::new(),
        at_ns: 1_780_000_000_250_000_499,
        total: Duration::from_nanos(1_004_000_050),
        queue: Duration::ZERO,
        compute: Duration::from_nanos(49),
        word: "",
        message: String::new(),
        anomaly: None,
        inputs,
        outputs: Vec::new(),
        priority: 0,
        timeout_us: 0,
    }
}

fn written(sample: &Sample, shown: Shown<'_>) -> String {
    let mut out = Vec::new();
    line(&mut out, sample, shown);
    String::from_utf8(out).unwrap()
}

/// What a line says of its one tensor, after the shape.
fn values(tensor: Tensor) -> String {
    let line = written(&sample(vec![tensor]), None);
    let (_, rest) = line.split_once("\"shape\":[").unwrap();
    let (_, rest) = rest.split_once("],").unwrap();
    rest.strip_suffix("}],\"outputs\":[]}\n").unwrap().to_owned()
}

fn packed(elements: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    elements.iter().for_each(|element| bytes_tensor::push(&mut out, element));
    out
}

#[test]
fn a_line_leaves_out_what_says_nothing() {
    assert_eq!(
        written(&sample(Vec::new()), None),
        concat!(
            r#"{"time":"2026-05-28T20:26:40.250000Z","model":"m","version":3,"route":"default","protocol":"grpc","#,
            r#""status":"OK","total_s":1.0040001,"queue_s":0.0000000,"compute_s":0.0000000,"#,
            r#""inputs":[],"outputs":[]}"#,
            "\n"
        )
    );
}

#[test]
fn a_line_tells_all_there_is_and_stays_one_line() {
    let mut given = sample(vec![tensor(Datatype::Int8, &[1, 2], [0xff, 1])]);
    given.outputs = vec![tensor(Datatype::Bool, &[2], [0, 1])];
    (given.id, given.request_id) = ("a\nb".to_owned(), "r\"1".to_owned());
    (given.word, given.message) = ("bad_data", "caf\u{e9}".to_owned());
    (given.priority, given.timeout_us) = (2, 9_000_000);
    assert_eq!(
        written(&given, None),
        concat!(
            r#"{"time":"2026-05-28T20:26:40.250000Z","model":"m","version":3,"route":"default","protocol":"grpc","#,
            r#""id":"a\nb","request_id":"r\"1","status":"bad_data","message":"café","#,
            r#""total_s":1.0040001,"queue_s":0.0000000,"compute_s":0.0000000,"#,
            r#""parameters":{"priority":2,"timeout":9000000},"#,
            r#""inputs":[{"name":"x","datatype":"INT8","shape":[1,2],"data":[-1,1]}],"#,
            r#""outputs":[{"name":"x","datatype":"BOOL","shape":[2],"data":[false,true]}]}"#,
            "\n"
        )
    );
}

#[test]
fn a_line_stays_one_line_of_json_whatever_texts_it_holds() {
    for text in ["\"", "\\", "a\nb", "\0", "\u{2028}", "é 漢字 🎈", "', \"x\":1}", "nan", "True"] {
        let mut given = sample(Vec::new());
        let Sample { model, id, request_id, message, .. } = &mut given;
        for field in [model, id, request_id, message] {
            text.clone_into(field);
        }
        let line = written(&given, None);
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        for name in ["model", "id", "request_id", "message"] {
            assert_eq!(read[name], text);
        }
    }
}

#[test]
fn only_tensors_that_are_shown_go_with_their_values() {
    let given = sample(vec![tensor(Datatype::Uint8, &[1], [7])]);
    for (shown, values) in [
        (None, "\"data\":[7]"),
        (Some(&["x".to_owned()][..]), "\"data\":[7]"),
        (Some(&["X".to_owned()][..]), "\"redacted\":true"),
        (Some(&[][..]), "\"redacted\":true"),
    ] {
        let line = written(&given, shown);
        assert!(line.contains(&format!("\"shape\":[1],{values}}}]")), "{line}");
    }
}

#[test]
fn what_json_cannot_carry_or_is_long_is_base64() {
    const BASE64: &str = "\"encoding\":\"base64\",\"data\":\"";
    let text = |n: usize| tensor(Datatype::Bytes, &[1], packed(&[&vec![b'a'; n]]));
    let bytes = |n: i64| tensor(Datatype::Uint8, &[2, n], vec![0; 2 * n as usize]);
    assert_eq!(values(tensor(Datatype::Fp16, &[1], [1, 2])), format!("{BASE64}AQI=\""));
    assert_eq!(values(tensor(Datatype::Bf16, &[0], [])), format!("{BASE64}\""));
    assert!(values(tensor(Datatype::Bytes, &[2], packed(&[b"a", b"\xff"]))).starts_with(BASE64));
    assert!(values(bytes(129)).starts_with(BASE64));
    assert!(values(text(MAX_TEXT_BYTES - 3)).starts_with(BASE64));
    assert!(values(bytes(128)).starts_with("\"data\":[0,"));
    assert!(values(text(MAX_TEXT_BYTES - 4)).starts_with("\"data\":[\"aa"));
    let rows = tensor(Datatype::Bytes, &[2], packed(&[b"a\"", b""]));
    assert_eq!(values(rows), "\"data\":[\"a\\\"\",\"\"]");
}

#[test]
fn floats_without_digits_are_bare_words() {
    let data: Vec<u8> =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(values(tensor(Datatype::Fp32, &[4], data)), "\"data\":[NaN,Infinity,-Infinity,-0.0]");
}

fn text_of(value: f32) -> String {
    let mut out = Vec::new();
    fp32(&mut out, value);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_fp32_that_two_roundings_would_change_has_more_digits() {
    assert_eq!(text_of(0.1), "0.1");
    let value: f32 = "7.038531e-26".parse().unwrap();
    assert_ne!("7.038531e-26".parse::<f64>().unwrap() as f32, value);
    assert_eq!(text_of(value).parse::<f64>().unwrap() as f32, value);
}

/// Handed over whole, however they are cut.
fn pieces(samples: &[Sample], most: usize) -> Vec<(Vec<u8>, usize)> {
    let mut found = Vec::new();
    let mut rest = samples;
    while !rest.is_empty() {
        let (piece, count) = lines(rest.iter().map(|sample| (sample, None)), most);
        rest = &rest[count..];
        found.push((piece, count));
    }
    found
}

proptest! {
    #[test]
    fn any_fp32_reads_back_the_same_by_way_of_fp64_or_not(bits: u32) {
        let value = f32::from_bits(bits);
        prop_assume!(value.is_finite());
        let text = text_of(value);
        prop_assert_eq!(text.parse::<f32>().unwrap().to_bits(), bits);
        prop_assert_eq!((text.parse::<f64>().unwrap() as f32).to_bits(), bits);
    }

    #[test]
    fn pieces_hold_whole_lines_and_stay_within_the_bound(
        sizes in prop::collection::vec(0usize..300, 1..20),
        most in 0usize..3000,
    ) {
        let samples: Vec<Sample> =
            sizes.iter().map(|&n| sample(vec![tensor(Datatype::Uint8, &[n as i64], vec![0; n])])).collect();
        let found = pieces(&samples, most);
        for (piece, count) in &found {
            prop_assert!(piece.len() <= most || *count == 1);
            prop_assert_eq!(piece.iter().filter(|&&byte| byte == b'\n').count(), *count);
        }
        let whole: String = samples.iter().map(|sample| written(sample, None)).collect();
        prop_assert_eq!(found.into_iter().flat_map(|(piece, _)| piece).collect::<Vec<_>>(), whole.into_bytes());
    }
}

#[test]
fn what_is_not_as_the_schema_says_goes_without_its_value_where_its_tensor_does() {
    let mut given = sample(vec![tensor(Datatype::Uint8, &[1], [7])]);
    let noted =
        Noted { input: "x".into(), words: "expected 5, got 7".into(), brief: "too_large".into(), told: true };
    given.anomaly = Some(noted);
    assert!(written(&given, None).contains(r#","anomaly":"expected 5, got 7","#));
    let hidden = written(&given, Some(&[]));
    assert!(hidden.contains(r#","anomaly":"too_large","#) && !hidden.contains("got 7"), "{hidden}");
}
