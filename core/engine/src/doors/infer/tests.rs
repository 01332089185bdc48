use super::*;
use crate::codec::compression::Encoding;
use crate::codec::json::InferAnswer;
use crate::codec::{InputTensor, Payload};
use crate::doors::test_config::config;
use crate::permits::Permits;
use crate::queue::Options;
use crate::routes::Route;
use crate::stats::Stats;
use crate::tensor::schema::{Declared, Field, Text};
use crate::tensor::{Datatype, Shape, TensorSpec};
use std::future::Future;
use std::pin::pin;
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
    let decoded =
        DecodedRequest { request, encode, deadline: None, reservation, steering: None, by_signature };
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
