use super::*;
use crate::codec::mlflow::{Table, decode_table};
use crate::doors::http::mlflow::PROTOCOL;
use crate::doors::http::protocol::Kind;
use crate::doors::test_config::config;
use crate::permits::Permits;
use crate::queue::Options;
use crate::routes::Route;
use crate::stats::Stats;
use crate::tensor::{Datatype, Signature, TensorSpec};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Polling, Waker};

/// A server with the model m, which takes x: FP32 [-1, -1].
fn server() -> Arc<Shared> {
    let x = TensorSpec {
        name: "x".into(),
        datatype: Datatype::Fp32,
        shape: vec![-1, -1],
        optional: false,
        described: None,
        labels: None,
    };
    let signature = Signature { inputs: vec![x], ..Signature::default() };
    let queue = Queue::new(Stats::new("m", 1), signature, Options::default(), Some(Permits::new(1)));
    let route = Route { versions: [(1, queue)].into(), default: Some(1), ..Route::default() };
    let shared = Shared::new(config());
    shared.publish(vec![("m".into(), route)], &[]);
    shared
}

/// A table of `columns` with long names, and `rows` of one cell each.
fn table(columns: usize, rows: usize) -> Bytes {
    let names: Vec<String> = (0..columns).map(|i| format!("{i:0>150}")).collect();
    format!("{}\n{}", names.join(","), "1\n".repeat(rows)).into()
}

#[tokio::test]
async fn what_stands_for_much_is_decoded_away_from_the_io_thread() {
    let shared = server();
    let path = "/models/m/invocations";
    let Some(Ok((Kind::Infer(bodies), _))) = PROTOCOL.find(&http::Method::POST, path) else { panic!() };
    for (rows, at_once) in [(100, true), (800, false)] {
        let head = RequestHead {
            protocol: Door::Http,
            started: Instant::now(),
            method: "POST",
            path,
            request_id: None,
            replayed: false,
        };
        let mut guard = OutcomeGuard::open(&shared, head, || None);
        let asked = Asked { bodies, reference: Reference::to("m", ""), steering: Steering::default() };
        let body = table(200, rows);
        assert!(body.len() <= DECODE_INLINE);
        let kind = Some("text/csv".to_owned());
        let mut decoding =
            pin!(decode(&shared, asked, kind, body.clone(), None, shared.budget.reserve(), &mut guard));
        let first = decoding.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
        let ((request, _), held, by_signature) = match first {
            std::task::Poll::Ready(done) => {
                assert!(at_once);
                done.unwrap()
            }
            std::task::Poll::Pending => {
                assert!(!at_once);
                decoding.await.unwrap()
            }
        };
        assert!(by_signature);
        assert_eq!(request.inputs[0].shape.as_slice(), [rows as i64, 200]);
        // What was begun here and given up counts no more.
        let mut once = shared.budget.reserve();
        let signature = shared.routes.resolve(asked.reference).unwrap().queue;
        decode_table(&crate::stop::NEVER, &body, Table::Csv, signature.signature(), &mut once).unwrap();
        assert_eq!(held.bytes(), once.bytes());
    }
}
