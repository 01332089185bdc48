use super::*;
use crate::error::{Error, ErrorCode};
use crate::queue::{Options, Queue};
use crate::stats::Stats;
use crate::tensor::Signature;
use http::{HeaderMap, HeaderValue};
use std::collections::BTreeMap;

fn asked<'a>(model: &'a str, version: &'a str) -> Reference<'a> {
    Reference::to(model, version)
}

fn refused(routes: &Routes, model: &str, version: &str) -> Error {
    routes.resolve(asked(model, version)).unwrap_err()
}

fn refusal(routes: &Routes, model: &str, version: &str) -> String {
    refused(routes, model, version).message
}

fn published(route: Route) -> Routes {
    let routes = Routes::default();
    routes.publish(vec![("m".into(), route)], &[]);
    routes
}

/// Versions of `m` that answer, the lowest those that name none.
fn versions(numbers: &[u64]) -> Route {
    let queue = |&number: &u64| {
        (number, Queue::new(Stats::new("m", number), Signature::default(), Options::default(), None))
    };
    let versions: BTreeMap<_, _> = numbers.iter().map(queue).collect();
    Route { versions, default: numbers.first().copied(), ..Route::default() }
}

#[test]
fn what_is_loading_is_unavailable_and_what_is_unknown_is_not_found() {
    assert_eq!(refused(&Routes::default(), "m", "").code, ErrorCode::Unavailable);
    let routes = published(Route { unavailable: [(2, "it is loading".into())].into(), ..Route::default() });
    assert_eq!(refused(&routes, "m", "").code, ErrorCode::Unavailable);
    assert_eq!(refused(&routes, "m", "2").code, ErrorCode::Unavailable);
    assert_eq!(refused(&routes, "m", "3").code, ErrorCode::NotFound);
    assert!(refusal(&routes, "x", "").starts_with("Request for unknown model"));
}

#[test]
fn what_could_be_no_version_of_any_model_is_bad_before_the_model_is_unknown() {
    let routes = published(versions(&[1]));
    for (model, version) in [("m", "0"), ("m", "x"), ("nobody", "-1"), ("nobody", "1_0"), ("nobody", "a/b")] {
        assert_eq!(refused(&routes, model, version).code, ErrorCode::BadRequest, "{version}");
        let ready = routes.is_ready(asked(model, version));
        assert_eq!(ready.unwrap_err().code, ErrorCode::BadRequest, "{version}");
    }
    // It could be an alias of a model that there were.
    assert_eq!(refused(&routes, "nobody", "stable").code, ErrorCode::NotFound);
    assert_eq!(routes.is_ready(asked("nobody", "stable")).unwrap_err().code, ErrorCode::NotFound);
    assert!(refusal(&routes, "nobody", "stable").starts_with("Request for unknown model: 'nobody'"));
}

/// Else a client would take its alias for a wrong one, and never come back.
#[test]
fn while_no_model_is_known_nothing_is_the_clients_fault() {
    let routes = Routes::default();
    for version in ["", "1", "stable", "-1"] {
        let error = refused(&routes, "m", version);
        assert_eq!((error.code, error.retry_after.is_some()), (ErrorCode::Unavailable, true), "{version}");
        assert_eq!(routes.is_ready(asked("m", version)).unwrap_err().code, ErrorCode::Unavailable);
    }
}

