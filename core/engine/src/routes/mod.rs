//! The immutable table of what answers what. Publishing a table is one pointer swap; readers take
//! no lock. A request asks it once, and again only when what it was told is gone.

pub mod draw;
mod route;
mod version;
pub mod words;

pub use draw::Key;
pub use route::{Resolved, Route, Shadow, Why};
pub use version::{Reference, is_alias, parse_version};

use crate::error::{Error, ErrorCode, Result};
use arc_swap::ArcSwap;
use route::RETRY;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub struct Table {
    pub models: HashMap<String, Route>,
    /// Nobody has said yet which models there are.
    starting: bool,
}

impl Table {
    pub fn new(models: HashMap<String, Route>) -> Self {
        Table { models, starting: false }
    }

    fn resolve(&self, asked: Reference<'_>, key: Option<Key>, drawn: Option<u64>) -> Result<Resolved> {
        self.route(asked)?.resolve(asked.model, asked.version, key, drawn)
    }

    /// What is no version at all is told first, whichever model it is for.
    fn route(&self, asked: Reference<'_>) -> Result<&Route> {
        match self.models.get(asked.model) {
            Some(route) => Ok(route),
            None => Err(parse_version(asked.version).err().unwrap_or_else(|| self.unknown(asked.model))),
        }
    }

    fn unknown(&self, model: &str) -> Error {
        if self.starting {
            let text = "the server is starting: its models are not known yet";
            return Error::new(ErrorCode::Unavailable, text).retry(RETRY);
        }
        let known = self.models.keys().map(String::as_str);
        Error::new(ErrorCode::NotFound, words::unknown_model(model, known, self.models.len()))
    }
}

#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Table>,
    /// Whether any route looks at keys: else nobody need read them.
    sticky: AtomicBool,
}

impl Default for Routes {
    fn default() -> Self {
        let table = ArcSwap::from_pointee(Table { starting: true, ..Table::default() });
        Routes { table, sticky: AtomicBool::new(false) }
    }
}

impl Routes {
    pub fn publish(&self, table: Table) {
        self.sticky.store(table.models.values().any(|route| route.sticky), Ordering::Relaxed);
        self.table.store(Arc::new(table));
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    pub fn is_sticky(&self) -> bool {
        self.sticky.load(Ordering::Relaxed)
    }

    /// Who answers. To be asked once a request.
    ///
    /// # Errors
    /// `BadRequest` for a version that is neither a positive integer nor an alias, `NotFound`,
    /// `Unavailable` for one that is known but not ready.
    pub fn resolve(&self, asked: Reference<'_>, key: Option<Key>) -> Result<Resolved> {
        self.table.load().resolve(asked, key, None)
    }

    /// The same request again, for the queue it was given has closed. What it drew stays.
    ///
    /// # Errors
    /// As [`Routes::resolve`].
    pub fn resolve_again(
        &self,
        asked: Reference<'_>,
        key: Option<Key>,
        before: &Resolved,
    ) -> Result<Resolved> {
        self.table.load().resolve(asked, key, before.draw)
    }

    /// Who answers each of several, all from one table.
    ///
    /// # Errors
    /// Of each as [`Routes::resolve`].
    pub fn resolve_all<'a>(
        &self,
        asked: impl IntoIterator<Item = Reference<'a>>,
        key: Option<Key>,
    ) -> Vec<Result<Resolved>> {
        let table = self.table.load();
        asked.into_iter().map(|one| table.resolve(one, key, None)).collect()
    }

    /// Whether what is named answers now.
    ///
    /// # Errors
    /// `NotFound` for an unknown model or version, `BadRequest` for a bad version,
    /// `Unavailable` while the models are not known yet.
    pub fn is_ready(&self, asked: Reference<'_>) -> Result<bool> {
        self.table.load().route(asked)?.is_ready_for(asked.model, asked.version)
    }
}

#[cfg(test)]
mod tests;
