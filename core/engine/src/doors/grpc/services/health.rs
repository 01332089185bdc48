//! `grpc.health.v1`, by tonic but for what its definition has not yet.

use super::{Kind, Method, Service, oip};
use crate::codec::names::LONGEST_NAME;
use crate::doors::{Shared, drain_begins};
use bytes::Bytes;
use futures_util::Stream;
use prost::Message;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// Names of the server itself.
static SERVER: [&str; 2] = ["", oip::SERVICE.name];

pub struct HealthService {
    pub shared: Arc<Shared>,
}

/// What tonic's definition of the service has not yet.
const LIST: &str = "/grpc.health.v1.Health/List";

const NAME: &str = "grpc.health.v1.Health";

pub static SERVICE: Service = Service {
    name: NAME,
    is_whole: false,
    methods: &[Method { path: LIST, service: NAME, name: LIST, kind: Kind::Local(list) }],
};

/// `List` names at most this many, as its definition asks.
const LISTED: usize = 100;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    statuses: BTreeMap<String, HealthCheckResponse>,
}

/// The answer to `Health/List`: the server's services and the models, by name.
fn list(shared: &Shared, _: Bytes) -> crate::error::Result<Bytes> {
    let table = shared.routes.table();
    let mut names: Vec<&str> = table.names().collect();
    names.sort_unstable();
    let statuses = SERVER
        .into_iter()
        .chain(names)
        .take(LISTED)
        .filter_map(|name| Some((name.to_owned(), response(status(shared, name)?))))
        .collect();
    Ok(HealthListResponse { statuses }.encode_to_vec().into())
}

/// The server under its service names, a model under its own; `None` when unknown.
fn status(shared: &Shared, service: &str) -> Option<ServingStatus> {
    let ready = if SERVER.contains(&service) {
        shared.is_ready()
    } else {
        shared.routes.table().get(service)?.is_ready()
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
impl Health for HealthService {
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
