//! What bounds copies, and what is a difference.

use super::compare::Tolerance;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Copies for one version, from the moment that they are made until they are compared.
    pub copies: usize,
    /// Inputs and answers that are held for all of them.
    pub bytes: usize,
    /// How long a copy, and an answer that is to be compared, is kept.
    pub timeout: Duration,
    pub tolerance: Tolerance,
    /// Of one version, and what the tensors of one may take.
    pub examples: usize,
    pub example_bytes: usize,
    /// Between two events that tell of a version's differences.
    pub event_every: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            copies: 64,
            bytes: 64 << 20,
            timeout: Duration::from_secs(10),
            tolerance: Tolerance { absolute: 1e-5, relative: 1e-3 },
            examples: 10,
            example_bytes: 64 << 10,
            event_every: Duration::from_secs(300),
        }
    }
}

/// One of the places that a version has for copies; dropping it frees it.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None` where `most` of `taken` are.
    pub fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Place> {
        let place = Place(taken.clone());
        (taken.fetch_add(1, Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_refused_takes_none() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Place::take(&taken, 1);
        assert!(first.is_some() && Place::take(&taken, 1).is_none());
        assert_eq!(taken.load(Relaxed), 1);
        drop(first);
        assert!(Place::take(&taken, 1).is_some());
        assert_eq!(taken.load(Relaxed), 0);
    }
}
