//! The HTTP door: what the tables of protocols name, over HTTP/1.1 and h2c.

mod answer;
mod cloud_event;
mod cors;
mod infer;
mod monitoring;
mod oip;
mod others;
mod protocol;
mod request;
mod tensorflow;
mod web;

use super::incoming::Incoming;
use super::lifetime::Busy;
use super::{Io, Shared, expectation, signpost};
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use answer::in_grpc;
use bytes::Bytes;
use cors::Cors;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use protocol::{Kind, Named, Protocol};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

/// What is asked for most stands first; the first one answers for paths that are nobody's.
static PROTOCOLS: [&Protocol; 3] = [&oip::PROTOCOL, &tensorflow::PROTOCOL, &web::PROTOCOL];

/// One request; what it leaves unread of its body is the caller's. `busy` is held until it is
/// answered. What is not inference is boxed, as on the gRPC door.
pub async fn handle(
    io: Arc<Io>,
    request: Request<&mut Incoming>,
    busy: Busy,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let shared = &io.shared;
    let _in_flight = shared.enter();
    let started = Instant::now();
    let client_id = ids::from_client(request.headers()).map(str::to_owned);
    let http1 = request.version() <= Version::HTTP_11;
    let grpc = signpost::is_grpc(&request);
    let cors = Cors::of(&shared.config.web.cors_origins, &request);
    let (protocol, target) = if grpc {
        (&oip::PROTOCOL, Err(signpost::wrong_door(shared)))
    } else if cors.is_preflight() {
        (&oip::PROTOCOL, Ok((Kind::Local(cors::preflight), Named::default())))
    } else {
        target(shared, &request)
    };
    let id = client_id.as_deref();
    let mut response = match target {
        Ok((Kind::Infer(bodies), named)) => {
            infer::answer(&io, started, id, (protocol, bodies), named, request, &busy).await
        }
        target => Box::pin(others::answer(shared, started, id, (protocol, target), request, &busy)).await,
    };
    if grpc {
        response = in_grpc(response, &signpost::wrong_door(shared));
    }
    if let Some(id) = client_id {
        ids::put(response.headers_mut(), &id);
    }
    cors.put(response.headers_mut());
    // On a draining server a kept-alive connection ends with the answer it waits for;
    // so does one whose body was refused unread.
    if http1 && (busy.is_unread() || *shared.draining.borrow()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What a request names, and whose errors it understands.
fn target<B>(shared: &Shared, request: &Request<B>) -> (&'static Protocol, Result<(Kind, Named)>) {
    let (method, path) = (request.method(), request.uri().path());
    let found = PROTOCOLS.iter().find_map(|&protocol| Some((protocol, protocol.find(method, path)?)));
    let (protocol, target) =
        found.unwrap_or_else(|| (PROTOCOLS[0], Err(Error::new(ErrorCode::NotFound, "Not Found"))));
    let target = signpost::directed(shared, method, path, target)
        .and_then(|target| expectation::check(request).map(|()| target));
    (protocol, target)
}
