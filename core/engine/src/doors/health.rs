//! `grpc.health.v1` and server reflection, by tonic.

use super::{Shared, drain_begins};
use crate::codec::names::LONGEST_NAME;
use futures_util::Stream;
use prost::Message;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

pub struct Service {
    shared: Arc<Shared>,
}

/// The path of `Health/List`, which tonic's definition of the service has not yet.
pub const LIST: &str = "/grpc.health.v1.Health/List";
/// `List` names at most this many, as its definition asks.
const LISTED: usize = 100;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// The answer to `Health/List`: the server's services and the models, by name.
pub fn list(shared: &Shared) -> Vec<u8> {
    let table = shared.routes.table();
    let mut names: Vec<&str> = table.models.keys().map(String::as_str).collect();
    names.sort_unstable();
    let statuses = SERVICES
        .into_iter()
        .chain(names)
        .take(LISTED)
        .filter_map(|name| Some((name.to_owned(), response(status(shared, name)?))))
        .collect();
    HealthListResponse { statuses }.encode_to_vec()
}

/// The server under its service names, a model under its own; `None` when unknown.
fn status(shared: &Shared, service: &str) -> Option<ServingStatus> {
    let ready = if SERVICES.contains(&service) {
        shared.is_ready()
    } else {
        shared.routes.table().models.get(service)?.is_ready()
    };
    Some(if ready { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn name(request: Request<HealthCheckRequest>) -> Result<String, Status> {
    let service = request.into_inner().service;
    if service.len() > LONGEST_NAME {
        return Err(Status::invalid_argument(format!("a service's name has at most {LONGEST_NAME} bytes")));
    }
    Ok(service)
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&self.shared, &name(request)?) {
            Some(status) => Ok(Response::new(response(status))),
            None => Err(Status::not_found("unknown service")),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = name(request)?;
        let shared = self.shared.clone();
        let (tx, rx) = mpsc::channel(1);
        tokio::spawn(async move { watch(&shared, &service, &tx).await });
        let stream = futures_util::stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// Send each change until the client leaves or the server drains.
async fn watch(shared: &Shared, service: &str, tx: &mpsc::Sender<Result<HealthCheckResponse, Status>>) {
    let mut changed = shared.changed.subscribe();
    let mut draining = shared.draining.subscribe();
    let mut last = None;
    loop {
        let now = status(shared, service).unwrap_or(ServingStatus::ServiceUnknown);
        if last != Some(now) {
            last = Some(now);
            if tx.send(Ok(response(now))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tx.closed() => return,
            () = drain_begins(&mut draining) => return,
            change = changed.changed() => if change.is_err() { return },
        }
    }
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
        services.add(HealthServer::new(Service { shared: shared.clone() }));
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
