//! How many connections and requests there are, for those who count them, and for the drain that
//! waits for the last to go. Who goes pays one atomic subtraction, and a wake-up during a drain.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Present {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Whether a drain waits. In one order with the counts: whoever goes last either sees it or
    /// is seen to have gone.
    awaited: AtomicBool,
    lock: Mutex<()>,
    gone: Condvar,
}

impl Present {
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Count a connection in; how many there were before.
    pub fn connect(&self) -> usize {
        self.connections.fetch_add(1, SeqCst)
    }

    pub fn disconnect(&self) {
        self.leave(&self.connections);
    }

    pub fn begin_request(&self) {
        self.requests.fetch_add(1, SeqCst);
    }

    pub fn end_request(&self) {
        self.leave(&self.requests);
    }

    /// Wait until there are none of either; false where some are left when the time is over.
    pub fn wait_for_none(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        self.awaited.store(true, SeqCst);
        let mut lock = self.lock.lock();
        while !self.is_empty() {
            if self.gone.wait_until(&mut lock, until).timed_out() {
                return self.is_empty();
            }
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.requests() == 0 && self.connections() == 0
    }

    fn leave(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, SeqCst) == 1 && self.awaited.load(SeqCst) {
            // With the lock: whoever has just seen this one is asleep by now.
            let _asleep = self.lock.lock();
            self.gone.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_drain_ends_with_the_last_request_and_the_last_connection() {
        let present = Arc::new(Present::default());
        assert_eq!((present.connect(), present.connect()), (0, 1));
        present.begin_request();
        let waiting = present.clone();
        let drained = std::thread::spawn(move || waiting.wait_for_none(LONG));
        present.disconnect();
        present.disconnect();
        std::thread::sleep(Duration::from_millis(20));
        assert!(!drained.is_finished(), "a request goes on");
        present.end_request();
        assert!(drained.join().unwrap());
    }

    #[test]
    fn a_drain_of_nothing_waits_for_nothing_and_one_in_vain_until_its_time_is_over() {
        let present = Present::default();
        assert!(present.wait_for_none(Duration::ZERO));
        present.connect();
        assert!(!present.wait_for_none(Duration::from_millis(5)));
        assert!(!present.wait_for_none(Duration::ZERO));
    }

    #[test]
    fn no_drain_sleeps_through_the_last_one_that_goes() {
        let present = Arc::new(Present::default());
        for _ in 0..2000 {
            present.begin_request();
            let going = present.clone();
            let goes = std::thread::spawn(move || going.end_request());
            assert!(present.wait_for_none(LONG));
            goes.join().unwrap();
        }
    }
}
