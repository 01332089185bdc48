use super::*;
use crate::codec::prepare::PreparedTensor;
use crate::stop::NEVER;
use crate::tensor::{Shape, TensorSpec};
use half::{bf16, f16};

fn signature(datatype: Datatype, shape: &[i64]) -> Signature {
    let input = TensorSpec {
        name: "x".into(),
        datatype,
        shape: shape.to_vec(),
        optional: true,
        described: None,
        labels: None,
    };
    Signature { inputs: vec![input], ..Signature::default() }
}

fn numbers() -> Constraint {
    Constraint {
        feature: "x".into(),
        input: "x".into(),
        numbers: true,
        refuses: true,
        nan: true,
        infinite: true,
        ..Constraint::default()
    }
}

fn texts() -> Constraint {
    Constraint { numbers: false, ..numbers() }
}

fn came(shape: &[i64], data: Vec<u8>) -> Prepared {
    Prepared {
        inputs: vec![Some(PreparedTensor::new(Shape::from_slice(shape), data.into()))],
        ..Prepared::default()
    }
}

fn packed(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|t| [&(t.len() as u32).to_le_bytes()[..], t.as_bytes()].concat()).collect()
}

/// What is refused of one feature of `[-1, width]`, where anything is.
fn refusal(datatype: Datatype, width: i64, of: Constraint, data: Vec<u8>, count: i64) -> Option<String> {
    let checks = Checks::new(&signature(datatype, &[-1, width]), vec![of]).unwrap();
    let outcome = checks.check(&mut came(&[count / width, width], data), &NEVER);
    assert_eq!(outcome.is_err(), !checks.counts().is_empty());
    outcome.err().map(|error| error.message)
}

/// Each number as each datatype that can hold it.
fn encoded(value: f64) -> Vec<(Datatype, Vec<u8>)> {
    let mut found = vec![
        (Datatype::Fp16, f16::from_f64(value).to_le_bytes().to_vec()),
        (Datatype::Bf16, bf16::from_f64(value).to_le_bytes().to_vec()),
        (Datatype::Fp32, (value as f32).to_le_bytes().to_vec()),
        (Datatype::Fp64, value.to_le_bytes().to_vec()),
    ];
    if value.fract() == 0.0 && (-100.0..100.0).contains(&value) {
        found.push((Datatype::Int8, (value as i8).to_le_bytes().to_vec()));
        found.push((Datatype::Int16, (value as i16).to_le_bytes().to_vec()));
        found.push((Datatype::Int32, (value as i32).to_le_bytes().to_vec()));
        found.push((Datatype::Int64, (value as i64).to_le_bytes().to_vec()));
        if value >= 0.0 {
            found.push((Datatype::Uint8, (value as u8).to_le_bytes().to_vec()));
            found.push((Datatype::Uint16, (value as u16).to_le_bytes().to_vec()));
            found.push((Datatype::Uint32, (value as u32).to_le_bytes().to_vec()));
            found.push((Datatype::Uint64, (value as u64).to_le_bytes().to_vec()));
        }
    }
    found
}

