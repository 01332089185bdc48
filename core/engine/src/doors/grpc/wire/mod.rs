//! What all of gRPC's services have of the wire in common.

pub mod answer;
pub mod request;
