use super::*;
use crate::admission::Budget;
use crate::codec::place::Place;
use crate::codec::{AnswerHead, InferRequest, OutputTensor, Payload, bytes_tensor};
use crate::error::{Error, ErrorCode};
use crate::stop::{NEVER, Stop};
use crate::tensor::{Datatype, Signature, TensorSpec};
use bytes::Bytes;
use proptest::prelude::*;

const HEAD: AnswerHead = AnswerHead { model: "m", version: "1", id: None, asked: None };

fn decode_infer(model: &str, body: &[u8], binary: Bytes) -> Result<InferRequest, Error> {
    super::decode_infer(&NEVER, model, body, binary, &mut Budget::new(usize::MAX).reserve())
}

fn encode_infer(head: &AnswerHead, outputs: &[OutputTensor]) -> Result<(Bytes, Option<usize>), Error> {
    super::encode_infer(head, outputs, &Budget::new(usize::MAX).reserve())
}

fn decode(body: &str) -> Result<InferRequest, Error> {
    decode_infer("m", body.as_bytes(), Bytes::new())
}

fn refusal(body: &str) -> String {
    let error = decode(body).expect_err(&body[..body.len().min(200)]);
    assert_eq!(error.code, ErrorCode::BadRequest, "{error}");
    error.message
}

fn tensor(datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#)
}

/// The raw bytes of the one input's JSON data.
fn raw(datatype: &str, data: &str) -> Vec<u8> {
    let request = decode(&tensor(datatype, "[1]", data)).unwrap();
    let Payload::Json { data, .. } = &request.inputs[0].payload else { panic!("not JSON data") };
    data.to_vec()
}

fn bad_data(datatype: &str, data: &str) -> String {
    let text = refusal(&tensor(datatype, "[1]", data));
    // Data before its datatype meets the same fate.
    refusal(&format!(r#"{{"inputs":[{{"data":{data},"name":"x","shape":[1],"datatype":"{datatype}"}}]}}"#));
    text
}

fn count(data: &str) -> usize {
    let request = decode(&tensor("FP32", "[1]", data)).unwrap();
    let Payload::Json { count, .. } = request.inputs[0].payload else { panic!("not JSON data") };
    count
}

// ----- the request ----------------------------------------------------------

#[test]
fn a_small_request_is_read() {
    let body = r#"{"id":"7","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1.0,2.0,3.0,4.0]}],
        "outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"z"}],
        "parameters":{"priority":2,"timeout":1500,"binary_data_output":true,"other":"free","more":1.5}}"#;
    let request = decode(body).unwrap();
    assert_eq!(request.id.as_deref(), Some("7"));
    assert_eq!((request.priority, request.timeout_us, request.binary_output), (2, 1500, true));
    assert_eq!(request.inputs[0].shape.as_slice(), [1, 4]);
    let Payload::Json { data, count } = &request.inputs[0].payload else { panic!("not JSON data") };
    let want: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!((&data[..], *count), (&want[..], 4));
    assert_eq!(request.outputs[0].binary, Some(true));
    assert_eq!(request.outputs[1].binary, None);
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_ignored() {
    let body = r#"{"model_name":"q","inputs":[{"data":[[1,2],[3,4]],"extra":{"a":[{}]},"datatype":"INT16",
        "shape":[2,2],"name":"x"}],"unknown":[1,"é\u00e9",null,{"k":true}]}"#;
    let request = decode(body).unwrap();
    let Payload::Json { data, count } = &request.inputs[0].payload else { panic!("not JSON data") };
    assert_eq!((&data[..], *count), (&[1, 0, 2, 0, 3, 0, 4, 0][..], 4));
}

