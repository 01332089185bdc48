use super::*;
use crate::admission::{Budget, Reservation};
use crate::codec::answer::Encode;
use crate::codec::compression::Encoding;
use crate::codec::oracle::{
    BoolResponse, InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelRef,
    ModelStreamInferResponse, ParameterChoice, RequestedOutput as Wanted, Tensor,
};
use crate::codec::place::Place;
use crate::codec::{AnswerHead, InferRequest, OutputTensor, Payload};
use crate::error::{Error, ErrorCode, Result};
use crate::stats::Why;
use crate::stop::NEVER;
use crate::tensor::Datatype;
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use std::collections::HashMap;

fn decode(request: &ModelInferRequest) -> Result<InferRequest> {
    decode_infer(&NEVER, request.encode_to_vec().into())
}

fn boundless() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

fn refusal(request: &ModelInferRequest) -> Error {
    decode(request).unwrap_err()
}

fn named(name: &str) -> Tensor {
    Tensor { name: name.into(), datatype: "FP32".into(), shape: vec![1, 2], ..Default::default() }
}

fn with_inputs(inputs: Vec<Tensor>, raw: usize) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "m".into(),
        inputs,
        raw_input_contents: vec![Bytes::from_static(&[0; 8]); raw],
        ..Default::default()
    }
}

fn with_parameter(key: &str, choice: ParameterChoice) -> ModelInferRequest {
    ModelInferRequest { parameters: [(key.into(), choice.into())].into(), ..Default::default() }
}

#[test]
fn raw_data_is_a_slice_of_the_message() {
    let encoded = Bytes::from(with_inputs(vec![named("x")], 1).encode_to_vec());
    let request = decode_infer(&NEVER, encoded.clone()).unwrap();
    let Payload::Raw(data) = &request.inputs[0].payload else { panic!("not raw") };
    let message = encoded.as_ptr_range();
    assert!(message.contains(&data.as_ptr()));
    assert_eq!(data.len(), 8);
}

#[test]
fn fault_52_contents_beside_raw_are_refused_in_tritons_words() {
    let mut typed = named("b");
    typed.contents = Some(InferTensorContents::default());
    assert_eq!(
        refusal(&with_inputs(vec![named("a"), typed], 2)).message,
        "contents field must not be specified when using raw_input_contents for 'b' for model 'm'"
    );
}

#[test]
fn fault_52_too_few_and_surplus_raw_entries_are_refused() {
    assert_eq!(
        refusal(&with_inputs(vec![named("a"), named("b")], 1)).message,
        "unable to find data for input tensor 'b' for model 'm' in request."
    );
    assert!(refusal(&with_inputs(vec![named("a")], 3)).message.ends_with("expected 1 entries, got 3"));
}

#[test]
fn an_input_without_any_data_is_left_to_the_model() {
    let request = decode(&with_inputs(vec![named("a")], 0)).unwrap();
    assert!(matches!(request.inputs[0].payload, Payload::Missing));
}

#[test]
fn fault_51_ten_thousand_dims_are_refused_before_they_are_stored() {
    let mut input = named("a");
    input.shape = vec![1; 10_000];
    assert!(refusal(&with_inputs(vec![input], 0)).message.contains("more than 64 dimensions"));
}

#[test]
fn a_flood_of_two_byte_inputs_is_refused() {
    let flood = [0x2a, 0].repeat(100_000);
    assert!(decode_infer(&NEVER, flood.into()).unwrap_err().message.contains("more than 4096 inputs"));
    let flood = [0x3a, 0].repeat(100_000);
    assert!(
        decode_infer(&NEVER, flood.into()).unwrap_err().message.contains("more than 4096 raw_input_contents")
    );
    let contents = [0x2a, 0].repeat(1000);
    let mut nested = vec![0x2a, 0xd0, 0x0f];
    nested.extend(contents);
    assert!(decode_infer(&NEVER, nested.into()).unwrap_err().message.contains("too many contents"));
}

