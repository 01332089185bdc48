//! Copies of requests: behind all others, in batches and figures of their own, bounded, and compared.

use super::*;
use crate::error::ErrorCode;
use crate::events::Events;
use crate::figures::Figures;
use crate::queue::pending::Beside;
use crate::shadow::{Copy, Facts, Original, Rules as ShadowRules, Shadows, Source, Sweep};
use crate::stats::Protocol;
use crate::stats::shadow::{ShadowCounts, Uncompared};

struct World {
    budget: Arc<Budget>,
    shadows: Arc<Shadows>,
    /// Answers.
    primary: Arc<Queue>,
    shadow: Arc<Queue>,
}

impl World {
    fn new() -> Self {
        World::with(ShadowRules::default())
    }

    fn with(rules: ShadowRules) -> Self {
        let budget = Budget::new(1 << 30);
        let shadows = Shadows::new(budget.clone(), Arc::new(Events::default()));
        shadows.set(rules);
        World { budget, shadows, primary: queue(batched()), shadow: queue(batched()) }
    }

    /// A request that holds what its input has, and a copy of it in the shadow's line.
    fn ask(&self, first: i32, rows: i32) -> Ticket {
        let prepared = prepared(first, rows);
        let mut reservation = self.budget.reserve();
        reservation.take(prepared.bytes).unwrap();
        let original = self.original(&prepared);
        let source = Some(Beside::Source(Source::of(&original)));
        let meta = RequestMeta { reservation, ..meta(first, None) };
        let ticket = self.primary.push(Pending::with(&self.primary, prepared.clone(), meta, source)).unwrap();
        self.copy(&original, prepared);
        ticket
    }

    fn original(&self, prepared: &Prepared) -> Arc<Original> {
        let facts = Facts {
            id: None,
            request_id: "r".into(),
            protocol: Protocol::Grpc,
            version: 1,
            inputs: prepared.inputs.clone(),
            bytes: prepared.bytes,
        };
        self.shadows.begin(facts).unwrap()
    }

    fn copy(&self, original: &Arc<Original>, prepared: Prepared) {
        let place = self.shadow.place_for_copy(64).unwrap();
        let copy = Copy::new(original, self.shadow.report(), self.shadow.stats(), place);
        let meta = RequestMeta { id: None, ..meta(0, Some(original.deadline)) };
        let pending = Pending::with(&self.shadow, prepared, meta, Some(Beside::Copy(copy)));
        self.shadow.push_copy(pending, &self.shadows);
    }

    fn counts(&self) -> ShadowCounts {
        self.shadow.stats().as_shadow().counts()
    }

    /// What is compared is by another thread.
    fn wait_compared(&self, count: u64) {
        let until = Instant::now() + Duration::from_secs(20);
        while self.counts().compared < count {
            assert!(Instant::now() < until, "{:?}", self.counts());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shadows.close();
    }
}

fn prepared(first: i32, rows: i32) -> Prepared {
    Arc::into_inner(pending(&queue(batched()), first, rows, None)).unwrap().prepared
}

/// Answer with what every element has `more` of.
fn answer(mut batch: Batch, more: i32) {
    let gathered = batch.gather().unwrap();
    let (shape, data) = gathered[0].clone().unwrap();
    let plus = |raw: &[u8; 4]| (i32::from_le_bytes(*raw) + more).to_le_bytes();
    let data: Vec<u8> = data.as_chunks::<4>().0.iter().flat_map(plus).collect();
    batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).unwrap();
}

#[test]
fn copies_come_after_all_requests_and_never_into_their_batches() {
    let world = World::new();
    let _first = world.ask(0, 1);
    let _second = world.ask(1, 1);
    let _named = submit(&world.shadow, 5, 1);
    let batch = world.shadow.next_batch().unwrap();
    assert_eq!((batch.requests(), batch.is_of_copies()), (1, false));
    drop(batch);
    let _named = submit(&world.shadow, 6, 1);
    assert!(!world.shadow.next_batch().unwrap().is_of_copies(), "though copies came before it");
    let batch = world.shadow.next_batch().unwrap();
    assert_eq!((batch.requests(), batch.is_of_copies()), (2, true));
    assert_eq!(world.shadow.depth().0, 0);
}

