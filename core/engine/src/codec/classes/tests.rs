use super::*;
use crate::admission::Budget;
use crate::error::ErrorCode;
use proptest::prelude::*;

fn of() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

fn output<'a>(datatype: Datatype, shape: &[i64], data: &'a [u8]) -> OutputTensor<'a> {
    OutputTensor { name: "y", datatype, shape: Shape::from_slice(shape), data, binary: false, placed: false }
}

fn texts(data: &[u8]) -> Vec<String> {
    bytes_tensor::elements(data).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

fn ranked(output: &OutputTensor<'_>, most: usize, has_rows: bool) -> (Vec<i64>, Vec<String>) {
    let (shape, data) = largest(output, most, has_rows, None, &of()).unwrap();
    (shape.to_vec(), texts(&data))
}

fn raw<const N: usize, T: Copy>(values: &[T], write: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| write(value)).collect()
}

fn all<const N: usize, T: Copy>(datatype: Datatype, values: &[T], write: fn(T) -> [u8; N]) -> Vec<String> {
    let data = raw(values, write);
    ranked(&output(datatype, &[values.len() as i64], &data), values.len(), false).1
}

#[test]
fn floats_have_six_decimals_and_their_own_value() {
    let values = [0.1, -0.0, f32::NAN, f32::INFINITY, 1e30, f32::NEG_INFINITY, -1.25e-7];
    assert_eq!(
        all(Datatype::Fp32, &values, f32::to_le_bytes),
        [
            "inf:3",
            "1000000015047466219876688855040.000000:4",
            "0.100000:0",
            "-0.000000:1",
            "-0.000000:6",
            "-inf:5",
            "nan:2"
        ]
    );
    let values = [123_456_789.123_456_79, 2.5e-7, -f64::NAN, 0.999_999_4];
    assert_eq!(
        all(Datatype::Fp64, &values, f64::to_le_bytes),
        ["123456789.123457:0", "0.999999:3", "0.000000:1", "nan:2"]
    );
}

#[test]
fn integers_of_every_width_are_exact() {
    assert_eq!(all(Datatype::Uint8, &[0, 255], u8::to_le_bytes), ["255:1", "0:0"]);
    assert_eq!(all(Datatype::Uint16, &[1, 65535], u16::to_le_bytes), ["65535:1", "1:0"]);
    assert_eq!(all(Datatype::Uint32, &[7, u32::MAX], u32::to_le_bytes), ["4294967295:1", "7:0"]);
    assert_eq!(
        all(Datatype::Uint64, &[u64::MAX - 1, u64::MAX], u64::to_le_bytes),
        ["18446744073709551615:1", "18446744073709551614:0"]
    );
    assert_eq!(all(Datatype::Int8, &[-128, 127, 0], i8::to_le_bytes), ["127:1", "0:2", "-128:0"]);
    assert_eq!(all(Datatype::Int16, &[-2, -1], i16::to_le_bytes), ["-1:1", "-2:0"]);
    assert_eq!(all(Datatype::Int32, &[i32::MIN, 3], i32::to_le_bytes), ["3:1", "-2147483648:0"]);
    assert_eq!(
        all(Datatype::Int64, &[i64::MIN, i64::MAX, i64::MAX - 1], i64::to_le_bytes),
        ["9223372036854775807:1", "9223372036854775806:2", "-9223372036854775808:0"]
    );
}

#[test]
fn of_equal_elements_the_first_goes_first() {
    let data = raw(&[0.0f32, 5.0, -0.0, 5.0, 0.0], f32::to_le_bytes);
    let (_, found) = ranked(&output(Datatype::Fp32, &[5], &data), 4, false);
    assert_eq!(found, ["5.000000:1", "5.000000:3", "0.000000:0", "-0.000000:2"]);
}

#[test]
fn each_row_is_ranked_by_itself_where_there_are_rows() {
    let data = raw(&[1u8, 9, 3, 8, 2, 5, 4, 7, 6, 0, 11, 10], u8::to_le_bytes);
    let of_shape =
        |shape: &[i64], most, has_rows| ranked(&output(Datatype::Uint8, shape, &data), most, has_rows);
    let two = |shape: &[i64]| of_shape(shape, 2, true);
    assert_eq!(two(&[2, 6]), (vec![2, 2], vec!["9:1".into(), "8:3".into(), "11:4".into(), "10:5".into()]));
    // All that a row has counts as one.
    assert_eq!(two(&[2, 2, 3]), two(&[2, 6]));
    assert_eq!(of_shape(&[2, 6], 2, false), (vec![2], vec!["11:10".into(), "10:11".into()]));
    assert_eq!(of_shape(&[2, 6], 100, true).0, [2, 6]);
    assert_eq!(of_shape(&[12], 1, true).0, [12, 1]);
}

