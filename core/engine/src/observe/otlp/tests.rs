use super::*;
use crate::observe::trace::{SpanId, TraceId};
use proptest::prelude::*;
use prost::Message;

/// OTLP's messages, as far as spans use them.
#[derive(Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

#[derive(Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(message, repeated, tag = "13")]
    links: Vec<Link>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, required, tag = "2")]
    value: Text,
}

#[derive(Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

#[derive(Message)]
struct Link {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(fixed32, tag = "6")]
    flags: u32,
}

#[derive(Message, PartialEq)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

fn trace_id() -> TraceId {
    TraceId::parse(b"0af7651916cd43dd8448eb211c80319c").unwrap()
}

fn span_id() -> SpanId {
    SpanId::parse(b"b7ad6b7169203331").unwrap()
}

fn a_span(attributes: Fields) -> Span {
    Span {
        trace: trace_id(),
        span: span_id(),
        parent: None,
        name: "request",
        kind: Kind::Server,
        start_ns: 1,
        end_ns: 2,
        links: Vec::new(),
        attributes,
        error: String::new(),
    }
}

fn names() -> Names {
    let door = |protocol, faults: &[i64]| Door {
        protocol,
        before: Vec::new(),
        after: Vec::new(),
        method: "method".into(),
        code: "code".into(),
        faults: faults.to_vec(),
    };
    Names {
        prefix: "our.".into(),
        message: "words".into(),
        error: "error".into(),
        doors: vec![door(Protocol::Grpc, &[13]), door(Protocol::Http, &[500])],
    }
}

fn decoded(spans: &[Span]) -> Vec<OtlpSpan> {
    ScopeSpans::decode(encode(spans.iter(), &names()).as_slice()).unwrap().spans
}

/// Such as a door's requests have that ended so.
fn ended(status: &str) -> Fields {
    vec![("protocol", "grpc".into()), ("status", status.into())]
}

fn attributes(span: &OtlpSpan) -> Vec<(&str, &str)> {
    span.attributes.iter().map(|a| (a.key.as_str(), a.value.text.as_str())).collect()
}

#[test]
fn flags_tell_where_a_parent_may_be() {
    let parent = SpanId::random();
    for (parent, kind, flags) in [
        (None, Kind::Server, 0x001),
        (None, Kind::Internal, 0x001),
        (Some(parent), Kind::Server, 0x301),
        (Some(parent), Kind::Internal, 0x101),
    ] {
        let one = decoded(&[Span { parent, kind, ..a_span(vec![]) }]).remove(0);
        assert_eq!(one.flags, flags, "{parent:?} {kind:?}");
        assert_eq!(one.parent_span_id, parent.map_or(vec![], |id| id.bytes().to_vec()));
    }
}

#[test]
fn an_error_is_the_status_or_a_message() {
    for (status, is_fault) in [("internal", true), ("not_found", false)] {
        let failed = Span { error: "it broke".into(), ..a_span(ended(status)) };
        let one = decoded(&[failed]).remove(0);
        let told = attributes(&one);
        let expected = Status { message: "it broke".into(), code: 2 };
        assert_eq!(one.status.as_ref(), is_fault.then_some(&expected), "{status}");
        assert_eq!(told.contains(&("words", "it broke")), !is_fault, "{status}");
        assert!(told.contains(&("error", status)) && told.contains(&("our.status", status)));
    }
    // Those of no door have nobody else to blame.
    let inner = Span { error: "it broke".into(), ..a_span(vec![]) };
    assert!(decoded(&[inner])[0].status.is_some());
}

#[test]
fn a_door_tells_every_outcome_in_its_own_terms() {
    for word in ErrorCode::ALL.map(Some).into_iter().chain([None]) {
        let status = word.map_or("ok", ErrorCode::name);
        for protocol in Protocol::ALL {
            let given = vec![("protocol", protocol.name().into()), ("status", status.into())];
            let one = decoded(&[a_span(given)]).remove(0);
            let told: Vec<_> = one.attributes.iter().filter_map(|a| a.value.number).collect();
            let code: i64 = match (protocol, word) {
                (Protocol::Grpc, word) => word.map_or(0, grpc_code).into(),
                (Protocol::Http, word) => word.map_or(200, |word| http_status(word).as_u16()).into(),
            };
            assert_eq!(told, [code], "{protocol:?} {status}");
        }
    }
}