#[test]
fn fault_47_malformed_messages_are_bad_requests() {
    for bad in [&b"\xff\xff\xff"[..], b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x08\x01", b"\x2a\x03\x0a\x05a"] {
        assert_eq!(
            decode_infer(&NEVER, Bytes::copy_from_slice(bad)).unwrap_err().code,
            ErrorCode::BadRequest,
            "{bad:?}"
        );
    }
    assert!(decode_infer(&NEVER, vec![0x0b; 100_000].into()).is_err());
}

#[test]
fn timeout_and_priority_are_read_with_their_types() {
    let request = decode(&with_parameter("timeout", ParameterChoice::Int64(7))).unwrap();
    assert_eq!(request.timeout_us, 7);
    assert_eq!(
        refusal(&with_parameter("timeout", ParameterChoice::Uint64(7))).message,
        "invalid value type for 'timeout' parameter, expected int64_param."
    );
    assert_eq!(decode(&with_parameter("priority", ParameterChoice::Uint64(3))).unwrap().priority, 3);
    assert_eq!(decode(&with_parameter("priority", ParameterChoice::Int64(3))).unwrap().priority, 3);
    for key in ["timeout", "priority"] {
        assert!(refusal(&with_parameter(key, ParameterChoice::Int64(-1))).message.contains("negative"));
        assert_eq!(
            refusal(&with_parameter(key, ParameterChoice::String("1".into()))).code,
            ErrorCode::BadRequest
        );
        assert_eq!(refusal(&with_parameter(key, ParameterChoice::Double(1.0))).code, ErrorCode::BadRequest);
    }
}

#[test]
fn free_parameters_pass_and_reserved_ones_do_not() {
    for choice in [ParameterChoice::Bool(true), ParameterChoice::Uint64(1), ParameterChoice::Double(0.5)] {
        decode(&with_parameter("anything", choice)).unwrap();
    }
    decode(&with_parameter("triton_enable_empty_final_response", ParameterChoice::Bool(true))).unwrap();
    let error = refusal(&with_parameter("triton_x", ParameterChoice::Bool(true)));
    assert!(error.message.contains("parameter keys starting with 'triton_' are reserved"));
    assert_eq!(error.code, ErrorCode::BadRequest);
}

#[test]
fn what_is_not_built_is_said_to_be() {
    for key in ["sequence_id", "sequence_start", "sequence_end"] {
        assert_eq!(refusal(&with_parameter(key, ParameterChoice::Int64(1))).code, ErrorCode::Unimplemented);
    }
    decode(&with_parameter("sequence_id", ParameterChoice::Int64(0))).unwrap();
}

fn with_output<const N: usize>(parameters: [(&str, ParameterChoice); N]) -> ModelInferRequest {
    let parameters = parameters.map(|(key, value)| (key.to_owned(), InferParameter::from(value)));
    let output = Wanted { name: "y".into(), parameters: parameters.into() };
    ModelInferRequest { outputs: vec![output], ..Default::default() }
}

#[test]
fn classes_are_a_number_of_elements() {
    for (sent, count) in [(3, 3), (0, 0), (i64::MAX, i64::MAX as usize)] {
        let request = with_output([("classification", ParameterChoice::Int64(sent))]);
        assert_eq!(decode(&request).unwrap().outputs[0].classes, count);
    }
    for wrong in [ParameterChoice::Int64(-1), ParameterChoice::Bool(true), ParameterChoice::Uint64(3)] {
        let error = refusal(&with_output([("classification", wrong)]));
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains("'classification'"), "{}", error.message);
    }
    let region = ("shared_memory_region", ParameterChoice::String("r".into()));
    let size = ("shared_memory_byte_size", ParameterChoice::Int64(4));
    let error = refusal(&with_output([("classification", ParameterChoice::Int64(1)), region, size]));
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("'y' with parameter 'classification'"), "{}", error.message);
}

fn place_of(choices: Vec<(&str, ParameterChoice)>) -> HashMap<String, InferParameter> {
    choices.into_iter().map(|(key, choice)| (key.to_owned(), choice.into())).collect()
}

