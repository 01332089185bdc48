use super::*;
use crate::checks::{Checks, Constraint};
use crate::codec::compression::Encoding;
use crate::codec::json::InferAnswer;
use crate::codec::{InputTensor, Payload};
use crate::doors::test_config::config;
use crate::error::{Error, ErrorCode};
use crate::permits::Permits;
use crate::queue::Options;
use crate::queue::Queue;
use crate::routes::Reference;
use crate::routes::{Route, Shadow};
use crate::shared_memory::{Regions, Rules as RegionRules};
use crate::stats::Protocol;
use crate::stats::Stats;
use crate::tensor::Signature;
use crate::tensor::schema::{Declared, Field, Text};
use crate::tensor::{Datatype, Shape, TensorSpec};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context as Polling, Poll, Waker};

/// x: FP32 [-1, 2], of columns in this order.
fn version(number: u64, columns: [&str; 2]) -> Arc<Queue> {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: Datatype::Fp32,
        shape: vec![-1, 2],
        optional: false,
        described: None,
        labels: None,
    };
    let field = |name: &str| Field {
        name: Some(name.into()),
        datatype: Datatype::Fp64,
        shape: vec![],
        required: true,
        kind: "double".into(),
        text: Text::Itself,
        lists: 0,
    };
    let mut signature =
        Signature { inputs: vec![spec("x")], outputs: vec![spec("y")], ..Signature::default() };
    signature.schema.declared = Declared::Columns(columns.map(field).to_vec());
    Queue::new(Stats::new("m", number), signature, Options::default(), Some(Permits::new(1)))
}

fn publish(shared: &Shared, queue: &Arc<Queue>) {
    let number = queue.version();
    let route =
        Route { versions: [(number, queue.clone())].into(), default: Some(number), ..Route::default() };
    shared.publish(vec![("m".into(), route)], &[]);
}

fn request() -> InferRequest {
    let x = InputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: Shape::from_slice(&[1, 2]),
        payload: Payload::Raw(vec![0; 8].into()),
    };
    InferRequest { model: "m".into(), inputs: vec![x], ..InferRequest::default() }
}

/// What becomes of a request that version 1 was resolved for, when version 2 takes its place.
fn swapped(columns: [&str; 2], by_signature: bool) -> Poll<Reply> {
    let shared = Shared::new(config());
    let (first, second) = (version(1, ["p", "q"]), version(2, columns));
    publish(&shared, &first);
    let head = RequestHead {
        protocol: Protocol::Http,
        started: Instant::now(),
        method: "POST",
        path: "/models/m/invocations",
        request_id: None,
        replayed: false,
    };
    let mut guard = OutcomeGuard::open(&shared, head, || None);
    guard.resolve(Reference::to("m", "")).unwrap();
    publish(&shared, &second);
    first.close();
    let encode = Encode { form: &InferAnswer, encoding: Encoding::Identity };
    let (request, reservation) = (request(), shared.budget.reserve());
    let decoded = DecodedRequest {
        request,
        encode,
        deadline: None,
        reservation,
        steering: Steering::default(),
        by_signature,
    };
    let mailbox = Mailbox::new();
    pin!(run(&shared, &mailbox, decoded, &mut guard)).poll(&mut Polling::from_waker(Waker::noop()))
}

#[test]
fn what_a_version_laid_out_goes_to_no_other_that_asks_for_something_else() {
    let Poll::Ready(Err(error)) = swapped(["q", "p"], true) else { panic!("it went there") };
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.retry_after.is_some() && error.message.contains("changed its inputs"), "{error}");
    // Nothing is lost where the other asks for the same, or the request itself says what it brings.
    assert!(swapped(["p", "q"], true).is_pending());
    assert!(swapped(["q", "p"], false).is_pending());
}

fn checking(number: u64) -> Arc<Queue> {
    let queue = version(number, ["p", "q"]);
    let of = Constraint {
        feature: "x".into(),
        input: "x".into(),
        numbers: true,
        nan: true,
        infinite: true,
        ..Constraint::default()
    };
    queue.check_by(Some(Arc::new(Checks::new(queue.signature(), vec![of]).unwrap())));
    queue
}

#[test]
fn what_is_copied_to_be_checked_is_counted_once_though_its_version_closes_in_between() {
    let shared = Shared::new(config());
    let versions = [checking(1), checking(2)];
    publish(&shared, &versions[0]);
    let mut guard = OutcomeGuard::open(&shared, head(), || None);
    guard.resolve(Reference::to("m", "")).unwrap();
    publish(&shared, &versions[1]);
    versions[0].close();
    let name = format!("serving-checked-{}", std::process::id());
    let path = std::path::Path::new("/dev/shm").join(&name);
    std::fs::write(&path, [0; 8]).unwrap();
    let regions = Regions::new(RegionRules { enabled: true, max_regions: 1, max_bytes: 8 });
    regions.register("r", &name, 0, 8).unwrap();
    std::fs::remove_file(path).unwrap();
    let mut request = request();
    request.inputs[0].payload = Payload::Found(regions.slice("r", 0, 8).unwrap());
    let decoded = DecodedRequest {
        request,
        encode: Encode { form: &InferAnswer, encoding: Encoding::Identity },
        deadline: None,
        reservation: shared.budget.reserve(),
        steering: Steering::default(),
        by_signature: false,
    };
    let mailbox = Mailbox::new();
    let mut running = pin!(run(&shared, &mailbox, decoded, &mut guard));
    assert!(running.as_mut().poll(&mut Polling::from_waker(Waker::noop())).is_pending());
    assert_eq!((versions[1].depth().0, shared.budget.used()), (1, 8));
}

