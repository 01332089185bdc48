//! gRPC's reflection, under both of its names: older clients know only the second.

use super::{Kind, Method, SMALL, Service, methods};
use crate::codec::protobuf;

pub static V1: Service = Service {
    name: "grpc.reflection.v1.ServerReflection",
    methods: methods! { "grpc.reflection.v1.ServerReflection", SMALL;
        "ServerReflectionInfo" => Kind::Exchange(protobuf::reflect),
    },
};

pub static V1_ALPHA: Service = Service {
    name: "grpc.reflection.v1alpha.ServerReflection",
    methods: methods! { "grpc.reflection.v1alpha.ServerReflection", SMALL;
        "ServerReflectionInfo" => Kind::Exchange(protobuf::reflect),
    },
};