#[test]
fn what_has_no_elements_or_rows_has_none_here() {
    for (shape, found) in [(&[0, 3][..], &[0, 2][..]), (&[3, 0], &[3, 0])] {
        assert_eq!(ranked(&output(Datatype::Fp32, shape, &[]), 2, true), (found.to_vec(), vec![]));
    }
    let one = 4f32.to_le_bytes();
    assert_eq!(ranked(&output(Datatype::Fp32, &[], &one), 2, true), (vec![1], vec!["4.000000:0".into()]));
    assert_eq!(ranked(&output(Datatype::Fp32, &[0], &[]), 2, false), (vec![0], vec![]));
}

#[test]
fn labels_follow_the_number_where_there_are_any() {
    let labels = Labels::new("cat\n\nblue fish".into()).unwrap();
    let data = [4u8, 3, 2, 1];
    let (_, found) = largest(&output(Datatype::Uint8, &[4], &data), 9, false, Some(&labels), &of()).unwrap();
    assert_eq!(texts(&found), ["4:0:cat", "3:1", "2:2:blue fish", "1:3"]);
}

fn spec(datatype: Datatype, shape: &[i64]) -> TensorSpec {
    let shape = shape.to_vec();
    TensorSpec { name: "y".into(), datatype, shape, optional: false, described: None, labels: None }
}

#[test]
fn what_cannot_be_ranked_is_refused_in_words() {
    for datatype in Datatype::ALL {
        let refused = [Datatype::Bool, Datatype::Fp16, Datatype::Bf16, Datatype::Bytes].contains(&datatype);
        assert_eq!(check(&spec(datatype, &[-1, 10])).is_err(), refused, "{datatype}");
    }
    let error = check(&spec(Datatype::Fp16, &[1])).unwrap_err();
    assert_eq!(error.message, "class result not available for output 'y' due to unsupported type 'FP16'");
    check(&spec(Datatype::Uint8, &[-1, 1000, 1000])).unwrap();
    let error = check(&spec(Datatype::Uint8, &[-1, 1000, 1001])).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert!(error.message.contains("1001000 elements, at most 1000000"), "{}", error.message);
    // As many rows as there may be, and an element more in one.
    let data = vec![0; MOST_ELEMENTS + 1];
    let long = output(Datatype::Uint8, &[MOST_ELEMENTS as i64 + 1], &data);
    assert_eq!(ranked(&long, 1, true).0, [MOST_ELEMENTS as i64 + 1, 1]);
    assert_eq!(largest(&long, 1, false, None, &of()).unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn fault_102_texts_and_what_ranks_them_are_counted_before_there_is_memory_for_them() {
    let budget = Budget::new(100_000);
    let data = vec![7; 5000];
    let five_thousand = output(Datatype::Uint8, &[5000], &data);
    let (_, few) = largest(&five_thousand, 500, false, None, &budget.reserve()).unwrap();
    assert!(budget.used() >= few.len());
    drop(few);
    assert_eq!(budget.used(), 0);
    // 16 bytes for each of those kept, and at least 7 for its text.
    let code = largest(&five_thousand, 5000, false, None, &budget.reserve()).unwrap_err().code;
    assert!(matches!(code, ErrorCode::TooLarge | ErrorCode::Full), "{code:?}");
    assert_eq!(budget.used(), 0);
}

/// As one would do it who has time.
fn sorted(values: &[f32]) -> Vec<String> {
    let mut numbers: Vec<_> = (0..values.len()).collect();
    numbers.sort_by(|&a, &b| match (values[a].is_nan(), values[b].is_nan()) {
        (false, false) => values[b].partial_cmp(&values[a]).unwrap(),
        (a, b) => a.cmp(&b),
    });
    let text = |value: f32| if value.is_nan() { "nan".into() } else { format!("{value:.6}") };
    numbers.into_iter().map(|number| format!("{}:{number}", text(values[number]))).collect()
}

proptest! {
    #[test]
    fn the_largest_are_those_that_sorting_puts_first(
        bits in prop::collection::vec(prop_oneof![any::<u32>(), (0u32..4).prop_map(|v| (v as f32).to_bits())], 1..40),
        most in 1usize..50,
        rows in 1usize..4,
    ) {
        let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let data = raw(&values, f32::to_le_bytes).repeat(rows);
        let (shape, found) = ranked(&output(Datatype::Fp32, &[rows as i64, values.len() as i64], &data), most, true);
        let kept = most.min(values.len());
        let mut expected = sorted(&values);
        expected.truncate(kept);
        prop_assert_eq!(shape, [rows as i64, kept as i64]);
        prop_assert_eq!(found, vec![expected; rows].concat());
    }
}
