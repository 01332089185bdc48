//! A signal that some caller has left, for the thread that ends runs nobody waits for any more.
//! It sleeps until there is one, and then looks at all that runs. Leaving costs a caller one atomic
//! swap, and a wake-up where it is the first since that thread's last look.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};

/// Of the process, as permits are.
pub static DEPARTURES: Departures = Departures::new();

#[derive(Debug)]
pub struct Departures {
    noted: AtomicBool,
    lock: Mutex<()>,
    arrived: Condvar,
}

impl Departures {
    pub(crate) const fn new() -> Self {
        Departures { noted: AtomicBool::new(false), lock: Mutex::new(()), arrived: Condvar::new() }
    }

    /// A caller went without an answer.
    pub fn note(&self) {
        if !self.noted.swap(true, Ordering::AcqRel) {
            // With the lock: whoever has just seen nothing is asleep by now.
            let _asleep = self.lock.lock();
            self.arrived.notify_all();
        }
    }

    /// Sleep until a caller has left since the last time.
    pub fn wait(&self) {
        let mut lock = self.lock.lock();
        while !self.noted.swap(false, Ordering::AcqRel) {
            self.arrived.wait(&mut lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    #[test]
    fn one_word_stands_for_all_that_left_before_it_was_heard() {
        let departures = Arc::new(Departures::new());
        departures.note();
        departures.note();
        let (tx, rx) = mpsc::channel();
        let mine = departures.clone();
        std::thread::spawn(move || {
            loop {
                mine.wait();
                if tx.send(()).is_err() {
                    return;
                }
            }
        });
        rx.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(rx.recv_timeout(Duration::from_millis(50)).is_err());
        departures.note();
        rx.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
