//! The lists that are open within one value, and the shape that those before them have shown: the
//! first at each depth says how long all are, and the first descent how deep values lie.

use crate::tensor::Shape;
use smallvec::SmallVec;

#[derive(Default)]
pub(super) struct Nest {
    /// Values so far in each open list, the outermost first.
    open: SmallVec<[usize; 6]>,
    /// Length of the lists at each depth; -1 before one has ended.
    lengths: Shape,
    /// How many lists are around each element, once that is known.
    rank: Option<usize>,
}

impl Nest {
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// A list begins.
    ///
    /// # Errors
    /// Words, where none may begin so deep.
    pub(super) fn enter(&mut self) -> Result<(), String> {
        let level = self.open.len();
        if let Some(rank) = self.rank
            && level >= rank
        {
            return Err(format!("Encountered list at unexpected level: {level} expected < {rank}"));
        }
        self.add(1);
        self.open.push(0);
        if self.lengths.len() < self.open.len() {
            self.lengths.push(-1);
        }
        Ok(())
    }

    /// Elements begin. An error is the depth at which they should.
    pub(super) fn elements(&mut self) -> Result<(), usize> {
        let level = self.open.len();
        match *self.rank.get_or_insert(level) {
            rank if rank == level => Ok(()),
            rank => Err(rank),
        }
    }

    /// So many more values in the innermost open list.
    #[inline]
    pub(super) fn add(&mut self, values: usize) {
        if let Some(count) = self.open.last_mut() {
            *count += values;
        }
    }

    /// The innermost open list ends.
    ///
    /// # Errors
    /// Words, where it is not as long as those at its depth.
    pub(super) fn leave(&mut self) -> Result<(), String> {
        let count = self.open.pop().unwrap_or_default();
        let level = self.open.len();
        self.rank.get_or_insert(level + 1);
        let (count, length) = (i64::try_from(count).unwrap_or(i64::MAX), &mut self.lengths[level]);
        if *length == -1 {
            *length = count;
        }
        if *length != count {
            return Err(format!(
                "Encountered list at unexpected size: {count} at level: {level} expected size: {length}"
            ));
        }
        Ok(())
    }

    pub(super) fn shape(self) -> Shape {
        self.lengths
    }
}
