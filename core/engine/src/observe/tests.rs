use super::*;
use crate::codec::answer::Encode;
use crate::codec::compression::Encoding;
use crate::codec::json::InferAnswer;
use crate::codec::{InferRequest, InputTensor, Payload};
use crate::doors::Shared;
use crate::doors::infer::{self, DecodedRequest, OutcomeGuard, RequestHead};
use crate::doors::steering::Steering;
use crate::doors::test_config::config;
use crate::error::{Error, ErrorCode};
use crate::fields::Value;
use crate::figures::{Figures, OUTCOMES};
use crate::permits::Permits;
use crate::queue::batch::OutputView;
use crate::queue::mailbox::Mailbox;
use crate::queue::{Batch, Options, Queue};
use crate::routes::Route;
use crate::stats::{Protocol, Stats};
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use trace::Context;

mod by_model;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OFF: Rules = Rules {
    trace_rate: 0.0,
    access_rate: 0.0,
    trace_parents: false,
    span_buffer: 1000,
    sample_buffer_bytes: 1 << 20,
    sample_max_bytes: 1 << 16,
    sample_replayed: false,
    statistics_samples: 0.0,
    statistics_values: 0.0,
};
const ALL: Rules = Rules { trace_rate: 1.0, access_rate: 1.0, ..OFF };

/// A server without doors, and the queue of its one model.
struct World {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

impl World {
    fn outcomes(&self) -> [u64; OUTCOMES] {
        Figures::of(self.queue.stats()).outcomes[Protocol::Http as usize]
    }

    fn new(rules: Option<Rules>) -> World {
        let spec = |name: &str| TensorSpec {
            name: name.into(),
            datatype: Datatype::Int32,
            shape: vec![-1, 2],
            optional: false,
            described: None,
            labels: None,
        };
        let signature = Signature {
            inputs: vec![spec("x")],
            outputs: vec![spec("y")],
            left_out: vec![],
            ..Signature::default()
        };
        let options = Options { max_rows: 4, max_queue_requests: 3, ..Options::default() };
        let queue = Queue::new(Stats::new("m", 7), signature, options, Some(Permits::new(1)));
        let shared = Shared::new(config());
        let route = Route { versions: [(7, queue.clone())].into(), default: Some(7), ..Route::default() };
        shared.publish(vec![("m".into(), route)], &[]);
        if let Some(rules) = rules {
            shared.observer.set(&rules);
        }
        World { shared, queue }
    }

    /// What a door does with a request of `rows` rows.
    fn ask(&self, model: &str, rows: i32, parent: Option<&'static str>) -> Asked {
        let shared = self.shared.clone();
        let data: Vec<u8> = (0..rows).flat_map(|v| [v, v]).flat_map(i32::to_le_bytes).collect();
        let request = InferRequest {
            model: model.into(),
            id: Some("own".into()),
            inputs: vec![InputTensor {
                name: "x".into(),
                datatype: "INT32".into(),
                shape: Shape::from_slice(&[i64::from(rows), 2]),
                payload: Payload::Raw(Bytes::from(data)),
            }],
            priority: 1,
            ..InferRequest::default()
        };
        Asked(Box::pin(async move {
            let request_head = RequestHead {
                protocol: Protocol::Http,
                started: Instant::now(),
                method: "POST",
                path: "/v2/models/m/infer",
                request_id: Some("r-1"),
                replayed: false,
            };
            let mut guard = OutcomeGuard::open(&shared, request_head, || {
                parent.and_then(|p| Context::parse(p.as_bytes()))
            });
            let reservation = shared.budget.reserve();
            let encode = Encode { form: &InferAnswer, encoding: Encoding::Identity };
            let decoded = DecodedRequest {
                request,
                encode,
                deadline: None,
                reservation,
                steering: Steering::default(),
                by_signature: false,
            };
            let outcome = infer::run(&shared, &Mailbox::new(), decoded, &mut guard).await;
            let record = guard.close(outcome.as_ref());
            (outcome.map(|_| ()), record)
        }))
    }

    fn spans(&self) -> Vec<Span> {
        self.shared.observer.spans.wait(Duration::ZERO).unwrap()
    }

    fn span(spans: &[Span], name: &str) -> Span {
        let mut found = spans.iter().filter(|s| s.name == name);
        let span = found.next().unwrap_or_else(|| panic!("no {name} in {spans:?}")).clone();
        assert!(found.next().is_none(), "two of {name}");
        span
    }

