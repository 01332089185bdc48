//! The services of the gRPC port, each a table of its methods: what is done with a call stands
//! here, and how is common to all.

pub mod health;
mod oip;

use crate::codec::answer::Form;
use crate::codec::{AnswerHead, InferRequest};
use crate::doors::Shared;
use crate::error::Result;
use crate::stop::Stop;
use bytes::Bytes;

#[derive(Debug)]
pub struct Service {
    pub name: &'static str,
    /// Whether it has no other methods: some are the library's.
    pub is_whole: bool,
    pub methods: &'static [Method],
}

#[derive(Debug)]
pub struct Method {
    /// `/service/name`.
    pub path: &'static str,
    pub service: &'static str,
    /// As it is logged, and as calls are named beside their service.
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Inference: a message, and its answer.
    Infer(&'static Messages),
    /// Inference on a stream.
    Stream(&'static Messages),
    /// Answered here: from a message to a message.
    Local(fn(&Shared, Bytes) -> Result<Bytes>),
    /// Answered by whoever pulls calls.
    Call,
}

/// What a service's messages of inference say, and how its answers look.
#[derive(Debug)]
pub struct Messages {
    pub decode: fn(&Stop, Bytes) -> Result<InferRequest>,
    pub form: &'static dyn Form,
    /// On a stream: the message that stands for an error in words, behind a frame where it is
    /// told so; the head names nothing where the request could not be read.
    pub failure: fn(&str, &AnswerHead<'_>, bool) -> Bytes,
}

/// What a path names.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    Method(&'static Method),
    /// The service has no such method.
    NoMethod(&'static Service),
    /// The library's, or nobody's.
    Elsewhere,
}

/// What is asked for most stands first.
static SERVICES: [&Service; 2] = [&oip::SERVICE, &health::SERVICE];

pub fn find(path: &str) -> Found {
    let mut methods = SERVICES.iter().flat_map(|service| service.methods);
    if let Some(method) = methods.find(|method| method.path == path) {
        return Found::Method(method);
    }
    let service = path.split('/').nth(1).unwrap_or_default();
    match SERVICES.into_iter().find(|one| one.is_whole && one.name == service) {
        Some(service) if path.len() > service.name.len() + 1 => Found::NoMethod(service),
        _ => Found::Elsewhere,
    }
}

/// The part of a path behind `/service/`.
pub fn method_name(path: &str) -> &str {
    path.splitn(3, '/').nth(2).unwrap_or_default()
}

/// A service's methods, by name and kind.
macro_rules! methods {
    ($service:literal: $($name:literal => $kind:expr),* $(,)?) => {
        &[$(Method { path: concat!("/", $service, "/", $name), service: $service, name: $name, kind: $kind }),*]
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
    fn what_a_whole_service_has_not_nobody_has() {
        let path = "/inference.GRPCInferenceService/a/b";
        assert!(matches!(find(path), Found::NoMethod(service) if service.is_whole));
        assert_eq!(method_name(path), "a/b");
        for path in ["/grpc.health.v1.Health/Check", "/x.Y/Z", "/", "", "/inference.GRPCInferenceService"] {
            assert!(matches!(find(path), Found::Elsewhere), "{path}");
        }
    }
}
