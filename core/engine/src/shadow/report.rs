//! What the answers of one shadow were against those given: counts by output, and the last examples.

use super::compare::Found;
use super::rules::Rules;
use crate::observe::sample::{Tensor, detached};
use crate::stats::Protocol;
use crate::tensor::{Datatype, Signature, TensorSpec};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Outputs that only answering versions have, which a shadow's report counts beside its own.
const OTHERS: usize = 64;

/// Sums over all comparisons of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputReport {
    pub name: Arc<str>,
    pub datatype: Datatype,
    /// Answers compared, and those in which the output differs: as the shadow has none, of another
    /// datatype, of another shape, or in its elements.
    pub compared: u64,
    pub different: u64,
    pub missing: u64,
    pub datatypes: u64,
    pub shapes: u64,
    /// The sums of the same counts of [`Found`], and the largest distance.
    pub elements: u64,
    pub different_elements: u64,
    pub nonfinite: u64,
    pub max: f64,
    pub sum: f64,
    pub finite: u64,
    pub rows: u64,
    pub classes: u64,
}

impl OutputReport {
    fn of(spec: &TensorSpec) -> Self {
        OutputReport::new(spec.name.clone(), spec.datatype)
    }

    fn new(name: Arc<str>, datatype: Datatype) -> Self {
        OutputReport {
            name,
            datatype,
            compared: 0,
            different: 0,
            missing: 0,
            datatypes: 0,
            shapes: 0,
            elements: 0,
            different_elements: 0,
            nonfinite: 0,
            max: 0.0,
            sum: 0.0,
            finite: 0,
            rows: 0,
            classes: 0,
        }
    }

    fn add(&mut self, found: &Found) {
        self.compared += 1;
        self.different += u64::from(found.is_different());
        self.missing += u64::from(found.missing);
        self.datatypes += u64::from(found.datatype);
        self.shapes += u64::from(found.shape);
        self.elements += found.elements;
        self.different_elements += found.different;
        self.nonfinite += found.nonfinite;
        self.max = self.max.max(found.max);
        self.sum += found.sum;
        self.finite += found.finite;
        self.rows += found.rows;
        self.classes += found.classes;
    }
}

/// What is known of a request of which copies are made.
#[derive(Clone, Debug)]
pub struct About {
    pub at: SystemTime,
    pub id: Option<Arc<str>>,
    pub request_id: String,
    pub protocol: Protocol,
    /// Which version answers it.
    pub version: u64,
}

/// A request whose two answers differ.
#[derive(Clone, Debug)]
pub struct Example {
    pub at: SystemTime,
    pub id: String,
    pub request_id: String,
    pub protocol: Protocol,
    /// The version that answered.
    pub version: u64,
    /// The outputs that differ.
    pub outputs: Vec<(Arc<str>, Found)>,
    /// Its tensors took more than an example may: they are left out.
    pub too_large: bool,
    pub inputs: Vec<Tensor>,
    pub given: Vec<Tensor>,
    pub shadow: Vec<Tensor>,
}

#[derive(Debug)]
pub struct Report {
    inputs: Vec<(Arc<str>, Datatype)>,
    /// How many outputs are told apart.
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    outputs: Vec<OutputReport>,
    examples: VecDeque<Example>,
    told: Option<Instant>,
}

impl Kept {
    fn of(&mut self, name: &Arc<str>, datatype: Datatype, most: usize) -> Option<&mut OutputReport> {
        match self.outputs.iter().position(|output| output.name == *name) {
            Some(place) => self.outputs.get_mut(place),
            None if self.outputs.len() < most => {
                self.outputs.push(OutputReport::new(name.clone(), datatype));
                self.outputs.last_mut()
            }
            None => None,
        }
    }
}

impl Report {
    /// Of the version that has this signature.
    pub fn new(signature: &Signature) -> Arc<Self> {
        let outputs = signature.outputs.iter().map(OutputReport::of).collect();
        Arc::new(Report {
            inputs: signature.inputs.iter().map(|spec| (spec.name.clone(), spec.datatype)).collect(),
            most: signature.outputs.len() + OTHERS,
            kept: Mutex::new(Kept { outputs, examples: VecDeque::new(), told: None }),
        })
    }