#[test]
fn missing_keys_are_named() {
    assert!(refusal("{}").contains("'inputs'"));
    assert!(refusal(r#"{"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]}"#).contains("'name'"));
    assert!(
        refusal(r#"{"inputs":[{"name":"x","datatype":"FP32","data":[1]}]}"#)
            .contains("input 'x' has no 'shape'")
    );
    assert!(
        refusal(r#"{"inputs":[{"name":"x","shape":[1],"data":[1]}]}"#)
            .contains("input 'x' has no 'datatype'")
    );
    assert!(refusal(r#"{"inputs":[],"outputs":[{}]}"#).contains("'name'"));
}

#[test]
fn duplicate_keys_are_refused() {
    for body in [
        r#"{"inputs":[],"inputs":[]}"#,
        r#"{"inputs":[{"name":"x","name":"y","shape":[1],"datatype":"FP32","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"shape":[1],"datatype":"FP32","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","datatype":"FP32","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"data":[2]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1],"d\u0061ta":[2]}]}"#,
    ] {
        assert!(refusal(body).contains("appears twice"), "{body}");
    }
}

#[test]
fn wrong_types_are_bad_requests() {
    for body in [
        "[]",
        "1",
        "null",
        "\"x\"",
        "NaN",
        "",
        r#"{"inputs":{}}"#,
        r#"{"inputs":null}"#,
        r#"{"inputs":[1]}"#,
        r#"{"inputs":[],"id":7}"#,
        r#"{"inputs":[],"outputs":{}}"#,
        r#"{"inputs":[],"outputs":["y"]}"#,
        r#"{"inputs":[],"outputs":[{"name":1}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":1}}]}"#,
        r#"{"inputs":[],"outputs":[{"name":"y","parameters":{"binary_data":"true"}}]}"#,
        r#"{"inputs":[],"parameters":[]}"#,
        r#"{"inputs":[],"parameters":{"timeout":-1}}"#,
        r#"{"inputs":[],"parameters":{"timeout":1.5}}"#,
        r#"{"inputs":[],"parameters":{"timeout":"1"}}"#,
        r#"{"inputs":[],"parameters":{"priority":-1}}"#,
        r#"{"inputs":[],"parameters":{"priority":true}}"#,
        r#"{"inputs":[],"parameters":{"priority":99999999999999999999}}"#,
        r#"{"inputs":[],"parameters":{"binary_data_output":1}}"#,
        r#"{"inputs":[],"parameters":{"free":[1]}}"#,
        r#"{"inputs":[],"parameters":{"free":{}}}"#,
        r#"{"inputs":[],"parameters":{"triton_x":1}}"#,
        r#"{"inputs":[{"name":1,"shape":[1],"datatype":"FP32","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":1,"datatype":"FP32","data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":5,"data":[1]}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":1}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":{"0":1}}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":null}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":-1}}]}"#,
        r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":"4"}}]}"#,
    ] {
        refusal(body);
    }
}

#[test]
fn an_optional_member_that_is_null_is_absent() {
    let body = r#"{"id":null,"parameters":null,"outputs":null,"inputs":[{"name":"x","shape":[1],
        "datatype":"FP32","parameters":null,"data":[1]}]}"#;
    let request = decode(body).unwrap();
    assert_eq!((request.id, request.outputs.len(), request.inputs.len()), (None, 0, 1));
    let body = r#"{"inputs":[],"parameters":{"timeout":null,"priority":null,"sequence_id":null,"free":null},
        "outputs":[{"name":"y","parameters":null},{"name":"z","parameters":{"binary_data":null}}]}"#;
    let request = decode(body).unwrap();
    assert_eq!((request.timeout_us, request.priority), (0, 0));
    assert!(request.outputs.iter().all(|output| output.binary.is_none()));
    let body = r#"{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":null,
        "parameters":{"binary_data_size":1,"shared_memory_region":null}}]}"#;
    let mut held = Budget::new(usize::MAX).reserve();
    super::decode_infer(&NEVER, "m", body.as_bytes(), Bytes::from_static(b"a"), &mut held).unwrap();
    for member in ["name", "shape", "datatype"] {
        let body = tensor("FP32", "[1]", "[1]").replacen(
            &format!("\"{member}\":"),
            &format!("\"{member}\":null,\"_\":"),
            1,
        );
        assert!(refusal(&body).contains(member), "{body}");
    }
}

#[test]
fn a_request_without_a_body_is_told_what_to_send() {
    for body in ["", " \r\n", "\u{feff}"] {
        let words = refusal(body);
        assert!(words.starts_with("failed to parse the request JSON buffer"), "{words}");
        assert!(words.contains("expected a JSON body"), "{words}");
    }
}

#[test]
fn a_byte_order_mark_before_the_text_is_skipped() {
    let body = tensor("FP32", "[1]", "[1]");
    decode(&format!("\u{feff}{body}")).unwrap();
    refusal(&format!("\u{feff}\u{feff}{body}"));
    refusal(&format!(" \u{feff}{body}"));
}

#[test]
fn fault_51_dims_are_64_bit_integers_and_few() {
    for shape in
        ["[1.0]", "[1e2]", "[\"1\"]", "[null]", "[true]", "[[1]]", "[9223372036854775808]", "[NaN]", "[01]"]
    {
        refusal(&tensor("FP32", shape, "[1]"));
    }
    let many = format!("[{}1]", "1,".repeat(9_999));
    assert!(refusal(&tensor("FP32", &many, "[1]")).contains("more than 64 dimensions"));
    // Negative ones are refused with the model's check of the shape.
    decode(&tensor("FP32", "[-1]", "[1]")).unwrap();
}

