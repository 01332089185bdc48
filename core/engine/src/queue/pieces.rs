//! A request with more rows than a batch may have: what its pieces answered, and how they become
//! one answer. Pieces fit together where they differ in nothing but their rows; where they do
//! not, the model did not answer row by row, and only the request as a whole has an answer.

use crate::tensor::Shape;
use bytes::{BufMut, Bytes, BytesMut};

/// The outputs of some rows of a request, from `start`, in the order asked for. Axis 0 of each
/// is `rows` long.
#[derive(Debug)]
pub struct Piece {
    pub start: usize,
    pub rows: usize,
    pub outputs: Vec<(Shape, Bytes)>,
}

/// What became of a piece that was handed in.
#[derive(Debug)]
pub enum Kept {
    /// Others are still to come.
    Waiting,
    /// It was the last one: the whole request's outputs.
    Joined(Vec<(Shape, Bytes)>),
    /// It differs from the others in more than its rows.
    Unfit,
}

#[derive(Debug, Default)]
pub struct Pieces {
    kept: Vec<Piece>,
    /// Of those kept together.
    rows: usize,
}

impl Pieces {
    /// Take a piece of a request of `total` rows.
    pub fn keep(&mut self, piece: Piece, total: usize) -> Kept {
        if self.kept.first().is_some_and(|first| !fit(first, &piece)) {
            return Kept::Unfit;
        }
        self.rows += piece.rows;
        self.kept.push(piece);
        if self.rows < total {
            return Kept::Waiting;
        }
        let mut all = std::mem::take(&mut self.kept);
        all.sort_by_key(|p| p.start);
        Kept::Joined(join(&all))
    }
}

fn fit(a: &Piece, b: &Piece) -> bool {
    a.outputs.iter().zip(&b.outputs).all(|((a, _), (b, _))| a.get(1..) == b.get(1..))
}

fn join(pieces: &[Piece]) -> Vec<(Shape, Bytes)> {
    let outputs = pieces.first().map_or(0, |p| p.outputs.len());
    (0..outputs)
        .map(|i| {
            let mut data = BytesMut::with_capacity(pieces.iter().map(|p| p.outputs[i].1.len()).sum());
            pieces.iter().for_each(|p| data.put_slice(&p.outputs[i].1));
            let mut shape = pieces[0].outputs[i].0.clone();
            shape[0] = pieces.iter().map(|p| p.outputs[i].0[0]).sum();
            (shape, data.freeze())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(start: usize, shape: &[i64]) -> Piece {
        let rows = usize::try_from(shape[0]).unwrap();
        let size = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let data = Bytes::from(vec![u8::try_from(start).unwrap(); size]);
        Piece { start, rows, outputs: vec![(Shape::from_slice(shape), data)] }
    }

    #[test]
    fn pieces_join_in_the_order_of_their_rows_whichever_came_first() {
        let mut pieces = Pieces::default();
        assert!(matches!(pieces.keep(piece(2, &[1, 3]), 3), Kept::Waiting));
        let Kept::Joined(outputs) = pieces.keep(piece(0, &[2, 3]), 3) else { panic!("it is whole") };
        assert_eq!(outputs[0].0.as_slice(), [3, 3]);
        assert_eq!(outputs[0].1[..], [0, 0, 0, 0, 0, 0, 2, 2, 2]);
    }

    #[test]
    fn pieces_that_differ_in_another_dimension_or_in_rank_do_not_fit() {
        for other in [&[1, 4][..], &[1], &[1, 3, 1]] {
            let mut pieces = Pieces::default();
            assert!(matches!(pieces.keep(piece(0, &[2, 3]), 3), Kept::Waiting));
            assert!(matches!(pieces.keep(piece(2, other), 3), Kept::Unfit), "{other:?}");
        }
    }
}