#[test]
fn answers_are_compared_whichever_comes_first_and_in_no_figure_of_requests() {
    let world = World::new();
    let (mut first, mut second) = (world.ask(0, 2), world.ask(7, 1));
    answer(world.shadow.next_batch().unwrap(), 0);
    answer(world.primary.next_batch().unwrap(), 0);
    world.wait_compared(2);
    assert_eq!(data_of(&mut first), [0, 0, 1, 1]);
    assert_eq!(data_of(&mut second), [7, 7]);
    let mut third = world.ask(9, 1);
    answer(world.primary.next_batch().unwrap(), 1);
    assert_eq!(data_of(&mut third), [10, 10], "nobody waited for the copy");
    answer(world.shadow.next_batch().unwrap(), 0);
    world.wait_compared(3);
    let counts = world.counts();
    assert_eq!((counts.compared, counts.different), (3, 1));
    let [output] = &world.shadow.report().outputs()[..] else { panic!("one output") };
    assert_eq!((output.compared, output.different, output.elements), (3, 1, 8));
    assert_eq!(output.different_elements, 2);
    let [example] = &world.shadow.report().examples()[..] else { panic!("one example") };
    let data = |tensors: &[crate::observe::sample::Tensor]| tensors[0].data[..4].to_vec();
    assert_eq!(data(&example.inputs), 9i32.to_le_bytes());
    assert_eq!(data(&example.given), 10i32.to_le_bytes());
    assert_eq!(data(&example.shadow), 9i32.to_le_bytes());
    let figures = Figures::of(world.shadow.stats());
    assert_eq!((figures.rows, figures.runs, figures.queued.count), (0, 0, 0));
    assert_eq!((figures.in_flight_requests, figures.queue_requests, figures.asked), (0, 0, [false; 2]));
    assert_eq!(figures.shadow.unwrap().compute.all(), 2);
}

