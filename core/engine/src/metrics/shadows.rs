//! What versions did as shadows: of those that had any copies.

use super::families::{
    Family, SHADOW_COMPARED, SHADOW_COMPUTE, SHADOW_COPIES, SHADOW_DIFFERENT, SHADOW_DROPPED, SHADOW_FAILED,
    SHADOW_UNCOMPARED,
};
use super::{buckets, head, labels, line};
use crate::error::ErrorCode;
use crate::figures::{Figures, ShadowFigures};
use crate::stats::SECONDS;
use crate::stats::shadow::{Dropped, ShadowCounts, Uncompared};

type Shadow<'a> = (String, &'a ShadowFigures);

pub(super) fn tell(out: &mut String, all: &[Figures]) {
    let of = |figures| -> Option<Shadow<'_>> {
        let figures: &Figures = figures;
        Some((labels(figures), figures.shadow.as_deref()?))
    };
    let shadows: Vec<_> = all.iter().filter_map(of).collect();
    count(out, &SHADOW_COPIES, &shadows, |of| of.copies);
    reasons(out, &SHADOW_DROPPED, &shadows, |of| {
        Dropped::ALL.iter().zip(of.dropped).map(|(why, count)| (why.name().to_owned(), count)).collect()
    });
    reasons(out, &SHADOW_FAILED, &shadows, |of| {
        ErrorCode::ALL.iter().zip(of.failed).map(|(word, count)| (word.name().to_owned(), count)).collect()
    });
    reasons(out, &SHADOW_UNCOMPARED, &shadows, |of| {
        Uncompared::ALL.iter().zip(of.uncompared).map(|(why, count)| (why.name().to_owned(), count)).collect()
    });
    count(out, &SHADOW_COMPARED, &shadows, |of| of.compared);
    count(out, &SHADOW_DIFFERENT, &shadows, |of| of.different);
    head(out, &SHADOW_COMPUTE);
    let bounds: Vec<String> = SECONDS.iter().map(f64::to_string).chain(["+Inf".into()]).collect();
    for (labels, figures) in &shadows {
        buckets(out, &SHADOW_COMPUTE, 1e-9, labels, &figures.compute, &bounds);
    }
}

fn count(out: &mut String, family: &Family, shadows: &[Shadow<'_>], value: fn(&ShadowCounts) -> u64) {
    head(out, family);
    for (labels, figures) in shadows {
        line(out, family.name, labels, &value(&figures.counts).to_string());
    }
}

/// Of each version those that there were.
fn reasons(
    out: &mut String,
    family: &Family,
    shadows: &[Shadow<'_>],
    values: fn(&ShadowCounts) -> Vec<(String, u64)>,
) {
    head(out, family);
    for (labels, figures) in shadows {
        for (reason, count) in values(&figures.counts).into_iter().filter(|(_, count)| *count > 0) {
            line(out, family.name, &format!("{labels},reason=\"{reason}\""), &count.to_string());
        }
    }
}
