//! One connection: which protocol it speaks, and who serves it.

use super::lifetime::{Activity, Busy, Noted, Order, Watch};
use super::{Config, Io, grpc, http, silence};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// HTTP/2 windows: a request of some hundred KB comes without waiting for updates.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Larger than HTTP/2's default, so that a large tensor comes in few pieces.
const FRAME: u32 = 64 << 10;
/// HTTP/1 read buffer: larger reads make fewer pieces of a large body.
const READ_BUFFER: usize = 512 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    Http,
}

/// Serve a connection to its end; `_slot` is its place among the connections.
pub async fn serve<S: Send>(io: Arc<Io>, stream: TcpStream, door: Door, _slot: S) {
    let began = Instant::now();
    let Some(speaks_http2) = silence::first_words(&stream, &io.shared, began).await else { return };
    // On the gRPC door whatever is no HTTP/2 gets HTTP/2's answer to it.
    let http2 = speaks_http2 || door == Door::Grpc;
    let activity = Arc::new(Activity::default());
    let shared = io.shared.clone();
    let watch = Watch { io: io.clone(), activity: activity.clone(), began, http2, order: Order::default() };
    let socket = Noted { io: TokioIo::new(stream), activity: activity.clone(), began };
    match (door, http2) {
        (Door::Grpc, _) => {
            let service = service_fn(move |request: Request<Incoming>| {
                // Boxed: hyper moves a request's future several times on its way to a task.
                Box::pin(grpc::handle(io.clone(), request, Busy::new(&activity, began)))
            });
            let connection = http2_builder(&shared.config).serve_connection(socket, service);
            watch.over(connection, |c| c.graceful_shutdown()).await;
        }
        (Door::Http, true) => {
            let service = http_service(io, activity, began);
            let connection = http2_builder(&shared.config).serve_connection(socket, service);
            watch.over(connection, |c| c.graceful_shutdown()).await;
        }
        (Door::Http, false) => {
            let service = http_service(io, activity, began);
            let connection = http1_builder(&shared.config).serve_connection(socket, service);
            watch.over(connection, |c| c.graceful_shutdown()).await;
        }
    }
}

fn http_service(
    io: Arc<Io>,
    activity: Arc<Activity>,
    began: Instant,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = hyper::Response<http_body_util::Full<bytes::Bytes>>,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> {
    service_fn(move |request: Request<Incoming>| {
        Box::pin(http::handle(io.clone(), request, Busy::new(&activity, began)))
    })
}

fn http2_builder(config: &Config) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(config.max_streams)
        .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX));
    builder
}

fn http1_builder(config: &Config) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The watch times heads; hyper's limit backs it up.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout.saturating_add(config.head_timeout))
        .max_header_size(config.max_head_bytes)
        .max_buf_size(READ_BUFFER.max(config.max_head_bytes));
    builder
}
