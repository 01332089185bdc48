//! Which of several versions answers a request: a pure function of their weights and of a number
//! that the request draws once and keeps.

use crate::random::{mix, of_bytes, random};

/// What a client says to be answered by the same version again, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    pub fn of(text: &[u8]) -> Key {
        Key(of_bytes(text))
    }

    /// Its draw for one model: another model's canary gets other clients.
    pub(super) fn draw(self, model: &str) -> u64 {
        mix(self.0 ^ of_bytes(model.as_bytes()))
    }
}

pub(super) fn any() -> u64 {
    random()
}

/// Makes the numbers of versions others than those by which shadows are chosen.
const LOTS: u64 = 0x5851_f42d_4c95_7f2d;

/// The version to which `draw` falls when each has its weight's part of all numbers; `None` where nothing
/// weighs anything.
///
/// Each version has a lot of its own for each draw, which its weight divides, and the smallest is drawn
/// (weighted rendezvous hashing; with exponentially distributed lots each wins with its weight's share of
/// all). A weight that grows makes that version's lots smaller and changes no other's: so whatever
/// number of versions there are, draws move to it and between no others.
pub fn choose(weights: &[(u64, u32)], draw: u64) -> Option<u64> {
    let mut heavy = weights.iter().filter(|&&(_, weight)| weight > 0).copied();
    let first = heavy.next()?;
    let Some(second) = heavy.next() else { return Some(first.0) };
    let lots = [first, second].into_iter().chain(heavy).map(|(version, weight)| {
        let lot = lot(draw, version) / f64::from(weight);
        (lot, version)
    });
    lots.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, version)| version)
}

/// Exponentially distributed over all draws, more than 0.
fn lot(draw: u64, version: u64) -> f64 {
    // 53 bits, in the midst of their steps: never 0 or 1.
    let high = (mix(draw ^ mix(version ^ LOTS)) >> 11) as f64;
    -((high + 0.5) * (0.5 / (1_u64 << 52) as f64)).ln()
}

/// Whether a copy of the request that drew `draw` goes to the shadow `version`, which gets the
/// share `rate` of them, whoever answers.
pub fn copies(rate: f64, version: u64, draw: u64) -> bool {
    // The cast saturates: all of them from 1 on.
    rate > 0.0 && mix(draw ^ mix(version)) <= (rate * u64::MAX as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn draws(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|number| mix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn weights() -> impl Strategy<Value = Vec<(u64, u32)>> {
        prop::collection::btree_map(1..20u64, 0..50u32, 1..6)
            .prop_map(|all| all.into_iter().collect::<Vec<_>>())
            .prop_filter("something weighs", |all| all.iter().any(|&(_, weight)| weight > 0))
    }

    proptest! {
        /// Within six standard deviations of what dice would give.
        #[test]
        fn each_version_gets_its_weights_part_and_nothing_where_it_weighs_nothing(all in weights()) {
            const DRAWS: u64 = 5000;
            let total: u32 = all.iter().map(|&(_, weight)| weight).sum();
            let mut found = BTreeMap::<u64, u64>::new();
            for draw in draws(DRAWS) {
                *found.entry(choose(&all, draw).unwrap()).or_default() += 1;
            }
            for &(version, weight) in &all {
                let share = f64::from(weight) / f64::from(total);
                let expected = share * DRAWS as f64;
                let off = (found.get(&version).copied().unwrap_or(0) as f64 - expected).abs();
                prop_assert!(off <= 6.0 * (expected * (1.0 - share)).sqrt(), "{version}: {off} off {expected}");
            }
        }

        /// However many there are: nobody changes places between the others.
        #[test]
        fn a_weight_that_grows_moves_draws_to_its_version_only(all in weights(), draw: u64, at in 0..6usize, more in 1..100u32) {
            let mut grown = all.clone();
            let at = at % grown.len();
            grown[at].1 += more;
            let (before, after) = (choose(&all, draw), choose(&grown, draw));
            prop_assert!(before == after || after == Some(grown[at].0));
            // And one that shrinks gives its own away, and no others.
            prop_assert!(before == after || before != Some(grown[at].0));
        }

        /// A version that comes takes its part from each of the others.
        #[test]
        fn a_version_that_comes_moves_draws_to_itself_only(all in weights(), draw: u64, weight in 1..100u32) {
            let mut more = all.clone();
            more.push((99, weight));
            let after = choose(&more, draw);
            prop_assert!(after == choose(&all, draw) || after == Some(99));
        }

        /// 95 and 5 become 90 and 10: the one grows, the other shrinks.
        #[test]
        fn a_version_whose_share_grows_keeps_every_draw_it_had(draw: u64, small in 0..=100u32, more in 0..=100u32) {
            let large = small.max(more);
            for canary in [1, 3] {
                let of = |weight: u32| choose(&[(2, 100 - weight), (canary, weight)], draw);
                prop_assert!(of(small.min(more)) != Some(canary) || of(large) == Some(canary));
            }
        }

        #[test]
        fn neither_order_nor_scale_change_a_draw(all in weights(), draw: u64, scale in 1..50u32) {
            let mut other: Vec<_> = all.iter().map(|&(version, weight)| (version, weight * scale)).collect();
            other.reverse();
            prop_assert_eq!(choose(&other, draw), choose(&all, draw));
        }

        #[test]
        fn what_weighs_nothing_changes_nothing(draw: u64, all in weights(), at in 0..6usize) {
            let mut more = all.clone();
            more.insert(at.min(all.len()), (99, 0));
            prop_assert_eq!(choose(&more, draw), choose(&all, draw));
        }

        #[test]
        fn a_shadow_whose_share_grows_keeps_every_copy_it_had(draw: u64, small in 0.0..1.0f64, more in 0.0..1.0f64) {
            prop_assert!(!copies(small.min(more), 3, draw) || copies(small.max(more), 3, draw));
            prop_assert!(copies(1.0, 3, draw) && !copies(0.0, 3, draw));
        }
    }

    #[test]
    fn nothing_is_chosen_where_nothing_weighs() {
        assert_eq!(choose(&[], 7), None);
        assert_eq!(choose(&[(1, 0), (2, 0)], u64::MAX), None);
        assert_eq!(choose(&[(1, 0), (2, u32::MAX)], u64::MAX), Some(2));
        assert!([0, 1, u64::MAX].into_iter().all(|draw| choose(&[(1, 1), (2, u32::MAX)], draw).is_some()));
    }

    /// Keys that are much alike, as users' numbers are, fall as even as dice would.
    #[test]
    fn keys_are_spread_by_weight_and_anew_for_each_model_and_shadow() {
        let keys: Vec<Key> = (0..10_000).map(|i| Key::of(format!("user-{i}").as_bytes())).collect();
        let canary =
            |model: &str| keys.iter().map(|key| choose(&[(1, 90), (2, 10)], key.draw(model))).collect();
        let (a, b): (Vec<_>, Vec<_>) = (canary("a"), canary("b"));
        assert_eq!(a, canary("a"));
        let share = |found: &dyn Fn(usize) -> bool| (0..keys.len()).filter(|&i| found(i)).count();
        for (found, expected) in [
            (share(&|i| a[i] == Some(2)), 1000),
            (share(&|i| a[i] == Some(2) && b[i] == Some(2)), 100),
            (share(&|i| a[i] == Some(2) && copies(0.5, 3, keys[i].draw("a"))), 500),
        ] {
            assert!(found.abs_diff(expected) < expected / 3, "{found} of about {expected}");
        }
    }
}
