//! What a model's schema asks of a request's values, held against its tensors as they will be run.
//!
//! Counted by feature and kind; whether an anomaly refuses the request is the feature's own choice.

mod constraint;
mod number;
mod numbers;
mod texts;

pub use constraint::{Constraint, KINDS, Kind};

use crate::codec::prepare::{Data, Prepared};
use crate::codec::{InferRequest, InputTensor, Payload};
use crate::error::{Error, Result};
use crate::observe::rate_limit::RateLimit;
use crate::stop::Stop;
use crate::tensor::{Datatype, Signature, shown};
use constraint::{Anomaly, Expected};
use numbers::Numbers;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Of all features of a version together; the others are only counted.
const TOLD_PER_SECOND: f64 = 1.0;

/// A version's constraints, compiled against its signature, with what was found of each.
#[derive(Debug)]
pub struct Checks {
    inputs: Vec<OfInput>,
    names: HashSet<Arc<str>>,
    /// How many anomalies that refuse nothing are told in the log.
    told: RateLimit,
}

/// Those of one input.
#[derive(Debug)]
struct OfInput {
    place: usize,
    datatype: Datatype,
    /// Whether each place on its first axis is a row; else a request is one.
    by_rows: bool,
    features: Vec<Feature>,
}

#[derive(Debug)]
pub(crate) struct Feature {
    constraint: Constraint,
    /// How its numbers are held against it; of texts nothing.
    numbers: Option<Numbers>,
    counts: [AtomicU64; KINDS.len()],
}

impl Checks {
    /// # Errors
    /// In words, for a constraint that is of no input, of numbers where there are texts or the other way
    /// round, or of a column that no row has.
    pub fn new(signature: &Signature, constraints: Vec<Constraint>) -> std::result::Result<Self, String> {
        let mut inputs: Vec<OfInput> = Vec::new();
        let names = constraints.iter().map(|one| one.input.clone()).collect();
        for constraint in constraints {
            let (place, spec) = signature
                .input(&constraint.input)
                .ok_or_else(|| format!("the model has no input '{}'", shown(&constraint.input)))?;
            let feature = Feature::new(constraint, spec.datatype)?;
            match inputs.iter_mut().find(|of| of.place == place) {
                Some(of) => of.features.push(feature),
                None => {
                    let by_rows = matches!(spec.expected().first(), Some(-1 | 1));
                    inputs.push(OfInput { place, datatype: spec.datatype, by_rows, features: vec![feature] });
                }
            }
        }
        let told = RateLimit::default();
        told.set(TOLD_PER_SECOND);
        Ok(Checks { inputs, names, told })
    }

    /// Bytes that [`Checks::check`] walks over and preparing the request does not.
    pub fn cost(&self, request: &InferRequest) -> usize {
        self.given(request).map(walked).fold(0, usize::saturating_add)
    }

    /// Bytes that it copies from shared memory, so that what is checked is what runs.
    pub fn copied(&self, request: &InferRequest) -> usize {
        let found = self.given(request).map(|input| match &input.payload {
            Payload::Found(slice) => slice.len(),
            _ => 0,
        });
        found.fold(0, usize::saturating_add)
    }

    fn given<'a>(&'a self, request: &'a InferRequest) -> impl Iterator<Item = &'a InputTensor> {
        request.inputs.iter().filter(|input| self.names.contains(&*input.name))
    }

    /// Hold what was prepared against the constraints. What is in shared memory is read before it is looked
    /// at, and runs as it was then.
    ///
    /// Gives whether there was an anomaly that refuses nothing, in words.
    ///
    /// # Errors
    /// `BadRequest` naming the feature, what was expected and what came; those of `stop`, and of
    /// [`crate::shared_memory::Slice::read`].
    pub fn check(&self, prepared: &mut Prepared, stop: &Stop) -> Result<Option<String>> {
        let mut noted = None;
        for of in &self.inputs {
            stop.check()?;
            let words = of.check(prepared, stop)?;
            noted = noted.or(words);
        }
        Ok(noted)
    }

