//! Listeners and I/O threads: who accepts, and which thread serves.

use super::connection::{self, Door};
use super::{Config, Io, Shared, drain_begins, tidy};
use crate::events::Level;
use crate::offload;
use crate::queue::{self, mailbox::Mailbox};
use crate::scheduling;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

const BACKLOG: i32 = 4096;
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(20);
/// A peer may acknowledge nothing for this long at least: networks fail for a while.
const LEAST_PATIENCE: Duration = Duration::from_secs(20);

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
    scheduling::start_beat()?;
    let (stop, stopped) = oneshot::channel();
    let io = Arc::new(Io { shared, mailbox: Mailbox::new() });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One I/O thread's work may take all helpers.
        .max_blocking_threads(offload::helpers(io.shared.config.io_threads))
        .thread_name(format!("serving-decode-{number}"))
        .on_thread_start(scheduling::give_way)
        .build()?;
    let thread = std::thread::Builder::new().name(format!("serving-io-{number}")).spawn(move || {
        scheduling::take_short_turns();
        let touched = queue::defer_wakes();
        runtime.block_on(async move {
            tokio::spawn(async move {
                loop {
                    touched.notified().await;
                    // Look at the sockets once more: what came meanwhile joins the batch.
                    tokio::task::yield_now().await;
                    queue::wake_touched();
                }
            });
            let mailbox = io.mailbox.clone();
            tokio::spawn(async move { mailbox.dispatch().await });
            if let Some((listeners, handing)) = accepting {
                spawn_acceptors(&io, listeners, handing);
            }
            tokio::spawn(tidy::tidy(io.shared.clone()));
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
                let fields = vec![("error", error.to_string().into())];
                io.shared.events.emit(Level::Error, "listener_failed", fields);
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
    let mut said = false;
    loop {
        tokio::select! {
            biased;
            () = drain_begins(&mut draining) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => hand_out(io, stream, door, handing, next),
                // Out of descriptors, or the peer went before we looked: neither may
                // end the loop, and the first must not spin (fault 36): nothing tells when
                // there is a descriptor again.
                Err(error) => {
                    if is_shortage(&error) && !std::mem::replace(&mut said, true) {
                        let fields = vec![("error", error.to_string().into())];
                        io.shared.events.emit(Level::Error, "no_descriptor_for_a_connection", fields);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
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

/// Of file descriptors, this process's or the system's.
fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// A place among the connections; dropping it frees the place.
struct Slot {
    shared: Arc<Shared>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.present.disconnect();
    }
}

fn slot(shared: &Arc<Shared>) -> Option<Slot> {
    let before = shared.present.connect();
    let slot = Slot { shared: shared.clone() };
    if before >= shared.config.max_connections {
        if shared.connections_refused.fetch_add(1, Ordering::Relaxed) == 0 {
            let config = &shared.config;
            let advice = config.connections_advice.clone();
            let fields = vec![("limit", config.max_connections.into()), ("advice", advice.into())];
            shared.events.emit(Level::Warning, "connections_refused", fields);
        }
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
    prepare(&stream, io.shared.config.body_timeout);
    if handing.len() == 1 {
        tokio::spawn(connection::serve(io.clone(), stream, door, slot));
        return;
    }
    let thread = next.fetch_add(1, Ordering::Relaxed) % handing.len();
    if let Ok(stream) = stream.into_std() {
        // Fails only when that thread has stopped: then the connection closes.
        let _ = handing[thread].send((stream, door, slot));
    }
}

/// Small answers go out at once, and a peer that is gone without a word is noticed, one behind a
/// filter that swallows its resets too: by the kernel's probes, and by what it does not
/// acknowledge, which cost the connection's task nothing. Where an option is refused, the peer
/// is gone already, and shows so when it is served.
fn prepare(stream: &TcpStream, body_timeout: Duration) {
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let _ = socket.set_tcp_keepalive(&probes);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(patience(body_timeout)));
    #[cfg(not(target_os = "linux"))]
    let _ = body_timeout;
}

/// How long a peer may acknowledge nothing. Longer than one may take nothing: who reads slowly
/// keeps its window shut for as long, and is judged by what it reads. Pure.
#[cfg(any(target_os = "linux", test))]
fn patience(body_timeout: Duration) -> Duration {
    body_timeout.saturating_mul(2).max(LEAST_PATIENCE)
}

async fn receive(io: Arc<Io>, mut inbox: mpsc::UnboundedReceiver<Handed>) {
    while let Some((stream, door, slot)) = inbox.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(connection::serve(io.clone(), stream, door, slot));
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::doors::test_sockets::pair;

    #[tokio::test]
    async fn fault_27_a_peer_that_acknowledges_nothing_is_given_up_by_the_kernel() {
        let (server, _client) = pair().await;
        prepare(&server, Duration::from_secs(30));
        let socket = socket2::SockRef::from(&server);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(60)));
        assert!(socket.keepalive().unwrap());
    }

    #[test]
    fn fault_111_who_may_read_slowly_may_acknowledge_slowly() {
        for (body, expected) in [(1, 20), (10, 20), (30, 60), (300, 600)] {
            assert_eq!(patience(Duration::from_secs(body)), Duration::from_secs(expected));
        }
    }
}
