//! `grpc.health.v1`: the server under its services' names, a model under its own.

use super::{Kind, Method, SMALL, Service, Watch, methods, oip, tensorflow};
use crate::codec::names::LONGEST_NAME;
use crate::codec::protobuf::{self, ServingStatus};
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use bytes::Bytes;

/// Names of the server itself.
static SERVER: [&str; 4] = ["", oip::SERVICE.name, tensorflow::PREDICTION.name, tensorflow::MODEL.name];

pub static SERVICE: Service = Service {
    name: "grpc.health.v1.Health",
    methods: methods! { "grpc.health.v1.Health", SMALL;
        "Check" => Kind::Local(check),
        "List" => Kind::Local(list),
        "Watch" => Kind::Watch(&Watch { of: name, now: watched }),
    },
};

/// `List` names at most this many, as its definition asks.
const LISTED: usize = 100;

fn check(shared: &Shared, message: Bytes) -> Result<Bytes> {
    let unknown = || Error::new(ErrorCode::NotFound, "unknown service");
    status(shared, &name(&message)?).map(protobuf::encode_health_check).ok_or_else(unknown)
}

/// The server's services and the models, by name.
fn list(shared: &Shared, _: Bytes) -> Result<Bytes> {
    let table = shared.routes.table();
    let mut names: Vec<&str> = table.names().collect();
    // The first of many are found without sorting them all.
    if names.len() > LISTED {
        names.select_nth_unstable(LISTED);
        names.truncate(LISTED);
    }
    names.sort_unstable();
    let all = SERVER.into_iter().chain(names).take(LISTED);
    Ok(protobuf::encode_health_list(all.filter_map(|name| Some((name, status(shared, name)?)))))
}

fn watched(shared: &Shared, name: &str) -> Bytes {
    protobuf::encode_health_check(status(shared, name).unwrap_or(ServingStatus::ServiceUnknown))
}

fn name(message: &[u8]) -> Result<String> {
    let service = protobuf::decode_health_check(message)?;
    if service.len() > LONGEST_NAME {
        return Err(Error::bad(format!("a service's name has at most {LONGEST_NAME} bytes")));
    }
    Ok(service.to_owned())
}

/// `None` when unknown.
fn status(shared: &Shared, service: &str) -> Option<ServingStatus> {
    let ready = if SERVER.contains(&service) {
        shared.is_ready()
    } else {
        shared.routes.table().get(service)?.is_ready()
    };
    Some(if ready { ServingStatus::Serving } else { ServingStatus::NotServing })
}