#[test]
fn a_range_is_held_in_every_datatype_both_ends_allowed_and_nan_is_in_none() {
    let values =
        [-96.0, -8.0, -0.5, -0.0, 0.0, 0.5, 1.0, 7.0, 64.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for value in values {
        for (least, most) in
            [(-8.0, 7.0), (0.0, 0.0), (0.25, 0.4), (-1e300, 1e300), (5.0, -5.0), (300.0, 400.0)]
        {
            for (nan, infinite, required) in
                [(true, true, false), (false, true, false), (true, false, false), (true, true, true)]
            {
                let fits = if value.is_nan() {
                    nan && !required
                } else {
                    value >= least && value <= most && (infinite || value.is_finite())
                };
                for (datatype, data) in encoded(value) {
                    let bounds = (Some(Bound::Float(least)), Some(Bound::Float(most)));
                    let of =
                        Constraint { least: bounds.0, most: bounds.1, nan, infinite, required, ..numbers() };
                    let words = refusal(datatype, 1, of, data, 1);
                    assert_eq!(words.is_none(), fits, "{value} as {datatype} in {least}..{most}: {words:?}");
                }
            }
        }
    }
}

#[test]
fn without_bounds_every_number_is_taken_and_infinity_where_it_may_be() {
    for value in [f64::NEG_INFINITY, -1.0, 0.0, f64::INFINITY, f64::NAN] {
        for (datatype, data) in encoded(value) {
            assert_eq!(refusal(datatype, 1, numbers(), data.clone(), 1), None);
            let words = refusal(datatype, 1, Constraint { infinite: false, ..numbers() }, data, 1);
            assert_eq!(words.is_some(), value.is_infinite());
        }
    }
}

#[test]
fn the_first_value_is_named_wherever_it_stands() {
    for at in [0, 1, 255, 256, 299] {
        let mut all = vec![1.0f32; 300];
        all[at] = 7.5;
        let data: Vec<u8> = all.iter().flat_map(|n| n.to_le_bytes()).collect();
        let of = Constraint { most: Some(Bound::Whole(5)), ..numbers() };
        let whole = refusal(Datatype::Fp32, 300, of.clone(), data.clone(), 300).unwrap();
        assert_eq!(whole, format!("feature 'x': expected at most 5, got 7.5 (element {at})"));
        let of = |column| Constraint { feature: "c".into(), column: Some((column, 3)), ..of.clone() };
        let column = refusal(Datatype::Fp32, 3, of(at % 3), data.clone(), 300).unwrap();
        assert_eq!(column, format!("feature 'c' of input 'x': expected at most 5, got 7.5 (row {})", at / 3));
        assert_eq!(refusal(Datatype::Fp32, 3, of((at + 1) % 3), data, 300), None);
    }
}

#[test]
fn every_datatype_is_held_number_by_number_wherever_one_stands() {
    let count = 2 * 256 + 77; // Whole vectors of any width, and a rest.
    let (least, most) = (Some(Bound::Whole(3)), Some(Bound::Whole(90)));
    for (inside, outside) in [(3.0, 2.0), (90.0, 91.0), (7.0, f64::NAN)] {
        for (datatype, number) in encoded(inside) {
            let Some((_, other)) = encoded(outside).into_iter().find(|(of, _)| *of == datatype) else {
                continue;
            };
            let of = || Constraint { least, most, ..numbers() };
            let refused = |of, data: &[u8]| refusal(datatype, 1, of, data.to_vec(), count);
            let all = number.repeat(count as usize);
            assert_eq!(refused(of(), &all), None, "{datatype}");
            for at in (0..count as usize).step_by(7) {
                let mut all = all.clone();
                all[at * other.len()..][..other.len()].copy_from_slice(&other);
                // NaN may be allowed, and is then no number out of range.
                assert_eq!(refused(of(), &all).is_none(), outside.is_nan(), "{datatype} at {at}");
                let words = refused(Constraint { nan: false, ..of() }, &all).unwrap();
                assert!(words.ends_with(&format!("(element {at})")), "{datatype}: {words}");
            }
        }
    }
}

#[test]
fn a_range_over_a_whole_tensor_counts_for_little_and_all_else_for_what_it_walks() {
    let input = |payload| InputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: Shape::from_slice(&[100_000]),
        payload,
    };
    let raw = || input(Payload::Raw(vec![0; 400_000].into()));
    let cost = |datatype, of: Vec<Constraint>, input| {
        let checks = Checks::new(&signature(datatype, &[-1, 2]), of).unwrap();
        checks.cost(&InferRequest { inputs: vec![input], ..InferRequest::default() })
    };
    let column = || Constraint { column: Some((0, 2)), ..numbers() };
    assert_eq!(cost(Datatype::Fp32, vec![numbers()], raw()), 25_000);
    assert_eq!(cost(Datatype::Fp32, vec![numbers(), numbers()], raw()), 50_000);
    assert_eq!(cost(Datatype::Fp32, vec![column()], raw()), 400_000);
    assert_eq!(cost(Datatype::Fp32, vec![Constraint { whole: true, ..numbers() }], raw()), 400_000);
    assert_eq!(cost(Datatype::Bytes, vec![texts()], raw()), 400_000);
    let other = InputTensor { name: "y".into(), ..raw() };
    assert_eq!(cost(Datatype::Fp32, vec![numbers()], other), 0);
}

