//! Each rule of a body, and each row of what is refused.

use super::*;
use crate::admission::{Budget, Reservation};
use crate::codec::answer::Form;
use crate::codec::bytes_tensor::{elements, push};
use crate::codec::compression::Encoding;
use crate::codec::prepare::{Limits, prepare};
use crate::codec::{AnswerHead, InferRequest, InputTensor, OutputTensor, Payload};
use crate::error::{Error, ErrorCode, Result};
use crate::stop::NEVER;
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};

pub(super) fn tensor(name: &str, datatype: Datatype, shape: &[i64], optional: bool) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), optional, described: None, labels: None }
}

fn of(inputs: Vec<TensorSpec>) -> Signature {
    Signature { outputs: inputs.clone(), inputs, ..Default::default() }
}

/// One input `x`.
fn one(datatype: Datatype) -> Signature {
    of(vec![tensor("x", datatype, &[-1, -1], false)])
}

/// FP32 `a` and INT64 `b`, and BYTES `c` that may be left out.
fn three() -> Signature {
    of(vec![
        tensor("a", Datatype::Fp32, &[-1, 2], false),
        tensor("b", Datatype::Int64, &[-1], false),
        tensor("c", Datatype::Bytes, &[-1], true),
    ])
}

pub(super) fn boundless() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

fn decode(signature: &Signature, body: &str) -> Result<(InferRequest, &'static dyn Form)> {
    decode_predict(&NEVER, signature, body.as_bytes(), &mut boundless())
}

fn inputs(signature: &Signature, body: &str) -> Vec<InputTensor> {
    decode(signature, body).unwrap_or_else(|error| panic!("{body}: {error}")).0.inputs
}

fn refused(signature: &Signature, body: &str) -> Error {
    match decode(signature, body) {
        Ok((request, _)) => panic!("{body} was taken: {request:?}"),
        Err(error) => error,
    }
}

pub(super) fn data(input: &InputTensor) -> &[u8] {
    match &input.payload {
        Payload::Json { data, .. } => data,
        other => panic!("{other:?}"),
    }
}

