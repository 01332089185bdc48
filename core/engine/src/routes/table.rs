//! The immutable table: what answers what. A table with a few other routes than another shares all
//! the rest with it, so that a change costs what changed and not what there is.

use super::route::{RETRY, Resolved, Route};
use super::version::{Reference, alias, parse_version};
use super::words;
use crate::error::{Error, ErrorCode, Result};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Parts that are shared whole between tables. Of some thousand models each has a few.
const PARTS: usize = 256;

type Part = HashMap<String, Arc<Route>>;

#[derive(Clone, Debug)]
pub struct Table {
    parts: Box<[Arc<Part>]>,
    hasher: RandomState,
    len: usize,
    /// Nobody has said yet which models there are.
    starting: bool,
}

impl Default for Table {
    fn default() -> Self {
        let empty = Arc::new(Part::new());
        let parts = (0..PARTS).map(|_| empty.clone()).collect();
        Table { parts, hasher: RandomState::new(), len: 0, starting: true }
    }
}

impl Table {
    /// A table that differs from this one by these routes; models that are `gone` have none.
    pub(super) fn with(&self, changed: Vec<(String, Route)>, gone: &[String]) -> Table {
        let mut table = self.clone();
        table.starting = false;
        for (model, route) in changed {
            table.put(model, route);
        }
        for model in gone {
            table.remove(model);
        }
        table
    }

    fn put(&mut self, model: String, route: Route) {
        let before = self.part(&model).insert(model, Arc::new(route));
        self.len += usize::from(before.is_none());
    }

    fn remove(&mut self, model: &str) {
        self.len -= usize::from(self.part(model).remove(model).is_some());
    }

    /// A part that is this table's alone.
    fn part(&mut self, model: &str) -> &mut Part {
        let at = self.at(model);
        Arc::make_mut(&mut self.parts[at])
    }

    fn at(&self, model: &str) -> usize {
        (self.hasher.hash_one(model) % PARTS as u64) as usize
    }

    pub fn get(&self, model: &str) -> Option<&Route> {
        self.parts[self.at(model)].get(model).map(|route| &**route)
    }

    /// In no order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.parts.iter().flat_map(|part| part.keys().map(String::as_str))
    }

    /// In no order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.parts.iter().flat_map(|part| part.values().map(|route| &**route))
    }

    pub(super) fn resolve(&self, asked: Reference<'_>, drawn: Option<u64>) -> Result<Resolved> {
        self.route(asked)?.resolve(asked, drawn)
    }

    pub(super) fn route(&self, asked: Reference<'_>) -> Result<&Route> {
        self.get(asked.model).ok_or_else(|| self.unrouted(asked))
    }

    /// What could be no version of any model is told before the model that there is not; nothing is told
    /// of either while nobody knows the models.
    fn unrouted(&self, asked: Reference<'_>) -> Error {
        let impossible = || parse_version(asked.version).err().filter(|_| alias(asked.version).is_err());
        match impossible() {
            Some(error) if !self.starting => error,
            _ => self.unknown(asked.model),
        }
    }

    pub(super) fn only_model(&self) -> Result<String> {
        if self.starting {
            return Err(starting());
        }
        match (self.len, self.names().next()) {
            (1, Some(name)) => Ok(name.to_owned()),
            (len, _) => Err(Error::new(ErrorCode::NotFound, words::no_default_model(len))),
        }
    }

    fn unknown(&self, model: &str) -> Error {
        if self.starting {
            return starting();
        }
        Error::new(ErrorCode::NotFound, words::unknown_model(model, self.names(), self.len))
    }
}

fn starting() -> Error {
    let text = "the server is starting: its models are not known yet";
    Error::new(ErrorCode::Unavailable, text).retry(RETRY)
}
