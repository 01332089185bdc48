//! Who is at the wrong door, or asks for what other servers have elsewhere: told in words
//! where to go. Ports are as this process listens on them; what stands in front may have others.

use super::Shared;
use crate::codec::json;
use crate::error::{Error, ErrorCode, Result};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use std::sync::atomic::Ordering;
use tokio::net::TcpStream;

const GRPC: &[u8] = b"application/grpc";
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where the doors are.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub http: u16,
    pub grpc: u16,
    /// 0: nobody has said.
    pub admin: u16,
}

impl Ports {
    pub fn of(shared: &Shared) -> Ports {
        Ports {
            http: shared.config.http_port,
            grpc: shared.config.grpc_port,
            admin: shared.admin_port.load(Ordering::Relaxed),
        }
    }

    fn admin_words(self) -> String {
        match self.admin {
            0 => "the admin port".into(),
            port => format!("the admin port, {port}"),
        }
    }

    /// For HTTP that came to the gRPC port.
    pub fn speaks_grpc_only(self) -> String {
        let Ports { http, grpc, .. } = self;
        format!("port {grpc} speaks gRPC only; HTTP is on port {http} (settings http_port, grpc_port)")
    }

    /// For a gRPC call that came to the HTTP port.
    fn speaks_http_only(self) -> String {
        let Ports { http, grpc, .. } = self;
        format!("port {http} speaks HTTP only; gRPC is on port {grpc} (settings http_port, grpc_port)")
    }
}

/// gRPC proper, which needs HTTP/2 and gets its status in gRPC's way.
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            let rest = kind.as_bytes().strip_prefix(GRPC);
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
        })
}

pub fn wrong_door(shared: &Shared) -> Error {
    Error::new(ErrorCode::Unimplemented, Ports::of(shared).speaks_http_only())
}

/// Whether the first bytes, which stay unread, begin like a request of HTTP/1. What is neither
/// that nor HTTP/2 gets HTTP/2's answer on the gRPC port.
pub async fn begins_like_http1(stream: &TcpStream) -> bool {
    let mut first = [0; 24];
    let Ok(seen) = stream.peek(&mut first).await else { return false };
    is_http1(&first[..seen])
}

/// As far as it came. HTTP/2 begins with a method of its own. What is not one of the common
/// methods, which are case-sensitive (RFC 9110, 9.1), is a method where a path follows.
fn is_http1(first: &[u8]) -> bool {
    let (method, rest) = match first.iter().position(|&byte| byte == b' ') {
        Some(end) => (&first[..end], &first[end + 1..]),
        None => (first, &[][..]),
    };
    if method.is_empty() || method == b"PRI" {
        return false;
    }
    let common = method.len() <= b"PROPPATCH".len() && method.iter().all(u8::is_ascii_uppercase);
    common || (method.iter().all(|&byte| is_token(byte)) && rest.first() == Some(&b'/'))
}

/// Of a token's characters (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The answer to whatever HTTP/1 asks of the gRPC port.
pub fn not_here(shared: &Shared) -> Response<Full<Bytes>> {
    let mut response = not_grpc(shared, StatusCode::BAD_REQUEST);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.map(Full::new)
}

/// The gRPC port's answer to HTTP that is not gRPC.
pub fn not_grpc(shared: &Shared, status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(json::error(&Ports::of(shared).speaks_grpc_only()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An outcome of the HTTP door, where it is that the path is not known: with directions, where
/// other servers have something there.
pub fn directed<T>(shared: &Shared, method: &Method, path: &str, outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| match directions(Ports::of(shared), method, path) {
        Some(words) if error.code == ErrorCode::NotFound => {
            Error::new(ErrorCode::NotFound, format!("Not Found: {words}"))
        }
        _ => error,
    })
}

/// What other servers have under a path, and where it is here; `None` for what nobody has.
fn directions(ports: Ports, method: &Method, path: &str) -> Option<String> {
    const INFER: &str = "inference is POST /v2/models/NAME/infer";
    const HEALTH: &str = "health is GET /v2/health/live and /v2/health/ready";
    let first = path.strip_prefix('/')?.split('/').next()?;
    let words = match first {
        "metrics" => format!("Prometheus's figures are /metrics of {}", ports.admin_words()),
        "redoc" | "swagger" => format!(
            "the calls are described in GET /docs and /openapi.json, the control API in /api/openapi.json \
             of {}",
            ports.admin_words()
        ),
        "api" | "admin" => format!("control is on {}", ports.admin_words()),
        "health" | "healthz" | "livez" | "readyz" | "live" | "ready" | "ping" | "status" => HEALTH.into(),
        "predict" | "predictions" | "infer" => INFER.into(),
        "invocations" => format!("MLflow's and SageMaker's /invocations is not served; {INFER}"),
        "models" if method == Method::POST => INFER.into(),
        "models" => "the models' names are GET /v2/models".into(),
        "inference.GRPCInferenceService"
        | "tensorflow.serving.PredictionService"
        | "tensorflow.serving.ModelService"
        | "grpc.health.v1.Health" => format!("gRPC is on port {}", ports.grpc),
        _ => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { http: 80, grpc: 81, admin: 82 };

    #[test]
    fn the_well_known_paths_of_others_say_where_to_go() {
        for (path, part) in [
            ("/metrics", "/metrics of the admin port, 82"),
            ("/swagger", "/api/openapi.json of the admin port, 82"),
            ("/api/v1/models", "control is on the admin port, 82"),
            ("/health", "/v2/health/ready"),
            ("/healthz", "/v2/health/ready"),
            ("/predict", "/v2/models/NAME/infer"),
            ("/predictions/x", "/v2/models/NAME/infer"),
            ("/invocations", "/v2/models/NAME/infer"),
            ("/models", "/v2/models"),
            ("/inference.GRPCInferenceService/ModelInfer", "port 81"),
        ] {
            let words = directions(PORTS, &Method::GET, path).unwrap();
            assert!(words.contains(part), "{path}: {words}");
        }
        for path in ["/", "", "*", "/favicon.ico", "/metricsx", "/v2x", "//metrics"] {
            assert_eq!(directions(PORTS, &Method::GET, path), None, "{path}");
        }
        assert!(directions(PORTS, &Method::POST, "/models/m").unwrap().contains("POST /v2"));
        let nameless = Ports { admin: 0, ..PORTS };
        assert!(directions(nameless, &Method::GET, "/metrics").unwrap().ends_with("of the admin port"));
    }

    #[test]
    fn a_request_of_http_1_is_known_by_any_method() {
        for first in ["GET / HTTP/1.1\r\n", "POS", "CONNECT x:1", "get / HTTP/1.1", "Get /x HT", "x-y /"] {
            assert!(is_http1(first.as_bytes()), "{first}");
        }
        for first in ["", " ", "PRI * HTTP/2.0", "get", "get me", "{\"a\": 1}", "\x16\x03\x01", "SSH-2.0-x"] {
            assert!(!is_http1(first.as_bytes()), "{first}");
        }
    }

    #[test]
    fn grpc_is_known_by_version_and_type() {
        for (version, kind, is) in [
            (Version::HTTP_2, "application/grpc", true),
            (Version::HTTP_2, "application/grpc+proto", true),
            (Version::HTTP_2, "application/grpc-web", false),
            (Version::HTTP_2, "application/json", false),
            (Version::HTTP_11, "application/grpc", false),
        ] {
            let request = Request::builder().version(version).header(CONTENT_TYPE, kind).body(()).unwrap();
            assert_eq!(is_grpc(&request), is, "{version:?} {kind}");
        }
    }
}
