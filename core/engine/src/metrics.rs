//! The core's figures in Prometheus text format 0.0.4; what there is to tell is in [`families`].
//!
//! Every series has the model and version of the table as it is now. Those of a version appear with
//! its first request, those of a protocol with the first one over it, and they go with the version;
//! all unknown names share one empty label.

pub mod families;
mod shadows;
pub mod tensorflow;
#[cfg(test)]
mod tests;

use crate::error::ErrorCode;
use crate::figures::{Figures, Observed, Totals};
use crate::stats::{Protocol, Why};
use crate::status;
use families::{DISTRIBUTIONS, Distribution, Family, Kind, OF_SERVER, OF_VERSIONS, TRITON, Value};
use std::fmt::Write;

/// The families of versions, of those in `all` that were asked; then those of the server.
pub fn text(all: &[Figures], server: &Totals) -> String {
    let mut page = Page::new(all);
    page.outcomes();
    page.routes();
    for family in &DISTRIBUTIONS {
        page.distribution(family);
    }
    for one in &OF_VERSIONS {
        page.simple(&one.family, one.value);
    }
    for (family, value) in &TRITON {
        page.simple(family, *value);
    }
    page.failures();
    shadows::tell(&mut page.out, all);
    for one in &OF_SERVER {
        page.head(&one.family);
        let _ = writeln!(page.out, "{} {}", one.family.name, (one.value)(server));
    }
    page.out
}

/// Triton's reasons; all four are there from a version's first request on.
const REASONS: [&str; 4] = ["REJECTED", "CANCELED", "BACKEND", "OTHER"];

/// Which of [`REASONS`] a word is.
fn reason(word: ErrorCode) -> usize {
    match word {
        // Sent away before it ran.
        ErrorCode::Full | ErrorCode::TooManyRequests | ErrorCode::Expired | ErrorCode::Unavailable => 0,
        ErrorCode::Cancelled => 1,
        ErrorCode::Internal | ErrorCode::BadData => 2,
        ErrorCode::BadRequest
        | ErrorCode::NotFound
        | ErrorCode::TooLarge
        | ErrorCode::Unimplemented
        | ErrorCode::MethodNotAllowed
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::UnsupportedEncoding
        | ErrorCode::UnmetExpectation
        | ErrorCode::SlowBody
        | ErrorCode::Unauthenticated
        | ErrorCode::PermissionDenied
        | ErrorCode::FailedPrecondition
        | ErrorCode::SchemaMismatch
        | ErrorCode::Misdirected => 3,
    }
}

/// Lines of text under construction.
struct Page<'a> {
    out: String,
    versions: Vec<Version<'a>>,
}

struct Version<'a> {
    figures: &'a Figures,
    /// `model="m",version="1"`
    labels: String,
}

impl Version<'_> {
    fn protocols(&self) -> impl Iterator<Item = Protocol> {
        Protocol::ALL.into_iter().filter(|&protocol| self.figures.asked[protocol as usize])
    }

    fn protocol_labels(&self, protocol: Protocol) -> String {
        format!("{},protocol=\"{}\"", self.labels, protocol.name())
    }
}

impl<'a> Page<'a> {
    fn new(all: &'a [Figures]) -> Self {
        let version = |figures: &'a Figures| Version { labels: labels(figures), figures };
        Page {
            out: String::with_capacity(4096 + all.len() * 20_000),
            versions: all.iter().filter(|one| one.asked.contains(&true)).map(version).collect(),
        }
    }

    fn head(&mut self, family: &Family) {
        head(&mut self.out, family);
    }

    fn simple(&mut self, family: &Family, value: Value<Figures>) {
        self.head(family);
        let mut digits = itoa::Buffer::new();
        for version in &self.versions {
            line(&mut self.out, family.name, &version.labels, digits.format(value(version.figures)));
        }
    }

