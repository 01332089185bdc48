//! Requests in tensor form: named tensors, rows of named values, or one tensor without a name.

use super::grid::Grid;
use super::plan::{Plan, Wanted};
use super::reader::Reader;
use super::refusals;
use crate::codec::InputTensor;
use crate::error::Result;
use jiter::Peek;
use std::cmp::Ordering;
use std::collections::HashMap;

/// Containers open around a value of the request.
const DEPTH: usize = 4;

struct Tensors<'p, 's> {
    plan: &'p Plan<'s>,
    wanted: &'p [Wanted<'s>],
    names: &'p Names<'p>,
    grids: Vec<Option<Grid>>,
    extra: Vec<String>,
}

/// Reads the value of `inputs` or `instances`, which the document is at.
///
/// # Errors
/// `BadRequest` for what is no value of an input, `SchemaMismatch` for what does not fit the schema.
pub(super) fn read(reader: &mut Reader<'_>, plan: &Plan<'_>) -> Result<Vec<InputTensor>> {
    let wanted = plan.tensors();
    let names = Names::of(&wanted);
    let grids = wanted.iter().map(|_| None).collect();
    let mut tensors = Tensors { plan, wanted: &wanted, names: &names, grids, extra: Vec::new() };
    match reader.document.peek()? {
        Peek::Object => tensors.named(reader)?,
        Peek::Array => match reader.document.known_array()? {
            Some(Peek::Object) => tensors.rows(reader)?,
            first => {
                let (grid, one) = tensors.nameless()?;
                grid.begin_array(&one.target)?;
                grid.rest_of_array(reader, &one.target, first)?;
            }
        },
        _ => {
            let (grid, one) = tensors.nameless()?;
            grid.value(reader, &one.target)?;
        }
    }
    tensors.finish(reader)
}

/// Which of the tensors that are asked for a key names, by the schema's name of it or the model's.
enum Names<'w> {
    Few(&'w [Wanted<'w>]),
    /// Each row may name all of them.
    Many(HashMap<&'w str, usize>),
}

impl<'w> Names<'w> {
    fn of(wanted: &'w [Wanted<'w>]) -> Self {
        if wanted.len() <= 16 {
            return Names::Few(wanted);
        }
        let mut by_name = HashMap::with_capacity(wanted.len());
        for (at, one) in wanted.iter().enumerate() {
            by_name.entry(one.name()).or_insert(at);
            by_name.entry(&*one.spec.name).or_insert(at);
        }
        Names::Many(by_name)
    }

    fn find(&self, name: &str) -> Option<usize> {
        match self {
            Names::Few(wanted) => wanted.iter().position(|one| one.name() == name || &*one.spec.name == name),
            Names::Many(by_name) => by_name.get(name).copied(),
        }
    }
}

/// A key, as the schema knows it.
enum Key {
    Wanted(usize),
    Other(String),
}

impl<'s> Tensors<'_, 's> {
    fn key(&self) -> impl Fn(&str) -> Key + use<'_, 's> {
        let names = self.names;
        move |text: &str| match names.find(text) {
            Some(at) => Key::Wanted(at),
            None => Key::Other(crate::tensor::shown(text)),
        }
    }

    fn named(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut next = reader.document.object("a value", self.key())?;
        while let Some(key) = next {
            match key {
                Key::Wanted(at) if self.grids[at].is_some() => {
                    return Err(refusals::twice(self.wanted[at].name()));
                }
                Key::Wanted(at) => {
                    let mut grid = Grid::default();
                    grid.value(reader, &self.wanted[at].target)?;
                    self.grids[at] = Some(grid);
                }
                Key::Other(name) => self.pass_over(reader, &name)?,
            }
            next = reader.document.next_key(self.key())?;
        }
        Ok(())
    }

    fn pass_over(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<()> {
        self.plan.note_extra(&mut self.extra, name);
        reader.document.skip(DEPTH)
    }

    /// A list whose first entry is an object: one value a row for each input.
    fn rows(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let mut next = Some(Peek::Object);
        let mut row = 0usize;
        while let Some(peek) = next {
            if peek != Peek::Object {
                return Err(refusals::mixed_instances());
            }
            row += 1;
            reader.document.look(row)?;
            self.row(reader, row)?;
            next = reader.document.array_step()?;
        }
        let lengths = || self.grids.iter().flatten().map(Grid::rows);
        if lengths().any(|length| Some(length) != lengths().next()) {
            return Err(refusals::unequal_lengths());
        }
        Ok(())
    }

    fn row(&mut self, reader: &mut Reader<'_>, row: usize) -> Result<()> {
        let mut next = reader.document.object("an instance", self.key())?;
        while let Some(key) = next {
            match key {
                Key::Wanted(at) => {
                    let grid = self.grids[at].get_or_insert_with(Grid::stacked);
                    // A value twice in one row would else make up for one that a row before lacks.
                    match (grid.rows() + 1).cmp(&row) {
                        Ordering::Equal => {}
                        Ordering::Greater => return Err(refusals::twice(self.wanted[at].name())),
                        Ordering::Less => return Err(refusals::unequal_lengths()),
                    }
                    grid.value(reader, &self.wanted[at].target)?;
                }
                Key::Other(name) => self.pass_over(reader, &name)?,
            }
            next = reader.document.next_key(self.key())?;
        }
        Ok(())
    }

    /// The one input that a tensor without a name is for.
    fn nameless(&mut self) -> Result<(&mut Grid, &Wanted<'s>)> {
        let mut required =
            self.wanted.iter().enumerate().filter(|(_, one)| self.wanted.len() == 1 || one.is_required());
        let (Some((at, one)), None) = (required.next(), required.next()) else {
            let names: Vec<&str> =
                self.wanted.iter().filter(|one| one.is_required()).map(Wanted::name).collect();
            return Err(self.plan.mismatch(&refusals::missing_inputs(&names, &[])));
        };
        Ok((self.grids[at].get_or_insert_with(Grid::default), one))
    }

    fn finish(self, reader: &mut Reader<'_>) -> Result<Vec<InputTensor>> {
        let Tensors { plan, wanted, grids, extra, .. } = self;
        let lacks = |(one, grid): (&Wanted<'s>, &Option<Grid>)| {
            (grid.is_none() && one.is_required()).then(|| one.name())
        };
        let missing: Vec<&str> = wanted.iter().zip(&grids).filter_map(lacks).collect();
        plan.check_names(&missing, &extra)?;
        let mut inputs = Vec::with_capacity(grids.len());
        for (one, grid) in wanted.iter().zip(grids) {
            if let Some(mut grid) = grid {
                let shape = grid.shape();
                inputs.push(plan.tensor(one, shape, grid.leaves(reader.held))?);
            }
        }
        Ok(inputs)
    }
}
