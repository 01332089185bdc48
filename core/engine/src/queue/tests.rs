use super::*;
use crate::admission::Budget;
use crate::codec::answer::{Answer, Encode, Reply};
use crate::codec::compression::Encoding;
use crate::codec::json::InferAnswer;
use crate::codec::prepare::{PreparedTensor, WantedOutput};
use crate::loans::Weight;
use crate::queue::batch::OutputView;
use crate::queue::pending::expired;
use crate::shared_memory::Destinations;
use crate::tensor::{Datatype, Shape, TensorSpec};
use bytes::Bytes;
use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod copies;
mod shared;
mod texts;
mod whole;

fn spec(name: &str) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype: Datatype::Int32,
        shape: vec![-1, 2],
        optional: false,
        described: None,
        labels: None,
    }
}

fn whole(place: usize) -> WantedOutput {
    WantedOutput { place, ..WantedOutput::default() }
}

fn queue(options: Options) -> Arc<Queue> {
    let signature = Signature {
        inputs: vec![spec("x")],
        outputs: vec![spec("y")],
        left_out: vec![],
        ..Signature::default()
    };
    Queue::new(Stats::new("m", 1), signature, options, Some(Permits::new(1)))
}

fn batched() -> Options {
    Options { max_rows: 4, ..Options::default() }
}

/// A request whose row `i` holds `first + i` twice.
fn pending(queue: &Queue, first: i32, rows: i32, deadline: Option<Instant>) -> Arc<Pending> {
    let data: Vec<u8> = (first..first + rows).flat_map(|v| [v, v]).flat_map(i32::to_le_bytes).collect();
    let bytes = data.len();
    let shape = Shape::from_slice(&[i64::from(rows), 2]);
    let inputs = vec![Some(PreparedTensor::new(shape, Bytes::from(data)))];
    let prepared = Prepared { inputs, outputs: vec![whole(0)], bytes, as_described: false, asked: None };
    Pending::new(queue, prepared, meta(first, deadline))
}

fn meta(id: i32, deadline: Option<Instant>) -> RequestMeta {
    RequestMeta {
        id: Some(id.to_string().into()),
        encode: Encode { form: &InferAnswer, encoding: Encoding::Identity },
        destinations: Destinations::default(),
        priority: 0,
        deadline,
        mailbox: None,
        reservation: Budget::new(usize::MAX).reserve(),
        record: None,
    }
}

/// A request that holds ten bytes of `budget`, which bounds its answer, too.
fn limited(queue: &Queue, rows: i32, budget: &Arc<Budget>) -> Arc<Pending> {
    let mut reservation = budget.reserve();
    reservation.take(10).unwrap();
    let prepared = Arc::into_inner(pending(queue, 0, rows, None)).unwrap().prepared;
    Pending::new(queue, prepared, RequestMeta { reservation, ..meta(0, None) })
}

fn submit(queue: &Arc<Queue>, first: i32, rows: i32) -> Ticket {
    queue.push(pending(queue, first, rows, None)).expect("there is room")
}

/// The only test that listens: whoever does hears all queues of the process.
#[test]
fn a_queue_announces_its_first_request_and_no_other() {
    let announced = || FIRST_REQUESTS.wait(Some(Duration::ZERO));
    let queue = queue(batched());
    queue.announce_first(7);
    assert!(announced().is_empty());
    drop(submit(&queue, 0, 1));
    assert_eq!(announced(), [7], "whether or not its caller stays");
    let (_first, _second) = (submit(&queue, 0, 1), submit(&queue, 0, 1));
    assert!(announced().is_empty());
    queue.announce_first(8);
    assert_eq!(announced(), [8], "those that are there already");
    queue.close();
    queue.announce_first(9);
    queue.abort(&expired());
    assert_eq!(announced(), [9]);
}

/// Answer a batch with its own input.
fn echo(mut batch: Batch) -> usize {
    let gathered = batch.gather().unwrap();
    let (shape, data) = gathered[0].clone().unwrap();
    batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).unwrap();
    batch.requests()
}