fn in_region(size: ParameterChoice) -> HashMap<String, InferParameter> {
    place_of(vec![
        ("shared_memory_region", ParameterChoice::String("r".into())),
        ("shared_memory_byte_size", size),
        ("shared_memory_offset", ParameterChoice::Int64(4)),
    ])
}

#[test]
fn tensors_in_shared_memory_bring_no_data() {
    let mut shared = named("a");
    shared.parameters = in_region(ParameterChoice::Int64(8));
    let mut request = with_inputs(vec![shared.clone(), named("b"), shared.clone()], 1);
    let parameters = in_region(ParameterChoice::Uint64(u64::MAX));
    request.outputs = vec![Wanted { name: "y".into(), parameters }, Wanted::default()];
    let decoded = decode(&request).unwrap();
    let place = |byte_size| Place { region: "r".into(), offset: 4, byte_size };
    for input in [0, 2] {
        let Payload::Shared(found) = &decoded.inputs[input].payload else { panic!("not shared") };
        assert_eq!(*found, place(8));
    }
    assert!(matches!(decoded.inputs[1].payload, Payload::Raw(_)));
    assert_eq!(decoded.outputs[0].place, Some(place(u64::MAX)));
    assert_eq!(decoded.outputs[1].place, None);
    assert!(decoded.uses_shared_memory());
    request.raw_input_contents.push(Bytes::new());
    assert!(refusal(&request).message.ends_with("expected 1 entries, got 2"));
    shared.contents = Some(InferTensorContents::default());
    let words = refusal(&with_inputs(vec![shared], 0)).message;
    assert_eq!(words, "contents field must not be specified when using shared memory for input 'a'");
}

#[test]
fn places_of_another_type_are_refused() {
    for (choices, words) in [
        (vec![("shared_memory_region", ParameterChoice::Int64(1))], "expected string_param"),
        (vec![("shared_memory_offset", ParameterChoice::Int64(-1))], "must not be negative, got -1"),
        (vec![("shared_memory_byte_size", ParameterChoice::Double(1.0))], "expected int64_param"),
        (vec![("shared_memory_byte_size", ParameterChoice::Int64(1))], "can not be specified without"),
        (vec![("shared_memory_region", ParameterChoice::String("r".into()))], "must be specified along"),
        (vec![("shared_memory_region", ParameterChoice::String("r".repeat(1025)))], "at most 1024"),
    ] {
        let mut input = named("a");
        input.parameters = place_of(choices);
        let error = refusal(&with_inputs(vec![input], 0));
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains(words), "{error}");
    }
}

fn unframe(framed: &[u8]) -> &[u8] {
    let (head, message) = framed.split_at(5);
    assert_eq!(head[0], 0);
    assert_eq!(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize, message.len());
    message
}

#[test]
fn small_answers_are_what_prost_writes() {
    for value in [false, true] {
        assert_eq!(BoolResponse::decode(encode_bool(value)).unwrap().value, value);
    }
    let model = ModelRef { name: "m".into(), version: "3".into() };
    assert_eq!(decode_model_ref(model.encode_to_vec().into()).unwrap(), ("m".into(), "3".into()));
    assert_eq!(decode_model_ref(Bytes::new()).unwrap(), (String::new(), String::new()));
    assert!(decode_model_ref(Bytes::from_static(b"\x0a\x01\xff")).is_err());
}

#[test]
fn a_stream_error_holds_the_message_and_the_id() {
    let framed = encode_stream_error(
        "no such model",
        &AnswerHead { model: "m", version: "", id: Some("7"), asked: None },
        Some(Why::Forced),
        true,
    );
    let answer = ModelStreamInferResponse::decode(unframe(&framed)).unwrap();
    assert_eq!(answer.error_message, "no such model");
    let inner = answer.infer_response.unwrap();
    assert_eq!((inner.id.as_str(), inner.model_name.as_str(), inner.model_version.as_str()), ("7", "m", ""));
    let told = inner.parameters["x-model-route"].parameter_choice.clone();
    assert_eq!(told, Some(ParameterChoice::String("forced".to_owned())));
    let bare =
        encode_stream_error("x", &AnswerHead { model: "", version: "", id: None, asked: None }, None, true);
    assert!(ModelStreamInferResponse::decode(unframe(&bare)).unwrap().infer_response.is_some());
}

