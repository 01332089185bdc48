use super::*;
use crate::codec::RequestedOutput;
use crate::error::ErrorCode;
use crate::stop::NEVER;
use crate::tensor::TensorSpec;

const LIMITS: Limits<'static> = Limits { max_string_elements: 100, stop: &NEVER };

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
        optional: false,
        described: None,
        labels: None,
    }
}

fn model(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
    Signature {
        inputs: inputs.iter().map(|(name, datatype, shape)| spec(name, *datatype, shape)).collect(),
        outputs: vec![spec("y", Datatype::Fp32, &[-1]), spec("z", Datatype::Fp32, &[-1])],
        left_out: vec![("p".into(), "it is a map".into())],
        ..Signature::default()
    }
}

fn raw(name: &str, datatype: &str, shape: &[i64], data: &[u8]) -> InputTensor {
    let payload = Payload::Raw(Bytes::copy_from_slice(data));
    InputTensor { name: name.into(), datatype: datatype.into(), shape: shape.into(), payload }
}

fn request(inputs: Vec<InputTensor>) -> InferRequest {
    InferRequest { model: "m".into(), inputs, ..Default::default() }
}

fn refusal(inputs: Vec<InputTensor>, signature: &Signature, limits: &Limits) -> String {
    let error = prepare(&request(inputs), signature, limits).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    error.message
}

fn xy() -> Signature {
    model(&[("a", Datatype::Fp32, &[-1, 2]), ("b", Datatype::Int8, &[-1])])
}

#[test]
fn inputs_come_out_in_the_order_of_the_signature() {
    let sent = request(vec![raw("b", "INT8", &[3], &[1, 2, 3]), raw("a", "FP32", &[1, 2], &[0; 8])]);
    let prepared = prepare(&sent, &xy(), &LIMITS).unwrap();
    assert_eq!(prepared.bytes, 11);
    assert_eq!(prepared.inputs[0].as_ref().unwrap().shape.as_slice(), [1, 2]);
    assert_eq!(prepared.inputs[1].as_ref().unwrap().data.here().unwrap(), [1, 2, 3][..]);
    assert_eq!(prepared.outputs, [wanted(0, false), wanted(1, false)]);
}

#[test]
fn fault_53_unknown_duplicate_and_missing_inputs_are_named() {
    let a = || raw("a", "FP32", &[1, 2], &[0; 8]);
    let b = || raw("b", "INT8", &[1], &[0]);
    let c = raw("c", "INT8", &[1], &[0]);
    assert_eq!(
        refusal(vec![a(), b(), c], &xy(), &LIMITS),
        "unexpected inference input 'c' for model 'm'; its inputs: 'a', 'b'"
    );
    assert_eq!(refusal(vec![a(), b(), a()], &xy(), &LIMITS), "input 'a' already exists in request");
    assert_eq!(
        refusal(vec![a()], &xy(), &LIMITS),
        "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing required input(s) ['b']. \
         Please provide all required input(s)."
    );
}

#[test]
fn optional_inputs_may_be_absent_and_required_ones_may_not() {
    let mut signature = xy();
    signature.inputs[1].optional = true;
    let sent = request(vec![raw("a", "FP32", &[1, 2], &[0; 8])]);
    let prepared = prepare(&sent, &signature, &LIMITS).unwrap();
    assert!(prepared.inputs[0].is_some() && prepared.inputs[1].is_none());
    let text = refusal(vec![], &signature, &LIMITS);
    assert!(text.starts_with("expected number of inputs between 1 and 2 but got 0 inputs"), "{text}");
}

fn wanted(place: usize, binary: bool) -> WantedOutput {
    WantedOutput { place, binary, classes: 0 }
}

fn asked(outputs: &[(&str, Option<bool>)], binary_output: bool) -> Result<Vec<WantedOutput>> {
    let mut sent = request(vec![raw("x", "INT8", &[1], &[0])]);
    sent.binary_output = binary_output;
    sent.outputs = outputs
        .iter()
        .map(|(name, binary)| RequestedOutput { name: (*name).into(), binary: *binary, ..Default::default() })
        .collect();
    Ok(prepare(&sent, &model(&[("x", Datatype::Int8, &[1])]), &LIMITS)?.outputs)
}

#[test]
fn fault_53_unknown_and_duplicate_outputs_are_named() {
    assert_eq!(
        asked(&[("q", None)], false).unwrap_err().message,
        "unexpected inference output 'q' for model 'm'; its outputs: 'y', 'z'"
    );
    let twice = asked(&[("y", None), ("y", None)], false).unwrap_err();
    assert_eq!(twice.message, "output 'y' already exists in request");
}

