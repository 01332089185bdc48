//! What a model's schema asks of a request's values, held against its tensors as they will be run.
//!
//! Counted by feature and kind; whether an anomaly refuses the request is the feature's own choice.

mod bound;
mod constraint;
mod number;
mod numbers;
mod texts;

pub use bound::Bound;
pub use constraint::{Constraint, KINDS, Kind};

use crate::codec::prepare::{Data, Prepared};
use crate::codec::{InferRequest, InputTensor, Payload};
use crate::error::Result;
use crate::observe::Noted;
use crate::observe::rate_limit::RateLimit;
use crate::stop::Stop;
use crate::tensor::{Datatype, Signature, shown};
use constraint::{Anomaly, Expected};
use numbers::Numbers;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Of all features of a version together; the others are only counted.
const TOLD_PER_SECOND: f64 = 1.0;
/// So many times faster than a conversion a whole tensor of numbers is held against a range, or more.
const QUICKER: usize = 16;
/// Features with anomalies that later checks have no more, and that are counted still.
const MOST_FORMER: usize = 1024;

/// A version's constraints, compiled against its signature, with what was found of each.
#[derive(Debug)]
pub struct Checks {
    inputs: Vec<OfInput>,
    /// Where each input that is asked anything of stands among these.
    names: HashMap<Arc<str>, usize>,
    /// How many anomalies that refuse nothing are told in the log.
    told: RateLimit,
    former: Vec<Counted>,
}

/// What was found of a feature; shared with the checks that take the place of these.
#[derive(Clone, Debug)]
struct Counted {
    feature: Arc<str>,
    refuses: bool,
    counts: Arc<[AtomicU64; KINDS.len()]>,
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
    counted: Counted,
}

impl Checks {
    /// # Errors
    /// In words, for a constraint that is of no input, of numbers where there are texts or the other way
    /// round, or of a column that no row has.
    pub fn new(signature: &Signature, constraints: Vec<Constraint>) -> std::result::Result<Self, String> {
        let mut inputs: Vec<OfInput> = Vec::new();
        let mut names = HashMap::new();
        for constraint in constraints {
            let (place, spec) = signature
                .input(&constraint.input)
                .ok_or_else(|| format!("the model has no input '{}'", shown(&constraint.input)))?;
            let at = *names.entry(constraint.input.clone()).or_insert(inputs.len());
            if at == inputs.len() {
                let by_rows = matches!(spec.expected().first(), Some(-1 | 1));
                inputs.push(OfInput { place, datatype: spec.datatype, by_rows, features: Vec::new() });
            }
            inputs[at].features.push(Feature::new(constraint, spec.datatype)?);
        }
        let told = RateLimit::default();
        told.set(TOLD_PER_SECOND);
        Ok(Checks { inputs, names, told, former: Vec::new() })
    }

    /// In place of `before`: features of both go on counting, and none that had anomalies is forgotten.
    /// Beyond [`MOST_FORMER`] that are no longer asked of, the longest gone are.
    #[must_use]
    pub fn after(mut self, before: &Checks) -> Checks {
        let known: HashMap<_, _> = before.counted().map(|one| (one.key(), one)).collect();
        let mut taken = HashSet::new();
        for one in self.inputs.iter_mut().flat_map(|of| &mut of.features) {
            if let Some(&found) = known.get(&one.counted.key()) {
                taken.insert(found.key());
                one.counted = found.clone();
            }
        }
        let left = before.counted().filter(|one| one.any() && !taken.contains(&one.key()));
        let mut former: Vec<Counted> = left.cloned().collect();
        self.former = former.split_off(former.len().saturating_sub(MOST_FORMER));
        self
    }

