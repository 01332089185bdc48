//! The services of the gRPC port, each a table of its methods: what is done with a call stands
//! here, and how is common to all.

mod health;
mod oip;
mod reflection;
mod tensorflow;

use crate::codec::answer::Form;
use crate::codec::{AnswerHead, InferRequest};
use crate::doors::Shared;
use crate::error::Result;
use crate::stats::Why;
use crate::stop::Stop;
use bytes::Bytes;

#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    pub methods: &'static [Method],
}

#[derive(Debug)]
pub struct Method {
    /// `/service/name`.
    pub path: &'static str,
    pub service: &'static str,
    /// As it is logged, and as calls are named beside their service.
    pub name: &'static str,
    /// Bytes of its largest message, below the server's limit.
    pub largest: usize,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Inference: a message, and its answer.
    Infer(&'static Messages),
    /// Inference on a stream.
    Stream(&'static Streamed),
    /// Answered here: from a message to a message.
    Local(fn(&Shared, Bytes) -> Result<Bytes>),
    /// A message, answered now and at each change.
    Watch(&'static Watch),
    /// A stream of messages, each answered here before the next.
    Exchange(Answers),
    /// Answered by whoever pulls calls.
    Call,
}

/// What a service's messages of inference say, and how its answers look.
#[derive(Debug)]
pub struct Messages {
    pub decode: fn(&Stop, Bytes) -> Result<InferRequest>,
    pub form: &'static dyn Form,
}

/// Messages of inference on a stream.
#[derive(Debug)]
pub struct Streamed {
    pub messages: Messages,
    /// The message that stands for an error in words, behind a frame where it is told so; the head
    /// names nothing where the request could not be read.
    pub failure: fn(&str, &AnswerHead<'_>, Option<Why>, bool) -> Bytes,
}

/// What is watched, and how it is.
#[derive(Debug)]
pub struct Watch {
    /// The name that a message asks for.
    pub of: fn(&[u8]) -> Result<String>,
    /// The message that tells how it is; it is sent where it differs from the last.
    pub now: fn(&Shared, &str) -> Bytes,
}

pub type Answers = fn(&[u8]) -> Result<Vec<u8>>;

/// The largest message of a service whose messages are names.
const SMALL: usize = 64 << 10;

/// What a path names.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Method(&'static Method),
    /// The service has no such method.
    NoMethod(&'static Service),
    /// No such service.
    Nothing,
}

/// What is asked for most stands first.
static SERVICES: [&Service; 6] = [
    &oip::SERVICE,
    &tensorflow::PREDICTION,
    &tensorflow::MODEL,
    &health::SERVICE,
    &reflection::V1,
    &reflection::V1_ALPHA,
];

pub fn find(path: &str) -> Found {
    let mut methods = SERVICES.iter().flat_map(|service| service.methods);
    if let Some(method) = methods.find(|method| method.path == path) {
        return Found::Method(method);
    }
    let service = path.split('/').nth(1).unwrap_or_default();
    match SERVICES.into_iter().find(|one| one.name == service) {
        Some(service) if path.len() > service.name.len() + 1 => Found::NoMethod(service),
        _ => Found::Nothing,
    }
}

/// The part of a path behind `/service/`.
pub fn method_name(path: &str) -> &str {
    path.splitn(3, '/').nth(2).unwrap_or_default()
}

/// A service's methods by name and kind, and how large their messages may be.
macro_rules! methods {
    ($service:literal, $largest:expr; $($name:literal => $kind:expr),* $(,)?) => {
        &[$(Method {
            path: concat!("/", $service, "/", $name),
            service: $service,
            name: $name,
            largest: $largest,
            kind: $kind,
        }),*]
    };
}
use methods;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_found_by_its_path_and_stands_once() {
        let all = || SERVICES.iter().flat_map(|service| service.methods.iter().map(move |m| (service, m)));
        for (service, method) in all() {
            assert!(method.path.starts_with(&format!("/{}/", service.name)), "{}", method.path);
            assert_eq!(method.service, service.name);
            assert!(matches!(find(method.path), Found::Method(found) if std::ptr::eq(found, method)));
        }
        let mut paths: Vec<_> = all().map(|(_, method)| method.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all().count());
    }

    #[test]
    fn what_a_service_has_not_nobody_has() {
        for service in SERVICES {
            let path = format!("/{}/a/b", service.name);
            assert!(matches!(find(&path), Found::NoMethod(found) if std::ptr::eq(found, service)));
            assert_eq!(method_name(&path), "a/b");
        }
        for path in ["/x.Y/Z", "/", "", "/inference.GRPCInferenceService"] {
            assert!(matches!(find(path), Found::Nothing), "{path}");
        }
    }
}
