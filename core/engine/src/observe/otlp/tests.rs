use super::*;
use crate::observe::trace::{SpanId, TraceId};
use proptest::prelude::*;
use prost::Message;
use std::convert::Infallible;

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

fn encoder() -> Encoder {
    Encoder::new("id".into(), "words".into())
}

/// A template that tells the name, and the number of common attributes.
fn template(span: &Span, is_fault: bool) -> Template {
    let mut fields = Vec::new();
    put(&mut fields, 0x2a, format!("{} {}", span.name, common(span).count()).as_bytes());
    Template { fields, is_fault }
}

fn decoded(encoder: &mut Encoder, spans: &[Span], is_fault: bool) -> Vec<OtlpSpan> {
    let made = |span: &Span| Ok::<_, Infallible>(template(span, is_fault));
    let Ok(bytes) = encoder.encode(spans.iter(), made);
    ScopeSpans::decode(bytes.as_slice()).unwrap().spans
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
        let one = decoded(&mut encoder(), &[Span { parent, kind, ..a_span(vec![]) }], true).remove(0);
        assert_eq!(one.flags, flags, "{parent:?} {kind:?}");
        assert_eq!(one.parent_span_id, parent.map_or(vec![], |id| id.bytes().to_vec()));
    }
}

#[test]
fn an_error_is_the_status_or_a_message() {
    let failed = Span { error: "it broke".into(), ..a_span(vec![]) };
    let one = decoded(&mut encoder(), std::slice::from_ref(&failed), true).remove(0);
    assert_eq!(one.status, Some(Status { message: "it broke".into(), code: 2 }));
    assert!(one.attributes.is_empty());
    let one = decoded(&mut encoder(), &[failed], false).remove(0);
    assert_eq!((one.status.as_ref(), attributes(&one)), (None, vec![("words", "it broke")]));
}