#[test]
fn a_shadow_without_any_output_asked_for_runs_and_shows_that_it_is_missing() {
    let shared = Shared::new(config());
    let (answering, other) = (version(1, ["p", "q"]), version(2, ["p", "q"]));
    let mut signature = other.signature().clone();
    signature.outputs[0].name = "z".into();
    let shadow = Queue::new(Stats::new("m", 2), signature, Options::default(), None);
    let route = Route {
        versions: [(1, answering.clone())].into(),
        default: Some(1),
        shadows: vec![Shadow { version: 2, rate: 1.0 }],
        beside: [(2, shadow.clone())].into(),
        ..Route::default()
    };
    shared.publish(vec![("m".into(), route)], &[]);
    let decoded = DecodedRequest {
        request: request(),
        encode: Encode { form: &InferAnswer, encoding: Encoding::Identity },
        deadline: None,
        reservation: shared.budget.reserve(),
        steering: Steering::default(),
        by_signature: false,
    };
    let (mailbox, mut guard) = (Mailbox::new(), OutcomeGuard::open(&shared, head(), || None));
    let mut running = pin!(run(&shared, &mailbox, decoded, &mut guard));
    assert!(running.as_mut().poll(&mut Polling::from_waker(Waker::noop())).is_pending());
    answer(&answering, None);
    answer(&shadow, None);
    let until = Instant::now() + Duration::from_secs(20);
    while shadow.stats().as_shadow().counts().compared == 0 {
        assert!(Instant::now() < until, "{:?}", shadow.stats().as_shadow().counts());
        std::thread::sleep(Duration::from_millis(1));
    }
    let outputs = shadow.report().outputs();
    let told: Vec<_> = outputs.iter().map(|one| (&*one.name, one.compared, one.missing)).collect();
    assert_eq!(told, [("z", 0, 0), ("y", 1, 1)]);
    assert_eq!(shadow.stats().as_shadow().counts().different, 1);
    shared.shadows.close();
}

/// Version 1 is the default one, and every draw falls to version 2.
struct Divided {
    shared: Arc<Shared>,
    default: Arc<Queue>,
    canary: Arc<Queue>,
}

const HELD: usize = 100;

impl Divided {
    fn new(columns: [&str; 2]) -> Self {
        let shared = Shared::new(config());
        let (default, canary) = (version(1, ["p", "q"]), version(2, columns));
        let versions = [(1, default.clone()), (2, canary.clone())].into();
        let weights = vec![(2, 1)];
        shared.publish(
            vec![("m".into(), Route { versions, default: Some(1), weights, ..Route::default() })],
            &[],
        );
        Divided { shared, default, canary }
    }

    fn decoded(&self, by_signature: bool) -> DecodedRequest<'static> {
        let encode = Encode { form: &InferAnswer, encoding: Encoding::Identity };
        let mut reservation = self.shared.budget.reserve();
        reservation.take(HELD).unwrap();
        let request = request();
        let steering = Steering::default();
        DecodedRequest { request, encode, deadline: None, reservation, steering, by_signature }
    }

    /// What becomes of a request that version 2 fails with `first`, and version 1, where it is asked,
    /// with `second`; and who was said to answer.
    fn asked(&self, first: ErrorCode, second: Option<ErrorCode>, by_signature: bool) -> (Reply, Option<u64>) {
        let mut guard = OutcomeGuard::open(&self.shared, head(), || None);
        let mailbox = Mailbox::new();
        let reply = {
            let mut running = pin!(run(&self.shared, &mailbox, self.decoded(by_signature), &mut guard));
            let mut poll = || running.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
            assert!(poll().is_pending());
            assert_eq!(self.shared.budget.used(), HELD);
            self.canary.next_batch().unwrap().fail(&Error::new(first, "the canary's"));
            match poll() {
                Poll::Ready(reply) => reply,
                Poll::Pending => {
                    assert_eq!(self.shared.budget.used(), HELD, "counted once");
                    answer(&self.default, second);
                    let Poll::Ready(reply) = poll() else { panic!("it was answered") };
                    reply
                }
            }
        };
        let by = guard.routed().map(|on| on.version);
        guard.close(reply.as_ref());
        (reply, by)
    }

    fn counts(&self) -> (u64, u64) {
        let sum =
            |counts: &[std::sync::atomic::AtomicU64]| counts.iter().map(|n| n.load(Ordering::Relaxed)).sum();
        let failed = self.canary.stats().fallbacks().map_or(0, |of| sum(&of.failed));
        let stood_in = self.default.stats().fallbacks().map_or(0, |of| sum(&of.stood_in));
        (failed, stood_in)
    }
}

