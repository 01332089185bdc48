//! A request with more rows than a batch may have: what its pieces answered, and how they become
//! one answer. Pieces fit together where they differ in nothing but their rows; where they do
//! not, the model did not answer row by row, and only the request as a whole has an answer.
//!
//! What is kept is bounded by what an answer may be, and counted in the request's budget.

use crate::admission::Reservation;
use crate::codec::buffer::too_large;
use crate::error::Result;
use crate::memory::{copied, room};
use crate::tensor::Shape;
use bytes::Bytes;

/// The outputs of some rows of a request, from `start`, in the order asked for. Axis 0 of each
/// is `rows` long.
#[derive(Debug)]
pub struct Piece<D = Bytes> {
    pub start: usize,
    pub rows: usize,
    pub outputs: Vec<(Shape, D)>,
}

/// What became of a piece that was handed in.
#[derive(Debug)]
pub enum Kept {
    /// Others are still to come.
    Waiting,
    /// It was the last one: the whole request's outputs.
    Joined(Joined),
    /// It differs from the others in more than its rows.
    Unfit,
}

/// A request's outputs, whole, and what they hold of the budget.
#[derive(Debug)]
pub struct Joined {
    pub outputs: Vec<(Shape, Bytes)>,
    _held: Option<Reservation>,
}

#[derive(Debug, Default)]
pub struct Pieces {
    kept: Vec<Piece>,
    /// Of those kept together.
    rows: usize,
    bytes: usize,
    held: Option<Reservation>,
}

impl Pieces {
    /// Take a copy of a piece of a request of `total` rows. All of them together may have `most`
    /// bytes, counted in the budget of `of`.
    ///
    /// # Errors
    /// `TooLarge`; `Full` where the budget or the machine has no room.
    pub fn keep(&mut self, piece: Piece<&[u8]>, total: usize, most: usize, of: &Reservation) -> Result<Kept> {
        if self.kept.first().is_some_and(|first| !fit(first, &piece)) {
            return Ok(Kept::Unfit);
        }
        let size = size(piece.outputs.iter().map(|(_, data)| data.len()));
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > most {
            return Err(too_large(format_args!("at least {}", self.bytes), of.max_message()));
        }
        self.held.get_or_insert_with(|| of.beside()).take(size)?;
        let outputs = piece.outputs.into_iter().map(|(shape, data)| Ok((shape, copied(data)?)));
        let outputs = outputs.collect::<Result<_>>()?;
        self.rows += piece.rows;
        self.kept.push(Piece { start: piece.start, rows: piece.rows, outputs });
        if self.rows < total {
            return Ok(Kept::Waiting);
        }
        let Pieces { mut kept, held, .. } = std::mem::take(self);
        kept.sort_by_key(|p| p.start);
        join(kept, held).map(Kept::Joined)
    }
}

fn fit<A, B>(a: &Piece<A>, b: &Piece<B>) -> bool {
    a.outputs.iter().zip(&b.outputs).all(|((a, _), (b, _))| a.get(1..) == b.get(1..))
}

fn size(sizes: impl Iterator<Item = usize>) -> usize {
    sizes.fold(0, usize::saturating_add)
}

/// One output after the other; the parts of each go as soon as it is whole.
fn join(mut pieces: Vec<Piece>, mut held: Option<Reservation>) -> Result<Joined> {
    let count = pieces.first().map_or(0, |p| p.outputs.len());
    let mut outputs = Vec::with_capacity(count);
    for i in 0..count {
        let size = size(pieces.iter().map(|p| p.outputs[i].1.len()));
        held.as_mut().map_or(Ok(()), |held| held.take(size))?;
        let mut data = room(size)?;
        for piece in &mut pieces {
            data.extend_from_slice(&std::mem::take(&mut piece.outputs[i].1));
        }
        if let Some(held) = &mut held {
            held.give_back(size);
        }
        let mut shape = pieces[0].outputs[i].0.clone();
        shape[0] = pieces.iter().map(|p| p.outputs[i].0[0]).sum();
        outputs.push((shape, Bytes::from(data)));
    }
    Ok(Joined { outputs, _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::error::ErrorCode;

    /// Hands a piece in whose bytes are its `start`.
    fn keep(pieces: &mut Pieces, start: u8, shape: &[i64], most: usize, of: &Reservation) -> Result<Kept> {
        let rows = usize::try_from(shape[0]).unwrap();
        let data = vec![start; usize::try_from(shape.iter().product::<i64>()).unwrap()];
        let outputs = vec![(Shape::from_slice(shape), &data[..])];
        pieces.keep(Piece { start: start.into(), rows, outputs }, 3, most, of)
    }

    fn roomy() -> Reservation {
        Budget::new(usize::MAX).reserve()
    }

    #[test]
    fn pieces_join_in_the_order_of_their_rows_whichever_came_first() {
        let mut pieces = Pieces::default();
        let of = roomy();
        assert!(matches!(keep(&mut pieces, 2, &[1, 3], 9, &of), Ok(Kept::Waiting)));
        let Ok(Kept::Joined(joined)) = keep(&mut pieces, 0, &[2, 3], 9, &of) else { panic!("it is whole") };
        assert_eq!(joined.outputs[0].0.as_slice(), [3, 3]);
        assert_eq!(joined.outputs[0].1[..], [0, 0, 0, 0, 0, 0, 2, 2, 2]);
    }

    #[test]
    fn fault_102_pieces_together_are_bounded_and_counted_once() {
        let budget = Budget::new(20);
        let of = budget.reserve();
        let mut pieces = Pieces::default();
        assert!(matches!(keep(&mut pieces, 2, &[1, 3], 9, &of), Ok(Kept::Waiting)));
        assert_eq!(budget.used(), 3);
        let joined = keep(&mut pieces, 0, &[2, 3], 9, &of);
        assert!(matches!(joined, Ok(Kept::Joined(_))));
        assert_eq!(budget.used(), 9);
        drop(joined);
        assert_eq!(budget.used(), 0);
        assert_eq!(keep(&mut pieces, 0, &[1, 10], 9, &of).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(keep(&mut Pieces::default(), 0, &[1, 21], 99, &of).unwrap_err().code, ErrorCode::TooLarge);
        let mut others = budget.reserve();
        others.take(1).unwrap();
        assert_eq!(keep(&mut Pieces::default(), 0, &[1, 20], 99, &of).unwrap_err().code, ErrorCode::Full);
    }

    #[test]
    fn pieces_that_differ_in_another_dimension_or_in_rank_do_not_fit() {
        for other in [&[1, 4][..], &[1], &[1, 3, 1]] {
            let mut pieces = Pieces::default();
            let of = roomy();
            assert!(matches!(keep(&mut pieces, 0, &[2, 3], 99, &of), Ok(Kept::Waiting)));
            assert!(matches!(keep(&mut pieces, 2, other, 99, &of), Ok(Kept::Unfit)), "{other:?}");
        }
    }
}
