//! The gRPC door: a lean handler on hyper for the inference service; tonic's
//! services (health, reflection) behind it on the same port.

use super::body::{Message, Messages};
use super::calls::{self, Call};
use super::grpc_answer::{GrpcBody, failure, refuse, success};
use super::grpc_request::{Head, decode, head_bytes, whole};
use super::incoming::Incoming;
use super::infer::{self, OutcomeGuard};
use super::lifetime::Busy;
use super::{Io, Shared, health, library, stream};
use crate::admission::Reservation;
use crate::codec::compression::Encoding;
use crate::codec::protobuf;
use crate::error::{Error, ErrorCode, Result};
use crate::ids;
use crate::observe::{Origin, trace};
use crate::queue::{Answer, batch};
use crate::routes::Reference;
use crate::stats::Protocol;
use crate::status;
use crate::tensor::shown;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const SERVICE: &str = "/inference.GRPCInferenceService/";
const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// RPCs of the service that Python answers, as calls.
const CALLS: [&str; 15] = [
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryStatus",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryStatus",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
    "TraceSetting",
    "LogSettings",
];

type Answered = std::result::Result<Response<GrpcBody>, Infallible>;

/// One request. `busy` is held until it is answered, by a stream until that ends.
/// What is not inference is boxed: a future is as large as its largest arm, and is
/// moved several times.
pub async fn handle(io: Arc<Io>, request: Request<Incoming>, busy: Busy) -> Answered {
    let _in_flight = io.shared.enter();
    let response = if request.uri().path() == MODEL_INFER {
        let _busy = busy;
        match open(&io.shared, &request) {
            Ok(head) => model_infer(&io, head, request).await,
            Err(refusal) => *refusal,
        }
    } else {
        Box::pin(others(io, request, busy)).await
    };
    Ok(response)
}

async fn others(io: Arc<Io>, request: Request<Incoming>, busy: Busy) -> Response<GrpcBody> {
    let rpc = match request.uri().path() {
        health::LIST => health::LIST.to_owned(),
        path => match path.strip_prefix(SERVICE) {
            Some(rpc) => rpc.to_owned(),
            None => return library::serve(&io, request, busy).await,
        },
    };
    match open(&io.shared, &request) {
        Ok(head) if rpc == "ModelStreamInfer" => stream::open(io, head, request, busy),
        Ok(head) => unary(&io.shared, &rpc, head, request).await,
        Err(refusal) => *refusal,
    }
}

/// Read the head, or refuse with the answer.
fn open(shared: &Shared, request: &Request<Incoming>) -> std::result::Result<Head, Box<Response<GrpcBody>>> {
    if let Some(refusal) = refuse(shared, request) {
        return Err(Box::new(refusal));
    }
    Head::read(shared, request.headers()).map_err(|error| {
        let id = ids::from_client(request.headers()).map_or_else(ids::make, str::to_owned);
        if request.uri().path() == MODEL_INFER {
            shared.unresolved.answered(Protocol::Grpc, Err(error.code), Duration::ZERO);
        }
        shared.report(Protocol::Grpc, &id, "", &error);
        Box::new(failure(&error, Some(&id)))
    })
}

async fn model_infer(io: &Io, head: Head, request: Request<Incoming>) -> Response<GrpcBody> {
    let shared = &io.shared;
    let mut guard = OutcomeGuard::open(shared, head.request_head("ModelInfer"), || {
        trace::Context::from_headers(request.headers())
    });
    let outcome = infer_once(io, &head, request, &mut guard).await;
    let record = guard.close(outcome.as_ref().map_err(|(error, _)| error));
    let id = head.request_id.as_deref().or_else(|| record.as_ref().map(|w| w.request_id()));
    let mut response = match outcome {
        Ok(answer) => success(answer, id),
        Err((error, model)) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, &model, &error);
            failure(&error, Some(&id))
        }
    };
    if let Some(record) = record {
        super::put_trace(response.headers_mut(), &record);
    }
    response
}