    /// Whether an anomaly that [`Checks::check`] gave is to be told in the log.
    pub fn tells(&self) -> bool {
        self.told.take(1, Instant::now())
    }

    /// Feature, kind, whether it refuses, and how many requests had it; those that none had are left out.
    pub fn counts(&self) -> Vec<(&str, Kind, bool, u64)> {
        let features = self.inputs.iter().flat_map(|of| &of.features);
        let all = features.flat_map(|one| {
            let counted = KINDS.into_iter().zip(&one.counts);
            counted.map(|(kind, n)| (&*one.constraint.feature, kind, one.constraint.refuses, n.load(Relaxed)))
        });
        all.filter(|(.., count)| *count > 0).collect()
    }
}

/// As `prepare::cost` leaves them out.
fn walked(input: &InputTensor) -> usize {
    match &input.payload {
        Payload::Raw(data) if input.datatype != Datatype::Bytes.name() => data.len(),
        Payload::Json { data, .. } => data.len(),
        Payload::Found(slice) => slice.len(),
        _ => 0,
    }
}

impl OfInput {
    /// Anomalies that refuse nothing, in words.
    fn check(&self, prepared: &mut Prepared, stop: &Stop) -> Result<Option<String>> {
        let Some(tensor) = &mut prepared.inputs[self.place] else {
            return self.left_out();
        };
        let data = match &tensor.data {
            Data::Here(data) => data.clone(),
            Data::Shared(slice) => {
                let data = slice.read(stop)?;
                tensor.data = Data::Here(data.clone());
                data
            }
        };
        let rows = tensor.shape.first().filter(|_| self.by_rows);
        let rows = rows.and_then(|&rows| usize::try_from(rows).ok());
        if self.datatype == Datatype::Bytes {
            let found = texts::find(&self.features, &data, rows, stop)?;
            return self.tell(found);
        }
        let found = self.features.iter().map(|one| {
            // Each walks over the whole tensor.
            stop.check()?;
            Ok(one.numbers.as_ref().and_then(|numbers| numbers.find(&one.constraint, &data, rows)))
        });
        self.tell(found.collect::<Result<_>>()?)
    }

    fn left_out(&self) -> Result<Option<String>> {
        let anomaly =
            || Anomaly { kind: Kind::Missing, expected: Expected::Value, got: "no input".into(), at: None };
        self.tell(self.features.iter().map(|one| one.constraint.required.then(anomaly)).collect())
    }

    /// `found`: of each feature. Those of all are counted, whichever refuses.
    fn tell(&self, found: Vec<Option<Anomaly>>) -> Result<Option<String>> {
        let (mut refused, mut noted) = (None, None);
        for (one, anomaly) in self.features.iter().zip(found) {
            let Some(anomaly) = anomaly else { continue };
            one.counts[anomaly.kind as usize].fetch_add(1, Relaxed);
            let first = if one.constraint.refuses { &mut refused } else { &mut noted };
            first.get_or_insert_with(|| anomaly.words(&one.constraint));
        }
        match refused {
            Some(words) => Err(Error::bad(words)),
            None => Ok(noted),
        }
    }
}

impl Feature {
    fn new(constraint: Constraint, datatype: Datatype) -> std::result::Result<Self, String> {
        let name = shown(&constraint.feature);
        if constraint.column.is_some_and(|(column, width)| column >= width) {
            return Err(format!("feature '{name}' is of a column that no row has"));
        }
        if constraint.numbers == (datatype == Datatype::Bytes) {
            let (said, is) = if constraint.numbers { ("numbers", "texts") } else { ("texts", "numbers") };
            return Err(format!("feature '{name}' is of {said}, and its input holds {is}"));
        }
        let numbers = Numbers::new(&constraint, datatype);
        Ok(Feature { constraint, numbers, counts: Default::default() })
    }
}

#[cfg(test)]
mod tests;