    fn samples(&self) -> Vec<Sample> {
        self.shared.observer.samples.wait(Duration::ZERO).unwrap()
    }

    fn records(&self) -> Vec<crate::events::Event> {
        self.shared.events.wait(Duration::ZERO).unwrap()
    }
}

type Finished = (Result<(), Error>, Option<Arc<RequestRecord>>);

struct Asked(Pin<Box<dyn Future<Output = Finished>>>);

impl Asked {
    /// Polled once; what it came to, when it is finished.
    fn poll(&mut self) -> Option<Finished> {
        match self.0.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(finished) => Some(finished),
            Poll::Pending => None,
        }
    }
}

fn echo(mut batch: Batch) {
    let gathered = batch.gather().unwrap();
    let (shape, data) = gathered[0].clone().unwrap();
    batch.complete(&[OutputView { datatype: Datatype::Int32, shape, data: &data }]).unwrap();
}

fn attribute(span: &Span, name: &str) -> Option<Value> {
    span.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
}

#[test]
fn nothing_is_noted_until_it_is_asked_for() {
    let world = World::new(None);
    world.queue.sample(1.0);
    let mut asked = world.ask("m", 1, Some(PARENT));
    assert!(asked.poll().is_none());
    echo(world.queue.next_batch().unwrap());
    let (outcome, record) = asked.poll().unwrap();
    assert!(outcome.is_ok() && record.is_none());
    assert!(world.spans().is_empty() && world.samples().is_empty() && world.records().is_empty());
    assert_eq!((world.shared.observer.spans.dropped(), world.shared.observer.samples.dropped()), (0, 0));
}

#[test]
fn a_request_s_spans_hang_together() {
    let world = World::new(Some(ALL));
    let mut first = world.ask("m", 1, Some(PARENT));
    let mut second = world.ask("m", 2, None);
    assert!(first.poll().is_none() && second.poll().is_none());
    echo(world.queue.next_batch().unwrap());
    let (outcome, record) = first.poll().unwrap();
    assert!(outcome.is_ok());
    let own = *record.unwrap().own().unwrap();
    let spans = world.spans();
    let (request, queue) = (World::span(&spans, "request"), World::span(&spans, "queue"));
    let (batch, run) = (World::span(&spans, "batch"), World::span(&spans, "run"));
    let parent = Context::parse(PARENT.as_bytes()).unwrap();
    assert_eq!((request.trace, request.span), (own.trace, own.span));
    assert_eq!((request.trace, request.parent), (parent.trace, Some(parent.span)));
    assert_eq!((queue.trace, queue.parent), (own.trace, Some(own.span)));
    assert_ne!(batch.trace, own.trace);
    assert_eq!((run.trace, run.parent, batch.parent), (batch.trace, Some(batch.span), None));
    assert!(batch.links.contains(&own) && batch.links.len() == 2);
    assert_eq!(request.links, [Context { trace: batch.trace, span: batch.span, sampled: true }]);
    assert!(request.start_ns <= queue.start_ns && queue.end_ns <= request.end_ns);
    assert!(batch.start_ns <= run.start_ns && run.end_ns <= batch.end_ns);
    for (name, value) in [
        ("model", "m".into()),
        ("version", 7usize.into()),
        ("route", "default".into()),
        ("protocol", "http".into()),
        ("rows", 1usize.into()),
        ("status", "ok".into()),
        ("request_id", "r-1".into()),
    ] {
        assert_eq!(attribute(&request, name), Some(value), "{name}");
    }
    assert_eq!(attribute(&batch, "rows"), Some(3usize.into()));
    assert_eq!(attribute(&batch, "requests"), Some(2usize.into()));
    assert!(spans.iter().all(|s| s.error.is_empty()));
    assert!(second.poll().unwrap().0.is_ok());
    assert_eq!(World::span(&world.spans(), "request").parent, None);
}

#[test]
fn who_only_brought_a_trace_gets_a_span_named_and_nothing_kept() {
    let world = World::new(Some(Rules { trace_rate: 1e-18, ..OFF }));
    let mut asked = world.ask("m", 1, Some(PARENT));
    assert!(asked.poll().is_none());
    echo(world.queue.next_batch().unwrap());
    let own = *asked.poll().unwrap().1.unwrap().own().unwrap();
    assert_eq!(own.trace, Context::parse(PARENT.as_bytes()).unwrap().trace);
    assert!(!own.sampled);
    assert!(world.spans().is_empty());
}

