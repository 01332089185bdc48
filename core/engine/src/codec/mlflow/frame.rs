//! Data frames: cells that come by rows or by columns, and the inputs that are made of the columns.

use super::cells::Value;
use super::grid::Grid;
use super::matrix::side_by_side;
use super::plan::Plan;
use super::reader::Reader;
use super::refusals;
use super::target::Target;
use crate::codec::InputTensor;
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::schema::Declared;
use crate::tensor::{Shape, TensorSpec};
use jiter::Peek;
use std::collections::HashMap;

/// Columns of one data frame.
pub(super) const MOST_COLUMNS: usize = 65_536;
/// Cells that need not come, for each byte of the text that did, and how many of a short text.
const MISSING_A_BYTE: usize = 8;
const MISSING: usize = 65_536;

pub(super) struct Frame<'p, 's> {
    plan: &'p Plan<'s>,
    columns: Vec<Column<'s>>,
    by_name: HashMap<Box<str>, usize>,
    pub rows: usize,
    /// Whether a whole column has come.
    whole: bool,
    /// Cells that were gone through, and those of them that did not come.
    cells: usize,
    missing: usize,
}

struct Column<'s> {
    name: Box<str>,
    /// `None` where nobody asks for it.
    target: Option<Target<'s>>,
    grid: Grid,
}

impl<'p, 's> Frame<'p, 's> {
    pub fn new(plan: &'p Plan<'s>) -> Self {
        Frame {
            plan,
            columns: Vec::new(),
            by_name: HashMap::new(),
            rows: 0,
            whole: false,
            cells: 0,
            missing: 0,
        }
    }

    pub fn columns(&self) -> usize {
        self.columns.len()
    }

    /// The column of this name; `hint`: which it probably is.
    pub fn find(&self, name: &str, hint: usize) -> Option<usize> {
        if self.columns.get(hint).is_some_and(|column| &*column.name == name) {
            return Some(hint);
        }
        self.by_name.get(name).copied()
    }

    /// One more row: its cells are the next to come.
    ///
    /// # Errors
    /// `TooLarge` where cells that did not come would take more than a message may have; those of the
    /// request's stop.
    pub fn begin_row(&mut self, reader: &Reader<'_>) -> Result<()> {
        self.rows += 1;
        reader.document.look(self.rows)?;
        self.check_size(reader)
    }

