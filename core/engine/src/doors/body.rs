//! Reading a body: bounded in bytes, in pieces and in time, and counted against
//! the process's budget while it still arrives.

use super::Shared;
use super::incoming::{BodyError, Incoming};
use crate::admission::{Budget, Reservation};
use crate::codec::compression::{self, Encoding, Inflater};
use crate::error::{Error, ErrorCode, Result};
use crate::memory::AlignedBuf;
use crate::offload::{self, Job};
use bytes::{Buf, Bytes};
use http_body::Body;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// Room taken before a byte of a large body has come.
const FIRST_ROOM: usize = 1 << 20;
/// Slower senders than this are given up, once the time-out has passed.
const SLOWEST: u64 = 64 << 10;
/// Pieces a body may come in, beyond one for each KiB.
const PIECES: usize = 65_536;

/// Collects frames; the first stays where it is when it is the whole body.
pub struct Collector<'a> {
    shared: &'a Shared,
    started: Instant,
    /// Bytes to come, when known: then the end of the buffer is aligned.
    expected: Option<usize>,
    limit: usize,
    single: Bytes,
    buffer: Option<AlignedBuf>,
    received: usize,
    pieces: usize,
    reservation: Reservation,
}

impl<'a> Collector<'a> {
    pub fn new(shared: &'a Shared, budget: &Arc<Budget>, expected: Option<usize>, limit: usize) -> Self {
        Collector {
            shared,
            started: Instant::now(),
            expected,
            limit,
            single: Bytes::new(),
            buffer: None,
            received: 0,
            pieces: 0,
            reservation: budget.reserve(),
        }
    }

    fn due(&self) -> Instant {
        due(self.started, self.shared.config.body_timeout, self.received)
    }

    pub fn push(&mut self, data: Bytes) -> Result<()> {
        self.pieces += 1;
        if self.pieces > PIECES + self.received / 1024 {
            return Err(Error::bad("the body came in too many pieces"));
        }
        if data.is_empty() {
            return Ok(());
        }
        if self.received == 0 {
            // The wait for the first byte is not part of the message's own time.
            self.started = Instant::now();
        }
        self.received += data.len();
        if self.received > self.limit {
            return Err(too_large(self.limit));
        }
        self.reservation.take(data.len())?;
        match &mut self.buffer {
            Some(buffer) => buffer.extend(&data)?,
            None if self.single.is_empty() => self.single = data,
            None => {
                let total = self.expected.unwrap_or(0).max(self.received);
                let mut buffer = AlignedBuf::ending_aligned(total.min(FIRST_ROOM), total)?;
                buffer.extend(&self.single)?;
                buffer.extend(&data)?;
                self.single = Bytes::new();
                self.buffer = Some(buffer);
            }
        }
        Ok(())
    }

    pub fn expect(&mut self, total: usize) {
        self.expected = Some(total);
    }

    pub fn received(&self) -> usize {
        self.received
    }

    /// The first bytes, as far as they came in one piece.
    pub fn head(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&self.single[..], AsRef::as_ref)
    }

    pub fn finish(self) -> (Bytes, Reservation) {
        (self.buffer.map_or(self.single, AlignedBuf::freeze), self.reservation)
    }
}

/// When a sender of so many bytes will have been too slow: more bytes earn more time.
pub fn due(started: Instant, timeout: Duration, received: usize) -> Instant {
    started + timeout + Duration::from_millis(received as u64 * 1000 / SLOWEST)
}

pub fn too_large(limit: usize) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!("the message is over the limit of {limit} bytes (setting limits.max_message_bytes)"),
    )
}

/// Of a service whose messages are small by nature.
fn not_small(limit: usize) -> Error {
    Error::new(ErrorCode::TooLarge, format!("messages of this service have at most {limit} bytes"))
}