#[test]
fn a_caller_s_sampled_trace_starts_one_where_it_may() {
    let world = World::new(Some(Rules { trace_parents: true, ..OFF }));
    for (parent, count) in [(Some(PARENT), 4), (None, 0)] {
        let mut asked = world.ask("m", 1, parent);
        assert!(asked.poll().is_none());
        echo(world.queue.next_batch().unwrap());
        assert!(asked.poll().unwrap().0.is_ok());
        assert_eq!(world.spans().len(), count);
    }
}

#[test]
fn fault_98_one_who_left_is_told_as_such_and_still_costs_nothing() {
    let world = World::new(Some(ALL));
    world.queue.sample(1.0);
    let mut asked = world.ask("m", 1, None);
    assert!(asked.poll().is_none());
    drop(asked);
    assert_eq!(world.queue.depth(), (0, 0, 0));
    let spans = world.spans();
    assert_eq!(spans.len(), 2);
    assert_eq!(attribute(&World::span(&spans, "request"), "status"), Some("cancelled".into()));
    assert!(!World::span(&spans, "queue").error.is_empty());
    let sample = world.samples().remove(0);
    assert_eq!((sample.word, sample.outputs.len(), sample.inputs.len()), ("cancelled", 0, 1));
    assert_eq!(world.outcomes()[1 + ErrorCode::Cancelled as usize], 1);
}

#[test]
fn fault_98_one_who_leaves_a_running_batch_does_not_disturb_it() {
    let world = World::new(Some(ALL));
    world.queue.sample(1.0);
    let (mut stays, mut leaves) = (world.ask("m", 1, None), world.ask("m", 1, None));
    assert!(stays.poll().is_none() && leaves.poll().is_none());
    let batch = world.queue.next_batch().unwrap();
    drop(leaves);
    echo(batch);
    assert!(stays.poll().unwrap().0.is_ok());
    let words: Vec<_> = world.samples().iter().map(|s| s.word).collect();
    assert_eq!(words, ["cancelled", ""]);
    assert_eq!(World::span(&world.spans(), "batch").links.len(), 2);
}

#[test]
fn fault_98_failures_are_told_with_their_words_and_change_nothing() {
    let world = World::new(Some(ALL));
    world.queue.sample(1.0);
    let mut asked = world.ask("m", 1, None);
    assert!(asked.poll().is_none());
    let mut batch = world.queue.next_batch().unwrap();
    batch.gather().unwrap();
    batch.fail(&Error::new(ErrorCode::BadData, "an index is out of range").detail("secret"));
    assert_eq!(asked.poll().unwrap().0.unwrap_err().code, ErrorCode::BadData);
    let spans = world.spans();
    for name in ["request", "batch", "run"] {
        assert_eq!(World::span(&spans, name).error, "an index is out of range");
    }
    assert_eq!(World::span(&spans, "queue").error, "", "it waited well");
    let sample = world.samples().remove(0);
    assert_eq!((sample.word, sample.message.as_str()), ("bad_data", "an index is out of range"));
    assert!(sample.outputs.is_empty());

    let mut asked = world.ask("m", 1, None);
    assert!(asked.poll().is_none());
    world.queue.abort(&Error::new(ErrorCode::Unavailable, "it is leaving"));
    assert_eq!(asked.poll().unwrap().0.unwrap_err().code, ErrorCode::Unavailable);
    let spans = world.spans();
    assert_eq!(World::span(&spans, "queue").error, "it is leaving");
    assert_eq!(spans.len(), 2, "no batch");
}

#[test]
fn what_a_version_redacts_is_in_no_span_and_no_sample() {
    let world = World::new(Some(ALL));
    world.queue.sample(1.0);
    let fail = |error: &Error| {
        let mut asked = world.ask("m", 1, None);
        assert!(asked.poll().is_none());
        let mut batch = world.queue.next_batch().unwrap();
        batch.gather().unwrap();
        batch.fail(error);
        assert_eq!(&asked.poll().unwrap().0.unwrap_err(), error, "its client is told all");
        let spans = world.spans();
        let mut told: Vec<_> = ["request", "batch", "run"].map(|name| World::span(&spans, name).error).into();
        told.push(world.samples().remove(0).message);
        told.dedup();
        told
    };
    let quoting = Error::bad("expected 5, got 75").quoting("x", "too_large");
    world.queue.show_only(Some(vec!["y".into()]));
    assert_eq!(fail(&quoting), ["too_large"]);
    let [told] = &fail(&Error::bad("got 75"))[..] else { panic!("one text") };
    assert!(told.contains("redacted") && !told.contains("75"), "{told}");
    for shown in [Some(vec!["x".into()]), Some(vec!["x".into(), "y".into()]), None] {
        world.queue.show_only(shown);
        assert_eq!(fail(&quoting), ["expected 5, got 75"]);
    }
}