fn head() -> RequestHead<'static, 'static> {
    RequestHead {
        protocol: Protocol::Grpc,
        started: Instant::now(),
        method: "ModelInfer",
        path: "",
        request_id: None,
        replayed: false,
    }
}

fn answer(queue: &Arc<Queue>, failure: Option<ErrorCode>) {
    let mut batch = queue.next_batch().unwrap();
    if let Some(word) = failure {
        return batch.fail(&Error::new(word, "the default version's"));
    }
    let gathered = batch.gather().unwrap();
    let (shape, data) = gathered[0].clone().unwrap();
    let view = crate::queue::batch::OutputView { datatype: Datatype::Fp32, shape, data: &data };
    batch.complete(&[view]).unwrap();
}

#[test]
fn what_a_version_fails_to_which_weights_sent_it_the_default_one_answers() {
    let divided = Divided::new(["p", "q"]);
    for word in [ErrorCode::Internal, ErrorCode::Unavailable, ErrorCode::BadData, ErrorCode::Full] {
        let (reply, by) = divided.asked(word, None, true);
        assert!(reply.is_ok() && by == Some(1), "{word:?}");
    }
    assert_eq!(divided.counts(), (4, 4));
    assert_eq!(divided.shared.budget.used(), 0);
    let figures = crate::figures::Figures::of(divided.canary.stats());
    assert_eq!(figures.fell_back[1 + ErrorCode::BadData as usize], 1);
    assert_eq!(figures.outcomes, [[0; crate::figures::OUTCOMES]; 2], "no answer of its own");
    assert_eq!(crate::figures::Figures::of(divided.default.stats()).outcomes[0][0], 4);
}

#[test]
fn what_the_default_version_fails_too_is_failed_as_it_says() {
    let divided = Divided::new(["p", "q"]);
    let (reply, by) = divided.asked(ErrorCode::Internal, Some(ErrorCode::Unavailable), false);
    let error = reply.unwrap_err();
    assert_eq!((error.code, &*error.message, by), (ErrorCode::Unavailable, "the default version's", Some(1)));
    assert_eq!(divided.counts(), (1, 1));
}

#[test]
fn what_neither_takes_is_nobodys_failure() {
    let divided = Divided::new(["p", "q"]);
    for word in [ErrorCode::BadData, ErrorCode::BadRequest] {
        assert_eq!(divided.asked(word, Some(word), false).0.unwrap_err().code, word);
    }
    assert_eq!(divided.counts(), (0, 2));
}

#[test]
fn what_a_version_keeps_waiting_the_default_one_answers_and_it_runs_on_for_nobody() {
    let mut divided = Divided::new(["p", "q"]);
    let shared = Arc::get_mut(&mut divided.shared).unwrap();
    shared.config.patience = Some(Duration::from_millis(5));
    let mut guard = OutcomeGuard::open(&divided.shared, head(), || None);
    let (canary, default) = (divided.canary.clone(), divided.default.clone());
    let hanging = std::thread::spawn(move || {
        let batch = canary.next_batch().unwrap();
        answer(&default, None);
        batch.is_abandoned()
    });
    let mut decoded = divided.decoded(false);
    decoded.deadline = Some(Instant::now() + Duration::from_millis(400));
    let mailbox = Mailbox::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let reply = runtime.block_on(async {
        tokio::select! {
            reply = run(&divided.shared, &mailbox, decoded, &mut guard) => reply,
            () = mailbox.dispatch() => unreachable!("it goes on"),
        }
    });
    assert!(reply.is_ok() && guard.routed().unwrap().version == 1);
    assert!(hanging.join().unwrap());
    let late = crate::figures::Figures::of(divided.canary.stats()).fell_back;
    assert_eq!(late[1 + ErrorCode::Expired as usize], 1);
    assert_eq!((divided.counts(), divided.shared.budget.used()), ((1, 1), 0));
}

#[test]
fn what_no_other_version_can_mend_is_asked_of_none() {
    let divided = Divided::new(["p", "q"]);
    let (reply, by) = divided.asked(ErrorCode::Expired, None, false);
    assert_eq!((reply.unwrap_err().code, by), (ErrorCode::Expired, Some(2)));
    // Laid out as version 2 asks for it, which version 1 would misread.
    let divided = Divided::new(["q", "p"]);
    let (reply, by) = divided.asked(ErrorCode::Internal, None, true);
    assert_eq!((reply.unwrap_err().code, by), (ErrorCode::Internal, Some(2)));
    assert_eq!(divided.counts(), (0, 0));
}
