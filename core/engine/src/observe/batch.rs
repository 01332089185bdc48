//! The spans of one batch, when one of its requests is traced.

use super::Observer;
use super::record::RequestRecord;
use super::span::{Clock, Kind, Span};
use super::trace::{Context, SpanId};
use crate::fields::Fields;
use std::sync::Arc;
use std::time::Instant;

/// A batch belongs to no single request: its trace is its own, linked to theirs.
#[derive(Debug)]
pub struct BatchTrace {
    observer: Arc<Observer>,
    clock: Clock,
    own: Context,
    links: Vec<Context>,
}

/// What a batch says of itself when it ends.
pub struct Ended<'a> {
    pub model: &'a str,
    pub version: u64,
    pub rows: usize,
    pub requests: usize,
    pub cut: Instant,
    /// From when to when the model had it; `None` when it never ran.
    pub ran: Option<(Instant, Instant)>,
    pub error: &'a str,
}

impl BatchTrace {
    /// Note to every member that is recorded that it left the line.
    pub fn begin<'a>(
        cut: Instant,
        recorded: impl Iterator<Item = &'a Arc<RequestRecord>> + Clone,
    ) -> Option<Box<Self>> {
        let first = recorded.clone().find(|r| r.traced().is_some());
        let trace = first.map(|first| {
            Box::new(BatchTrace {
                observer: first.observer().clone(),
                clock: Clock::now(),
                own: Context::root(),
                links: recorded.clone().filter_map(|r| r.traced().copied()).collect(),
            })
        });
        let own = trace.as_ref().map(|t| t.own);
        recorded.for_each(|r| r.cut(cut, own));
        trace
    }

    pub fn end(self, ended: &Ended<'_>) {
        if let Some((from, to)) = ended.ran {
            self.observer.spans.push(Span {
                trace: self.own.trace,
                span: SpanId::random(),
                parent: Some(self.own.span),
                name: "run",
                kind: Kind::Internal,
                start_ns: self.clock.unix_ns(from),
                end_ns: self.clock.unix_ns(to),
                links: Vec::new(),
                attributes: Fields::new(),
                error: ended.error.to_owned(),
            });
        }
        self.observer.spans.push(Span {
            trace: self.own.trace,
            span: self.own.span,
            parent: None,
            name: "batch",
            kind: Kind::Internal,
            start_ns: self.clock.unix_ns(ended.cut),
            end_ns: self.clock.unix_ns(Instant::now()),
            links: self.links,
            attributes: vec![
                ("model", ended.model.into()),
                ("version", ended.version.into()),
                ("rows", ended.rows.into()),
                ("requests", ended.requests.into()),
            ],
            error: ended.error.to_owned(),
        });
    }
}