#[test]
fn a_batch_that_is_split_tells_each_run() {
    let world = World::new(Some(ALL));
    let (mut first, mut second) = (world.ask("m", 1, None), world.ask("m", 1, None));
    assert!(first.poll().is_none() && second.poll().is_none());
    let mut batch = world.queue.next_batch().unwrap();
    batch.gather().unwrap();
    let (good, mut bad) = batch.split().unwrap();
    echo(good);
    bad.gather().unwrap();
    bad.fail(&Error::bad("guilty"));
    assert!(first.poll().unwrap().0.is_ok());
    assert!(second.poll().unwrap().0.is_err());
    let spans = world.spans();
    let errors: Vec<_> = spans.iter().filter(|s| s.name == "batch").map(|s| s.error.as_str()).collect();
    assert_eq!(errors, ["the run failed; its requests are run again in halves", "", "guilty"]);
}

#[test]
fn unknown_models_and_refusals_have_a_request_span_and_no_sample() {
    let world = World::new(Some(ALL));
    world.queue.sample(1.0);
    assert_eq!(world.ask("absent", 1, None).poll().unwrap().0.unwrap_err().code, ErrorCode::NotFound);
    let spans = world.spans();
    assert_eq!(attribute(&World::span(&spans, "request"), "status"), Some("not_found".into()));
    assert_eq!(attribute(&World::span(&spans, "request"), "model"), Some("absent".into()));
    assert_eq!((spans.len(), world.samples().len()), (1, 0));
    // A full line: whole and valid, so it is sampled; and counted as this version's.
    let mut waiting: Vec<_> = (0..3).map(|_| world.ask("m", 1, None)).collect();
    assert!(waiting.iter_mut().all(|asked| asked.poll().is_none()));
    assert_eq!(world.ask("m", 1, None).poll().unwrap().0.unwrap_err().code, ErrorCode::Full);
    let sample = world.samples().remove(0);
    assert_eq!((sample.word, sample.compute), ("full", Duration::ZERO));
    assert_eq!(world.outcomes()[1 + ErrorCode::Full as usize], 1);
}

#[test]
fn a_sample_has_what_came_and_what_went_also_through_several_batches() {
    let world = World::new(Some(OFF));
    world.queue.sample(1.0);
    let mut asked = world.ask("m", 10, None);
    assert!(asked.poll().is_none());
    while world.queue.depth().0 > 0 {
        echo(world.queue.next_batch().unwrap());
    }
    assert!(asked.poll().unwrap().0.is_ok());
    let sample = world.samples().remove(0);
    let (input, output) = (&sample.inputs[0], &sample.outputs[0]);
    assert_eq!((&*input.name, &*output.name), ("x", "y"));
    assert_eq!((input.shape.as_slice(), output.shape.as_slice()), (&[10, 2][..], &[10, 2][..]));
    assert_eq!(input.data, output.data);
    assert_eq!((sample.model.as_str(), sample.version, sample.id.as_str()), ("m", 7, "own"));
    assert_eq!((sample.request_id.as_str(), sample.word, sample.priority), ("r-1", "", 1));
    assert!(sample.compute > Duration::ZERO && sample.queue + sample.compute <= sample.total);
    assert!(world.spans().is_empty());
}

#[test]
fn what_is_too_large_or_too_much_is_counted_and_not_kept() {
    let world =
        World::new(Some(Rules { sample_max_bytes: 40, sample_buffer_bytes: 2000, span_buffer: 3, ..ALL }));
    world.queue.sample(1.0);
    let run = |rows| {
        let mut asked = world.ask("m", rows, None);
        assert!(asked.poll().is_none());
        echo(world.queue.next_batch().unwrap());
        assert!(asked.poll().unwrap().0.is_ok());
    };
    let observer = &world.shared.observer;
    // Eight bytes a row, in and out: two rows fit, three do not.
    run(3);
    assert_eq!((observer.samples_too_large(), world.samples().len()), (1, 0));
    (0..5).for_each(|_| run(2));
    assert_eq!(observer.samples_too_large(), 1);
    let kept = world.samples().len() as u64;
    assert_eq!((kept, observer.samples.dropped()), (2, 3));
    assert_eq!((world.spans().len(), observer.spans.dropped()), (3, 4 * 6 - 3));
}

