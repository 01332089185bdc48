//! What a version did as a shadow, as Python takes it.

use crate::observe::Sample;
use engine::error::ErrorCode;
use engine::observe::sample::{Sample as InnerSample, Takers, Tensor};
use engine::queue::Queue;
use engine::shadow::{Example, Found, OutputReport};
use engine::stats::shadow::{Dropped, ShadowCounts, Uncompared};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::time::{Duration, SystemTime};

/// Counts of everything, and of each output; `None` where it has had no copies yet.
pub fn report<'py>(py: Python<'py>, queue: &Queue) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(shadowed) = queue.stats().shadowed() else { return Ok(None) };
    let counts = shadowed.counts();
    let dict = counted(py, &counts)?;
    let outputs = queue.report_if_any().map(|report| report.outputs()).unwrap_or_default();
    let told: Vec<_> = outputs.iter().map(|one| output(py, one)).collect::<PyResult<_>>()?;
    dict.set_item("outputs", told)?;
    Ok(Some(dict))
}

fn counted<'py>(py: Python<'py>, counts: &ShadowCounts) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("copies", counts.copies)?;
    dict.set_item("dropped", reasons(py, Dropped::ALL.map(Dropped::name).into_iter().zip(counts.dropped))?)?;
    dict.set_item(
        "failed",
        reasons(py, ErrorCode::ALL.map(ErrorCode::name).into_iter().zip(counts.failed))?,
    )?;
    let uncompared = Uncompared::ALL.map(Uncompared::name).into_iter().zip(counts.uncompared);
    dict.set_item("uncompared", reasons(py, uncompared)?)?;
    dict.set_item("compared", counts.compared)?;
    dict.set_item("different", counts.different)?;
    Ok(dict)
}

/// Those that there were.
fn reasons<'py>(
    py: Python<'py>,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        dict.set_item(name, count)?;
    }
    Ok(dict)
}

fn output<'py>(py: Python<'py>, one: &OutputReport) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", &*one.name)?;
    dict.set_item("datatype", one.datatype.name())?;
    for (key, count) in [
        ("compared", one.compared),
        ("different", one.different),
        ("missing", one.missing),
        ("datatypes", one.datatypes),
        ("shapes", one.shapes),
        ("elements", one.elements),
        ("different_elements", one.different_elements),
        ("nonfinite", one.nonfinite),
        ("rows", one.rows),
        ("classes", one.classes),
    ] {
        dict.set_item(key, count)?;
    }
    dict.set_item("max_difference", (one.finite > 0).then_some(one.max))?;
    dict.set_item("mean_difference", (one.finite > 0).then(|| one.sum / one.finite as f64))?;
    Ok(dict)
}

/// An example: what is known of it, the answer given with its inputs, and the shadow's.
pub type Told<'py> = (Bound<'py, PyDict>, Sample, Sample);

pub fn examples<'py>(py: Python<'py>, queue: &Queue) -> PyResult<Vec<Told<'py>>> {
    let Some(report) = queue.report_if_any() else { return Ok(Vec::new()) };
    report.examples().into_iter().map(|example| told(py, queue, example)).collect()
}

fn told<'py>(py: Python<'py>, queue: &Queue, example: Example) -> PyResult<Told<'py>> {
    let at = example.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let dict = PyDict::new(py);
    dict.set_item("at", at.as_secs_f64())?;
    dict.set_item("id", &example.id)?;
    dict.set_item("request_id", &example.request_id)?;
    dict.set_item("version", example.version)?;
    dict.set_item("too_large", example.too_large)?;
    let differ = PyDict::new(py);
    for (name, one) in &example.outputs {
        differ.set_item(&**name, difference(py, one)?)?;
    }
    dict.set_item("outputs", differ)?;
    let sample = |version, inputs, outputs| sample(queue.model(), version, at, &example, inputs, outputs);
    let given = sample(example.version, example.inputs.clone(), example.given.clone());
    let shadow = sample(queue.version(), Vec::new(), example.shadow.clone());
    Ok((dict, given, shadow))
}

fn difference<'py>(py: Python<'py>, found: &Found) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("missing", found.missing)?;
    dict.set_item("datatype", found.datatype)?;
    dict.set_item("shape", found.shape)?;
    dict.set_item("different_elements", found.different)?;
    dict.set_item("nonfinite", found.nonfinite)?;
    dict.set_item("classes", found.classes)?;
    dict.set_item("max_difference", (found.finite > 0).then_some(found.max))?;
    Ok(dict)
}

fn sample(
    model: &str,
    version: u64,
    at: Duration,
    example: &Example,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
) -> Sample {
    let inner = InnerSample {
        takers: Takers { drawn: true, ..Takers::default() },
        model: model.to_owned(),
        version,
        route: "",
        protocol: example.protocol,
        id: example.id.clone(),
        request_id: example.request_id.clone(),
        at_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
        total: Duration::ZERO,
        queue: Duration::ZERO,
        compute: Duration::ZERO,
        word: "",
        message: String::new(),
        anomaly: None,
        inputs,
        outputs,
        priority: 0,
        timeout_us: 0,
    };
    Sample { inner }
}
