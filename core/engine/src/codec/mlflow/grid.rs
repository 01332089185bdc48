//! Values that are stacked to one tensor: their elements, and the shape that their arrays show.

use super::reader::{Reader, put};
use super::refusals;
use super::target::Target;
use crate::admission::Reservation;
use crate::codec::json::MAX_DEPTH;
use crate::codec::json::elements::{Elements, Leaves};
use crate::codec::json::nest::{Nest, Ragged};
use crate::error::Result;
use crate::tensor::{Datatype, Shape};
use jiter::Peek;

/// The elements of one input, and the arrays that they came in.
#[derive(Default)]
pub(super) struct Grid {
    pub elements: Elements,
    count: usize,
    nest: Nest,
}

impl Grid {
    /// For values that come one by one and are stacked along a first dimension.
    pub fn stacked() -> Grid {
        Grid { nest: Nest::stacked(), ..Grid::default() }
    }

    /// Values that were stacked so far.
    pub fn rows(&self) -> usize {
        self.nest.rows()
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
                self.nest.elements().map_err(|Ragged| refusals::ragged(target.name))?;
                self.count += 1;
                self.nest.grow();
                target.read(reader, peek, &mut self.elements)
            }
        }
    }

    /// An array of the value begins here.
    pub fn begin_array(&mut self, target: &Target<'_>) -> Result<()> {
        self.nest.enter().map_err(|Ragged| refusals::ragged(target.name))?;
        if self.nest.depth() > MAX_DEPTH / 2 {
            return Err(refusals::too_deep());
        }
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
        let base = self.nest.depth() - 1;
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
                    self.nest.elements().map_err(ragged)?;
                    loop {
                        leaf(target, reader, peek, &mut self.elements)?;
                        self.count += 1;
                        reader.document.look(self.count)?;
                        self.nest.grow();
                        match reader.document.array_step()? {
                            Some(Peek::Array) => break Some(Peek::Array),
                            Some(after) => peek = after,
                            None => break None,
                        }
                    }
                }
                None => {
                    self.nest.leave().map_err(ragged)?;
                    if self.nest.depth() == base {
                        return Ok(());
                    }
                    reader.document.array_step()?
                }
            };
        }
    }

    /// A value of a cell that is no JSON: a scalar.
    pub fn note_scalar(&mut self, target: &Target<'_>) -> Result<()> {
        self.nest.elements().map_err(|Ragged| refusals::ragged(target.name))?;
        self.count += 1;
        self.nest.grow();
        Ok(())
    }

    /// The elements, and how many they are.
    pub fn leaves(self, held: &mut Reservation) -> Leaves {
        self.elements.finish(self.count, held)
    }

    /// The shape of what was read, once all of it was.
    pub fn shape(&mut self) -> Shape {
        self.nest.shape()
    }
}