#[test]
fn readiness_goes_by_the_version_that_is_named() {
    let routes = published(Route { unavailable: [(2, "loading".into())].into(), ..versions(&[1]) });
    for (version, ready) in [("", true), ("1", true), ("2", false)] {
        assert_eq!(routes.is_ready(asked("m", version)).unwrap(), ready, "{version}");
    }
    assert_eq!(routes.is_ready(asked("m", "3")).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(routes.is_ready(asked("x", "")).unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_wrong_model_gets_the_nearest_name_or_the_few_there_are() {
    let routes = Routes::default();
    routes.publish(vec![], &[]);
    assert_eq!(
        refusal(&routes, "digts", ""),
        "Request for unknown model: 'digts' is not found; there is no model yet"
    );
    let named = |names: &[&str]| names.iter().map(|n| ((*n).into(), Route::default())).collect();
    routes.publish(named(&["digits", "tiny"]), &[]);
    assert_eq!(
        refusal(&routes, "digts", ""),
        "Request for unknown model: 'digts' is not found; did you mean 'digits'?"
    );
    assert_eq!(
        refusal(&routes, "bert", "1"),
        "Request for unknown model: 'bert' is not found; known models: 'digits', 'tiny'"
    );
}

#[test]
fn a_wrong_version_is_told_where_it_is_or_which_are_loaded() {
    let by_policy = ("the version policy is latest 1".to_string(), vec![1, 2]);
    let routes = published(Route { unloaded: [by_policy].into(), ..Route::default() });
    assert_eq!(
        refusal(&routes, "m", "2"),
        "Request for unknown model: 'm' version 2 is not found; it is on disk and not loaded: \
         the version policy is latest 1"
    );
    assert_eq!(
        refusal(&routes, "m", "9"),
        "Request for unknown model: 'm' version 9 is not found; no version is loaded"
    );
}

#[test]
fn who_answers_and_why_goes_by_what_is_named() {
    let aliases = [("stable".to_owned(), 1), ("next".to_owned(), 9)].into();
    let routes = published(Route { aliases, ..versions(&[1, 2]) });
    for (version, number, why) in [("", 1, Why::Default), ("2", 2, Why::Named), ("stable", 1, Why::Alias)] {
        let resolved = routes.resolve(asked("m", version)).unwrap();
        assert_eq!((resolved.version(), resolved.why, resolved.draw), (number, why, None), "{version}");
    }
    let next = refused(&routes, "m", "next");
    assert_eq!((next.code, next.led_to), (ErrorCode::NotFound, Some(9)));
    assert_eq!(refused(&routes, "m", "9").led_to, None);
    assert_eq!(refused(&routes, "m", "other").code, ErrorCode::BadRequest);
}

#[test]
fn weights_divide_those_that_name_no_version_and_nobody_else() {
    let routes = published(Route { weights: vec![(2, 1)], ..versions(&[1, 2]) });
    let resolved = routes.resolve(asked("m", "")).unwrap();
    assert_eq!((resolved.version(), resolved.why), (2, Why::Weight));
    assert!(resolved.draw.is_some());
    let named = routes.resolve(asked("m", "1")).unwrap();
    assert_eq!((named.version(), named.why, named.draw), (1, Why::Named, None));
}

#[test]
fn what_falls_to_a_version_that_does_not_answer_is_the_defaults() {
    let routes = published(Route { weights: vec![(7, 1)], ..versions(&[1, 2]) });
    let resolved = routes.resolve(asked("m", "")).unwrap();
    assert_eq!((resolved.version(), resolved.why), (1, Why::Default));
}

/// However often the table changes, and whatever it says in between.
#[test]
fn a_request_draws_once() {
    let shared = |weights: &[(u64, u32)]| Route { weights: weights.to_vec(), ..versions(&[1, 2]) };
    let routes = published(shared(&[(1, 50), (2, 50)]));
    let first = routes.resolve(asked("m", "")).unwrap();
    for weights in [&[(1, 1), (2, 99)][..], &[], &[(1, 50), (2, 50)]] {
        routes.publish(vec![("m".into(), shared(weights))], &[]);
        let again = routes.resolve_again(asked("m", ""), &first).unwrap();
        assert_eq!(again.draw, first.draw);
        let expected = draw::choose(weights, first.draw.unwrap()).unwrap_or(1);
        assert_eq!(again.version(), expected);
    }
    // One that needed no number so far draws when it does.
    let plain = published(versions(&[1])).resolve(asked("m", "")).unwrap();
    assert!(routes.resolve_again(asked("m", ""), &plain).unwrap().draw.is_some());
}

#[test]
fn the_same_key_is_answered_by_the_same_version_where_the_route_is_sticky() {
    let halves = Route { weights: vec![(1, 1), (2, 1)], ..versions(&[1, 2]) };
    let mut head = HeaderMap::new();
    head.insert("x-user", HeaderValue::from_static("somebody"));
    let keyed = Reference { keys: Keys { head: Some(&head), parameters: &[] }, ..asked("m", "") };
    let draws =
        |routes: &Routes| -> Vec<_> { (0..64).map(|_| routes.resolve(keyed).unwrap().draw).collect() };
    let sticky = published(Route { sticky: Some("x-user".into()), ..halves.clone() });
    assert!(draws(&sticky).windows(2).all(|two| two[0] == two[1]));
    let loose = published(halves);
    assert!(draws(&loose).windows(2).all(|two| two[0] != two[1]));
    assert_ne!(sticky.resolve(asked("m", "")).unwrap().draw, draws(&sticky)[0]);
}

#[test]
fn a_shadow_gets_copies_of_what_it_does_not_answer_and_must_be_loaded_for_it() {
    let shadows = vec![Shadow { version: 2, rate: 1.0 }, Shadow { version: 9, rate: 1.0 }];
    let route = Route { shadows, ..versions(&[1, 2]) };
    let routes = published(route.clone());
    let resolved = routes.resolve(asked("m", "")).unwrap();
    assert_eq!(resolved.version(), 1);
    let copies: Vec<_> = route.shadows_of(resolved.draw.unwrap()).map(|queue| queue.version()).collect();
    assert_eq!(copies, [2]);
}

#[test]
fn several_are_resolved_from_one_table() {
    let routes = published(versions(&[1, 2]));
    let all = routes.resolve_all([asked("m", "2"), asked("x", ""), asked("m", "")]);
    let found: Vec<_> =
        all.iter().map(|one| one.as_ref().map(Resolved::version).map_err(|e| e.code)).collect();
    assert_eq!(found, [Ok(2), Err(ErrorCode::NotFound), Ok(1)]);
}

#[test]
fn a_table_keeps_what_did_not_change_and_an_older_one_all_it_had() {
    let routes = Routes::default();
    let name = |number: u64| format!("m{number}");
    routes.publish((0..1000).map(|number| (name(number), versions(&[number + 1]))).collect(), &[]);
    let before = routes.table();
    routes.publish(
        vec![(name(7), versions(&[5])), ("new".into(), versions(&[2]))],
        &[name(8), "nobody".into()],
    );
    let now = routes.table();
    let default = |table: &Table, model: &str| table.get(model).and_then(|route| route.default);
    for number in (0..1000).filter(|number| ![7, 8].contains(number)) {
        assert!(std::ptr::eq(before.get(&name(number)).unwrap(), now.get(&name(number)).unwrap()));
    }
    assert_eq!((default(&now, "m7"), default(&now, "m8"), default(&now, "new")), (Some(5), None, Some(2)));
    assert_eq!(
        (default(&before, "m7"), default(&before, "m8"), default(&before, "new")),
        (Some(8), Some(9), None)
    );
    assert_eq!((before.names().count(), now.names().count(), now.routes().count()), (1000, 1000, 1000));
}

/// A version named, an alias, a tester's header, a draw, the default: the first that there is.
#[test]
fn what_a_request_says_goes_before_what_is_drawn_for_it() {
    let aliases = [("stable".to_owned(), 1), ("next".to_owned(), 2), ("gone".to_owned(), 9)];
    let route = Route { aliases: aliases.into(), weights: vec![(4, 1)], ..versions(&[1, 2, 3, 4]) };
    let (weighed, plain) = (published(route.clone()), published(Route { weights: vec![], ..route }));
    for (version, alias, forced, number, why) in [
        ("3", "next", "1", 3, Why::Named),
        ("stable", "next", "3", 1, Why::Alias),
        ("", "next", "3", 2, Why::Alias),
        ("", "", "3", 3, Why::Forced),
        ("", "", "next", 2, Why::Forced),
        ("", "", "", 4, Why::Weight),
    ] {
        let asked = Reference { alias, forced, ..asked("m", version) };
        let resolved = weighed.resolve(asked).unwrap();
        assert_eq!((resolved.version(), resolved.why), (number, why), "{asked:?}");
    }
    let resolved = plain.resolve(asked("m", "")).unwrap();
    assert_eq!((resolved.version(), resolved.why), (1, Why::Default));
}

#[test]
fn what_is_named_and_can_not_answer_is_refused_and_not_another_versions() {
    let aliases = [("gone".to_owned(), 9)].into();
    let unavailable = [(2, "it is loading".to_owned())].into();
    let routes = published(Route { aliases, unavailable, ..versions(&[1]) });
    for (alias, forced, code) in [
        ("gone", "", ErrorCode::NotFound),
        ("other", "", ErrorCode::NotFound),
        ("1", "", ErrorCode::NotFound),
        ("", "9", ErrorCode::NotFound),
        ("", "gone", ErrorCode::NotFound),
        ("", "2", ErrorCode::Unavailable),
        ("", "x", ErrorCode::BadRequest),
    ] {
        let asked = Reference { alias, forced, ..asked("m", "") };
        assert_eq!(routes.resolve(asked).unwrap_err().code, code, "{asked:?}");
    }
    let unknown = routes.resolve(Reference { alias: "other", ..asked("m", "") }).unwrap_err();
    assert_eq!(unknown.message, "Request for unknown model: 'm' has no alias 'other'");
}
