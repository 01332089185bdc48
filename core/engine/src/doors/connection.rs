//! One connection: which protocol it speaks, and who serves it.

use super::http2::{self, Patience, Reply};
use super::incoming::Incoming;
use super::lifetime::{Activity, Busy, ConnectionGuard, Order};
use super::socket::Noted;
use super::{Config, Io, grpc, http, linger, signpost, silence};
use crate::admission::Reservation;
use h2::RecvStream;
use http_body::Body;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// HTTP/2 windows where memory is plenty: a request of some hundred KB comes without
/// waiting for updates.
const STREAM_WINDOW: usize = 1 << 20;
const CONNECTION_WINDOW: usize = 16 << 20;
/// Larger than HTTP/2's default, so that a large tensor comes in few pieces.
const FRAME: u32 = 64 << 10;
/// HTTP/1 read buffer: larger reads make fewer pieces of a large body.
const READ_BUFFER: usize = 512 << 10;
/// What a request takes over HTTP/2 beside its bytes, until its answer is sent: its task, its
/// place in line and HTTP/2's state of it. Measured: 8,200 to 8,700.
const OPEN_REQUEST: usize = 8 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Grpc,
    Http,
}

/// Serve a connection to its end; `_slot` is its place among the connections.
pub async fn serve<S: Send>(io: Arc<Io>, stream: TcpStream, door: Door, _slot: S) {
    let began = Instant::now();
    let Some(speaks_http2) = silence::first_words(&stream, &io.shared, began).await else { return };
    // On the gRPC door whatever is no HTTP at all gets HTTP/2's answer to it.
    let http2 = speaks_http2 || (door == Door::Grpc && !signpost::begins_like_http1(&stream).await);
    // Fails when the peer is gone.
    let Ok(peer) = stream.peer_addr() else { return };
    let budget = io.shared.clients.connection(peer.ip());
    let most = if http2 { CONNECTION_WINDOW } else { READ_BUFFER };
    let window = io.shared.windows.allot(most);
    let activity = Activity::new(stream.as_raw_fd());
    let shared = io.shared.clone();
    let order = Arc::new(Order::default());
    let guard =
        ConnectionGuard { io: io.clone(), activity: activity.clone(), began, http2, order: order.clone() };
    let mut socket = Noted::new(stream, activity.clone(), began);
    let refused = activity.clone();
    if http2 {
        let patience = Patience { activity, order, began, limit: shared.config.body_timeout };
        let serve = move |request: Request<RecvStream>, reply| {
            let mut held = budget.reserve();
            let refusal = held.take(OPEN_REQUEST).err();
            let request = request.map(|body| Incoming::http2(body, budget.clone(), refusal));
            let reply = Reply { stream: reply, head_only: request.method() == Method::HEAD, held };
            answer_http2(io.clone(), door, request, reply, patience.clone());
        };
        let connection = http2::Connection::new(&http2_builder(&shared.config, window.bytes), socket, serve);
        // A broken connection is its client's affair: nobody is left to tell.
        let _ = guard.over(connection, |c| c.get_mut().graceful_shutdown()).await;
    } else {
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let busy = Busy::http1(&activity, began, &request);
            let request = request.map(|body| Incoming::http1(body, budget.clone()));
            // Boxed: hyper moves a request's future several times.
            let io = io.clone();
            Box::pin(async move {
                match door {
                    Door::Http => {
                        let (head, mut body) = request.into_parts();
                        http::handle(io, Request::from_parts(head, &mut body), busy).await
                    }
                    Door::Grpc => Ok(signpost::not_here(&io.shared)),
                }
            })
        });
        let connection =
            http1_builder(&shared.config, window.bytes).serve_connection(TokioIo::new(&mut socket), service);
        let ended = guard.over(connection, |c| c.graceful_shutdown()).await;
        if ended.is_some_and(|ended| refused.is_unread() || ended.is_err_and(|error| error.is_parse())) {
            linger::linger(&socket.io, &shared).await;
        }
    }
}

fn answer_http2(io: Arc<Io>, door: Door, request: Request<Incoming>, reply: Reply, patience: Patience) {
    let busy = Busy::new(&patience.activity, patience.began);
    match door {
        // Boxed: spawning moves a future, and a handler's is large.
        Door::Grpc => tokio::spawn(http2::answer(Box::pin(grpc::handle(io, request, busy)), reply, patience)),
        Door::Http => tokio::spawn(answer_http(io, request, busy, reply, patience)),
    };
}

/// Who goes on sending after the answer is listened to for a while: many clients read nothing
/// before they have sent everything, or lose an answer that a reset follows. gRPC's know better.
async fn answer_http(
    io: Arc<Io>,
    request: Request<Incoming>,
    busy: Busy,
    reply: Reply,
    patience: Patience,
) -> Reservation {
    let activity = patience.activity.clone();
    let (head, mut body) = request.into_parts();
    let request = Request::from_parts(head, &mut body);
    let held = http2::answer(Box::pin(http::handle(io.clone(), request, busy)), reply, patience).await;
    if !body.is_end_stream() {
        linger::hear_out(&mut body, &activity.unheard, &io.shared).await;
    }
    held
}

/// Streams that may be reset before they were looked at: a client may give up all that it has open at once,
/// and the calls that it still waits for go on. More than these end the connection.
const FEWEST_RESETS: usize = 20;

fn http2_builder(config: &Config, window: usize) -> h2::server::Builder {
    let size = |most: usize| u32::try_from(window.min(most)).unwrap_or(u32::MAX);
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(size(STREAM_WINDOW))
        .initial_connection_window_size(size(CONNECTION_WINDOW))
        .max_frame_size(FRAME)
        .max_concurrent_streams(config.max_streams)
        .max_pending_accept_reset_streams(FEWEST_RESETS.max(config.max_streams as usize))
        .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX));
    builder
}

fn http1_builder(config: &Config, buffer: usize) -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    // The watch times heads; hyper's limit backs it up.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.idle_timeout.saturating_add(config.head_timeout))
        .max_header_size(config.max_head_bytes)
        .max_buf_size(buffer.max(config.max_head_bytes));
    builder
}
