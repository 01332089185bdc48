use super::oracle::{
    Dim, Entry, Int64Value, ModelSpec, PredictRequest, PredictResponse as Answer, TensorProto, TensorShape,
    UnpackedValues, VersionChoice,
};
use super::*;
use crate::admission::{Budget, Reservation};
use crate::codec::answer::Form;
use crate::codec::bytes_tensor::{elements, push};
use crate::codec::compression::Encoding;
use crate::codec::frame::FRAME;
use crate::codec::prepare::{Limits, converted_bytes, prepare};
use crate::codec::{AnswerHead, InferRequest, OutputTensor, Payload};
use crate::error::{Error, ErrorCode, Result};
use crate::stop::NEVER;
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

fn shape(sizes: &[i64]) -> Option<TensorShape> {
    let dim = sizes.iter().map(|&size| Dim { size }).collect();
    Some(TensorShape { dim, unknown_rank: false })
}

fn floats(sizes: &[i64], float_val: Vec<f32>) -> TensorProto {
    TensorProto { dtype: 1, tensor_shape: shape(sizes), float_val, ..Default::default() }
}

fn texts(sizes: &[i64], all: &[&str]) -> TensorProto {
    let string_val = all.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
    TensorProto { dtype: 7, tensor_shape: shape(sizes), string_val, ..Default::default() }
}

fn entry(key: &str, value: TensorProto) -> Entry {
    Entry { key: key.into(), value: Some(value) }
}

fn spec(name: &str, version_choice: Option<VersionChoice>, signature_name: &str) -> Option<ModelSpec> {
    Some(ModelSpec { name: name.into(), version_choice, signature_name: signature_name.into() })
}

fn of(inputs: Vec<Entry>) -> PredictRequest {
    PredictRequest { model_spec: spec("m", None, ""), inputs, ..Default::default() }
}

fn decode(message: &impl Message) -> Result<InferRequest> {
    decode_predict(&NEVER, message.encode_to_vec().into())
}

fn one(tensor: TensorProto) -> Result<InferRequest> {
    decode(&of(vec![entry("x", tensor)]))
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
        optional: false,
        described: None,
        labels: None,
    }
}

/// Input `x` and output `y` of that type, any shape of that rank.
fn identity(datatype: Datatype, rank: usize) -> Signature {
    let shape = vec![-1; rank];
    Signature {
        inputs: vec![tensor("x", datatype, &shape)],
        outputs: vec![tensor("y", datatype, &shape)],
        ..Default::default()
    }
}

const LIMITS: Limits<'_> = Limits { max_string_elements: 1 << 20, stop: &NEVER };

/// The raw elements of `x`.
fn raw(tensor: TensorProto) -> Result<Bytes> {
    let request = one(tensor)?;
    let input = &request.inputs[0];
    let signature = identity(Datatype::from_name(&input.datatype).unwrap(), input.shape.len());
    let counted = converted_bytes(&request);
    let prepared = prepare(&request, &signature, &LIMITS)?;
    let data = prepared.inputs.into_iter().next().flatten().unwrap().data.here()?;
    assert!(matches!(input.payload, Payload::Raw(_)) || counted == data.len(), "{counted} of {}", data.len());
    Ok(data)
}

fn refusal(tensor: TensorProto) -> String {
    let error = raw(tensor).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    error.message
}

#[test]
fn a_request_names_model_version_signature_and_outputs() {
    for (choice, version) in [
        (None, ""),
        (Some(VersionChoice::Version(Int64Value { value: 3 })), "3"),
        (Some(VersionChoice::Version(Int64Value { value: 0 })), "0"),
        (Some(VersionChoice::Version(Int64Value { value: -1 })), "-1"),
        (Some(VersionChoice::Label("stable".into())), "stable"),
    ] {
        for (signature, expected) in [("", None), ("serving_default", None), ("other", Some("other"))] {
            let request = PredictRequest {
                model_spec: spec("m", choice.clone(), signature),
                output_filter: vec!["b".into(), "a".into()],
                ..Default::default()
            };
            let decoded = decode(&request).unwrap();
            assert_eq!((&*decoded.model, &*decoded.version), ("m", version));
            assert_eq!(decoded.signature.as_deref(), expected);
            assert_eq!(decoded.outputs.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["b", "a"]);
        }
    }
}

