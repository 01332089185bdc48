//! Listeners, I/O threads and the life of a connection.

use super::{Config, Io, Shared, drain_begins, grpc, health, http};
use crate::events::Level;
use crate::queue::{self, mailbox::Mailbox};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

const BACKLOG: i32 = 4096;
/// HTTP/2 windows: a request of some hundred KB comes without waiting for updates.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Larger than HTTP/2's default, so that a large tensor comes in few pieces.
const FRAME: u32 = 64 << 10;
/// HTTP/1 read buffer: larger reads make fewer pieces of a large body.
const READ_BUFFER: usize = 512 << 10;
/// How long a kept-alive HTTP/1 connection may go on being idle on a draining server:
/// its client may have sent a request that is still on its way.
const LINGER: Duration = Duration::from_secs(1);
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// Blocking helpers of one I/O thread, for heavy decoding.
const HELPERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Grpc,
    Http,
}

pub struct Listeners {
    pub http: TcpListener,
    pub grpc: TcpListener,
}

impl Listeners {
    /// # Errors
    /// The operating system's, with the address in words.
    pub fn bind(config: &Config) -> io::Result<Listeners> {
        Ok(Listeners {
            http: bind(&config.host, config.http_port, "HTTP")?,
            grpc: bind(&config.host, config.grpc_port, "gRPC")?,
        })
    }
}

/// SO_REUSEADDR so that a restart gets its port at once; never SO_REUSEPORT, so
/// that a second server on a taken port fails.
fn bind(host: &str, port: u16, door: &str) -> io::Result<TcpListener> {
    let explain =
        |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {host}:{port} for {door}: {e}"));
    let address = (host, port).to_socket_addrs().map_err(explain)?.next();
    let address: SocketAddr = address.ok_or_else(|| explain(io::ErrorKind::AddrNotAvailable.into()))?;
    let listen = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    listen().map_err(explain)
}

type Handed = (std::net::TcpStream, Door, Slot);

