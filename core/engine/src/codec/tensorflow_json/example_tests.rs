use super::{ClassifyAnswer, RegressAnswer, decode_classify, decode_predict, decode_regress};
use crate::admission::{Budget, Reservation};
use crate::codec::answer::Form;
use crate::codec::compression::Encoding;
use crate::codec::prepare::{Limits, Prepared, prepare};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, bytes_tensor};
use crate::error::{Error, ErrorCode, Result};
use crate::stop::NEVER;
use crate::tensor::named::{Asked, Gives, NamedSignature};
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

const LIMITS: Limits<'_> = Limits { max_string_elements: 100, stop: &NEVER };

fn boundless() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    let (name, shape) = (name.into(), shape.to_vec());
    TensorSpec { name, datatype, shape, optional: true, described: None, labels: None }
}

/// Inputs of all three kinds, which an example may leave out.
fn model() -> Signature {
    let inputs = vec![
        spec("f", Datatype::Fp32, &[-1, -1]),
        spec("i", Datatype::Int64, &[-1, -1]),
        spec("s", Datatype::Bytes, &[-1, -1]),
    ];
    let named = NamedSignature { name: "r".into(), inputs: vec![0, 1, 2], gives: Gives::Value("y".into()) };
    let outputs = vec![spec("y", Datatype::Fp32, &[-1])];
    Signature { inputs, outputs, named: vec![Arc::new(named)], ..Signature::default() }
}

fn prepared(body: &str) -> Result<Prepared> {
    let request = decode_regress(&NEVER, body.as_bytes(), &mut boundless())?;
    prepare(&request, &model(), &LIMITS)
}

fn refused(body: &str) -> String {
    let error = prepared(body).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest, "{body}");
    error.message
}

/// Of each input that is there its shape and elements.
fn tensors(body: &str) -> Value {
    let prepared = prepared(body).unwrap();
    let signature = model();
    let all = signature.inputs.iter().zip(&prepared.inputs).filter_map(|(spec, input)| {
        let input = input.as_ref()?;
        let data = &input.data.here().unwrap();
        let elements = match spec.datatype {
            Datatype::Fp32 => data.as_chunks().0.iter().map(|b| json!(f32::from_le_bytes(*b))).collect(),
            Datatype::Int64 => data.as_chunks().0.iter().map(|b| json!(i64::from_le_bytes(*b))).collect(),
            _ => bytes_tensor::elements(data).map(|b| json!(String::from_utf8_lossy(b))).collect::<Vec<_>>(),
        };
        Some((spec.name.to_string(), json!([input.shape.to_vec(), elements])))
    });
    Value::Object(all.collect())
}

