//! Values that are stacked to one tensor: their elements, and the shape that their arrays show.

use super::reader::{Reader, put};
use super::refusals;
use super::target::Target;
use crate::admission::Reservation;
use crate::codec::json::MAX_DEPTH;
use crate::codec::json::elements::{Elements, Leaves};
use crate::error::Result;
use crate::tensor::{Datatype, Shape};
use jiter::Peek;
use smallvec::SmallVec;

/// The elements of one input, and the arrays that they came in.
#[derive(Default)]
pub(super) struct Grid {
    pub elements: Elements,
    count: usize,
    /// Values so far in each open array, outermost first.
    open: SmallVec<[usize; 8]>,
    /// Length of the arrays at each depth, once one has ended.
    lengths: SmallVec<[Option<usize>; 8]>,
    /// The depth of the elements, once there was one.
    leaf_depth: Option<usize>,
}

/// Arrays of one depth differ in length, or elements in depth.
struct Ragged;

impl Grid {
    /// For values that come one by one and are stacked along a first dimension.
    pub fn stacked() -> Grid {
        Grid { open: SmallVec::from_slice(&[0]), ..Grid::default() }
    }

    /// Values that were stacked so far.
    pub fn rows(&self) -> usize {
        let ended = self.lengths.first().copied().flatten();
        self.open.first().copied().or(ended).unwrap_or_default()
    }

    /// Reads the value that the document is at.
    ///
    /// # Errors
    /// `BadRequest` naming the input for what is no value of its datatype and for ragged arrays.
    pub fn value(&mut self, reader: &mut Reader<'_>, target: &Target<'_>) -> Result<()> {
        match reader.document.peek()? {
            Peek::Array => {
                self.begin_array(target)?;
                let first = reader.document.known_array()?;
                self.rest_of_array(reader, target, first)
            }
            peek => {
                self.elements().map_err(|Ragged| refusals::ragged(target.name))?;
                self.count += 1;
                self.grow();
                target.read(reader, peek, &mut self.elements)
            }
        }
    }

    /// An array of the value begins here.
    pub fn begin_array(&mut self, target: &Target<'_>) -> Result<()> {
        if self.leaf_depth == Some(self.open.len()) {
            return Err(refusals::ragged(target.name));
        }
        if self.open.len() >= MAX_DEPTH / 2 {
            return Err(refusals::too_deep());
        }
        self.grow();
        self.open.push(0);
        Ok(())
    }

    /// The rest of an array that was begun, of which `first` is the first value.
    pub fn rest_of_array(
        &mut self,
        reader: &mut Reader<'_>,
        target: &Target<'_>,
        first: Option<Peek>,
    ) -> Result<()> {
        if target.is_plain() {
            match target.datatype {
                Datatype::Fp32 => {
                    return self.walk(reader, target, first, |target, reader, peek, out| {
                        let element = target.fp32(reader, peek)?.to_le_bytes();
                        put(out, &element, reader.held)
                    });
                }
                Datatype::Fp64 => {
                    return self.walk(reader, target, first, |target, reader, peek, out| {
                        let element = target.fp64(reader, peek)?.to_le_bytes();
                        put(out, &element, reader.held)
                    });
                }
                _ => {}
            }
        }
        self.walk(reader, target, first, Target::read)
    }

    fn walk<'t>(
        &mut self,
        reader: &mut Reader<'_>,
        target: &Target<'t>,
        first: Option<Peek>,
        leaf: impl Fn(&Target<'t>, &mut Reader<'_>, Peek, &mut Elements) -> Result<()>,
    ) -> Result<()> {
        let ragged = |Ragged| refusals::ragged(target.name);
        let base = self.open.len() - 1;
        let mut next = first;
        let mut arrays = 0usize;
        loop {
            arrays += 1;
            reader.document.look(arrays)?;
            next = match next {
                Some(Peek::Array) => {
                    self.begin_array(target)?;
                    reader.document.known_array()?
                }
                Some(mut peek) => {
                    self.elements().map_err(ragged)?;
                    loop {
                        leaf(target, reader, peek, &mut self.elements)?;
                        self.count += 1;
                        reader.document.look(self.count)?;
                        self.grow();
                        match reader.document.array_step()? {
                            Some(Peek::Array) => break Some(Peek::Array),
                            Some(after) => peek = after,
                            None => break None,
                        }
                    }
                }
                None => {
                    self.leave().map_err(ragged)?;
                    if self.open.len() == base {
                        return Ok(());
                    }
                    reader.document.array_step()?
                }
            };
        }
    }

    /// A value of a cell that is no JSON: a scalar.
    pub fn note_scalar(&mut self, target: &Target<'_>) -> Result<()> {
        self.elements().map_err(|Ragged| refusals::ragged(target.name))?;
        self.count += 1;
        self.grow();
        Ok(())
    }

    /// The elements, and how many they are.
    pub fn leaves(self, held: &mut Reservation) -> Leaves {
        self.elements.finish(self.count, held)
    }

    /// The shape of what was read, once all of it was.
    pub fn shape(&mut self) -> Shape {
        while !self.open.is_empty() {
            // A stack's own lengths are told once.
            let _ = self.leave();
        }
        let depth = self.leaf_depth.unwrap_or(self.lengths.len());
        self.lengths.iter().take(depth).map(|length| length.unwrap_or(0) as i64).collect()
    }

    /// The innermost open array holds elements.
    fn elements(&mut self) -> std::result::Result<(), Ragged> {
        let depth = self.open.len();
        let arrays_here = self.lengths.get(depth).is_some_and(Option::is_some);
        if arrays_here || self.leaf_depth.is_some_and(|seen| seen != depth) {
            return Err(Ragged);
        }
        self.leaf_depth = Some(depth);
        Ok(())
    }

    #[inline]
    fn grow(&mut self) {
        if let Some(values) = self.open.last_mut() {
            *values += 1;
        }
    }

    /// The innermost open array ends.
    fn leave(&mut self) -> std::result::Result<(), Ragged> {
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
}
