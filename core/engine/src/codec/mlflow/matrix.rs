//! Columns side by side, as the rows of one matrix.

use super::grid::Grid;
use super::reader::{Reader, put, put_text};
use crate::codec::bytes_tensor;
use crate::codec::json::elements::Elements;
use crate::error::Result;
use crate::tensor::TensorSpec;

/// The elements of columns of `rows` each, row by row.
///
/// # Errors
/// `Full`, `TooLarge`, and those of the request's stop.
pub(super) fn side_by_side(
    grids: &[Grid],
    spec: &TensorSpec,
    rows: usize,
    reader: &mut Reader<'_>,
) -> Result<Elements> {
    let bytes = grids.iter().map(|grid| grid.elements.data().len()).sum();
    let mut all = Elements::default();
    all.room(bytes, reader.held)?;
    let mut texts: Vec<_> = match spec.datatype.size() {
        Some(_) => Vec::new(),
        None => grids.iter().map(|grid| bytes_tensor::elements(grid.elements.data())).collect(),
    };
    let mut done = 0usize;
    for row in 0..rows {
        for (at, grid) in grids.iter().enumerate() {
            done += 1;
            reader.document.look(done)?;
            match (spec.datatype.size(), texts.get_mut(at)) {
                (None, Some(texts)) => put_text(&mut all, texts.next().unwrap_or_default(), reader.held)?,
                (size, _) => {
                    let size = size.unwrap_or_default();
                    let element = grid.elements.data().get(row * size..(row + 1) * size);
                    put(&mut all, element.unwrap_or_default(), reader.held)?;
                }
            }
        }
    }
    Ok(all)
}