fn reply(ticket: &mut Ticket) -> Option<Reply> {
    match std::pin::Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => Some(reply),
        Poll::Pending => None,
    }
}

fn data_of(ticket: &mut Ticket) -> Vec<i64> {
    let answer = reply(ticket).expect("answered").expect("well");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    json["outputs"][0]["data"].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect()
}

#[test]
fn a_priority_level_has_its_own_time_out_and_bound() {
    let level_policies = vec![
        LevelPolicy { level: 1, default_timeout: None, max_requests: Some(1) },
        LevelPolicy { level: 3, default_timeout: Some(Duration::from_secs(9)), max_requests: None },
    ];
    let default_timeout = Some(Duration::from_secs(5));
    let queue = queue(Options { priority_levels: 3, default_timeout, level_policies, ..batched() });
    let of_level = |priority| {
        let prepared = Arc::into_inner(pending(&queue, 0, 1, None)).unwrap().prepared;
        Pending::new(&queue, prepared, RequestMeta { priority, ..meta(0, None) })
    };
    let waits =
        |priority| of_level(priority).deadline.map(|at| at.duration_since(Instant::now()).as_secs_f64());
    assert_eq!(waits(1), None);
    // That of all levels, also where the level is the default one.
    assert!([0, 2].into_iter().all(|priority| waits(priority).unwrap() < 6.0));
    assert!((8.0..10.0).contains(&waits(3).unwrap()));
    let _first = queue.push(of_level(1)).expect("there is room");
    let Err(Refused::Error(error)) = queue.push(of_level(1)) else { panic!("the level is full") };
    assert_eq!(error.code, ErrorCode::Full);
    let _others = [2, 2, 3].map(|priority| queue.push(of_level(priority)).expect("other levels have room"));
}

