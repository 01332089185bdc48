//! What runs whole: no request is cut that may not be, and none that the model answers alone is
//! refused, or answered with another shape, because its version is batched.

use super::*;
use proptest::prelude::*;

/// Answer a batch with rows that hold their request's own, padded to `width`.
fn answer_wide(batch: &mut Batch, rows: i64, width: i64) -> Result<(), Error> {
    batch.gather().unwrap();
    let data = vec![0; usize::try_from(rows * width * 4).unwrap()];
    let shape = Shape::from_slice(&[rows, width]);
    batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }])
}

fn shape_of(ticket: &mut Ticket) -> Vec<i64> {
    shown(&reply(ticket).expect("answered").expect("well"))
}

fn shown(answer: &Answer) -> Vec<i64> {
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    json["outputs"][0]["shape"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
}

fn members(batch: &Batch) -> (usize, usize) {
    (batch.requests(), batch.rows())
}

#[test]
fn an_oversize_request_that_may_not_be_cut_runs_whole_and_alone() {
    let queue = queue(Options { may_cut: false, ..batched() });
    let (mut big, mut small) = (submit(&queue, 0, 10), submit(&queue, 50, 1));
    let batch = queue.next_batch().unwrap();
    assert_eq!(members(&batch), (1, 10));
    echo(batch);
    assert_eq!(members(&queue.next_batch().unwrap()), (1, 1));
    assert_eq!(data_of(&mut big).len(), 20);
    assert!(reply(&mut small).is_some());
}

#[test]
fn a_queue_that_learns_to_batch_learns_whether_it_may_cut() {
    for (may_cut, rows) in [(true, 4), (false, 10)] {
        let queue = queue(Options::default());
        queue.batch_from_now_on(4, vec![], may_cut);
        let _big = submit(&queue, 0, 10);
        assert_eq!(queue.next_batch().unwrap().rows(), rows);
    }
}

#[test]
fn pieces_of_different_width_make_the_request_run_again_whole() {
    let queue = queue(batched());
    let (mut big, mut small) = (submit(&queue, 0, 6), submit(&queue, 50, 1));
    answer_wide(&mut queue.next_batch().unwrap(), 4, 3).unwrap();
    let mut last = queue.next_batch().unwrap();
    assert_eq!(members(&last), (2, 3), "the rest has company");
    answer_wide(&mut last, 3, 5).unwrap();
    assert_eq!(shape_of(&mut small), [1, 5], "the company has its answer");
    assert!(reply(&mut big).is_none());
    assert_eq!(queue.depth(), (1, 6, 48));
    let mut whole = queue.next_batch().unwrap();
    assert_eq!(members(&whole), (1, 6));
    answer_wide(&mut whole, 6, 5).unwrap();
    assert_eq!(shape_of(&mut big), [6, 5]);
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn a_piece_that_fails_or_has_other_rows_makes_the_request_run_again_whole() {
    let queue = queue(batched());
    let mut big = submit(&queue, 0, 10);
    let mut piece = queue.next_batch().unwrap();
    assert!(answer_wide(&mut piece, 1, 2).is_err(), "4 rows went in");
    let (first, second) = piece.split().unwrap();
    assert_eq!((first.requests(), second.requests()), (0, 0));
    assert_eq!(queue.depth(), (1, 10, 80), "its rest is gone, the whole is back");
    let mut whole = queue.next_batch().unwrap();
    assert_eq!(members(&whole), (1, 10));
    answer_wide(&mut whole, 1, 2).unwrap();
    assert_eq!(shape_of(&mut big), [1, 2], "alone it may have any rows");
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn pieces_still_running_count_for_nothing_once_the_request_runs_whole() {
    let signature =
        Signature { inputs: vec![spec("x")], outputs: vec![spec("y")], left_out: vec![], named: vec![] };
    let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
    let mut big = submit(&queue, 0, 12);
    let pieces = [(); 3].map(|()| queue.next_batch().unwrap());
    let [first, mut second, third] = pieces;
    assert!(first.split().is_ok());
    answer_wide(&mut second, 4, 2).unwrap();
    third.fail(&Error::bad("a piece failed late"));
    assert!(reply(&mut big).is_none(), "only the whole counts");
    let mut whole = queue.next_batch().unwrap();
    answer_wide(&mut whole, 12, 2).unwrap();
    assert_eq!(shape_of(&mut big), [12, 2]);
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn a_request_runs_whole_also_where_the_queue_closed_meanwhile() {
    let queue = queue(batched());
    let mut big = submit(&queue, 0, 6);
    let piece = queue.next_batch().unwrap();
    queue.close();
    assert!(piece.split().is_ok());
    echo(queue.next_batch().unwrap());
    assert_eq!(shape_of(&mut big), [6, 2]);
    assert!(queue.next_batch().is_none());
}

#[test]
fn whoever_left_is_not_run_whole() {
    let queue = queue(batched());
    let big = submit(&queue, 0, 6);
    let piece = queue.next_batch().unwrap();
    drop(big);
    assert!(piece.split().is_ok());
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn members_whose_outputs_have_no_rows_are_answered_alone() {
    let queue = queue(batched());
    let (mut a, mut b) = (submit(&queue, 0, 1), submit(&queue, 5, 2));
    let mut batch = queue.next_batch().unwrap();
    assert!(answer_wide(&mut batch, 1, 2).is_err());
    let (mut first, mut second) = batch.split().unwrap();
    answer_wide(&mut first, 7, 2).unwrap();
    answer_wide(&mut second, 0, 2).unwrap();
    assert_eq!((shape_of(&mut a), shape_of(&mut b)), (vec![7, 2], vec![0, 2]));
}

#[test]
fn an_empty_line_takes_a_request_of_any_number_of_rows() {
    let queue = queue(Options { max_queue_rows: 5, ..batched() });
    let mut big = submit(&queue, 0, 9);
    assert!(
        matches!(queue.push(pending(&queue, 0, 1, None)), Err(Refused::Error(e)) if e.code == ErrorCode::Full)
    );
    echo(queue.next_batch().unwrap());
    assert_eq!(shape_of(&mut big), [9, 2], "in one piece");
}

#[test]
fn a_shape_without_elements_is_not_cut_into_no_end_of_pieces() {
    let queue = queue(batched());
    let hollow = PreparedTensor::new(Shape::from_slice(&[i64::MAX, 0]), Bytes::new());
    let one = Prepared { inputs: vec![Some(hollow)], ..Prepared::default() };
    assert_eq!(queue.place_of(&one), (queue.options().max_queue_rows, true));
}

#[test]
fn a_request_with_a_tensor_without_data_runs_alone() {
    let queue = queue(batched());
    let place = |shape: &[i64]| {
        let hollow = PreparedTensor::new(Shape::from_slice(shape), Bytes::new());
        queue.place_of(&Prepared { inputs: vec![Some(hollow)], ..Prepared::default() })
    };
    assert_eq!(place(&[3, 0]), (3, true));
    assert_eq!(place(&[0, 2]), (0, true));
}

#[test]
fn inputs_with_first_dimensions_of_their_own_and_requests_without_inputs_run_alone() {
    let place = |rows: &[Option<i64>]| {
        let spec = |_| spec("x");
        let signature = Signature {
            inputs: rows.iter().map(spec).collect(),
            outputs: vec![],
            left_out: vec![],
            named: vec![],
        };
        let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
        queue.place_of(&prepared(rows, 0))
    };
    assert_eq!(place(&[Some(3), Some(3)]), (3, false));
    assert_eq!(place(&[Some(1), Some(3)]), (3, true));
    assert_eq!(place(&[Some(3), None]), (3, false));
    assert_eq!(place(&[Some(0), Some(0)]), (0, true));
    assert_eq!(place(&[None, None]), (1, true));
}

/// Inputs of so many rows of two elements, where they are there; `value` fills them.
fn prepared(rows: &[Option<i64>], value: i32) -> Prepared {
    let inputs: Vec<_> = rows
        .iter()
        .map(|rows| {
            let rows = (*rows)?;
            let data: Vec<u8> = (0..rows * 2).flat_map(|_| value.to_le_bytes()).collect();
            Some(PreparedTensor::new(Shape::from_slice(&[rows, 2]), Bytes::from(data)))
        })
        .collect();
    let bytes = inputs.iter().flatten().map(|t: &PreparedTensor| t.data.len()).sum();
    Prepared { inputs, outputs: vec![whole(0)], bytes, as_described: false, asked: None }
}

/// Models that answer several requests at once in ways that no single one's answer shows.
#[derive(Clone, Copy, Debug)]
enum Model {
    /// Each row's own answer, inputs broadcast to each other.
    ByRow,
    /// One row, whatever comes in.
    Total,
    /// No dimensions at all.
    Scalar,
    /// Two rows for each.
    Twice,
    /// Rows as long as the largest value is: only for requests that are cut.
    AsWide,
    /// It cannot run four rows.
    NotFour,
}

impl Model {
    fn run(self, inputs: &[batch::Gathered]) -> Option<Vec<i64>> {
        let rows: Vec<i64> = inputs.iter().flatten().map(|(shape, _)| shape[0]).collect();
        let longest = rows.iter().copied().max().unwrap_or(2);
        if rows.iter().any(|&n| n != longest && n != 1) {
            return None;
        }
        let largest = || {
            let values = inputs.iter().flatten().flat_map(|(_, data)| data.chunks(4));
            values.map(|v| i64::from(i32::from_le_bytes(v.try_into().unwrap()))).max().unwrap_or(0)
        };
        match self {
            Model::ByRow => Some(vec![longest, 2]),
            Model::Total => Some(vec![1, 2]),
            Model::Scalar => Some(vec![]),
            Model::Twice => Some(vec![longest * 2, 2]),
            Model::AsWide => Some(vec![longest, largest()]),
            Model::NotFour => (longest != 4).then(|| vec![longest, 2]),
        }
    }
}

/// Run a batch, and in parts what fails, as the runtime does.
fn settle(mut batch: Batch, model: Model) {
    if batch.requests() == 0 {
        return;
    }
    let shape = model.run(&batch.gather().unwrap());
    let (ran, alone) = (shape.is_some(), Error::bad("the model refused this input"));
    let done = shape.is_some_and(|shape| {
        let data = vec![0; usize::try_from(shape.iter().product::<i64>() * 4).unwrap()];
        let shape = Shape::from_slice(&shape);
        batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).is_ok()
    });
    if done {
        return;
    }
    match batch.split() {
        Ok((first, second)) if ran => [first, second].into_iter().for_each(|half| by_one(half, model)),
        Ok((first, second)) => [first, second].into_iter().for_each(|half| settle(half, model)),
        Err(batch) => batch.fail(&alone),
    }
}

fn by_one(batch: Batch, model: Model) {
    match batch.split() {
        Ok((first, second)) => [first, second].into_iter().for_each(|half| by_one(half, model)),
        Err(batch) => settle(batch, model),
    }
}

/// What each request is answered: a shape, or `None` where it is refused.
fn answers(options: Options, requests: &[(Vec<Option<i64>>, i32)], model: Model) -> Vec<Option<Vec<i64>>> {
    let signature = Signature {
        inputs: vec![spec("x"), spec("z")],
        outputs: vec![spec("y")],
        left_out: vec![],
        named: vec![],
    };
    let queue = Queue::new(Stats::new("m", 1), signature, options, None);
    let push = |(rows, value): &(Vec<Option<i64>>, i32)| {
        queue.push(Pending::new(&queue, prepared(rows, *value), meta(0, None))).unwrap()
    };
    let mut tickets: Vec<_> = requests.iter().map(push).collect();
    while queue.depth().0 > 0 {
        settle(queue.next_batch().unwrap(), model);
    }
    assert_eq!(queue.depth(), (0, 0, 0));
    tickets.iter_mut().map(|t| reply(t).expect("answered").ok().map(|answer| shown(&answer))).collect()
}

proptest! {
    /// Against the dumb twin: what a version answers unbatched it answers batched, in the same
    /// shape, whoever is beside it and whether or not it is cut.
    #[test]
    fn whatever_is_answered_alone_is_answered_in_the_same_shape_when_batched(
        model in prop::sample::select(vec![
            Model::ByRow, Model::Total, Model::Scalar, Model::Twice, Model::AsWide, Model::NotFour,
        ]),
        requests in prop::collection::vec(
            ((0i64..9, prop::option::of(0i64..9), any::<bool>()), 1i32..4), 1..9),
        // A batch of one row can't show that the rows out do not follow those in.
        max_rows in 2usize..7,
        may_cut in any::<bool>(),
    ) {
        let requests: Vec<_> = requests.into_iter().map(|((x, z, agree), value)| {
            // Who shares a batch with wider rows gets wider ones: that is for the proof to find.
            let x = if matches!(model, Model::AsWide) { x + 6 } else { x };
            (vec![Some(x), if agree { z.map(|_| x) } else { z }], value)
        }).collect();
        let options = Options { max_rows, may_cut, ..Options::default() };
        let batched = answers(options, &requests, model);
        for (batched, alone) in batched.iter().zip(answers(Options::default(), &requests, model)) {
            prop_assert!(alone.is_none() || batched == &alone, "{batched:?} for {alone:?}");
        }
    }
}