#[test]
fn features_are_scalars_or_flat_lists() {
    for (body, expected) in [
        (
            r#"{"examples":[{"f":1.5,"i":[1,-2],"s":"a"},{"f":[2.5],"i":[true,false],"s":["é"]}]}"#,
            json!({"f": [[2, 1], [1.5, 2.5]], "i": [[2, 2], [1, -2, 1, 0]], "s": [[2, 1], ["a", "é"]]}),
        ),
        // Whole numbers for an input of floats, and what stands in the context.
        (
            r#" {"x":[[{}]],"context":{"s":{"b64":"w6k="},"other":[1.0]},"examples":[{"f":3},{"f":4}]} "#,
            json!({"f": [[2, 1], [3.0, 4.0]], "s": [[2, 1], ["é", "é"]]}),
        ),
        // What has no values is not there; of two of one name the last counts.
        (r#"{"examples":[{"f":[],"i":1,"i":9223372036854775807}]}"#, json!({"i": [[1, 1], [i64::MAX]]})),
        (r#"{"examples":[{}]}"#, json!({})),
    ] {
        assert_eq!(tensors(body), expected, "{body}");
    }
    let found = prepared(r#"{"examples":[{"f":[NaN,-Infinity,1e300,1e-3]}]}"#).unwrap();
    let data = found.inputs[0].as_ref().unwrap().data.here().unwrap();
    let values: Vec<_> = data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert!(values[0].is_nan());
    assert_eq!(values[1..], [f32::NEG_INFINITY, f32::INFINITY, 1e-3]);
}

#[test]
fn faults_58_to_60_what_is_wrong_is_told_in_the_originals_words() {
    for (body, text) in [
        ("", "JSON Parse error: The document is empty"),
        ("[1]", "Is not object"),
        ("{}", "key 'examples' is expected and was not found"),
        (r#"{"examples":{}}"#, "Expecting 'examples' value to be an list/array"),
        (r#"{"examples":[]}"#, "'examples' value is an empty array"),
        (r#"{"examples":[[1]]}"#, "Example must be JSON object but got JSON Array"),
        (r#"{"examples":[{}],"context":1}"#, "Example must be JSON object but got JSON Number"),
        (r#"{"signature_name":1,"examples":[{}]}"#, "'signature_name' key must be a string value."),
        (r#"{"examples":[{"f":null}]}"#, "Feature: f has element with unexpected JSON type: Null"),
        (r#"{"examples":[{"f":[[1.0]]}]}"#, "Feature: f has element with unexpected JSON type: Array"),
        (r#"{"examples":[{"f":[1.0,"a"]}]}"#, "Unexpected element type in feature: f expecting type: float"),
        (r#"{"examples":[{"i":[1,1.5]}]}"#, "Unexpected element type in feature: i expecting type: int64"),
        (r#"{"examples":[{"s":["a",true]}]}"#, "Unexpected element type in feature: s expecting type: bytes"),
        (r#"{"examples":[{"s":{"b64":"%"}}]}"#, "Unable to base64 decode"),
        (r#"{"examples":[{"s":{"b65":"YQ=="}}]}"#, "not formatted correctly for base64 data"),
        (r#"{"examples":[{"s":{"b64":"YQ==","x":1}}]}"#, "not formatted correctly for base64 data"),
        (r#"{"examples":[{"s":{"b64":"/w=="}}]}"#, "is not valid UTF-8"),
        (r#"{"examples":[{"i":9223372036854775808}]}"#, "is beyond 64 bits"),
        (r#"{"examples":[{"i":1}],"examples":[{}]}"#, "key 'examples' appears twice"),
        (
            r#"{"signature_name":"r","examples":[{"i":1}],"signature_name":"r"}"#,
            "key 'signature_name' appears twice",
        ),
        (r#"{"examples":[{"i":1}],"context":{"i":1}}"#, "stands in the example and in its context"),
        (r#"{"examples":[{"i":1}]} x"#, "JSON Parse error"),
        (r#"{"examples":[{"i":1}"#, "JSON Parse error"),
        (r#"{"examples":[{"i":"a"}]}"#, "Data type: string but expected type: int64"),
    ] {
        let said = refused(body);
        assert!(said.contains(text), "{body}: {said}");
    }
    let deep = format!("{{\"x\":{}1{},\"examples\":[{{}}]}}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(refused(&deep).contains("nested more than"));
}

#[test]
fn an_unknown_signature_is_told_as_rest_tells_it() {
    let body = br#"{"signature_name":"z","examples":[{"f":1}]}"#;
    let request = decode_classify(&NEVER, body, &mut boundless()).unwrap();
    let error = prepare(&request, &model(), &LIMITS).unwrap_err();
    let told = ClassifyAnswer.refusal(error, &request, Some(&model()));
    let expected = "Serving signature name: \"z\" not found in signature def";
    assert_eq!((told.code, &*told.message), (ErrorCode::BadRequest, expected));
    let gone = Error::new(ErrorCode::NotFound, "why");
    let of = InferRequest { model: "m".into(), ..request };
    assert_eq!(
        ClassifyAnswer.refusal(gone, &of, None).message,
        "Servable not found for request: Latest(m): why"
    );
}

fn text(form: &dyn Form, gives: Gives, examples: usize, outputs: &[OutputTensor<'_>]) -> String {
    let named = NamedSignature { name: "s".into(), inputs: vec![], gives };
    let asked = Asked { signatures: vec![Arc::new(named)], examples };
    let head = AnswerHead { model: "m", version: "7", id: None, asked: Some(&asked) };
    let answer = form.encode(Encoding::Identity, &head, outputs, &boundless()).unwrap();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn output<'a>(name: &'a str, datatype: Datatype, shape: &[i64], data: &'a [u8]) -> OutputTensor<'a> {
    OutputTensor { name, datatype, shape: Shape::from_slice(shape), data, binary: false, placed: false }
}

#[test]
fn results_are_pairs_or_values() {
    let floats: Vec<u8> = [1.0f32, 0.25, f32::NAN, -0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let value = output("y", Datatype::Fp32, &[4, 1], &floats);
    let said = text(&RegressAnswer, Gives::Value("y".into()), 4, &[value]);
    assert_eq!(said, r#"{"results":[1.0,0.25,NaN,-0.5]}"#);
    let mut names = Vec::new();
    ["a\"b", "é", "", "d"].iter().for_each(|name| bytes_tensor::push(&mut names, name.as_bytes()));
    let both = [output("n", Datatype::Bytes, &[2, 2], &names), output("y", Datatype::Fp32, &[2, 2], &floats)];
    let gives = Gives::Classes { classes: Some("n".into()), scores: Some("y".into()), labels: None };
    let said = text(&ClassifyAnswer, gives, 2, &both);
    assert_eq!(said, r#"{"results":[[["a\"b",1.0],["é",0.25]],[["",NaN],["d",-0.5]]]}"#);
}

#[test]
fn fault_102_what_is_made_of_a_body_is_counted() {
    let body = format!("{{\"examples\":[{{\"i\":[{}1]}}]}}", "-1,".repeat(100_000));
    let budget = Budget::new(usize::MAX);
    let mut held = budget.reserve();
    let request = decode_regress(&NEVER, body.as_bytes(), &mut held).unwrap();
    assert!((1_000_000..2_200_000).contains(&held.bytes()), "{}", held.bytes());
    drop(request);
    let small = Budget::new(2_000_000);
    let mut held = small.reserve();
    held.take(1_500_000).unwrap();
    let mut other = small.reserve();
    let error = decode_regress(&NEVER, body.as_bytes(), &mut other).unwrap_err();
    assert_eq!(error.code, ErrorCode::Full);
}

fn feature() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::collection::vec(any::<i64>(), 0..3).prop_map(|all| json!(all)),
        any::<i32>().prop_map(|one| json!(f64::from(one) + 0.5)),
        prop::collection::vec("[a-é\"\\\\]{0,3}", 1..3).prop_map(|all| json!(all)),
        any::<bool>().prop_map(|one| json!(one)),
    ]
}

/// Elements of a feature as numbers and texts; `None` where they are not of an input's kind.
fn expected(name: &str, value: &Value) -> Option<Vec<Value>> {
    let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let one = |value: &Value| match name {
        "f" if value.is_f64() => Some(json!(value.as_f64()? as f32)),
        "i" if value.is_boolean() => Some(json!(i64::from(value.as_bool()?))),
        "i" => value.as_i64().map(|value| json!(value)),
        "s" => value.as_str().map(|value| json!(value)),
        _ => None,
    };
    all.iter().map(one).collect()
}

proptest! {
    #[test]
    fn what_serde_writes_is_read_as_it_was(
        i in prop::collection::vec(any::<i64>(), 1..4), s in prop::collection::vec("[a-é\"\\\\]{0,3}", 1..4),
        f in -1e30f32..1e30, shared: bool, rows in 1usize..4,
    ) {
        let float = json!(f64::from(f.trunc()) + 0.5);
        let mut one = json!({"f": float, "i": i});
        let mut context = json!({});
        let part = if shared { &mut context } else { &mut one };
        part["s"] = json!(s);
        let body = json!({"context": context, "examples": vec![one; rows]}).to_string();
        let found = tensors(&body);
        for (name, value) in [("f", float), ("i", json!(i)), ("s", json!(s))] {
            let row = expected(name, &value).unwrap();
            let all: Vec<_> = std::iter::repeat_n(row.clone(), rows).flatten().collect();
            prop_assert_eq!(&found[name], &json!([[rows, row.len()], all]), "{}", body);
        }
    }

    #[test]
    fn any_features_are_read_or_refused(name in "[fisz]", value in feature()) {
        let body = json!({"examples": [{&name: &value}]}).to_string();
        match (prepared(&body), expected(&name, &value)) {
            (Ok(_), Some(row)) if row.is_empty() => prop_assert_eq!(tensors(&body), json!({})),
            (Ok(_), Some(row)) => prop_assert_eq!(tensors(&body), json!({&name: [[1, row.len()], row]})),
            // Whole numbers are floats where no digit is lost.
            (Ok(_), None) => prop_assert!(name == "z" || (name == "f" && !value.is_f64())),
            (Err(error), _) => prop_assert_eq!(error.code, ErrorCode::BadRequest),
        }
    }

    #[test]
    fn fault_59_damaged_bodies_end(at in 0usize..100, byte: u8, cut in 0usize..16) {
        let whole = r#"{"signature_name":"r","context":{"s":{"b64":"YQ=="}},"examples":[{"f":1.5,"i":[1,-2]},{"f":2.5}]}"#;
        let mut body = whole.as_bytes().to_vec();
        body.truncate(body.len() - cut);
        if let Some(target) = body.get_mut(at) {
            *target = byte;
        }
        if let Ok(request) = decode_regress(&NEVER, &body, &mut boundless()) {
            let _ = prepare(&request, &model(), &LIMITS);
        }
    }
}

#[test]
fn prediction_by_a_configured_signature_names_the_call_that_answers_it() {
    let refused = |name: &str| {
        let body = format!(r#"{{"signature_name":"{name}","instances":[{{"f":[1]}}]}}"#);
        decode_predict(&NEVER, &model(), body.as_bytes(), &mut boundless()).unwrap_err()
    };
    let expected =
        "Serving signature name: \"r\" has the method tensorflow/serving/regress: ask for it by :regress";
    assert_eq!(refused("r"), Error::bad(expected));
    assert_eq!(refused("z"), Error::bad("Serving signature name: \"z\" not found in signature def"));
}
