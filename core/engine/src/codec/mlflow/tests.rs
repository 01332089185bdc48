//! Bodies of MLflow's scoring protocol, the good ones and each way in which one can be wrong.

use super::{Predictions, Table, decode_json, decode_table, error};
use crate::admission::{Budget, Reservation};
use crate::codec::answer::Form;
use crate::codec::compression::Encoding;
use crate::codec::{AnswerHead, InferRequest, OutputTensor, Payload, bytes_tensor};
use crate::error::{Error, ErrorCode};
use crate::stop::{NEVER, Stop};
use crate::tensor::schema::{Declared, Field, Param, ParamKind, Schema, Text};
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};
use proptest::prelude::*;

mod columns;
mod frames;

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

fn undeclared(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
    let inputs = inputs.iter().map(|&(name, datatype, shape)| spec(name, datatype, shape)).collect();
    Signature { inputs, ..Signature::default() }
}

fn declared(inputs: &[(&str, Datatype, &[i64])], declared: Declared) -> Signature {
    Signature { schema: Schema { declared, ..Schema::default() }, ..undeclared(inputs) }
}

fn column(name: &str, datatype: Datatype) -> Field {
    Field {
        name: Some(name).filter(|name| !name.is_empty()).map(Into::into),
        datatype,
        shape: vec![],
        required: true,
        kind: "double".into(),
        text: Text::Itself,
        lists: 0,
    }
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> Field {
    Field { shape: shape.to_vec(), ..column(name, datatype) }
}

/// x: FP32 [-1, 3].
fn rows_of_three() -> Signature {
    undeclared(&[("x", Datatype::Fp32, &[-1, 3])])
}

fn pair() -> Signature {
    undeclared(&[("a", Datatype::Fp32, &[-1]), ("b", Datatype::Int64, &[-1])])
}

/// Three columns of doubles for x.
fn three_columns() -> Signature {
    let fields = ["p", "q", "r"].map(|name| column(name, Datatype::Fp64)).to_vec();
    declared(&[("x", Datatype::Fp32, &[-1, 3])], Declared::Columns(fields))
}

fn decoded(signature: &Signature, body: &str) -> Result<(InferRequest, &'static dyn Form), Error> {
    let budget = Budget::new(1 << 20);
    decode_json(&NEVER, body.as_bytes(), signature, &mut budget.reserve())
}

fn decode_csv(
    stop: &Stop,
    body: &[u8],
    signature: &Signature,
    held: &mut Reservation,
) -> Result<(InferRequest, &'static dyn Form), Error> {
    decode_table(stop, body, Table::Csv, signature, held)
}

fn table(signature: &Signature, body: &str) -> Result<(InferRequest, &'static dyn Form), Error> {
    let budget = Budget::new(1 << 20);
    decode_csv(&NEVER, body.as_bytes(), signature, &mut budget.reserve())
}

/// Each input's name, shape and values, as text.
fn said((request, _): &(InferRequest, &'static dyn Form)) -> String {
    let mut parts = Vec::new();
    for input in &request.inputs {
        let Payload::Json { data, count } = &input.payload else { panic!("not converted") };
        let values = match Datatype::from_name(&input.datatype).unwrap() {
            Datatype::Bytes => {
                let texts: Vec<_> = bytes_tensor::elements(data).map(String::from_utf8_lossy).collect();
                format!("{texts:?}")
            }
            datatype @ (Datatype::Fp16 | Datatype::Bf16) => {
                let mut out = Vec::new();
                let wide = super::halves::widened(datatype, data);
                crate::codec::json::values::run(&mut out, Datatype::Fp32, &wide).unwrap();
                format!("[{}]", String::from_utf8(out).unwrap())
            }
            datatype => {
                let mut out = Vec::new();
                crate::codec::json::values::run(&mut out, datatype, data).unwrap();
                assert_eq!(data.len(), count * datatype.size().unwrap());
                format!("[{}]", String::from_utf8(out).unwrap())
            }
        };
        parts.push(format!("{}{}={values}", input.name, crate::tensor::show(&input.shape)));
    }
    parts.join(" ")
}

fn is_rows((_, form): &(InferRequest, &'static dyn Form)) -> bool {
    format!("{form:?}") == "Rows"
}

#[test]
fn each_form_brings_the_same_tensor() {
    let x = "x[2,3]=[1.0,2.0,3.0,4.0,5.0,6.0]";
    for body in [
        r#"{"inputs": {"x": [[1,2,3],[4,5,6]]}}"#,
        r#"{"inputs": [[1,2,3],[4,5,6]], "params": 5, "signature_name": "z", "other": [1]}"#,
        r#"{"instances": [[1,2,3],[4,5,6]]}"#,
        r#"{"instances": [{"x": [1,2,3]}, {"x": [4,5,6]}]}"#,
        r#"{"instances": {"x": [[1,2,3],[4,5,6]]}}"#,
        r#"{"dataframe_split": {"columns": ["p","q","r"], "index": [7,8], "data": [[1,2,3],[4,5,6]]}}"#,
        r#"{"dataframe_split": {"data": [[1,2,3],[4,5,6]], "columns": ["p","q","r"]}}"#,
        r#"{"dataframe_split": {"data": [[1,2,3],[4,5,6]]}}"#,
        r#"{"dataframe_split": {"columns": ["x"], "data": [[[1,2,3]],[[4,5,6]]]}}"#,
        r#"{"dataframe_records": [{"p":1,"q":2,"r":3},{"r":6,"p":4,"q":5}]}"#,
        r#"{"dataframe_records": [{"x":[1,2,3]},{"x":[4,5,6]}]}"#,
        "\u{feff}{\"inputs\": {\"x\": [[\"1\", 2, 3.0], [\" 4 \", 5e0, 6]]}}",
    ] {
        let found = decoded(&rows_of_three(), body).unwrap();
        assert_eq!(said(&found), x, "{body}");
        assert_eq!(is_rows(&found), body.contains("dataframe"), "{body}");
    }
    assert_eq!(said(&table(&rows_of_three(), "p,q,r\n1,2,3\n4, 5 ,6").unwrap()), x);
}

#[test]
fn several_inputs_come_by_name() {
    let both = "a[2]=[1.0,2.0] b[2]=[3,4]";
    for body in [
        r#"{"inputs": {"a": [1,2], "b": [3,4.0]}}"#,
        r#"{"instances": [{"a":1,"b":3},{"b":4,"a":2}]}"#,
        r#"{"dataframe_split": {"columns": ["z","a","b"], "data": [["?",1,3],["?",2,4]]}}"#,
        r#"{"dataframe_records": [{"a":1,"b":3,"z":[]},{"b":4,"a":2}]}"#,
    ] {
        assert_eq!(said(&decoded(&pair(), body).unwrap()), both, "{body}");
    }
    assert_eq!(said(&table(&pair(), "a,b,z\n1,3,\"x,\"\"y\"\n2,4,\n").unwrap()), both);
    // Columns of one value each are what a model of [-1, 1] takes.
    let tall = undeclared(&[("a", Datatype::Fp32, &[-1, 1]), ("b", Datatype::Int64, &[-1, 1])]);
    assert_eq!(said(&table(&tall, "a,b\n1,3\n2,4\n").unwrap()), "a[2,1]=[1.0,2.0] b[2,1]=[3,4]");
}

#[test]
fn columns_follow_the_signature_whatever_their_order() {
    let x = "x[1,3]=[1.0,2.0,3.0]";
    for body in [
        r#"{"dataframe_split": {"columns": ["r","p","q","z"], "data": [[3,1,2,9]]}}"#,
        r#"{"dataframe_records": [{"q":2,"p":1,"r":"3"}]}"#,
        r#"{"inputs": {"p":[1],"q":[2],"r":[3]}}"#,
        r#"{"inputs": {"p":1,"q":2,"r":3}}"#,
        r#"{"instances": [{"p":1,"q":2,"r":3}]}"#,
    ] {
        let found = decoded(&three_columns(), body).unwrap();
        assert_eq!((said(&found).as_str(), is_rows(&found)), (x, true), "{body}");
    }
    assert_eq!(said(&table(&three_columns(), "r,z,p,q\n3,9,1,2\n").unwrap()), x);
    let nameless =
        declared(&[("x", Datatype::Fp32, &[-1, 3])], Declared::Columns(vec![column("", Datatype::Fp64); 3]));
    for body in [
        r#"{"dataframe_split": {"columns": ["c","a","b"], "data": [[1,2,3]]}}"#,
        r#"{"dataframe_split": {"data": [[1,2,3,4]]}}"#,
        r#"{"inputs": [[1,2,3]]}"#,
    ] {
        assert_eq!(said(&decoded(&nameless, body).unwrap()), x, "{body}");
    }
    let error = decoded(&nameless, r#"{"inputs": [[1,2]]}"#).unwrap_err();
    assert!(error.message.contains("declares 3 inputs but the provided value only has 2"), "{error}");
}

#[test]
fn cells_that_did_not_come_are_missing() {
    for body in [
        r#"{"dataframe_records": [{"p":1,"q":2,"r":3},{"p":1,"r":3}]}"#,
        r#"{"dataframe_records": [{"q":2,"p":1,"r":3},{"p":1,"q":null,"r":3}]}"#,
        r#"{"dataframe_split": {"columns": ["p","r","q"], "data": [[1,3,2],[1,3]]}}"#,
    ] {
        let found = decoded(&three_columns(), body).unwrap();
        assert_eq!(said(&found), "x[2,3]=[1.0,2.0,3.0,1.0,NaN,3.0]", "{body}");
    }
    let body = r#"{"dataframe_records": [{"a":1},{"a":1,"b":3}]}"#;
    let error = decoded(&pair(), body).unwrap_err();
    assert!(error.message.contains("a missing value cannot be converted (input 'b', int64)"), "{error}");
    assert_eq!(
        said(&table(&three_columns(), "p,q,r\n1,NA,\n\n-inf,nan,#N/A\n").unwrap()),
        "x[2,3]=[1.0,NaN,NaN,-Infinity,NaN,NaN]"
    );
    let found = decoded(&three_columns(), r#"{"dataframe_split": {"columns": ["p","q","r"], "data": []}}"#);
    assert_eq!(said(&found.unwrap()), "x[0,3]=[]");
}

#[test]
fn every_row_of_the_error_table_has_its_words() {
    let mismatch = ErrorCode::SchemaMismatch;
    let bad = ErrorCode::BadRequest;
    for (body, code, text) in [
        ("", bad, "Ensure that input is a valid JSON formatted string. Error: '"),
        ("{", bad, "Ensure that input is a valid JSON formatted string. Error: '"),
        (r#"{"inputs": [[1,2,3]]} x"#, bad, "Ensure that input is a valid JSON"),
        (r#"{"inputs": [[1,2,3"#, bad, "Ensure that input is a valid JSON"),
        ("[1]", bad, "with exactly one of the input fields {'dataframe_records', "),
        ("[1]", bad, "Received a list."),
        ("5", bad, "Received unexpected input type 'a number'"),
        ("null", bad, "Received unexpected input type 'null'"),
        ("{}", bad, "Received dictionary with input fields: []."),
        (r#"{"zz": 1}"#, bad, "Received dictionary with input fields: []."),
        (r#"{"inputs": [[1,2,3]], "instances": 2}"#, bad, "input fields: ['inputs', 'instances']."),
        (r#"{"messages": []}"#, bad, "'messages' is of the form for language models"),
        (r#"{"input": 1}"#, bad, "'input' is of the form for language models"),
        (r#"{"dataframe_split": [1]}"#, bad, "Dataframe split format must be a dictionary. Got list."),
        (
            r#"{"dataframe_split": {"columns": ["x"]}}"#,
            bad,
            "must have 'data' field and optionally 'columns'",
        ),
        (r#"{"dataframe_split": {"data": [[1]], "foo": 1}}"#, bad, "Got {'data', 'foo'}"),
        (
            r#"{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}"#,
            bad,
            "not a valid dataframe representation in 'split' format. Error: '1 columns passed",
        ),
        (r#"{"dataframe_split": {"data": 5}}"#, bad, "in 'split' format. Error: 'rows must be a list"),
        (r#"{"dataframe_split": {"data": [5]}}"#, bad, "a row must be a list, got a number"),
        (r#"{"dataframe_split": {"columns": "pqr", "data": []}}"#, bad, "'columns' must be a list"),
        (r#"{"dataframe_split": {"index": "z", "data": []}}"#, bad, "'index' must be a list"),
        (r#"{"dataframe_split": {"columns": ["a", "a"], "data": []}}"#, bad, "'a' appears twice"),
        (r#"{"dataframe_records": {"x": 1}}"#, bad, "must be a list of records. Got dictionary."),
        (r#"{"dataframe_records": [1]}"#, bad, "not a valid dataframe representation in 'records' format"),
        (r#"{"dataframe_records": [{"x": 1, "x": 1}]}"#, bad, "'x' appears twice"),
        (r#"{"inputs": {"x": [], "x": []}}"#, bad, "'x' appears twice"),
        (r#"{"inputs": [[1,2,3]], "inputs": []}"#, bad, "'inputs' appears twice"),
        (r#"{"instances": [{"x": [1,2,3]}, 5]}"#, bad, "either all dictionaries"),
        (
            r#"{"inputs": {"x": [["a",2,3]]}}"#,
            bad,
            "Invalid input. could not convert string to float: 'a' (input 'x', float32)",
        ),
        (r#"{"inputs": {"x": [[{},2,3]]}}"#, bad, "expected numbers, got an object (input 'x', float32)"),
        (r#"{"inputs": {"x": [[1,2,3],[4,5]]}}"#, bad, "inhomogeneous shape"),
        (r#"{"inputs": {"x": [[1,2,[3]]]}}"#, bad, "inhomogeneous shape"),
        (r#"{"inputs": {"x": [[1e39,2,3]]}}"#, bad, "1e39 is out of range (input 'x', float32)"),
        (r#"{"inputs": {"x": [[1e400,2,3]]}}"#, bad, "1e400 is out of range"),
        (
            r#"{"inputs": {"x": [[1,2]]}}"#,
            mismatch,
            "Shape of input (1, 2) does not match expected shape (-1, 3).",
        ),
        (
            r#"{"inputs": {"x": [1,2,3]}}"#,
            mismatch,
            "Shape of input (3,) does not match expected shape (-1, 3).",
        ),
        (r#"{"inputs": 5}"#, mismatch, "Shape of input () does not match"),
        (r#"{"inputs": null}"#, mismatch, "Shape of input () does not match"),
        (r#"{"inputs": []}"#, mismatch, "Shape of input (0,) does not match"),
        (
            r#"{"inputs": {"z": [[1,2,3]]}}"#,
            mismatch,
            "with schema '['x': Tensor('float32', (-1, 3))]'. Error: Model is missing inputs ['x']. Note that \
             there were extra inputs: ['z'].",
        ),
        (r#"{"inputs": {}}"#, mismatch, "Model is missing inputs ['x']."),
    ] {
        let error = decoded(&rows_of_three(), body).unwrap_err();
        assert_eq!(error.code, code, "{body}: {error}");
        assert!(error.message.contains(text), "{body}: {}", error.message);
    }
    let error = decode_json(&NEVER, b"\xff", &rows_of_three(), &mut Budget::new(99).reserve()).unwrap_err();
    assert!(error.message.contains("not valid UTF-8"), "{error}");
}

#[test]
fn what_names_no_input_needs_a_model_of_one() {
    let error = decoded(&pair(), r#"{"inputs": [[1,2]]}"#).unwrap_err();
    assert!(error.message.contains("Model is missing inputs ['a', 'b']."), "{error}");
    let error = decoded(&pair(), r#"{"instances": [{"a":1,"b":2},{"a":1}]}"#).unwrap_err();
    assert!(
        error.message.contains("length of values for each input/column name are not the same"),
        "{error}"
    );
    let error = decoded(&three_columns(), r#"{"inputs": {"p":[1,2],"q":[1],"r":[1]}}"#).unwrap_err();
    assert!(error.message.contains("are not the same"), "{error}");
    let error = decoded(&three_columns(), r#"{"inputs": [[1,2,3]]}"#).unwrap_err();
    assert_eq!(error.code, ErrorCode::SchemaMismatch);
    assert!(
        error
            .message
            .contains("missing inputs ['p', 'q', 'r']. Note that there were extra inputs: ['0', '1', '2']")
    );
}

#[test]
fn a_declared_tensor_is_held_against_what_is_declared() {
    let fields = vec![tensor("x", Datatype::Fp64, &[-1, 2])];
    let signature = declared(&[("x", Datatype::Fp32, &[-1, -1])], Declared::Tensors(fields));
    assert_eq!(said(&decoded(&signature, r#"{"inputs": [[1, 0.1]]}"#).unwrap()), "x[1,2]=[1.0,0.1]");
    let error = decoded(&signature, r#"{"inputs": [[1, 2, 3]]}"#).unwrap_err();
    assert!(error.message.contains("(1, 3) does not match expected shape (-1, 2)"), "{error}");
    let error = decoded(&signature, r#"{"inputs": [[1, 1e39]]}"#).unwrap_err();
    assert!(error.message.contains("is out of range"), "{error}");
    // A data frame of such a model brings tensors by column, and is answered with tensors.
    let found = decoded(&signature, r#"{"dataframe_records": [{"x":[1,2]}]}"#).unwrap();
    assert_eq!((said(&found).as_str(), is_rows(&found)), ("x[1,2]=[1.0,2.0]", false));
    let error = table(&signature, "x\n1\n").unwrap_err();
    assert!(error.message.starts_with("Failed to parse input as a Pandas DataFrame."), "{error}");
    let integers = vec![tensor("x", Datatype::Int64, &[-1])];
    let signature = declared(&[("x", Datatype::Fp32, &[-1])], Declared::Tensors(integers));
    for (body, text) in [("[1.5]", "1.5 is no integer"), ("[16777217]", "would round 16777217")] {
        let error = decoded(&signature, &format!("{{\"inputs\": {body}}}")).unwrap_err();
        assert!(error.message.contains(text), "{error}");
    }
}

#[test]
fn strictness_refuses_inputs_that_nobody_asked_for() {
    let body = r#"{"inputs": {"x": [[1,2,3]], "z": 1}}"#;
    let mut signature = rows_of_three();
    assert!(decoded(&signature, body).is_ok());
    signature.schema.strict = true;
    let error = decoded(&signature, body).unwrap_err();
    assert!(
        error.code == ErrorCode::SchemaMismatch && error.message.contains("does not have: ['z']"),
        "{error}"
    );
}

#[test]
fn a_signature_that_cannot_be_served_says_so() {
    let mut signature = rows_of_three();
    signature.schema.unusable = Some("column 'when' is a datetime".into());
    let error = decoded(&signature, r#"{"inputs": [[1,2,3]]}"#).unwrap_err();
    assert!(
        error.code == ErrorCode::Unimplemented && error.message.contains("'when' is a datetime"),
        "{error}"
    );
}

#[test]
fn parameters_are_held_against_those_that_are_declared() {
    let mut signature = rows_of_three();
    let param = |name: &str, kind, list| Param { name: name.into(), kind, list };
    signature.schema.params = vec![
        param("t", ParamKind::Float, false),
        param("k", ParamKind::Long, false),
        param("i", ParamKind::Integer, false),
        param("b", ParamKind::Boolean, false),
        param("l", ParamKind::Text, true),
        param("o", ParamKind::Any, false),
    ];
    let ask = |params: &str| {
        decoded(&signature, &format!(r#"{{"params": {params}, "inputs": [[1,2,3]]}}"#)).map(|_| ())
    };
    for good in [
        "null",
        "{}",
        r#"{"t": 1, "k": 5, "b": true, "l": ["b"], "o": {"a": [1]}, "zz": {}}"#,
        r#"{"t": null, "l": [], "t": 0.5, "i": -1}"#,
    ] {
        ask(good).unwrap();
    }
    for (bad, text) in [
        ("5", "Parameters must be a dictionary. Got a number."),
        ("[]", "Parameters must be a dictionary. Got an array."),
        (r#"{"t": "a"}"#, "Invalid parameters found: 't': expected a number, got a string"),
        (r#"{"k": 1.5}"#, "'k': expected an integer in its range, got 1.5"),
        (r#"{"k": true}"#, "'k': expected an integer, got a bool"),
        (r#"{"i": 3000000000}"#, "'i': expected an integer in its range"),
        (r#"{"l": "b"}"#, "'l': expected a list, got a string"),
        (r#"{"l": [1]}"#, "'l': expected a string, got a number"),
        (r#"{"t": [1.0]}"#, "'t': expected a number, got an array"),
    ] {
        let error = ask(bad).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaMismatch, "{bad}");
        assert!(error.message.contains(text), "{bad}: {}", error.message);
    }
    // Without a declaration they are passed over, whatever they are.
    decoded(&rows_of_three(), r#"{"params": 5, "inputs": [[1,2,3]]}"#).unwrap();
}

#[test]
fn values_become_what_is_declared_or_are_refused() {
    use Datatype::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int32, Int64, Uint8, Uint64};
    for (declared_as, datatype, cell, found) in [
        (Int64, Int64, "1", Ok("1")),
        (Int64, Int64, "1.0", Ok("1")),
        (Int64, Int64, "1e2", Ok("100")),
        (Int64, Int64, "9007199254740993.0", Ok("9007199254740993")),
        (Int64, Int64, "-9007199254740993.00e0", Ok("-9007199254740993")),
        (Int64, Int64, "90071992547409930e-1", Ok("9007199254740993")),
        (Int64, Int64, "9.223372036854775807e18", Ok("9223372036854775807")),
        (Int64, Int64, "9.223372036854775808e18", Err("out of range")),
        (Int64, Int64, "9007199254740993.5", Err("9007199254740993.5 is no integer")),
        (Int64, Int64, "1e-400", Err("1e-400 is no integer")),
        (Int64, Int64, "-0.0", Ok("0")),
        (Uint64, Uint64, "18446744073709551615.0", Ok("18446744073709551615")),
        (Uint64, Uint64, "1e50", Err("1e50 is out of range")),
        (Int64, Int64, "\"1\"", Ok("1")),
        (Int64, Int64, "\" +7 \"", Ok("7")),
        (Int64, Int64, "\"+-1\"", Err("invalid literal for int() with base 10: '+-1'")),
        (Int64, Int64, "\"--1\"", Err("invalid literal for int() with base 10: '--1'")),
        (Int64, Int64, "true", Ok("1")),
        (Int64, Int64, "1.5", Err("1.5 is no integer")),
        (Int64, Int64, "\"1.5\"", Err("invalid literal for int() with base 10: '1.5'")),
        (Int64, Int64, "null", Err("a missing value")),
        (Int64, Int64, "NaN", Err("NaN is no integer")),
        (Int64, Int64, "1e400", Err("out of range")),
        (Int64, Int64, "9223372036854775807", Ok("9223372036854775807")),
        (Int64, Int64, "9223372036854775808", Err("out of range")),
        (Int64, Int64, "-9223372036854775808", Ok("-9223372036854775808")),
        (Uint64, Uint64, "18446744073709551615", Ok("18446744073709551615")),
        (Uint8, Uint8, "-1", Err("-1 is out of range")),
        (Int8, Int8, "128", Err("128 is out of range")),
        (Int32, Int64, "2147483647", Ok("2147483647")),
        (Int32, Int64, "2147483648", Err("2147483648 is out of range (input 'c', int32)")),
        (Int64, Int32, "2147483648", Err("2147483648 is out of range (input 'c', int32)")),
        (Int64, Fp64, "9007199254740992", Ok("9007199254740992.0")),
        (Int64, Fp64, "9007199254740993", Err("would round 9007199254740993")),
        (Int64, Fp32, "16777217", Err("would round 16777217 (input 'c', float32)")),
        (Fp64, Fp64, "9007199254740993", Err("would round 9007199254740993")),
        (Fp64, Fp64, "0.1", Ok("0.1")),
        (Fp64, Fp32, "0.1", Ok("0.1")),
        (Fp64, Fp32, "16777217", Ok("16777216.0")),
        (Fp64, Fp32, "1e39", Err("1e39 is out of range (input 'c', float32)")),
        (Fp64, Fp32, "\" 1e300\"", Err(" 1e300 is out of range (input 'c', float32)")),
        (Fp64, Fp64, "1e309", Err("1e309 is out of range")),
        (Fp64, Fp64, "\" -Inf \"", Ok("-Infinity")),
        (Fp64, Fp64, "\"1_0\"", Err("could not convert string to float: '1_0'")),
        (Fp64, Fp64, "null", Ok("NaN")),
        (Fp64, Fp64, "false", Ok("0.0")),
        (Fp64, Fp64, "[1]", Err("lists beside")),
        (Fp64, Int64, "1", Err("Can not safely convert float64 to int64.")),
        (Fp64, Fp16, "0.1", Ok("0.099975586")),
        (Fp64, Fp16, "65519", Ok("65504.0")),
        (Fp64, Fp16, "65520", Err("65520 is out of range (input 'c', float16)")),
        (Fp64, Fp16, "-Infinity", Ok("-Infinity")),
        (Fp16, Fp16, "2049", Err("would round 2049 (input 'c', float16)")),
        (Fp16, Fp16, "2050", Ok("2050.0")),
        (Fp16, Fp16, "1e9", Err("1e9 is out of range (input 'c', float16)")),
        (Fp16, Fp16, "\" 0.5\"", Ok("0.5")),
        (Fp16, Fp16, "null", Ok("NaN")),
        (Int64, Fp16, "2049", Err("would round 2049 (input 'c', float16)")),
        (Int64, Fp16, "70000", Err("70000 is out of range (input 'c', float16)")),
        (Bool, Fp16, "true", Ok("1.0")),
        (Fp64, Bf16, "257.5", Ok("258.0")),
        (Int64, Bf16, "257", Err("would round 257 (input 'c', bfloat16)")),
        (Fp64, Bf16, "3.4e38", Err("3.4e38 is out of range (input 'c', bfloat16)")),
        (Fp16, Int64, "1", Err("Can not safely convert float16 to int64.")),
        (Bool, Bool, "true", Ok("true")),
        (Bool, Bool, "0", Ok("false")),
        (Bool, Bool, "2", Err("'2' is neither true nor false")),
        (Bool, Fp32, "true", Ok("1.0")),
        (Fp32, Bool, "1", Err("Can not safely convert float32 to bool.")),
        (Bytes, Bytes, "\"a\"", Ok("[\"a\", \"z\"]")),
        (Bytes, Bytes, "1", Err("expected strings, got a number")),
        (Bytes, Fp32, "\"a\"", Err("Can not safely convert object to float32.")),
    ] {
        // Beside another column of the same kind, so that nothing else takes a list.
        let fields = vec![column("c", declared_as), column("d", declared_as)];
        let signature = declared(&[("x", datatype, &[-1, 2])], Declared::Columns(fields));
        let other = if declared_as == Bytes { "\"z\"" } else { "0" };
        let body = format!(r#"{{"dataframe_records": [{{"c": {cell}, "d": {other}}}]}}"#);
        match (decoded(&signature, &body), found) {
            (Ok(request), Ok(value)) => {
                let text = said(&request);
                let wanted = value.trim_end_matches(']');
                assert!(
                    text.starts_with(&format!("x[1,2]=[{}", wanted.trim_start_matches('['))),
                    "{body}: {text}"
                );
            }
            (Err(error), Err(text)) => assert!(error.message.contains(text), "{body}: {}", error.message),
            (got, _) => panic!("{declared_as} {datatype} {body}: {:?}", got.map(|found| said(&found))),
        }
    }
}

#[test]
fn what_a_cast_changes_is_taken_where_that_is_wished() {
    let fields = vec![column("c", Datatype::Int64)];
    let mut signature = declared(&[("x", Datatype::Fp32, &[-1, 1])], Declared::Columns(fields));
    signature.schema.lossy = true;
    let body = |cell: &str| format!(r#"{{"dataframe_records": [{{"c": {cell}}}]}}"#);
    for (cell, found) in [("1.9", "1.0"), ("-1.9", "-1.0"), ("16777217", "16777216.0")] {
        assert_eq!(said(&decoded(&signature, &body(cell)).unwrap()), format!("x[1,1]=[{found}]"), "{cell}");
    }
    // Never is a number wrapped.
    assert!(decoded(&signature, &body("1e20")).unwrap_err().message.contains("out of range"));
}

#[test]
fn csv_is_read_as_pandas_writes_it() {
    let texts = declared(
        &[("x", Datatype::Bytes, &[-1, 2])],
        Declared::Columns(vec![column("s", Datatype::Bytes), column("t", Datatype::Bytes)]),
    );
    let found = table(&texts, "\u{feff}s,t\r\n\"a,\"\"b\"\"\",\"x\ny\"\r\n NA ,\"\"\r\n").unwrap();
    assert_eq!(said(&found), r#"x[2,2]=["a,\"b\"", "x\ny", " NA ", ""]"#);
    for (body, text) in [
        ("", "no columns to parse"),
        ("\n\n", "no columns to parse"),
        ("p,q,r\n1,\"2,3\n", "the quote that begins in line 2 does not end"),
        ("p,q,r\n1,\"2\"x,3\n", "line 2 goes on behind a quoted field"),
        ("p,q,r\n1,2,3,4\n", "line 2 has more than 3 fields"),
        ("p,q,p\n", "'p' appears twice"),
        ("p,q,r\n1,a,3\n", "could not convert string to float: 'a' (input 'q', float64)"),
        ("p,q\n1,2\n", "Model is missing inputs ['r']."),
    ] {
        let error = table(&three_columns(), body).unwrap_err();
        assert!(error.message.contains(text), "{body:?}: {}", error.message);
    }
    let integers =
        declared(&[("x", Datatype::Int64, &[-1])], Declared::Columns(vec![column("i", Datatype::Int64)]));
    assert_eq!(said(&table(&integers, "i\n1\n2.0\n+3\n").unwrap()), "x[3]=[1,2,3]");
    assert!(table(&integers, "i\n1.5\n").unwrap_err().message.contains("1.5 is no integer"));
}

#[test]
fn fault_59_depth_and_sizes_are_bounded() {
    for body in [
        format!(r#"{{"inputs": {}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000)),
        format!(r#"{{"other": {}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000)),
        format!(r#"{{"inputs": {{"z": {}}}}}"#, "[".repeat(50_000)),
        format!(r#"{{"dataframe_records": [{{"z": {}}}]}}"#, "[".repeat(50_000)),
        format!(r#"{{"inputs": [[{},2,3]]}}"#, "9".repeat(4_000)),
    ] {
        let error = decoded(&rows_of_three(), &body).unwrap_err();
        assert!(error.code == ErrorCode::BadRequest && error.message.len() < 400, "{}", error.message);
    }
    // A column more in each record makes cells that did not come: never more than a message has.
    let budget = Budget::of_messages(1 << 30, 100_000);
    let records: Vec<String> = (0..1000).map(|i| format!(r#"{{"c{i}":1}}"#)).collect();
    let body = format!(r#"{{"dataframe_records": [{}]}}"#, records.join(","));
    let error = decode_json(&NEVER, body.as_bytes(), &rows_of_three(), &mut budget.reserve()).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
}

#[test]
fn an_error_goes_out_in_mlflows_envelope() {
    let text = |code| String::from_utf8(error(&Error::new(code, "w\"")).to_vec()).unwrap();
    assert_eq!(
        text(ErrorCode::BadRequest),
        r#"{"error_code":"BAD_REQUEST","message":"w\"","sqlstate":"KAM00","error_class":"INVALID_PARAMETER_VALUE"}"#
    );
    assert_eq!(
        text(ErrorCode::SchemaMismatch),
        r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"w\"","sqlstate":"KAM01","error_class":"SCHEMA_ENFORCEMENT_FAILED"}"#
    );
    assert_eq!(text(ErrorCode::Full), r#"{"error_code":"RESOURCE_EXHAUSTED","message":"w\""}"#);
}

#[test]
fn an_alias_that_is_none_is_told_apart_from_a_request_that_does_not_fit() {
    let request = InferRequest { version: "champion".into(), ..InferRequest::default() };
    let signature = rows_of_three();
    for (of, code) in [(None, ErrorCode::NotFound), (Some(&signature), ErrorCode::BadRequest)] {
        let error = Predictions::Tensors.refusal(Error::bad("no"), &request, of);
        assert_eq!(error.code, code);
    }
    let numbered = InferRequest { version: "-1".into(), ..InferRequest::default() };
    assert_eq!(Predictions::Rows.refusal(Error::bad("no"), &numbered, None).code, ErrorCode::BadRequest);
    // No version can have this number, so none has.
    let version = "9".repeat(23);
    let beyond = InferRequest { model: "m".into(), version: version.clone(), ..InferRequest::default() };
    let error = Predictions::Rows.refusal(Error::bad("no"), &beyond, None);
    assert_eq!(error.code, ErrorCode::NotFound);
    assert_eq!(error.message, format!("Request for unknown model: 'm' version {version} is not found"));
}

#[test]
fn each_of_many_inputs_gets_its_own_values_however_they_are_ordered() {
    let names: Vec<String> = (0..40).map(|i| format!("n{i}")).collect();
    let inputs: Vec<_> = names.iter().map(|name| (name.as_str(), Datatype::Int64, &[-1i64][..])).collect();
    let signature = undeclared(&inputs);
    let members = |row: usize| -> Vec<String> {
        names.iter().enumerate().rev().map(|(i, name)| format!("\"{name}\": {}", row * 100 + i)).collect()
    };
    let (first, second) = (members(0).join(","), members(1).join(","));
    for key in ["instances", "dataframe_records"] {
        let (request, _) =
            decoded(&signature, &format!("{{\"{key}\": [{{{first}}}, {{{second}}}]}}")).unwrap();
        assert_eq!(request.inputs.len(), names.len());
        for input in &request.inputs {
            let i: i64 = input.name[1..].parse().unwrap();
            let Payload::Json { data, .. } = &input.payload else { panic!() };
            assert_eq!(data[..], [i.to_le_bytes(), (100 + i).to_le_bytes()].concat(), "{key} {i}");
        }
    }
    for (body, text) in [
        (format!(r#"{{"instances": [{{{first}, "n7": 1}}]}}"#), "'n7' appears twice"),
        (r#"{"instances": [{"n0": 1, "m": 2}]}"#.to_owned(), "extra inputs: ['m']"),
    ] {
        let error = decoded(&signature, &body).unwrap_err();
        assert!(error.message.contains(text), "{error}");
    }
}

fn answered(form: &dyn Form, outputs: &[OutputTensor<'_>]) -> Result<String, Error> {
    let head = AnswerHead { model: "m", version: "1", id: None, asked: None };
    let budget = Budget::new(1 << 20);
    let answer = form.encode(Encoding::Identity, &head, outputs, &budget.reserve())?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

fn output<'a>(name: &'a str, datatype: Datatype, shape: &[i64], data: &'a [u8]) -> OutputTensor<'a> {
    OutputTensor { name, datatype, shape: Shape::from_slice(shape), data, binary: false, placed: false }
}

#[test]
fn answers_are_nested_lists_or_rows() {
    let six: Vec<u8> = (1..=6).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let halves: Vec<u8> =
        [1.5, -0.5, f64::NAN].iter().flat_map(|&n| super::halves::bytes(Datatype::Fp16, n)).collect();
    let brain: Vec<u8> =
        [3.0e38, 2.0].iter().flat_map(|&n| super::halves::bytes(Datatype::Bf16, n)).collect();
    let odd: Vec<u8> = [f32::NAN, f32::NEG_INFINITY].iter().flat_map(|n| n.to_le_bytes()).collect();
    let mut texts = Vec::new();
    bytes_tensor::push(&mut texts, b"a\"");
    bytes_tensor::push(&mut texts, b"b");
    let (f, b) = (Datatype::Fp32, Datatype::Bytes);
    for (outputs, nested) in [
        (vec![output("y", f, &[2, 3], &six)], r#"{"y":[[1.0,2.0,3.0],[4.0,5.0,6.0]]}"#),
        (vec![output("y", f, &[1, 2, 3], &six)], r#"{"y":[[[1.0,2.0,3.0],[4.0,5.0,6.0]]]}"#),
        (vec![output("y", f, &[3, 2, 1], &six)], r#"{"y":[[[1.0],[2.0]],[[3.0],[4.0]],[[5.0],[6.0]]]}"#),
        (vec![output("y", f, &[], &six[..4])], r#"{"y":1.0}"#),
        (vec![output("y", Datatype::Fp16, &[3], &halves)], r#"{"y":[1.5,-0.5,NaN]}"#),
        (vec![output("y", Datatype::Bf16, &[1, 2], &brain)], r#"{"y":[[3.0040553e+38,2.0]]}"#),
        (vec![output("y", f, &[0, 3], &[])], r#"{"y":[]}"#),
        (vec![output("y", f, &[2, 0, 3], &[])], r#"{"y":[[],[]]}"#),
        (
            vec![output("y", f, &[2], &odd), output("t", b, &[2], &texts)],
            r#"{"y":[NaN,-Infinity],"t":["a\"","b"]}"#,
        ),
    ] {
        assert_eq!(
            answered(&Predictions::Tensors, &outputs).unwrap(),
            format!("{{\"predictions\": {nested}}}")
        );
    }
    for (outputs, rows) in [
        (vec![output("y", f, &[2, 1], &odd)], r#"[{"y":NaN},{"y":-Infinity}]"#),
        (vec![output("y", f, &[2, 3], &six)], r#"[{"y":[1.0,2.0,3.0]},{"y":[4.0,5.0,6.0]}]"#),
        (
            vec![output("y", f, &[3, 2, 1], &six)],
            r#"[{"y":[[1.0],[2.0]]},{"y":[[3.0],[4.0]]},{"y":[[5.0],[6.0]]}]"#,
        ),
        (
            vec![output("y", f, &[2], &odd), output("t", b, &[2], &texts)],
            r#"[{"y":NaN,"t":"a\""},{"y":-Infinity,"t":"b"}]"#,
        ),
        (vec![output("y", f, &[0, 3], &[])], "[]"),
        (vec![output("y", f, &[2, 0], &[])], r#"[{"y":[]},{"y":[]}]"#),
    ] {
        assert_eq!(answered(&Predictions::Rows, &outputs).unwrap(), format!("{{\"predictions\": {rows}}}"));
    }
    // What has not one entry for each row is no list of rows, and is answered as tensors.
    for z in [output("z", f, &[], &six[..4]), output("z", f, &[1], &six[..4])] {
        let tensor = if z.shape.is_empty() { "1.0" } else { "[1.0]" };
        let uneven = [output("y", f, &[2], &odd), z];
        let text = format!(r#"{{"predictions": {{"y":[NaN,-Infinity],"z":{tensor}}}}}"#);
        assert_eq!(answered(&Predictions::Rows, &uneven).unwrap(), text);
    }
}

#[test]
fn fault_102_an_answer_far_over_the_limit_takes_no_memory() {
    let data = vec![0; 8 << 20];
    let head = AnswerHead { model: "m", version: "1", id: None, asked: None };
    for form in [Predictions::Tensors, Predictions::Rows] {
        let budget = Budget::of_messages(1000, 1 << 20);
        let outputs = [output("y", Datatype::Fp32, &[2 << 20], &data)];
        let error = form.encode(Encoding::Identity, &head, &outputs, &budget.reserve()).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("takes at least 4194304 bytes, over the limit of 1048576"), "{error}");
    }
}

/// Nested lists as text, by a walk that anybody can follow.
fn written(shape: &[usize], values: &mut impl Iterator<Item = f32>) -> String {
    match shape {
        [] => format!("{:?}", values.next().unwrap()),
        [size, rest @ ..] => {
            let parts: Vec<String> = (0..*size).map(|_| written(rest, values)).collect();
            format!("[{}]", parts.join(","))
        }
    }
}

proptest! {
    /// What is written as nested lists is read as the same tensor, and what is read is written alike.
    #[test]
    fn any_tensor_comes_and_goes(shape in prop::collection::vec(0usize..4, 0..5), seed in any::<u32>()) {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| (seed.wrapping_mul(i as u32 + 1) % 2001) as f32 / 8.0 - 125.0).collect();
        let text = written(&shape, &mut numbers.iter().copied());
        let signature = undeclared(&[("x", Datatype::Fp32, &vec![-1; shape.len()])]);
        let found = decoded(&signature, &format!(r#"{{"inputs": {{"x": {text}}}}}"#));
        let data: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        // An empty list has no depth below it.
        if !shape.contains(&0) {
            let (request, _) = found.unwrap();
            let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
            prop_assert_eq!(request.inputs[0].shape.as_slice(), dims.as_slice());
            let Payload::Json { data: got, .. } = &request.inputs[0].payload else { panic!() };
            prop_assert_eq!(got.as_ref(), data.as_slice());
        }
        let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
        let answer = answered(&Predictions::Tensors, &[output("y", Datatype::Fp32, &dims, &data)]).unwrap();
        prop_assert_eq!(answer, format!("{{\"predictions\": {{\"y\":{text}}}}}"));
    }

    /// Damaged bodies end in words, whatever stands in them.
    #[test]
    fn damaged_bodies_are_refused_in_words(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
        for body in [
            r#"{"inputs": {"x": [[1, 2.5, "3"], [null, true, 6e0]]}, "params": {"a": [1, {"b": "c"}]}}"#,
            r#"{"dataframe_split": {"columns": ["p", "q", "r"], "index": [0], "data": [[1, 2, 3]]}}"#,
            r#"{"dataframe_records": [{"p": 1, "q": "2", "r": 3}, {"p": null}]}"#,
            "p,q,r\n1,\"2\",3\n4,,6\n",
        ] {
            let mut damaged = body.as_bytes().to_vec();
            let place = at % damaged.len();
            damaged[place] = byte;
            damaged.truncate(damaged.len().min(cut.max(1)));
            for signature in [rows_of_three(), three_columns(), pair()] {
                let budget = Budget::new(1 << 20);
                for decode in [decode_json, decode_csv] {
                    let mut held = budget.reserve();
                    if let Err(error) = decode(&NEVER, &damaged, &signature, &mut held) {
                        prop_assert!(matches!(error.code, ErrorCode::BadRequest | ErrorCode::SchemaMismatch));
                        prop_assert!(!error.message.is_empty() && error.message.len() < 2_000);
                    }
                }
                prop_assert_eq!(budget.used(), 0);
            }
        }
    }
}
