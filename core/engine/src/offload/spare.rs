//! A helper that is there from the start, for when the system starts no thread. tokio panics then, with
//! the work in its line: there it would keep its turn, and what it holds, from everybody for ever.

use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

pub type Work = Box<dyn FnOnce() + Send>;

/// Until a thread of tokio's is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Spare {
    /// `None`: there was no thread at the start either.
    line: Option<Sender<Work>>,
    short_until: Mutex<Option<Instant>>,
}

impl Spare {
    pub fn new() -> Self {
        let (line, work) = channel::<Work>();
        let thread = Builder::new().name("serving-spare".into()).spawn(move || {
            crate::scheduling::give_way();
            for work in work {
                // Whoever waits for it learns that it is gone.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        });
        Spare { line: thread.is_ok().then_some(line), short_until: Mutex::new(None) }
    }

    /// Have `work` done by one of this runtime's helpers, or by the one that is there.
    pub fn start(&self, work: Work) {
        if self.short_until.lock().is_some_and(|until| Instant::now() < until) {
            return self.send(work);
        }
        let left = Arc::new(Mutex::new(Some(work)));
        let mine = left.clone();
        let spawned = catch_unwind(AssertUnwindSafe(|| {
            tokio::task::spawn_blocking(move || {
                let work = mine.lock().take();
                work.into_iter().for_each(|work| work());
            });
        }));
        if spawned.is_err() {
            *self.short_until.lock() = Some(Instant::now() + AGAIN);
            let work = left.lock().take();
            work.into_iter().for_each(|work| self.send(work));
        }
    }

    /// One after another: no more than there are turns wait.
    fn send(&self, work: Work) {
        if let Some(line) = &self.line {
            let _ = line.send(work);
        }
    }
}
