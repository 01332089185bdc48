//! What is told of a state, and how.

use super::*;
use crate::stats::{Run, Stats};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn of_versions(all: &[Arc<Stats>]) -> String {
    let figures: Vec<_> = all.iter().map(|stats| Figures::of(stats)).collect();
    text(&figures, &Totals::default())
}

fn busy(model: &str, version: u64) -> Arc<Stats> {
    let stats = Stats::new(model, version);
    let took = Duration::from_micros(80);
    stats.answered(Protocol::Grpc, Ok(()), took);
    for word in [ErrorCode::BadRequest, ErrorCode::BadData, ErrorCode::Full] {
        stats.answered(Protocol::Http, Err(word), took);
    }
    stats.answered(Protocol::Grpc, Err(ErrorCode::Cancelled), took);
    stats.routed(Why::Weight);
    stats.waited(Duration::from_micros(30));
    stats.ran(&Run {
        requests: 2,
        rows: 5,
        gather: Duration::from_micros(3),
        compute: Duration::from_millis(1),
        scatter: Duration::from_micros(4),
    });
    stats
}

#[test]
fn outcomes_and_histograms_appear_under_their_labels() {
    let text = of_versions(&[busy("m\"x", 3)]);
    for line in [
        "serving_request_total{model=\"m\\\"x\",version=\"3\",protocol=\"grpc\",code=\"OK\"} 1",
        "serving_request_total{model=\"m\\\"x\",version=\"3\",protocol=\"http\",code=\"400\"} 2",
        "serving_route_total{model=\"m\\\"x\",version=\"3\",route=\"weight\"} 1",
        "serving_batch_size_bucket{model=\"m\\\"x\",version=\"3\",le=\"4\"} 0",
        "serving_batch_size_bucket{model=\"m\\\"x\",version=\"3\",le=\"8\"} 1",
        "serving_batch_size_sum{model=\"m\\\"x\",version=\"3\"} 5",
        "serving_compute_duration_seconds_bucket{model=\"m\\\"x\",version=\"3\",le=\"0.001\"} 1",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
}

#[test]
fn triton_s_families_say_the_same_in_its_words() {
    let text = of_versions(&[busy("m", 1)]);
    for (name, extra, value) in [
        ("request_success", "", 1),
        ("request_failure", ",reason=\"REJECTED\"", 1),
        ("request_failure", ",reason=\"CANCELED\"", 1),
        ("request_failure", ",reason=\"BACKEND\"", 1),
        ("request_failure", ",reason=\"OTHER\"", 1),
        ("count", "", 5),
        ("exec_count", "", 1),
        ("pending_request_count", "", 0),
        ("request_duration_us", "", 80),
        ("queue_duration_us", "", 30),
        ("compute_input_duration_us", "", 6),
        ("compute_infer_duration_us", "", 2000),
        ("compute_output_duration_us", "", 8),
    ] {
        let line = format!("nv_inference_{name}{{model=\"m\",version=\"1\"{extra}}} {value}\n");
        assert!(text.contains(&line), "{line} not in\n{text}");
    }
    let idle = Stats::new("m", 1);
    idle.asked(Protocol::Grpc);
    let idle = of_versions(&[idle]);
    for reason in REASONS {
        assert!(idle.contains(&format!("reason=\"{reason}\"}} 0\n")), "{reason}");
    }
}

/// One block a family, its head once; counters and units named as OpenMetrics asks.
#[test]
fn families_are_whole_and_named_by_the_rules() {
    let text = of_versions(&[busy("a", 1), busy("a", 2), busy("b", 1)]);
    let (mut seen, mut family, mut kind) = (BTreeSet::new(), "", "");
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(seen.insert(family), "{family} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            kind = of;
            let is_ours = name.starts_with("serving_");
            assert!(!is_ours || (kind == "counter") == name.ends_with("_total"), "{name}");
            assert!(!is_ours || !["_ms", "_us", "_ns", "_kb", "_mb"].iter().any(|u| name.ends_with(u)));
        } else {
            let (id, _) = line.rsplit_once(' ').unwrap();
            let name = id.split('{').next().unwrap();
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} under {family}"));
            let allowed = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line}");
            assert!(series.insert(id), "{id} comes twice");
        }
    }
}