#[test]
fn a_wrong_name_gets_the_nearest_one() {
    let names: Vec<String> = (0..40).map(|n| format!("input_of_layer_{n}")).collect();
    let inputs: Vec<(&str, Datatype, &[i64])> =
        names.iter().map(|n| (&**n, Datatype::Int8, &[1][..])).collect();
    let signature = model(&inputs);
    assert_eq!(
        refusal(vec![raw("inputs_of_layer_7", "INT8", &[1], &[0])], &signature, &LIMITS),
        "unexpected inference input 'inputs_of_layer_7' for model 'm'; did you mean 'input_of_layer_7'?"
    );
    assert_eq!(
        refusal(vec![raw("x", "INT8", &[1], &[0])], &signature, &LIMITS),
        "unexpected inference input 'x' for model 'm'"
    );
}

#[test]
fn an_output_that_no_tensor_carries_is_refused_with_the_reason() {
    let error = asked(&[("y", None), ("p", None)], false).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert_eq!(error.message, "unexpected inference output 'p' for model 'm': it is a map");
}

#[test]
fn an_outputs_own_binary_flag_overrides_the_requests() {
    assert_eq!(asked(&[], true).unwrap(), [wanted(0, true), wanted(1, true)]);
    let both = asked(&[("z", None), ("y", Some(false))], true).unwrap();
    assert_eq!(both, [wanted(1, true), wanted(0, false)]);
    assert_eq!(asked(&[("z", Some(true))], false).unwrap(), [wanted(1, true)]);
}

#[test]
fn classes_of_what_cannot_be_ranked_are_refused_before_anything_runs() {
    let mut signature = model(&[("x", Datatype::Int8, &[1])]);
    let mut sent = request(vec![raw("x", "INT8", &[1], &[0])]);
    sent.outputs = vec![RequestedOutput { name: "z".into(), classes: 3, ..Default::default() }];
    let found = prepare(&sent, &signature, &LIMITS).unwrap().outputs;
    assert_eq!(found, [WantedOutput { classes: 3, ..wanted(1, false) }]);
    signature.outputs[1].datatype = Datatype::Bf16;
    let error = prepare(&sent, &signature, &LIMITS).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("unsupported type 'BF16'"), "{}", error.message);
    sent.outputs[0].classes = 0;
    prepare(&sent, &signature, &LIMITS).unwrap();
}

#[test]
fn fault_54_datatypes_must_match() {
    let signature = model(&[("x", Datatype::Fp32, &[1])]);
    assert_eq!(
        refusal(vec![raw("x", "INT32", &[1], &[0; 4])], &signature, &LIMITS),
        "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'"
    );
    let text = refusal(vec![raw("x", "FLOAT", &[1], &[0; 4])], &signature, &LIMITS);
    assert!(text.contains("'FLOAT', which is not a known datatype"), "{text}");
}

#[test]
fn shapes_must_fit() {
    let signature = model(&[("x", Datatype::Fp32, &[-1, 16])]);
    assert_eq!(
        refusal(vec![raw("x", "FP32", &[1, 15], &[0; 60])], &signature, &LIMITS),
        "unexpected shape for input 'x' for model 'm'. Expected [-1,16], got [1,15]. "
    );
    assert!(refusal(vec![raw("x", "FP32", &[16], &[0; 64])], &signature, &LIMITS).contains("got [16]"));
}

#[test]
fn faults_50_and_51_hostile_shapes_are_refused_before_memory_is_taken() {
    let signature = model(&[("x", Datatype::Fp64, &[-1, -1])]);
    for shape in [
        &[i64::MAX, 2][..],
        &[1 << 32, 1 << 32],
        &[i64::MAX / 8, 1],
        &[-1, 2],
        &[i64::MIN, 1],
        &[0, i64::MAX, i64::MAX],
    ] {
        for payload in [
            Payload::Raw(Bytes::new()),
            Payload::Typed(vec![Bytes::new()]),
            Payload::Json { data: Bytes::new(), count: 0 },
        ] {
            let mut input = raw("x", "FP64", shape, &[]);
            input.payload = payload;
            refusal(vec![input], &signature, &LIMITS);
        }
    }
    refusal(vec![raw("x", "FP64", &[1; 65], &[0; 8])], &signature, &LIMITS);
}

#[test]
fn a_scalar_may_be_sent_as_one_element() {
    let signature = model(&[("x", Datatype::Int8, &[])]);
    for shape in [&[][..], &[1]] {
        let sent = request(vec![raw("x", "INT8", shape, &[5])]);
        let prepared = prepare(&sent, &signature, &LIMITS).unwrap();
        assert!(prepared.inputs[0].as_ref().unwrap().shape.is_empty());
    }
    assert!(
        refusal(vec![raw("x", "INT8", &[1, 1], &[5])], &signature, &LIMITS)
            .contains("Expected [], got [1,1]")
    );
}

#[test]
fn fault_52_byte_sizes_must_match() {
    let signature = model(&[("x", Datatype::Fp32, &[-1])]);
    assert_eq!(
        refusal(vec![raw("x", "FP32", &[16], &[0; 60])], &signature, &LIMITS),
        "input byte size mismatch for input 'x' for model 'm'. Expected 64, got 60"
    );
}

