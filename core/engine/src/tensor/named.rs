//! Signatures that a configuration names beside the model's own: what TensorFlow's classify and regress
//! take of it, and give.

use super::labels::Labels;
use std::sync::Arc;

/// What a signature is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Classify,
    Regress,
}

impl Method {
    pub const ALL: [Method; 2] = [Method::Classify, Method::Regress];

    /// `classify` or `regress`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Classify => "classify",
            Method::Regress => "regress",
        }
    }

    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A signature by its name. Axis 0 of its inputs and outputs counts examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSignature {
    pub name: Box<str>,
    /// The inputs that an example's features fill, by their place in the model's signature.
    pub inputs: Vec<usize>,
    pub gives: Gives,
}

/// Outputs by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gives {
    /// One of the two at least. `labels`: what the elements of `scores` are called where there are no
    /// `classes`.
    Classes {
        classes: Option<Arc<str>>,
        scores: Option<Arc<str>>,
        labels: Option<Arc<Labels>>,
    },
    Value(Arc<str>),
}

impl NamedSignature {
    pub fn method(&self) -> Method {
        match self.gives {
            Gives::Classes { .. } => Method::Classify,
            Gives::Value(_) => Method::Regress,
        }
    }

    pub fn outputs(&self) -> impl Iterator<Item = &Arc<str>> {
        let both = match &self.gives {
            Gives::Classes { classes, scores, .. } => [classes.as_ref(), scores.as_ref()],
            Gives::Value(value) => [Some(value), None],
        };
        both.into_iter().flatten()
    }
}

/// Which signatures a request's examples are for, and how many examples there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub signatures: Vec<Arc<NamedSignature>>,
    pub examples: usize,
}