#[test]
fn fault_103_ids_and_names_are_short() {
    let named = |id: usize, name: usize, model: usize| ModelInferRequest {
        id: "i".repeat(id),
        model_name: "m".repeat(model),
        ..with_inputs(vec![named(&"x".repeat(name))], 0)
    };
    decode(&named(128, 1024, 255)).unwrap();
    for (long, text) in [
        (named(129, 1, 1), "the request's id has 129 bytes, at most 128 are accepted"),
        (named(1, 1025, 1), "an input's name has 1025 bytes, at most 1024 are accepted"),
        (named(1, 1, 256), "the model's name has 256 bytes, at most 255 are accepted"),
    ] {
        assert_eq!(refusal(&long).message, text);
    }
}

#[test]
fn fault_103_a_flood_of_empty_inputs_counts_what_it_becomes() {
    let request = decode(&with_inputs(vec![named("x"); 4096], 0)).unwrap();
    assert!(request.owned_bytes() > 4096 * size_of::<crate::codec::InputTensor>());
}

#[test]
fn fault_102_an_answer_is_counted_until_it_is_dropped() {
    let data = vec![1; 100_000];
    let outputs = [OutputTensor {
        name: "y",
        datatype: Datatype::Uint8,
        shape: [100_000].as_slice().into(),
        data: &data,
        binary: false,
        placed: false,
    }];
    let head = AnswerHead { model: "m", version: "1", id: None, asked: None };
    let budget = Budget::of_messages(150_000, 200_000);
    let of = budget.reserve();
    let answer = encode_stream_infer(&head, &outputs, (true, None), true, &of).unwrap();
    assert_eq!(budget.used(), answer.len());
    assert_eq!(encode_infer(&head, &outputs, true, &of).unwrap_err().code, ErrorCode::Full);
    drop(answer);
    assert_eq!(budget.used(), 0);
}

fn whys() -> impl Strategy<Value = Option<Why>> {
    prop::option::of(prop::sample::select(&Why::ALL[..]))
}

#[test]
fn on_a_stream_each_answer_says_why() {
    static FORM: super::ModelStreamInferResponse = super::ModelStreamInferResponse { why: None };
    let encode = Encode { form: &FORM, encoding: Encoding::Identity };
    let head = AnswerHead { model: "m", version: "1", id: None, asked: None };
    for why in Why::ALL {
        let framed = encode.told(Some(why)).outputs(&head, &[], &boundless()).unwrap().body;
        let answer = ModelStreamInferResponse::decode(unframe(&framed)).unwrap().infer_response.unwrap();
        let told = answer.parameters["x-model-route"].parameter_choice.clone();
        assert_eq!(told, Some(ParameterChoice::String(why.name().to_owned())));
    }
}

fn tensors() -> impl Strategy<Value = Vec<(String, Vec<i64>, Vec<u8>)>> {
    prop::collection::vec((".{0,8}", prop::collection::vec(any::<i64>(), 0..5), any::<Vec<u8>>()), 0..4)
}