#[test]
fn what_all_requests_of_a_door_have_stands_around_its_method_and_code() {
    let mut names = names();
    let encoded = |key: &str| {
        let mut out = Vec::new();
        put_attribute(&mut out, &[key], &Value::Int(1));
        out
    };
    (names.doors[0].before, names.doors[0].after) = (encoded("first"), encoded("last"));
    let given = [vec![("model", "m".into()), ("rows", 3usize.into())], ended("full")].concat();
    let bytes = encode([a_span(given)].iter(), &names);
    let one = ScopeSpans::decode(bytes.as_slice()).unwrap().spans.remove(0);
    let keys: Vec<_> = one.attributes.iter().map(|a| a.key.as_str()).collect();
    assert_eq!(keys, ["our.model", "our.rows", "our.status", "first", "method", "code", "last", "error"]);
    assert_eq!((one.name.as_str(), one.kind), ("request", 2));
}

#[test]
fn texts_of_any_length_are_framed_and_cut_after_so_many_characters() {
    // Lengths around those where theirs, or what is around them, take one byte more.
    for len in (110..130).chain(990..1030).chain([5000, 20_000]) {
        for letter in ["a", "é", "日", "🦀"] {
            let text = letter.repeat(len);
            let given = vec![("model", text.as_str().into()), (REQUEST_ID, text.as_str().into())];
            let span = Span { error: text, ..a_span(given) };
            let expected = letter.repeat(len.min(1024));
            let one = decoded(&[span]).remove(0);
            let told = [("our.model", expected.as_str()), ("our.request_id", expected.as_str())];
            assert_eq!(attributes(&one), told);
            assert_eq!(one.status.unwrap().message, expected);
        }
    }
}

#[test]
fn lengths_have_as_many_digits_as_they_need() {
    for (len, bytes) in [
        (0, vec![0]),
        (127, vec![0x7f]),
        (128, vec![0x80, 1]),
        (16_383, vec![0xff, 0x7f]),
        (16_384, vec![0x80, 0x80, 1]),
        (u32::MAX as usize, vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
    ] {
        let mut out = Vec::new();
        put_head(&mut out, TEXT, len);
        assert_eq!(out[1..], bytes, "{len}");
        assert_eq!(field_len(len), 1 + bytes.len() + len);
    }
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "\\PC{900,1100}"]
}

prop_compose! {
    fn contexts()(trace in 1u128.., span in 1u64.., sampled: bool) -> Context {
        let trace = TraceId::parse(format!("{trace:032x}").as_bytes()).unwrap();
        Context { trace, span: SpanId::parse(format!("{span:016x}").as_bytes()).unwrap(), sampled }
    }
}

prop_compose! {
    fn spans()(
        own in contexts(), parent in prop::option::of(contexts()), is_server: bool,
        (start_ns, end_ns) in any::<(u64, u64)>(), links in prop::collection::vec(contexts(), 0..20),
        rows: i64, id in texts(), model in texts(), error in texts(),
    ) -> Span {
        Span {
            trace: own.trace,
            span: own.span,
            parent: parent.map(|p| p.span),
            name: "request",
            kind: if is_server { Kind::Server } else { Kind::Internal },
            start_ns,
            end_ns,
            links,
            attributes: vec![
                ("model", model.into()), (REQUEST_ID, id.into()), ("rows", Value::Int(rows))
            ],
            error,
        }
    }
}

proptest! {
    #[test]
    fn every_span_reads_back(spans in prop::collection::vec(spans(), 0..5)) {
        let read = decoded(&spans);
        prop_assert_eq!(read.len(), spans.len());
        for (one, span) in read.iter().zip(&spans) {
            prop_assert_eq!(&one.trace_id, &span.trace.bytes());
            prop_assert_eq!(&one.span_id, &span.span.bytes());
            prop_assert_eq!(&one.parent_span_id, &span.parent.map_or(vec![], |id| id.bytes().to_vec()));
            prop_assert_eq!((one.start, one.end), (span.start_ns, span.end_ns));
            prop_assert_eq!(one.links.len(), span.links.len());
            for (read, link) in one.links.iter().zip(&span.links) {
                prop_assert_eq!(&read.trace_id, &link.trace.bytes());
                prop_assert_eq!(&read.span_id, &link.span.bytes());
                prop_assert_eq!(read.flags, u32::from(link.sampled));
            }
            let first = |text: &str| text.chars().take(1024).collect::<String>();
            let of = |name| first(text_of(&span.attributes, name).unwrap_or(""));
            let (model, id, error) = (of("model"), of(REQUEST_ID), first(&span.error));
            let mut expected = vec![("our.model", model.as_str()), ("our.rows", ""), ("our.request_id", &id)];
            expected.retain(|(name, text)| !text.is_empty() || *name == "our.rows");
            prop_assert_eq!(attributes(one), expected);
            let status = (!error.is_empty()).then_some(Status { message: error, code: 2 });
            prop_assert_eq!(&one.status, &status);
        }
    }
}