    /// One more column.
    ///
    /// # Errors
    /// `BadRequest` where there are too many, or one of the name is there; `TooLarge` as
    /// [`Frame::begin_row`]; `Full`.
    pub fn add(&mut self, name: &str, reader: &mut Reader<'_>) -> Result<usize> {
        self.step(reader)?;
        let at = self.columns.len();
        if at >= MOST_COLUMNS {
            return Err(refusals::too_many_columns(MOST_COLUMNS));
        }
        reader.held.take(2 * (size_of::<Column<'_>>() + name.len()))?;
        if self.by_name.insert(name.into(), at).is_some() {
            return Err(refusals::twice(name));
        }
        let target = self.plan.column(name, at);
        self.columns.push(Column { name: name.into(), target, grid: Grid::stacked() });
        self.check_size(reader)?;
        Ok(at)
    }

    pub fn name(&self, at: usize) -> &str {
        &self.columns[at].name
    }

    /// Whether the cell of a column in the row that is being read came before.
    pub fn has_cell(&self, at: usize) -> bool {
        self.columns[at].grid.rows() >= self.rows
    }

    /// One more cell, wherever it is.
    #[inline]
    fn step(&mut self, reader: &Reader<'_>) -> Result<()> {
        self.cells += 1;
        reader.document.look(self.cells)
    }

    /// Reads a cell of the row that is being read, the last of `rows`.
    pub fn cell(&mut self, at: usize, reader: &mut Reader<'_>) -> Result<()> {
        self.step(reader)?;
        let row = self.rows;
        self.fill(at, row - 1, reader)?;
        let Column { target, grid, .. } = &mut self.columns[at];
        match target {
            Some(target) if target.lists > 0 && reader.document.peek()? != Peek::Array => {
                Err(refusals::no_list(target))
            }
            Some(target) => grid.value(reader, target),
            None => reader.document.skip(DEPTH),
        }
    }

    /// Puts a cell that was no JSON into the row that is being read.
    pub fn put(&mut self, at: usize, value: Value<'_>, reader: &mut Reader<'_>) -> Result<()> {
        self.step(reader)?;
        let row = self.rows;
        self.fill(at, row - 1, reader)?;
        let Column { target, grid, .. } = &mut self.columns[at];
        match target {
            Some(target) => put_cell(target, grid, value, reader),
            None => Ok(()),
        }
    }

    /// Cells that did not come are missing ones.
    fn fill(&mut self, at: usize, rows: usize, reader: &mut Reader<'_>) -> Result<()> {
        let more = self.columns[at].lacks(rows);
        if more == 0 {
            return Ok(());
        }
        self.check_missing(more)?;
        self.missing += more;
        for _ in 0..more {
            self.step(reader)?;
            let Column { target: Some(target), grid, .. } = &mut self.columns[at] else { return Ok(()) };
            put_cell(target, grid, Value::Missing, reader)?;
        }
        Ok(())
    }

    /// Reads the values of a whole column: a list of cells, or one cell.
    ///
    /// # Errors
    /// Also `BadRequest` where an earlier column has another length.
    pub fn whole_column(&mut self, at: usize, reader: &mut Reader<'_>) -> Result<()> {
        let Column { target: Some(target), grid, .. } = &mut self.columns[at] else {
            return reader.document.skip(DEPTH);
        };
        if reader.document.peek()? == Peek::Array {
            *grid = Grid::default();
        }
        grid.value(reader, target)?;
        let rows = grid.rows();
        if std::mem::replace(&mut self.rows, rows) != rows && self.whole {
            return Err(refusals::unequal_lengths());
        }
        self.whole = true;
        Ok(())
    }

    /// The inputs that are made of the columns.
    ///
    /// # Errors
    /// `SchemaMismatch` for columns that are missing or of another shape, `TooLarge` where cells that
    /// did not come would take more than a message may have.
    pub fn finish(mut self, reader: &mut Reader<'_>) -> Result<Vec<InputTensor>> {
        self.check_columns()?;
        self.check_size(reader)?;
        self.check_missing(self.columns.iter().map(|column| column.lacks(self.rows)).sum())?;
        for at in 0..self.columns.len() {
            self.fill(at, self.rows, reader)?;
            self.columns[at].check_lists(self.rows)?;
        }
        match self.matrix_input() {
            Some((spec, declared)) => self.matrix(spec, declared, reader).map(|input| vec![input]),
            None => self.each(reader),
        }
    }

    fn check_size(&self, reader: &Reader<'_>) -> Result<()> {
        let (cells, most) = (self.rows.saturating_mul(self.columns.len()), reader.held.max_message());
        if cells <= most {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "a data frame of {cells} cells is over the limit of {most} (setting limits.max_message_bytes)"
            ),
        ))
    }

    /// A short text may not stand for any number of cells: `more` did not come.
    fn check_missing(&self, more: usize) -> Result<()> {
        let most = MISSING.max(self.plan.text.len().saturating_mul(MISSING_A_BYTE));
        let missing = self.missing.saturating_add(more);
        if missing <= most { Ok(()) } else { Err(refusals::too_many_missing(missing, most)) }
    }

    fn check_columns(&self) -> Result<()> {
        let plan = self.plan;
        let has = |name: &str| self.by_name.contains_key(name);
        let mut extra = Vec::new();
        let nobody_asks = |column: &&Column<'_>| column.target.is_none() && !plan.is_declared(&column.name);
        for column in self.columns.iter().filter(nobody_asks) {
            plan.note_extra(&mut extra, &column.name);
        }
        let missing: Vec<&str> = match plan.declared() {
            Declared::Nothing if plan.single().is_some() => Vec::new(),
            Declared::Nothing => {
                let inputs = plan.signature.inputs.iter().filter(|spec| !spec.optional);
                inputs.map(|spec| &*spec.name).filter(|name| !has(name)).collect()
            }
            declared if declared.has_names() => {
                let required = declared.fields().iter().filter(|field| field.required);
                required.filter_map(|field| field.name.as_deref()).filter(|name| !has(name)).collect()
            }
            Declared::Tensors(_) => Vec::new(),
            Declared::Columns(fields) => {
                let declared = fields.iter().filter(|field| field.required).count();
                if self.columns.len() < declared {
                    return Err(plan.mismatch(&refusals::too_few(declared, self.columns.len())));
                }
                Vec::new()
            }
        };
        plan.check_names(&missing, &extra)
    }