/// The next piece of data; `None` at the end. Trailers are read and ignored.
async fn next<B>(body: &mut B, due: Instant) -> Result<Option<Bytes>>
where
    B: Body<Data = Bytes, Error = BodyError> + Unpin,
{
    loop {
        let frame = timeout_at(due.into(), body.frame()).await;
        let frame = frame.map_err(|_| Error::new(ErrorCode::SlowBody, "the body did not come in time"))?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(unreadable(error)),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// An error of our own passes through. All else (a reset, a cut connection, a broken encoding) is
/// a bad request: the client's fault, if it still reads the answer.
fn unreadable(error: BodyError) -> Error {
    error.downcast::<Error>().map_or_else(|_| Error::bad("the body could not be read"), |ours| *ours)
}

/// A whole HTTP body.
///
/// # Errors
/// `TooLarge` (also for the budget), `Full` (byte budget), `SlowBody`, `BadRequest` for a broken one.
pub async fn read_http(
    shared: &Shared,
    body: &mut Incoming,
    length: Option<u64>,
) -> Result<(Bytes, Reservation)> {
    let limit = shared.config.max_message_bytes;
    if length.is_some_and(|l| l > limit as u64) {
        return Err(too_large(limit));
    }
    let expected = length.and_then(|l| usize::try_from(l).ok());
    body.budget().check(expected.unwrap_or(0))?;
    let mut collector = Collector::new(shared, body.budget(), expected, limit);
    while let Some(data) = next(body, collector.due()).await? {
        collector.push(data)?;
        if body.is_end_stream() {
            break;
        }
    }
    Ok(collector.finish())
}

/// One gRPC message: the compressed flag, the message, and what it holds of the budget.
pub struct Message {
    pub compressed: bool,
    pub data: Bytes,
    pub reservation: Reservation,
}

/// Reads length-prefixed messages from a gRPC request body.
pub struct Messages<B> {
    body: B,
    budget: Arc<Budget>,
    /// What came beyond the last message.
    rest: Bytes,
    rest_held: Reservation,
    ended: bool,
    /// Of one message, below that of the server.
    limit: usize,
}

const PREFIX: usize = 5;

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Messages<B> {
    pub fn new(body: B, budget: Arc<Budget>) -> Self {
        let rest_held = budget.reserve();
        Messages { body, budget, rest: Bytes::new(), rest_held, ended: false, limit: usize::MAX }
    }

    /// For services whose messages are small by nature.
    pub fn at_most(self, limit: usize) -> Self {
        Messages { limit, ..self }
    }

    /// The next message; `None` at the end of the stream. `idle` is how long the
    /// first byte may take (`None`: for ever; the stream is bounded by its connection).
    ///
    /// # Errors
    /// As [`read_http`]; a message over the limit is refused by its prefix, unread.
    pub async fn next(&mut self, shared: &Shared, idle: Option<Duration>) -> Result<Option<Message>> {
        let limit = shared.config.max_message_bytes.min(self.limit);
        let mut collector = Collector::new(shared, &self.budget, None, limit.saturating_add(PREFIX));
        let mut more = std::mem::take(&mut self.rest);
        self.rest_held.give_back(more.len());
        let mut total = None;
        loop {
            if !more.is_empty() {
                self.take(&mut collector, more, &mut total, limit)?;
            }
            if total.is_some_and(|t| collector.received() >= t) {
                break;
            }
            if self.ended {
                return if collector.received() == 0 { Ok(None) } else { Err(cut_short()) };
            }
            let due = match idle {
                None if collector.received() == 0 => Instant::now() + Duration::from_secs(86_400 * 365),
                _ => collector.due(),
            };
            match next(&mut self.body, due).await? {
                Some(data) => more = data,
                None => {
                    self.ended = true;
                    more = Bytes::new();
                }
            }
        }
        let (mut data, reservation) = collector.finish();
        let compressed = data.first().copied().unwrap_or(0);
        data.advance(PREFIX.min(data.len()));
        match compressed {
            0 | 1 => Ok(Some(Message { compressed: compressed == 1, data, reservation })),
            _ => Err(Error::bad("invalid compression flag in the message's prefix")),
        }
    }

    /// Give the collector what belongs to this message, and keep what does not.
    fn take(
        &mut self,
        collector: &mut Collector<'_>,
        mut more: Bytes,
        total: &mut Option<usize>,
        limit: usize,
    ) -> Result<()> {
        if total.is_none() {
            let mut head = [0; PREFIX];
            let have = collector.received();
            let missing = (PREFIX - have).min(more.len());
            head[..have].copy_from_slice(collector.head());
            head[have..have + missing].copy_from_slice(&more[..missing]);
            if have + missing < PREFIX {
                return collector.push(more);
            }
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if length > limit {
                return Err(if limit == self.limit { not_small(limit) } else { too_large(limit) });
            }
            self.budget.check(length)?;
            *total = Some(PREFIX + length);
            collector.expect(PREFIX + length);
        }
        let missing = total.unwrap_or(0) - collector.received();
        if more.len() > missing {
            self.rest = more.split_off(missing);
            self.rest_held.hold(self.rest.len());
        }
        collector.push(more)
    }

    /// For a unary call: exactly one message, then the end.
    ///
    /// # Errors
    /// As [`Messages::next`], and `BadRequest` for none or several.
    pub async fn only(mut self, shared: &Shared) -> Result<Message> {
        let idle = Some(shared.config.body_timeout);
        let message =
            self.next(shared, idle).await?.ok_or_else(|| Error::bad("the request has no message"))?;
        let ended =
            self.rest.is_empty() && (self.body.is_end_stream() || self.next(shared, idle).await?.is_none());
        if ended { Ok(message) } else { Err(Error::bad("a unary request has one message, more came")) }
    }
}

/// What small compressed bodies may become on an I/O thread; larger ones go to the helpers.
const INFLATE_INLINE: usize = 64 << 10;
/// Larger compressed bodies go there at once.
const PACKED_INLINE: usize = 4 << 10;
/// Nobody knows what a body becomes: its first bytes are small work, whatever comes after.
const FIRST_INFLATED: usize = offload::LARGE;

/// Decompress within the limit, which counts what comes out, and count it as it comes.
///
/// # Errors
/// `TooLarge`, `Full` (byte budget, or too much work waits), `Expired`, `BadRequest` for what
/// is not that compression.
pub async fn inflate(
    shared: &Shared,
    encoding: Encoding,
    data: Bytes,
    deadline: Option<Instant>,
    mut reservation: Reservation,
) -> Result<(Bytes, Reservation)> {
    let limit = shared.config.max_message_bytes;
    let packed = data.len();
    if let Some(done) = inflate_small(encoding, &data, limit) {
        let inflated = done?;
        reservation.take(inflated.len())?;
        reservation.give_back(packed);
        return Ok((inflated, reservation));
    }
    let mut held = (Inflater::new(encoding, data, limit), reservation);
    let (mut bytes, mut until) = (FIRST_INFLATED, FIRST_INFLATED);
    loop {
        let client = held.1.client();
        let ended;
        (ended, held) = shared
            .offload
            .run(Job { bytes, client, deadline, held }, move |stop, (inflater, reservation)| {
                inflater.advance(until, &mut |more| {
                    stop.check()?;
                    reservation.take(more)
                })
            })
            .await?;
        if ended {
            break;
        }
        // The rest is large, and another turn: as much as the guess says, then another guess.
        bytes = held.0.left().max(offload::LARGE + 1);
        until = until.saturating_add(bytes);
    }
    let (inflater, mut reservation) = held;
    let asked = inflater.asked();
    let (inflated, takes) = inflater.finish();
    reservation.give_back(packed + asked.saturating_sub(takes));
    Ok((inflated, reservation))
}

/// `None` when it is, or becomes, too large for an I/O thread.
fn inflate_small(encoding: Encoding, data: &Bytes, limit: usize) -> Option<Result<Bytes>> {
    if data.len() > PACKED_INLINE {
        return None;
    }
    match compression::inflate(encoding, data, limit.min(INFLATE_INLINE)) {
        Err(error) if error.code == ErrorCode::TooLarge && limit > INFLATE_INLINE => None,
        done => Some(done),
    }
}

fn cut_short() -> Error {
    Error::bad("the request ended in the middle of a message")
}