#[test]
fn without_a_models_name_a_request_is_refused_in_their_words() {
    let unnamed = decode(&PredictRequest::default()).unwrap_err();
    assert_eq!((unnamed.code, &*unnamed.message), (ErrorCode::BadRequest, "Missing ModelSpec"));
    let empty = PredictRequest { model_spec: spec("", None, ""), ..Default::default() };
    assert_eq!(decode(&empty).unwrap_err().message, "ModelSpec has no name specified.");
}

#[test]
fn no_label_is_taken_for_a_number() {
    for label in ["", "1", "-1", "+1", "007"] {
        let choice = Some(VersionChoice::Label(label.into()));
        let request = PredictRequest { model_spec: spec("m", choice, ""), ..Default::default() };
        let error = decode(&request).unwrap_err();
        let expected = format!("Unrecognized servable version label: {label}");
        assert_eq!((error.code, error.message), (ErrorCode::BadRequest, expected));
    }
}

#[test]
fn content_is_a_slice_of_the_message_and_wins_over_values() {
    let content = Bytes::from(vec![0, 0, 128, 63, 0, 0, 0, 64]);
    let tensor = TensorProto { tensor_content: content.clone(), ..floats(&[2], vec![7.0]) };
    let message = Bytes::from(of(vec![entry("x", tensor)]).encode_to_vec());
    let request = decode_predict(&NEVER, message.clone()).unwrap();
    let Payload::Raw(raw) = &request.inputs[0].payload else { unreachable!() };
    assert_eq!(raw, &content);
    assert!(message.as_ptr_range().contains(&raw.as_ptr()));
}

#[test]
fn the_last_value_fills_up_and_without_any_there_are_zeros() {
    let le = |all: &[f32]| all.iter().flat_map(|one| one.to_le_bytes()).collect::<Vec<_>>();
    for (given, expected) in [
        (&[][..], [0.0; 5]),
        (&[2.0], [2.0; 5]),
        (&[1.0, 2.0], [1.0, 2.0, 2.0, 2.0, 2.0]),
        (&[1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0]),
    ] {
        assert_eq!(raw(floats(&[5], given.to_vec())).unwrap(), le(&expected));
    }
    assert_eq!(raw(floats(&[], vec![2.0])).unwrap(), le(&[2.0]));
    assert_eq!(raw(floats(&[0, 3], vec![])).unwrap(), le(&[]));
    assert_eq!(
        raw(TensorProto { dtype: 3, tensor_shape: shape(&[2]), ..Default::default() }).unwrap(),
        &[0; 8][..]
    );
    let found = raw(texts(&[2, 2], &["a", "long"])).unwrap();
    assert_eq!(elements(&found).collect::<Vec<_>>(), [&b"a"[..], b"long", b"long", b"long"]);
    assert_eq!(raw(texts(&[3], &[])).unwrap(), &[0; 12][..]);
}

