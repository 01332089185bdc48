//! Work too heavy for an I/O thread (decoding, inflating, converting): a few helpers, and a
//! bounded line before them. Whoever leaves the line is skipped, and takes with him what he held;
//! work that runs learns by its [`Stop`] that nobody waits for it any more.

mod policy;
mod spare;

use crate::admission::Client;
use crate::error::{Error, ErrorCode, Result};
use crate::scheduling::computing;
use crate::stop::Stop;
use parking_lot::Mutex;
pub use policy::LARGE;
use policy::{Answer, Lines, Rules, Waiter};
use spare::Spare;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Helpers for each I/O thread, of which one is kept for small work.
const HELPERS: usize = 3;
/// Work of more bytes takes the better part of a millisecond: others have to get the CPU meanwhile.
const LONG: usize = 256 << 10;
/// Work that may wait, for each I/O thread; its bytes are bounded by the process's budget.
const WAITING: usize = 1024;
/// When to try again a line that is full.
const RETRY: Duration = Duration::from_millis(500);

/// How many helpers so many I/O threads have together.
pub fn helpers(io_threads: usize) -> usize {
    HELPERS * io_threads.max(1)
}

/// The helpers of the process, and the line before them.
#[derive(Debug)]
pub struct Offload {
    began: Instant,
    state: Mutex<State>,
    spare: Spare,
}

#[derive(Debug)]
struct State {
    lines: Lines,
    /// How many came; the next one's number.
    come: u64,
    seats: HashMap<u64, Seat>,
}

/// Of one that waits, or is called and has not looked yet.
#[derive(Debug)]
enum Seat {
    Waiting(Option<Waker>),
    Called,
    /// Its place is somebody else's, who has less in the line.
    Refused,
}

/// What the line should know of work.
pub struct Job<H> {
    /// Bytes to go through, by which it waits; a guess is enough.
    pub bytes: usize,
    /// With whom it takes turns.
    pub client: Client,
    pub deadline: Option<Instant>,
    /// What the work holds of a budget, for as long as it lasts.
    pub held: H,
}

impl Offload {
    pub fn new(io_threads: usize) -> Arc<Self> {
        let threads = io_threads.max(1);
        Offload::with(Rules { helpers: helpers(threads), kept: threads, waiting: WAITING * threads })
    }

    fn with(rules: Rules) -> Arc<Self> {
        let state = State { lines: Lines::new(rules), come: 0, seats: HashMap::new() };
        Arc::new(Offload { began: Instant::now(), state: Mutex::new(state), spare: Spare::new() })
    }

    /// Work that waits, and that runs.
    pub fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.lines.waiting(), state.lines.running())
    }

    /// Do `work` on a helper, once it is its turn. Dropping the future skips work that waits, and
    /// stops work that runs. What was held comes back with what the work returns.
    ///
    /// # Errors
    /// `Full` when as much waits as may, `Expired` at the deadline, `Internal` when the work
    /// panicked, and the work's own.
    pub async fn run<T: Send + 'static, H: Send + 'static>(
        self: &Arc<Self>,
        job: Job<H>,
        work: impl FnOnce(&Stop, &mut H) -> Result<T> + Send + 'static,
    ) -> Result<(T, H)> {
        let Job { bytes, client, deadline, mut held } = job;
        let turn = self.turn(client, bytes, deadline).await?;
        let stop = Arc::new(Stop::at(deadline));
        let _leaving = Leaving(stop.clone());
        let computing = (bytes > LONG).then(computing);
        let (tell, told) = oneshot::channel();
        self.spare.start(Box::new(move || {
            let _held = (turn, computing);
            let done = stop.check().and_then(|()| work(&stop, &mut held));
            // Nobody may wait any more.
            let _ = tell.send(done.map(|done| (done, held)));
        }));
        match before(deadline, told).await? {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorCode::Internal, "the request could not be decoded")
                .detail("its helper panicked, or there is none")),
        }
    }

    async fn turn(self: &Arc<Self>, client: Client, bytes: usize, deadline: Option<Instant>) -> Result<Turn> {
        let (answer, queued) = self.come(client, bytes);
        match answer {
            Answer::Go => Ok(Turn { offload: self.clone(), waiter: queued.waiter }),
            Answer::Full => Err(full()),
            Answer::Wait | Answer::Instead(_) => before(deadline, queued).await?,
        }
    }

    fn come(self: &Arc<Self>, client: Client, bytes: usize) -> (Answer, Queued) {
        let mut state = self.state.lock();
        let number = state.come;
        state.come += 1;
        let (answer, waiter) = state.lines.come(number, client, bytes, self.began.elapsed());
        if matches!(answer, Answer::Wait | Answer::Instead(_)) {
            state.seats.insert(number, Seat::Waiting(None));
        }
        let refused = match answer {
            Answer::Instead(other) => state.tell(other, Seat::Refused),
            _ => None,
        };
        drop(state);
        refused.into_iter().for_each(Waker::wake);
        (answer, Queued { offload: self.clone(), number, waiter })
    }

    /// A helper is free again: whoever is next is called.
    fn end(&self, waiter: &Waiter) {
        let mut state = self.state.lock();
        state.lines.end(waiter);
        let called = state.call();
        drop(state);
        called.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn call(&mut self) -> Vec<Waker> {
        let mut called = Vec::new();
        while let Some(number) = self.lines.next() {
            called.extend(self.tell(number, Seat::Called));
        }
        called
    }

    fn tell(&mut self, number: u64, what: Seat) -> Option<Waker> {
        match self.seats.insert(number, what) {
            Some(Seat::Waiting(waker)) => waker,
            _ => None,
        }
    }
}

fn full() -> Error {
    let text = "the server has as many requests to decode as it may, try again later";
    Error::new(ErrorCode::Full, text).retry(RETRY)
}

/// Tells work that its caller has left, by being dropped.
struct Leaving(Arc<Stop>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// The right to a helper; dropping it passes it on.
struct Turn {
    offload: Arc<Offload>,
    waiter: Waiter,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.offload.end(&self.waiter);
    }
}

/// A place in the line: a future of the turn, or of the refusal. Dropping it leaves the line.
struct Queued {
    offload: Arc<Offload>,
    number: u64,
    waiter: Waiter,
}

impl Future for Queued {
    type Output = Result<Turn>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Turn>> {
        let mut state = self.offload.state.lock();
        match state.seats.get_mut(&self.number) {
            Some(Seat::Waiting(waker)) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(Seat::Refused) => Poll::Ready(Err(full())),
            _ => {
                state.seats.remove(&self.number);
                Poll::Ready(Ok(Turn { offload: self.offload.clone(), waiter: self.waiter }))
            }
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut state = self.offload.state.lock();
        match state.seats.remove(&self.number) {
            Some(Seat::Waiting(_)) => state.lines.leave(&self.waiter),
            Some(Seat::Called) => {
                drop(state);
                self.offload.end(&self.waiter);
            }
            // It took its turn, had no place or lost it.
            Some(Seat::Refused) | None => {}
        }
    }
}

/// The future's output, unless the deadline comes first.
async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output> {
    match deadline {
        None => Ok(future.await),
        Some(at) => tokio::time::timeout_at(at.into(), future).await.map_err(|_| Error::expired()),
    }
}

#[cfg(test)]
mod tests;
