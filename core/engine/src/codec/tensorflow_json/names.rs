//! Which input a name in a body means.

use crate::near;
use crate::tensor::{Signature, TensorSpec, shown};

/// Inputs of a signature by name: rows name the same ones thousands of times.
pub(super) struct Names<'s> {
    specs: &'s [TensorSpec],
    sorted: Vec<usize>,
}

impl<'s> Names<'s> {
    pub(super) fn of(signature: &'s Signature) -> Self {
        let specs = signature.inputs.as_slice();
        let mut sorted: Vec<_> = (0..specs.len()).collect();
        sorted.sort_unstable_by_key(|&at| &*specs[at].name);
        Names { specs, sorted }
    }

    /// Where an input is, looked for at `guess` first; an error is the name, as errors show it.
    #[inline]
    pub(super) fn find(&self, name: &str, guess: usize) -> std::result::Result<usize, String> {
        if self.specs.get(guess).is_some_and(|spec| &*spec.name == name) {
            return Ok(guess);
        }
        let found = self.sorted.binary_search_by_key(&name, |&at| &*self.specs[at].name);
        found.map(|place| self.sorted[place]).map_err(|_| shown(name))
    }

    #[cold]
    /// What is said of a name that no input has.
    pub(super) fn unknown(&self, name: &str) -> String {
        let known = self.specs.iter().map(|spec| &*spec.name);
        let hint = near::hint(name, known, self.specs.len(), "its inputs:");
        format!("JSON object: does not have named input: {name}{hint}")
    }
}
