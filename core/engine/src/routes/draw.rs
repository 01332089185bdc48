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

/// The version to which `draw` falls when each has its weight's part of all numbers, in the order
/// given; `None` where nothing weighs anything. Of two versions, one whose weight grows keeps
/// every draw that it had.
pub fn choose(weights: &[(u64, u32)], draw: u64) -> Option<u64> {
    let total: u64 = weights.iter().map(|&(_, weight)| u64::from(weight)).sum();
    let mut at = part(draw, total);
    for &(version, weight) in weights {
        match at.checked_sub(u64::from(weight)) {
            None => return Some(version),
            Some(rest) => at = rest,
        }
    }
    None
}

/// Where `draw` lies among `total` equal parts of all numbers.
fn part(draw: u64, total: u64) -> u64 {
    u64::try_from((u128::from(draw) * u128::from(total)) >> u64::BITS).unwrap_or(0)
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

    /// As many draws as `of`, evenly spread over all numbers.
    fn draws(of: u64) -> impl Iterator<Item = u64> {
        (0..of).map(move |i| u64::try_from((u128::from(i) << u64::BITS) / u128::from(of)).unwrap() + 1)
    }

    fn counted(weights: &[(u64, u32)], draws: impl Iterator<Item = u64>) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for draw in draws {
            *found.entry(choose(weights, draw).unwrap()).or_default() += 1;
        }
        found
    }

    fn weights() -> impl Strategy<Value = Vec<(u64, u32)>> {
        prop::collection::btree_map(1..20u64, 0..50u32, 1..6)
            .prop_map(|all| all.into_iter().collect::<Vec<_>>())
            .prop_filter("something weighs", |all| all.iter().any(|&(_, weight)| weight > 0))
    }

    proptest! {
        #[test]
        fn each_version_gets_its_weights_part_and_nothing_where_it_weighs_nothing(all in weights()) {
            let total = all.iter().map(|&(_, weight)| u64::from(weight)).sum();
            let expected: BTreeMap<_, _> =
                all.iter().filter(|(_, weight)| *weight > 0).map(|&(v, weight)| (v, u64::from(weight))).collect();
            prop_assert_eq!(counted(&all, draws(total)), expected);
        }

        #[test]
        fn a_version_whose_weight_grows_keeps_every_draw_it_had(draw: u64, small in 0..=100u32, more in 0..=100u32) {
            let large = small.max(more);
            for canary in [1, 3] {
                let of = |weight: u32| {
                    let mut both = [(2, 100 - weight), (canary, weight)];
                    both.sort_unstable();
                    choose(&both, draw)
                };
                prop_assert!(of(small.min(more)) != Some(canary) || of(large) == Some(canary));
            }
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
        assert_eq!(choose(&[(1, u32::MAX), (2, u32::MAX)], u64::MAX), Some(2));
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
