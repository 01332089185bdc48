//! What versions did, as arrays with a row for each of them.

use crate::numpy;
use engine::error::ErrorCode;
use engine::figures::{Distributions, Figures as Inner, OUTCOMES, Observed};
use engine::metrics::families::{DISTRIBUTIONS, Distribution, OF_VERSIONS};
use engine::stats::fine::{FINE, FINE_SECONDS};
use engine::stats::shadow::ShadowCounts;
use engine::stats::{Protocol, Why};
use engine::status::code_label;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// In seconds.
const NANOSECOND: f64 = 1e-9;

#[pyclass(frozen, module = "serving._core")]
pub struct Figures {
    pub inner: Vec<Inner>,
}

/// One kind of observation of all versions.
#[pyclass(frozen, get_all, module = "serving._core")]
pub struct Histograms {
    bounds: Py<PyAny>,
    counts: Py<PyAny>,
    sums: Py<PyAny>,
}

#[pymethods]
impl Figures {
    #[getter]
    fn versions(&self) -> Vec<(&str, u64)> {
        self.inner.iter().map(|one| (&*one.model, one.version)).collect()
    }

    #[getter]
    fn outcomes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all: Vec<u64> =
            self.inner.iter().flat_map(|one| one.outcomes.iter().flatten().copied()).collect();
        numpy::array(py, &all, &[self.inner.len(), Protocol::ALL.len(), OUTCOMES])
    }

    #[getter]
    fn fell_back<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        by_outcome(py, &self.inner, |one| &one.fell_back)
    }

    #[getter]
    fn stood_in<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        by_outcome(py, &self.inner, |one| &one.stood_in)
    }

    #[getter]
    fn fine_times(&self, py: Python<'_>) -> PyResult<Histograms> {
        fine(py, &self.inner)
    }

    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        spread(py, &self.inner, |one| &one.classes)
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        spread(py, &self.inner, |one| &one.scores)
    }

    #[getter]
    fn squares<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        spread(py, &self.inner, |one| &one.squares)
    }

    #[getter]
    fn routes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let all: Vec<u64> = self.inner.iter().flat_map(|one| one.routes).collect();
        numpy::array(py, &all, &[self.inner.len(), Why::ALL.len()])
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for one in &OF_VERSIONS {
            let values: Vec<u64> = self.inner.iter().map(one.value).collect();
            dict.set_item(one.key, numpy::array(py, &values, &[values.len()])?)?;
        }
        for (key, value) in SHADOWS {
            let of = |one: &Inner| one.shadow.as_ref().map_or(0, |shadow| value(&shadow.counts));
            let values: Vec<u64> = self.inner.iter().map(of).collect();
            dict.set_item(key, numpy::array(py, &values, &[values.len()])?)?;
        }
        Ok(dict)
    }

    #[getter]
    fn histograms<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for one in &DISTRIBUTIONS {
            dict.set_item(one.key, histograms(py, &self.inner, one)?)?;
        }
        Ok(dict)
    }
}

type OfShadow = fn(&ShadowCounts) -> u64;

/// Counters of what versions did as shadows.
const SHADOWS: [(&str, OfShadow); 4] = [
    ("shadow_copies", |of| of.copies),
    ("shadow_failed", |of| of.failed.iter().sum()),
    ("shadow_compared", |of| of.compared),
    ("shadow_different", |of| of.different),
];

fn by_outcome<'py>(
    py: Python<'py>,
    all: &[Inner],
    counts: fn(&Inner) -> &[u64; OUTCOMES],
) -> PyResult<Bound<'py, PyAny>> {
    let found: Vec<u64> = all.iter().flat_map(counts).copied().collect();
    numpy::array(py, &found, &[all.len(), OUTCOMES])
}

/// Zeros where nothing was counted.
fn spread<'py, const N: usize>(
    py: Python<'py>,
    all: &[Inner],
    counts: fn(&Distributions) -> &[u64; N],
) -> PyResult<Bound<'py, PyAny>> {
    let row = |one: &Inner| one.distributions.as_ref().map_or([0; N], |of| *counts(of));
    let found: Vec<u64> = all.iter().flat_map(row).collect();
    numpy::array(py, &found, &[all.len(), N])
}

/// Zeros where nothing was counted.
fn fine(py: Python<'_>, all: &[Inner]) -> PyResult<Histograms> {
    let mut counts = vec![0_u64; all.len() * 2 * (FINE + 1)];
    let mut sums = vec![0.0; all.len() * 2];
    for (place, one) in all.iter().enumerate() {
        let Some(of) = &one.fine else { continue };
        for (at, observed) in [&of.took, &of.stood_in].into_iter().enumerate() {
            let row = place * 2 + at;
            let start = row * (FINE + 1);
            counts[start..start + FINE].copy_from_slice(&observed.below);
            counts[start + FINE] = observed.all;
            sums[row] = observed.sum as f64 * NANOSECOND;
        }
    }
    Ok(Histograms {
        bounds: numpy::array(py, &FINE_SECONDS, &[FINE])?.unbind(),
        counts: numpy::array(py, &counts, &[all.len(), 2, FINE + 1])?.unbind(),
        sums: numpy::array(py, &sums, &[all.len(), 2])?.unbind(),
    })
}

fn histograms(py: Python<'_>, all: &[Inner], kind: &Distribution) -> PyResult<Histograms> {
    let series = if kind.by_protocol { Protocol::ALL.len() } else { 1 };
    let observed: Vec<_> = all.iter().flat_map(kind.observed).collect();
    observations(py, &observed, kind.bounds, kind.unit, (all.len(), series))
}

/// `unit`: what the sums count by; `shape`: versions and series of each.
fn observations(
    py: Python<'_>,
    observed: &[&Observed],
    bounds: &[f64],
    unit: f64,
    (versions, series): (usize, usize),
) -> PyResult<Histograms> {
    let counts: Vec<u64> = observed.iter().flat_map(|one| one.counts().iter().copied()).collect();
    let sums: Vec<f64> = observed.iter().map(|one| one.sum as f64 * unit).collect();
    Ok(Histograms {
        bounds: numpy::array(py, bounds, &[bounds.len()])?.unbind(),
        counts: numpy::array(py, &counts, &[versions, series, bounds.len() + 1])?.unbind(),
        sums: numpy::array(py, &sums, &[versions, series])?.unbind(),
    })
}

/// What the second and third axis of outcomes are: protocols, outcomes, and their codes; and the second
/// of routes.
pub fn add_names(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let outcomes: Vec<Result<(), ErrorCode>> =
        std::iter::once(Ok(())).chain(ErrorCode::ALL.map(Err)).collect();
    let name = |outcome: &Result<(), ErrorCode>| outcome.map_or_else(ErrorCode::name, |()| "ok");
    let codes = |protocol| PyTuple::new(py, outcomes.iter().map(|&outcome| code_label(protocol, outcome)));
    module.add("PROTOCOLS", PyTuple::new(py, Protocol::ALL.map(Protocol::name))?)?;
    module.add("OUTCOMES", PyTuple::new(py, outcomes.iter().map(name))?)?;
    module.add("ROUTES", PyTuple::new(py, Why::ALL.map(Why::name))?)?;
    module.add("CODES", (codes(Protocol::Grpc)?, codes(Protocol::Http)?))?;
    Ok(())
}
