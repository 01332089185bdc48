use super::*;
use crate::stats::Stats;
use proptest::prelude::*;

fn output(datatype: Datatype, shape: &'static [i64], data: &[u8]) -> (Datatype, &'static [i64], Vec<u8>) {
    (datatype, shape, data.to_vec())
}

fn counted(counting: Counting, outputs: &[(Datatype, &'static [i64], Vec<u8>)]) -> Box<Outputs> {
    let found = Outputs::new();
    found.count(
        counting,
        outputs.iter().map(|(datatype, shape, data)| Counted { datatype: *datatype, shape, data }),
    );
    found
}

fn singles(all: &[f32]) -> Vec<u8> {
    all.iter().flat_map(|one| one.to_le_bytes()).collect()
}

fn places<const N: usize>(spread: &Spread<N>) -> Vec<(usize, u64)> {
    let counts = spread.counts.iter().map(|count| count.load(Relaxed)).enumerate();
    counts.filter(|&(_, count)| count > 0).collect()
}

#[test]
fn an_answer_counts_once_whatever_number_of_its_elements_is_not_finite() {
    let (nan, inf) = (f32::NAN, f32::NEG_INFINITY);
    let label = output(Datatype::Int64, &[1], &7_i64.to_le_bytes());
    for (outputs, expected) in [
        (vec![label.clone()], (0, 0)),
        (vec![output(Datatype::Fp32, &[1, 2], &singles(&[1.0, -0.0]))], (1, 0)),
        (vec![output(Datatype::Fp32, &[1, 2], &singles(&[nan, inf]))], (1, 1)),
        (vec![label, output(Datatype::Fp32, &[2], &singles(&[1.0, inf]))], (1, 1)),
        (vec![output(Datatype::Fp32, &[0], &[])], (1, 0)),
    ] {
        let found = counted(Counting::NonFinite, &outputs);
        assert_eq!((found.inspected.load(Relaxed), found.nonfinite.load(Relaxed)), expected);
        assert!(places(&found.classes).is_empty() && places(&found.scores).is_empty());
    }
}

#[test]
fn what_is_not_finite_is_found_in_every_floating_type() {
    for (datatype, good, bad) in [
        (Datatype::Fp16, half::f16::MAX.to_le_bytes().to_vec(), half::f16::NAN.to_le_bytes().to_vec()),
        (
            Datatype::Fp16,
            half::f16::MIN.to_le_bytes().to_vec(),
            half::f16::NEG_INFINITY.to_le_bytes().to_vec(),
        ),
        (Datatype::Bf16, half::bf16::MAX.to_le_bytes().to_vec(), half::bf16::NAN.to_le_bytes().to_vec()),
        (Datatype::Bf16, half::bf16::MIN.to_le_bytes().to_vec(), half::bf16::INFINITY.to_le_bytes().to_vec()),
        (Datatype::Fp32, f32::MAX.to_le_bytes().to_vec(), (-f32::NAN).to_le_bytes().to_vec()),
        (Datatype::Fp64, f64::MIN.to_le_bytes().to_vec(), f64::INFINITY.to_le_bytes().to_vec()),
    ] {
        assert!(!is_nonfinite(datatype, &good), "{datatype}");
        assert!(is_nonfinite(datatype, &[good, bad].concat()), "{datatype}");
    }
    assert!(!is_nonfinite(Datatype::Int32, &f32::NAN.to_le_bytes()));
}

proptest! {
    #[test]
    fn as_the_number_itself_says(bits: Vec<u32>) {
        let data: Vec<u8> = bits.iter().flat_map(|one| one.to_le_bytes()).collect();
        let expected = bits.iter().any(|&one| !f32::from_bits(one).is_finite());
        prop_assert_eq!(is_nonfinite(Datatype::Fp32, &data), expected);
    }

    #[test]
    fn scores_are_in_order_and_of_a_bucket_within_a_quarter(one: f64, other: f64) {
        if one.is_finite() && other.is_finite() {
            let (low, high) = (one.min(other), one.max(other));
            prop_assert!(bucket(low) <= bucket(high) && bucket(high) < SCORES);
            prop_assert_eq!(bucket(-one), SCORES - 1 - bucket(one));
        }
    }
}

#[test]
fn buckets_are_a_quarter_of_a_power_of_two() {
    let edges = [0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75, 0.875, 1.0];
    for pair in edges.windows(2) {
        assert_eq!(bucket(pair[0]) + 1, bucket(pair[1]));
        assert_eq!(bucket(pair[0]), bucket((pair[0] + pair[1]) / 2.0));
    }
    assert_eq!((bucket(0.0), bucket(1e-9), bucket(-1e-9)), (161, 161, 161));
    assert_eq!((bucket(1e300), bucket(f64::MIN), bucket(f64::NAN)), (SCORES - 1, 0, SCORES));
}

#[test]
fn classes_are_the_places_of_the_largest_scores_or_the_labels() {
    let scores =
        output(Datatype::Fp32, &[3, 3], &singles(&[0.1, 0.7, 0.2, 0.5, 0.5, 0.0, f32::NAN, 0.1, 0.2]));
    let found = counted(Counting::Distributions, &[scores]);
    assert_eq!(places(&found.classes), [(0, 1), (1, 1), (2, 1)]);
    assert_eq!(found.classes.squares.load(Relaxed), 9);
    assert_eq!(places(&found.scores).iter().map(|(_, count)| count).sum::<u64>(), 8);
    let labels: Vec<u8> = [3_i64, 259, -1].iter().flat_map(|one| one.to_le_bytes()).collect();
    let found = counted(Counting::Distributions, &[output(Datatype::Int64, &[3, 1], &labels)]);
    assert_eq!(places(&found.classes), [(3, 2), (255, 1)]);
    let found =
        counted(Counting::Distributions, &[output(Datatype::Fp32, &[3, 1], &singles(&[1.0, 2.0, 3.0]))]);
    assert!(places(&found.classes).is_empty());
}

#[test]
fn of_a_large_answer_a_bounded_part_is_looked_at() {
    let found = counted(Counting::Distributions, &[output(Datatype::Fp32, &[5000], &singles(&[1.0; 5000]))]);
    assert_eq!(places(&found.scores).iter().map(|(_, count)| count).sum::<u64>(), 1024);
    assert_eq!(found.scores.squares.load(Relaxed), 1024 * 1024);
}

#[test]
fn nothing_is_looked_at_unless_asked_for_and_what_was_counted_stays() {
    let stats = Stats::new("m", 1);
    let data = singles(&[f32::NAN]);
    let one = || std::iter::once(Counted { datatype: Datatype::Fp32, shape: &[1], data: &data });
    let nonfinite = || stats.outputs().map(|of| of.nonfinite.load(Relaxed));
    stats.answers(|| -> std::iter::Empty<Counted<'_>> { unreachable!("asked for") });
    assert_eq!(nonfinite(), None);
    stats.count_outputs(Counting::NonFinite);
    stats.answers(one);
    stats.count_outputs(Counting::Nothing);
    stats.answers(one);
    assert_eq!(nonfinite(), Some(1));
}
