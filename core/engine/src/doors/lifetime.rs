//! When a connection has lasted long enough: time-outs, age, drain. Its state is
//! noted by the socket and the requests; the verdict is a pure function.

use super::linger::Unheard;
use super::pace::{FullSocket, unacknowledged};
use super::{Config, Io};
use futures_util::task::AtomicWaker;
use http::{Request, Version};
use http_body::Body;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How long a kept-alive HTTP/1 connection may go on being idle on a draining server:
/// its client may have sent a request that is still on its way.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection is doing, for its time-outs.
#[derive(Default)]
pub struct Activity {
    active: AtomicUsize,
    requests: AtomicU64,
    /// Milliseconds since the connection began when it last became idle.
    idle_since: AtomicU64,
    /// HTTP/1: when the first bytes of a head came that is not whole yet; 0 for none.
    head_since: AtomicU64,
    /// HTTP/1: the last request's body has not been read to its end.
    unread: AtomicBool,
    /// HTTP/1.1: the peer may be asked by an interim response whether it is still there.
    askable: AtomicBool,
    /// When the socket became full; 0 while it takes what is sent.
    blocked_since: AtomicU64,
    /// Bytes that the socket took.
    written: AtomicU64,
    /// HTTP/2: bytes of answers that the peer had room for.
    passed: AtomicU64,
    /// The socket's descriptor; -1 once it is closed.
    descriptor: AtomicI32,
    /// HTTP/2: what its peer goes on sending after it was answered.
    pub unheard: Unheard,
}

impl Activity {
    pub fn new(descriptor: i32) -> Arc<Self> {
        Arc::new(Activity { descriptor: descriptor.into(), ..Activity::default() })
    }

    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    pub fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether a peer that sends no more may wait for an answer, and can be asked.
    pub fn may_wait(&self) -> bool {
        self.askable.load(Ordering::Relaxed) && (self.is_active() || self.is_blocked())
    }

    /// The socket takes no more until the peer reads.
    pub fn is_blocked(&self) -> bool {
        self.blocked_since.load(Ordering::Relaxed) != 0
    }

    /// Bytes came; without a request they are a head's.
    pub fn read(&self, began: Instant) {
        if self.active.load(Ordering::Relaxed) == 0 {
            mark(&self.head_since, began);
        }
    }

    /// What became of an attempt to write: `None` when the socket is full.
    pub fn wrote(&self, bytes: Option<usize>, began: Instant) {
        let Some(bytes) = bytes else { return mark(&self.blocked_since, began) };
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.blocked_since.swap(0, Ordering::Relaxed) != 0 {
            self.idle_since.store(millis_since(began), Ordering::Relaxed);
        }
    }

    /// HTTP/2: the peer had room for so much of an answer.
    pub fn pass(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub fn closed(&self) {
        self.descriptor.store(-1, Ordering::Relaxed);
    }

    /// Bytes that the peer has acknowledged.
    fn taken(&self) -> u64 {
        let waiting = unacknowledged(self.descriptor.load(Ordering::Relaxed));
        self.written.load(Ordering::Relaxed).saturating_sub(waiting)
    }
}

fn mark(since: &AtomicU64, began: Instant) {
    if since.load(Ordering::Relaxed) == 0 {
        since.store(millis_since(began), Ordering::Relaxed);
    }
}

/// One request or stream of a connection; while there is one, it is not idle.
pub struct Busy {
    activity: Arc<Activity>,
    began: Instant,
}

impl Busy {
    pub fn new(activity: &Arc<Activity>, began: Instant) -> Self {
        activity.active.fetch_add(1, Ordering::Relaxed);
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.head_since.store(0, Ordering::Relaxed);
        Busy { activity: activity.clone(), began }
    }

    /// An HTTP/1 request, of which a connection has one at a time.
    pub fn http1<B: Body>(activity: &Arc<Activity>, began: Instant, request: &Request<B>) -> Self {
        activity.unread.store(!request.body().is_end_stream(), Ordering::Relaxed);
        activity.askable.store(request.version() == Version::HTTP_11, Ordering::Relaxed);
        Busy::new(activity, began)
    }

    /// The request has been read to its end.
    pub fn note_read(&self) {
        self.activity.unread.store(false, Ordering::Relaxed);
    }

