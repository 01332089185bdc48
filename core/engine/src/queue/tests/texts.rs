//! Runs on texts: what they borrow, and who waits.

use super::*;
use crate::admission::Budget;
use crate::codec::bytes_tensor;
use std::sync::mpsc;

const TEXTS: usize = 4000;

fn texts(name: &str, shape: &[i64]) -> TensorSpec {
    let shape = shape.to_vec();
    TensorSpec {
        name: name.into(),
        datatype: Datatype::Bytes,
        shape,
        optional: false,
        described: None,
        labels: None,
    }
}

fn echoes(options: Options, loans: &Arc<Loans>) -> Arc<Queue> {
    let (inputs, outputs) = (vec![texts("x", &[-1, -1])], vec![texts("y", &[-1, -1])]);
    let signature = Signature { inputs, outputs, left_out: vec![], named: vec![] };
    let queue = Queue::new(Stats::new("m", 1), signature, options, Some(Permits::new(1)));
    queue.borrow_from(loans);
    queue
}

/// One row of as many texts, all `text`.
fn row(queue: &Queue, text: &str, count: usize) -> Arc<Pending> {
    let mut data = Vec::new();
    (0..count).for_each(|_| bytes_tensor::push(&mut data, text.as_bytes()));
    let (bytes, shape) = (data.len(), Shape::from_slice(&[1, count as i64]));
    let inputs = vec![Some(PreparedTensor::new(shape, data.into()))];
    let prepared = Prepared {
        inputs,
        outputs: vec![WantedOutput { binary: true, ..whole(0) }],
        bytes,
        as_described: false,
        asked: None,
    };
    Pending::new(queue, prepared, meta(1, None))
}

fn submit(queue: &Arc<Queue>, text: &str) -> Ticket {
    queue.push(row(queue, text, TEXTS)).expect("there is room")
}

fn answer(mut batch: Batch) {
    let gathered = batch.gather().unwrap();
    let (shape, data) = gathered[0].clone().unwrap();
    batch.complete(&[OutputView { datatype: Datatype::Bytes, shape, data: &data }]).unwrap();
}

fn cost(count: usize, text: &str) -> usize {
    let bytes = count * (4 + text.len());
    Weight { texts: count, text_bytes: bytes, bytes }.cost()
}

#[test]
fn fault_110_runs_on_texts_take_turns_where_they_have_no_room_together() {
    let budget = Budget::new(cost(TEXTS, "ab") * 3 / 2);
    let loans = Loans::new(budget.clone());
    // Two models, each with a permit of its own: nothing but the budget holds the second up.
    let (one, other) = (echoes(batched(), &loans), echoes(batched(), &loans));
    let (mut a, mut b) = (submit(&one, "ab"), submit(&other, "cd"));
    let first = one.next_batch().unwrap();
    assert_eq!(budget.used(), cost(TEXTS, "ab"));
    let (tx, rx) = mpsc::channel();
    let pulling = std::thread::spawn(move || {
        let batch = other.next_batch().unwrap();
        tx.send(()).unwrap();
        answer(batch);
    });
    assert!(rx.recv_timeout(Duration::from_millis(50)).is_err());
    answer(first);
    rx.recv().unwrap();
    pulling.join().unwrap();
    assert!(reply(&mut a).unwrap().is_ok() && reply(&mut b).unwrap().is_ok());
    assert_eq!(budget.used(), 0);
}

#[test]
fn fault_110_a_batch_holds_no_more_texts_than_a_request_may() {
    let loans = Loans::new(Budget::new(usize::MAX));
    let queue = echoes(Options { max_string_elements: TEXTS * 2, ..batched() }, &loans);
    let _tickets: Vec<_> = (0..3).map(|_| submit(&queue, "")).collect();
    let next = || {
        let batch = queue.next_batch().unwrap();
        let requests = batch.requests();
        answer(batch);
        requests
    };
    let sizes = [next(), next()];
    assert_eq!(sizes, [2, 1]);
}

#[test]
fn fault_110_a_full_budget_lets_one_request_run_at_a_time() {
    let budget = Budget::new(cost(TEXTS, ""));
    let mut full = budget.reserve();
    full.take(budget.max()).unwrap();
    let queue = echoes(batched(), &Loans::new(budget.clone()));
    let _tickets = [submit(&queue, ""), submit(&queue, "")];
    for _ in 0..2 {
        let batch = queue.next_batch().unwrap();
        assert_eq!((batch.requests(), budget.used()), (1, budget.max() + cost(TEXTS, "")));
        answer(batch);
    }
    assert_eq!(budget.used(), budget.max());
}

#[test]
fn fault_110_halves_hold_what_their_batch_borrowed_until_both_are_answered() {
    let budget = Budget::new(usize::MAX);
    let queue = echoes(batched(), &Loans::new(budget.clone()));
    let _tickets = [submit(&queue, ""), submit(&queue, "")];
    let batch = queue.next_batch().unwrap();
    assert_eq!(batch.weight().texts, 2 * TEXTS);
    let (first, second) = batch.split().unwrap();
    assert_eq!((first.weight().texts, second.weight().texts), (TEXTS, TEXTS));
    let all = cost(2 * TEXTS, "");
    assert_eq!(budget.used(), all);
    answer(first);
    assert_eq!(budget.used(), all);
    answer(second);
    assert_eq!(budget.used(), 0);
}

#[test]
fn fault_110_labels_that_a_model_answers_with_count_as_texts() {
    let (inputs, outputs) = (vec![spec("x")], vec![texts("label", &[-1, 3])]);
    let signature = Signature { inputs, outputs, left_out: vec![], named: vec![] };
    let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
    assert_eq!(pending(&queue, 0, 4, None).weight, Weight { texts: 12, text_bytes: 0, bytes: 32 });
}

#[test]
fn fault_110_only_a_requests_texts_count_as_such() {
    let (inputs, outputs) = (vec![texts("x", &[-1, -1]), spec("image")], vec![spec("y")]);
    let signature = Signature { inputs, outputs, left_out: vec![], named: vec![] };
    let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
    let of =
        |shape: &[i64], bytes| Some(PreparedTensor::new(Shape::from_slice(shape), vec![0; bytes].into()));
    let inputs = vec![of(&[1, 1], 7), of(&[1, 250_000], 1_000_000)];
    let prepared = Prepared {
        inputs,
        outputs: vec![WantedOutput { binary: true, ..whole(0) }],
        bytes: 1_000_007,
        as_described: false,
        asked: None,
    };
    let weight = Pending::new(&queue, prepared, meta(1, None)).weight;
    assert_eq!(weight, Weight { texts: 1, text_bytes: 7, bytes: 1_000_007 });
}

#[test]
fn fault_110_a_run_borrows_for_the_next_batch_and_not_for_the_line() {
    let one_run = cost(TEXTS, "ab");
    let budget = Budget::new(one_run * 5 / 2);
    let loans = Loans::new(budget.clone());
    let (one, other) = (echoes(batched(), &loans), echoes(Options { max_rows: 0, ..batched() }, &loans));
    let _running = submit(&one, "ab");
    let first = one.next_batch().unwrap();
    let _waiting: Vec<_> = (0..3).map(|_| submit(&other, "ab")).collect();
    let second = other.next_batch().unwrap();
    assert_eq!((second.requests(), budget.used()), (1, 2 * one_run));
    answer(first);
    answer(second);
}