proptest! {
    #[test]
    fn answers_read_back_with_prost(tensors in tensors(), model in ".{0,20}", version in "[0-9]{0,3}", id: Option<String>, last: bool, why in whys()) {
        let outputs: Vec<OutputTensor> = tensors.iter().map(|(name, shape, data)| OutputTensor {
            name, datatype: Datatype::Fp32, shape: shape.as_slice().into(), data, binary: false, placed: false,
        }).collect();
        let head = AnswerHead { model: &model, version: &version, id: id.as_deref(), asked: None };
        let plain = encode_infer(&head, &outputs, false, &boundless()).unwrap();
        let within = |limit| encode_infer(&head, &outputs, false, &Budget::of_messages(usize::MAX, limit).reserve());
        prop_assert_eq!(within(plain.len()).unwrap(), &plain);
        prop_assert!(plain.is_empty() || within(plain.len() - 1).unwrap_err().code == ErrorCode::TooLarge);
        let framed = encode_infer(&head, &outputs, true, &boundless()).unwrap();
        prop_assert_eq!(unframe(&framed), &plain[..]);
        let answer = ModelInferResponse::decode(plain).unwrap();
        prop_assert_eq!(&answer.model_name, &model);
        prop_assert_eq!(&answer.model_version, &version);
        prop_assert_eq!(&answer.id, id.as_deref().unwrap_or_default());
        prop_assert_eq!(answer.outputs.len(), tensors.len());
        prop_assert_eq!(answer.raw_output_contents.len(), tensors.len());
        for ((output, raw), (name, shape, data)) in answer.outputs.iter().zip(&answer.raw_output_contents).zip(&tensors) {
            prop_assert_eq!(&output.name, name);
            prop_assert_eq!(&output.shape, shape);
            prop_assert_eq!(output.datatype.as_str(), "FP32");
            prop_assert_eq!(raw, data);
        }
        let streamed = ModelStreamInferResponse::decode(unframe(&encode_stream_infer(&head, &outputs, (last, why), true, &boundless()).unwrap())).unwrap();
        let mut inner = streamed.infer_response.unwrap();
        let parameter = inner.parameters.remove("triton_final_response").unwrap();
        prop_assert_eq!(parameter.parameter_choice, Some(ParameterChoice::Bool(last)));
        let told = inner.parameters.remove("x-model-route").and_then(|found| found.parameter_choice);
        prop_assert_eq!(told, why.map(|why| ParameterChoice::String(why.name().to_owned())));
        prop_assert_eq!(inner, answer);
    }

    #[test]
    fn requests_of_prost_are_read(tensors in tensors(), id: String, outputs: Vec<String>, typed: bool) {
        let message = ModelInferRequest {
            model_name: "m".into(),
            model_version: "2".into(),
            id: id.clone(),
            inputs: tensors.iter().map(|(name, shape, _)| Tensor {
                name: name.clone(), datatype: "INT8".into(), shape: shape.clone(),
                contents: typed.then(InferTensorContents::default), ..Default::default()
            }).collect(),
            outputs: outputs.iter().map(|name| Wanted { name: name.clone(), ..Default::default() }).collect(),
            raw_input_contents: if typed { vec![] } else { tensors.iter().map(|(_, _, data)| data.clone().into()).collect() },
            ..Default::default()
        };
        let request = decode(&message).unwrap();
        prop_assert_eq!((&*request.model, request.version.as_str()), ("m", "2"));
        prop_assert_eq!(request.id.as_deref().unwrap_or_default(), id);
        prop_assert_eq!(request.outputs.into_iter().map(|o| o.name).collect::<Vec<_>>(), outputs);
        for (input, (name, shape, data)) in request.inputs.iter().zip(&tensors) {
            prop_assert_eq!(&input.name, name);
            prop_assert_eq!(input.shape.as_slice(), shape.as_slice());
            match &input.payload {
                Payload::Raw(raw) => prop_assert_eq!(raw, data),
                Payload::Typed(parts) => prop_assert!(typed && parts.len() == 1),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn fault_47_any_bytes_end(bytes: Vec<u8>) {
        let _ = decode_infer(&NEVER, bytes.clone().into());
        let _ = decode_model_ref(bytes.into());
    }

    #[test]
    fn fault_47_damaged_requests_end(at in 0usize..200, byte: u8, cut in 0usize..200) {
        let mut typed = named("a");
        typed.contents = Some(InferTensorContents { fp32_contents: vec![1.0; 8], ..Default::default() });
        let mut message = with_parameter("timeout", ParameterChoice::Int64(5));
        message.inputs = vec![typed, named("b")];
        let mut encoded = message.encode_to_vec();
        encoded.truncate(encoded.len().saturating_sub(cut % 16));
        if let Some(target) = encoded.get_mut(at) {
            *target = byte;
        }
        let _ = decode_infer(&NEVER, encoded.into());
    }
}
