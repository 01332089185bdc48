//! Wake-ups of pullers that wait until an I/O thread has read what there is.

use super::Queue;
use std::cell::RefCell;
use std::sync::Arc;
use tokio::sync::Notify;

thread_local! {
    /// On an I/O thread: the queues that got work and whose pullers are still to be woken.
    static TOUCHED: RefCell<Option<Touched>> = const { RefCell::new(None) };
}

struct Touched {
    queues: Vec<Arc<Queue>>,
    first: Arc<Notify>,
}

/// Make this thread an I/O thread: wake-ups wait for [`wake_touched`]. What comes
/// back is notified when there is something to wake. A task that waits for it stands
/// behind all that can run at that moment, so a burst of requests makes one wake-up;
/// and it gets its turn also on a thread so busy that it never sleeps.
pub fn defer_wakes() -> Arc<Notify> {
    let first = Arc::new(Notify::new());
    let touched = Touched { queues: Vec::new(), first: first.clone() };
    TOUCHED.with_borrow_mut(|slot| *slot = Some(touched));
    first
}

/// Wake the pullers of the queues that got work on this thread.
pub fn wake_touched() {
    TOUCHED.with_borrow_mut(|touched| {
        for queue in touched.iter_mut().flat_map(|t| t.queues.drain(..)) {
            let mut line = queue.line.lock();
            if !line.lines.is_empty() || !line.copies.lines.is_empty() {
                queue.wake(&mut line);
            }
        }
    });
}

pub(super) fn note_touched(queue: &Arc<Queue>) -> bool {
    TOUCHED.with_borrow_mut(|touched| match touched {
        None => false,
        Some(Touched { queues, first }) => {
            if queues.is_empty() {
                first.notify_one();
            }
            if !queues.iter().any(|q| Arc::ptr_eq(q, queue)) {
                queues.push(queue.clone());
            }
            true
        }
    })
}
