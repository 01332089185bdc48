//! Which requests are traced: one rule for all of them, and others for those of single models.

use super::trace::{self, Context};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// How many requests may yet be drawn; below zero as many as come. Rules may share one.
#[derive(Debug)]
pub struct Count(AtomicI64);

impl Count {
    pub const UNLIMITED: i64 = -1;

    pub fn new(count: i64) -> Arc<Count> {
        Arc::new(Count(AtomicI64::new(count)))
    }

    pub fn left(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Count one more, where one may be.
    fn take(&self) -> bool {
        let next = |left: i64| (left > 0).then(|| left - 1);
        self.left() < 0 || self.0.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

#[derive(Clone, Debug)]
pub struct Rule {
    threshold: u64,
    parents: bool,
    count: Arc<Count>,
}

impl Default for Rule {
    /// Nothing is traced.
    fn default() -> Self {
        Rule::new(0.0, false, Count::new(Count::UNLIMITED))
    }
}

impl Rule {
    /// `rate`: the share of requests that is drawn, as long as `count` lets it. `parents`: a
    /// caller's sampled `traceparent` alone starts a trace, and is not counted.
    pub fn new(rate: f64, parents: bool, count: Arc<Count>) -> Rule {
        Rule { threshold: trace::threshold(rate), parents, count }
    }

    fn is_on(&self) -> bool {
        self.threshold != 0 || self.parents
    }

    /// See [`trace::decide`]; where nothing is traced nothing is named either.
    fn decide(&self, parent: Option<Context>) -> Option<Context> {
        if !self.is_on() {
            return None;
        }
        let brought = self.parents && parent.is_some_and(|caller| caller.sampled);
        let drawn = !brought && trace::drawn(self.threshold) && self.count.take();
        trace::decide(parent, drawn, self.parents)
    }
}

#[derive(Debug, Default)]
pub struct TraceRules {
    all: Rule,
    models: HashMap<String, Rule>,
}

impl TraceRules {
    /// `models`: the rules of those for which `all` does not hold.
    pub fn new(all: Rule, models: HashMap<String, Rule>) -> TraceRules {
        TraceRules { all, models }
    }

    pub fn is_on(&self) -> bool {
        self.all.is_on() || self.models.values().any(Rule::is_on)
    }

    /// Whether a request's model must be known first.
    pub fn differ(&self) -> bool {
        !self.models.is_empty()
    }

    /// `model` is empty where it stays unknown.
    pub fn decide(&self, model: &str, parent: Option<Context>) -> Option<Context> {
        self.models.get(model).unwrap_or(&self.all).decide(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traced(rules: &TraceRules, model: &str) -> bool {
        rules.decide(model, None).is_some_and(|own| own.sampled)
    }

    #[test]
    fn a_count_ends_what_is_drawn_and_not_what_callers_ask_for() {
        let count = Count::new(2);
        let rules = TraceRules::new(Rule::new(1.0, true, count.clone()), HashMap::new());
        let drawn: Vec<bool> = (0..4).map(|_| traced(&rules, "m")).collect();
        assert_eq!((drawn, count.left()), (vec![true, true, false, false], 0));
        assert!(rules.decide("m", Context::parse(PARENT)).unwrap().sampled);
        assert_eq!(count.left(), 0);
    }

    #[test]
    fn what_a_caller_traces_takes_nothing_of_a_count() {
        let count = Count::new(2);
        let rules = TraceRules::new(Rule::new(1.0, true, count.clone()), HashMap::new());
        assert!(rules.decide("m", Context::parse(PARENT)).unwrap().sampled);
        assert_eq!(count.left(), 2);
    }

    #[test]
    fn an_endless_count_stays_what_it_is() {
        let count = Count::new(Count::UNLIMITED);
        let rules = TraceRules::new(Rule::new(1.0, false, count.clone()), HashMap::new());
        assert!((0..100).all(|_| traced(&rules, "m")));
        assert_eq!(count.left(), Count::UNLIMITED);
    }

    #[test]
    fn rules_that_share_a_count_end_together() {
        let count = Count::new(3);
        let rule = || Rule::new(1.0, false, count.clone());
        let rules = TraceRules::new(rule(), [("a".to_owned(), rule())].into());
        let drawn: Vec<bool> = ["a", "b", "a", "b"].iter().map(|m| traced(&rules, m)).collect();
        assert_eq!(drawn, [true, true, true, false]);
    }

    #[test]
    fn a_model_has_its_own_rule_and_the_others_that_of_all() {
        let on = || Rule::new(1.0, true, Count::new(Count::UNLIMITED));
        let rules = TraceRules::new(on(), [("off".to_owned(), Rule::default())].into());
        assert!(rules.is_on() && rules.differ());
        assert!(traced(&rules, "m") && traced(&rules, "") && !traced(&rules, "off"));
        // Not even what its caller traces is named.
        assert_eq!(rules.decide("off", Context::parse(PARENT)), None);
        let rules = TraceRules::new(Rule::default(), [("on".to_owned(), on())].into());
        assert!(rules.is_on());
        assert!(traced(&rules, "on") && !traced(&rules, "m"));
        assert!(!TraceRules::default().is_on() && !TraceRules::default().differ());
    }
}
