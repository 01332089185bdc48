//! What tests set of a server without doors.

use super::{Compression, Config};
use std::time::Duration;

pub fn config() -> Config {
    let second = Duration::from_secs(1);
    Config {
        host: "127.0.0.1".into(),
        http_port: 0,
        grpc_port: 0,
        io_threads: 1,
        max_message_bytes: 1 << 20,
        max_head_bytes: 1 << 16,
        max_connections: 10,
        connections_advice: String::new(),
        max_streams: 10,
        head_timeout: second,
        body_timeout: second,
        idle_timeout: second,
        max_connection_age: None,
        stream_in_flight: 1,
        process_bytes: 1 << 30,
        connection_share: 1.0,
        address_share: 1.0,
        request_timeout: None,
        forced_version: true,
        patience: None,
        grpc_compression: Compression::None,
        shared_memory: Default::default(),
        default_model: String::new(),
        tensorflow_metrics: false,
        web: Default::default(),
    }
}
