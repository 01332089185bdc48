//! Who answers whom, as the immutable table of the moment says. Publishing a table is one pointer
//! swap; readers take no lock. A request asks it once, and again only when what it was told is gone.

pub mod draw;
mod key;
mod route;
mod table;
mod version;
pub mod words;

pub use draw::Key;
pub use key::{Keys, Sticky};
pub use route::{Resolved, Route, Shadow};
pub use table::Table;
pub use version::{Reference, alias, parse_version};

pub use crate::stats::Why;

use crate::error::Result;
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Default)]
pub struct Routes {
    table: ArcSwap<Table>,
    /// Held by who makes the next table of this one.
    publishing: Mutex<()>,
}

impl Routes {
    /// Other routes for these models, none for those that are `gone`, and no change for the rest:
    /// all at once.
    pub fn publish(&self, changed: Vec<(String, Route)>, gone: &[String]) {
        let _alone = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let table = self.table.load().with(changed, gone);
        self.table.store(Arc::new(table));
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Who answers. To be asked once a request.
    ///
    /// # Errors
    /// `BadRequest` for a version that is neither a positive integer nor an alias, `NotFound`,
    /// `Unavailable` for one that is known but not ready.
    pub fn resolve(&self, asked: Reference<'_>) -> Result<Resolved> {
        self.table.load().resolve(asked, None)
    }

    /// The same request again, for the queue it was given has closed. What it drew stays.
    ///
    /// # Errors
    /// As [`Routes::resolve`].
    pub fn resolve_again(&self, asked: Reference<'_>, before: &Resolved) -> Result<Resolved> {
        self.table.load().resolve(asked, before.draw)
    }

    /// Who answers each of several, all from one table.
    ///
    /// # Errors
    /// Of each as [`Routes::resolve`].
    pub fn resolve_all<'a>(&self, asked: impl IntoIterator<Item = Reference<'a>>) -> Vec<Result<Resolved>> {
        let table = self.table.load();
        asked.into_iter().map(|one| table.resolve(one, None)).collect()
    }

    /// The name of the one model that there is.
    ///
    /// # Errors
    /// `NotFound` where there is none or are several, `Unavailable` while the models are not known yet.
    pub fn only_model(&self) -> Result<String> {
        self.table.load().only_model()
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