#[test]
fn a_version_is_told_from_its_first_request_on_and_a_protocol_from_its_own() {
    let stats = Stats::new("m", 1);
    assert!(!of_versions(std::slice::from_ref(&stats)).contains("model="));
    stats.asked(Protocol::Grpc);
    let text = of_versions(std::slice::from_ref(&stats));
    for line in [
        r#"serving_request_total{model="m",version="1",protocol="grpc",code="OK"} 0"#,
        r#"serving_request_duration_seconds_count{model="m",version="1",protocol="grpc"} 0"#,
        r#"serving_compute_duration_seconds_count{model="m",version="1"} 0"#,
        r#"nv_inference_count{model="m",version="1"} 0"#,
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    assert!(!text.contains("http"));
    stats.answered(Protocol::Http, Ok(()), Duration::ZERO);
    let both = of_versions(&[stats]);
    assert!(both.contains(r#"serving_request_total{model="m",version="1",protocol="http",code="200"} 1"#));
    let series = |text: &str| text.lines().filter_map(|l| Some(l.rsplit_once(' ')?.0.to_owned())).collect();
    let (before, after): (BTreeSet<String>, BTreeSet<String>) = (series(&text), series(&both));
    assert!(before.is_subset(&after));
}

/// Every outcome on both doors, odd names, gauges, and a version that did nothing.
fn recorded() -> Vec<Arc<Stats>> {
    let unresolved = Stats::new("", 0);
    unresolved.answered(Protocol::Grpc, Err(ErrorCode::NotFound), Duration::from_nanos(1));
    let all = Stats::new("odd \"\\\n", 12);
    for (place, protocol) in Protocol::ALL.into_iter().enumerate() {
        all.answered(protocol, Ok(()), Duration::from_secs(61));
        for (number, word) in ErrorCode::ALL.into_iter().enumerate() {
            for _ in 0..=number * 3 % 5 + place {
                all.answered(protocol, Err(word), Duration::from_micros(37 << number));
            }
        }
    }
    for rows in [1, 5, 64, 5000] {
        let (gather, compute) = (Duration::from_nanos(1234), Duration::from_micros(rows * 7));
        let scatter = Duration::from_nanos(999);
        all.ran(&Run { requests: 3, rows: rows as usize, gather, compute, scatter });
        all.waited(compute);
    }
    let gauges = [&all.depth_requests, &all.depth_rows, &all.depth_bytes, &all.in_flight, &all.executing];
    let counts = [&all.failed_runs, &all.abandoned_runs, &all.dropped_expired, &all.dropped_cancelled];
    for (number, value) in gauges.into_iter().chain(counts).enumerate() {
        value.store(1 << (number * 7), Relaxed);
    }
    vec![unresolved, busy("m", 1), Stats::new("m", 2), all]
}

/// The text was written by what wrote scrapes before there were figures; only routes, the 417, the 421, the
/// 429, the failed precondition and what shifted with them are younger, and what nobody asked is left out.
#[test]
fn a_recorded_state_is_told_to_the_byte_as_ever() {
    let figures: Vec<_> = recorded().iter().map(|stats| Figures::of(stats)).collect();
    let server = Totals {
        connections: 1,
        connections_total: 2,
        connections_refused: 3,
        buffered_bytes: 4,
        buffered_bytes_limit: 5,
        window_bytes: 6,
        window_bytes_limit: 7,
        events_dropped: 8,
        spans_dropped: 9,
        samples_dropped: 10,
        samples_too_large: 11,
        statistics_too_large: 12,
    };
    assert_eq!(text(&figures, &server), include_str!("tests/recorded.txt"));
}

#[test]
fn each_figure_has_a_name_of_its_own() {
    let of_versions = OF_VERSIONS.iter().map(|one| one.key).chain(DISTRIBUTIONS.iter().map(|one| one.key));
    let of_server = OF_SERVER.iter().map(|one| one.key);
    for keys in [of_versions.collect::<Vec<_>>(), of_server.collect()] {
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }
}
