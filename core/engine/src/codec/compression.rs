//! HTTP content encodings, with the limit on *decompressed* bytes (fault 41).

mod inflate;

pub use inflate::{Inflater, inflate};

use super::buffer::AnswerBuf;
use crate::admission::Reservation;
use crate::error::{Error, ErrorCode, Result};
use crate::memory;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write;

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
    /// `UnsupportedEncoding` for an unknown encoding and for several at once.
    pub fn parse(content_encoding: &str) -> Result<Encoding> {
        match content_encoding.trim() {
            "" => Ok(Encoding::Identity),
            name => Encoding::named(name)
                .ok_or_else(|| Error::new(ErrorCode::UnsupportedEncoding, "Unsupported compression type")),
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

/// An answer in the encoding that was asked for, counted in the budget of `of`.
///
/// # Errors
/// As [`deflate`].
pub fn encoded(encoding: Encoding, body: Bytes, of: &Reservation) -> Result<Bytes> {
    match encoding {
        Encoding::Identity => Ok(body),
        encoding => deflate(encoding, &body, of),
    }
}

/// Compresses an answer at the fast level, counted in the budget of `of`.
///
/// # Errors
/// `Full` where the budget or the machine has no room for it.
pub fn deflate(encoding: Encoding, data: &[u8], of: &Reservation) -> Result<Bytes> {
    pack(encoding, data, buffer(data.len(), of)?)?.finish()
}

/// For what is made of `len` bytes. The limit is on what is packed: here it was kept already.
///
/// # Errors
/// As [`deflate`].
pub fn buffer(len: usize, of: &Reservation) -> Result<AnswerBuf<'_>> {
    AnswerBuf::new(of, len / 2 + 64, usize::MAX)
}

/// [`deflate`], behind what is there already.
///
/// # Errors
/// As [`deflate`].
pub fn pack<'a>(encoding: Encoding, data: &[u8], mut out: AnswerBuf<'a>) -> Result<AnswerBuf<'a>> {
    let packed = match encoding {
        Encoding::Identity => out.write_all(data).map(|()| out),
        Encoding::Gzip => {
            let mut writer = GzEncoder::new(out, Compression::fast());
            writer.write_all(data).and_then(|()| writer.finish())
        }
        Encoding::Deflate => {
            let mut writer = ZlibEncoder::new(out, Compression::fast());
            writer.write_all(data).and_then(|()| writer.finish())
        }
    };
    // Writing to memory fails for want of room alone.
    packed.map_err(|error| error.downcast::<Error>().unwrap_or_else(|_| memory::none_left()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use proptest::prelude::*;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Deflate];

    #[test]
    fn one_known_content_encoding_is_taken() {
        assert_eq!(Encoding::parse("").unwrap(), Encoding::Identity);
        assert_eq!(Encoding::parse("identity").unwrap(), Encoding::Identity);
        assert_eq!(Encoding::parse(" GZip ").unwrap(), Encoding::Gzip);
        assert_eq!(Encoding::parse("deflate").unwrap(), Encoding::Deflate);
    }

    #[test]
    fn fault_41_unknown_and_nested_encodings_are_refused() {
        for bad in ["br", "gzip, gzip", "gzip,deflate", "zstd", "gzip;q=1"] {
            let error = Encoding::parse(bad).unwrap_err();
            assert_eq!(
                (error.code, error.message.as_str()),
                (ErrorCode::UnsupportedEncoding, "Unsupported compression type")
            );
        }
    }

    #[test]
    fn the_answer_takes_the_highest_q() {
        for (accept, want) in [
            ("", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("gzip, deflate", Encoding::Gzip),
            ("deflate, gzip", Encoding::Deflate),
            ("gzip;q=0.5, deflate;q=0.8", Encoding::Deflate),
            ("gzip; q=0.5, identity", Encoding::Identity),
            ("identity;q=0.2,GZIP;Q=0.3", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("br, *", Encoding::Identity),
            ("gzip;q=x, deflate;q=2, ;;=,,", Encoding::Identity),
            ("gzip;q=NaN", Encoding::Identity),
        ] {
            assert_eq!(Encoding::choose(accept), want, "{accept}");
        }
    }

    fn deflate(encoding: Encoding, data: &[u8]) -> Bytes {
        super::deflate(encoding, data, &Budget::new(usize::MAX).reserve()).unwrap()
    }

    fn inflate(encoding: Encoding, data: &[u8], limit: usize) -> Result<Bytes> {
        super::inflate(encoding, &Bytes::copy_from_slice(data), limit)
    }

    fn gzip(data: &[u8]) -> Vec<u8> {
        deflate(Encoding::Gzip, data).to_vec()
    }

    #[test]
    fn fault_41_the_limit_counts_decompressed_bytes() {
        let bomb = vec![0u8; 50 << 20];
        for encoding in BOTH {
            let packed = deflate(encoding, &bomb);
            assert!(packed.len() < 1 << 20);
            let error = inflate(encoding, &packed, 1 << 20).unwrap_err();
            assert_eq!(error.code, ErrorCode::TooLarge);
            assert!(error.message.contains("1048576"), "{error}");
            assert_eq!(inflate(encoding, &packed, bomb.len()).unwrap().len(), bomb.len());
            assert_eq!(inflate(encoding, &packed, bomb.len() - 1).unwrap_err().code, ErrorCode::TooLarge);
        }
        assert_eq!(inflate(Encoding::Identity, b"abc", 2).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn fault_41_many_small_members_are_one_body_under_one_limit() {
        let members = [gzip(b"hello "), gzip(b""), gzip(b"world")].concat();
        assert_eq!(inflate(Encoding::Gzip, &members, 100).unwrap(), "hello world");
        assert_eq!(inflate(Encoding::Gzip, &members, 10).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn fault_41_a_flood_of_empty_members_is_refused() {
        let flood = gzip(b"").repeat(100_000);
        assert!(inflate(Encoding::Gzip, &flood, 100).unwrap_err().message.contains("more than 4096 members"));
        let many = gzip(b"a").repeat(4096);
        assert_eq!(inflate(Encoding::Gzip, &many, 4096).unwrap().len(), 4096);
    }

    #[test]
    fn fault_41_garbage_is_a_bad_request() {
        for encoding in BOTH {
            for bad in [&b""[..], b"x", b"\x1f\x8b", b"not compressed at all", &[0xff; 100]] {
                assert_eq!(
                    inflate(encoding, bad, 1000).unwrap_err().code,
                    ErrorCode::BadRequest,
                    "{encoding:?} {bad:?}"
                );
            }
        }
        assert!(inflate(Encoding::Gzip, &deflate(Encoding::Deflate, b"abc"), 100).is_err());
        assert!(inflate(Encoding::Deflate, &gzip(b"abc"), 100).is_err());
    }

    #[test]
    fn fault_41_a_stream_cut_anywhere_is_refused() {
        let data: Vec<u8> = (0..2000u32).flat_map(|i| (i * i).to_le_bytes()).collect();
        for encoding in BOTH {
            let packed = deflate(encoding, &data);
            for end in 0..packed.len() {
                assert!(inflate(encoding, &packed[..end], 1 << 20).is_err(), "{encoding:?} cut at {end}");
            }
        }
    }

    #[test]
    fn fault_41_trailing_garbage_is_refused() {
        for encoding in BOTH {
            for tail in [&b"x"[..], b"\0", b"trailing garbage that is long enough for a head"] {
                let packed = [&deflate(encoding, b"abc")[..], tail].concat();
                assert!(inflate(encoding, &packed, 1000).is_err(), "{encoding:?} {tail:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_compressed_reads_back(data: Vec<u8>, repeat in 1usize..200) {
            let data = data.repeat(repeat);
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
                let packed = deflate(encoding, &data);
                prop_assert_eq!(inflate(encoding, &packed, data.len()).unwrap(), &data);
            }
        }

        #[test]
        fn any_bytes_end(data: Vec<u8>, limit in 0usize..100, accept: String) {
            for encoding in BOTH {
                let _ = inflate(encoding, &data, limit);
            }
            Encoding::choose(&accept);
            let _ = Encoding::parse(&accept);
        }
    }
}