#[test]
fn numbers_at_the_ends_of_64_bits_are_shown_exactly() {
    let of = Constraint { most: Some(Bound::Float(10.0)), ..numbers() };
    let words = refusal(Datatype::Uint64, 1, of, u64::MAX.to_le_bytes().to_vec(), 1).unwrap();
    assert!(words.contains("got 18446744073709551615"), "{words}");
    let of = Constraint { whole: true, ..numbers() };
    assert!(
        refusal(Datatype::Fp64, 1, of, 0.5f64.to_le_bytes().to_vec(), 1).unwrap().contains("a whole number")
    );
}

#[test]
fn texts_are_held_against_a_list_of_any_length_and_none_is_missing_unless_asked_for() {
    let many: Vec<String> = (0..100_000).map(|n| format!("v{n}")).collect();
    let values = || Some(many.iter().map(|text| text.as_bytes().into()).collect());
    let of = || Constraint { values: values(), column: Some((1, 2)), ..texts() };
    let refused = |of, all: &[&str]| refusal(Datatype::Bytes, 2, of, packed(all), all.len() as i64);
    assert_eq!(refused(of(), &["?", "v0", "?", "v99999", "?", ""]), None);
    let words = refused(of(), &["v1", "v0", "v1", "w\u{1}"]).unwrap();
    assert!(words.ends_with("that the model's schema lists, got 'w\u{fffd}' (row 1)"), "{words}");
    let words = refused(Constraint { required: true, ..of() }, &["v1", ""]).unwrap();
    assert_eq!(words, "feature 'x': expected a value, got '' (row 0)");
}

#[test]
fn a_row_has_as_many_values_as_are_asked_for() {
    let of = |least, most| Constraint { least_values: Some(least), most_values: Some(most), ..texts() };
    let refused = |of| refusal(Datatype::Bytes, 3, of, packed(&["a"; 6]), 6);
    assert_eq!(refused(of(3, 3)), None);
    assert!(refused(of(4, 9)).unwrap().contains("at least 4 values a row, got 3"));
    assert!(refused(of(1, 2)).unwrap().contains("at most 2 values a row, got 3"));
}

#[test]
fn an_anomaly_that_refuses_nothing_is_counted_and_told_and_an_input_left_out_is_missing() {
    let of = Constraint { refuses: false, required: true, ..numbers() };
    let checks = Checks::new(&signature(Datatype::Fp32, &[-1]), vec![of]).unwrap();
    let mut left_out = Prepared { inputs: vec![None], ..Prepared::default() };
    let words = checks.check(&mut left_out, &NEVER).unwrap();
    let noted = words.unwrap();
    assert_eq!(noted.words, "feature 'x': expected a value, got no input");
    assert_eq!((&*noted.input, &*noted.brief), ("x", "feature 'x': missing"));
    assert_eq!(checks.check(&mut came(&[1], 1f32.to_le_bytes().to_vec()), &NEVER).unwrap(), None);
    assert_eq!(checks.counts(), [("x", Kind::Missing, false, 1)]);
    assert!(checks.tells() && !(0..10).all(|_| checks.tells()));
}

#[test]
fn what_does_not_fit_the_model_is_no_check() {
    let made = |of| Checks::new(&signature(Datatype::Fp32, &[-1, 2]), vec![of]).err().unwrap();
    assert!(made(Constraint { input: "y".into(), ..numbers() }).contains("no input 'y'"));
    assert!(made(texts()).contains("its input holds numbers"));
    assert!(made(Constraint { column: Some((2, 2)), ..numbers() }).contains("no row has"));
}