    pub fn outputs(&self) -> Vec<OutputReport> {
        self.kept.lock().outputs.clone()
    }

    /// The newest first.
    pub fn examples(&self) -> Vec<Example> {
        self.kept.lock().examples.iter().rev().cloned().collect()
    }

    /// Whether a difference is to be told of now: once in `every`.
    pub(super) fn is_to_be_told(&self, every: Duration) -> bool {
        let mut kept = self.kept.lock();
        let is_due = kept.told.is_none_or(|told| told.elapsed() >= every);
        if is_due {
            kept.told = Some(Instant::now());
        }
        is_due
    }

    /// Count a comparison, and keep it where it shows a difference. `outputs`: found of each one `given`.
    pub(super) fn add(
        &self,
        rules: &Rules,
        about: &About,
        inputs: impl FnOnce(&[(Arc<str>, Datatype)]) -> Vec<Tensor>,
        outputs: Vec<(Arc<str>, Found)>,
        given: &[Tensor],
        shadow: &[Tensor],
    ) {
        let different = outputs.iter().any(|(_, found)| found.is_different());
        let example = (different && rules.examples > 0)
            .then(|| self.example(rules.example_bytes, about, inputs(&self.inputs), &outputs, given, shadow));
        let mut kept = self.kept.lock();
        for ((name, found), one) in outputs.iter().zip(given) {
            if let Some(output) = kept.of(name, one.datatype, self.most) {
                output.add(found);
            }
        }
        if let Some(example) = example {
            while kept.examples.len() >= rules.examples {
                kept.examples.pop_front();
            }
            kept.examples.push_back(example);
        }
    }

    fn example(
        &self,
        most: usize,
        about: &About,
        inputs: Vec<Tensor>,
        outputs: &[(Arc<str>, Found)],
        given: &[Tensor],
        shadow: &[Tensor],
    ) -> Example {
        let size = |tensors: &[Tensor]| tensors.iter().map(|one| one.data.len()).sum::<usize>();
        let fits = size(&inputs) + size(given) + size(shadow) <= most;
        let kept = |tensors: Vec<Tensor>| fits.then(|| detached(tensors)).flatten();
        let all = (kept(inputs), kept(given.to_vec()), kept(shadow.to_vec()));
        let too_large = all.0.is_none() || all.1.is_none() || all.2.is_none();
        let differ = outputs.iter().filter(|(_, found)| found.is_different());
        Example {
            at: about.at,
            id: about.id.as_deref().unwrap_or_default().to_owned(),
            request_id: about.request_id.clone(),
            protocol: about.protocol,
            version: about.version,
            outputs: differ.cloned().collect(),
            too_large,
            inputs: all.0.unwrap_or_default(),
            given: all.1.unwrap_or_default(),
            shadow: all.2.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn outputs_that_only_answering_versions_have_are_counted_as_missing_up_to_a_bound() {
        let report = Report::new(&Signature::default());
        let about = About {
            at: SystemTime::UNIX_EPOCH,
            id: None,
            request_id: String::new(),
            protocol: Protocol::Grpc,
            version: 1,
        };
        for number in [0, 1].into_iter().chain(0..OTHERS + 10) {
            let name: Arc<str> = format!("y{number}").into();
            let given = Tensor {
                name: name.clone(),
                datatype: Datatype::Int8,
                shape: Default::default(),
                data: Bytes::new(),
            };
            report.add(
                &Rules::default(),
                &about,
                |_| Vec::new(),
                vec![(name, Found::MISSING)],
                &[given],
                &[],
            );
        }
        let outputs = report.outputs();
        let missing: Vec<_> = outputs.iter().map(|one| one.missing).collect();
        assert_eq!((missing.len(), &missing[..3]), (OTHERS, &[2, 2, 1][..]));
        assert_eq!((&*outputs[0].name, outputs[0].datatype), ("y0", Datatype::Int8));
    }
}
