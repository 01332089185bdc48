//! HTTP/2: accepts a connection's requests and sends their answers, no more of them at a
//! time than the peer has room for, and gives up a stream whose peer opens no window.

use super::lifetime::{Activity, Busy, Order};
use super::pace::Pace;
use super::socket::Noted;
use crate::admission::Reservation;
use bytes::Bytes;
use h2::server::{Builder, Handshake, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::Sleep;

/// Most of an answer that asks for room at once.
const CHUNK: usize = 256 << 10;

/// Hands each request to `serve`, which answers it from a task of its own.
pub struct Connection<S> {
    state: State,
    serve: S,
    finishing: bool,
}

enum State {
    Handshaking(Handshake<Noted, Bytes>),
    Serving(h2::server::Connection<Noted, Bytes>),
}

impl<S> Connection<S>
where
    S: FnMut(Request<RecvStream>, SendResponse<Bytes>) + Unpin,
{
    pub fn new(builder: &Builder, socket: Noted, serve: S) -> Self {
        Connection { state: State::Handshaking(builder.handshake(socket)), serve, finishing: false }
    }

    /// Let what is in flight end; before the peer's preface there is no way to say so.
    pub fn graceful_shutdown(&mut self) {
        self.finishing = true;
        if let State::Serving(connection) = &mut self.state {
            connection.graceful_shutdown();
        }
    }
}

impl<S> Future for Connection<S>
where
    S: FnMut(Request<RecvStream>, SendResponse<Bytes>) + Unpin,
{
    type Output = Result<(), h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let me = self.get_mut();
        loop {
            match &mut me.state {
                State::Handshaking(handshake) => {
                    let mut connection = ready!(Pin::new(handshake).poll(cx))?;
                    if me.finishing {
                        connection.graceful_shutdown();
                    }
                    me.state = State::Serving(connection);
                }
                State::Serving(connection) => match ready!(connection.poll_accept(cx)) {
                    Some(Ok((request, reply))) => (me.serve)(request, reply),
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }
}

/// Who waits for room, and for how long at most.
#[derive(Clone)]
pub struct Patience {
    pub activity: Arc<Activity>,
    pub order: Arc<Order>,
    pub began: Instant,
    pub limit: Duration,
}

/// Where one request's answer goes.
pub struct Reply {
    pub stream: SendResponse<Bytes>,
    /// It was asked for without its body.
    pub head_only: bool,
    /// What the request takes as long as its answer is not sent.
    pub held: Reservation,
}

/// Answer one request; what it held until then. Ends early when the peer resets the stream or is
/// gone: what was to answer it is dropped.
pub async fn answer<B>(
    mut handler: impl Future<Output = Result<Response<B>, Infallible>> + Unpin,
    reply: Reply,
    patience: Patience,
) -> Reservation
where
    B: Body<Data = Bytes>,
{
    let Reply { mut stream, head_only, held } = reply;
    let response = std::future::poll_fn(|cx| {
        if let Poll::Ready(Ok(response)) = Pin::new(&mut handler).poll(cx) {
            return Poll::Ready(Some(response));
        }
        stream.poll_reset(cx).map(|_| None)
    });
    if let Some(response) = response.await {
        // Whoever is gone reads no answer; nobody is left to tell.
        let _ = send(response, stream, head_only, patience).await;
    }
    held
}

/// The stream ended before its answer did.
struct Gone;

impl From<h2::Error> for Gone {
    fn from(_: h2::Error) -> Self {
        Gone
    }
}

async fn send<B>(
    response: Response<B>,
    mut stream: SendResponse<Bytes>,
    head_only: bool,
    patience: Patience,
) -> Result<(), Gone>
where
    B: Body<Data = Bytes>,
{
    let (mut head, body) = response.into_parts();
    head.headers.entry(DATE).or_insert_with(date);
    let ended = body.is_end_stream();
    if !ended && let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    let ended = ended || head_only;
    let stream = stream.send_response(Response::from_parts(head, ()), ended)?;
    if ended {
        Ok(())
    } else {
        Sending { stream, patience, waiting: None, pace: Pace::default(), passed: 0 }.all(body).await
    }
}

/// An answer on its way.
struct Sending {
    stream: SendStream<Bytes>,
    patience: Patience,
    waiting: Option<Waiting>,
    pace: Pace,
    /// What the connection had passed on when the pace's count began.
    passed: u64,
}

/// For room; the connection is not idle meanwhile.
struct Waiting {
    since: Instant,
    enough: Pin<Box<Sleep>>,
    _busy: Busy,
}

impl Sending {
    async fn all<B: Body<Data = Bytes>>(mut self, body: B) -> Result<(), Gone> {
        let mut body = pin!(body);
        while let Some(frame) = std::future::poll_fn(|cx| self.poll_frame(body.as_mut(), cx)).await? {
            match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream() && !data.is_empty();
                    self.data(data, last).await?;
                    if last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.stream.reserve_capacity(0);
                        return Ok(self.stream.send_trailers(trailers)?);
                    }
                }
            }
        }
        Ok(self.stream.send_data(Bytes::new(), true)?)
    }

    fn poll_frame<B: Body<Data = Bytes>>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, Gone>> {
        match body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Ok(Some(frame))),
            Poll::Ready(Some(Err(_))) => {
                self.stream.send_reset(Reason::INTERNAL_ERROR);
                Poll::Ready(Err(Gone))
            }
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Pending => self.stream.poll_reset(cx).map(|_| Err(Gone)),
        }
    }

    /// The library gets what there is room for, so that what waits, waits here.
    async fn data(&mut self, mut data: Bytes, last: bool) -> Result<(), Gone> {
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len().min(CHUNK));
            let room = std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            let part = data.split_to(room.min(data.len()));
            self.pace.took(part.len() as u64, self.patience.limit);
            self.patience.activity.pass(part.len());
            self.stream.send_data(part, last && data.is_empty())?;
        }
        Ok(())
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Gone>> {
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                if let Some(waiting) = self.waiting.take() {
                    self.pace.waited(waiting.since.elapsed());
                }
                return Poll::Ready(Ok(room));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(Err(Gone)),
                Poll::Pending => break,
            }
        }
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        self.poll_patience(cx).map(|()| {
            self.give_up();
            Err(Gone)
        })
    }

    /// The stream; and the connection, where nothing at all was taken meanwhile.
    fn give_up(&mut self) {
        self.stream.send_reset(Reason::CANCEL);
        if self.passed == self.patience.activity.passed() {
            self.patience.order.close();
        }
    }

    /// Ready when the peer has opened no window, or next to none, for too long. Where its
    /// socket is full it is the connection's pace that counts: who is behind another answer
    /// in that socket can't be served any sooner.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Patience { activity, began, limit, .. } = &self.patience;
        if self.waiting.is_none() && self.pace == Pace::default() {
            self.passed = activity.passed();
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            enough: Box::pin(tokio::time::sleep(self.pace.left(*limit))),
            _busy: Busy::new(activity, *began),
        });
        while waiting.enough.as_mut().poll(cx).is_ready() {
            if !activity.is_blocked() {
                return Poll::Ready(());
            }
            (self.pace, self.passed) = (Pace::default(), activity.passed());
            waiting.since = Instant::now();
            waiting.enough.as_mut().reset(tokio::time::Instant::now() + *limit);
        }
        Poll::Pending
    }
}

thread_local!(static DATED: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) });

/// Now, as the `date` header has it; written once a second.
fn date() -> HeaderValue {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    DATED.with_borrow_mut(|(written, value)| {
        if *written != second
            && let Ok(text) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
        {
            (*written, *value) = (second, text);
        }
        value.clone()
    })
}
