//! How tasks of an I/O thread learn that their answers are there: all of a batch at once, so that
//! the thread is woken once however many requests the batch held.

use parking_lot::Mutex;
use std::sync::Arc;
use std::task::Waker;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Mailbox {
    wakers: Mutex<Vec<Waker>>,
    arrived: Notify,
}

impl Mailbox {
    pub fn new() -> Arc<Self> {
        Arc::new(Mailbox::default())
    }

    /// From any thread: have the I/O thread wake these tasks.
    fn deliver(&self, wakers: &mut Vec<Waker>) {
        self.wakers.lock().append(wakers);
        self.arrived.notify_one();
    }

    /// Runs on the I/O thread; waking a task of one's own runtime costs no system call.
    pub async fn dispatch(&self) {
        let mut batch = Vec::new();
        loop {
            self.arrived.notified().await;
            std::mem::swap(&mut batch, &mut *self.wakers.lock());
            for waker in batch.drain(..) {
                waker.wake();
            }
        }
    }
}

/// Collects wake-ups while a batch is answered, and delivers them per I/O thread.
#[derive(Default)]
pub struct Wakes {
    by_thread: Vec<(Arc<Mailbox>, Vec<Waker>)>,
}

impl Wakes {
    pub fn add(&mut self, mailbox: Option<&Arc<Mailbox>>, waker: Waker) {
        let Some(mailbox) = mailbox else { return waker.wake() };
        match self.by_thread.iter_mut().find(|(m, _)| Arc::ptr_eq(m, mailbox)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.by_thread.push((mailbox.clone(), vec![waker])),
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for (mailbox, wakers) in &mut self.by_thread {
            mailbox.deliver(wakers);
        }
    }
}
