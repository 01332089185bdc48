//! The listening protocols: gRPC and HTTP, health, reflection, drain.

pub mod body;
pub mod calls;
pub mod connection;
mod copies;
mod expectation;
mod fallback;
pub mod grpc;
mod half_closed;
pub mod hosts;
pub mod http;
pub mod http2;
pub mod incoming;
pub mod infer;
pub mod lifetime;
mod linger;
pub mod listen;
mod outcome;
pub mod pace;
pub mod pages;
pub mod present;
mod queued;
pub mod read_ahead;
mod reporting;
pub mod scrape;
mod server;
mod shared_tensors;
pub mod signpost;
pub mod silence;
pub mod socket;
pub mod steering;
#[cfg(test)]
pub mod test_config;
#[cfg(test)]
mod test_sockets;
mod tidy;
mod turns;
pub mod windows;

pub use server::Server;

use crate::admission::{Budget, Clients, Shares};
use crate::codec::compression::Encoding;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::loans::Loans;
use crate::observe::{Observer, RequestRecord, trace};
use crate::offload::Offload;
use crate::queue::mailbox::Mailbox;
use crate::routes::{Route, Routes};
use crate::shadow::Shadows;
use crate::shared_memory::{Regions, Rules as RegionRules};
use crate::stats::Stats;
use ::http::HeaderMap;
use pages::Page;
use parking_lot::Mutex;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How answers are compressed on gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As the request came.
    Auto,
    None,
    /// Whenever the client accepts it.
    Always(Encoding),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub host: String,
    pub http_port: u16,
    pub grpc_port: u16,
    pub io_threads: usize,
    pub max_message_bytes: usize,
    pub max_head_bytes: usize,
    pub max_connections: usize,
    /// What the operator may do about that limit, in words.
    pub connections_advice: String,
    /// Concurrent streams of one HTTP/2 connection.
    pub max_streams: u32,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub max_connection_age: Option<Duration>,
    pub stream_in_flight: usize,
    /// Bytes of requests the process may hold.
    pub process_bytes: usize,
    /// The parts of it that one connection, and one client address, may hold.
    pub connection_share: f64,
    pub address_share: f64,
    pub request_timeout: Option<Duration>,
    /// Whether a tester's header may name the version that answers.
    pub forced_version: bool,
    /// How long a version among which a model's requests are divided may take before the default one is
    /// asked, at least.
    pub patience: Option<Duration>,
    pub grpc_compression: Compression,
    pub shared_memory: RegionRules,
    /// Of requests that name no model; empty: the only one that there is.
    pub default_model: String,
    /// Whether the HTTP port tells metrics under TensorFlow Serving's names.
    pub tensorflow_metrics: bool,
    pub web: Web,
}

/// What the HTTP port has for browsers.
#[derive(Clone, Debug)]
pub struct Web {
    /// Whether there are pages.
    pub pages: bool,
    /// See [`hosts::Own`].
    pub allowed_hosts: Vec<String>,
    /// Whose pages may read answers; `*` for any.
    pub cors_origins: Vec<String>,
    /// As `Config::host` is bound; set by whoever binds it.
    pub address: IpAddr,
}

impl Default for Web {
    fn default() -> Self {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Web { pages: false, allowed_hosts: Vec::new(), cors_origins: Vec::new(), address }
    }
}

/// What all I/O threads see.
pub struct Shared {
    pub config: Config,
    pub routes: Routes,
    pub events: Arc<Events>,
    pub observer: Arc<Observer>,
    pub budget: Arc<Budget>,
    pub clients: Clients,
    pub windows: Arc<windows::Windows>,
    pub offload: Arc<Offload>,
    pub loans: Arc<Loans>,
    pub shadows: Arc<Shadows>,
    pub regions: Regions,
    pub calls: calls::Calls,
    /// Requests whose model or version is not known.
    pub unresolved: Arc<Stats>,
    /// Whose outputs are counted.
    counting: Mutex<Vec<Arc<Stats>>>,
    /// Counts changes of readiness, for those who watch.
    pub changed: watch::Sender<u64>,
    pub draining: watch::Sender<bool>,
    ready: AtomicBool,
    pub present: present::Present,
    pub connections_total: AtomicU64,
    pub connections_refused: AtomicU64,
    /// For those who look for it elsewhere; 0 until it is known.
    pub admin_port: AtomicU16,
    pages: OnceLock<Vec<Page>>,
    /// Metrics under TensorFlow Serving's names.
    pub scrape: scrape::Scrape,
    quiet: reporting::Quiet,
    /// Whether any model that was published redacts some of its tensors.
    redacts: AtomicBool,
}

