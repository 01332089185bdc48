//! The doors as one thing: bound, started, drained, stopped; and their figures.

use super::{Config, Shared, Web, listen};
use crate::figures::{Figures, Totals};
use crate::metrics;
use crate::queue::Queue;
use crate::routes::Route;
use crate::stats::Stats;
use crate::stats::outputs::Counting;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub struct Server {
    shared: Arc<Shared>,
    listeners: parking_lot::Mutex<Option<listen::Listeners>>,
    threads: parking_lot::Mutex<Vec<listen::IoThread>>,
    pub http_address: SocketAddr,
    pub grpc_address: SocketAddr,
}

impl Server {
    /// Bind the sockets.
    ///
    /// # Errors
    /// The operating system's, when an address is taken or cannot be had.
    pub fn bind(config: Config) -> std::io::Result<Server> {
        let listeners = listen::Listeners::bind(&config)?;
        let http_address = listeners.http.local_addr()?;
        let grpc_address = listeners.grpc.local_addr()?;
        // As they are, where any would do.
        let web = Web { address: http_address.ip(), ..config.web };
        let config = Config { http_port: http_address.port(), grpc_port: grpc_address.port(), web, ..config };
        Ok(Server {
            shared: Shared::new(config),
            listeners: parking_lot::Mutex::new(Some(listeners)),
            threads: parking_lot::Mutex::new(Vec::new()),
            http_address,
            grpc_address,
        })
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Accept connections; a second call does nothing.
    ///
    /// # Errors
    /// When a thread or runtime cannot be made.
    pub fn start(&self) -> std::io::Result<()> {
        let Some(listeners) = self.listeners.lock().take() else { return Ok(()) };
        *self.threads.lock() = listen::start(&self.shared, listeners)?;
        Ok(())
    }

    /// Close the listeners, let connections finish; true when nothing is in flight.
    pub fn drain(&self, timeout: Duration) -> bool {
        self.shared.draining.send_replace(true);
        self.shared.present.wait_for_none(timeout) || self.shared.in_flight() == 0
    }

    /// See [`Shared::figures`].
    pub fn figures(&self, named: Option<&[(String, u64)]>) -> Vec<Figures> {
        self.shared.figures(named)
    }

    pub fn totals(&self) -> Totals {
        let shared = &self.shared;
        let observer = &shared.observer;
        Totals {
            connections: shared.present.connections() as u64,
            connections_total: shared.connections_total.load(Ordering::Relaxed),
            connections_refused: shared.connections_refused.load(Ordering::Relaxed),
            buffered_bytes: shared.budget.used() as u64,
            buffered_bytes_limit: shared.budget.max() as u64,
            window_bytes: shared.windows.taken() as u64,
            window_bytes_limit: shared.windows.all as u64,
            events_dropped: shared.events.dropped(),
            spans_dropped: observer.spans.dropped(),
            samples_dropped: observer.samples.dropped(),
            samples_too_large: observer.samples_too_large(),
            statistics_too_large: observer.statistics_too_large(),
        }
    }

    /// The core's metric families as Prometheus text.
    pub fn metrics(&self) -> String {
        metrics::text(&self.figures(None), &self.totals())
    }

    /// End the I/O threads, with whatever they still hold.
    pub fn stop(&self) {
        self.shared.draining.send_replace(true);
        self.shared.calls.close();
        self.listeners.lock().take();
        for thread in self.threads.lock().drain(..) {
            thread.stop();
        }
        self.shared.events.close();
        self.shared.observer.close();
        self.shared.shadows.close();
    }
}

impl Shared {
    /// What versions did until now, in order of model and version: those of the table that are
    /// named; or all that were ever asked, after the requests whose names nobody has.
    pub fn figures(&self, named: Option<&[(String, u64)]>) -> Vec<Figures> {
        let table = self.routes.table();
        let stats = |queue: &Arc<Queue>| queue.stats().clone();
        let find = |(model, version): &(String, u64)| {
            let route = table.get(model)?;
            route.versions.get(version).or_else(|| route.beside.get(version)).map(stats)
        };
        let mut counted: Vec<Arc<Stats>> = match named {
            Some(named) => named.iter().filter_map(find).collect(),
            None => {
                let all = table.routes().flat_map(Route::loaded).map(|queue| queue.stats());
                let told = |one: &&Arc<Stats>| one.is_asked() || one.shadowed().is_some();
                all.chain([&self.unresolved]).filter(told).cloned().collect()
            }
        };
        counted.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
        counted.dedup_by(|a, b| Arc::ptr_eq(a, b));
        counted.iter().map(|one| Figures::of(one)).collect()
    }

    /// From now on these versions' outputs are [counted](Counting), of those in the table, and no others'.
    pub fn count_outputs(&self, named: &[(String, u64, Counting)]) {
        let table = self.routes.table();
        let find = |(model, version, counting): &(String, u64, Counting)| {
            let queue = table.get(model)?.versions.get(version)?;
            queue.stats().count_outputs(*counting);
            Some(queue.stats().clone())
        };
        let mut counting = self.counting.lock();
        let now: Vec<_> = named.iter().filter_map(find).collect();
        let was = std::mem::replace(&mut *counting, now);
        for stats in was.iter().filter(|one| !counting.iter().any(|other| Arc::ptr_eq(one, other))) {
            stats.count_outputs(Counting::Nothing);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
