//! HTTP content encodings, with the limit on *decompressed* bytes (fault 41).

use crate::error::{Error, Result, Word};
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use std::io::{Read, Write};

/// The encodings offered; `Accept-Encoding` of a refusal lists the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Identity,
    Gzip,
    /// The zlib wrapper, as HTTP means it.
    Deflate,
}

/// What a refused `Content-Encoding` is answered with in `Accept-Encoding`.
pub const ACCEPTED: &str = "gzip, deflate";

/// More tokens of an `Accept-Encoding` than these are not read.
const MAX_TOKENS: usize = 32;

impl Encoding {
    /// The encoding named by a `Content-Encoding` header.
    ///
    /// # Errors
    /// `Unimplemented` for an unknown encoding and for several at once.
    pub fn parse(content_encoding: &str) -> Result<Encoding> {
        match content_encoding.trim() {
            "" => Ok(Encoding::Identity),
            name => Encoding::named(name)
                .ok_or_else(|| Error::new(Word::Unimplemented, "Unsupported compression type")),
        }
    }

    /// The encoding with the highest q in an `Accept-Encoding` header; the one
    /// listed first wins a tie. What is malformed or unknown is passed over, and
    /// `Identity` is what remains.
    pub fn choose(accept_encoding: &str) -> Encoding {
        let mut best = (Encoding::Identity, 0);
        for token in accept_encoding.split(',').take(MAX_TOKENS) {
            let mut parts = token.split(';');
            let Some(encoding) = Encoding::named(parts.next().unwrap_or_default().trim()) else { continue };
            let Some(quality) = quality(parts) else { continue };
            if quality > best.1 {
                best = (encoding, quality);
            }
        }
        best.0
    }

    /// The value for `Content-Encoding`; `None` where the header is left out.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Deflate => Some("deflate"),
        }
    }

    fn named(name: &str) -> Option<Encoding> {
        let is = |known| name.eq_ignore_ascii_case(known);
        if is("gzip") || is("x-gzip") {
            Some(Encoding::Gzip)
        } else if is("deflate") {
            Some(Encoding::Deflate)
        } else if is("identity") {
            Some(Encoding::Identity)
        } else {
            None
        }
    }
}

/// The q of one token in thousandths; 1000 where none is given, `None` where it
/// cannot be read.
fn quality<'a>(parameters: impl Iterator<Item = &'a str>) -> Option<u32> {
    for parameter in parameters.take(MAX_TOKENS) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("q") {
            let q: f32 = value.trim().parse().ok()?;
            return (0.0..=1.0).contains(&q).then_some((q * 1000.0) as u32);
        }
    }
    Some(1000)
}

/// Decompresses a body, at most `limit` bytes of it.
///
/// The buffer grows with what really comes out, and never past `limit` + 1.
///
/// # Errors
/// `TooLarge` naming the limit; `BadRequest` when the data is not of this
/// encoding, is cut, or is followed by something else.
pub fn inflate(encoding: Encoding, data: &[u8], limit: usize) -> Result<Bytes> {
    match encoding {
        Encoding::Identity if data.len() > limit => Err(too_large(limit)),
        Encoding::Identity => Ok(Bytes::copy_from_slice(data)),
        Encoding::Gzip => {
            let mut reader = MultiGzDecoder::new(data);
            grow(data.len(), limit, |out| reader.read(out).map_err(|_| garbage("gzip")))
        }
        Encoding::Deflate => inflate_zlib(data, limit),
    }
}

/// Zlib through the raw state machine: only it tells a cut stream from an ended one.
fn inflate_zlib(data: &[u8], limit: usize) -> Result<Bytes> {
    let mut stream = Decompress::new(true);
    let mut ended = false;
    let out = grow(data.len(), limit, |out| {
        if ended {
            return Ok(0);
        }
        let (before_in, before_out) = (stream.total_in(), stream.total_out());
        let rest = data.get(before_in as usize..).unwrap_or_default();
        let status = stream.decompress(rest, out, FlushDecompress::None).map_err(|_| garbage("deflate"))?;
        let (read, written) = (stream.total_in() - before_in, stream.total_out() - before_out);
        ended = status == Status::StreamEnd;
        if !ended && read == 0 && written == 0 {
            return Err(garbage("deflate"));
        }
        Ok(written as usize)
    })?;
    if ended && stream.total_in() == data.len() as u64 { Ok(out) } else { Err(garbage("deflate")) }
}

/// Reads into a buffer that doubles, until `read` gives 0 or the limit is passed.
fn grow(compressed: usize, limit: usize, mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Bytes> {
    let most = limit.saturating_add(1);
    let mut out = vec![0u8; compressed.saturating_mul(4).clamp(256, 1 << 20).min(most)];
    let mut filled = 0;
    loop {
        if filled == out.len() {
            if filled >= most {
                return Err(too_large(limit));
            }
            out.resize(filled.saturating_mul(2).min(most), 0);
        }
        match read(&mut out[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    if filled > limit {
        return Err(too_large(limit));
    }
    out.truncate(filled);
    Ok(out.into())
}

fn too_large(limit: usize) -> Error {
    Error::new(
        Word::TooLarge,
        format!("the decompressed request body is larger than the limit of {limit} bytes"),
    )
}

fn garbage(encoding: &str) -> Error {
    Error::bad(format!("the request body is not one whole {encoding} stream"))
}

/// Compresses an answer at the fast level.
pub fn deflate(encoding: Encoding, data: &[u8]) -> Bytes {
    let out = Vec::with_capacity(data.len() / 2 + 64);
    let packed = match encoding {
        Encoding::Identity => return Bytes::copy_from_slice(data),
        Encoding::Gzip => {
            let mut writer = GzEncoder::new(out, Compression::fast());
            writer.write_all(data).and_then(|()| writer.finish())
        }
        Encoding::Deflate => {
            let mut writer = ZlibEncoder::new(out, Compression::fast());
            writer.write_all(data).and_then(|()| writer.finish())
        }
    };
    // Writing to memory does not fail.
    packed.unwrap_or_default().into()
}
