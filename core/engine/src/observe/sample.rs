//! Sampled requests with their tensors, for the request log.

use super::ring::Weigh;
use crate::error::Result;
use crate::memory;
use crate::stats::Protocol;
use crate::tensor::{Datatype, Shape};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a sample takes beside its tensors' bytes, about.
const OVERHEAD: usize = 512;
const TENSOR_OVERHEAD: usize = 128;

#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: Arc<str>,
    pub datatype: Datatype,
    pub shape: Shape,
    /// Row-major little-endian elements; BYTES elements are length-prefixed.
    pub data: Bytes,
}

/// A value of a request that is not as its model's schema says, where that refuses nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    pub input: Arc<str>,
    /// Feature, what was expected, and the value that came.
    pub words: String,
    /// The same without the value, for whoever may not see it.
    pub brief: String,
    /// Of many some are, in the log.
    pub told: bool,
}

impl Noted {
    pub fn len(&self) -> usize {
        self.words.len() + self.brief.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whom a sample is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takers {
    /// Whoever asked for a share of the requests: see [`crate::queue::Queue::sample`].
    pub drawn: bool,
    /// The statistics, which get so many a second.
    pub statistics: bool,
    /// The request log, which gets some whose values are not as their model's schema says.
    pub anomaly: bool,
}

impl Takers {
    pub fn any(self) -> bool {
        self.drawn || self.statistics || self.anomaly
    }

    /// All that either is for.
    pub fn or(self, other: Takers) -> Takers {
        Takers {
            drawn: self.drawn || other.drawn,
            statistics: self.statistics || other.statistics,
            anomaly: self.anomaly || other.anomaly,
        }
    }
}

/// What texts cost statistics, beside numbers.
const TEXT: u64 = 16;

/// The values of a tensor by what statistics of them cost.
pub fn values(datatype: Datatype, shape: &[i64]) -> u64 {
    let count = shape.iter().fold(1u64, |count, dim| count.saturating_mul(dim.unsigned_abs()));
    if datatype == Datatype::Bytes { count.saturating_mul(TEXT) } else { count }
}

/// A finished request that fitted its model.
#[derive(Clone, Debug)]
pub struct Sample {
    pub takers: Takers,
    pub model: String,
    pub version: u64,
    /// Why that one answered.
    pub route: &'static str,
    pub protocol: Protocol,
    /// The request's own id, empty without one.
    pub id: String,
    pub request_id: String,
    /// Nanoseconds since the epoch when its head came.
    pub at_ns: u64,
    pub total: Duration,
    pub queue: Duration,
    pub compute: Duration,
    /// Empty: answered well.
    pub word: &'static str,
    pub message: String,
    /// In what way a value of it is not as its model's schema says.
    pub anomaly: Option<Noted>,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    /// 0 where the request names none.
    pub priority: u64,
    pub timeout_us: u64,
}

impl Weigh for Sample {
    fn weight(&self) -> usize {
        let tensors = self.inputs.iter().chain(&self.outputs);
        let words = self.message.len() + self.anomaly.as_ref().map_or(0, Noted::len);
        OVERHEAD + words + tensors.map(|t| t.data.len() + TENSOR_OVERHEAD).sum::<usize>()
    }
}

/// What is kept of a request until it is finished.
#[derive(Debug, Default)]
pub enum Kept {
    #[default]
    Nothing,
    TooLarge,
    Tensors {
        inputs: Vec<Tensor>,
        outputs: Vec<Tensor>,
    },
}

impl Kept {
    pub fn of(inputs: Vec<Tensor>, max: usize) -> Kept {
        if bytes(&inputs) > max { Kept::TooLarge } else { Kept::Tensors { inputs, outputs: Vec::new() } }
    }

    /// Copies the outputs: they belong to the runner, or to an answer.
    pub fn add_outputs<'a>(
        &mut self,
        max: usize,
        added: impl Iterator<Item = (&'a Arc<str>, Datatype, &'a Shape, &'a [u8])> + Clone,
    ) {
        let Kept::Tensors { inputs, outputs } = self else { return };
        let size: usize = added.clone().map(|(.., data)| data.len()).sum();
        if bytes(inputs).saturating_add(size) > max {
            *self = Kept::TooLarge;
            return;
        }
        let copied = added.map(|(name, datatype, shape, data)| {
            let (name, shape) = (name.clone(), shape.clone());
            Ok(Tensor { name, datatype, shape, data: memory::copied(data)? })
        });
        match copied.collect::<Result<_>>() {
            Ok(copied) => *outputs = copied,
            // No memory for it: as good as too large.
            Err(_) => *self = Kept::TooLarge,
        }
    }
}

/// Inputs are slices of what came: a copy lets go of the rest. `None` where there is no memory
/// for it.
pub fn detached(mut tensors: Vec<Tensor>) -> Option<Vec<Tensor>> {
    for tensor in &mut tensors {
        tensor.data = memory::copied(&tensor.data).ok()?;
    }
    Some(tensors)
}

fn bytes(tensors: &[Tensor]) -> usize {
    tensors.iter().map(|t| t.data.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data: &'static [u8]) -> Tensor {
        let shape = Shape::from_slice(&[data.len() as i64]);
        Tensor { name: "x".into(), datatype: Datatype::Uint8, shape, data: Bytes::from_static(data) }
    }

    #[test]
    fn inputs_and_outputs_together_have_the_bound() {
        let (name, shape): (Arc<str>, _) = ("y".into(), Shape::from_slice(&[3]));
        let keep = |max| {
            let mut kept = Kept::of(vec![tensor(b"abcd")], max);
            kept.add_outputs(max, [(&name, Datatype::Uint8, &shape, &b"xyz"[..])].into_iter());
            kept
        };
        assert!(matches!(keep(3), Kept::TooLarge));
        assert!(matches!(keep(6), Kept::TooLarge));
        let Kept::Tensors { inputs, outputs } = keep(7) else { panic!() };
        assert_eq!((inputs, &outputs[0].data[..]), (vec![tensor(b"abcd")], &b"xyz"[..]));
    }

    #[test]
    fn a_detached_tensor_shares_no_memory() {
        let whole = Bytes::from(vec![7; 100]);
        let mut part = tensor(b"");
        part.data = whole.slice(10..20);
        let kept = detached(vec![part]).unwrap();
        assert_eq!(kept[0].data, whole.slice(10..20));
        assert_ne!(kept[0].data.as_ptr(), whole[10..].as_ptr());
    }
}
