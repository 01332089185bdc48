//! Columns of dates, of bytes and of lists; those that no input asks for; and how little a request that
//! does not fit may be told.

use super::*;

fn kind(name: &str, text: Text) -> Field {
    Field { text, ..column(name, Datatype::Bytes) }
}

fn lists(name: &str, datatype: Datatype, lists: usize) -> Field {
    Field { lists, ..column(name, datatype) }
}

/// A model of one input x [-1, 1] with one column c.
fn one(field: Field, datatype: Datatype) -> Signature {
    declared(&[("x", datatype, &[-1, 1])], Declared::Columns(vec![field]))
}

#[test]
fn a_datetime_reaches_the_model_as_pandas_prints_it() {
    let signature = one(kind("c", Text::Datetime), Datatype::Bytes);
    for (cell, found) in [
        ("\"2026-11-30\"", Ok("2026-11-30 00:00:00")),
        ("\"2026-11-30T12:30:00.5\"", Ok("2026-11-30 12:30:00.500000")),
        ("0", Ok("1970-01-01 00:00:00")),
        ("1577836800000", Ok("1970-01-01 00:26:17.836800")),
        ("null", Ok("NaT")),
        ("\"\"", Ok("NaT")),
        ("\"NaT\"", Ok("NaT")),
        ("true", Err("'true' is no date and time like 2026-11-30T12:30:00")),
        ("1.5", Err("1.5 is no integer")),
        ("\"2020-01-01T12:00:00Z\"", Err("without a time zone")),
        ("\"1400-01-01\"", Err("of the years 1678 to 2261 (input 'c', datetime)")),
    ] {
        let found_now = decoded(&signature, &format!(r#"{{"dataframe_records": [{{"c": {cell}}}]}}"#));
        match (found_now, found) {
            (Ok(request), Ok(text)) => assert_eq!(said(&request), format!("x[1,1]=[\"{text}\"]"), "{cell}"),
            (Err(error), Err(text)) => assert!(error.message.contains(text), "{cell}: {error}"),
            (got, _) => panic!("{cell}: {:?}", got.map(|found| said(&found))),
        }
    }
    let found = table(&signature, "c\n2026-11-30 12:30\n\"\"\nNA\n").unwrap();
    assert_eq!(said(&found), r#"x[3,1]=["2026-11-30 12:30:00", "NaT", "NaT"]"#);
}

#[test]
fn bytes_come_in_base64() {
    let signature = one(kind("c", Text::Binary), Datatype::Bytes);
    for (cell, found) in [
        ("\"aGk=\"", Ok("hi")),
        // As Python's encoder writes them: a line of 76 characters at a time, the last one ended.
        (r#""aG\nk=\n""#, Ok("hi")),
        ("\"\"", Ok("")),
        ("\"aGk\"", Err("'aGk' is not base64 (input 'c', binary)")),
        ("\"/w==\"", Err("'/w==' stands for bytes that are not valid UTF-8 (input 'c', binary)")),
        ("\"a*Gk\"", Err("'a*Gk' is not base64")),
        ("5", Err("expected strings, got a number")),
        ("null", Err("expected strings, got null")),
    ] {
        let found_now = decoded(&signature, &format!(r#"{{"dataframe_records": [{{"c": {cell}}}]}}"#));
        match (found_now, found) {
            (Ok(request), Ok(text)) => assert_eq!(said(&request), format!("x[1,1]=[\"{text}\"]"), "{cell}"),
            (Err(error), Err(text)) => assert!(error.message.contains(text), "{cell}: {error}"),
            (got, _) => panic!("{cell}: {:?}", got.map(|found| said(&found))),
        }
    }
    assert_eq!(said(&table(&signature, "c\naGk=\n").unwrap()), r#"x[1,1]=["hi"]"#);
    assert!(table(&signature, "c,d\n,1\n").unwrap_err().message.contains("a missing value"));
}

#[test]
fn lists_of_each_row_are_stacked() {
    let vector =
        declared(&[("x", Datatype::Fp32, &[-1, 2])], Declared::Columns(vec![lists("c", Datatype::Fp64, 1)]));
    for body in [
        r#"{"dataframe_split": {"columns": ["c"], "data": [[[1, 2.5]], [[null, "4"]]]}}"#,
        r#"{"dataframe_records": [{"c": [1, 2.5]}, {"c": [NaN, 4]}]}"#,
        r#"{"inputs": {"c": [[1, 2.5], [NaN, 4]]}}"#,
        r#"{"instances": [{"c": [1, 2.5]}, {"c": [NaN, 4]}]}"#,
    ] {
        let found = decoded(&vector, body).unwrap();
        assert_eq!((said(&found).as_str(), is_rows(&found)), ("x[2,2]=[1.0,2.5,NaN,4.0]", true), "{body}");
    }
    for (rows, text) in [
        ("[5]", "expected a list in each row (input 'c', array)"),
        ("[null]", "expected a list in each row"),
        ("[[[1, 2]]]", "expected a list in each row"),
        ("[[1, 2, 3]]", "Shape of input (1, 3) does not match expected shape (-1, 2)."),
        ("[[1, 2]], [[1]]", "differ in length"),
        ("[[1, 2]], []", "a missing value"),
        ("[[1, \"a\"]]", "could not convert string to float: 'a'"),
    ] {
        let body = format!(r#"{{"dataframe_split": {{"columns": ["c"], "data": [{rows}]}}}}"#);
        let error = decoded(&vector, &body).unwrap_err();
        assert!(error.message.contains(text), "{rows}: {error}");
    }
    assert!(table(&vector, "c\n1\n").unwrap_err().message.contains("expected a list"));
    let deep = lists("m", Datatype::Int64, 2);
    let both = declared(
        &[("m", Datatype::Int32, &[-1, 1, 2]), ("t", Datatype::Bytes, &[-1, -1])],
        Declared::Columns(vec![deep, Field { text: Text::Datetime, ..lists("t", Datatype::Bytes, 1) }]),
    );
    let found =
        decoded(&both, r#"{"dataframe_records": [{"m": [[1, 2]], "t": ["2020-01-01", 0]}]}"#).unwrap();
    assert_eq!(said(&found), r#"m[1,1,2]=[1,2] t[1,2]=["2020-01-01 00:00:00", "1970-01-01 00:00:00"]"#);
    let error = decoded(&both, r#"{"dataframe_records": [{"m": [1, 2], "t": []}]}"#).unwrap_err();
    assert!(error.message.contains("expected lists of 2 levels in each row (input 'm', array)"), "{error}");
}

#[test]
fn a_column_that_no_input_asks_for_may_hold_anything() {
    let mut signature = pair();
    let fields = ["a", "b"].map(|name| column(name, Datatype::Int64));
    let unused = column("m", Datatype::Bytes);
    signature.schema.declared = Declared::Columns([&fields[..], &[unused]].concat());
    signature.schema.strict = true;
    let found = decoded(&signature, r#"{"dataframe_records": [{"a": 1, "b": 2, "m": {"k": [1]}}]}"#).unwrap();
    assert_eq!(said(&found), "a[1]=[1.0] b[1]=[2]");
    // It is part of the schema all the same.
    let error = decoded(&signature, r#"{"dataframe_records": [{"a": 1, "b": 2}]}"#).unwrap_err();
    assert!(error.message.contains("Model is missing inputs ['m']."), "{error}");
}

#[test]
fn a_terse_model_tells_nothing_of_its_schema() {
    let mut signature = three_columns();
    signature.schema.terse = true;
    for body in [r#"{"inputs": {"p": [1]}}"#, r#"{"inputs": [[1, 2]]}"#] {
        let error = decoded(&signature, body).unwrap_err();
        assert_eq!(error.code, ErrorCode::SchemaMismatch, "{body}");
        assert_eq!(error.message, "Failed to enforce model input schema. Please check your input data.");
    }
    let error = table(&signature, "p,q\n1,2\n").unwrap_err();
    assert_eq!(error.message, "Failed to enforce model input schema. Please check your input data.");
    let error = decoded(&signature, r#"{"inputs": {"p": ["a"], "q": [1], "r": [1]}}"#).unwrap_err();
    assert!(error.message.contains("could not convert string to float: 'a'"), "{error}");
}

#[test]
fn a_table_of_parquet_is_not_told_of_csv() {
    let fields = vec![tensor("x", Datatype::Fp64, &[-1, 2])];
    let signature = declared(&[("x", Datatype::Fp32, &[-1, 2])], Declared::Tensors(fields));
    for (came_as, form) in [(Table::Csv, "CSV-formatted"), (Table::Parquet, "Parquet")] {
        for (body, model) in
            [(&b"a\n1\n"[..], &signature), (b"", &three_columns()), (b"\xff", &three_columns())]
        {
            let budget = Budget::new(1 << 20);
            let error = decode_table(&NEVER, body, came_as, model, &mut budget.reserve()).unwrap_err();
            assert!(error.message.contains(&format!("a valid {form} Pandas DataFrame")), "{error}");
            assert_eq!(error.message.contains("CSV"), came_as == Table::Csv, "{error}");
        }
    }
}
