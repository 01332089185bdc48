//! The HTTP door: OIP REST with the binary tensor extension, HTTP/1.1 and h2c.

use super::calls::{self, Call, CallAnswer};
use super::grpc::wire::answer::write_status;
use super::incoming::Incoming;
use super::infer::{self, DecodedRequest, OutcomeGuard, RequestHead};
use super::lifetime::Busy;
use super::{Io, Shared, body, expectation, signpost};
use crate::admission::Reservation;
use crate::codec::answer::{Answer, Encode};
use crate::codec::binary::{self, Split};
use crate::codec::compression::Encoding;
use crate::codec::{InferRequest, Payload, json, names};
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use crate::observe::Origin;
use crate::observe::trace::Context;
use crate::offload::Job;
use crate::routes::{Key, Reference};
use crate::stats::Protocol;
use crate::status;
use crate::stop::Stop;
use crate::tensor::shown;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Body;
use percent_encoding::percent_decode_str;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");
/// Larger bodies are decoded off the I/O thread.
const DECODE_INLINE: usize = 64 << 10;

/// What a path names, as far as this door answers it itself.
enum Target {
    Live,
    Ready,
    ModelReady {
        model: String,
        version: String,
    },
    Infer {
        model: String,
        version: String,
    },
    /// Nothing that this door answers: a call, which Python answers or refuses.
    Call,
}

/// One request. `busy` is held until it is answered. What is not inference is
/// boxed, as on the gRPC door.
pub async fn handle(
    io: Arc<Io>,
    request: Request<Incoming>,
    busy: Busy,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let shared = &io.shared;
    let _in_flight = shared.enter();
    let started = Instant::now();
    let client_id = ids::from_client(request.headers()).map(str::to_owned);
    let http1 = request.version() <= Version::HTTP_11;
    let grpc = signpost::is_grpc(&request);
    let target = if grpc {
        Err(signpost::wrong_door(shared))
    } else {
        let (method, path) = (request.method(), request.uri().path());
        signpost::directed(shared, method, path, route(method, path))
            .and_then(|target| expectation::check(&request).map(|()| target))
    };
    let mut response = match target {
        Ok(Target::Infer { model, version }) => {
            infer_answer(&io, started, client_id.as_deref(), (model, version), request, &busy).await
        }
        target => {
            Box::pin(not_inference(shared, started, client_id.as_deref(), target, request, &busy)).await
        }
    };
    if grpc {
        response = in_grpc(response, &signpost::wrong_door(shared));
    }
    if let Some(id) = client_id {
        ids::put(response.headers_mut(), &id);
    }
    // On a draining server a kept-alive connection ends with the answer it waits for;
    // so does one whose body was refused unread.
    if http1 && (busy.is_unread() || *shared.draining.borrow()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn route(method: &Method, path: &str) -> Result<Target> {
    let get = || match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Error::new(ErrorCode::MethodNotAllowed, "Method Not Allowed: use GET")),
    };
    match path {
        "/v2/health/live" => return get().map(|()| Target::Live),
        "/v2/health/ready" => return get().map(|()| Target::Ready),
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/v2/models/") else {
        let calls = matches!(path, "/" | "/v2") || path.starts_with("/v2/");
        return if calls { Ok(Target::Call) } else { Err(not_found()) };
    };
    let mut segments = rest.split('/');
    let model = segments.next().unwrap_or_default();
    let mut action = segments.next();
    let mut version = "";
    if action == Some("versions") {
        version = segments.next().unwrap_or_default();
        if version.is_empty() || !version.bytes().all(|b| b.is_ascii_digit()) {
            return Err(no_version(version));
        }
        action = segments.next();
    }
    if segments.next().is_some() || !matches!(action, Some("infer" | "ready")) {
        return Ok(Target::Call);
    }
    let (model, version) = (model_name(model)?, version.to_owned());
    if action == Some("ready") {
        return get().map(|()| Target::ModelReady { model, version });
    }
    if *method == Method::POST {
        Ok(Target::Infer { model, version })
    } else {
        Err(Error::new(ErrorCode::MethodNotAllowed, "Method Not Allowed: use POST"))
    }
}

fn not_found() -> Error {
    Error::new(ErrorCode::NotFound, "Not Found")
}

