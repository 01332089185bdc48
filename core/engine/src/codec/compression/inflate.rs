//! Decompressing in parts, by whoever wants to look up between them.

use super::Encoding;
use crate::codec::buffer::without_slack;
use crate::error::{Error, ErrorCode, Result};
use crate::memory;
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Read;

/// More gzip members than writers of large bodies make. Starting one costs far
/// more than the 20 bytes of an empty one, so they are counted.
const MAX_MEMBERS: usize = 4096;

/// Bytes that come out between two looks at whether the work is still wanted.
const PIECE: usize = 256 << 10;

/// Decompresses a body, at most `limit` bytes of it.
///
/// # Errors
/// As [`Inflater::advance`].
pub fn inflate(encoding: Encoding, data: &Bytes, limit: usize) -> Result<Bytes> {
    let mut inflater = Inflater::new(encoding, data.clone(), limit);
    inflater.advance(usize::MAX, &mut |_| Ok(()))?;
    Ok(inflater.finish().0)
}

/// A body that is decompressed in parts.
///
/// The buffer grows with what really comes out, and never past the limit + 1.
#[derive(Debug)]
pub struct Inflater {
    source: Source,
    /// Compressed bytes, all of them.
    packed: usize,
    limit: usize,
    out: Vec<u8>,
    /// Bytes of `out` that have come.
    filled: usize,
    asked: usize,
}

impl Inflater {
    pub fn new(encoding: Encoding, data: Bytes, limit: usize) -> Self {
        let (packed, source) = (data.len(), Source::of(encoding, data));
        Inflater { source, packed, limit, out: Vec::new(), filled: 0, asked: 0 }
    }

    /// Go on until `until` bytes have come, or the end; whether that is reached. `go_on` is asked
    /// before each piece, with the bytes by which the buffer is to grow for it.
    ///
    /// # Errors
    /// `TooLarge` naming the limit; `BadRequest` when the data is not of this
    /// encoding, is cut, or is followed by something else; and those of `go_on`.
    pub fn advance(&mut self, until: usize, go_on: &mut dyn FnMut(usize) -> Result<()>) -> Result<bool> {
        while self.filled < until {
            self.make_room(go_on)?;
            let end = self.out.len().min(self.filled + PIECE);
            match self.source.read(&mut self.out[self.filled..end])? {
                0 => {
                    self.trim();
                    return Ok(true);
                }
                n => self.filled += n,
            }
            if self.filled > self.limit {
                return Err(too_large(self.limit));
            }
        }
        Ok(false)
    }

    /// Bytes that are still to come, if the rest is packed as what has come.
    pub fn left(&self) -> usize {
        let rest = self.source.len();
        let ratio = self.filled / (self.packed - rest).max(1) + 1;
        rest.saturating_mul(ratio).min(self.limit.saturating_sub(self.filled))
    }

    fn make_room(&mut self, go_on: &mut dyn FnMut(usize) -> Result<()>) -> Result<()> {
        let have = self.out.len();
        if self.filled < have {
            return go_on(0);
        }
        let most = self.limit.saturating_add(1);
        let first = self.source.len().saturating_mul(4).clamp(256, 1 << 20);
        let want = have.saturating_mul(2).max(first).min(most);
        go_on(want - have)?;
        self.asked += want - have;
        self.out.try_reserve_exact(want - have).map_err(|_| memory::none_left())?;
        self.out.resize(want, 0);
        Ok(())
    }

    /// Here, as it may copy: on a helper, and not on the thread that takes what came.
    fn trim(&mut self) {
        self.out.truncate(self.filled);
        self.out = without_slack(std::mem::take(&mut self.out));
    }

    /// Bytes that `go_on` was asked for.
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// All that came, once it has ended, and the bytes that it takes: at most twice as many.
    pub fn finish(self) -> (Bytes, usize) {
        let takes = self.out.capacity();
        (self.out.into(), takes)
    }
}

/// Where decompressed bytes come from. The compressed ones are let go with it.
#[derive(Debug)]
enum Source {
    Plain(Reader<Bytes>),
    Gzip(Gzip),
    Zlib(Zlib),
}

impl Source {
    fn of(encoding: Encoding, data: Bytes) -> Source {
        match encoding {
            Encoding::Identity => Source::Plain(data.reader()),
            Encoding::Gzip => {
                Source::Gzip(Gzip { member: Some(Box::new(GzDecoder::new(data.reader()))), members: 1 })
            }
            Encoding::Deflate => {
                Source::Zlib(Zlib { stream: Decompress::new(true), rest: data, ended: false })
            }
        }
    }