    /// Two words can share a code: their counts are one series.
    fn outcomes(&mut self) {
        let family = &families::REQUESTS;
        self.head(family);
        for version in &self.versions {
            for protocol in version.protocols() {
                let both = version.protocol_labels(protocol);
                for (code, count) in by_code(version.figures, protocol) {
                    let labels = format!("{both},code=\"{code}\"");
                    line(&mut self.out, family.name, &labels, &count.to_string());
                }
            }
        }
    }

    /// Of each version those that there were.
    fn routes(&mut self) {
        let family = &families::ROUTES;
        self.head(family);
        let mut digits = itoa::Buffer::new();
        for version in &self.versions {
            for (why, count) in Why::ALL.iter().zip(version.figures.routes) {
                if count > 0 {
                    let labels = format!("{},route=\"{}\"", version.labels, why.name());
                    line(&mut self.out, family.name, &labels, digits.format(count));
                }
            }
        }
    }

    fn failures(&mut self) {
        let family = &families::TRITON_FAILURES;
        self.head(family);
        for version in &self.versions {
            let mut counts = [0; REASONS.len()];
            for word in ErrorCode::ALL {
                let of_word = version.figures.outcomes.iter().map(|o| o[1 + word as usize]);
                counts[reason(word)] += of_word.sum::<u64>();
            }
            for (reason, count) in REASONS.iter().zip(counts) {
                let labels = format!("{},reason=\"{reason}\"", version.labels);
                line(&mut self.out, family.name, &labels, &count.to_string());
            }
        }
    }

    fn distribution(&mut self, family: &Distribution) {
        self.head(&family.family);
        let finite = family.bounds.iter().map(f64::to_string);
        let bounds: Vec<String> = finite.chain(["+Inf".into()]).collect();
        for version in &self.versions {
            let series = (family.observed)(version.figures);
            if !family.by_protocol {
                histogram(&mut self.out, family, &version.labels, &series[0], &bounds);
                continue;
            }
            for protocol in version.protocols() {
                let labels = version.protocol_labels(protocol);
                histogram(&mut self.out, family, &labels, &series[protocol as usize], &bounds);
            }
        }
    }
}

fn head(out: &mut String, family: &Family) {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let Family { name, help, .. } = family;
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn labels(figures: &Figures) -> String {
    format!("model=\"{}\",version=\"{}\"", escape(&figures.model), number(figures.version))
}

fn by_code(figures: &Figures, protocol: Protocol) -> Vec<(String, u64)> {
    let counts = &figures.outcomes[protocol as usize];
    let mut by_code = vec![(status::code_label(protocol, Ok(())), counts[0])];
    for word in ErrorCode::ALL {
        let count = counts[1 + word as usize];
        if count == 0 {
            continue;
        }
        let code = status::code_label(protocol, Err(word));
        match by_code.iter_mut().find(|(known, _)| *known == code) {
            Some((_, sum)) => *sum += count,
            None => by_code.push((code, count)),
        }
    }
    by_code
}

fn histogram(out: &mut String, family: &Distribution, labels: &str, observed: &Observed, bounds: &[String]) {
    buckets(out, &family.family, family.unit, labels, observed, bounds);
}

fn buckets(
    out: &mut String,
    family: &Family,
    unit: f64,
    labels: &str,
    observed: &Observed,
    bounds: &[String],
) {
    let name = family.name;
    let bucket = format!("{name}_bucket{{{labels},le=\"");
    let mut digits = itoa::Buffer::new();
    for (count, bound) in observed.counts().iter().zip(bounds) {
        for part in [&bucket, bound, "\"} ", digits.format(*count), "\n"] {
            out.push_str(part);
        }
    }
    let _ = writeln!(out, "{name}_sum{{{labels}}} {}", observed.sum as f64 * unit);
    let _ = writeln!(out, "{name}_count{{{labels}}} {}", observed.all());
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    for part in [name, "{", labels, "} ", value, "\n"] {
        out.push_str(part);
    }
}

/// Requests whose model or version is not known are counted under empty labels.
fn number(version: u64) -> String {
    if version == 0 { String::new() } else { version.to_string() }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
