//! tonic's services (health, reflection) behind our own reader: it gets whole, small
//! messages, which came in time and are counted while they are held (fault 103).

use super::services::health::HealthService;
use super::wire::answer::{self, GrpcBody, Held};
use super::wire::request::{OPEN_STREAM, head_bytes};
use crate::doors::body::{Message, Messages};
use crate::doors::incoming::Incoming;
use crate::doors::lifetime::Busy;
use crate::doors::{Io, Shared, drain_begins};
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::stats::Protocol;
use crate::status;
use crate::tensor::shown;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;

/// Of one request: names of services, symbols and files.
const MAX_MESSAGE: usize = 64 << 10;
const HEALTH: &str = "/grpc.health.v1.Health/";
const REFLECTION: &str = "/grpc.reflection.";

pub async fn serve(io: &Io, request: Request<Incoming>, busy: Busy) -> Response<GrpcBody> {
    if let Some(refusal) = answer::refuse(&io.shared, &request) {
        return refusal;
    }
    let (parts, incoming) = request.into_parts();
    let budget = incoming.budget().clone();
    let mut open = budget.reserve();
    if let Err(error) = open.take(OPEN_STREAM + head_bytes(&parts.headers)) {
        return answer::failure(&error, ids::from_client(&parts.headers));
    }
    let messages = Messages::new(incoming, budget).at_most(MAX_MESSAGE);
    let (body, mut held) = match parts.uri.path() {
        path if path.starts_with(HEALTH) => match messages.only(&io.shared).await {
            Ok(message) => whole(message),
            Err(error) => {
                let id = ids::from_client(&parts.headers).map_or_else(ids::make, str::to_owned);
                io.shared.report(Protocol::Grpc, &id, "", &error);
                return answer::failure(&error, Some(&id));
            }
        },
        path if path.starts_with(REFLECTION) => {
            let held = Held::default();
            let stream = one_by_one(io.shared.clone(), messages, held.refusal.clone());
            (Body::new(StreamBody::new(stream)), held)
        }
        path => return unknown(&io.shared, path, ids::from_client(&parts.headers)),
    };
    held.open = Some(open);
    let response = io.tonic.call(Request::from_parts(parts, body)).await;
    response.map(|body| GrpcBody::Tonic(body, busy, held))
}

/// Nobody reads what was sent.
fn unknown(shared: &Shared, path: &str, client_id: Option<&str>) -> Response<GrpcBody> {
    let id = client_id.map_or_else(ids::make, str::to_owned);
    let error = Error::new(ErrorCode::Unimplemented, unknown_words(path));
    shared.report(Protocol::Grpc, &id, "", &error);
    answer::failure(&error, Some(&id))
}

fn unknown_words(path: &str) -> String {
    let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let whose = if service.starts_with("tensorflow.") { ", which is TensorFlow Serving's" } else { "" };
    format!(
        "unknown service '{}'{whose}: expected inference.GRPCInferenceService (the Open Inference \
         Protocol), grpc.health.v1.Health or gRPC's reflection",
        shown(service)
    )
}

fn whole(message: Message) -> (Body, Held) {
    let body = Body::new(Full::new(framed(&message)));
    (body, Held { message: Some(message.reservation), ..Held::default() })
}

/// A stream's messages, each whole. It ends when the server drains, or when nothing comes.
fn one_by_one(
    shared: Arc<Shared>,
    messages: Messages<Incoming>,
    refusal: Arc<OnceLock<Error>>,
) -> impl Stream<Item = Result<Frame<Bytes>, Status>> {
    let patience = shared.config.body_timeout;
    futures_util::stream::unfold(Some((messages, patience, None)), move |state| {
        let (shared, refusal) = (shared.clone(), refusal.clone());
        async move {
            // The message before has been decoded: its reservation ends here.
            let (mut messages, patience, _before) = state?;
            let mut draining = shared.draining.subscribe();
            let next = tokio::select! {
                () = drain_begins(&mut draining) => return None,
                next = tokio::time::timeout(patience, messages.next(&shared, None)) => next,
            };
            match next.unwrap_or_else(|_| Err(Error::new(ErrorCode::SlowBody, "no request came in time"))) {
                Ok(None) => None,
                Ok(Some(message)) => {
                    let frame = Frame::data(framed(&message));
                    Some((Ok(frame), Some((messages, shared.config.idle_timeout, Some(message.reservation)))))
                }
                Err(error) => {
                    let status = Status::new(i32::from(status::grpc_code(error.code)).into(), &error.message);
                    // Set once: the stream ends here.
                    let _ = refusal.set(error);
                    Some((Err(status), None))
                }
            }
        }
    })
}

/// As it came: the compressed flag is tonic's to refuse.
fn framed(message: &Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.data.len() + 5);
    frame.put_u8(u8::from(message.compressed));
    frame.put_u32(u32::try_from(message.data.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message.data);
    frame.freeze()
}

type Answer = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

/// Health and reflection, by the service's name in a call's path: three services need no router.
pub struct Services(Vec<(&'static str, Box<Handler>)>);

type Handler = dyn Fn(http::Request<Body>) -> Answer + Send + Sync;

impl Services {
    /// # Errors
    /// When a descriptor set cannot be read: a fault of the build.
    pub fn new(shared: &Arc<Shared>) -> Result<Services, String> {
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(crate::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let mut services = Services(Vec::new());
        services.add(HealthServer::new(HealthService { shared: shared.clone() }));
        services.add(builder().build_v1().map_err(|e| e.to_string())?);
        services.add(builder().build_v1alpha().map_err(|e| e.to_string())?);
        Ok(services)
    }

    fn add<S>(&mut self, service: S)
    where
        S: tower_service::Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let call = move |request| -> Answer {
            // Such services are ready always: they queue nothing.
            let answer = service.clone().call(request);
            Box::pin(async move {
                match answer.await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            })
        };
        self.0.push((S::NAME, Box::new(call)));
    }

    /// What the service that `/service/method` names answers; UNIMPLEMENTED when there is none.
    pub async fn call(&self, request: http::Request<Body>) -> http::Response<Body> {
        let service = request.uri().path().split('/').nth(1).unwrap_or_default();
        match self.0.iter().find(|(name, _)| *name == service) {
            Some((_, call)) => call(request).await,
            None => Status::unimplemented("").into_http(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_another_service_learns_which_is_spoken_here() {
        for (path, part) in [
            ("/tensorflow.serving.PredictionService/Predict", "which is TensorFlow Serving's"),
            ("/x.Y/Z", "unknown service 'x.Y': expected inference.GRPCInferenceService"),
            ("/", "unknown service ''"),
        ] {
            let words = unknown_words(path);
            assert!(words.contains(part), "{path}: {words}");
        }
    }
}