    /// The one input that all columns go to, and its shape where one is declared.
    fn matrix_input(&self) -> Option<(&'s TensorSpec, Option<&'s [i64]>)> {
        let spec = self.plan.single()?;
        match self.plan.declared() {
            Declared::Nothing | Declared::Columns(_) => Some((spec, None)),
            Declared::Tensors(fields) => match fields.as_slice() {
                [one] if one.name.is_none() => Some((spec, Some(&one.shape))),
                _ => None,
            },
        }
    }

    /// All columns side by side.
    fn matrix(
        mut self,
        spec: &'s TensorSpec,
        declared: Option<&'s [i64]>,
        reader: &mut Reader<'_>,
    ) -> Result<InputTensor> {
        let plan = self.plan;
        let mut order: Vec<usize> =
            (0..self.columns.len()).filter(|&at| self.columns[at].target.is_some()).collect();
        if let Declared::Columns(fields) = plan.declared()
            && plan.declared().has_names()
        {
            let at = |field: &crate::tensor::schema::Field| {
                self.by_name.get(field.name.as_deref().unwrap_or_default()).copied()
            };
            order = fields.iter().filter_map(at).collect();
        }
        let mut grids: Vec<Grid> = Vec::with_capacity(order.len());
        for &at in &order {
            grids.push(std::mem::take(&mut self.columns[at].grid));
        }
        let expected = declared.unwrap_or(spec.expected());
        if let [one] = grids.as_mut_slice() {
            let shape = adapted(one.shape(), expected);
            let leaves = std::mem::take(one).leaves(reader.held);
            return plan.input(spec, declared, shape, leaves);
        }
        for (grid, &at) in grids.iter_mut().zip(&order) {
            if grid.shape().len() != 1 {
                return Err(refusals::nested_cells(&self.columns[at].name));
            }
        }
        let count = self.rows * grids.len();
        let shape = Shape::from_slice(&[self.rows as i64, grids.len() as i64]);
        let elements = side_by_side(&grids, spec, self.rows, reader)?;
        drop(grids);
        plan.input(spec, declared, shape, elements.finish(count, reader.held))
    }

    /// Each column to the input of its name.
    fn each(self, reader: &mut Reader<'_>) -> Result<Vec<InputTensor>> {
        let plan = self.plan;
        let nameless = !plan.declared().has_names();
        let mut inputs = Vec::new();
        for (at, mut column) in self.columns.into_iter().enumerate() {
            if column.target.is_none() {
                continue;
            }
            let by_name = plan.signature.input_near(&column.name, at);
            let by_place = if nameless { plan.signature.inputs.get(at) } else { None };
            let Some(spec) = by_place.or(by_name).or_else(|| plan.single()) else { continue };
            let declared = match plan.declared() {
                Declared::Tensors(fields) => {
                    let of = fields.iter().find(|field| field.name.as_deref() == Some(&column.name));
                    of.map(|field| &*field.shape)
                }
                Declared::Nothing | Declared::Columns(_) => None,
            };
            let shape = adapted(column.grid.shape(), declared.unwrap_or(spec.expected()));
            let leaves = column.grid.leaves(reader.held);
            inputs.push(plan.input(spec, declared, shape, leaves)?);
        }
        Ok(inputs)
    }
}

impl Column<'_> {
    /// That each of its `rows` brings lists of the depth that is declared.
    fn check_lists(&mut self, rows: usize) -> Result<()> {
        match &self.target {
            Some(target) if target.lists > 0 && rows > 0 && self.grid.shape().len() != 1 + target.lists => {
                Err(refusals::no_list(target))
            }
            _ => Ok(()),
        }
    }

    /// How many of its first `rows` cells did not come; none where nobody asks for it.
    fn lacks(&self, rows: usize) -> usize {
        self.target.as_ref().map_or(0, |_| rows.saturating_sub(self.grid.rows()))
    }
}

/// Containers open around a cell.
const DEPTH: usize = 5;

fn put_cell(target: &Target<'_>, grid: &mut Grid, value: Value<'_>, reader: &mut Reader<'_>) -> Result<()> {
    match value {
        Value::Missing if target.lists > 0 => return Err(refusals::missing_cell(target)),
        _ if target.lists > 0 => return Err(refusals::no_list(target)),
        _ => grid.note_scalar(target)?,
    }
    target.take(value, reader, &mut grid.elements)
}

/// A column as a matrix of one column, and the other way round, where the model takes it so.
fn adapted(mut shape: Shape, expected: &[i64]) -> Shape {
    if shape.len() + 1 == expected.len() && matches!(expected.last(), Some(1 | -1)) {
        shape.push(1);
    } else if shape.len() == expected.len() + 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    shape
}
