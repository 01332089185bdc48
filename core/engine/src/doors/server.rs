//! The doors as one thing: bound, started, drained, stopped; and their figures.

use super::{Config, Shared, listen};
use crate::metrics;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

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
        let config = Config { http_port: http_address.port(), grpc_port: grpc_address.port(), ..config };
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
        let began = Instant::now();
        while began.elapsed() < timeout {
            if self.shared.in_flight() == 0 && self.shared.connections.load(Ordering::Acquire) == 0 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.shared.in_flight() == 0
    }

    /// The core's metric families as Prometheus text.
    pub fn metrics(&self) -> String {
        let shared = &self.shared;
        let table = shared.routes.table();
        let mut all = vec![shared.unresolved.clone()];
        all.extend(table.models.values().flat_map(|r| r.versions.values()).map(|q| q.stats().clone()));
        all.sort_by(|a, b| (&a.model, a.version).cmp(&(&b.model, b.version)));
        let mut text = metrics::of_versions(&all);
        let observer = &shared.observer;
        for (name, is_counter, help, value) in [
            (
                "serving_connections",
                false,
                "Open connections on the data ports.",
                shared.connections.load(Ordering::Relaxed) as u64,
            ),
            (
                "serving_connection_total",
                true,
                "Connections accepted on the data ports.",
                shared.connections_total.load(Ordering::Relaxed),
            ),
            (
                "serving_connection_refused_total",
                true,
                "Connections closed at once, all places being taken.",
                shared.connections_refused.load(Ordering::Relaxed),
            ),
            (
                "serving_buffered_bytes",
                false,
                "Bytes of requests and answers held.",
                shared.budget.used() as u64,
            ),
            (
                "serving_buffered_bytes_limit",
                false,
                "Bytes of requests and answers that may be held.",
                shared.budget.max() as u64,
            ),
            (
                "serving_window_bytes",
                false,
                "Bytes of the receive windows that open connections have from their pool.",
                shared.windows.taken() as u64,
            ),
            (
                "serving_window_bytes_limit",
                false,
                "Bytes of the pool that receive windows are cut from.",
                shared.windows.all as u64,
            ),
            (
                "serving_event_dropped_total",
                true,
                "Log records dropped, the ring being full.",
                shared.events.dropped(),
            ),
            (
                "serving_span_dropped_total",
                true,
                "Spans dropped, the ring being full.",
                observer.spans.dropped(),
            ),
            (
                "serving_sample_dropped_total",
                true,
                "Sampled requests dropped, the ring being full.",
                observer.samples.dropped(),
            ),
            (
                "serving_sample_too_large_total",
                true,
                "Sampled requests not kept, being too large.",
                observer.samples_too_large(),
            ),
        ] {
            metrics::single(&mut text, name, is_counter, help, value);
        }
        text
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
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