fn fp32(input: &InputTensor) -> Vec<f32> {
    data(input).as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn texts(input: &InputTensor) -> Vec<String> {
    elements(data(input)).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

#[test]
fn rows_are_stacked_and_whole_tensors_stay_as_they_are() {
    for (body, shape, values) in [
        (r#"{"instances":[1,2.5]}"#, &[2][..], &[1.0, 2.5][..]),
        (r#"{"instances":[[1,2],[3,4]]}"#, &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        (r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#, &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        (r#"{"instances":[[[1],[2]]]}"#, &[1, 2, 1], &[1.0, 2.0]),
        (r#"{"instances":[[],[]]}"#, &[2, 0], &[]),
        (r#"{"inputs":7}"#, &[], &[7.0]),
        (r#"{"inputs":[[1,2]]}"#, &[1, 2], &[1.0, 2.0]),
        (r#"{"inputs":{"x":[[1],[2]]}}"#, &[2, 1], &[1.0, 2.0]),
        (r#"{"inputs":[[],[]]}"#, &[2, 0], &[]),
        (r#"{"inputs":[]}"#, &[0], &[]),
        ("\u{feff} {\"inputs\" : [ 1 , -2e1 ] }\n", &[2], &[1.0, -20.0]),
    ] {
        let found = inputs(&one(Datatype::Fp32), body);
        assert_eq!((found[0].shape.as_slice(), fp32(&found[0]).as_slice()), (shape, values), "{body}");
        assert_eq!((&*found[0].name, &*found[0].datatype), ("x", "FP32"));
    }
}

#[test]
fn the_answer_is_asked_for_by_rows_or_by_columns_and_other_keys_mean_nothing() {
    for (body, form) in [
        (r#"{"signature_name":"serving_default","instances":[[1]]}"#, "RowAnswer"),
        (r#"{"inputs":[[1]],"signature_name":""}"#, "ColumnAnswer"),
        (r#"{"other":{"a":[1,{"b":null}]},"inputs":[[1]],"more":"x"}"#, "ColumnAnswer"),
    ] {
        assert_eq!(format!("{:?}", decode(&one(Datatype::Fp32), body).unwrap().1), form);
    }
}

#[test]
fn several_inputs_are_told_apart_by_name_and_one_may_be_left_out() {
    let found = inputs(&three(), r#"{"instances":[{"b":1,"a":[1,2]},{"a":[3,4],"b":-2}]}"#);
    assert_eq!(found.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((found[0].shape.as_slice(), fp32(&found[0])), (&[2, 2][..], vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(
        (found[1].shape.as_slice(), data(&found[1])),
        (&[2][..], &[1i64, -2].map(i64::to_le_bytes).concat()[..])
    );
    let found = inputs(&three(), r#"{"inputs":{"c":["z"],"b":[5,6],"a":[[1,2]]}}"#);
    assert_eq!(found.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["c", "b", "a"]);
    assert_eq!((texts(&found[0]), found[1].shape.as_slice()), (vec!["z".to_owned()], &[2][..]));
    // The only one that is needed needs no name.
    let optional =
        of(vec![tensor("k", Datatype::Bool, &[-1], true), tensor("x", Datatype::Fp32, &[-1], false)]);
    assert_eq!(&*inputs(&optional, r#"{"instances":[1]}"#)[0].name, "x");
    assert_eq!(&*inputs(&optional, r#"{"inputs":[1]}"#)[0].name, "x");
}

#[test]
fn texts_come_as_they_are_or_as_base64() {
    let signature = one(Datatype::Bytes);
    for (body, shape, expected) in [
        (r#"{"instances":["a",{"b64":"w6k="}]}"#, &[2][..], &["a", "\u{e9}"][..]),
        (r#"{"instances":[{"b64":"YQ"}, {"b64":"YQ=="}, {"b64":""}]}"#, &[3], &["a", "a", ""]),
        (r#"{"instances":[{"x":{"b64":"YQ=="}}]}"#, &[1], &["a"]),
        (
            r#"{"instances":[["a","\u00e9\n"],[{ "b64" : "YgA=" },""]]}"#,
            &[2, 2],
            &["a", "\u{e9}\n", "b\0", ""],
        ),
        (r#"{"inputs":{"b64":"YWI="}}"#, &[], &["ab"]),
        (r#"{"inputs":{"x":[{"b64":"YWI="},"c"]}}"#, &[2], &["ab", "c"]),
    ] {
        let found = inputs(&signature, body);
        assert_eq!(
            (found[0].shape.as_slice(), texts(&found[0])),
            (shape, expected.iter().map(|&text| text.to_owned()).collect()),
            "{body}"
        );
    }
    // An input may have that very name, as long as another is beside it or its values are no text.
    let named =
        of(vec![tensor("b64", Datatype::Bytes, &[-1], false), tensor("y", Datatype::Bytes, &[-1], false)]);
    assert_eq!(texts(&inputs(&named, r#"{"instances":[{"b64":"YQ==","y":"q"}]}"#)[0]), ["YQ=="]);
    assert_eq!(texts(&inputs(&named, r#"{"inputs":{"b64":["YQ=="],"y":["q"]}}"#)[0]), ["YQ=="]);
    let only = of(vec![tensor("b64", Datatype::Fp32, &[-1, 2], false)]);
    for body in [r#"{"instances":[{"b64":[1,2]}]}"#, r#"{"inputs":{ "b64" : [[1,2]]}}"#] {
        assert_eq!(data(&inputs(&only, body)[0]), [1f32, 2.0].map(f32::to_le_bytes).concat(), "{body}");
    }
}

#[test]
fn fault_58_each_datatype_takes_its_range_and_nothing_else() {
    use Datatype::*;
    let raw = |datatype, text: &str| decode(&one(datatype), &format!("{{\"inputs\":[{text}]}}"));
    for (datatype, text, expected) in [
        (Bool, "true,false", vec![1, 0]),
        (Uint8, "0,255", vec![0, 255]),
        (Int8, "-128,127,-0", vec![0x80, 0x7f, 0]),
        (Int16, "-32768", vec![0, 0x80]),
        (Int32, "-2147483648", vec![0, 0, 0, 0x80]),
        (Uint32, "4294967295", vec![0xff; 4]),
        (Uint64, "18446744073709551615,-0", [[0xff; 8], [0; 8]].concat()),
        (Int64, "-9223372036854775808", i64::MIN.to_le_bytes().to_vec()),
        (Fp32, "16777217", 16777216f32.to_le_bytes().to_vec()),
        (Fp32, "1e39,-1e300", [f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes).concat()),
        (Fp32, "Infinity,-Infinity", [f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes).concat()),
        (Fp64, "0.1,1e308", [0.1f64, 1e308].map(f64::to_le_bytes).concat()),
    ] {
        assert_eq!(data(&raw(datatype, text).unwrap().0.inputs[0]), expected, "{datatype} {text}");
    }
    assert!(fp32(&inputs(&one(Fp32), r#"{"inputs":[NaN]}"#)[0])[0].is_nan());
    for (datatype, text, value, kind, name) in [
        (Uint8, "256", "256", "Number", "uint8"),
        (Int8, "-129", "-129", "Number", "int8"),
        (Int16, "40000", "40000", "Number", "int16"),
        (Int32, "2147483648", "2147483648", "Number", "int32"),
        (Int32, "1.0", "1.0", "Number", "int32"),
        (Int64, "1e2", "1e2", "Number", "int64"),
        (Int64, "NaN", "NaN", "Number", "int64"),
        (Uint32, "-1", "-1", "Number", "uint32"),
        (Uint64, "18446744073709551616", "18446744073709551616", "Number", "uint64"),
        (Bool, "1", "1", "Number", "bool"),
        (Bool, "null", "null", "Null", "bool"),
        (Fp32, "\"x\"", "\"x\"", "String", "float"),
        (Fp32, "true", "true", "True", "float"),
        (Fp64, "false", "false", "False", "double"),
        (Fp32, "{\"b64\":\"YQ==\"}", "{\"b64\":\"YQ==\"}", "Object", "float"),
        (Bytes, "5", "5", "Number", "string"),
    ] {
        let error = raw(datatype, text).unwrap_err();
        let words = format!("JSON Value: {value} Type: {kind} is not of expected type: {name} (input 'x')");
        assert_eq!((error.code, error.message), (ErrorCode::BadRequest, words));
    }
    let error = raw(Fp64, "1, 1e400").unwrap_err();
    assert_eq!(error.message, "JSON Parse error: Number too big to be stored in double. at offset: 14");
    assert!(raw(Fp32, "1e400").unwrap_err().message.contains("Number too big"));
}

#[test]
fn datatypes_that_json_has_no_form_for_are_named() {
    for (datatype, name) in
        [(Datatype::Fp16, "half"), (Datatype::Bf16, "bfloat16"), (Datatype::Uint16, "uint16")]
    {
        let whole = refused(&one(datatype), r#"{"inputs":[1]}"#);
        assert_eq!(whole.code, ErrorCode::Unimplemented);
        assert!(
            whole.message.contains(&format!("Conversion of JSON Value: [1] Type: Array to type: {name}")),
            "{whole}"
        );
        let row = refused(&one(datatype), r#"{"instances":[1]}"#);
        assert_eq!(row.code, ErrorCode::BadRequest);
        assert!(
            row.message.contains(&format!(
                "Error: UNIMPLEMENTED: Conversion of JSON Value: 1 Type: Number to type: {name}"
            )),
            "{row}"
        );
    }
}

#[test]
fn fault_60_ragged_lists_are_told_as_what_they_are() {
    let signature = one(Datatype::Fp32);
    for (body, text) in [
        (
            r#"{"instances":[[1,2],[1,2,3]]}"#,
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 3",
        ),
        (r#"{"instances":[[1,2],[[1,2]]]}"#, "Expecting shape [2] but got: [1,2]"),
        (r#"{"instances":[1,[1]]}"#, "Expecting shape [] but got: [1]"),
        (r#"{"instances":[[1],[[]]]}"#, "Expecting tensor size: 1 but got: 0"),
        (r#"{"inputs":[[1,2],[3]]}"#, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        (r#"{"inputs":[[],[1]]}"#, "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        (r#"{"inputs":[[],[[]]]}"#, "Encountered list at unexpected level: 2 expected < 2"),
        (r#"{"inputs":[1,[2]]}"#, "Encountered list at unexpected level: 1 expected < 1"),
        (
            r#"{"inputs":[[1],2]}"#,
            "JSON Value: 2 found at incorrect level: 1 in the JSON DOM. Expected at level: 2",
        ),
    ] {
        let error = refused(&signature, body);
        assert_eq!(error.code, ErrorCode::BadRequest);
        assert!(error.message.contains(text), "{body}: {}", error.message);
    }
}

#[test]
fn what_a_body_must_have_is_said_in_words() {
    for (body, text) in [
        ("", "JSON Parse error: The document is empty"),
        (" \n", "JSON Parse error: The document is empty"),
        ("nonsense", "at offset: "),
        (r#"{"instances":[1,]}"#, "JSON Parse error: "),
        (r#"{"instances":[1]} x"#, "at offset: 18"),
        (r#"{"instances":[1]"#, "JSON Parse error: "),
        ("[1]", "JSON Value: [1] Is not object"),
        (r#"{"signature_name":5,"instances":[1]}"#, "'signature_name' key must be a string value."),
        (
            r#"{"signature_name":"s","instances":[1]}"#,
            "Serving signature name: \"s\" not found in signature def",
        ),
        (
            r#"{"instances":[1],"inputs":[1]}"#,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        ),
        (r#"{"instances":[1],"instances":[1]}"#, "key 'instances' appears twice"),
        (
            r#"{"signature_name":"","instances":[1],"signature_name":""}"#,
            "key 'signature_name' appears twice",
        ),
        ("{}", "Missing 'inputs' or 'instances' key"),
        (r#"{"instances":null}"#, "Expecting 'instances' to be an list/array"),
        (r#"{"instances":{"x":1}}"#, "Expecting 'instances' to be an list/array"),
        (r#"{"instances":[]}"#, "No values in 'instances' array"),
        (r#"{"instances":[{"x":[1]},[1]]}"#, "Expecting object but got list at item 1"),
        (r#"{"instances":[[1],{"x":[1]}]}"#, "Expecting value/list but got object at item 1"),
        (r#"{"instances":[{"x":[1],"y":2}]}"#, "JSON object: does not have named input: y"),
        (
            r#"{"instances":[{}]}"#,
            "Failed to process element: 0 of 'instances' list. JSON object: {} keys must be equal to: x",
        ),
        (r#"{"instances":[{"x":1,"x":2}]}"#, "keys must be equal to: x"),
        (r#"{"inputs":{"x":1,"x":2}}"#, "'inputs' object has the input x twice"),
        (r#"{"inputs":{"x":1,"y":2}}"#, "JSON object: does not have named input: y"),
        (r#"{"inputs":{}}"#, "Missing named input: x in 'inputs' object."),
    ] {
        let error = refused(&one(Datatype::Fp32), body);
        assert_eq!(error.code, ErrorCode::BadRequest, "{body}");
        assert!(error.message.contains(text), "{body}: {}", error.message);
    }
}

#[test]
fn names_of_several_inputs_must_be_the_signatures() {
    for (body, text) in [
        ("{\"instances\":[1]}", "instances is a plain list, but expecting list of objects"),
        (r#"{"instances":[{"b64":"YQ=="}]}"#, "instances is a plain list, but expecting list of objects"),
        ("{\"inputs\":[1]}", "inputs is a plain value/list, but expecting an object"),
        (r#"{"instances":[{"a":[1,2]}]}"#, "keys must be equal to: a,b"),
        (
            r#"{"instances":[{"a":[1,2],"b":1},{"a":[1,2],"b":1,"c":"x"}]}"#,
            "Failed to process element: 1 of 'instances' list.",
        ),
        (r#"{"instances":[{"a":[1,2],"b":1,"c":"x"},{"a":[1,2],"b":1}]}"#, "keys must be equal to: a,b,c"),
        (
            r#"{"instances":[{"a":[1,2],"b":1},{"a":[1,2],"b":"x"}]}"#,
            "Failed to process element: 1 key: b of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String",
        ),
        (r#"{"inputs":{"a":[[1,2]]}}"#, "Missing named input: b in 'inputs' object."),
        (r#"{"inputs":{"a":[[1,2]],"b":[1],"z":0}}"#, "does not have named input: z"),
    ] {
        let error = refused(&three(), body);
        assert_eq!(error.code, ErrorCode::BadRequest, "{body}");
        assert!(error.message.contains(text), "{body}: {}", error.message);
    }
}

#[test]
fn base64_that_is_none_is_refused() {
    for (value, text) in [
        (r#"{"b64":5}"#, "not formatted correctly for base64 data"),
        (r#"{"b46":"YQ=="}"#, "not formatted correctly for base64 data"),
        (r#"{"b64":"YQ==","more":1}"#, "not formatted correctly for base64 data"),
        (r#"{}"#, "not formatted correctly for base64 data"),
        (r#"{"b64":"Y"}"#, "Unable to base64 decode"),
        (r#"{"b64":"Y*=="}"#, "Unable to base64 decode"),
        (r#"{"b64":"_w=="}"#, "Unable to base64 decode"),
        (r#"{"b64":"/w=="}"#, "string element 1 is not valid UTF-8"),
    ] {
        let error = refused(&one(Datatype::Bytes), &format!("{{\"inputs\":[\"a\",{value}]}}"));
        assert!(error.message.contains(text), "{value}: {}", error.message);
    }
}

#[test]
fn fault_59_depth_is_bounded_in_tensors_and_in_keys_that_mean_nothing() {
    let signature = one(Datatype::Fp32);
    for depth in [200, 250_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        for body in [
            format!("{{\"instances\":{open}1{close}}}"),
            format!("{{\"inputs\":{open}1{close}}}"),
            format!("{{\"other\":{open}{close},\"inputs\":[1]}}"),
            format!("{{\"inputs\":{}", "{\"x\":".repeat(depth)),
            format!("{{\"other\":{}", "{\"x\":".repeat(depth)),
            open.clone(),
        ] {
            assert_eq!(refused(&signature, &body).code, ErrorCode::BadRequest, "{}", &body[..20]);
        }
    }
    let nested = |depth: usize| format!("{{\"inputs\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(inputs(&signature, &nested(60))[0].shape.len(), 60);
    assert!(refused(&signature, &nested(100)).message.contains("nested more than 100 levels deep"));
    // A rank that no tensor has is held against the model's.
    let request = decode(&signature, &nested(80)).unwrap().0;
    let limits = Limits { max_string_elements: 10, stop: &NEVER };
    assert!(prepare(&request, &signature, &limits).is_err());
}

#[test]
fn what_is_converted_is_counted_before_there_is_room_for_it() {
    let budget = Budget::new(1 << 20);
    let body = format!("{{\"instances\":[{}1]}}", "1,".repeat(400_000));
    let mut held = budget.reserve();
    let error = decode_predict(&NEVER, &one(Datatype::Fp64), body.as_bytes(), &mut held).unwrap_err();
    assert!(matches!(error.code, ErrorCode::Full | ErrorCode::TooLarge), "{error}");
    drop(held);
    assert_eq!(budget.used(), 0);
}

// ----- answers ----------------------------------------------------------------

const HEAD: AnswerHead<'_> = AnswerHead { model: "m", version: "1", id: None, asked: None };

fn output<'a>(name: &'a str, datatype: Datatype, shape: &[i64], data: &'a [u8]) -> OutputTensor<'a> {
    OutputTensor { name, datatype, shape: Shape::from_slice(shape), data, binary: false, placed: false }
}

fn encoded(form: &dyn Form, outputs: &[OutputTensor<'_>]) -> Result<String> {
    let answer = form.encode(Encoding::Identity, &HEAD, outputs, &boundless())?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

fn raw_fp32(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn raw_texts(all: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|text| push(&mut out, text));
    out
}

#[test]
fn answers_are_by_rows_or_by_columns_bare_where_one_output_is() {
    let numbers = raw_fp32(&[1.0, 2.5, -0.1, 3.0]);
    let y = output("y", Datatype::Fp32, &[2, 2], &numbers);
    let flags = output("f", Datatype::Bool, &[2], &[1, 0]);
    let empty = output("e", Datatype::Fp32, &[2, 0], &[]);
    for (outputs, rows, columns) in [
        (
            vec![y.clone()],
            r#"{"predictions":[[1.0,2.5],[-0.1,3.0]]}"#,
            r#"{"outputs":[[1.0,2.5],[-0.1,3.0]]}"#,
        ),
        (vec![flags.clone()], r#"{"predictions":[true,false]}"#, r#"{"outputs":[true,false]}"#),
        (
            vec![y, flags],
            r#"{"predictions":[{"y":[1.0,2.5],"f":true},{"y":[-0.1,3.0],"f":false}]}"#,
            r#"{"outputs":{"y":[[1.0,2.5],[-0.1,3.0]],"f":[true,false]}}"#,
        ),
        (vec![empty], r#"{"predictions":[[],[]]}"#, r#"{"outputs":[[],[]]}"#),
    ] {
        assert_eq!(encoded(&RowAnswer, &outputs).unwrap(), rows);
        assert_eq!(encoded(&ColumnAnswer, &outputs).unwrap(), columns);
    }
    let none = output("y", Datatype::Int32, &[0, 3], &[]);
    assert_eq!(encoded(&RowAnswer, std::slice::from_ref(&none)).unwrap(), r#"{"predictions":[]}"#);
    let scalar = output("s", Datatype::Int32, &[], &[7, 0, 0, 0]);
    assert_eq!(encoded(&ColumnAnswer, std::slice::from_ref(&scalar)).unwrap(), r#"{"outputs":7}"#);
    let both = [output("s\"", Datatype::Int32, &[], &[7, 0, 0, 0]), none];
    assert_eq!(encoded(&ColumnAnswer, &both).unwrap(), r#"{"outputs":{"s\"":7,"y":[]}}"#);
}

#[test]
fn whole_numbers_are_seen_to_be_floats_and_all_read_back() {
    let values = [0.0, -0.0, 1.0, 9e6, 1e20, 0.1, 1.0e-7, f32::MAX, f32::MIN_POSITIVE, 16777216.0];
    let raw = raw_fp32(&values);
    let text = encoded(&ColumnAnswer, &[output("y", Datatype::Fp32, &[10], &raw)]).unwrap();
    assert!(text.starts_with(r#"{"outputs":[0.0,-0.0,1.0,9000000.0,"#), "{text}");
    let list = text.trim_start_matches("{\"outputs\":[").trim_end_matches("]}");
    for (number, value) in list.split(',').zip(values) {
        assert!(number.contains(['.', 'e']), "{number}");
        assert_eq!(number.parse::<f32>().unwrap().to_bits(), value.to_bits());
    }
    let raw = raw_fp32(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    let text = encoded(&RowAnswer, &[output("y", Datatype::Fp32, &[3], &raw)]).unwrap();
    assert_eq!(text, r#"{"predictions":[NaN,Infinity,-Infinity]}"#);
}

#[test]
fn bytes_are_base64_where_the_outputs_name_says_so() {
    let raw = raw_texts(&[b"a\"", b"\xff\xfe", b""]);
    let text = encoded(&RowAnswer, &[output("y_bytes", Datatype::Bytes, &[3], &raw)]).unwrap();
    assert_eq!(text, r#"{"predictions":[{"b64":"YSI="},{"b64":"//4="},{"b64":""}]}"#);
    let error = encoded(&RowAnswer, &[output("y", Datatype::Bytes, &[3], &raw)]).unwrap_err();
    assert!(error.message.contains("string element 1 of output 'y' is not valid UTF-8"), "{error}");
    let raw = raw_texts(&[b"a\"", b"\xc3\xa9"]);
    let text = encoded(&ColumnAnswer, &[output("y", Datatype::Bytes, &[2, 1], &raw)]).unwrap();
    assert_eq!(text, "{\"outputs\":[[\"a\\\"\"],[\"\u{e9}\"]]}");
    // Numbers are numbers whatever the name.
    let text = encoded(&ColumnAnswer, &[output("n_bytes", Datatype::Uint8, &[1], &[7])]).unwrap();
    assert_eq!(text, r#"{"outputs":[7]}"#);
}

#[test]
fn outputs_that_are_no_rows_have_no_row_answer() {
    let (x, y) = (output("x", Datatype::Int8, &[1], &[1]), output("y", Datatype::Int8, &[2], &[1, 2]));
    let error = encoded(&RowAnswer, &[x, y]).unwrap_err();
    assert_eq!(error.message, "Tensor name: y has inconsistent batch size: 2 expecting: 1");
    let error = encoded(&RowAnswer, &[output("s", Datatype::Int8, &[], &[1])]).unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        (ErrorCode::BadRequest, "Tensor name: s has no shape information")
    );
    let scalar = tensor("s", Datatype::Fp32, &[], false);
    assert!(RowAnswer.takes(&scalar, false).is_err() && ColumnAnswer.takes(&scalar, false).is_ok());
    for (datatype, name) in
        [(Datatype::Fp16, "half"), (Datatype::Bf16, "bfloat16"), (Datatype::Uint16, "uint16")]
    {
        let error = ColumnAnswer.takes(&tensor("y", datatype, &[-1], false), false).unwrap_err();
        assert!(
            error.message.contains(&format!("Failed to write JSON value for tensor type: {name}")),
            "{error}"
        );
    }
}

#[test]
fn fault_102_an_answer_ends_at_the_limit() {
    let budget = Budget::of_messages(usize::MAX, 10_000);
    let raw = vec![0; 40_000];
    for shape in [&[10_000][..], &[100, 100], &[10_000, 1]] {
        let output = output("y", Datatype::Fp32, shape, &raw);
        let answer = RowAnswer.encode(Encoding::Identity, &HEAD, &[output], &budget.reserve());
        assert_eq!(answer.unwrap_err().code, ErrorCode::TooLarge, "{shape:?}");
    }
    let lists = output("y", Datatype::Fp32, &[1 << 40, 0], &[]);
    let answer = ColumnAnswer.encode(Encoding::Identity, &HEAD, &[lists], &budget.reserve());
    assert_eq!(answer.unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_not_there_is_said_in_their_words() {
    let request = InferRequest { model: "m".into(), version: "7".into(), ..Default::default() };
    let error = Error::new(ErrorCode::NotFound, "Request for unknown model");
    let said = ColumnAnswer.refusal(error, &request, None);
    assert!(said.message.starts_with("Servable not found for request: Specific(m, 7)"), "{said}");
}
