//! Which queues have got their first request, for the thread that starts those who pull: a queue
//! that nobody asks has no threads. Costs a request nothing, but the first one of each queue.

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Of the process, as permits are.
pub static FIRST_REQUESTS: FirstRequests = FirstRequests::new();

/// Numbers of queues, each of them once: no more than there are queues.
#[derive(Debug)]
pub struct FirstRequests {
    numbers: Mutex<Vec<u64>>,
    arrived: Condvar,
}

impl FirstRequests {
    const fn new() -> Self {
        FirstRequests { numbers: Mutex::new(Vec::new()), arrived: Condvar::new() }
    }

    pub(super) fn note(&self, number: u64) {
        self.numbers.lock().push(number);
        self.arrived.notify_one();
    }

    /// Sleep until there are any, or for so long; they are told once.
    pub fn wait(&self, timeout: Option<Duration>) -> Vec<u64> {
        let mut numbers = self.numbers.lock();
        match timeout {
            None => self.arrived.wait_while(&mut numbers, |numbers| numbers.is_empty()),
            Some(timeout) => {
                self.arrived.wait_while_for(&mut numbers, |numbers| numbers.is_empty(), timeout);
            }
        }
        std::mem::take(&mut numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};

    #[test]
    fn those_that_came_before_anybody_listened_are_told_together_and_once() {
        let first = Arc::new(FirstRequests::new());
        first.note(7);
        first.note(9);
        assert_eq!(first.wait(None), [7, 9]);
        assert!(first.wait(Some(Duration::ZERO)).is_empty());
        let (tx, rx) = mpsc::channel();
        let mine = first.clone();
        let listener = std::thread::spawn(move || tx.send(mine.wait(None)).unwrap());
        first.note(3);
        assert_eq!(rx.recv_timeout(Duration::from_secs(20)).unwrap(), [3]);
        listener.join().unwrap();
    }
}