#[test]
fn what_copies_hold_is_counted_once_and_given_back_with_the_last() {
    let world = World::new();
    let ticket = world.ask(0, 3);
    let input = 3 * 2 * 4;
    assert_eq!(world.budget.used(), input, "the request's own");
    assert!(world.shadows.held() >= input);
    answer(world.primary.next_batch().unwrap(), 0);
    drop(ticket);
    assert_eq!(world.budget.used(), 2 * input, "the copy's now, and the answer that is kept for it");
    answer(world.shadow.next_batch().unwrap(), 0);
    world.wait_compared(1);
    let until = Instant::now() + Duration::from_secs(20);
    while (world.budget.used(), world.shadows.held()) != (0, 0) {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}

#[test]
fn a_request_that_fails_leaves_nothing_to_compare_with() {
    let world = World::new();
    let first = world.ask(0, 1);
    world.primary.next_batch().unwrap().fail(&Error::new(ErrorCode::Internal, "no"));
    drop(first);
    answer(world.shadow.next_batch().unwrap(), 0);
    let left = world.ask(1, 1);
    drop(left);
    answer(world.shadow.next_batch().unwrap(), 0);
    let counts = world.counts();
    assert_eq!(counts.uncompared[Uncompared::Failed as usize], 2);
    assert_eq!((counts.compared, world.budget.used(), world.shadows.held()), (0, 0, 0));
}

#[test]
fn copies_that_fail_are_not_run_again_and_fail_nobody_else() {
    let world = World::new();
    let (mut first, _second) = (world.ask(0, 1), world.ask(1, 1));
    let batch = world.shadow.next_batch().unwrap();
    let Err(batch) = batch.split() else { panic!("copies run once") };
    batch.fail(&Error::new(ErrorCode::BadData, "no"));
    assert_eq!(world.counts().failed[ErrorCode::BadData as usize], 2);
    let figures = Figures::of(world.shadow.stats());
    assert_eq!((figures.runs_failed, figures.fail.count), (0, 0));
    answer(world.primary.next_batch().unwrap(), 0);
    assert_eq!(data_of(&mut first), [0, 0]);
}

#[test]
fn copies_that_are_too_old_are_dropped_though_nobody_pulls() {
    let world = World::with(ShadowRules { timeout: Duration::from_millis(20), ..ShadowRules::default() });
    let (first, _second) = (world.ask(0, 1), world.ask(1, 1));
    answer(world.primary.next_batch().unwrap(), 0);
    drop(first);
    let until = Instant::now() + Duration::from_secs(20);
    while world.counts().dropped[Dropped::Late as usize] < 2 {
        assert!(Instant::now() < until, "{:?}", world.counts());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(Sweep::sweep(&*world.shadow, Instant::now()), None);
}

#[test]
fn an_answer_is_not_kept_for_a_copy_that_runs_on_and_on() {
    let world = World::new();
    let ticket = world.ask(0, 1);
    answer(world.primary.next_batch().unwrap(), 0);
    drop(ticket);
    let batch = world.shadow.next_batch().unwrap();
    let later = Instant::now() + world.shadows.rules().timeout;
    assert_eq!(world.shadow.sweep(later), None);
    answer(batch, 0);
    assert_eq!(world.counts().uncompared[Uncompared::Late as usize], 1);
}

#[test]
fn a_version_that_leaves_drops_its_copies() {
    for abort in [false, true] {
        let world = World::new();
        let _ticket = world.ask(0, 1);
        if abort {
            assert_eq!(world.shadow.abort(&expired()), 0, "no request was in line");
        } else {
            world.shadow.close();
        }
        assert!(world.shadow.next_batch().is_none());
        let _ticket = world.ask(1, 1);
        assert_eq!(world.counts().dropped[Dropped::Leaving as usize], 2);
    }
}

#[test]
fn copies_are_bounded_by_number_and_by_bytes() {
    let world = World::with(ShadowRules { bytes: 10_000, ..ShadowRules::default() });
    let facts = |bytes| Facts {
        id: None,
        request_id: String::new(),
        protocol: Protocol::Http,
        version: 1,
        inputs: Vec::new(),
        bytes,
    };
    assert!(world.shadows.begin(facts(10_000)).is_none());
    let first = world.shadows.begin(facts(4_000));
    assert!(first.is_some() && world.shadows.begin(facts(4_000)).is_none());
    drop(first);
    assert!(world.shadows.begin(facts(4_000)).is_some());
    let mut others = world.budget.reserve();
    others.take((1 << 29) + 1).unwrap();
    assert!(world.shadows.begin(facts(1)).is_none(), "more than half of the budget is held");
    let places: Vec<_> = (0..3).map(|_| world.shadow.place_for_copy(2)).collect();
    assert_eq!(places.iter().flatten().count(), 2);
}

#[test]
fn a_copy_of_more_rows_than_a_batch_is_compared_whole() {
    let world = World::new();
    let mut ticket = world.ask(0, 9);
    for queue in [&world.primary, &world.shadow] {
        for _ in 0..3 {
            answer(queue.next_batch().unwrap(), 0);
        }
    }
    world.wait_compared(1);
    assert_eq!(data_of(&mut ticket).len(), 18);
    assert_eq!((world.counts().different, world.shadow.report().outputs()[0].elements), (0, 18));
}

#[test]
fn the_last_examples_are_kept_and_no_tensors_of_large_ones() {
    let world = World::with(ShadowRules { examples: 2, example_bytes: 40, ..ShadowRules::default() });
    let tickets: Vec<_> = [(1, 1), (2, 1), (3, 1), (4, 2)].map(|(first, rows)| world.ask(first, rows)).into();
    for _ in 0..2 {
        answer(world.primary.next_batch().unwrap(), 1);
        answer(world.shadow.next_batch().unwrap(), 0);
    }
    drop(tickets);
    world.wait_compared(4);
    let kept: Vec<_> = world.shadow.report().examples().into_iter().map(|one| one.inputs.len()).collect();
    assert_eq!(kept, [0, 1], "the newest first, whose tensors are 48 bytes");
}