#[test]
fn statistics_get_so_many_a_second_whatever_others_draw() {
    let rules = Rules { statistics_samples: 1e6, statistics_values: 1e9, ..OFF };
    let run = |world: &World, rows| {
        let mut asked = world.ask("m", rows, None);
        assert!(asked.poll().is_none());
        echo(world.queue.next_batch().unwrap());
        assert!(asked.poll().unwrap().0.is_ok());
    };
    let taken = |rules, share, per_second, rows| {
        let world = World::new(Some(rules));
        world.queue.sample(share);
        world.queue.sample_for_statistics(per_second);
        (0..10).for_each(|_| run(&world, rows));
        let takers: Vec<_> = world.samples().iter().map(|sample| sample.takers).collect();
        let counted = |of: fn(&Takers) -> bool| takers.iter().filter(|&takers| of(takers)).count();
        (counted(|takers| takers.drawn), counted(|takers| takers.statistics))
    };
    // One a minute, so that none is saved up meanwhile.
    let rare = 1.0 / 60.0;
    assert_eq!(taken(rules, 0.0, rare, 1), (0, 1));
    assert_eq!(taken(rules, 1.0, rare, 1), (10, 1));
    assert_eq!(taken(rules, 0.0, 1e6, 1), (0, 10));
    // What all versions have together, in requests and in values.
    assert_eq!(taken(Rules { statistics_samples: rare, ..rules }, 0.0, 1e6, 1), (0, 1));
    assert_eq!(taken(Rules { statistics_values: rare, ..rules }, 0.0, 1e6, 1), (0, 1));
    assert_eq!(taken(OFF, 0.0, 1e6, 1), (0, 0));
    assert_eq!(taken(rules, 0.0, 0.0, 1), (0, 0));
}

#[test]
fn what_is_too_large_is_counted_for_whom_it_was() {
    let too_large = |share, per_second| {
        let all = f64::INFINITY;
        let rules = Rules { sample_max_bytes: 40, statistics_samples: all, statistics_values: all, ..OFF };
        let world = World::new(Some(rules));
        world.queue.sample(share);
        world.queue.sample_for_statistics(per_second);
        let mut asked = world.ask("m", 3, None);
        assert!(asked.poll().is_none());
        echo(world.queue.next_batch().unwrap());
        assert!(asked.poll().unwrap().0.is_ok());
        let observer = &world.shared.observer;
        (observer.samples_too_large(), observer.statistics_too_large())
    };
    assert_eq!([too_large(1.0, 0.0), too_large(0.0, f64::INFINITY)], [(1, 0), (0, 1)]);
}

#[test]
fn the_access_log_says_how_it_went() {
    let world = World::new(Some(Rules { access_rate: 1.0, ..OFF }));
    let mut asked = world.ask("m", 2, None);
    assert!(asked.poll().is_none());
    echo(world.queue.next_batch().unwrap());
    assert!(asked.poll().unwrap().0.is_ok());
    let record = world.records().remove(0);
    assert_eq!(record.event, "request");
    let field = |name: &str| record.fields.iter().find(|(key, _)| *key == name).map(|(_, v)| v.clone());
    for (name, value) in [
        ("request_id", "r-1".into()),
        ("protocol", "http".into()),
        ("method", "POST".into()),
        ("path", "/v2/models/m/infer".into()),
        ("model", "m".into()),
        ("version", 7usize.into()),
        ("route", "default".into()),
        ("status", "ok".into()),
        ("code", "200".into()),
        ("rows", 2usize.into()),
    ] {
        assert_eq!(field(name), Some(Value::clone(&value)), "{name}");
    }
    let Some(Value::Float(total)) = field("total_ms") else { panic!() };
    assert!(total > 0.0);
    assert_eq!(field("trace_id"), None);
}

#[test]
fn after_the_end_nothing_is_noted_and_waiting_ends() {
    let world = World::new(Some(ALL));
    world.shared.observer.close();
    drop(world.ask("m", 1, None));
    assert!(world.shared.observer.spans.wait(Duration::MAX).is_none());
    assert!(world.shared.observer.samples.wait(Duration::MAX).is_none());
}

#[test]
fn what_is_replayed_is_sampled_only_where_that_is_asked_for() {
    for (sample_replayed, wanted) in [(false, [true, false]), (true, [true, true])] {
        let world = World::new(Some(Rules { sample_replayed, ..OFF }));
        let observer = &world.shared.observer;
        assert_eq!([observer.takes_samples(false), observer.takes_samples(true)], wanted);
    }
}
