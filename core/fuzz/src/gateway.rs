//! The doors of a server in this process, with a model that gives back what it gets.

use bytes::Bytes;
use engine::doors::{Compression, Config, Server};
use engine::queue::batch::OutputView;
use engine::queue::{Batch, Options, Queue};
use engine::routes::Route;
use engine::stats::Stats;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Longer than any answer takes; a door that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server, started at the first call.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| start().expect("a server on free ports"))
}

fn start() -> std::io::Result<Server> {
    let server = Server::bind(config())?;
    let options = Options { max_rows: 4, ..Options::default() };
    let queue = Queue::new(Stats::new("m", 1), crate::signature(), options, None);
    let running = queue.clone();
    std::thread::spawn(move || {
        while let Some(batch) = running.next_batch() {
            echo(batch);
        }
    });
    let shared = server.shared();
    std::thread::spawn({
        let shared = shared.clone();
        move || {
            while let Some(call) = shared.calls.next() {
                call.fail(engine::error::Error::bad("no calls here"));
            }
        }
    });
    let route = Route { versions: [(1, queue)].into(), default: Some(1), ..Route::default() };
    shared.publish(vec![("m".to_owned(), route)], &[]);
    shared.set_ready(true);
    server.start()?;
    Ok(server)
}

fn config() -> Config {
    Config {
        host: "127.0.0.1".into(),
        http_port: 0,
        grpc_port: 0,
        io_threads: 1,
        max_message_bytes: 1 << 20,
        max_head_bytes: 1 << 14,
        max_connections: 100,
        connections_advice: String::new(),
        max_streams: 16,
        head_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        max_connection_age: None,
        stream_in_flight: 4,
        process_bytes: 64 << 20,
        connection_share: 0.5,
        address_share: 1.0,
        request_timeout: Some(Duration::from_secs(5)),
        forced_version: true,
        patience: Some(Duration::from_secs(1)),
        grpc_compression: Compression::Auto,
        shared_memory: Default::default(),
        default_model: String::new(),
        tensorflow_metrics: false,
        web: Default::default(),
    }
}

/// The outputs are the inputs of the same place; what was left out comes back empty.
fn echo(mut batch: Batch) {
    let Ok(gathered) = batch.gather() else { return };
    let signature = batch.queue().signature().clone();
    let rows = i64::try_from(batch.rows()).unwrap_or(0);
    let empty = Bytes::new();
    let views: Vec<_> = batch
        .outputs()
        .iter()
        .map(|&place| match &gathered[place] {
            Some((shape, data)) => {
                OutputView { datatype: signature.outputs[place].datatype, shape: shape.clone(), data }
            }
            None => OutputView {
                datatype: signature.outputs[place].datatype,
                shape: [rows, 0].into_iter().collect(),
                data: &empty,
            },
        })
        .collect();
    if batch.complete(&views).is_err() {
        batch.fail(&engine::error::Error::bad("the echo does not fit"));
    }
}

/// Send pieces to a door, say that no more comes, and take what is answered until it closes.
/// A request whose client has shut its side counts as left.
pub fn talk(address: SocketAddr, pieces: &[&[u8]]) -> Vec<u8> {
    exchange(address, pieces, true)
}

fn exchange(address: SocketAddr, pieces: &[&[u8]], leaves: bool) -> Vec<u8> {
    let mut answer = Vec::new();
    let Ok(mut socket) = TcpStream::connect(address) else { return answer };
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out is set");
    socket.set_nodelay(true).expect("an open socket takes the option");
    for piece in pieces {
        // The door may close before it has read everything: that is an answer, too.
        if socket.write_all(piece).is_err() {
            break;
        }
    }
    if leaves {
        let _ = socket.shutdown(Shutdown::Write);
    }
    match socket.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("a door is stuck"),
        _ => answer,
    }
}

/// The door still answers rightly.
pub fn witness() {
    let answer = exchange(
        server().http_address,
        &[b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"],
        false,
    );
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

/// Nothing is held for those who have left.
pub fn settled(shared: &Arc<engine::doors::Shared>) {
    for _ in 0..2000 {
        if shared.present.connections() == 0 && shared.budget.used() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} bytes are held for nobody", shared.budget.used());
}