#[test]
fn each_member_of_a_batch_gets_its_own_rows() {
    let queue = queue(batched());
    let (mut a, mut b) = (submit(&queue, 10, 1), submit(&queue, 20, 2));
    let batch = queue.next_batch().unwrap();
    assert_eq!((batch.requests(), batch.rows()), (2, 3));
    echo(batch);
    assert_eq!(data_of(&mut a), [10, 10]);
    assert_eq!(data_of(&mut b), [20, 20, 21, 21]);
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn a_request_larger_than_a_batch_comes_back_whole() {
    let queue = queue(batched());
    let (mut big, mut small) = (submit(&queue, 0, 10), submit(&queue, 50, 1));
    let mut batches = 0;
    while queue.depth().0 > 0 {
        let batch = queue.next_batch().unwrap();
        assert!(batch.rows() <= 4);
        echo(batch);
        batches += 1;
    }
    assert_eq!(batches, 4);
    assert_eq!(data_of(&mut big), (0..10).flat_map(|v| [v, v]).collect::<Vec<i64>>());
    assert_eq!(data_of(&mut small), [50, 50]);
    assert_eq!(queue.depth(), (0, 0, 0));
}

#[test]
fn fault_102_an_answer_over_the_limit_fails_alone() {
    let queue = queue(batched());
    let budget = Budget::of_messages(usize::MAX, 20);
    let (mut small, mut large) =
        (submit(&queue, 7, 1), queue.push(limited(&queue, 1, &budget)).expect("there is room"));
    echo(queue.next_batch().unwrap());
    assert_eq!(reply(&mut large).unwrap().unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(data_of(&mut small), [7, 7]);
    drop(large);
    assert_eq!(budget.used(), 0);
}

#[test]
fn fault_102_pieces_end_with_the_first_that_is_too_much_and_hold_nothing() {
    let queue = queue(batched());
    let budget = Budget::of_messages(usize::MAX, 10);
    let mut large = queue.push(limited(&queue, 12, &budget)).expect("there is room");
    echo(queue.next_batch().unwrap());
    assert!(reply(&mut large).is_none());
    // Four rows of eight bytes are kept, beside what the request holds.
    assert_eq!(budget.used(), 42);
    echo(queue.next_batch().unwrap());
    assert_eq!(budget.used(), 10);
    assert_eq!(reply(&mut large).unwrap().unwrap_err().code, ErrorCode::TooLarge);
}

#[test]
fn fault_103_a_request_that_a_closed_line_sends_back_stays_counted() {
    let (queue, budget) = (queue(batched()), Budget::new(100));
    queue.close();
    let Err(Refused::Closed(back)) = queue.push(limited(&queue, 1, &budget)) else { panic!("it is closed") };
    let reservation = back.into_reservation();
    assert_eq!(budget.used(), 10);
    drop(reservation);
    assert_eq!(budget.used(), 0);
}

#[test]
fn outputs_with_other_rows_are_refused_and_the_batch_can_be_split() {
    let queue = queue(batched());
    let mut tickets: Vec<_> = (0..3).map(|i| submit(&queue, i, 1)).collect();
    let mut batch = queue.next_batch().unwrap();
    let data = [0; 8];
    let wrong = OutputView { datatype: Datatype::Int32, shape: Shape::from_slice(&[1, 2]), data: &data };
    assert!(batch.complete(&[wrong]).is_err());
    let (first, second) = batch.split().unwrap();
    assert_eq!((first.requests(), second.requests()), (2, 1));
    echo(first);
    second.fail(&Error::bad("guilty"));
    assert_eq!(data_of(&mut tickets[0]), [0, 0]);
    assert_eq!(data_of(&mut tickets[1]), [1, 1]);
    assert_eq!(reply(&mut tickets[2]).unwrap().unwrap_err().code, ErrorCode::BadRequest);
}

#[test]
fn executing_counts_the_batches_that_run_and_no_half_that_waits() {
    let queue = queue(batched());
    let mut tickets: Vec<_> = (0..3).map(|i| submit(&queue, i, 1)).collect();
    let executing = || queue.stats().executing.load(Ordering::Relaxed);
    let mut batch = queue.next_batch().unwrap();
    assert_eq!(executing(), 0);
    batch.gather().unwrap();
    assert_eq!(executing(), 1);
    let (mut first, mut second) = batch.split().unwrap();
    assert_eq!(executing(), 0);
    first.gather().unwrap();
    assert_eq!(executing(), 1, "the second half waits");
    echo(first);
    assert_eq!(executing(), 0);
    second.gather().unwrap();
    second.gather().unwrap();
    assert_eq!(executing(), 1, "gathering twice is one run");
    second.fail(&Error::bad("guilty"));
    assert_eq!(executing(), 0);
    assert!(tickets.iter_mut().all(|ticket| reply(ticket).is_some()));
}

#[test]
fn a_batch_dropped_unanswered_fails_its_requests() {
    let queue = queue(batched());
    let mut ticket = submit(&queue, 0, 1);
    drop(queue.next_batch().unwrap());
    assert_eq!(reply(&mut ticket).unwrap().unwrap_err().code, ErrorCode::Internal);
}

#[test]
fn fault_27_a_caller_that_leaves_frees_its_place_and_is_not_run() {
    let queue = queue(Options { max_queue_requests: 2, ..batched() });
    let (gone, mut stays) = (submit(&queue, 0, 1), submit(&queue, 1, 1));
    assert!(
        matches!(queue.push(pending(&queue, 2, 1, None)), Err(Refused::Error(e)) if e.code == ErrorCode::Full)
    );
    drop(gone);
    let mut third = submit(&queue, 2, 1);
    let batch = queue.next_batch().unwrap();
    assert_eq!(batch.requests(), 2);
    echo(batch);
    assert_eq!(data_of(&mut stays), [1, 1]);
    assert_eq!(data_of(&mut third), [2, 2]);
    assert_eq!(queue.stats().dropped_cancelled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn fault_26_what_expired_in_the_queue_is_not_run() {
    let queue = queue(batched());
    let soon = Instant::now() + Duration::from_millis(5);
    let ticket = queue.push(pending(&queue, 0, 1, Some(soon))).unwrap();
    assert_eq!(ticket.await.unwrap_err().code, ErrorCode::Expired);
    let mut live = submit(&queue, 1, 1);
    let batch = queue.next_batch().unwrap();
    assert_eq!(batch.requests(), 1);
    echo(batch);
    assert!(reply(&mut live).is_some());
    assert_eq!(queue.stats().dropped_expired.load(Ordering::Relaxed), 1);
    let late = queue.push(pending(&queue, 0, 1, Some(Instant::now())));
    assert!(matches!(late, Err(Refused::Error(e)) if e.code == ErrorCode::Expired));
}

#[test]
fn bounds_hold_in_requests_rows_and_bytes() {
    let full = |options: Options| {
        let queue = queue(options);
        let _first = submit(&queue, 0, 3);
        matches!(queue.push(pending(&queue, 0, 3, None)), Err(Refused::Error(e)) if e.code == ErrorCode::Full && e.retry_after.is_some())
    };
    assert!(full(Options { max_queue_requests: 1, ..batched() }));
    assert!(full(Options { max_queue_rows: 5, ..batched() }));
    assert!(full(Options { max_queue_bytes: 30, ..batched() }));
    assert!(!full(batched()));
}

#[test]
fn a_closed_queue_refuses_and_lets_the_rest_out() {
    let queue = queue(Options { delay: Duration::from_secs(60), ..batched() });
    let mut ticket = submit(&queue, 0, 1);
    queue.close();
    assert!(matches!(queue.push(pending(&queue, 1, 1, None)), Err(Refused::Closed(_))));
    echo(queue.next_batch().unwrap());
    assert!(reply(&mut ticket).is_some());
    assert!(queue.next_batch().is_none());
}

#[test]
fn an_unbatched_queue_runs_each_request_alone_with_its_own_shape() {
    let queue = queue(Options::default());
    let (mut a, mut b) = (submit(&queue, 0, 3), submit(&queue, 7, 1));
    assert_eq!(echo_shape(queue.next_batch().unwrap()), [3, 2]);
    assert_eq!(echo_shape(queue.next_batch().unwrap()), [1, 2]);
    assert!(reply(&mut a).is_some() && reply(&mut b).is_some());
}

#[test]
fn a_queue_that_learns_to_batch_keeps_to_themselves_who_came_before() {
    let queue = queue(Options::default());
    let mut tickets = vec![submit(&queue, 0, 3), submit(&queue, 10, 2)];
    assert!(queue.batch_from_now_on(4, vec![], true));
    assert!(!queue.batch_from_now_on(8, vec![], true), "the first rules stay");
    tickets.extend([submit(&queue, 20, 1), submit(&queue, 30, 2)]);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        let batch = queue.next_batch().expect("there is work");
        sizes.push(batch.requests());
        echo(batch);
    }
    assert_eq!(sizes, [1, 1, 2]);
    assert_eq!(data_of(&mut tickets[0]), [0, 0, 1, 1, 2, 2]);
    assert_eq!(data_of(&mut tickets[3]), [30, 30, 31, 31]);
}

fn echo_shape(mut batch: Batch) -> Vec<i64> {
    let shape = batch.gather().unwrap()[0].clone().unwrap().0.to_vec();
    echo(batch);
    shape
}

#[test]
fn one_wake_up_serves_all_that_arrived_on_an_io_thread() {
    let queue = queue(batched());
    let puller = {
        let queue = queue.clone();
        std::thread::spawn(move || queue.next_batch().map(echo))
    };
    while queue.line.lock().waiting == 0 {
        std::thread::yield_now();
    }
    let io = std::thread::spawn(move || {
        defer_wakes();
        let tickets = [submit(&queue, 0, 1), submit(&queue, 1, 1)];
        assert_eq!(queue.line.lock().woken, 0);
        wake_touched();
        puller.join().unwrap();
        tickets.map(|mut t| data_of(&mut t))
    });
    assert_eq!(io.join().unwrap(), [[0, 0], [1, 1]]);
}

#[test]
fn an_aborted_queue_answers_everything_still_in_line() {
    let queue = queue(batched());
    let mut ticket = submit(&queue, 0, 1);
    assert_eq!(queue.abort(&Error::new(ErrorCode::Unavailable, "stopping")), 1);
    assert_eq!(reply(&mut ticket).unwrap().unwrap_err().code, ErrorCode::Unavailable);
    assert!(queue.next_batch().is_none());
}

/// Two outputs, of which requests ask for one or both.
#[test]
fn an_oversize_request_for_one_output_is_whole_whoever_shares_its_last_batch() {
    let signature = Signature {
        inputs: vec![spec("x")],
        outputs: vec![spec("y"), spec("z")],
        left_out: vec![],
        ..Signature::default()
    };
    let queue = Queue::new(Stats::new("m", 1), signature, batched(), None);
    let asking = |first, rows, outputs| {
        let mut one = Arc::into_inner(pending(&queue, first, rows, None)).unwrap();
        one.prepared.outputs = outputs;
        queue.push(Arc::new(one)).unwrap()
    };
    let mut big = asking(0, 6, vec![whole(1)]);
    let mut both = asking(50, 1, vec![whole(0), whole(1)]);
    while let Some(mut batch) = (queue.depth().0 > 0).then(|| queue.next_batch().unwrap()) {
        let (shape, data) = batch.gather().unwrap()[0].clone().unwrap();
        let negated: Vec<u8> =
            data.chunks(4).flat_map(|v| (-i32::from_le_bytes(v.try_into().unwrap())).to_le_bytes()).collect();
        let view = |place: usize| OutputView {
            datatype: Datatype::Int32,
            shape: shape.clone(),
            data: if place == 0 { &data } else { &negated },
        };
        let views: Vec<_> = batch.outputs().iter().map(|&place| view(place)).collect();
        batch.complete(&views).unwrap();
    }
    assert_eq!(data_of(&mut big), (0..6).flat_map(|v| [-v, -v]).collect::<Vec<i64>>());
    assert_eq!(data_of(&mut both), [50, 50]);
}

#[test]
fn a_puller_is_woken_also_by_a_thread_that_never_sleeps() {
    let queue = queue(batched());
    let puller = {
        let queue = queue.clone();
        std::thread::spawn(move || queue.next_batch().map(echo))
    };
    while queue.line.lock().waiting == 0 {
        std::thread::yield_now();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let touched = defer_wakes();
        tokio::spawn(async move {
            touched.notified().await;
            wake_touched();
        });
        tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let _ticket = submit(&queue, 0, 1);
        while !puller.is_finished() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn fault_106_a_batch_is_abandoned_once_its_last_caller_has_left_or_is_late() {
    let queue = queue(batched());
    let gone = submit(&queue, 1, 1);
    let late = Instant::now() + Duration::from_millis(40);
    let mut waits = queue.push(pending(&queue, 2, 1, Some(late))).expect("there is room");
    let batch = queue.next_batch().unwrap();
    assert!(!batch.is_abandoned());
    drop(gone);
    assert!(!batch.is_abandoned());
    std::thread::sleep(Duration::from_millis(50));
    assert!(batch.is_abandoned());
    batch.abandon();
    let reply = reply(&mut waits).expect("answered").expect_err("late");
    assert_eq!(reply.code, ErrorCode::Expired);
    let stats = queue.stats();
    assert_eq!(stats.abandoned_runs.load(Ordering::Relaxed), 1);
    assert_eq!(stats.failed_runs.load(Ordering::Relaxed), 0);
}