#[test]
fn the_columns_of_a_tensor_are_walked_only_as_long_as_somebody_waits() {
    let of = |column| Constraint { column: Some((column, 3)), ..numbers() };
    let checks = Checks::new(&signature(Datatype::Fp32, &[-1, 3]), vec![of(0), of(1), of(2)]).unwrap();
    let mut came = came(&[1, 3], vec![0; 12]);
    let error = checks.check(&mut came, &Stop::after(3)).unwrap_err();
    assert_eq!(error.code, crate::error::ErrorCode::Cancelled);
}

#[test]
fn whole_numbers_of_64_bits_are_held_against_bounds_to_the_last_bit() {
    let near = 9_007_199_254_740_993i64; // 2^53 + 1, which no FP64 is
    let refused = |datatype, data: [u8; 8], least: Bound, most: Bound| {
        let of = Constraint { least: Some(least), most: Some(most), ..numbers() };
        refusal(datatype, 1, of, data.to_vec(), 1)
    };
    let all = Bound::Whole(i64::MIN.into());
    for bound in [near, near - 1, near + 1, i64::MAX - 1, i64::MAX] {
        for value in (bound - 2)..=bound.saturating_add(2) {
            let most = refused(Datatype::Int64, value.to_le_bytes(), all, Bound::Whole(bound.into()));
            assert_eq!(most.is_some(), value > bound, "{value} at most {bound}: {most:?}");
            let unsigned = (value as u64).to_le_bytes();
            let least = Bound::Whole(bound.into());
            let found = refused(Datatype::Uint64, unsigned, least, Bound::Whole(u64::MAX.into()));
            assert_eq!(found.is_some(), value < bound, "{value} at least {bound}: {found:?}");
        }
    }
    // A bound of FP64 is what it is, not what a number next to it rounds to.
    let two_53 = Bound::Float(9_007_199_254_740_992.0);
    let words = refused(Datatype::Int64, near.to_le_bytes(), all, two_53).unwrap();
    assert!(words.contains("at most 9007199254740992, got 9007199254740993"), "{words}");
}

#[test]
fn what_takes_the_place_of_checks_goes_on_counting_and_forgets_no_feature() {
    let of = |feature: &str, column, most| Constraint {
        feature: feature.into(),
        column: Some((column, 2)),
        refuses: false,
        most: Some(Bound::Whole(most)),
        ..numbers()
    };
    let made = |all| Checks::new(&signature(Datatype::Int8, &[-1, 2]), all).unwrap();
    let found = |checks: &Checks| {
        checks.check(&mut came(&[1, 2], vec![5, 5]), &NEVER).unwrap();
        let counts: Vec<_> = checks.counts().into_iter().map(|(name, .., n)| (name.to_owned(), n)).collect();
        counts
    };
    let first = made(vec![of("a", 0, 1), of("b", 1, 1)]);
    assert_eq!(found(&first), [("a".into(), 1), ("b".into(), 1)]);
    let second = made(vec![of("b", 1, 2), of("c", 0, 9)]).after(&first);
    assert_eq!(found(&second), [("a".into(), 1), ("b".into(), 2)]);
    // A request that began before still counts, and so does what was asked no more.
    assert_eq!(found(&first), [("a".into(), 2), ("b".into(), 3)]);
    let third = made(vec![]).after(&second);
    assert_eq!(found(&third), [("a".into(), 2), ("b".into(), 3)]);
    assert!(!third.is_empty() && made(vec![]).after(&made(vec![of("a", 0, 1)])).is_empty());
    // The other mode of a feature is counted by itself.
    let fourth = made(vec![Constraint { refuses: true, ..of("a", 0, 9) }]).after(&third);
    assert_eq!(found(&fourth), [("a".into(), 2), ("b".into(), 3)]);
    let many = (0..MOST_FORMER + 5).map(|n| of(&format!("f{n}"), 0, 1)).collect();
    let last = made(vec![]).after(&{
        let many = made(many).after(&fourth);
        found(&many);
        many
    });
    assert_eq!((last.counts().len(), last.counts()[0].0), (MOST_FORMER, "f5"));
}
