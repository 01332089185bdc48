//! Models with trace rules of their own: a request is decided upon once its model is known.

use super::*;
use crate::observe::trace_rules::{Count, Rule, TraceRules};

fn all_of_them() -> Rule {
    Rule::new(1.0, true, Count::new(Count::UNLIMITED))
}

fn rules(all: Rule, models: Vec<(&str, Rule)>) -> TraceRules {
    TraceRules::new(all, models.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect())
}

/// Whether the answer names a span that is kept; of requests for `m` the spans are looked at.
fn is_traced(world: &World, model: &str, parent: Option<&'static str>) -> bool {
    let mut asked = world.ask(model, 1, parent);
    let finished = asked.poll();
    let (_, record) = finished.unwrap_or_else(|| {
        echo(world.queue.next_batch().unwrap());
        asked.poll().unwrap()
    });
    let own = record.and_then(|record| record.own().copied());
    let spans = world.spans();
    match own.filter(|own| own.sampled) {
        None => assert!(spans.is_empty()),
        Some(own) => {
            let request = World::span(&spans, "request");
            assert_eq!((request.trace, request.span), (own.trace, own.span));
            assert_eq!(request.parent, parent.map(|p| Context::parse(p.as_bytes()).unwrap().span));
            assert_eq!(attribute(&request, "model"), Some(model.into()));
            assert_eq!(attribute(&request, "request_id"), Some("r-1".into()));
            assert_eq!(spans.len(), if model == "m" { 4 } else { 1 });
        }
    }
    own.is_some_and(|own| own.sampled)
}

#[test]
fn one_model_is_traced_and_the_others_are_not() {
    let world = World::new(Some(OFF));
    world.shared.observer.trace(rules(Rule::default(), vec![("m", all_of_them())]));
    for parent in [None, Some(PARENT)] {
        assert!(is_traced(&world, "m", parent));
        assert!(!is_traced(&world, "nowhere", parent));
    }
}

#[test]
fn all_models_are_traced_but_one() {
    let world = World::new(Some(ALL));
    world.shared.observer.trace(rules(all_of_them(), vec![("m", Rule::default())]));
    for parent in [None, Some(PARENT)] {
        assert!(!is_traced(&world, "m", parent));
        assert!(is_traced(&world, "nowhere", parent));
    }
    // The access log has both all the same.
    let named = |record: &crate::events::Event| record.fields.iter().any(|(key, _)| *key == "trace_id");
    let traced: Vec<bool> = world.records().iter().filter(|r| r.event == "request").map(named).collect();
    assert_eq!(traced, [false, true, false, true]);
}

#[test]
fn rules_count_from_the_next_request_on_and_none_cost_nothing() {
    let world = World::new(Some(OFF));
    assert!(!is_traced(&world, "m", Some(PARENT)));
    world.shared.observer.trace(rules(all_of_them(), vec![]));
    assert!(is_traced(&world, "m", None));
    world.shared.observer.trace(TraceRules::default());
    assert!(!is_traced(&world, "m", Some(PARENT)));
    assert_eq!(world.shared.observer.on.load(Relaxed) & (TRACES | MODELS), 0);
}

#[test]
fn a_request_that_never_told_its_model_follows_the_rule_of_all() {
    let world = World::new(Some(OFF));
    let begun = || world.shared.observer.begin(origin, || Context::parse(PARENT.as_bytes()));
    world.shared.observer.trace(rules(all_of_them(), vec![("m", Rule::default())]));
    let shared = world.shared.clone();
    let request_head = RequestHead {
        protocol: Protocol::Grpc,
        started: Instant::now(),
        method: "ModelInfer",
        path: "",
        request_id: None,
        replayed: false,
    };
    assert!(begun().record.is_none() && begun().undecided.is_some());
    let guard = OutcomeGuard::open(&shared, request_head, || Context::parse(PARENT.as_bytes()));
    assert!(guard.record().is_none());
    let record = guard.close(Err(&Error::bad("no message"))).unwrap();
    assert!(record.own().unwrap().sampled);
    assert_eq!(attribute(&World::span(&world.spans(), "request"), "status"), Some("bad_request".into()));
}

fn origin() -> Origin {
    Origin {
        protocol: Protocol::Grpc,
        method: "ModelInfer".into(),
        path: String::new(),
        request_id: None,
        started: Instant::now(),
    }
}

#[test]
fn a_closed_observer_stays_closed() {
    let world = World::new(Some(OFF));
    world.shared.observer.close();
    world.shared.observer.trace(rules(all_of_them(), vec![("m", all_of_them())]));
    assert!(world.shared.observer.begin(origin, || None).undecided.is_none());
}