    /// Compressed bytes still to read.
    fn len(&self) -> usize {
        match self {
            Source::Plain(data) => data.get_ref().len(),
            Source::Gzip(gzip) => gzip.member.as_ref().map_or(0, |member| member.get_ref().get_ref().len()),
            Source::Zlib(zlib) => zlib.rest.len(),
        }
    }

    /// The next bytes, 0 only at the end.
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        match self {
            // Reading from memory does not fail.
            Source::Plain(data) => data.read(out).map_err(|_| garbage("identity")),
            Source::Gzip(gzip) => gzip.read(out),
            Source::Zlib(zlib) => zlib.read(out),
        }
    }
}

/// The members of a gzip body, one after another.
#[derive(Debug)]
struct Gzip {
    /// `None` only while the next one begins.
    member: Option<Box<GzDecoder<Reader<Bytes>>>>,
    members: usize,
}

impl Gzip {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(out).map_err(|_| garbage("gzip"))?;
            if n > 0 || member.get_ref().get_ref().is_empty() {
                return Ok(n);
            }
            self.members += 1;
            if self.members > MAX_MEMBERS {
                return Err(Error::bad(format!("the gzip request body has more than {MAX_MEMBERS} members")));
            }
            self.member = self.member.take().map(|ended| Box::new(GzDecoder::new(ended.into_inner())));
        }
        Ok(0)
    }
}

/// Zlib through the raw state machine: only it tells a cut stream from an ended one.
#[derive(Debug)]
struct Zlib {
    stream: Decompress,
    rest: Bytes,
    ended: bool,
}

impl Zlib {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let mut written = 0;
        while !self.ended && written == 0 {
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress(&self.rest, out, FlushDecompress::None)
                .map_err(|_| garbage("deflate"))?;
            let read = (self.stream.total_in() - before_in) as usize;
            written = (self.stream.total_out() - before_out) as usize;
            self.rest.advance(read);
            self.ended = status == Status::StreamEnd;
            if !self.ended && read == 0 && written == 0 {
                return Err(garbage("deflate"));
            }
        }
        if self.ended && !self.rest.is_empty() { Err(garbage("deflate")) } else { Ok(written) }
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(
        ErrorCode::TooLarge,
        format!("the decompressed request body is larger than the limit of {limit} bytes"),
    )
}

fn garbage(encoding: &str) -> Error {
    Error::bad(format!("the request body is not one whole {encoding} stream"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    fn deflate(encoding: Encoding, data: &[u8]) -> Bytes {
        crate::codec::compression::deflate(encoding, data, &Budget::new(usize::MAX).reserve()).unwrap()
    }

    #[test]
    fn fault_105_inflating_stops_within_a_piece_of_being_told() {
        for encoding in BOTH {
            let packed = deflate(encoding, &vec![0u8; 4 << 20]);
            let mut inflater = Inflater::new(encoding, packed, 64 << 20);
            let mut asked = 0;
            let error = inflater.advance(usize::MAX, &mut |_| {
                asked += 1;
                if asked > 3 { Err(Error::new(ErrorCode::Cancelled, "the caller left")) } else { Ok(()) }
            });
            assert_eq!(error.unwrap_err().code, ErrorCode::Cancelled);
            assert!(inflater.filled <= 3 * PIECE, "{encoding:?}: {}", inflater.filled);
        }
    }

    #[test]
    fn fault_103_every_byte_of_the_buffer_is_asked_for_before_it_is_taken() {
        for encoding in BOTH {
            let data = vec![7u8; 2 << 20];
            let mut inflater = Inflater::new(encoding, deflate(encoding, &data), 64 << 20);
            let mut room = 0;
            let mut steps = 0;
            let mut count = |more| {
                room += more;
                Ok(())
            };
            while !inflater.advance((steps + 1) << 19, &mut count).unwrap() {
                steps += 1;
            }
            assert_eq!(inflater.asked(), room);
            assert!(steps >= 3, "{steps}");
            let (out, takes) = inflater.finish();
            assert_eq!(out, data);
            assert!((out.len()..=2 * out.len()).contains(&takes) && takes <= room, "{takes} of {room}");
        }
    }
}
