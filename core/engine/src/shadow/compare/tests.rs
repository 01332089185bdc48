use super::*;
use crate::tensor::Shape;
use bytes::Bytes;
use proptest::prelude::*;

const WITHIN: Tolerance = Tolerance { absolute: 0.01, relative: 0.1 };

fn tensor(datatype: Datatype, shape: &[i64], data: impl Into<Bytes>) -> Tensor {
    Tensor { name: "y".into(), datatype, shape: Shape::from_slice(shape), data: data.into() }
}

fn fp32(shape: &[i64], values: &[f32]) -> Tensor {
    tensor(Datatype::Fp32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

fn texts(values: &[&str]) -> Tensor {
    let mut data = Vec::new();
    values.iter().for_each(|text| bytes_tensor::push(&mut data, text.as_bytes()));
    tensor(Datatype::Bytes, &[values.len() as i64], data)
}

fn of(given: &[f32], shadow: &[f32]) -> Found {
    compare(&fp32(&[given.len() as i64], given), &fp32(&[shadow.len() as i64], shadow), WITHIN)
}

#[test]
fn numbers_are_alike_within_the_absolute_and_the_relative_tolerance_of_the_answer_given() {
    let found = of(&[0.0, 10.0, 10.0, -10.0], &[0.02, 11.0, 11.1, -8.9]);
    assert_eq!((found.elements, found.different, found.nonfinite), (4, 3, 0));
    assert!((found.max - 1.1).abs() < 1e-5, "{found:?}");
    assert!((found.sum - (0.02 + 1.0 + 1.1 + 1.1)).abs() < 1e-5);
    assert!(found.is_different());
}

#[test]
fn nan_is_like_nan_alone_and_infinity_like_the_same_infinity() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for (given, shadow, alike) in [
        (nan, nan, true),
        (nan, 1.0, false),
        (1.0, nan, false),
        (inf, inf, true),
        (inf, -inf, false),
        (inf, nan, false),
        (1.0, inf, false),
        (inf, f32::MAX, false),
    ] {
        let found = of(&[given], &[shadow]);
        assert_eq!(found.different == 0, alike, "{given} {shadow}");
        assert_eq!(found.nonfinite, u64::from(!alike));
        assert_eq!((found.max, found.sum, found.finite), (0.0, 0.0, 0), "no distance of what is none");
    }
}

#[test]
fn a_class_is_the_place_of_a_rows_first_largest_score() {
    let given = fp32(&[4, 3], &[0., 1., 2., 5., 5., 1., 1., 2., 3., f32::NAN, 1., 0.]);
    let shadow = fp32(&[4, 3], &[0., 2., 1., 5., 5., 2., 1., 2., 9., 0., 1., 2.]);
    let found = compare(&given, &shadow, WITHIN);
    assert_eq!((found.rows, found.classes), (4, 1), "ties go to the first, rows with NaN to none");
    let alone = fp32(&[3], &[0., 1., 2.]);
    assert_eq!(compare(&alone, &alone, WITHIN).rows, 0, "along axis 0 there are no classes");
    let single = fp32(&[3, 1], &[0., 1., 2.]);
    assert_eq!(compare(&single, &single, WITHIN).rows, 0);
}

#[test]
fn other_shapes_and_datatypes_are_told_and_nothing_in_them_compared() {
    let (a, b) = (fp32(&[1, 2], &[1., 2.]), fp32(&[2, 1], &[1., 2.]));
    let found = compare(&a, &b, WITHIN);
    assert!(found.shape && !found.datatype && found.is_different() && found.elements == 0);
    let other = tensor(Datatype::Int32, &[1, 2], vec![0; 8]);
    let found = compare(&a, &other, WITHIN);
    assert!(found.datatype && !found.shape && found.is_different() && found.elements == 0);
    assert!(Found::MISSING.is_different());
}

#[test]
fn labels_and_texts_are_the_same_or_not() {
    let labels = |values: &[i64]| {
        tensor(Datatype::Int64, &[3], values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    };
    let found = compare(&labels(&[1, 2, 3]), &labels(&[1, 2, 4]), WITHIN);
    assert_eq!((found.elements, found.different, found.finite), (3, 1, 0));
    let found = compare(&texts(&["cat", "dog", ""]), &texts(&["cat", "dot", ""]), WITHIN);
    assert_eq!((found.elements, found.different), (3, 1));
    for datatype in [Datatype::Bool, Datatype::Uint8, Datatype::Int8] {
        let of = |bytes: &[u8]| tensor(datatype, &[2], bytes.to_vec());
        assert_eq!(compare(&of(&[0, 1]), &of(&[1, 1]), WITHIN).different, 1);
    }
    for (datatype, size) in [(Datatype::Uint16, 2), (Datatype::Int32, 4), (Datatype::Uint64, 8)] {
        let (zeros, mut ones) = (vec![0u8; 2 * size], vec![0u8; 2 * size]);
        ones[2 * size - 1] = 1;
        let found = compare(&tensor(datatype, &[2], zeros), &tensor(datatype, &[2], ones), WITHIN);
        assert_eq!((found.elements, found.different), (2, 1));
    }
}

#[test]
fn halves_are_compared_as_the_numbers_they_are() {
    let bf = |v: f32| bf16::from_f32(v).to_le_bytes().to_vec();
    let found =
        compare(&tensor(Datatype::Bf16, &[1], bf(1.0)), &tensor(Datatype::Bf16, &[1], bf(1.5)), WITHIN);
    assert_eq!((found.different, found.max), (1, 0.5));
    let fp = |v: f32| f16::from_f32(v).to_le_bytes().to_vec();
    let found =
        compare(&tensor(Datatype::Fp16, &[1], fp(2.0)), &tensor(Datatype::Fp16, &[1], fp(1.875)), WITHIN);
    assert_eq!((found.different, found.max), (0, 0.125));
}

proptest! {
    #[test]
    fn an_answer_is_like_itself_whatever_it_holds(values in prop::collection::vec(any::<u32>(), 0..40)) {
        let values: Vec<f32> = values.into_iter().map(f32::from_bits).collect();
        let found = of(&values, &values);
        prop_assert!(!found.is_different());
        prop_assert_eq!((found.max, found.sum), (0.0, 0.0));
    }

    /// Against one number after the other.
    #[test]
    fn counts_are_those_of_single_numbers(pairs in prop::collection::vec((any::<f32>(), any::<f32>()), 0..40)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let found = of(&a, &b);
        let alone: Vec<_> = pairs.iter().map(|(a, b)| of(&[*a], &[*b])).collect();
        prop_assert_eq!(found.different, alone.iter().map(|one| one.different).sum::<u64>());
        prop_assert_eq!(found.nonfinite, alone.iter().map(|one| one.nonfinite).sum::<u64>());
        prop_assert_eq!(found.max, alone.iter().map(|one| one.max).fold(0.0, f64::max));
    }

    #[test]
    fn more_tolerance_never_finds_more(pairs in prop::collection::vec((any::<f32>(), any::<f32>()), 1..40), more in 0.0..10.0f64) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
        let wide = Tolerance { absolute: WITHIN.absolute + more, relative: WITHIN.relative };
        let shape = [a.len() as i64];
        let found = compare(&fp32(&shape, &a), &fp32(&shape, &b), wide);
        prop_assert!(found.different <= of(&a, &b).different);
    }
}