fn no_version(text: &str) -> Error {
    let found = match text {
        "" => "no version follows '/versions'".to_owned(),
        text => format!("'{}' is no version", shown(text)),
    };
    let expected = "expected an integer, as in /v2/models/NAME/versions/1/infer";
    Error::new(ErrorCode::NotFound, format!("Not Found: {found}: {expected}"))
}

/// A name as it came percent-encoded: decoded once, then refused when it could
/// mean a path (fault 61).
fn model_name(encoded: &str) -> Result<String> {
    let name =
        percent_decode_str(encoded).decode_utf8().map_err(|_| Error::bad("model name is not UTF-8"))?;
    let hostile = name.is_empty()
        || name.len() > names::LONGEST_NAME
        || name == "."
        || name.contains("..")
        || name.chars().any(|c| c == '/' || c == '\\' || c.is_control());
    if hostile {
        return Err(Error::bad(
            "invalid model name: it must not be empty or contain path or control characters",
        ));
    }
    Ok(name.into_owned())
}

/// What is answered here or by whoever pulls calls, and what no path names; told to the
/// access log.
async fn not_inference(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    target: Result<Target>,
    request: Request<Incoming>,
    busy: &Busy,
) -> Response<Full<Bytes>> {
    let record = shared.observer.begin_other(|| Origin {
        protocol: Protocol::Http,
        method: request.method().as_str().to_owned().into(),
        path: request.uri().path().to_owned(),
        request_id: client_id.map(str::to_owned),
        started,
    });
    let id = client_id.or_else(|| record.as_ref().map(|w| w.request_id()));
    let outcome = match target {
        Ok(target) => other(shared, started, id, target, request, busy).await,
        Err(error) => Err(error),
    };
    let word = outcome.as_ref().err().map(|error| error.code);
    let mut response = outcome.unwrap_or_else(|error| failed(shared, id, "", &error));
    if let Some(record) = &record {
        let bytes = response.body().size_hint().lower();
        let word = word.or_else(|| status::http_word(response.status()));
        record.finish_other(&shared.events, word.map_or(Ok(()), Err), response.status().as_str(), bytes);
        ids::put(response.headers_mut(), record.request_id());
    }
    response
}

async fn other(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    target: Target,
    request: Request<Incoming>,
    busy: &Busy,
) -> Result<Response<Full<Bytes>>> {
    match target {
        Target::Live => Ok(health("{\"live\":true}".into(), true)),
        Target::Ready => {
            let ready = shared.is_ready();
            Ok(health(format!("{{\"ready\":{ready}}}"), ready))
        }
        Target::ModelReady { model, version } => {
            let ready = shared.routes.is_ready(Reference { model: &model, version: &version })?;
            Ok(health(format!("{{\"name\":{},\"ready\":{ready}}}", json::quoted(&model)), ready))
        }
        Target::Infer { .. } | Target::Call => call(shared, started, client_id, request, busy).await,
    }
}

