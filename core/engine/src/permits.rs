//! Who may run now. Many models share few cores: a permit is the right to run,
//! and goes to whoever has had the least of the machine, so that no model starves
//! another however slow its neighbours are.

use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A holder's account: how long it has run, in nanoseconds of virtual time.
#[derive(Debug, Default)]
pub struct Share {
    spent: AtomicU64,
}

#[derive(Debug)]
pub struct Permits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    size: usize,
    held: usize,
    waiting: Vec<Waiter>,
    /// The account of whoever was granted last: a newcomer starts here, not at
    /// zero, or an idle model could hoard the right to run.
    now: u64,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiter {
    spent: u64,
    arrival: u64,
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    granted: Mutex<bool>,
    wake: Condvar,
}

impl Permits {
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Permits {
            state: Mutex::new(State { size: size.max(1), held: 0, waiting: Vec::new(), now: 0, arrivals: 0 }),
        })
    }

    /// Change how many may run at once; takes effect as permits come back.
    pub fn resize(&self, size: usize) {
        let mut state = self.state.lock();
        state.size = size.max(1);
        state.grant();
    }

    /// Wait for the right to run.
    pub fn acquire(self: &Arc<Self>, share: &Arc<Share>) -> Permit {
        let slot = {
            let mut state = self.state.lock();
            let spent = share.spent.load(Ordering::Relaxed).max(state.now);
            share.spent.store(spent, Ordering::Relaxed);
            if state.held < state.size && state.waiting.is_empty() {
                state.held += 1;
                state.now = spent;
                None
            } else {
                let slot = Arc::new(Slot::default());
                state.arrivals += 1;
                let arrival = state.arrivals;
                state.waiting.push(Waiter { spent, arrival, slot: slot.clone() });
                state.grant();
                Some(slot)
            }
        };
        if let Some(slot) = slot {
            let mut granted = slot.granted.lock();
            while !*granted {
                slot.wake.wait(&mut granted);
            }
        }
        Permit { permits: self.clone(), share: share.clone(), since: Instant::now() }
    }

    pub fn held(&self) -> usize {
        self.state.lock().held
    }

    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    fn release(&self, share: &Share, ran: Duration) {
        share.spent.fetch_add(u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        let mut state = self.state.lock();
        state.held -= 1;
        state.grant();
    }
}

impl State {
    /// Hand free permits to the waiters with the least on their account.
    fn grant(&mut self) {
        while self.held < self.size {
            let Some(next) =
                (0..self.waiting.len()).min_by_key(|&i| (self.waiting[i].spent, self.waiting[i].arrival))
            else {
                return;
            };
            let waiter = self.waiting.swap_remove(next);
            self.held += 1;
            self.now = self.now.max(waiter.spent);
            *waiter.slot.granted.lock() = true;
            waiter.slot.wake.notify_one();
        }
    }
}

/// The right to run now, held by value: dropping it passes it on.
#[derive(Debug)]
pub struct Permit {
    permits: Arc<Permits>,
    share: Arc<Share>,
    since: Instant,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release(&self.share, self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn no_more_run_at_once_than_there_are_permits() {
        let permits = Permits::new(2);
        let share = Arc::new(Share::default());
        let a = permits.acquire(&share);
        let _b = permits.acquire(&share);
        let (tx, rx) = mpsc::channel();
        let other = {
            let (permits, share) = (permits.clone(), share.clone());
            std::thread::spawn(move || {
                let permit = permits.acquire(&share);
                tx.send(()).unwrap();
                permit
            })
        };
        while permits.waiting() == 0 {
            std::thread::yield_now();
        }
        assert!(rx.try_recv().is_err());
        drop(a);
        rx.recv().unwrap();
        assert_eq!(permits.held(), 2);
        drop(other.join().unwrap());
    }

    #[test]
    fn the_permit_goes_to_whoever_had_least() {
        let permits = Permits::new(1);
        let (busy, idle) = (Arc::new(Share::default()), Arc::new(Share::default()));
        busy.spent.store(1_000_000_000, Ordering::Relaxed);
        let held = permits.acquire(&Arc::new(Share::default()));
        let (tx, rx) = mpsc::channel();
        let mut threads = Vec::new();
        for (name, share) in [("busy", busy), ("idle", idle)] {
            let (permits, tx) = (permits.clone(), tx.clone());
            let before = permits.waiting();
            let waiting_for = permits.clone();
            threads.push(std::thread::spawn(move || {
                let _permit = permits.acquire(&share);
                tx.send(name).unwrap();
            }));
            while waiting_for.waiting() == before {
                std::thread::yield_now();
            }
        }
        drop(held);
        assert_eq!(rx.recv().unwrap(), "idle");
        assert_eq!(rx.recv().unwrap(), "busy");
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
