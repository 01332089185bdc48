//! W3C trace context: ids, the `traceparent` header, and which requests are traced.

use crate::random::random;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

pub const HEADER: HeaderName = HeaderName::from_static("traceparent");
/// Length of a header of version 00.
const LEN: usize = 55;
const SAMPLED: u8 = 1;

/// Never zero: all zeros is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// Never zero: all zeros is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl TraceId {
    pub const DIGITS: usize = 32;

    pub fn random() -> TraceId {
        TraceId(u128::from(random()) << 64 | u128::from(random()).max(1))
    }

    /// Read from lower-case hexadecimal digits, all of them.
    pub fn parse(digits: &[u8]) -> Option<TraceId> {
        if digits.len() == Self::DIGITS { hex(digits).filter(|&id| id != 0).map(TraceId) } else { None }
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl SpanId {
    pub const DIGITS: usize = 16;

    pub fn random() -> SpanId {
        SpanId(random().max(1))
    }

    /// Read from lower-case hexadecimal digits, all of them.
    pub fn parse(digits: &[u8]) -> Option<SpanId> {
        let id = if digits.len() == Self::DIGITS { hex(digits)? } else { 0 };
        u64::try_from(id).ok().filter(|&id| id != 0).map(SpanId)
    }

    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One span as others name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: TraceId,
    pub span: SpanId,
    pub sampled: bool,
}

impl Context {
    /// A span that begins a trace of its own.
    pub fn root() -> Context {
        Context { trace: TraceId::random(), span: SpanId::random(), sampled: true }
    }

    /// What the client sent; `None` without a header, with several, or a malformed one.
    pub fn from_headers(headers: &HeaderMap) -> Option<Context> {
        let mut values = headers.get_all(HEADER).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { Context::parse(first.as_bytes()) }
    }

    /// Read strictly: lower-case hexadecimal, no all-zero ids. Of a version to come its
    /// first four fields count, and what follows must be set off by a dash.
    pub fn parse(value: &[u8]) -> Option<Context> {
        let (known, rest) = value.split_at_checked(LEN)?;
        let version = hex(&known[0..2])?;
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|&b| b == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        if !fits || !dashes {
            return None;
        }
        let (trace, span) = (TraceId::parse(&known[3..35])?, SpanId::parse(&known[36..52])?);
        let sampled = hex(&known[53..55])? & u128::from(SAMPLED) != 0;
        Some(Context { trace, span, sampled })
    }

    /// The header's value, in version 00.
    pub fn header(&self) -> Option<HeaderValue> {
        let flags = if self.sampled { SAMPLED } else { 0 };
        HeaderValue::from_str(&format!("00-{}-{}-{flags:02x}", self.trace, self.span)).ok()
    }
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// A share of all requests, as a bound for a random number; 0 takes none.
pub fn threshold(rate: f64) -> u64 {
    // The cast saturates: all of them from 1 on, none below 0.
    (rate * u64::MAX as f64) as u64
}

/// Whether this request is in the share.
pub fn drawn(threshold: u64) -> bool {
    threshold != 0 && random() <= threshold
}

/// How this server's part begins: the span that the answer's header names, `None` when
/// there is nothing to name. It keeps the caller's trace, and is not sampled when only
/// the caller traces.
pub fn decide(parent: Option<Context>, drawn: bool, trust_parents: bool) -> Option<Context> {
    let sampled = drawn || (trust_parents && parent.is_some_and(|p| p.sampled));
    match parent {
        Some(parent) => Some(Context { trace: parent.trace, span: SpanId::random(), sampled }),
        None => sampled.then(Context::root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn traceparent_is_read_strictly() {
        let replaced = |from: &str, to: &str| GOOD.replace(from, to);
        let table = [
            (GOOD.to_owned(), Some(true)),
            (replaced("-01", "-00"), Some(false)),
            // Only the lowest bit means sampled; the others say something else.
            (replaced("-01", "-ff"), Some(true)),
            (replaced("-01", "-02"), Some(false)),
            // Versions to come: longer after a dash, and read as far as we know.
            (replaced("00-0a", "01-0a"), Some(true)),
            (replaced("00-0a", "cc-0a") + "-what-comes", Some(true)),
            (replaced("00-0a", "cc-0a") + ".what-comes", None),
            (replaced("00-0a", "ff-0a"), None),
            (GOOD.to_owned() + "-00", None),
            (GOOD.to_owned() + " ", None),
            (GOOD[1..].to_owned(), None),
            (GOOD[..54].to_owned(), None),
            (GOOD.to_uppercase(), None),
            (replaced("-01", "-0x"), None),
            (replaced("0af7", "0aF7"), None),
            (replaced("-b7ad", "_b7ad"), None),
            (replaced("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (replaced("b7ad6b7169203331", &"0".repeat(16)), None),
            (replaced("0af7", "é7"), None),
            (String::new(), None),
        ];
        for (text, sampled) in table {
            let read = Context::parse(text.as_bytes());
            assert_eq!(read.map(|c| c.sampled), sampled, "{text}");
            if let Some(context) = read {
                assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
                assert_eq!(context.span.to_string(), "b7ad6b7169203331");
            }
        }
    }

    #[test]
    fn two_headers_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, HeaderValue::from_static(GOOD));
        assert_eq!(Context::from_headers(&headers), Context::parse(GOOD.as_bytes()));
        headers.append(HEADER, HeaderValue::from_static(GOOD));
        assert_eq!(Context::from_headers(&headers), None);
    }

    #[test]
    fn who_is_traced_and_who_only_gets_the_header_back() {
        let sampled = Context::parse(GOOD.as_bytes()).unwrap();
        let unsampled = Context { sampled: false, ..sampled };
        for (parent, drawn, trust, traced) in [
            (None, false, true, None),
            (None, true, false, Some(true)),
            (Some(sampled), false, true, Some(true)),
            (Some(sampled), false, false, Some(false)),
            (Some(sampled), true, false, Some(true)),
            (Some(unsampled), false, true, Some(false)),
            (Some(unsampled), true, true, Some(true)),
        ] {
            let own = decide(parent, drawn, trust);
            assert_eq!(own.map(|c| c.sampled), traced, "{parent:?} {drawn} {trust}");
            if let (Some(parent), Some(own)) = (parent, own) {
                assert_eq!(own.trace, parent.trace);
                assert_ne!(own.span, parent.span);
            }
        }
    }

    #[test]
    fn a_rate_is_a_share_of_the_draws() {
        let share = |rate| (0..100_000).filter(|_| drawn(threshold(rate))).count();
        assert_eq!((share(0.0), share(1.0), share(-1.0), share(7.0)), (0, 100_000, 0, 100_000));
        assert!((500..2000).contains(&share(0.01)), "{}", share(0.01));
        assert_ne!(TraceId::random(), TraceId::random());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = Context { trace: TraceId(trace), span: SpanId(span), sampled };
            let header = context.header().unwrap();
            prop_assert_eq!(Context::parse(header.as_bytes()), Some(context));
        }

        #[test]
        fn any_bytes_end_and_any_good_one_has_ids(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = Context::parse(&bytes) {
                prop_assert!(context.trace.0 != 0 && context.span.0 != 0);
            }
        }

        #[test]
        fn one_changed_byte_never_changes_an_id_silently(at in 0usize..55, byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            if let Some(context) = Context::parse(&bytes) {
                prop_assert!(context.header().unwrap().as_bytes()[3..52] == bytes[3..52]);
            }
        }
    }
}