fn health(body: String, ok: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    if !ok {
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// An error's answer to a gRPC call: trailers only, as gRPC has it.
fn in_grpc(mut response: Response<Full<Bytes>>, error: &Error) -> Response<Full<Bytes>> {
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Full::default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    write_status(response.headers_mut(), error);
    response
}

async fn infer_answer(
    io: &Io,
    started: Instant,
    client_id: Option<&str>,
    (model, version): (String, String),
    request: Request<Incoming>,
    busy: &Busy,
) -> Response<Full<Bytes>> {
    let shared = &io.shared;
    let mut guard = {
        let request_head = RequestHead {
            protocol: Protocol::Http,
            started,
            method: "POST",
            path: request.uri().path(),
            request_id: client_id,
            replayed: request.headers().contains_key(ids::REPLAY),
        };
        OutcomeGuard::open(shared, request_head, || Context::from_headers(request.headers()))
    };
    if let Some(record) = guard.record() {
        record.named(&model);
    }
    let asked = Reference { model: &model, version: &version };
    let key = infer::routing_key(shared, request.headers());
    let outcome = infer_once(io, asked, key, request, &mut guard, busy).await;
    if outcome.is_err() {
        guard.refused(asked, key);
    }
    let record = guard.close(outcome.as_ref());
    let id = client_id.or_else(|| record.as_ref().map(|w| w.request_id()));
    let mut response = match outcome {
        Ok(answer) => success(answer),
        Err(error) => failed(shared, id, &model, &error),
    };
    if let Some(record) = &record {
        ids::put(response.headers_mut(), record.request_id());
        super::put_trace(response.headers_mut(), record);
    }
    response
}

async fn infer_once(
    io: &Io,
    asked: Reference<'_>,
    key: Option<Key>,
    request: Request<Incoming>,
    guard: &mut OutcomeGuard<'_>,
    busy: &Busy,
) -> Result<Answer> {
    let shared = &io.shared;
    check_content_type(request.headers())?;
    let accepts = request.headers().get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let encoding = accepts.map_or(Encoding::Identity, Encoding::choose);
    let json_length = header_text(request.headers(), &JSON_LENGTH)?;
    let deadline = infer::deadline(shared, guard.started(), None, 0);
    let (data, reservation) = read(shared, request, deadline, busy).await?;
    if let Some(record) = guard.record() {
        record.received(data.len());
    }
    let came = reservation.bytes();
    let (mut decoded, mut reservation) = match binary::split(json_length.as_deref(), data)? {
        Split::Json(json) => decode(shared, asked.model, json, Bytes::new(), deadline, reservation).await?,
        Split::Mixed { json, binary } => {
            decode(shared, asked.model, json, binary, deadline, reservation).await?
        }
        Split::Raw(data) => {
            let queue = guard.resolve(asked, key)?;
            (json::decode_raw_binary(asked.model, queue.signature(), data)?, reservation)
        }
    };
    decoded.model = asked.model.into();
    decoded.version = asked.version.to_owned();
    reservation.take(decoded.owned_bytes())?;
    if !decoded.inputs.iter().any(|input| matches!(input.payload, Payload::Raw(_))) {
        // Nothing is left of the text: its data was converted, and counted as that.
        reservation.give_back(came);
    }
    let deadline = infer::deadline(shared, guard.started(), None, decoded.timeout_us);
    let encode = Encode { form: &json::InferAnswer, encoding };
    let decoded = DecodedRequest { request: decoded, encode, deadline, reservation, key };
    infer::run(shared, &io.mailbox, decoded, guard).await
}

/// Clients that set no type, or curl's default for `-d`, mean JSON.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    const TAKEN: [&str; 4] =
        ["application/json", "application/octet-stream", "application/x-www-form-urlencoded", "text/json"];
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = value.to_str().unwrap_or("?").split(';').next().unwrap_or("").trim();
    if TAKEN.iter().any(|t| kind.eq_ignore_ascii_case(t)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::UnsupportedMediaType,
        "unsupported content type: use application/json, or application/octet-stream with binary tensors",
    ))
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>> {
    let mut values = headers.get_all(name).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Error::bad(format!("header {name} came more than once")));
    }
    first
        .map(|v| v.to_str().map(str::to_owned).map_err(|_| Error::bad(format!("header {name} is not text"))))
        .transpose()
}

/// The body, whole and decompressed, within the limit.
async fn read(
    shared: &Shared,
    request: Request<Incoming>,
    deadline: Option<Instant>,
    busy: &Busy,
) -> Result<(Bytes, Reservation)> {
    let encoding = match header_text(request.headers(), &CONTENT_ENCODING)? {
        None => Encoding::Identity,
        Some(text) => Encoding::parse(&text)?,
    };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    let mut incoming = request.into_body();
    if incoming.is_end_stream() {
        return Ok((Bytes::new(), incoming.budget().reserve()));
    }
    let (data, reservation) = body::read_http(shared, &mut incoming, length).await?;
    busy.note_read();
    if encoding == Encoding::Identity {
        return Ok((data, reservation));
    }
    Box::pin(body::inflate(shared, encoding, data, deadline, reservation)).await
}

/// A request, and what it holds of the budget: `held` and what was converted.
type Decoded = (InferRequest, Reservation);

