//! Data frames with cells that did not come, however many, and wide ones.

use super::*;

type Decode = fn(
    &Stop,
    &[u8],
    &Signature,
    &mut crate::admission::Reservation,
) -> Result<super::super::request::Scored, Error>;

fn any_matrix() -> Signature {
    undeclared(&[("x", Datatype::Fp32, &[-1, -1])])
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("c{i}")).collect()
}

/// A row of all columns, behind `empty` rows of one cell or none.
fn sparse(columns: usize, empty: usize) -> [(Decode, String); 3] {
    let (names, ones) = (names(columns), vec!["1"; columns].join(","));
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let record: Vec<String> = quoted.iter().map(|name| format!("{name}:1")).collect();
    let split = format!(
        r#"{{"dataframe_split": {{"columns": [{}], "data": [{}[{ones}]]}}}}"#,
        quoted.join(","),
        "[],".repeat(empty)
    );
    let records = format!(r#"{{"dataframe_records": [{}{{{}}}]}}"#, "{},".repeat(empty), record.join(","));
    [
        (decode_csv, format!("{}\n{}{ones}\n", names.join(","), "1\n".repeat(empty))),
        (decode_json, split),
        (decode_json, records),
    ]
}

#[test]
fn fault_59_a_short_text_stands_for_few_cells_that_did_not_come() {
    let ask = |decode: Decode, body: &str| {
        let budget = Budget::of_messages(1 << 30, 1 << 30);
        decode(&NEVER, body.as_bytes(), &any_matrix(), &mut budget.reserve())
    };
    for (decode, body) in sparse(500, 2000) {
        let error = ask(decode, &body).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge, "{error}");
        assert!(error.message.contains("cells did not come"), "{error}");
    }
    // What is sparse and small is taken, and so is what brings text enough.
    for (columns, empty) in [(100, 600), (4, 30_000)] {
        for (decode, body) in sparse(columns, empty) {
            let (request, _) = ask(decode, &body).unwrap();
            assert_eq!(request.inputs[0].shape.as_slice(), [empty as i64 + 1, columns as i64]);
        }
    }
}

#[test]
fn a_wide_frame_can_be_stopped_whichever_way_it_comes() {
    // One row has 9,000 cells: they are looked at when they are named, when they are read, and when they are
    // put side by side. A record names a column where it reads it.
    for (decode, body) in sparse(9_000, 0) {
        let budget = Budget::of_messages(1 << 30, 1 << 30);
        for looks in [1, 4, 6] {
            let stop = Stop::after(looks);
            let error = decode(&stop, body.as_bytes(), &any_matrix(), &mut budget.reserve()).unwrap_err();
            assert_eq!(error.code, ErrorCode::Cancelled, "{looks}: {error}");
        }
        let stop = Stop::after(7);
        assert!(decode(&stop, body.as_bytes(), &any_matrix(), &mut budget.reserve()).is_ok());
    }
}

#[test]
fn an_empty_field_is_no_text_but_in_quotes() {
    let fields = vec![column("s", Datatype::Bytes), column("t", Datatype::Bytes)];
    let texts = declared(&[("x", Datatype::Bytes, &[-1, 2])], Declared::Columns(fields));
    assert_eq!(said(&table(&texts, "s,t\n\"\",NA\n").unwrap()), r#"x[1,2]=["", "NA"]"#);
    for body in ["s,t\na,\n", "s,t\n,a\n", "s,t\na\n", "s,t\r\na,\r\n"] {
        let error = table(&texts, body).unwrap_err();
        assert!(error.message.contains("a missing value cannot be converted"), "{body:?}: {error}");
    }
    // For a number either is a cell that is not there.
    assert_eq!(said(&table(&three_columns(), "p,q,r\n1,\"\",\n").unwrap()), "x[1,3]=[1.0,NaN,NaN]");
}

#[test]
fn a_field_that_is_copied_for_its_quotes_is_counted() {
    let texts =
        declared(&[("x", Datatype::Bytes, &[-1])], Declared::Columns(vec![column("s", Datatype::Bytes)]));
    for (quotes, fits) in [("\"\"", false), ("ab", true)] {
        let body = format!("s\n\"{}\"\n", quotes.repeat(40_000));
        let budget = Budget::new(100_000);
        let found = decode_csv(&NEVER, body.as_bytes(), &texts, &mut budget.reserve());
        assert_eq!(found.as_ref().err().map(|error| error.code), (!fits).then_some(ErrorCode::TooLarge));
        drop(found);
        assert_eq!(budget.used(), 0);
    }
}

#[test]
fn a_value_twice_does_not_make_up_for_one_that_is_missing() {
    let pair = undeclared(&[("x", Datatype::Int64, &[-1]), ("y", Datatype::Int64, &[-1])]);
    for (body, text) in [
        (r#"[{"x":1,"y":1},{"y":2},{"x":5,"x":6,"y":3}]"#, "are not the same"),
        (r#"[{"x":1,"y":1},{"y":2},{"x":5,"y":3}]"#, "are not the same"),
        (r#"[{"x":1,"y":1},{"x":5,"x":6,"y":3}]"#, "'x' appears twice"),
        (r#"[{"y":1},{"x":5,"y":3}]"#, "are not the same"),
    ] {
        let error = decoded(&pair, &format!(r#"{{"instances": {body}}}"#)).unwrap_err();
        assert!(error.message.contains(text), "{body}: {error}");
    }
}

#[test]
fn two_formats_are_told_whatever_is_wrong_with_the_first() {
    for body in [
        r#"{"inputs": [[1,2]], "instances": 2}"#,
        r#"{"inputs": ["a"], "params": {}, "instances": [[1,2,3]]}"#,
        r#"{"inputs": {"z": 1}, "z": {"inputs": 1}, "instances": {}}"#,
    ] {
        let error = decoded(&rows_of_three(), body).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadRequest, "{body}: {error}");
        assert!(error.message.contains("input fields: ['inputs', 'instances']."), "{body}: {error}");
    }
    // What no form can be made of is told as that.
    let error = decoded(&rows_of_three(), r#"{"inputs": [[1,2]], "instances": "#).unwrap_err();
    assert!(error.message.contains("(1, 2) does not match"), "{error}");
    let error = decoded(&rows_of_three(), r#"{"inputs": [[1,2]], "inputs": 5}"#).unwrap_err();
    assert!(error.message.contains("(1, 2) does not match"), "{error}");
}
