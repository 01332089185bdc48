//! The first three of TensorFlow Serving's families, under the names that its dashboards ask for. They have
//! no versions: what all of a model's did is added up.

use super::{escape, line};
use crate::error::ErrorCode;
use crate::figures::{Figures, OUTCOMES, Observed};
use crate::stats::{Protocol, SECONDS};
use crate::status::code_label;
use std::fmt::Write;

const COUNT: &str = ":tensorflow:serving:request_count";
const LATENCY: &str = ":tensorflow:serving:request_latency";
const RUNTIME: &str = ":tensorflow:serving:runtime_latency";

/// Of `all` that were asked, which are in the order of their models.
pub fn text(all: &[Figures]) -> String {
    let models = models(all);
    let mut out = String::with_capacity(256 + models.len() * 8192);
    counts(&mut out, &models);
    let _ = writeln!(out, "# TYPE {LATENCY} histogram");
    for model in &models {
        for (protocol, (api, entrypoint)) in
            Protocol::ALL.into_iter().zip([("Predict", "GRPC"), ("predict", "REST")])
        {
            if model.versions.iter().any(|figures| figures.asked[protocol as usize]) {
                let labels = format!("{},API=\"{api}\",entrypoint=\"{entrypoint}\"", model.labels);
                histogram(&mut out, LATENCY, &labels, model, |of| &of.request[protocol as usize]);
            }
        }
    }
    let _ = writeln!(out, "# TYPE {RUNTIME} histogram");
    for model in &models {
        let labels = format!("{},API=\"Predict\",runtime=\"ONNXRuntime\"", model.labels);
        histogram(&mut out, RUNTIME, &labels, model, |of| &of.compute);
    }
    out
}

struct Model<'a> {
    versions: &'a [Figures],
    labels: String,
}

fn models(all: &[Figures]) -> Vec<Model<'_>> {
    let by_name = all.chunk_by(|one, other| one.model == other.model);
    by_name
        .filter(|versions| versions.iter().any(|figures| figures.asked.contains(&true)))
        .map(|versions| Model {
            versions,
            labels: format!(
                "model_name=\"{}\"",
                versions.first().map_or(String::new(), |of| escape(&of.model))
            ),
        })
        .collect()
}

/// By gRPC's names, whichever the protocol.
fn counts(out: &mut String, models: &[Model<'_>]) {
    let _ = writeln!(out, "# TYPE {COUNT} counter");
    let outcomes = || std::iter::once(Ok(())).chain(ErrorCode::ALL.map(Err));
    for model in models {
        let mut by_code: Vec<(String, u64)> = Vec::new();
        let mut sums = [0; OUTCOMES];
        for outcomes in model.versions.iter().flat_map(|figures| &figures.outcomes) {
            sums.iter_mut().zip(outcomes).for_each(|(sum, count)| *sum += count);
        }
        for (outcome, count) in outcomes().zip(sums).filter(|(outcome, count)| outcome.is_ok() || *count > 0)
        {
            let code = code_label(Protocol::Grpc, outcome);
            match by_code.iter_mut().find(|(known, _)| *known == code) {
                Some((_, sum)) => *sum += count,
                None => by_code.push((code, count)),
            }
        }
        for (code, count) in by_code {
            let labels = format!("{},status=\"{code}\"", model.labels);
            line(out, COUNT, &labels, &count.to_string());
        }
    }
}

/// In microseconds.
fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    model: &Model<'_>,
    observed: impl Fn(&Figures) -> &Observed,
) {
    const NANOSECONDS: f64 = 1e-3;
    let mut counts = [0u64; SECONDS.len() + 1];
    let mut sum = 0u64;
    for figures in model.versions {
        let of = observed(figures);
        counts.iter_mut().zip(of.counts()).for_each(|(all, count)| *all += count);
        sum = sum.saturating_add(of.sum);
    }
    let finite = SECONDS.iter().map(|bound| (bound * 1e6).round().to_string());
    for (bound, count) in finite.chain(["+Inf".into()]).zip(counts) {
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", sum as f64 * NANOSECONDS);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", counts[SECONDS.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Run, Stats};
    use std::time::Duration;

    fn asked(model: &str, version: u64, took: Duration) -> Figures {
        let stats = Stats::new(model, version);
        stats.answered(Protocol::Grpc, Ok(()), took);
        stats.answered(Protocol::Http, Err(ErrorCode::BadRequest), took);
        stats.answered(Protocol::Http, Err(ErrorCode::BadData), took);
        let zero = Duration::ZERO;
        stats.ran(&Run { requests: 1, rows: 1, gather: zero, compute: took, scatter: zero });
        Figures::of(&stats)
    }

    #[test]
    fn what_all_versions_of_a_model_did_is_told_in_microseconds() {
        let all = [
            asked("a\"b", 1, Duration::from_micros(40)),
            asked("a\"b", 2, Duration::from_micros(60)),
            Figures::of(&Stats::new("unasked", 1)),
        ];
        let text = text(&all);
        let of = "model_name=\"a\\\"b\"";
        let latency = format!("{LATENCY}_bucket{{{of},API=\"Predict\",entrypoint=\"GRPC\",le=");
        for expected in [
            format!("# TYPE {COUNT} counter"),
            format!("{COUNT}{{{of},status=\"OK\"}} 2"),
            format!("{COUNT}{{{of},status=\"INVALID_ARGUMENT\"}} 4"),
            format!("# TYPE {LATENCY} histogram"),
            format!("{latency}\"50\"}} 1"),
            format!("{latency}\"100\"}} 2"),
            format!("{latency}\"60000000\"}} 2"),
            format!("{latency}\"+Inf\"}} 2"),
            format!("{LATENCY}_sum{{{of},API=\"Predict\",entrypoint=\"GRPC\"}} 100"),
            format!("{LATENCY}_count{{{of},API=\"predict\",entrypoint=\"REST\"}} 4"),
            format!("{RUNTIME}_count{{{of},API=\"Predict\",runtime=\"ONNXRuntime\"}} 2"),
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected} not in\n{text}");
        }
        assert!(!text.contains("unasked"));
    }
}