pub struct IoThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl IoThread {
    pub fn stop(mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// # Errors
/// When a thread or its runtime cannot be made.
pub fn start(shared: &Arc<Shared>, listeners: Listeners) -> io::Result<Vec<IoThread>> {
    let count = shared.config.io_threads.max(1);
    let mut threads = Vec::with_capacity(count);
    let mut handing = Vec::with_capacity(count);
    let mut inboxes = Vec::with_capacity(count);
    for _ in 0..count {
        let (tx, rx) = mpsc::unbounded_channel();
        handing.push(tx);
        inboxes.push(rx);
    }
    let mut listeners = Some((listeners, handing));
    for (number, inbox) in inboxes.into_iter().enumerate() {
        threads.push(io_thread(number, shared.clone(), inbox, listeners.take())?);
    }
    Ok(threads)
}

type Accepting = (Listeners, Vec<mpsc::UnboundedSender<Handed>>);

fn io_thread(
    number: usize,
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Handed>,
    accepting: Option<Accepting>,
) -> io::Result<IoThread> {
    let (stop, stopped) = oneshot::channel();
    let tonic = health::services(&shared).map_err(io::Error::other)?;
    let io = Arc::new(Io { shared, mailbox: Mailbox::new(), tonic });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(HELPERS)
        .thread_name(format!("serving-decode-{number}"))
        .build()?;
    let thread = std::thread::Builder::new().name(format!("serving-io-{number}")).spawn(move || {
        let touched = queue::defer_wakes();
        runtime.block_on(async move {
            tokio::spawn(async move {
                loop {
                    touched.notified().await;
                    queue::wake_touched();
                }
            });
            let mailbox = io.mailbox.clone();
            tokio::spawn(async move { mailbox.dispatch().await });
            if let Some((listeners, handing)) = accepting {
                spawn_acceptors(&io, listeners, handing);
            }
            tokio::spawn(receive(io, inbox));
            // Ends when `stop` is called, or its sender is dropped.
            let _ = stopped.await;
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    })?;
    Ok(IoThread { stop: Some(stop), thread: Some(thread) })
}

fn spawn_acceptors(io: &Arc<Io>, listeners: Listeners, handing: Vec<mpsc::UnboundedSender<Handed>>) {
    let next = Arc::new(AtomicUsize::new(0));
    for (listener, door) in [(listeners.http, Door::Http), (listeners.grpc, Door::Grpc)] {
        let (io, handing, next) = (io.clone(), handing.clone(), next.clone());
        tokio::spawn(async move {
            if let Err(error) = accept(&io, listener, door, &handing, &next).await {
                let fields = vec![("error", error.to_string())];
                io.shared.events.state(Level::Error, "listener_failed", fields);
            }
        });
    }
}

/// Take connections until the server drains, then what is left in the backlog.
async fn accept(
    io: &Arc<Io>,
    listener: TcpListener,
    door: Door,
    handing: &[mpsc::UnboundedSender<Handed>],
    next: &AtomicUsize,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut draining = io.shared.draining.subscribe();
    loop {
        tokio::select! {
            biased;
            () = drain_begins(&mut draining) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => hand_out(io, stream, door, handing, next),
                // Out of descriptors, or the peer went before we looked: neither may
                // end the loop, and the first must not spin (fault 36).
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
    let leftover = listener.into_std()?;
    while let Ok((stream, _)) = leftover.accept() {
        stream.set_nonblocking(true)?;
        hand_out(io, TcpStream::from_std(stream)?, door, handing, next);
    }
    Ok(())
}

/// A place among the connections; dropping it frees the place.
struct Slot {
    shared: Arc<Shared>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn slot(shared: &Arc<Shared>) -> Option<Slot> {
    let before = shared.connections.fetch_add(1, Ordering::AcqRel);
    let slot = Slot { shared: shared.clone() };
    if before >= shared.config.max_connections {
        shared.connections_refused.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    shared.connections_total.fetch_add(1, Ordering::Relaxed);
    Some(slot)
}

fn hand_out(
    io: &Arc<Io>,
    stream: TcpStream,
    door: Door,
    handing: &[mpsc::UnboundedSender<Handed>],
    next: &AtomicUsize,
) {
    // Over the limit the connection is closed at once: a clear end, not a stall.
    let Some(slot) = slot(&io.shared) else { return };
    // A peer that is gone already shows when it is served.
    let _ = stream.set_nodelay(true);
    if handing.len() == 1 {
        tokio::spawn(serve(io.clone(), stream, door, slot));
        return;
    }
    let thread = next.fetch_add(1, Ordering::Relaxed) % handing.len();
    if let Ok(stream) = stream.into_std() {
        // Fails only when that thread has stopped: then the connection closes.
        let _ = handing[thread].send((stream, door, slot));
    }
}

async fn receive(io: Arc<Io>, mut inbox: mpsc::UnboundedReceiver<Handed>) {
    while let Some((stream, door, slot)) = inbox.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(serve(io.clone(), stream, door, slot));
        }
    }
}

/// What a connection is doing, for its time-outs.
#[derive(Default)]
struct Activity {
    active: AtomicUsize,
    requests: AtomicU64,
    /// Milliseconds since the connection began when it last became idle.
    idle_since: AtomicU64,
    /// HTTP/1: when the first bytes of a head came that is not whole yet; 0 for none.
    head_since: AtomicU64,
    /// When the peer stopped taking what is sent; 0 while it takes it.
    blocked_since: AtomicU64,
}

/// One request or stream of a connection; while there is one, it is not idle.
pub struct Busy {
    activity: Arc<Activity>,
    began: Instant,
}

impl Busy {
    fn new(activity: &Arc<Activity>, began: Instant) -> Self {
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        Busy { activity: activity.clone(), began }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.idle_since.store(millis_since(self.began), Ordering::Relaxed);
        self.activity.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// At least 1: 0 means never.
fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A connection's socket: notes when a head begins and when the peer stops reading.
/// hyper's own time-out for heads begins with the wait for one, so that it cannot
/// tell an idle connection from a slow head.
struct Noted {
    io: TokioIo<TcpStream>,
    activity: Arc<Activity>,
    began: Instant,
}

impl Noted {
    fn mark(&self, since: &AtomicU64) {
        if since.load(Ordering::Relaxed) == 0 {
            since.store(millis_since(self.began), Ordering::Relaxed);
        }
    }

    fn wrote<T>(&self, polled: Poll<T>) -> Poll<T> {
        match &polled {
            Poll::Pending => self.mark(&self.activity.blocked_since),
            Poll::Ready(_) => self.activity.blocked_since.store(0, Ordering::Relaxed),
        }
        polled
    }
}

impl hyper::rt::Read for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() && self.activity.active.load(Ordering::Relaxed) == 0 {
            self.mark(&self.activity.head_since);
        }
        polled
    }
}

impl hyper::rt::Write for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

async fn serve(io: Arc<Io>, stream: TcpStream, door: Door, slot: Slot) {
    let _slot = slot;
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
    let watch = Watch { io: io.clone(), activity: activity.clone(), began, http2 };
    let socket = Noted { io: TokioIo::new(stream), activity: activity.clone(), began };
    match (door, http2) {
        (Door::Grpc, _) => {
            let service = service_fn(move |request: Request<Incoming>| {
                grpc::handle(io.clone(), request, Busy::new(&activity, began))
            });
            let connection = http2_builder(&watch.io.shared.config).serve_connection(socket, service);
            watch.over(connection, |c| c.graceful_shutdown()).await;
        }
        (Door::Http, true) => {
            let service = http_service(io, activity, began);
            let connection = http2_builder(&watch.io.shared.config).serve_connection(socket, service);
            watch.over(connection, |c| c.graceful_shutdown()).await;
        }
        (Door::Http, false) => {
            let service = http_service(io, activity, began);
            let connection = http1_builder(&watch.io.shared.config).serve_connection(socket, service);
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
        http::handle(io.clone(), request, Busy::new(&activity, began))
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
        .max_header_list_size(u32::try_from(config.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
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

/// Watches over a connection: time-outs, age, drain.
struct Watch {
    io: Arc<Io>,
    activity: Arc<Activity>,
    began: Instant,
    http2: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Look again then.
    At(Duration),
    /// Let what is in flight end, then close.
    Finish,
    Close,
}

impl Watch {
    async fn over<C, E>(&self, connection: C, graceful: impl Fn(Pin<&mut C>))
    where
        C: Future<Output = Result<(), E>>,
    {
        let mut connection = std::pin::pin!(connection);
        let mut draining = self.io.shared.draining.subscribe();
        let mut drains = draining.borrow_and_update().then(|| self.began.elapsed());
        let mut finishing = None;
        loop {
            let age = self.began.elapsed();
            let state = self.state(age, drains);
            let next = match verdict(&state, &self.io.shared.config) {
                Verdict::Close => return,
                Verdict::Finish => {
                    let since = *finishing.get_or_insert(age);
                    if since == age {
                        graceful(connection.as_mut());
                    }
                    // Whoever reads nothing of what is left to send does not stay for ever.
                    if !state.active && age - since > self.io.shared.config.idle_timeout {
                        return;
                    }
                    Duration::from_secs(1)
                }
                Verdict::At(at) => at.saturating_sub(age).max(Duration::from_millis(1)),
            };
            tokio::select! {
                biased;
                // A broken connection is its client's affair: nobody is left to tell.
                _ = connection.as_mut() => return,
                changed = draining.changed(), if drains.is_none() => {
                    drains = (changed.is_err() || *draining.borrow()).then(|| self.began.elapsed());
                }
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    fn state(&self, age: Duration, draining: Option<Duration>) -> State {
        let millis = |at: &AtomicU64| Duration::from_millis(at.load(Ordering::Relaxed));
        let since = |at: &AtomicU64| Some(millis(at)).filter(|t| !t.is_zero());
        State {
            age,
            active: self.activity.active.load(Ordering::Relaxed) > 0,
            requests: self.activity.requests.load(Ordering::Relaxed),
            idle_since: millis(&self.activity.idle_since),
            head_since: since(&self.activity.head_since).filter(|_| !self.http2),
            blocked_since: since(&self.activity.blocked_since),
            draining,
            http2: self.http2,
        }
    }
}

/// A connection at one moment; times are since its beginning.
struct State {
    age: Duration,
    active: bool,
    requests: u64,
    idle_since: Duration,
    head_since: Option<Duration>,
    blocked_since: Option<Duration>,
    /// Since when the server drains.
    draining: Option<Duration>,
    http2: bool,
}

/// What to do with a connection of this age and state. Pure.
fn verdict(state: &State, config: &Config) -> Verdict {
    let (head, idle) = (config.head_timeout, config.idle_timeout);
    let over = |since: Option<Duration>, limit| {
        since.is_some_and(|t: Duration| state.age >= t.saturating_add(limit))
    };
    // A head that does not get whole, or a peer that takes nothing of its answer.
    if (!state.active && over(state.head_since, head)) || over(state.blocked_since, config.body_timeout) {
        return Verdict::Close;
    }
    if state.draining.is_some() && state.http2 {
        return Verdict::Finish;
    }
    let by_age = config.max_connection_age.unwrap_or(Duration::MAX);
    if state.age >= by_age {
        return Verdict::Finish;
    }
    // A head may begin, or the peer stop reading, while nobody looks.
    let look = state.age + head.min(config.body_timeout).div_f64(2.0).min(Duration::from_secs(5));
    if state.active {
        return Verdict::At(by_age.min(look).min(state.age + Duration::from_secs(1)));
    }
    let (from, patience) = match (state.draining, state.requests) {
        // A draining server's patience begins with the drain.
        (Some(drain), _) => (state.idle_since.max(drain), LINGER),
        // A peer that never sends a request gets no longer than a head may take.
        (None, 0) => (Duration::ZERO, head.min(idle)),
        (None, _) => (state.idle_since, idle),
    };
    let due = from.saturating_add(patience);
    if state.age < due {
        return Verdict::At(due.min(by_age).min(look));
    }
    if state.requests == 0 && !state.http2 { Verdict::Close } else { Verdict::Finish }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::Compression;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(300);
    const BODY: Duration = Duration::from_secs(30);

    fn config(max_age: Option<u64>) -> Config {
        Config {
            host: "127.0.0.1".into(),
            http_port: 0,
            grpc_port: 0,
            io_threads: 1,
            max_message_bytes: 1 << 20,
            max_head_bytes: 1 << 16,
            max_connections: 10,
            max_streams: 10,
            head_timeout: HEAD,
            body_timeout: BODY,
            idle_timeout: IDLE,
            max_connection_age: max_age.map(Duration::from_secs),
            stream_in_flight: 4,
            process_bytes: 1 << 20,
            request_timeout: None,
            grpc_compression: Compression::Auto,
        }
    }

    fn state(age: u64, requests: u64, active: bool) -> State {
        State {
            age: Duration::from_secs(age),
            active,
            requests,
            idle_since: Duration::ZERO,
            head_since: None,
            blocked_since: None,
            draining: None,
            http2: false,
        }
    }

    fn of(state: &State) -> Verdict {
        verdict(state, &config(None))
    }

    #[test]
    fn fault_37_a_peer_that_sends_no_request_is_closed_after_the_head_time_out() {
        assert!(matches!(of(&state(9, 0, false)), Verdict::At(at) if at <= HEAD));
        assert_eq!(of(&state(10, 0, false)), Verdict::Close);
    }

    #[test]
    fn fault_37_a_head_that_does_not_get_whole_is_cut_and_an_idle_connection_is_not() {
        let slow = |age| State { head_since: Some(Duration::from_secs(50)), ..state(age, 3, false) };
        assert!(matches!(of(&slow(59)), Verdict::At(_)));
        assert_eq!(of(&slow(60)), Verdict::Close);
        assert!(matches!(of(&state(60, 3, false)), Verdict::At(_)));
    }

    #[test]
    fn fault_28_a_peer_that_takes_nothing_of_its_answer_is_closed() {
        let blocked = |age| State { blocked_since: Some(Duration::from_secs(5)), ..state(age, 1, true) };
        assert!(matches!(of(&blocked(34)), Verdict::At(_)));
        assert_eq!(of(&blocked(35)), Verdict::Close);
    }

    #[test]
    fn an_idle_connection_finishes_and_a_busy_one_does_not() {
        assert_eq!(of(&state(300, 5, false)), Verdict::Finish);
        assert!(matches!(of(&state(300, 5, true)), Verdict::At(_)));
        assert_eq!(of(&State { http2: true, ..state(300, 0, false) }), Verdict::Finish);
    }

    #[test]
    fn an_old_connection_finishes_even_when_busy() {
        assert_eq!(verdict(&state(60, 5, true), &config(Some(60))), Verdict::Finish);
    }

    #[test]
    fn a_draining_server_lets_http1_linger_from_then_on_and_tells_http2_at_once() {
        let idle_for_long = |age| State { draining: Some(Duration::from_secs(100)), ..state(age, 1, false) };
        assert_eq!(of(&idle_for_long(100)), Verdict::At(Duration::from_secs(101)));
        assert_eq!(of(&idle_for_long(101)), Verdict::Finish);
        let http2 = State { draining: Some(Duration::ZERO), http2: true, ..state(0, 1, true) };
        assert_eq!(of(&http2), Verdict::Finish);
    }
}