    /// Whether there is nothing to ask of requests, nor anything counted.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty() && self.former.is_empty()
    }

    /// The longest gone first.
    fn counted(&self) -> impl Iterator<Item = &Counted> {
        let features = self.inputs.iter().flat_map(|of| &of.features);
        self.former.iter().chain(features.map(|one| &one.counted))
    }

    /// Bytes that [`Checks::check`] walks over and preparing the request does not; those that it is quick
    /// with count for as many as a conversion would have taken as long for.
    pub fn cost(&self, request: &InferRequest) -> usize {
        self.given(request).map(|(of, input)| of.cost(input)).fold(0, usize::saturating_add)
    }

    /// Bytes that it copies from shared memory, so that what is checked is what runs.
    pub fn copied(&self, request: &InferRequest) -> usize {
        let found = self.given(request).map(|(_, input)| match &input.payload {
            Payload::Found(slice) => slice.len(),
            _ => 0,
        });
        found.fold(0, usize::saturating_add)
    }

    fn given<'a>(
        &'a self,
        request: &'a InferRequest,
    ) -> impl Iterator<Item = (&'a OfInput, &'a InputTensor)> {
        request.inputs.iter().filter_map(|input| Some((&self.inputs[*self.names.get(&*input.name)?], input)))
    }

    /// Hold what was prepared against the constraints. What is in shared memory is read before it is looked
    /// at, and runs as it was then.
    ///
    /// Gives the first anomaly that refuses nothing.
    ///
    /// # Errors
    /// `BadRequest` naming the feature, what was expected and what came; those of `stop`, and of
    /// [`crate::shared_memory::Slice::read`].
    pub fn check(&self, prepared: &mut Prepared, stop: &Stop) -> Result<Option<Noted>> {
        let mut noted = None;
        for of in &self.inputs {
            stop.check()?;
            let found = of.check(prepared, stop)?;
            noted = noted.or(found);
        }
        Ok(noted)
    }

    /// Whether an anomaly that [`Checks::check`] gave is to be told in the log, and its request kept.
    pub fn tells(&self) -> bool {
        self.told.take(1, Instant::now())
    }

    /// Feature, kind, whether it refuses, and how many requests had it; those that none had are left out.
    pub fn counts(&self) -> Vec<(&str, Kind, bool, u64)> {
        let all = self.counted().flat_map(|one| {
            let counted = KINDS.into_iter().zip(&*one.counts);
            counted.map(|(kind, n)| (&*one.feature, kind, one.refuses, n.load(Relaxed)))
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
    fn cost(&self, input: &InputTensor) -> usize {
        let (bytes, features) = (walked(input), self.features.len());
        let quick =
            self.features.iter().all(Feature::is_quick) && !matches!(input.payload, Payload::Found(_));
        if quick { (bytes / QUICKER).saturating_mul(features) } else { bytes }
    }

    /// The first anomaly that refuses nothing.
    fn check(&self, prepared: &mut Prepared, stop: &Stop) -> Result<Option<Noted>> {
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

    fn left_out(&self) -> Result<Option<Noted>> {
        let anomaly =
            || Anomaly { kind: Kind::Missing, expected: Expected::Value, got: "no input".into(), at: None };
        self.tell(self.features.iter().map(|one| one.constraint.required.then(anomaly)).collect())
    }

    /// `found`: of each feature. Those of all are counted, whichever refuses.
    fn tell(&self, found: Vec<Option<Anomaly>>) -> Result<Option<Noted>> {
        let (mut refused, mut noted) = (None, None);
        for (one, anomaly) in self.features.iter().zip(found) {
            let Some(anomaly) = anomaly else { continue };
            one.counted.counts[anomaly.kind as usize].fetch_add(1, Relaxed);
            if one.constraint.refuses {
                refused.get_or_insert_with(|| anomaly.refusal(&one.constraint));
            } else {
                noted.get_or_insert_with(|| anomaly.noted(&one.constraint));
            }
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(noted),
        }
    }
}

impl Feature {
    /// Whether it goes over a whole tensor, many numbers at a time.
    fn is_quick(&self) -> bool {
        self.numbers.is_some() && self.constraint.column.is_none() && !self.constraint.whole
    }

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
        let (feature, refuses) = (constraint.feature.clone(), constraint.refuses);
        let counted = Counted { feature, refuses, counts: Arc::default() };
        Ok(Feature { constraint, numbers, counted })
    }
}

impl Counted {
    fn key(&self) -> (Arc<str>, bool) {
        (self.feature.clone(), self.refuses)
    }

    fn any(&self) -> bool {
        self.counts.iter().any(|count| count.load(Relaxed) > 0)
    }
}

#[cfg(test)]
mod tests;