async fn decode(
    shared: &Shared,
    model: &str,
    json: Bytes,
    binary: Bytes,
    deadline: Option<Instant>,
    mut held: Reservation,
) -> Result<Decoded> {
    if json.len() <= DECODE_INLINE {
        return Ok((json::decode_infer(model, &json, binary, &mut held)?, held));
    }
    let (bytes, model) = (json.len(), model.to_owned());
    let work = move |stop: &Stop, held: &mut Reservation| {
        json::decode_infer_until(stop, &model, &json, binary, held)
    };
    Box::pin(shared.offload.run(Job { bytes, client: held.client(), deadline, held }, work)).await
}

fn success(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    let headers = response.headers_mut();
    match answer.json_len {
        None => {
            headers.insert(CONTENT_TYPE, JSON);
        }
        Some(length) => {
            headers.insert(CONTENT_TYPE, OCTETS);
            headers.insert(JSON_LENGTH, HeaderValue::from(length));
        }
    }
    match answer.encoding {
        Encoding::Identity => {}
        Encoding::Gzip => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Encoding::Deflate => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
        }
    }
    response
}

/// An error's answer; an id is made when the client sent none.
fn failed(shared: &Shared, client_id: Option<&str>, model: &str, error: &Error) -> Response<Full<Bytes>> {
    let made;
    let id = match client_id {
        Some(id) => id,
        None => {
            made = ids::make();
            &made
        }
    };
    shared.report(Protocol::Http, id, model, error);
    let mut response = Response::new(Full::new(json::error(&error.message)));
    *response.status_mut() = status::http_status(error.code);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    ids::put(headers, id);
    match error.code {
        ErrorCode::Full | ErrorCode::Unavailable => {
            let seconds = error.retry_after.map_or(1, |t| t.as_secs_f64().ceil() as u64).max(1);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        ErrorCode::MethodNotAllowed => {
            let allowed = if error.message.ends_with("POST") { "POST" } else { "GET, HEAD" };
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        ErrorCode::UnsupportedEncoding => {
            headers.insert(ACCEPT_ENCODING, ENCODINGS);
        }
        ErrorCode::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

async fn call(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    request: Request<Incoming>,
    busy: &Busy,
) -> Result<Response<Full<Bytes>>> {
    let headers = super::text_headers(request.headers());
    // While the body comes; then the call counts them.
    let mut beside = request.body().budget().reserve();
    beside.take(calls::text_bytes(&headers))?;
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let limit = infer::deadline(shared, started, None, 0);
    let (data, held) = read(shared, request, limit, busy).await?;
    drop(beside);
    let (mut call, answer) = Call::new((Protocol::Http, method), path, headers, data, held)?;
    call.request_id = client_id.map(str::to_owned);
    shared.calls.push(call)?;
    let CallAnswer { status, content_type, body } = super::within(limit, answer, calls::outcome).await?;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = HeaderValue::from_str(&content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_61_names_that_could_be_paths_are_refused() {
        for bad in ["%2e%2e", "a%2Fb", "a%5Cb", "a%00b", "..", "%ff", "a%0Ab"] {
            assert_eq!(model_name(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
        assert_eq!(model_name("my%20model.v1").unwrap(), "my model.v1");
        // Decoded once only: the name really holds a percent sign.
        assert_eq!(model_name("a%252Fb").unwrap(), "a%2Fb");
    }

    #[test]
    fn fault_43_wrong_methods_are_not_allowed() {
        for (method, path) in [
            (Method::GET, "/v2/models/m/infer"),
            (Method::POST, "/v2/health/live"),
            (Method::TRACE, "/v2/health/ready"),
        ] {
            assert_eq!(route(&method, path).err().unwrap().code, ErrorCode::MethodNotAllowed);
        }
        assert_eq!(route(&Method::GET, "/elsewhere").err().unwrap().code, ErrorCode::NotFound);
    }

    #[test]
    fn what_is_no_version_is_named() {
        for (path, part) in [
            ("/v2/models/m/versions/abc/infer", "'abc' is no version: expected an integer"),
            ("/v2/models/m/versions/-1", "'-1' is no version"),
            ("/v2/models/m/versions", "no version follows"),
            ("/v2/models/m/versions//infer", "no version follows"),
        ] {
            let error = route(&Method::POST, path).err().unwrap();
            assert_eq!(error.code, ErrorCode::NotFound);
            assert!(error.message.contains(part), "{path}: {}", error.message);
        }
    }
}
