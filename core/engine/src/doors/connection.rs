//! One connection: which protocol it speaks, and who serves it.

use super::lifetime::{Activity, Busy, Noted, Order, Watch};
use super::{Config, Io, grpc, http};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// HTTP/2 windows: a request of some hundred KB comes without waiting for updates.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Larger than HTTP/2's default, so that a large tensor comes in few pieces.
const FRAME: u32 = 64 << 10;
/// HTTP/1 read buffer: larger reads make fewer pieces of a large body.
const READ_BUFFER: usize = 512 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    Http,
}

/// Serve a connection to its end; `_slot` is its place among the connections.
pub async fn serve<S: Send>(io: Arc<Io>, stream: TcpStream, door: Door, _slot: S) {
    let began = Instant::now();
    let head_timeout = io.shared.config.head_timeout;
    let http2 = match door {
        Door::Grpc => true,
        Door::Http => match tokio::time::timeout(head_timeout, speaks_http2(&stream)).await {
            Ok(Ok(http2)) => http2,
            // Nothing came in time, or the peer is gone.
            Ok(Err(_)) | Err(_) => return,
        },
    };
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

/// Look at the first bytes without taking them.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; PREFACE.len()];
    let mut pause = Duration::from_millis(5);
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if first[..seen] != PREFACE[..seen] {
            return Ok(false);
        }
        if seen == PREFACE.len() {
            return Ok(true);
        }
        // Part of a preface: peek would return at once, so wait a little.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
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
