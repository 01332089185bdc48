//! The immutable table of what answers what, and how it picks a version.
//! Publishing a table is one pointer swap; readers take no lock.

use crate::error::{Error, Result, Word};
use crate::queue::Queue;
use crate::tensor::shown;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// When to ask again for something that is loading or draining.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Route {
    pub versions: BTreeMap<u64, Arc<Queue>>,
    /// Answers requests that name no version.
    pub default: Option<u64>,
    /// Versions that are known but do not answer, and why.
    pub unavailable: BTreeMap<u64, String>,
    /// Why nothing answers when there is no default.
    pub reason: Option<String>,
}

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

    /// # Errors
    /// `NotFound`; `Unavailable` while it is not known yet what there is.
    pub fn route(&self, model: &str) -> Result<&Route> {
        match self.models.get(model) {
            Some(route) => Ok(route),
            None if self.starting => {
                Err(Error::new(Word::Unavailable, "the server is starting: its models are not known yet")
                    .retry(RETRY))
            }
            None => Err(Error::new(
                Word::NotFound,
                format!("Request for unknown model: '{}' is not found", shown(model)),
            )),
        }
    }
}

#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Table>,
}

impl Default for Routes {
    fn default() -> Self {
        Routes { table: ArcSwap::from_pointee(Table { starting: true, ..Table::default() }) }
    }
}

impl Routes {
    pub fn publish(&self, table: Table) {
        self.table.store(Arc::new(table));
    }

    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// The queue that answers `model`; `version` as the client wrote it.
    ///
    /// # Errors
    /// `BadRequest` for a version that is no positive integer, `NotFound`,
    /// `Unavailable` for one that is known but not ready.
    pub fn pick(&self, model: &str, version: &str) -> Result<Arc<Queue>> {
        let version = parse_version(version)?;
        let table = self.table.load();
        table.route(model)?.pick(model, version)
    }
}

impl Route {
    fn pick(&self, model: &str, version: Option<u64>) -> Result<Arc<Queue>> {
        match version.or(self.default) {
            Some(number) => match self.versions.get(&number) {
                Some(queue) => Ok(queue.clone()),
                None => Err(self.absent(model, number)),
            },
            None => {
                let why = self.reason.as_deref().unwrap_or("no version is at ready state");
                let text = format!("Request for unavailable model: '{}': {why}", shown(model));
                Err(Error::new(Word::Unavailable, text).retry(RETRY))
            }
        }
    }

    fn absent(&self, model: &str, version: u64) -> Error {
        match self.unavailable.get(&version) {
            Some(why) => {
                let text = format!("model '{}' version {version} is not at ready state: {why}", shown(model));
                Error::new(Word::Unavailable, text).retry(RETRY)
            }
            None => Error::new(
                Word::NotFound,
                format!("Request for unknown model: '{}' version {version} is not found", shown(model)),
            ),
        }
    }

    /// Whether it answers requests that name `version`, or none.
    pub fn is_ready(&self, version: Option<u64>) -> bool {
        version.or(self.default).is_some_and(|v| self.versions.contains_key(&v))
    }
}

/// A version from a request: empty for the default route, else a positive integer,
/// strictly parsed.
///
/// # Errors
/// `BadRequest` with the phrases clients know.
pub fn parse_version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let number: Option<i64> = text.parse().ok().filter(|_| !text.starts_with('+'));
    match number {
        Some(n) if n > 0 => Ok(u64::try_from(n).ok()),
        Some(n) => Err(Error::bad(format!(
            "invalid model version specified '{n}' , version should be an integral value > 0"
        ))),
        None => Err(Error::bad(format!(
            "failed to get model version from specified version string '{}' (details: not an integer), \
             version should be an integral value > 0",
            shown(text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_strictly() {
        assert_eq!(parse_version("").unwrap(), None);
        assert_eq!(parse_version("3").unwrap(), Some(3));
        for bad in ["0", "-1", "3abc", "+3", " 3", "1.0", "99999999999999999999"] {
            assert_eq!(parse_version(bad).unwrap_err().word, Word::BadRequest, "{bad}");
        }
    }

    #[test]
    fn what_is_loading_is_unavailable_and_what_is_unknown_is_not_found() {
        let routes = Routes::default();
        assert_eq!(routes.pick("m", "").unwrap_err().word, Word::Unavailable);
        let route = Route { unavailable: [(2, "it is loading".into())].into(), ..Route::default() };
        routes.publish(Table::new([("m".into(), route)].into()));
        assert_eq!(routes.pick("m", "").unwrap_err().word, Word::Unavailable);
        assert_eq!(routes.pick("m", "2").unwrap_err().word, Word::Unavailable);
        assert_eq!(routes.pick("m", "3").unwrap_err().word, Word::NotFound);
        let unknown = routes.pick("x", "").unwrap_err();
        assert!(unknown.message.starts_with("Request for unknown model"));
    }
}