async fn infer_once(
    io: &Io,
    head: &Head,
    request: Request<Incoming>,
    guard: &mut OutcomeGuard<'_>,
) -> std::result::Result<Answer, (Error, Arc<str>)> {
    let nameless = |error| (error, Arc::default());
    let message = message(&io.shared, request.into_body()).await.map_err(nameless)?;
    if let Some(record) = guard.record() {
        record.received(message.data.len());
    }
    let decoded = decode(&io.shared, head, message, head.started, false).await.map_err(nameless)?;
    let model = decoded.request.model.clone();
    infer::run(&io.shared, &io.mailbox, decoded, guard).await.map_err(|error| (error, model))
}

/// A unary call's.
async fn message(shared: &Shared, body: Incoming) -> Result<Message> {
    let budget = body.budget().clone();
    Messages::new(body, budget).only(shared).await
}

/// The small RPCs: health in OIP's words is answered here, the rest is a call.
async fn unary(shared: &Shared, rpc: &str, head: Head, request: Request<Incoming>) -> Response<GrpcBody> {
    let record = shared.observer.begin_other(|| Origin {
        protocol: Protocol::Grpc,
        method: shown(rpc).into(),
        path: String::new(),
        request_id: head.request_id.clone(),
        started: head.started,
    });
    let outcome = unary_answer(shared, rpc, &head, request).await;
    if let Some(record) = &record {
        let word = outcome.as_ref().map(|_| ()).map_err(|e| e.code);
        let bytes = outcome.as_ref().map_or(0, |answer| answer.body.len() as u64);
        record.finish_other(&shared.events, word, &status::code_label(Protocol::Grpc, word), bytes);
    }
    let id = head.request_id.as_deref().or_else(|| record.as_ref().map(|w| w.request_id()));
    match outcome {
        Ok(answer) => success(answer, id),
        Err(error) => {
            let id = id.map_or_else(ids::make, str::to_owned);
            shared.report(Protocol::Grpc, &id, "", &error);
            failure(&error, Some(&id))
        }
    }
}

async fn unary_answer(shared: &Shared, rpc: &str, head: &Head, request: Request<Incoming>) -> Result<Answer> {
    let known =
        matches!(rpc, health::LIST | "ServerLive" | "ServerReady" | "ModelReady") || CALLS.contains(&rpc);
    if !known {
        return Err(Error::new(ErrorCode::Unimplemented, "unknown method of inference.GRPCInferenceService"));
    }
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    let mut beside = body.budget().reserve();
    beside.take(head_bytes(&headers))?;
    let message = message(shared, body).await?;
    let encoding = head.answer_encoding(shared, message.compressed);
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    let (data, reservation) = whole(shared, head, message, limit).await?;
    let of = reservation.another();
    let body = match rpc {
        health::LIST => protobuf::framed(&health::list(shared), &of)?,
        "ServerLive" => protobuf::encode_bool_response(true),
        "ServerReady" => protobuf::encode_bool_response(shared.is_ready()),
        "ModelReady" => protobuf::encode_bool_response(model_ready(shared, data)?),
        _ => call(shared, rpc, head, &headers, (data, reservation)).await?,
    };
    match encoding {
        Encoding::Identity => Ok(Answer { body, json_len: None, encoding }),
        encoding => batch::compressed_frame(body.get(5..).unwrap_or_default(), encoding, &of),
    }
}

/// tritonclient raises on any error here: an unknown model is simply not ready.
fn model_ready(shared: &Shared, message: Bytes) -> Result<bool> {
    let (model, version) = protobuf::decode_model_ref(message)?;
    match shared.routes.is_ready(Reference { model: &model, version: &version }) {
        Err(error) if matches!(error.code, ErrorCode::NotFound | ErrorCode::Unavailable) => Ok(false),
        other => other,
    }
}

/// The answer comes framed.
async fn call(
    shared: &Shared,
    rpc: &str,
    head: &Head,
    headers: &HeaderMap,
    (message, held): (Bytes, Reservation),
) -> Result<Bytes> {
    let headers = super::text_headers(headers);
    let (mut call, answer) = Call::new((Protocol::Grpc, rpc), "", headers, message, held)?;
    call.request_id.clone_from(&head.request_id);
    shared.calls.push(call)?;
    let limit = infer::deadline(shared, head.started, head.timeout, 0);
    Ok(super::within(limit, answer, calls::outcome).await?.body)
}
