//! The Open Inference Protocol's service, with Triton's extensions.

use super::{Kind, Messages, Method, Service, Streamed, methods};
use crate::codec::protobuf::{self, ModelInferResponse, ModelStreamInferResponse};
use crate::doors::Shared;
use crate::error::{ErrorCode, Result};
use crate::routes::Reference;
use bytes::Bytes;

pub static SERVICE: Service = Service {
    name: "inference.GRPCInferenceService",
    methods: methods! { "inference.GRPCInferenceService", usize::MAX;
        "ModelInfer" => Kind::Infer(&ONE),
        "ModelStreamInfer" => Kind::Stream(&STREAMED),
        "ServerLive" => Kind::Local(|_, _| Ok(protobuf::encode_bool(true))),
        "ServerReady" => Kind::Local(|shared, _| Ok(protobuf::encode_bool(shared.is_ready()))),
        "ModelReady" => Kind::Local(model_ready),
        "ServerMetadata" => Kind::Call,
        "ModelMetadata" => Kind::Call,
        "ModelConfig" => Kind::Call,
        "ModelStatistics" => Kind::Call,
        "RepositoryIndex" => Kind::Call,
        "RepositoryModelLoad" => Kind::Call,
        "RepositoryModelUnload" => Kind::Call,
        "SystemSharedMemoryStatus" => Kind::Call,
        "SystemSharedMemoryRegister" => Kind::Call,
        "SystemSharedMemoryUnregister" => Kind::Call,
        "CudaSharedMemoryStatus" => Kind::Call,
        "CudaSharedMemoryRegister" => Kind::Call,
        "CudaSharedMemoryUnregister" => Kind::Call,
        "TraceSetting" => Kind::Call,
        "LogSettings" => Kind::Call,
    },
};

const ONE: Messages = Messages { decode: protobuf::decode_infer, form: &ModelInferResponse };
static STREAMED: Streamed = Streamed {
    messages: Messages { form: &ModelStreamInferResponse { why: None }, ..ONE },
    failure: protobuf::encode_stream_error,
};

/// tritonclient raises on any error here: an unknown model is simply not ready.
fn model_ready(shared: &Shared, message: Bytes) -> Result<Bytes> {
    let (model, version) = protobuf::decode_model_ref(message)?;
    let ready = match shared.routes.is_ready(Reference::to(&model, &version)) {
        Err(error) if matches!(error.code, ErrorCode::NotFound | ErrorCode::Unavailable) => false,
        other => other?,
    };
    Ok(protobuf::encode_bool(ready))
}