#[test]
fn what_is_not_built_is_said_to_be() {
    for body in [
        r#"{"inputs":[],"parameters":{"sequence_id":5}}"#,
        r#"{"inputs":[],"parameters":{"sequence_id":"five"}}"#,
        r#"{"inputs":[],"parameters":{"sequence_start":true}}"#,
    ] {
        assert_eq!(decode(body).unwrap_err().code, ErrorCode::Unimplemented, "{body}");
    }
    decode(r#"{"inputs":[],"parameters":{"sequence_id":0,"sequence_start":false}}"#).unwrap();
}

#[test]
fn classes_are_a_number_of_elements() {
    let asked = |value: &str, more: &str| {
        decode(&format!(
            r#"{{"inputs":[],"outputs":[{{"name":"y","parameters":{{"classification":{value}{more}}}}}]}}"#
        ))
    };
    for (value, count) in [("3", 3), ("0", 0), ("null", 0), ("18446744073709551615", usize::MAX)] {
        assert_eq!(asked(value, "").unwrap().outputs[0].classes, count, "{value}");
    }
    for value in ["-1", "1.5", "\"3\"", "true", "[1]", "18446744073709551616"] {
        assert_eq!(asked(value, "").unwrap_err().code, ErrorCode::BadRequest, "{value}");
    }
    for region in
        [r#","shared_memory_region":"r""#, r#","shared_memory_region":"r","shared_memory_byte_size":4"#]
    {
        let error = asked("3", region).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains("'y' with parameter 'classification'"), "{}", error.message);
    }
}

#[test]
fn fault_103_ids_and_names_are_short() {
    let body = |id: usize, name: usize, datatype: usize| {
        let text = |len: usize| "n".repeat(len);
        format!(
            r#"{{"id":"{}","inputs":[{{"name":"{}","datatype":"{}","shape":[1],"data":[1]}}],"outputs":[{{"name":"{}"}}]}}"#,
            text(id),
            text(name),
            text(datatype),
            text(name)
        )
    };
    decode(&body(128, 1024, 1024)).unwrap();
    assert_eq!(refusal(&body(129, 1, 1)), "the request's id has 129 bytes, at most 128 are accepted");
    assert_eq!(refusal(&body(1, 1025, 1)), "an input's name has 1025 bytes, at most 1024 are accepted");
    assert_eq!(refusal(&body(1, 1, 1025)), "an input's datatype has 1025 bytes, at most 1024 are accepted");
}

#[test]
fn fault_103_converted_data_counts_before_it_is_there() {
    let budget = Budget::new(10_000);
    let of = |values: usize| {
        let data = format!("[{}0]", "0,".repeat(values - 1));
        let body = tensor("FP64", &format!("[{values}]"), &data);
        let mut held = budget.reserve();
        super::decode_infer(&NEVER, "m", body.as_bytes(), Bytes::new(), &mut held)
            .map(|request| (request, held))
    };
    let (request, held) = of(1000).unwrap();
    assert!(matches!(&request.inputs[0].payload, Payload::Json { data, .. } if data.len() == 8000));
    assert_eq!((held.bytes(), budget.used()), (8000, 8000));
    assert_eq!(of(1000).unwrap_err().code, ErrorCode::Full);
    drop(held);
    assert_eq!(budget.used(), 0);
}

#[test]
fn fault_103_what_a_shape_promised_and_no_data_brought_is_not_counted() {
    let mut held = Budget::new(usize::MAX).reserve();
    let body = tensor("INT64", "[1000]", &format!("[1{}]", " ".repeat(2000)));
    super::decode_infer(&NEVER, "m", body.as_bytes(), Bytes::new(), &mut held).unwrap();
    assert_eq!(held.bytes(), 8);
}

#[test]
fn fault_103_the_parsers_copy_of_escaped_text_counts_while_it_reads() {
    let text = format!(r#"{{"ignored":"\\n{}","inputs":[]}}"#, "x".repeat(100_000));
    let budget = Budget::new(150_000);
    let mut held = budget.reserve();
    super::decode_infer(&NEVER, "m", text.as_bytes(), Bytes::new(), &mut held).unwrap();
    assert_eq!(held.bytes(), 0);
    let mut others = budget.reserve();
    others.take(100_000).unwrap();
    let refused = super::decode_infer(&NEVER, "m", text.as_bytes(), Bytes::new(), &mut held);
    assert_eq!(refused.unwrap_err().code, ErrorCode::Full);
}

#[test]
fn too_many_tensors_are_refused() {
    let input = r#"{"name":"x","shape":[],"datatype":"FP32","data":[]}"#;
    let many = vec![input; 4097].join(",");
    assert!(
        refusal(&format!(r#"{{"inputs":[{many}]}}"#))
            .contains("'inputs' of the request has more than 4096 entries")
    );
}

// ----- data -----------------------------------------------------------------

#[test]
fn fault_58_integers_are_held_to_their_range() {
    for (datatype, least, most) in [
        ("INT8", i8::MIN as i128, i8::MAX as i128),
        ("INT16", i16::MIN as i128, i16::MAX as i128),
        ("INT32", i32::MIN as i128, i32::MAX as i128),
        ("INT64", i64::MIN as i128, i64::MAX as i128),
        ("UINT8", 0, u8::MAX as i128),
        ("UINT16", 0, u16::MAX as i128),
        ("UINT32", 0, u32::MAX as i128),
        ("UINT64", 0, u64::MAX as i128),
    ] {
        let size = Datatype::from_name(datatype).unwrap().size().unwrap();
        let want = [least.to_le_bytes()[..size].to_vec(), most.to_le_bytes()[..size].to_vec()].concat();
        assert_eq!(raw(datatype, &format!("[{least},{most}]")), want);
        assert_eq!(raw(datatype, "[-0]"), vec![0; size]);
        assert!(bad_data(datatype, &format!("[{}]", most + 1)).contains("out of range"));
        assert!(bad_data(datatype, &format!("[{}]", least - 1)).contains("out of range"));
        for bad in ["[1.0]", "[1e0]", "[0.5]", "[NaN]", "[Infinity]"] {
            assert!(bad_data(datatype, bad).contains("must hold integers"), "{bad}");
        }
        for bad in
            ["[true]", "[null]", "[\"1\"]", "[{}]", "[01]", "[+1]", "[-]", "[1.]", "[.5]", "[0x1]", "[1_000]"]
        {
            bad_data(datatype, bad);
        }
    }
}

#[test]
fn fault_58_floats_take_numbers_and_bare_words_only() {
    let fp32 = |text: &str| f32::from_le_bytes(raw("FP32", text).try_into().unwrap());
    let fp64 = |text: &str| f64::from_le_bytes(raw("FP64", text).try_into().unwrap());
    assert_eq!(fp32("[1]"), 1.0);
    assert_eq!(fp32("[0.1]"), 0.1);
    assert_eq!(fp64("[-1e-3]"), -1e-3);
    assert!(fp32("[NaN]").is_nan() && fp64("[NaN]").is_nan());
    assert_eq!(fp32("[Infinity]"), f32::INFINITY);
    assert_eq!(fp64("[-Infinity]"), f64::NEG_INFINITY);
    assert_eq!(fp32("[-0.0]").to_bits(), (-0f32).to_bits());
    assert_eq!(fp32("[16777217]"), 16777216.0);
    assert_eq!(fp64("[18446744073709551616]"), 18446744073709551616.0);
    for datatype in ["FP32", "FP64"] {
        for bad in ["[1e400]", "[-1e400]", "[1e999999999999]"] {
            assert!(bad_data(datatype, bad).contains("out of range"), "{bad}");
        }
        for bad in [
            "[true]",
            "[null]",
            "[\"1\"]",
            "[\"NaN\"]",
            "[nan]",
            "[inf]",
            "[+Infinity]",
            "[-NaN]",
            "[NaNo]",
            "[1e]",
        ] {
            bad_data(datatype, bad);
        }
    }
    assert!(bad_data("FP32", "[3.5e38]").contains("out of range"));
    assert_eq!(fp64("[3.5e38]"), 3.5e38);
}

#[test]
fn fp32_is_rounded_once() {
    // Between two FP32 and a hair over the middle: by way of FP64 it becomes the middle.
    let text = "1.00000017881393432617187499";
    assert_eq!(raw("FP32", &format!("[{text}]")), text.parse::<f32>().unwrap().to_le_bytes());
    assert_ne!(text.parse::<f32>().unwrap(), text.parse::<f64>().unwrap() as f32);
}

#[test]
fn fault_58_bools_and_strings_take_their_own_kind_only() {
    assert_eq!(raw("BOOL", "[true,false]"), [1, 0]);
    for bad in ["[0]", "[1]", "[null]", "[\"true\"]", "[True]"] {
        bad_data("BOOL", bad);
    }
    for bad in ["[0]", "[true]", "[null]", "[[\"a\"],\"b\"]"] {
        bad_data("BYTES", bad);
    }
}

#[test]
fn fault_56_strings_keep_nul_and_unicode() {
    let mut want = Vec::new();
    for s in ["a\0b", "\u{1f600}é", "", "\"\\/\u{8}\u{c}\n\r\t"] {
        bytes_tensor::push(&mut want, s.as_bytes());
    }
    assert_eq!(raw("BYTES", r#"["a\u0000b","\ud83d\ude00é","","\"\\\/\b\f\n\r\t"]"#), want);
}

#[test]
fn half_precision_is_refused_in_tritons_words() {
    for datatype in ["FP16", "BF16"] {
        let text = bad_data(datatype, "[1.0]");
        assert!(text.starts_with(&format!("receiving {datatype} data via JSON is not supported")), "{text}");
    }
}

#[test]
fn an_unknown_datatype_is_left_to_the_model() {
    let request = decode(&tensor("FLOAT", "[1]", "[1, [2]]")).unwrap();
    assert_eq!(request.inputs[0].datatype, "FLOAT");
    assert!(matches!(request.inputs[0].payload, Payload::Missing));
}

#[test]
fn nested_data_counts_its_leaves() {
    for (data, want) in [
        ("[]", 0),
        ("[[]]", 0),
        ("[[],[]]", 0),
        ("[1]", 1),
        ("[[1],[2]]", 2),
        ("[[[1,2],[3,4]],[[5,6],[7,8]]]", 8),
        (" [ [ 1 , 2 ] , [ 3 , 4 ] ] ", 4),
    ] {
        assert_eq!(count(data), want, "{data}");
    }
}

#[test]
fn fault_60_ragged_arrays_are_refused() {
    for bad in [
        "[[1],[2,3]]",
        "[1,[2]]",
        "[[1],2]",
        "[[],1]",
        "[[],[1]]",
        "[[1],[]]",
        "[[[1]],[2]]",
        "[[1],[[2]]]",
        "[[[]],[]]",
        "[[1,2,3],[4]]",
    ] {
        assert!(bad_data("FP32", bad).contains("ragged"), "{bad}");
    }
}

#[test]
fn fault_60_broken_documents_are_bad_requests() {
    let whole = tensor("FP32", "[2]", "[1.5,2]");
    decode(&whole).unwrap();
    for end in 0..whole.len() {
        refusal(&whole[..end]);
    }
    for tail in ["x", "{}", ",", "]", "\0"] {
        refusal(&format!("{whole}{tail}"));
    }
    decode(&format!("\n\t {whole} \r\n")).unwrap();
    for bad in ["[1,]", "[,1]", "[1 2]", "[1;2]", "[1", "[\"a]", "[//\n1]"] {
        bad_data("FP32", bad);
    }
    for bad in [
        r#"["\ud800"]"#,
        r#"["\udc00\ud800"]"#,
        r#"["\ud800\u0041"]"#,
        r#"["\x"]"#,
        r#"["\u12"]"#,
        "[\"\n\"]",
    ] {
        bad_data("BYTES", bad);
        refusal(&format!(r#"{{"inputs":[],"ignored":{bad}}}"#));
    }
    for bad in [
        &b"{\"inputs\":[],\"k\":\"\xff\"}"[..],
        b"\xff\xfe{}",
        b"{\"inputs\":[],\"\xc3\":1}",
        b"{\"inputs\":[]}\xff",
    ] {
        assert!(decode_infer("m", bad, Bytes::new()).unwrap_err().message.contains("UTF-8"));
    }
}

#[test]
fn fault_59_nesting_stops_at_a_hundred_levels() {
    let nested = |open: &str, inner: &str, close: &str, n: usize| {
        format!("{}{inner}{}", open.repeat(n), close.repeat(n))
    };
    // Three levels are open around data, one around an ignored key.
    assert_eq!(count(&nested("[", "1", "]", 97)), 1);
    assert!(bad_data("FP32", &nested("[", "1", "]", 98)).contains("100 levels"));
    let ignored = |value: String| format!(r#"{{"inputs":[],"k":{value}}}"#);
    decode(&ignored(nested("[", "1", "]", 99))).unwrap();
    decode(&ignored(nested("{\"a\":", "1", "}", 99))).unwrap();
    assert!(refusal(&ignored(nested("[", "1", "]", 100))).contains("100 levels"));
    for n in [50_000, 250_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            refusal(&ignored(nested(open, "1", close, n)));
            refusal(&ignored(open.repeat(n)));
        }
        refusal(&tensor("FP32", "[1]", &nested("[", "1", "]", n)));
        refusal(&tensor("FLOAT", "[1]", &nested("[", "1", "]", n)));
        refusal(&tensor("FP32", &nested("[", "1", "]", n), "[1]"));
        refusal(&nested("[", "1", "]", n));
    }
}

#[test]
fn fault_59_two_hundred_thousand_keys_are_passed_over() {
    let keys: String = (0..200_000).map(|i| format!("\"k{i}\":{i},")).collect();
    decode(&format!("{{{keys}\"inputs\":[]}}")).unwrap();
    decode(&format!("{{\"inputs\":[],\"ignored\":{{{keys}\"k\":1}}}}")).unwrap();
    decode(&format!("{{\"inputs\":[],\"parameters\":{{{keys}\"k\":1}}}}")).unwrap();
}

#[test]
fn fault_59_integers_of_four_thousand_digits_end_in_an_answer() {
    let long = "9".repeat(4000);
    for datatype in ["INT64", "UINT64", "INT8", "FP32", "FP64"] {
        let text = bad_data(datatype, &format!("[{long}]"));
        assert!(text.contains("out of range") && text.len() < 200, "{text}");
    }
    let zeros = format!("[0.{}1]", "0".repeat(4000));
    assert_eq!(raw("FP32", &zeros), 0f32.to_le_bytes());
    let small = format!("[1{}e-4000]", "0".repeat(4000));
    assert_eq!(raw("FP64", &small), 1f64.to_le_bytes());
    refusal(&tensor("FP32", &format!("[{long}]"), "[1]"));
    refusal(&format!(r#"{{"inputs":[],"parameters":{{"timeout":{long}}}}}"#));
    bad_data("FP64", &format!("[{}]", "9".repeat(1_000_000)));
}

#[test]
fn fault_51_a_shapes_promise_takes_no_memory() {
    let input = r#"{"name":"x","datatype":"FP64","shape":[4611686018427387904],"data":[]}"#;
    let body = format!(r#"{{"inputs":[{}],"pad":"{}"}}"#, vec![input; 4000].join(","), "a".repeat(1 << 20));
    let request = decode(&body).unwrap();
    assert_eq!(request.inputs.len(), 4000);
}

// ----- binary ---------------------------------------------------------------

fn binary(sizes: &[u64], binary: &'static [u8]) -> Result<InferRequest, Error> {
    let inputs: Vec<String> = sizes
        .iter()
        .enumerate()
        .map(|(i, n)| {
            format!(
                r#"{{"name":"x{i}","shape":[1],"datatype":"INT8","parameters":{{"binary_data_size":{n}}}}}"#
            )
        })
        .collect();
    decode_infer(
        "m",
        format!(r#"{{"inputs":[{}]}}"#, inputs.join(",")).as_bytes(),
        Bytes::from_static(binary),
    )
}

#[test]
fn binary_tensors_are_cut_in_the_order_of_the_inputs() {
    let request = binary(&[2, 0, 3], b"abcde").unwrap();
    let cut: Vec<&[u8]> = request
        .inputs
        .iter()
        .map(|input| match &input.payload {
            Payload::Raw(data) => &data[..],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(cut, [&b"ab"[..], b"", b"cde"]);
}

#[test]
fn fault_52_binary_sizes_must_add_up() {
    assert_eq!(
        binary(&[2, 4], b"abcd").unwrap_err().message,
        "unexpected size for input 'x1', expecting 2 additional bytes for model 'm'"
    );
    assert!(binary(&[u64::MAX], b"abcd").unwrap_err().message.starts_with("unexpected size for input 'x0'"));
    assert_eq!(binary(&[2], b"abcd").unwrap_err().message, "unexpected additional input data for model 'm'");
}

#[test]
fn an_input_has_exactly_one_source_of_data() {
    for rest in [
        r#""parameters":{}"#,
        r#""parameters":{"binary_data_size":0},"data":[1]"#,
        r#""parameters":{"binary_data_size":0,"shared_memory_region":"r"}"#,
        r#""data":[1],"parameters":{"shared_memory_region":"r"}"#,
    ] {
        let text = refusal(&format!(r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"INT8",{rest}}}]}}"#));
        assert!(text.starts_with("Input must set only one of the following fields: "), "{text}");
    }
}

fn signature(inputs: &[(Datatype, &[i64])]) -> Signature {
    let spec = |(datatype, shape): &(Datatype, &[i64])| TensorSpec {
        name: "x".into(),
        datatype: *datatype,
        shape: shape.to_vec(),
        optional: false,
        described: None,
        labels: None,
    };
    Signature { inputs: inputs.iter().map(spec).collect(), outputs: vec![], left_out: vec![], named: vec![] }
}

fn raw_body(datatype: Datatype, shape: &[i64], body: &[u8]) -> Result<InferRequest, Error> {
    decode_raw_binary("m", &signature(&[(datatype, shape)]), Bytes::copy_from_slice(body))
}

#[test]
fn a_raw_body_is_the_one_inputs_data() {
    let request = raw_body(Datatype::Fp32, &[-1, 2], &[0; 24]).unwrap();
    assert!(request.binary_output);
    assert_eq!(request.inputs[0].shape.as_slice(), [3, 2]);
    assert_eq!(raw_body(Datatype::Int8, &[4], &[0; 4]).unwrap().inputs[0].shape.as_slice(), [4]);
    // The shape's check of the size comes later and says what was expected.
    assert_eq!(raw_body(Datatype::Fp32, &[-1, 2], &[0; 23]).unwrap().inputs[0].shape.as_slice(), [2, 2]);
    assert_eq!(raw_body(Datatype::Fp32, &[-1, 0], &[]).unwrap().inputs[0].shape.as_slice(), [0, 0]);
    assert_eq!(raw_body(Datatype::Fp32, &[-1, i64::MAX, i64::MAX], &[0; 8]).unwrap().inputs[0].shape[0], 0);
    // One row, where its length varies too, and axis 0 may be the batch.
    let mut rows = signature(&[(Datatype::Fp32, &[-1, 2, -1])]);
    rows.outputs = signature(&[(Datatype::Fp32, &[-1])]).inputs;
    let one_row = decode_raw_binary("m", &rows, Bytes::from_static(&[0; 24])).unwrap();
    assert_eq!(one_row.inputs[0].shape.as_slice(), [1, 2, 3]);
    rows.outputs[0].shape = vec![3];
    assert!(decode_raw_binary("m", &rows, Bytes::from_static(&[0; 24])).is_err());
    let string = raw_body(Datatype::Bytes, &[-1, 1], b"hello").unwrap();
    assert_eq!(string.inputs[0].shape.as_slice(), [1, 1]);
    let Payload::Raw(data) = &string.inputs[0].payload else { panic!("not raw") };
    assert_eq!(&data[..], b"\x05\0\0\0hello");
}

#[test]
fn a_raw_body_that_cannot_be_told_apart_is_refused() {
    let two = signature(&[(Datatype::Fp32, &[1]), (Datatype::Fp32, &[1])]);
    let error = decode_raw_binary("m", &two, Bytes::new()).unwrap_err();
    assert!(error.message.starts_with("Raw request must only have 1 input (found 2) to be deduced"));
    let error = raw_body(Datatype::Fp32, &[-1, -1], &[0; 4]).unwrap_err();
    assert!(
        error.message.contains("can not be deduced because there are more than one variable-sized dimension")
    );
    let error = raw_body(Datatype::Bytes, &[2], b"ab").unwrap_err();
    assert!(error.message.starts_with("For BYTES datatype raw input"));
}

#[test]
fn tensors_in_shared_memory_bring_no_data() {
    let place = r#"{"shared_memory_region":"r","shared_memory_byte_size":8,"shared_memory_offset":4}"#;
    let body = format!(
        r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"FP32","parameters":{place}}}],
        "outputs":[{{"name":"y","parameters":{place}}},{{"name":"z"}}]}}"#
    );
    let request = decode(&body).unwrap();
    let place = Place { region: "r".into(), offset: 4, byte_size: 8 };
    let Payload::Shared(found) = &request.inputs[0].payload else { panic!("not shared") };
    assert_eq!((found, &request.outputs[0].place), (&place, &Some(place.clone())));
    assert_eq!(request.outputs[1].place, None);
    for rest in
        [r#""shared_memory_region":1"#, r#""shared_memory_offset":-1"#, r#""shared_memory_byte_size":1.5"#]
    {
        refusal(&format!(r#"{{"inputs":[],"outputs":[{{"name":"y","parameters":{{{rest}}}}}]}}"#));
    }
    let both = r#""shared_memory_region":"r","shared_memory_byte_size":8,"binary_data":true"#;
    let text = refusal(&format!(r#"{{"inputs":[],"outputs":[{{"name":"y","parameters":{{{both}}}}}]}}"#));
    assert_eq!(text, "Output can't set both 'shared_memory_region' and 'binary_data'");
}

#[test]
fn an_output_that_went_elsewhere_has_neither_data_nor_parameters() {
    for binary in [false, true] {
        let tensor = OutputTensor { placed: true, ..output(Datatype::Fp16, &[1, 2], &[], binary) };
        let value: serde_json::Value = serde_json::from_str(&text(&[tensor])).unwrap();
        let expected = serde_json::json!([{"name": "y", "datatype": "FP16", "shape": [1, 2]}]);
        assert_eq!(value["outputs"], expected);
    }
}

// ----- answers --------------------------------------------------------------

fn output<'a>(datatype: Datatype, shape: &[i64], data: &'a [u8], binary: bool) -> OutputTensor<'a> {
    OutputTensor { name: "y", datatype, shape: shape.into(), data, binary, placed: false }
}

fn text(outputs: &[OutputTensor]) -> String {
    let (body, json) = encode_infer(&HEAD, outputs).unwrap();
    assert_eq!(json, None);
    String::from_utf8(body.to_vec()).unwrap()
}

/// Many stretches of elements that JSON makes long or short.
fn large(datatype: Datatype, byte: u8) -> Vec<u8> {
    match datatype {
        Datatype::Bytes => {
            let mut data = Vec::new();
            (0..100).for_each(|_| bytes_tensor::push(&mut data, &[byte; 1000]));
            bytes_tensor::push(&mut data, &[byte; 50_000]);
            data
        }
        Datatype::Bool => vec![byte & 1; 1 << 17],
        _ => vec![byte; 1 << 17],
    }
}

#[test]
fn fault_102_an_answer_is_whole_at_its_limit_and_refused_one_below() {
    for datatype in
        [Datatype::Bool, Datatype::Int8, Datatype::Int64, Datatype::Fp32, Datatype::Fp64, Datatype::Bytes]
    {
        for byte in [0, 1, 0x80] {
            let byte = if datatype == Datatype::Bytes { byte & 0x7f } else { byte };
            let data = large(datatype, byte);
            for binary in [false, true] {
                let outputs = [output(datatype, &[1], &data, binary), output(datatype, &[1], &data, false)];
                let whole = encode_infer(&HEAD, &outputs).unwrap().0.len();
                let with = |limit, max| {
                    let budget = Budget::of_messages(max, limit);
                    super::encode_infer(&HEAD, &outputs, &budget.reserve())
                };
                assert_eq!(with(whole, usize::MAX).unwrap().0.len(), whole);
                let error = with(whole - 1, usize::MAX).unwrap_err();
                assert_eq!(error.code, ErrorCode::TooLarge, "{datatype} {byte} {error}");
                assert!(error.message.contains("limits.max_message_bytes"), "{error}");
                let error = with(whole, whole - 1).unwrap_err();
                assert!(error.message.contains("limits.process_bytes"), "{error}");
            }
        }
    }
}

#[test]
fn fault_102_an_answer_far_over_the_limit_takes_no_memory() {
    let data = vec![0; 8 << 20];
    let budget = Budget::of_messages(1000, 1 << 20);
    let error = super::encode_infer(&HEAD, &[output(Datatype::Fp32, &[1], &data, false)], &budget.reserve());
    let error = error.unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("takes at least 4194304 bytes, over the limit of 1048576"), "{error}");
}

#[test]
fn an_answer_is_flat_json() {
    let data: Vec<u8> = [0.1f32, 1.0, -2.5, 1e20].iter().flat_map(|v| v.to_le_bytes()).collect();
    let head = AnswerHead { model: "m", version: "3", id: Some("a\"\\\n\u{1}é"), asked: None };
    let (body, json) = encode_infer(&head, &[output(Datatype::Fp32, &[2, 2], &data, false)]).unwrap();
    assert_eq!(json, None);
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["model_name"], "m");
    assert_eq!(value["model_version"], "3");
    assert_eq!(value["id"], "a\"\\\n\u{1}é");
    assert_eq!(value["outputs"][0]["datatype"], "FP32");
    assert_eq!(value["outputs"][0]["shape"], serde_json::json!([2, 2]));
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.contains("\"data\":[0.1,1.0,-2.5,1e"), "{text}");
    assert!(!self::text(&[]).contains("\"id\""));
}

#[test]
fn fp32_that_is_no_number_is_a_bare_word() {
    let data: Vec<u8> =
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(text(&[output(Datatype::Fp32, &[4], &data, false)]).contains("[NaN,Infinity,-Infinity,-0.0]"));
}

#[test]
fn what_json_cannot_carry_is_refused() {
    for datatype in [Datatype::Fp16, Datatype::Bf16] {
        let error = encode_infer(&HEAD, &[output(datatype, &[1], &[0; 2], false)]).unwrap_err();
        assert!(error.message.starts_with(&format!("sending {datatype} data via JSON is not supported")));
        encode_infer(&HEAD, &[output(datatype, &[1], &[0; 2], true)]).unwrap();
    }
    let mut strings = Vec::new();
    bytes_tensor::push(&mut strings, b"\xff");
    let error = encode_infer(&HEAD, &[output(Datatype::Bytes, &[1], &strings, false)]).unwrap_err();
    assert!(error.message.contains("binary_data") && error.message.contains("'y'"));
}

#[test]
fn binary_outputs_follow_the_json_in_order() {
    let outputs = [
        output(Datatype::Int8, &[2], b"ab", true),
        output(Datatype::Int8, &[1], b"\x07", false),
        output(Datatype::Int8, &[0], b"", true),
        output(Datatype::Fp16, &[1], b"cd", true),
    ];
    let (body, json) = encode_infer(&HEAD, &outputs).unwrap();
    let json = json.unwrap();
    assert_eq!(&body[json..], b"abcd");
    let value: serde_json::Value = serde_json::from_slice(&body[..json]).unwrap();
    assert_eq!(value["outputs"][0]["parameters"]["binary_data_size"], 2);
    assert!(value["outputs"][0].get("data").is_none());
    assert_eq!(value["outputs"][1]["data"], serde_json::json!([7]));
    assert_eq!(value["outputs"][2]["parameters"]["binary_data_size"], 0);
}

#[test]
fn an_empty_binary_output_keeps_its_size_and_the_body_is_json() {
    let body = text(&[output(Datatype::Int8, &[0], b"", true)]);
    assert!(body.contains(r#""parameters":{"binary_data_size":0}"#), "{body}");
}

/// What a client would read from an answer with one JSON output, as raw bytes.
fn read_back(datatype: Datatype, shape: &[i64], data: &[u8]) -> Vec<u8> {
    let answer = text(&[output(datatype, shape, data, false)]);
    let request = answer.replace(r#"{"model_name":"m","model_version":"1","outputs":"#, r#"{"inputs":"#);
    match &decode(&request).unwrap().inputs[0].payload {
        Payload::Json { data, count } => {
            assert_eq!(*count as i64, shape[0]);
            data.to_vec()
        }
        other => panic!("{other:?}"),
    }
}

const NUMBERS: [Datatype; 10] = [
    Datatype::Uint8,
    Datatype::Uint16,
    Datatype::Uint32,
    Datatype::Uint64,
    Datatype::Int8,
    Datatype::Int16,
    Datatype::Int32,
    Datatype::Int64,
    Datatype::Fp32,
    Datatype::Fp64,
];

proptest! {
    #[test]
    fn every_datatype_reads_back(mut data: Vec<u8>, bools: Vec<bool>, strings: Vec<String>) {
        data.truncate(data.len() / 8 * 8);
        for datatype in NUMBERS {
            let n = data.len() / datatype.size().unwrap();
            let back = read_back(datatype, &[n as i64], &data);
            match datatype {
                // A NaN's payload is not kept.
                Datatype::Fp32 => for (a, b) in data.as_chunks().0.iter().zip(back.as_chunks().0) {
                    let (a, b) = (f32::from_le_bytes(*a), f32::from_le_bytes(*b));
                    prop_assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
                },
                Datatype::Fp64 => for (a, b) in data.as_chunks().0.iter().zip(back.as_chunks().0) {
                    let (a, b) = (f64::from_le_bytes(*a), f64::from_le_bytes(*b));
                    prop_assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
                },
                _ => prop_assert_eq!(&back, &data),
            }
        }
        let bools: Vec<u8> = bools.into_iter().map(u8::from).collect();
        prop_assert_eq!(read_back(Datatype::Bool, &[bools.len() as i64], &bools), bools);
        let mut packed = Vec::new();
        for s in &strings {
            bytes_tensor::push(&mut packed, s.as_bytes());
        }
        prop_assert_eq!(read_back(Datatype::Bytes, &[strings.len() as i64], &packed), packed);
    }

    #[test]
    fn fp32_text_is_the_nearest_fp32(value: f64) {
        if (value as f32).is_finite() && value.is_finite() {
            let text = format!("{value:?}");
            prop_assert_eq!(raw("FP32", &format!("[{text}]")), text.parse::<f32>().unwrap().to_le_bytes());
        }
    }

    #[test]
    fn any_bytes_end(body: Vec<u8>, binary: Vec<u8>) {
        let _ = decode_infer("m", &body, binary.into());
    }

    #[test]
    fn any_token_soup_ends(tokens in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"inputs\"", "\"name\"", "\"data\"", "\"shape\"", "\"datatype\"", "\"x\"",
        "\"FP32\"", "\"BYTES\"", "1", "-1", "1e400", "NaN", "true", "null", "\"parameters\"",
        "{\"binary_data_size\":3}", "{\"inputs\":[{", "\"data\":[", "\"datatype\":\"INT8\",", "\"name\":\"x\",", " ",
        "\"\\ud800\"",
    ]), 0..40)) {
        let body = tokens.concat();
        let _ = decode_infer("m", body.as_bytes(), Bytes::from_static(b"abc"));
    }

    #[test]
    fn any_change_of_one_byte_ends(at in 0usize..120, byte: u8) {
        let mut body = tensor("FP32", "[1,4]", "[[1.0,2.5e3],[3,NaN]]").into_bytes();
        if let Some(target) = body.get_mut(at) {
            *target = byte;
        }
        let _ = decode_infer("m", &body, Bytes::new());
    }
}

#[test]
fn fault_105_decoding_stops_where_it_is_not_wanted_any_more() {
    let stop = Stop::at(None);
    stop.leave();
    let decode = |body: &str| {
        let mut held = Budget::new(usize::MAX).reserve();
        super::decode_infer(&stop, "m", body.as_bytes(), Bytes::new(), &mut held)
    };
    for value in ["1", "[]"] {
        let data = |count: usize| format!("[{}{value}]", format!("{value},").repeat(count - 1));
        let tensor = |count: usize| tensor("INT32", &format!("[{count}]"), &data(count));
        let ignored = |count: usize| format!(r#"{{"other":{},"inputs":[]}}"#, data(count));
        decode(&tensor(1000)).unwrap();
        decode(&ignored(1000)).unwrap();
        for body in [tensor(10_000), ignored(10_000)] {
            assert_eq!(decode(&body).unwrap_err().code, ErrorCode::Cancelled, "{}", &body[..60]);
        }
    }
}
