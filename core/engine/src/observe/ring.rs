//! A bounded, lossy ring: whoever puts something in never waits, and never wakes
//! anybody for a single thing.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// At most so many come out at once: Python turns them into objects in one go, and
/// holds the interpreter meanwhile.
const HANDFUL: usize = 64;

/// What something takes of its ring: 1 for counted things, or its bytes.
pub trait Weigh {
    fn weight(&self) -> usize;
}

#[derive(Debug)]
pub struct Ring<T> {
    inner: Mutex<Inner<T>>,
    enough: Condvar,
    capacity: AtomicUsize,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Inner<T> {
    things: VecDeque<T>,
    weight: usize,
    closed: bool,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Ring {
            inner: Mutex::new(Inner { things: VecDeque::new(), weight: 0, closed: false }),
            enough: Condvar::new(),
            capacity: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

impl<T: Weigh> Ring<T> {
    pub fn capacity(&self) -> usize {
        self.capacity.load(Relaxed)
    }

    /// How much it holds from now on; what is over that goes with the next push.
    pub fn resize(&self, capacity: usize) {
        self.capacity.store(capacity, Relaxed);
    }

    /// Put one in; the oldest make room for it.
    pub fn push(&self, thing: T) {
        let (weight, capacity) = (thing.weight(), self.capacity());
        if weight > capacity {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let mut inner = self.inner.lock();
        // Dropped after the lock is free again: they may be large.
        let mut gone = Vec::new();
        while inner.weight + weight > capacity
            && let Some(oldest) = inner.things.pop_front()
        {
            inner.weight -= oldest.weight();
            gone.push(oldest);
        }
        inner.weight += weight;
        inner.things.push_back(thing);
        if inner.is_worth_it(capacity) {
            self.enough.notify_one();
        }
        drop(inner);
        self.dropped.fetch_add(gone.len() as u64, Relaxed);
    }

    /// What there is once it is worth a wake-up, or when the time is over; at most
    /// a handful. `None` once closed and empty.
    pub fn wait(&self, timeout: Duration) -> Option<Vec<T>> {
        let until = Instant::now().checked_add(timeout);
        let mut inner = self.inner.lock();
        while !inner.closed && !inner.is_worth_it(self.capacity()) {
            let timed_out = match until {
                Some(until) => self.enough.wait_until(&mut inner, until).timed_out(),
                None => {
                    self.enough.wait(&mut inner);
                    false
                }
            };
            if timed_out {
                break;
            }
        }
        if inner.things.is_empty() && inner.closed {
            return None;
        }
        let count = inner.things.len().min(HANDFUL);
        let taken: Vec<T> = inner.things.drain(..count).collect();
        inner.weight -= taken.iter().map(Weigh::weight).sum::<usize>();
        Some(taken)
    }

    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.enough.notify_all();
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl<T> Inner<T> {
    fn is_worth_it(&self, capacity: usize) -> bool {
        self.things.len() >= HANDFUL || self.weight > capacity / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[derive(Debug, PartialEq)]
    struct Of(usize);

    impl Weigh for Of {
        fn weight(&self) -> usize {
            self.0
        }
    }

    fn ring(capacity: usize) -> Ring<Of> {
        let ring = Ring::default();
        ring.resize(capacity);
        ring
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let ring = ring(10);
        [4, 3, 3, 5].into_iter().for_each(|n| ring.push(Of(n)));
        assert_eq!(ring.dropped(), 2);
        assert_eq!(ring.wait(Duration::ZERO).unwrap(), [Of(3), Of(5)]);
        assert_eq!(ring.wait(Duration::ZERO).unwrap(), []);
    }

    #[test]
    fn what_can_never_fit_drops_nothing_else() {
        let ring = ring(10);
        ring.push(Of(10));
        ring.push(Of(11));
        assert_eq!(ring.dropped(), 1);
        assert_eq!(ring.wait(Duration::ZERO).unwrap(), [Of(10)]);
    }

    #[test]
    fn a_ring_that_was_never_sized_keeps_nothing() {
        let ring = Ring::default();
        ring.push(Of(1));
        assert_eq!((ring.dropped(), ring.wait(Duration::ZERO).unwrap().len()), (1, 0));
    }

    #[test]
    fn a_handful_comes_at_once_and_the_rest_without_waiting() {
        let ring = ring(1000);
        (0..HANDFUL * 2 + 1).for_each(|_| ring.push(Of(1)));
        let taken = |timeout| ring.wait(timeout).unwrap().len();
        assert_eq!(taken(Duration::MAX), HANDFUL);
        assert_eq!(taken(Duration::MAX), HANDFUL);
        assert_eq!(taken(Duration::ZERO), 1);
    }

    #[test]
    fn a_closed_ring_gives_what_is_left_and_ends() {
        let ring = ring(10);
        ring.push(Of(1));
        ring.close();
        assert_eq!(ring.wait(Duration::MAX).unwrap().len(), 1);
        assert!(ring.wait(Duration::MAX).is_none());
    }

    #[test]
    fn who_waits_is_woken_by_half_a_ring_and_by_the_end() {
        let ring = Arc::new(ring(10));
        let waiter = std::thread::spawn({
            let ring = ring.clone();
            move || (ring.wait(Duration::MAX).map(|t| t.len()), ring.wait(Duration::MAX).map(|t| t.len()))
        });
        [2, 2, 2].into_iter().for_each(|n| ring.push(Of(n)));
        while !ring.inner.lock().things.is_empty() {
            std::thread::yield_now();
        }
        ring.close();
        assert_eq!(waiter.join().unwrap(), (Some(3), None));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_capacity_and_loses_nothing_uncounted(
            capacity in 0usize..50, weights in prop::collection::vec(0usize..60, 0..100)
        ) {
            let ring = ring(capacity);
            for &weight in &weights {
                ring.push(Of(weight));
                let inner = ring.inner.lock();
                prop_assert!(inner.weight <= capacity);
                prop_assert_eq!(inner.weight, inner.things.iter().map(Weigh::weight).sum::<usize>());
            }
            let left = ring.wait(Duration::ZERO).unwrap().len();
            prop_assert_eq!(left as u64 + ring.dropped(), weights.len() as u64);
        }
    }
}