/// One I/O thread's own things.
pub struct Io {
    pub shared: Arc<Shared>,
    pub mailbox: Arc<Mailbox>,
}

/// One request being handled; dropping it counts it out.
pub struct InFlight {
    shared: Arc<Shared>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.present.end_request();
    }
}

impl Shared {
    pub fn new(config: Config) -> Arc<Self> {
        let budget = Budget::of_messages(config.process_bytes, config.max_message_bytes);
        let events = Arc::<Events>::default();
        let shares = Shares::of(
            config.process_bytes,
            config.connection_share,
            config.address_share,
            config.max_message_bytes,
        );
        Arc::new(Shared {
            clients: Clients::new(budget.clone(), shares),
            windows: windows::Windows::new(config.process_bytes),
            loans: Loans::new(budget.clone()),
            shadows: Shadows::new(budget.clone(), events.clone()),
            budget,
            offload: Offload::new(config.io_threads),
            regions: Regions::new(config.shared_memory),
            config,
            routes: Routes::default(),
            events,
            observer: Arc::default(),
            calls: calls::Calls::default(),
            unresolved: Stats::new("", 0),
            counting: Mutex::default(),
            changed: watch::Sender::new(0),
            draining: watch::Sender::new(false),
            ready: AtomicBool::new(false),
            present: present::Present::default(),
            connections_total: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            admin_port: AtomicU16::new(0),
            pages: OnceLock::new(),
            scrape: scrape::Scrape::default(),
            quiet: reporting::Quiet::default(),
            redacts: AtomicBool::new(false),
        })
    }

    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.present.begin_request();
        InFlight { shared: self.clone() }
    }

    pub fn in_flight(&self) -> usize {
        self.present.requests()
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The model that requests mean which name none.
    ///
    /// # Errors
    /// `NotFound` where none is set and there is not exactly one; `Unavailable` while the models are
    /// not known.
    pub fn default_model(&self) -> Result<String> {
        if !self.config.default_model.is_empty() {
            return Ok(self.config.default_model.clone());
        }
        self.routes.only_model()
    }

    /// The files for browsers, once; false when there are some already.
    pub fn set_pages(&self, pages: Vec<Page>) -> bool {
        self.pages.set(pages).is_ok()
    }

    pub fn pages(&self) -> &[Page] {
        self.pages.get().map_or(&[], Vec::as_slice)
    }

    /// What the HTTP port is known by.
    pub fn own(&self) -> hosts::Own<'_> {
        let Config { host, web, .. } = &self.config;
        hosts::Own { name: host, address: web.address, allowed: &web.allowed_hosts }
    }

    /// See [`Routes::publish`].
    pub fn publish(&self, changed: Vec<(String, Route)>, gone: &[String]) {
        for queue in changed.iter().flat_map(|(_, route)| route.loaded()) {
            queue.borrow_from(&self.loans);
            self.redacts.fetch_or(queue.redacts(), Ordering::Relaxed);
        }
        self.routes.publish(changed, gone);
        self.changed.send_modify(|n| *n += 1);
    }
}

/// Ends when the server begins to drain (or is gone).
async fn drain_begins(draining: &mut watch::Receiver<bool>) {
    // An error means the server is gone, which is an end too.
    let _ = draining.wait_for(|&d| d).await;
}

/// Wait for an answer, at most until the deadline.
async fn within<T>(deadline: Option<Instant>, answer: impl Future<Output = Result<T>>) -> Result<T> {
    match deadline {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::expired()),
        },
    }
}

/// Headers as text, for calls. What is not UTF-8 is kept, with marks in its place: a header
/// that was left out could open a gate that it should have shut (fault 108).
fn text_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |v: &::http::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    headers.iter().map(|(k, v)| (k.as_str().to_owned(), text(v))).collect()
}

/// The span under which a traced request, or one that brought a trace, is answered.
fn put_trace(headers: &mut HeaderMap, record: &RequestRecord) {
    if let Some(value) = record.own().and_then(trace::Context::header) {
        headers.insert(trace::HEADER, value);
    }
}