#[test]
fn empty_tensors_are_legal_and_need_no_data() {
    let signature = model(&[("x", Datatype::Fp32, &[-1, 4])]);
    for payload in [
        Payload::Missing,
        Payload::Raw(Bytes::new()),
        Payload::Typed(vec![Bytes::new()]),
        Payload::Json { data: Bytes::new(), count: 0 },
    ] {
        let mut input = raw("x", "FP32", &[0, 4], &[]);
        input.payload = payload;
        let prepared = prepare(&request(vec![input]), &signature, &LIMITS).unwrap();
        assert!(prepared.inputs[0].as_ref().unwrap().data.is_empty());
    }
    let mut input = raw("x", "FP32", &[1, 4], &[]);
    input.payload = Payload::Missing;
    assert_eq!(
        refusal(vec![input], &signature, &LIMITS),
        "unable to find data for input tensor 'x' for model 'm' in request."
    );
}

#[test]
fn fault_60_a_json_count_that_is_not_the_shapes_is_refused() {
    let signature = model(&[("x", Datatype::Int8, &[-1])]);
    let mut input = raw("x", "INT8", &[3], &[]);
    input.payload = Payload::Json { data: Bytes::from_static(&[1, 2]), count: 2 };
    assert!(refusal(vec![input], &signature, &LIMITS).ends_with("shape [3] expects 3, got 2"));
}

#[test]
fn faults_55_and_56_strings_are_walked_whatever_door_they_came_by() {
    let signature = model(&[("x", Datatype::Bytes, &[-1])]);
    let cut = raw("x", "BYTES", &[1], &[9, 0, 0, 0, b'a']);
    assert!(refusal(vec![cut], &signature, &LIMITS).contains("expected 1 string elements, got 0"));
    let mut typed = raw("x", "BYTES", &[1], &[]);
    typed.payload = Payload::Typed(vec![Bytes::from_static(b"\x42\x01\xff")]);
    assert!(refusal(vec![typed], &signature, &LIMITS).contains("not valid UTF-8"));
    let many = raw("x", "BYTES", &[101], &[0; 404]);
    assert!(refusal(vec![many], &signature, &LIMITS).contains("at most 100 are accepted"));
    let mut typed = raw("x", "BYTES", &[2], &[]);
    typed.payload = Payload::Typed(vec![Bytes::from_static(b"\x42\x01a\x42\x00")]);
    let prepared = prepare(&request(vec![typed]), &signature, &LIMITS).unwrap();
    assert_eq!(prepared.inputs[0].as_ref().unwrap().data.here().unwrap(), b"\x01\0\0\0a\0\0\0\0"[..]);
}

#[test]
fn fault_57_bool_bytes_are_zero_or_one() {
    let signature = model(&[("x", Datatype::Bool, &[-1])]);
    for bad in [2, 3, 128, 255] {
        let mut data = vec![1; 5000];
        data[4321] = bad;
        let text = refusal(vec![raw("x", "BOOL", &[5000], &data)], &signature, &LIMITS);
        assert!(text.starts_with(&format!("element 4321 of BOOL input 'x' is {bad}")), "{text}");
    }
    prepare(&request(vec![raw("x", "BOOL", &[3], &[0, 1, 1])]), &signature, &LIMITS).unwrap();
}

#[test]
fn first_dimensions_may_differ_between_inputs() {
    let sent = request(vec![raw("a", "FP32", &[1, 2], &[0; 8]), raw("b", "INT8", &[3], &[0; 3])]);
    let prepared = prepare(&sent, &xy(), &LIMITS).unwrap();
    let firsts: Vec<i64> = prepared.inputs.iter().flatten().map(|input| input.shape[0]).collect();
    assert_eq!(firsts, [1, 3]);
}

#[test]
fn large_conversions_cost_much_and_plain_bytes_do_not() {
    let big = vec![0u8; MUCH + 1];
    assert!(MUCH >= cost(&request(vec![raw("x", "FP32", &[1], &big)])));
    assert!(MUCH < cost(&request(vec![raw("x", "BYTES", &[1], &big)])));
    let mut typed = raw("x", "FP32", &[1], &[]);
    typed.payload = Payload::Typed(vec![big[..40_000].to_vec().into(); 2]);
    assert!(MUCH < cost(&request(vec![typed])));
}

#[test]
fn fault_103_what_conversions_make_is_known_before_they_are_begun() {
    let mut typed = raw("x", "INT64", &[1, 1000], &[]);
    typed.payload = Payload::Typed(vec![vec![0u8; 600].into(), vec![0u8; 300].into()]);
    // Nine hundred bytes are no thousand numbers.
    assert_eq!(converted_bytes(&request(vec![typed.clone(), raw("y", "FP32", &[1], &[0; 4])])), 900 * 8);
    typed.datatype = "BYTES".into();
    assert_eq!(converted_bytes(&request(vec![typed])), 2 * 900);
}
