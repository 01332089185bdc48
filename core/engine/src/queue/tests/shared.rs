//! Inputs in their clients' shared memory: they are read when their batch is brought together, and
//! what cannot be read then costs its own request and no other.

use super::*;
use crate::error::ErrorCode;
use crate::shared_memory::{Regions, Rules as RegionRules, Slice};
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

/// A shared memory object that goes with it, registered whole.
struct Object {
    path: PathBuf,
    slice: Slice,
}

impl Object {
    fn of(values: &[i32]) -> Object {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("serving-queue-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from("/dev/shm").join(&name);
        let content: Vec<u8> = values.iter().copied().flat_map(i32::to_le_bytes).collect();
        fs::write(&path, &content).unwrap();
        let regions = Regions::new(RegionRules { enabled: true, max_regions: 1, max_bytes: u64::MAX });
        regions.register("r", &name, 0, content.len() as u64).unwrap();
        let slice = regions.slice("r", 0, content.len() as u64).unwrap();
        Object { path, slice }
    }

    fn shrink(&self) {
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(4).unwrap();
    }

    fn tensor(&self) -> PreparedTensor {
        let rows = self.slice.len() / 8;
        PreparedTensor::shared(Shape::from_slice(&[rows as i64, 2]), self.slice.clone())
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        fs::remove_file(&self.path).unwrap();
    }
}

fn submit_tensors(queue: &Arc<Queue>, id: i32, tensors: Vec<PreparedTensor>) -> Ticket {
    let bytes = tensors.iter().map(|tensor| tensor.data.len()).sum();
    let prepared = Prepared {
        inputs: tensors.into_iter().map(Some).collect(),
        outputs: vec![whole(0)],
        bytes,
        ..Prepared::default()
    };
    queue.push(Pending::new(queue, prepared, meta(id, None))).expect("there is room")
}

fn submit_shared(queue: &Arc<Queue>, id: i32, object: &Object) -> Ticket {
    submit_tensors(queue, id, vec![object.tensor()])
}

fn refusal(ticket: &mut Ticket) -> (ErrorCode, String) {
    let error = reply(ticket).expect("answered").expect_err("refused");
    (error.code, error.message)
}

#[test]
fn rows_of_regions_and_of_bodies_share_a_batch_and_are_read_when_it_is_brought_together() {
    let queue = queue(batched());
    let object = Object::of(&[1, 2]);
    let mut shared = submit_shared(&queue, 1, &object);
    let mut sent = submit(&queue, 7, 2);
    fs::write(&object.path, [[3i32, 4].map(i32::to_le_bytes).concat()].concat()).unwrap();
    let batch = queue.next_batch().unwrap();
    assert_eq!(batch.requests(), 2);
    echo(batch);
    assert_eq!(data_of(&mut shared), [3, 4]);
    assert_eq!(data_of(&mut sent), [7, 7, 8, 8]);
}

#[test]
fn a_region_that_shrank_before_its_batch_costs_its_own_request_alone() {
    let queue = queue(batched());
    let objects = [[1, 2], [3, 4], [5, 6]].map(|values| Object::of(&values));
    let mut tickets = objects.each_ref().map(|object| submit_shared(&queue, 0, object));
    let mut sent = submit(&queue, 7, 1);
    objects[0].shrink();
    objects[2].shrink();
    let mut batch = queue.next_batch().unwrap();
    let (shape, data) = batch.gather().unwrap()[0].clone().unwrap();
    assert_eq!((batch.requests(), batch.rows(), shape.to_vec()), (2, 2, vec![2, 2]));
    assert_eq!(data[..], [3, 4, 7, 7].map(i32::to_le_bytes).concat());
    for gone in [0, 2] {
        let (code, words) = refusal(&mut tickets[gone]);
        assert_eq!(code, ErrorCode::BadRequest);
        assert!(words.contains("'r' is smaller than it was registered"), "{words}");
    }
    batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).unwrap();
    assert_eq!(data_of(&mut tickets[1]), [3, 4]);
    assert_eq!(data_of(&mut sent), [7, 7]);
}

#[test]
fn a_second_input_that_cannot_be_read_takes_the_first_one_out_again() {
    let signature =
        Signature { inputs: vec![spec("a"), spec("b")], outputs: vec![spec("y")], ..Signature::default() };
    let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
    let (good, bad) = (Object::of(&[1, 2]), Object::of(&[3, 4]));
    let mut lost = submit_tensors(&queue, 0, vec![good.tensor(), bad.tensor()]);
    let _kept = submit_tensors(&queue, 1, vec![good.tensor(), good.tensor()]);
    bad.shrink();
    let mut batch = queue.next_batch().unwrap();
    let gathered = batch.gather().unwrap();
    assert_eq!(batch.requests(), 1);
    for input in gathered {
        let (shape, data) = input.unwrap();
        assert_eq!((shape.to_vec(), &data[..]), (vec![1, 2], &[1, 2].map(i32::to_le_bytes).concat()[..]));
    }
    assert_eq!(refusal(&mut lost).0, ErrorCode::BadRequest);
}

#[test]
fn a_request_alone_and_pieces_of_one_are_read_from_their_region() {
    let queue = queue(batched());
    let object = Object::of(&(0..12).collect::<Vec<_>>());
    let mut ticket = submit_shared(&queue, 0, &object);
    while reply(&mut ticket).is_none() {
        let mut batch = queue.next_batch().unwrap();
        let (shape, data) = batch.gather().unwrap()[0].clone().unwrap();
        assert!(batch.rows() <= 4);
        batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).unwrap();
        if batch.queue().depth().0 == 0 {
            break;
        }
    }
    assert_eq!(data_of(&mut ticket), (0..12).collect::<Vec<_>>());

    let mut lone = submit_shared(&queue, 1, &object);
    object.shrink();
    let mut batch = queue.next_batch().unwrap();
    assert!(batch.gather().unwrap().iter().all(Option::is_none));
    assert_eq!(batch.requests(), 0);
    drop(batch);
    assert_eq!(refusal(&mut lone).0, ErrorCode::BadRequest);
}