#[test]
fn texts_of_any_length_are_framed_and_cut_after_so_many_characters() {
    // Lengths around those where theirs, or what is around them, take one byte more.
    for len in (110..130).chain(990..1030).chain([5000, 20_000]) {
        for letter in ["a", "é", "日", "🦀"] {
            let text = letter.repeat(len);
            let attributes_given = vec![(REQUEST_ID, text.as_str().into())];
            let span = Span { error: text, ..a_span(attributes_given) };
            let expected = letter.repeat(len.min(1024));
            let one = decoded(&mut encoder(), &[span], true).remove(0);
            assert_eq!(attributes(&one), [("id", expected.as_str())]);
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

#[test]
fn a_template_of_any_length_is_framed() {
    for len in [0, 1, 100, 127, 128, 16_000, 16_383, 16_384, 70_000] {
        let name = "n".repeat(len);
        let made = |_: &Span| {
            let mut fields = Vec::new();
            put(&mut fields, 0x2a, name.as_bytes());
            Ok::<_, Infallible>(Template { fields, is_fault: false })
        };
        let spans = [a_span(vec![]), a_span(vec![])];
        let Ok(bytes) = encoder().encode(spans.iter(), made);
        let names: Vec<_> =
            ScopeSpans::decode(bytes.as_slice()).unwrap().spans.into_iter().map(|s| s.name).collect();
        assert_eq!(names, [name.as_str(), name.as_str()]);
    }
}

#[test]
fn a_template_is_asked_for_once_for_what_shares_it_and_never_for_what_does_not() {
    let mut encoder = encoder();
    let mut asked = 0;
    let mut ask = |span: &Span| {
        let Ok(_) = encoder.encode([span].into_iter(), |span| {
            asked += 1;
            Ok::<_, Infallible>(template(span, true))
        });
        asked
    };
    let model = |name: &str| ("model", name.into());
    assert_eq!(ask(&a_span(vec![model("m"), (REQUEST_ID, "1".into())])), 1);
    // What differs from request to request makes no other template.
    let other = Span {
        trace: TraceId::random(),
        parent: Some(SpanId::random()),
        links: vec![Context::root()],
        error: "it broke".into(),
        end_ns: 9,
        ..a_span(vec![model("m"), (REQUEST_ID, "2".into())])
    };
    assert_eq!(ask(&other), 1);
    let distinct = [
        Span { name: "batch", ..a_span(vec![model("m")]) },
        Span { kind: Kind::Internal, ..a_span(vec![model("m")]) },
        a_span(vec![]),
        a_span(vec![model("m"), ("rows", 1usize.into())]),
        a_span(vec![model("m"), ("rows", 2usize.into())]),
        a_span(vec![model("m"), ("rows", "1".into())]),
        a_span(vec![model("m"), ("rows", Value::Float(1.0))]),
        // Texts that are the same when written one after the other.
        a_span(vec![("status", "ab".into()), ("method", "c".into())]),
        a_span(vec![("status", "a".into()), ("method", "bc".into())]),
    ];
    for (at, span) in distinct.iter().enumerate() {
        assert_eq!(ask(span), at + 2, "{span:?}");
    }
    assert_eq!(distinct.iter().map(&mut ask).last(), Some(distinct.len() + 1));
}

#[test]
fn templates_are_bounded_and_right_however_many_there_are() {
    let mut encoder = encoder();
    let spans: Vec<Span> = (0..MAX_TEMPLATES * 2 + 3).map(|row| a_span(vec![("rows", row.into())])).collect();
    for _ in 0..2 {
        let made = |span: &Span| {
            let Some((_, Value::Int(row))) = common(span).next() else { panic!() };
            let mut fields = Vec::new();
            put(&mut fields, 0x2a, row.to_string().as_bytes());
            Ok::<_, Infallible>(Template { fields, is_fault: false })
        };
        let Ok(bytes) = encoder.encode(spans.iter(), made);
        assert!(encoder.templates.len() <= MAX_TEMPLATES);
        for (row, span) in ScopeSpans::decode(bytes.as_slice()).unwrap().spans.iter().enumerate() {
            assert_eq!(span.name, row.to_string());
        }
    }
}

#[test]
fn a_template_that_fails_is_told_and_asked_for_again() {
    let (mut encoder, span) = (encoder(), a_span(vec![]));
    assert_eq!(encoder.encode([&span].into_iter(), |_| Err("no")), Err("no"));
    assert_eq!(decoded(&mut encoder, &[span], true).len(), 1);
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
    fn every_span_reads_back(spans in prop::collection::vec(spans(), 0..5), is_fault: bool) {
        let read = decoded(&mut encoder(), &spans, is_fault);
        prop_assert_eq!(read.len(), spans.len());
        for (one, span) in read.iter().zip(&spans) {
            prop_assert_eq!(&one.trace_id, &span.trace.bytes());
            prop_assert_eq!(&one.span_id, &span.span.bytes());
            prop_assert_eq!(&one.parent_span_id, &span.parent.map_or(vec![], |id| id.bytes().to_vec()));
            prop_assert_eq!((one.start, one.end), (span.start_ns, span.end_ns));
            prop_assert_eq!(one.name.as_str(), "request 2");
            prop_assert_eq!(one.links.len(), span.links.len());
            for (read, link) in one.links.iter().zip(&span.links) {
                prop_assert_eq!(&read.trace_id, &link.trace.bytes());
                prop_assert_eq!(&read.span_id, &link.span.bytes());
                prop_assert_eq!(read.flags, u32::from(link.sampled));
            }
            let first = |text: &str| text.chars().take(1024).collect::<String>();
            let (id, error) = (first(text_of(&span.attributes, REQUEST_ID).unwrap_or("")), first(&span.error));
            let mut expected = vec![("id", id.as_str()), ("words", if is_fault { "" } else { &error })];
            expected.retain(|(_, text)| !text.is_empty());
            prop_assert_eq!(attributes(one), expected);
            let status = (is_fault && !error.is_empty()).then_some(Status { message: error, code: 2 });
            prop_assert_eq!(&one.status, &status);
        }
    }
}
