//! The arrays that are open within one tensor, and the shape that those before them have shown.

use crate::tensor::Shape;
use smallvec::SmallVec;

/// Arrays of one depth differ in length, or elements in depth.
pub(in crate::codec) struct Ragged;

#[derive(Default)]
pub(in crate::codec) struct Nest {
    /// Values so far in each open array, outermost first.
    open: SmallVec<[usize; 8]>,
    /// Length of the arrays at each depth, once one has ended.
    lengths: SmallVec<[Option<usize>; 8]>,
    /// The depth of the elements, once there was one.
    leaf_depth: Option<usize>,
}

impl Nest {
    /// For values that come one by one and are stacked along a first dimension.
    pub(in crate::codec) fn stacked() -> Self {
        Nest { open: SmallVec::from_slice(&[0]), ..Nest::default() }
    }

    /// How many arrays are open.
    pub(in crate::codec) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Values so far in the outermost array.
    pub(in crate::codec) fn rows(&self) -> usize {
        let ended = self.lengths.first().copied().flatten();
        self.open.first().copied().or(ended).unwrap_or_default()
    }

    /// An array begins, in the innermost open one if there is any.
    pub(in crate::codec) fn enter(&mut self) -> Result<(), Ragged> {
        if self.leaf_depth == Some(self.open.len()) {
            return Err(Ragged);
        }
        self.grow();
        self.open.push(0);
        Ok(())
    }

    /// The innermost open array holds elements.
    pub(in crate::codec) fn elements(&mut self) -> Result<(), Ragged> {
        let depth = self.open.len();
        let arrays_here = self.lengths.get(depth).is_some_and(Option::is_some);
        if arrays_here || self.leaf_depth.is_some_and(|seen| seen != depth) {
            return Err(Ragged);
        }
        self.leaf_depth = Some(depth);
        Ok(())
    }

    /// One more value in the innermost open array.
    #[inline]
    pub(in crate::codec) fn grow(&mut self) {
        if let Some(values) = self.open.last_mut() {
            *values += 1;
        }
    }

    /// The innermost open array ends.
    pub(in crate::codec) fn leave(&mut self) -> Result<(), Ragged> {
        let values = self.open.pop().unwrap_or_default();
        let depth = self.open.len();
        if self.lengths.len() <= depth {
            self.lengths.resize(depth + 1, None);
        }
        match self.lengths[depth].replace(values) {
            Some(before) if before != values => Err(Ragged),
            _ => Ok(()),
        }
    }

    /// The shape of what came, once all of it has.
    pub(in crate::codec) fn shape(&mut self) -> Shape {
        while !self.open.is_empty() {
            // A stack's own lengths are told once.
            let _ = self.leave();
        }
        let depth = self.leaf_depth.unwrap_or(self.lengths.len());
        self.lengths.iter().take(depth).map(|length| length.unwrap_or(0) as i64).collect()
    }
}