    pub fn is_unread(&self) -> bool {
        self.activity.is_unread()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.activity.idle_since.store(millis_since(self.began), Ordering::Relaxed);
        self.activity.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// At least 1: 0 means never.
fn millis_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Watches over a connection: time-outs, age, drain. It does so from a task of its
/// own: the connection's is polled several times a request, and must not look at
/// timers each time.
pub struct ConnectionGuard {
    pub io: Arc<Io>,
    pub activity: Arc<Activity>,
    pub began: Instant,
    pub http2: bool,
    pub order: Arc<Order>,
}

/// What the watch tells the connection's task.
#[derive(Default)]
pub struct Order {
    what: AtomicU8,
    connection: AtomicWaker,
}

const FINISH: u8 = 1;
const CLOSE: u8 = 2;

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Look again then.
    At(Duration),
    /// Let what is in flight end, then close.
    Finish,
    Close,
}

/// Ends a task with whatever holds this.
struct Aborted(tokio::task::JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Order {
    /// Close the connection now.
    pub fn close(&self) {
        self.give(CLOSE);
    }

    fn give(&self, what: u8) {
        self.what.store(what, Ordering::Release);
        self.connection.wake();
    }

    /// Drive a connection until it ends, as it says then, or is told to (`None`).
    async fn obeyed<C: Future>(&self, connection: C, graceful: impl Fn(Pin<&mut C>)) -> Option<C::Output> {
        let mut connection = std::pin::pin!(connection);
        let (mut begun, mut finishing) = (false, false);
        std::future::poll_fn(|cx| {
            // A task's waker stays the same: once is enough, until an order uses it up.
            if !std::mem::replace(&mut begun, true) || self.what.load(Ordering::Acquire) != 0 {
                self.connection.register(cx.waker());
            }
            match self.what.load(Ordering::Acquire) {
                CLOSE => return Poll::Ready(None),
                FINISH if !std::mem::replace(&mut finishing, true) => graceful(connection.as_mut()),
                _ => {}
            }
            connection.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

impl ConnectionGuard {
    /// Drive a connection to its end, and end it when its time has come; then it says nothing.
    pub async fn over<C: Future>(self, connection: C, graceful: impl Fn(Pin<&mut C>)) -> Option<C::Output> {
        let guard = Arc::new(self);
        let looking = guard.clone();
        let _looking = Aborted(tokio::spawn(async move { looking.look().await }));
        guard.order.obeyed(connection, graceful).await
    }

    /// Look whenever something may have become due, until the connection is closed.
    async fn look(&self) {
        let mut draining = self.io.shared.draining.subscribe();
        let mut drains = draining.borrow_and_update().then(|| self.began.elapsed());
        let mut finishing = None;
        let mut full = FullSocket::default();
        loop {
            let age = self.began.elapsed();
            let state = self.state(age, drains, self.patience(age, &mut full));
            let next = match verdict(&state, &self.io.shared.config) {
                Verdict::Close => return self.order.close(),
                Verdict::Finish => {
                    let since = *finishing.get_or_insert(age);
                    if since == age {
                        self.order.give(FINISH);
                    }
                    if !state.active && age - since > farewell(&state, &self.io.shared.config) {
                        return self.order.close();
                    }
                    Duration::from_secs(1)
                }
                Verdict::At(at) => at.saturating_sub(age).max(Duration::from_millis(1)),
            };
            tokio::select! {
                changed = draining.changed(), if drains.is_none() => {
                    drains = (changed.is_err() || *draining.borrow()).then(|| self.began.elapsed());
                }
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// How much longer the peer may take nothing; `None` while nothing waits for it.
    fn patience(&self, age: Duration, full: &mut FullSocket) -> Option<Duration> {
        let since = Duration::from_millis(self.activity.blocked_since.load(Ordering::Relaxed));
        let limit = self.io.shared.config.body_timeout;
        (!since.is_zero()).then(|| full.look(since, age, self.activity.taken(), limit))
    }

    fn state(&self, age: Duration, draining: Option<Duration>, patience: Option<Duration>) -> State {
        let millis = |at: &AtomicU64| Duration::from_millis(at.load(Ordering::Relaxed));
        let since = |at: &AtomicU64| Some(millis(at)).filter(|t| !t.is_zero());
        State {
            age,
            active: self.activity.is_active() || patience.is_some(),
            requests: self.activity.requests.load(Ordering::Relaxed),
            idle_since: millis(&self.activity.idle_since),
            head_since: since(&self.activity.head_since).filter(|_| !self.http2),
            patience,
            draining,
            http2: self.http2,
        }
    }
}

/// A connection at one moment; times are since its beginning.
struct State {
    age: Duration,
    active: bool,
    requests: u64,
    idle_since: Duration,
    head_since: Option<Duration>,
    /// How much longer the peer may take nothing; `None` while nothing waits for it.
    patience: Option<Duration>,
    /// Since when the server drains.
    draining: Option<Duration>,
    http2: bool,
}

/// How long a connection that is to finish may take for it: whoever reads nothing of what
/// is left to send does not stay for ever, and a peer that never sent a request may not
/// even have sent its whole preface, before which HTTP/2 has no way to finish. Pure.
fn farewell(state: &State, config: &Config) -> Duration {
    if state.requests == 0 { LINGER } else { config.idle_timeout }
}

/// What to do with a connection of this age and state. Pure.
fn verdict(state: &State, config: &Config) -> Verdict {
    let (head, idle) = (config.head_timeout, config.idle_timeout);
    let over = |since: Option<Duration>, limit| {
        since.is_some_and(|t: Duration| state.age >= t.saturating_add(limit))
    };
    // A head that does not get whole, or a peer that takes nothing of its answer.
    if (!state.active && over(state.head_since, head)) || state.patience.is_some_and(|left| left.is_zero()) {
        return Verdict::Close;
    }
    if state.draining.is_some() && state.http2 {
        return Verdict::Finish;
    }
    let by_age = config.max_connection_age.unwrap_or(Duration::MAX);
    if state.age >= by_age {
        return Verdict::Finish;
    }
    // A head may begin, or the peer stop reading, while nobody looks.
    let look = state.age + head.min(config.body_timeout).div_f64(2.0).min(Duration::from_secs(5));
    if state.active {
        return Verdict::At(by_age.min(look).min(state.age + Duration::from_secs(1)));
    }
    let (from, patience) = match (state.draining, state.requests) {
        // A draining server's patience begins with the drain.
        (Some(drain), _) => (state.idle_since.max(drain), LINGER),
        // A peer that never sends a request gets no longer than a head may take.
        (None, 0) => (Duration::ZERO, head.min(idle)),
        (None, _) => (state.idle_since, idle),
    };
    let due = from.saturating_add(patience);
    if state.age < due {
        return Verdict::At(due.min(by_age).min(look));
    }
    if state.requests == 0 && !state.http2 { Verdict::Close } else { Verdict::Finish }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors::test_config;

    /// A connection that never ends by itself and forgets that it was told to.
    #[tokio::test]
    async fn a_second_order_reaches_a_connection_that_slept_through_the_first() {
        let order = Arc::new(Order::default());
        let obeying = order.clone();
        let told = Arc::new(AtomicUsize::new(0));
        let counted = told.clone();
        let connection = tokio::spawn(async move {
            let graceful = |_: Pin<&mut std::future::Pending<()>>| {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            obeying.obeyed(std::future::pending(), graceful).await;
        });
        for what in [FINISH, CLOSE] {
            tokio::task::yield_now().await;
            order.give(what);
        }
        connection.await.unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(300);
    const BODY: Duration = Duration::from_secs(30);

    fn config(max_age: Option<u64>) -> Config {
        Config {
            head_timeout: HEAD,
            body_timeout: BODY,
            idle_timeout: IDLE,
            max_connection_age: max_age.map(Duration::from_secs),
            ..test_config::config()
        }
    }

    fn state(age: u64, requests: u64, active: bool) -> State {
        State {
            age: Duration::from_secs(age),
            active,
            requests,
            idle_since: Duration::ZERO,
            head_since: None,
            patience: None,
            draining: None,
            http2: false,
        }
    }

    fn of(state: &State) -> Verdict {
        verdict(state, &config(None))
    }

    #[test]
    fn fault_37_a_peer_that_sends_no_request_is_closed_after_the_head_time_out() {
        assert!(matches!(of(&state(9, 0, false)), Verdict::At(at) if at <= HEAD));
        assert_eq!(of(&state(10, 0, false)), Verdict::Close);
    }

    #[test]
    fn fault_37_a_head_that_does_not_get_whole_is_cut_and_an_idle_connection_is_not() {
        let slow = |age| State { head_since: Some(Duration::from_secs(50)), ..state(age, 3, false) };
        assert!(matches!(of(&slow(59)), Verdict::At(_)));
        assert_eq!(of(&slow(60)), Verdict::Close);
        assert!(matches!(of(&state(60, 3, false)), Verdict::At(_)));
    }

    #[test]
    fn fault_28_a_peer_that_takes_nothing_of_its_answer_is_closed() {
        let blocked = |left| State { patience: Some(Duration::from_secs(left)), ..state(35, 1, true) };
        assert!(matches!(of(&blocked(1)), Verdict::At(at) if at <= Duration::from_secs(36)));
        assert_eq!(of(&blocked(0)), Verdict::Close);
    }

    #[test]
    fn an_idle_connection_finishes_and_a_busy_one_does_not() {
        assert_eq!(of(&state(300, 5, false)), Verdict::Finish);
        assert!(matches!(of(&state(300, 5, true)), Verdict::At(_)));
        assert_eq!(of(&State { http2: true, ..state(300, 0, false) }), Verdict::Finish);
    }

    #[test]
    fn fault_37_half_a_preface_does_not_outlast_its_farewell() {
        let half = State { http2: true, ..state(10, 0, false) };
        assert_eq!(of(&half), Verdict::Finish);
        assert_eq!(farewell(&half, &config(None)), LINGER);
        assert_eq!(farewell(&State { http2: true, ..state(400, 1, false) }, &config(None)), IDLE);
    }

    #[test]
    fn an_old_connection_finishes_even_when_busy() {
        assert_eq!(verdict(&state(60, 5, true), &config(Some(60))), Verdict::Finish);
    }

    #[test]
    fn a_draining_server_lets_http1_linger_from_then_on_and_tells_http2_at_once() {
        let idle_for_long = |age| State { draining: Some(Duration::from_secs(100)), ..state(age, 1, false) };
        assert_eq!(of(&idle_for_long(100)), Verdict::At(Duration::from_secs(101)));
        assert_eq!(of(&idle_for_long(101)), Verdict::Finish);
        let http2 = State { draining: Some(Duration::ZERO), http2: true, ..state(0, 1, true) };
        assert_eq!(of(&http2), Verdict::Finish);
    }
}
