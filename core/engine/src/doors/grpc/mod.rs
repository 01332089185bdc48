//! The gRPC door: a lean handler on hyper for what the tables of services name; tonic's
//! services (health, reflection) behind it on the same port.

mod decode;
mod library;
mod services;
mod stream;
mod unary;
pub mod wire;

pub use library::Services as LibraryServices;

use super::incoming::Incoming;
use super::lifetime::Busy;
use super::{Io, Shared};
use crate::ids;
use crate::stats::Protocol;
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
        Found::Elsewhere => return library::serve(&io, request, busy).await,
    };
    match (open(&io.shared, &request, false), method) {
        (Ok(head), Ok(&Method { name, kind: Kind::Stream(messages), .. })) => {
            stream::open(io, name, messages, head, request, busy)
        }
        (Ok(head), method) => unary::other(&io.shared, method, head, request).await,
        (Err(refusal), _) => *refusal,
    }
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
