//! The gRPC door: a lean handler on hyper for what the tables of services name.

mod decode;
mod exchange;
mod services;
mod stream;
mod unary;
mod watch;
pub mod wire;

use super::incoming::Incoming;
use super::lifetime::Busy;
use super::{Io, Shared};
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::stats::Protocol;
use crate::tensor::shown;
use http::{Request, Response};
use services::{Found, Kind, Method};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use wire::answer::{GrpcBody, failure, refuse};
use wire::request::Head;

type Answered = std::result::Result<Response<GrpcBody>, Infallible>;

/// One request. `busy` is held until it is answered, by a stream until that ends.
/// What is not inference is boxed: a future is as large as its largest arm, and is
/// moved several times.
pub async fn handle(io: Arc<Io>, request: Request<Incoming>, busy: Busy) -> Answered {
    let _in_flight = io.shared.enter();
    let response = match services::find(request.uri().path()) {
        Found::Method(&Method { name, kind: Kind::Infer(messages), .. }) => {
            let _busy = busy;
            match open(&io.shared, &request, true) {
                Ok(head) => unary::infer(&io, name, messages, head, request).await,
                Err(refusal) => *refusal,
            }
        }
        found => Box::pin(others(io, found, request, busy)).await,
    };
    Ok(response)
}

async fn others(io: Arc<Io>, found: Found, request: Request<Incoming>, busy: Busy) -> Response<GrpcBody> {
    let method = match found {
        Found::Method(method) => Ok(method),
        Found::NoMethod(service) => Err(service),
        Found::Nothing => return unknown(&io.shared, &request),
    };
    match (open(&io.shared, &request, false), method) {
        (Ok(head), Ok(&Method { name, kind: Kind::Stream(streamed), .. })) => {
            stream::open(io, name, streamed, head, request, busy)
        }
        (Ok(head), Ok(method @ &Method { kind: Kind::Watch(watch), .. })) => {
            watch::open(&io.shared, method, watch, head, request, busy).await
        }
        (Ok(head), Ok(method @ &Method { kind: Kind::Exchange(answers), .. })) => {
            exchange::open(&io.shared, method, answers, head, request, busy)
        }
        (Ok(head), method) => unary::other(&io.shared, method, head, request).await,
        (Err(refusal), _) => *refusal,
    }
}

/// Nobody reads what was sent.
fn unknown(shared: &Shared, request: &Request<Incoming>) -> Response<GrpcBody> {
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    let id = ids::from_client(request.headers()).map_or_else(ids::make, str::to_owned);
    let error = Error::new(ErrorCode::Unimplemented, unknown_service(request.uri().path()));
    shared.report(Protocol::Grpc, &id, "", &error);
    failure(&error, Some(&id))
}

fn unknown_service(path: &str) -> String {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let whose = if service.starts_with("tensorflow.") { ", which is TensorFlow Serving's" } else { "" };
    format!(
        "unknown service '{}'{whose}: expected inference.GRPCInferenceService (the Open Inference \
         Protocol), tensorflow.serving.PredictionService or ModelService, grpc.health.v1.Health or gRPC's \
         reflection",
        shown(service)
    )
}

/// Read the head, or refuse with the answer.
fn open(
    shared: &Shared,
    request: &Request<Incoming>,
    infers: bool,
) -> std::result::Result<Head, Box<Response<GrpcBody>>> {
    if let Some(refusal) = refuse(shared, request) {
        return Err(Box::new(refusal));
    }
    Head::read(shared, request.headers()).map_err(|error| {
        let id = ids::from_client(request.headers()).map_or_else(ids::make, str::to_owned);
        if infers {
            shared.unresolved.answered(Protocol::Grpc, Err(error.code), Duration::ZERO);
        }
        shared.report(Protocol::Grpc, &id, "", &error);
        Box::new(failure(&error, Some(&id)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_another_service_learns_which_is_spoken_here() {
        for (path, part) in [
            ("/tensorflow.serving.SessionService/SessionRun", "which is TensorFlow Serving's"),
            ("/x.Y/Z", "unknown service 'x.Y': expected inference.GRPCInferenceService"),
            ("/", "unknown service ''"),
        ] {
            let words = unknown_service(path);
            assert!(words.contains(part), "{path}: {words}");
        }
    }
}