#[test]
fn one_packed_run_of_floats_is_not_copied() {
    let message = Bytes::from(of(vec![entry("x", floats(&[2], vec![1.0, 2.0]))]).encode_to_vec());
    let request = decode_predict(&NEVER, message.clone()).unwrap();
    let prepared = prepare(&request, &identity(Datatype::Fp32, 1), &LIMITS).unwrap();
    let data = prepared.inputs[0].as_ref().unwrap().data.here().unwrap();
    assert!(message.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn fault_50_what_a_value_fills_is_counted_before_memory_is_taken() {
    let request = one(floats(&[1 << 20, 1 << 20], vec![1.0])).unwrap();
    assert_eq!(converted_bytes(&request), 4 << 40);
    let request = one(texts(&[1 << 20], &["a".repeat(1000).as_str()])).unwrap();
    assert_eq!(converted_bytes(&request), 1004 << 20);
    let request = one(texts(&[i64::MAX], &["aaaa"])).unwrap();
    assert_eq!(converted_bytes(&request), usize::MAX);
    for sizes in [&[i64::MAX, 3][..], &[1 << 62, 4], &[0, 1 << 62, 1 << 62], &[-1, 4], &[1; 64]] {
        let request = one(floats(sizes, vec![1.0])).unwrap();
        assert!(converted_bytes(&request) <= 4, "{sizes:?}");
        let refused = sizes.len() < 64;
        assert_eq!(prepare(&request, &identity(Datatype::Fp32, sizes.len()), &LIMITS).is_err(), refused);
    }
    assert!(one(floats(&[1; 65], vec![])).unwrap_err().message.contains("more than 64 dimensions"));
}

#[test]
fn fault_52_too_many_values_and_other_fields_are_refused() {
    assert!(refusal(floats(&[2], vec![0.0; 3])).contains("'x' has more values than the 2 elements"));
    assert!(refusal(texts(&[1], &["a", "b"])).contains("'x' has more values than the 1 elements"));
    let doubles = TensorProto { double_val: vec![1.0], ..floats(&[1], vec![]) };
    assert_eq!(
        refusal(doubles),
        "input 'x' of DT_FLOAT has values in double_val, expected them in float_val"
    );
    let beside = TensorProto { string_val: vec![Bytes::new()], ..floats(&[1], vec![1.0]) };
    assert!(refusal(beside).contains("has values in string_val"));
    let short = TensorProto { tensor_content: vec![0; 7].into(), ..floats(&[2], vec![]) };
    assert!(refusal(short).contains("Expected 8, got 7"));
    let text = TensorProto { tensor_content: vec![0; 4].into(), ..texts(&[1], &[]) };
    assert!(refusal(text).contains("DT_STRING in tensor_content, expected string_val"));
    let mut twice = of(vec![entry("x", floats(&[1], vec![1.0]))]).inputs[0].encode_to_vec();
    twice.extend([0x12, 0]);
    let message = [of(vec![]).encode_to_vec(), vec![0x12, twice.len() as u8], twice].concat();
    assert!(decode_predict(&NEVER, message.into()).unwrap_err().message.contains("more than one tensor"));
}

#[test]
fn fault_54_types_that_no_tensor_has_are_named() {
    for (dtype, name) in [(0, "DT_INVALID"), (8, "DT_COMPLEX64"), (24, "number 24"), (101, "DT_FLOAT_REF")] {
        let error = one(TensorProto { dtype, ..Default::default() }).unwrap_err();
        assert!(error.message.contains(&format!("'x' has the dtype {name},")), "{}", error.message);
    }
    let unknown = TensorProto {
        tensor_shape: Some(TensorShape { dim: vec![], unknown_rank: true }),
        ..floats(&[], vec![])
    };
    assert!(one(unknown).unwrap_err().message.contains("unknown rank"));
}

#[test]
fn fault_58_integers_that_do_not_fit_are_refused_not_wrapped() {
    for (dtype, bad) in
        [(6, 128), (6, -129), (5, 32768), (4, 256), (4, -1), (17, 65536), (19, 65536), (14, -1)]
    {
        let field = vec![0, bad];
        let (int_val, half_val) = if [14, 19].contains(&dtype) { (vec![], field) } else { (field, vec![]) };
        let tensor =
            TensorProto { dtype, tensor_shape: shape(&[2]), int_val, half_val, ..Default::default() };
        let text = refusal(tensor);
        assert!(text.contains("element 1 of input 'x' is out of range for DT_"), "{text}");
        assert!(text.ends_with(&format!(": {bad}")), "{text}");
    }
}

#[test]
fn fault_56_texts_that_are_not_utf8_are_refused() {
    let tensor = TensorProto { string_val: vec![Bytes::from_static(b"\xff")], ..texts(&[1], &[]) };
    assert!(refusal(tensor).contains("not valid UTF-8"));
}

fn refused(request: &InferRequest, signature: &Signature) -> Error {
    let error = prepare(request, signature, &LIMITS).unwrap_err();
    PredictResponse.refusal(error, request, Some(signature))
}

fn refused_text(inputs: &[&str], outputs: &[&str], signature: &Signature) -> String {
    let inputs = inputs.iter().map(|name| entry(name, floats(&[1], vec![1.0]))).collect();
    let output_filter = outputs.iter().map(|&name| name.into()).collect();
    let error = refused(&decode(&PredictRequest { output_filter, ..of(inputs) }).unwrap(), signature);
    assert_eq!(error.code, ErrorCode::BadRequest);
    error.message
}

#[test]
fn names_that_do_not_fit_are_refused_in_their_words() {
    let mut two = identity(Datatype::Fp32, 1);
    two.inputs = vec![tensor("a", Datatype::Fp32, &[-1]), tensor("b", Datatype::Fp32, &[-1])];
    two.left_out = vec![("map".into(), "the model gives it as a map".into())];
    for (inputs, outputs, words) in [
        (
            &["a"][..],
            &[][..],
            "input size does not match signature: 1!=2 len({a}) != len({a,b}). Sent extra: {}. \
             Missing but required: {b}.",
        ),
        (
            &["a", "b", "c"],
            &[],
            "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). Sent extra: {c}. \
             Missing but required: {}.",
        ),
        (
            &["a", "z"],
            &[],
            "input tensor alias not found in signature: z. Inputs expected to be in the set {a,b}.",
        ),
        (
            &["a", "b"],
            &["z"],
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        (&["a", "b"], &["y", "y"], "duplicate output tensor alias: y"),
    ] {
        assert_eq!(refused_text(inputs, outputs, &two), words);
    }
    assert!(refused_text(&["a", "b"], &["map"], &two).ends_with("the model gives it as a map"));
    assert!(refused_text(&["a", "b", "b"], &[], &two).contains("'b' already exists in request"));
    let many: Vec<String> = (0..4000).map(|i| format!("x{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refused_text(&many, &[], &two).len() < 1000);
}

#[test]
fn types_that_differ_are_called_as_their_clients_know_them() {
    assert_eq!(
        refused_text(&["x"], &[], &identity(Datatype::Int64, 1)),
        "input 'x' has the dtype DT_FLOAT, the model expects DT_INT64"
    );
    // What they have no words for is told in ours.
    assert!(
        refused_text(&["x"], &[], &identity(Datatype::Fp32, 2)).contains("unexpected shape for input 'x'")
    );
}

#[test]
fn inputs_with_a_default_may_be_left_out() {
    let mut signature = identity(Datatype::Fp32, 1);
    signature.inputs.push(TensorSpec { optional: true, ..tensor("k", Datatype::Fp32, &[-1]) });
    assert!(prepare(&one(floats(&[1], vec![1.0])).unwrap(), &signature, &LIMITS).is_ok());
    assert!(refused_text(&["k"], &[], &signature).contains("1!=2 len({k}) != len({k,x})"));
}

#[test]
fn another_signature_is_a_failed_precondition() {
    let request = PredictRequest { model_spec: spec("m", None, "other"), ..of(vec![]) };
    let error = refused(&decode(&request).unwrap(), &identity(Datatype::Fp32, 1));
    let expected = "Serving signature key \"other\" not found.";
    assert_eq!((error.code, &*error.message), (ErrorCode::FailedPrecondition, expected));
}

#[test]
fn what_is_not_served_is_told_in_their_words() {
    let told = |version: &str, error| {
        let request = InferRequest { model: "m".into(), version: version.into(), ..Default::default() };
        let error = PredictResponse.refusal(error, &request, None);
        (error.code, error.message)
    };
    let reworded = |version: &str, code| told(version, Error::new(code, "why"));
    let unknown =
        |asked: &str| (ErrorCode::NotFound, format!("Servable not found for request: {asked}: why"));
    assert_eq!(reworded("", ErrorCode::NotFound), unknown("Latest(m)"));
    assert_eq!(reworded("7", ErrorCode::NotFound), unknown("Specific(m, 7)"));
    assert_eq!(reworded("-1", ErrorCode::BadRequest), unknown("Specific(m, -1)"));
    let label = "Unrecognized servable version label: stable".to_owned();
    for code in [ErrorCode::BadRequest, ErrorCode::NotFound] {
        assert_eq!(
            reworded("stable", code),
            (ErrorCode::BadRequest, label.clone()),
            "there is no such label"
        );
    }
    let gone = Error { led_to: Some(7), ..Error::new(ErrorCode::NotFound, "why") };
    assert_eq!(told("stable", gone), unknown("Specific(m, 7)"), "as if it had been named by number");
    assert_eq!(reworded("", ErrorCode::Unavailable), (ErrorCode::Unavailable, "why".into()));
}

fn boundless() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

fn answered(outputs: &[OutputTensor<'_>], version: &str) -> Answer {
    let head = AnswerHead { model: "m", version, id: Some("not told"), asked: None };
    let answer = PredictResponse.encode(Encoding::Identity, &head, outputs, &boundless()).unwrap();
    let message = answer.body.slice(FRAME..);
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    assert_eq!((answer.body[0], &answer.body[1..FRAME]), (0, &length[..]));
    Answer::decode(message).unwrap()
}

#[test]
fn an_answer_names_the_version_and_the_signature() {
    let version = Some(VersionChoice::Version(Int64Value { value: 1_700_000_000 }));
    assert_eq!(answered(&[], "1700000000").model_spec, spec("m", version, "serving_default"));
}

#[test]
fn texts_go_out_as_string_val() {
    let mut data = Vec::new();
    ["", "plain", "a\0b"].iter().for_each(|text| push(&mut data, text.as_bytes()));
    let shape = Shape::from_slice(&[3, 1]);
    let output = OutputTensor {
        name: "y",
        datatype: Datatype::Bytes,
        shape,
        data: &data,
        binary: false,
        placed: false,
    };
    assert_eq!(answered(&[output], "1").outputs, [entry("y", texts(&[3, 1], &["", "plain", "a\0b"]))]);
}

#[test]
fn an_answer_over_the_limit_is_refused_before_it_is_written() {
    let data = vec![1; 1000];
    let output = OutputTensor {
        name: "y",
        datatype: Datatype::Uint8,
        shape: Shape::from_slice(&[1000]),
        data: &data,
        binary: false,
        placed: false,
    };
    let head = AnswerHead { model: "m", version: "1", id: None, asked: None };
    let of = Budget::of_messages(usize::MAX, 1000).reserve();
    let error = PredictResponse.encode(Encoding::Identity, &head, &[output], &of).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
}

fn tensors() -> impl Strategy<Value = Vec<(String, Vec<i64>, Vec<u8>)>> {
    prop::collection::vec((".{0,8}", prop::collection::vec(any::<i64>(), 0..5), any::<Vec<u8>>()), 0..4)
}

/// Of each typed field, the tensor that has it and what its elements are.
fn typed(values: &[u64]) -> Vec<(TensorProto, Vec<u8>)> {
    let sizes = [i64::try_from(values.len()).unwrap()];
    let of = |dtype| TensorProto { dtype, tensor_shape: shape(&sizes), ..Default::default() };
    fn le<const N: usize>(elements: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
        elements.flatten().collect()
    }
    let all = || values.iter().copied();
    vec![
        (
            TensorProto { float_val: all().map(|v| v as f32).collect(), ..of(1) },
            le(all().map(|v| (v as f32).to_le_bytes())),
        ),
        (
            TensorProto { double_val: all().map(|v| v as f64).collect(), ..of(2) },
            le(all().map(|v| (v as f64).to_le_bytes())),
        ),
        (
            TensorProto { int_val: all().map(|v| v as i32).collect(), ..of(3) },
            le(all().map(|v| (v as i32).to_le_bytes())),
        ),
        (
            TensorProto { int_val: all().map(|v| i32::from(v as u8)).collect(), ..of(4) },
            le(all().map(|v| (v as u8).to_le_bytes())),
        ),
        (
            TensorProto { int_val: all().map(|v| i32::from(v as i16)).collect(), ..of(5) },
            le(all().map(|v| (v as i16).to_le_bytes())),
        ),
        (
            TensorProto { int_val: all().map(|v| i32::from(v as i8)).collect(), ..of(6) },
            le(all().map(|v| (v as i8).to_le_bytes())),
        ),
        (
            TensorProto { int64_val: all().map(|v| v as i64).collect(), ..of(9) },
            le(all().map(u64::to_le_bytes)),
        ),
        (
            TensorProto { bool_val: all().map(|v| v % 2 == 1).collect(), ..of(10) },
            le(all().map(|v| [(v % 2) as u8])),
        ),
        (
            TensorProto { half_val: all().map(|v| i32::from(v as u16)).collect(), ..of(14) },
            le(all().map(|v| (v as u16).to_le_bytes())),
        ),
        (
            TensorProto { int_val: all().map(|v| i32::from(v as u16)).collect(), ..of(17) },
            le(all().map(|v| (v as u16).to_le_bytes())),
        ),
        (
            TensorProto { half_val: all().map(|v| i32::from(v as u16)).collect(), ..of(19) },
            le(all().map(|v| (v as u16).to_le_bytes())),
        ),
        (
            TensorProto { uint32_val: all().map(|v| v as u32).collect(), ..of(22) },
            le(all().map(|v| (v as u32).to_le_bytes())),
        ),
        (TensorProto { uint64_val: all().collect(), ..of(23) }, le(all().map(u64::to_le_bytes))),
    ]
}

/// What both read of a message: `None` where ours refuses it.
fn read(message: &[u8]) -> Option<(InferRequest, Vec<Bytes>)> {
    let request = decode_predict(&NEVER, Bytes::copy_from_slice(message)).ok()?;
    let values = request.inputs.iter().map(|input| match &input.payload {
        Payload::Values { message, size } if *size < 1 << 20 => {
            let datatype = Datatype::from_name(&input.datatype).unwrap();
            let count = crate::tensor::elements("x", &input.shape).ok()?;
            values_to_raw("x", datatype, message, count, &NEVER).ok()
        }
        Payload::Raw(raw) => Some(raw.clone()),
        _ => None,
    });
    let values = values.collect::<Option<_>>()?;
    Some((request, values))
}

/// What ours takes prost takes too, and reads in the same way.
fn held_against_prost(message: &[u8]) {
    let Some((request, values)) = read(message) else { return };
    let twin = PredictRequest::decode(message).unwrap();
    let spec = twin.model_spec.unwrap();
    assert_eq!(&*request.model, &*spec.name);
    let version = match spec.version_choice {
        None => String::new(),
        Some(VersionChoice::Version(number)) => number.value.to_string(),
        Some(VersionChoice::Label(label)) => label,
    };
    assert_eq!(request.version, version);
    let signature = Some(spec.signature_name).filter(|name| !["", "serving_default"].contains(&&**name));
    assert_eq!(request.signature.as_deref(), signature.as_deref());
    assert_eq!(
        request.outputs.iter().map(|one| &one.name).collect::<Vec<_>>(),
        twin.output_filter.iter().collect::<Vec<_>>()
    );
    assert_eq!(request.inputs.len(), twin.inputs.len());
    for ((input, raw), Entry { key, value }) in request.inputs.iter().zip(values).zip(twin.inputs) {
        let value = value.unwrap();
        assert_eq!(input.name, key);
        let sizes: Vec<_> =
            value.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| dim.size).collect();
        assert_eq!(input.shape.as_slice(), sizes);
        if !value.tensor_content.is_empty() {
            assert_eq!(raw, value.tensor_content);
        } else if input.datatype == "FP32" {
            let count = sizes.iter().product::<i64>() as usize;
            let last = value.float_val.last().copied().unwrap_or_default();
            let padded = value.float_val.iter().copied().chain(std::iter::repeat(last)).take(count);
            assert_eq!(raw, padded.flat_map(f32::to_le_bytes).collect::<Vec<_>>());
        }
    }
}

proptest! {
    #[test]
    fn every_typed_field_is_what_its_content_would_be(values in prop::collection::vec(any::<u64>(), 0..20)) {
        for (tensor, expected) in typed(&values) {
            let content = TensorProto {
                dtype: tensor.dtype, tensor_shape: tensor.tensor_shape.clone(),
                tensor_content: expected.clone().into(), ..Default::default()
            };
            prop_assert_eq!(raw(tensor.clone()).unwrap(), &expected);
            prop_assert_eq!(raw(content).unwrap(), &expected);
        }
    }

    #[test]
    fn values_one_by_one_and_in_several_runs_are_read_too(a: Vec<i32>, b: Vec<i32>) {
        let all: Vec<i32> = a.iter().chain(&b).copied().collect();
        let count = i64::try_from(all.len()).unwrap();
        let unpacked = UnpackedValues {
            float_val: a.iter().map(|&v| v as f32).collect(), int_val: a.clone(), int64_val: a.iter().map(|&v| v.into()).collect(),
        };
        for (number, dtype, packed, expected) in [
            (5, 1, TensorProto { float_val: b.iter().map(|&v| v as f32).collect(), ..Default::default() },
             all.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect::<Vec<_>>()),
            (7, 3, TensorProto { int_val: b.clone(), ..Default::default() },
             all.iter().flat_map(|&v| v.to_le_bytes()).collect()),
            (10, 9, TensorProto { int64_val: b.iter().map(|&v| v.into()).collect(), ..Default::default() },
             all.iter().flat_map(|&v| i64::from(v).to_le_bytes()).collect()),
        ] {
            let one = match number {
                5 => UnpackedValues { float_val: unpacked.float_val.clone(), ..Default::default() },
                7 => UnpackedValues { int_val: unpacked.int_val.clone(), ..Default::default() },
                _ => UnpackedValues { int64_val: unpacked.int64_val.clone(), ..Default::default() },
            };
            let message = [one.encode_to_vec(), packed.encode_to_vec()].concat();
            let datatype = types::datatype(dtype).unwrap();
            let found = values_to_raw("x", datatype, &message.into(), usize::try_from(count).unwrap(), &NEVER);
            prop_assert_eq!(found.unwrap(), expected);
        }
    }

    #[test]
    fn answers_read_back_with_prost(tensors in tensors(), version: u32) {
        let outputs: Vec<OutputTensor> = tensors.iter().map(|(name, shape, data)| OutputTensor {
            name, datatype: Datatype::Uint8, shape: shape.as_slice().into(), data, binary: false, placed: false,
        }).collect();
        let answer = answered(&outputs, &version.to_string());
        let expected: Vec<_> = tensors.iter().map(|(name, sizes, data)| entry(name, TensorProto {
            dtype: 4, tensor_shape: shape(sizes), tensor_content: data.clone().into(), ..Default::default()
        })).collect();
        prop_assert_eq!(answer.outputs, expected);
    }

    #[test]
    fn fault_47_any_bytes_end(bytes: Vec<u8>) {
        held_against_prost(&bytes);
    }

    #[test]
    fn fault_47_damaged_requests_end_and_what_is_taken_is_what_prost_reads(at in 0usize..200, byte: u8, cut in 0usize..16) {
        let message = PredictRequest {
            model_spec: spec("m", Some(VersionChoice::Version(Int64Value { value: 3 })), "serving_default"),
            inputs: vec![
                entry("x", floats(&[2, 2], vec![1.0, 2.0, 3.0])),
                entry("y", TensorProto { tensor_content: vec![1; 8].into(), ..floats(&[2], vec![]) }),
                entry("z", texts(&[3], &["a", "bc"])),
            ],
            output_filter: vec!["y".into()],
        };
        let mut encoded = message.encode_to_vec();
        held_against_prost(&encoded);
        encoded.truncate(encoded.len() - cut);
        if let Some(target) = encoded.get_mut(at) {
            *target = byte;
        }
        held_against_prost(&encoded);
    }
}
