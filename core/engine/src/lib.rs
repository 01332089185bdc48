//! The gateway's engine: doors, codecs, queues and batching. It knows no Python;
//! whoever runs models pulls [`queue::Queue::next_batch`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admission;
pub mod batching;
pub mod checks;
pub mod codec;
pub mod doors;
pub mod error;
pub mod events;
pub mod fields;
pub mod figures;
pub mod ids;
pub mod loans;
pub mod memory;
pub mod metrics;
pub mod near;
pub mod observe;
pub mod offload;
pub mod onnx;
pub mod permits;
pub mod queue;
pub mod random;
pub mod routes;
pub mod scheduling;
pub mod shadow;
pub mod shared_memory;
pub mod stats;
pub mod status;
pub mod stop;
pub mod tensor;

/// The serialized `FileDescriptorSet` of `protos/`, as `make protos` compiles it: for reflection,
/// and for whoever builds message classes at run time.
pub static DESCRIPTORS: &[u8] = include_bytes!("../../../protos/inference.binpb");

/// Whether this was built to be worked on: quick to compile, slower to serve.
pub fn is_development_build() -> bool {
    env!("ENGINE_PROFILE") != "release"
}
