//! The immutable table of what answers what, and how it picks a version.
//! Publishing a table is one pointer swap; readers take no lock.

use crate::error::{Error, ErrorCode, Result};
use crate::near;
use crate::queue::Queue;
use crate::tensor::shown;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// When to ask again for something that is loading or draining.
const RETRY: Duration = Duration::from_secs(1);
/// Versions that an error names.
const SHOWN: usize = 8;

#[derive(Debug, Default)]
pub struct Route {
    pub versions: BTreeMap<u64, Arc<Queue>>,
    /// Answers requests that name no version.
    pub default: Option<u64>,
    /// Versions that are known but do not answer, and why.
    pub unavailable: BTreeMap<u64, String>,
    /// Versions on disk that are not loaded, by the reason.
    pub unloaded: Arc<[(String, Vec<u64>)]>,
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
            None if self.starting => Err(Error::new(
                ErrorCode::Unavailable,
                "the server is starting: its models are not known yet",
            )
            .retry(RETRY)),
            None => Err(Error::new(
                ErrorCode::NotFound,
                format!("Request for unknown model: '{}' is not found{}", shown(model), self.hint(model)),
            )),
        }
    }

    fn hint(&self, model: &str) -> String {
        match self.models.len() {
            0 => "; there is no model yet".into(),
            count => near::hint(model, self.models.keys().map(String::as_str), count, "known models:"),
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
                Err(Error::new(ErrorCode::Unavailable, text).retry(RETRY))
            }
        }
    }

    /// Why `version`, which is none that answers, doesn't.
    pub fn absent(&self, model: &str, version: u64) -> Error {
        match self.unavailable.get(&version) {
            Some(why) => {
                let text = format!("model '{}' version {version} is not at ready state: {why}", shown(model));
                Error::new(ErrorCode::Unavailable, text).retry(RETRY)
            }
            None => Error::new(
                ErrorCode::NotFound,
                format!(
                    "Request for unknown model: '{}' version {version} is not found{}",
                    shown(model),
                    self.hint(version)
                ),
            ),
        }
    }

    /// Where a version is that nobody knows, or which ones answer.
    fn hint(&self, version: u64) -> String {
        if let Some((why, _)) = self.unloaded.iter().find(|(_, versions)| versions.contains(&version)) {
            return format!("; it is on disk and not loaded: {why}");
        }
        let newest: Vec<String> = self.versions.keys().rev().take(SHOWN).map(u64::to_string).collect();
        match self.versions.len() {
            0 => "; no version is loaded".into(),
            count if count > SHOWN => format!("; loaded: {} and {} more", newest.join(", "), count - SHOWN),
            _ => format!("; loaded: {}", newest.join(", ")),
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
            assert_eq!(parse_version(bad).unwrap_err().code, ErrorCode::BadRequest, "{bad}");
        }
    }

    #[test]
    fn what_is_loading_is_unavailable_and_what_is_unknown_is_not_found() {
        let routes = Routes::default();
        assert_eq!(routes.pick("m", "").unwrap_err().code, ErrorCode::Unavailable);
        let route = Route { unavailable: [(2, "it is loading".into())].into(), ..Route::default() };
        routes.publish(Table::new([("m".into(), route)].into()));
        assert_eq!(routes.pick("m", "").unwrap_err().code, ErrorCode::Unavailable);
        assert_eq!(routes.pick("m", "2").unwrap_err().code, ErrorCode::Unavailable);
        assert_eq!(routes.pick("m", "3").unwrap_err().code, ErrorCode::NotFound);
        let unknown = routes.pick("x", "").unwrap_err();
        assert!(unknown.message.starts_with("Request for unknown model"));
    }

    fn refusal(routes: &Routes, model: &str, version: &str) -> String {
        routes.pick(model, version).unwrap_err().message
    }

    #[test]
    fn a_wrong_model_gets_the_nearest_name_or_the_few_there_are() {
        let routes = Routes::default();
        routes.publish(Table::default());
        assert_eq!(
            refusal(&routes, "digts", ""),
            "Request for unknown model: 'digts' is not found; there is no model yet"
        );
        let named = |names: &[&str]| names.iter().map(|n| ((*n).into(), Route::default())).collect();
        routes.publish(Table::new(named(&["digits", "tiny"])));
        assert_eq!(
            refusal(&routes, "digts", ""),
            "Request for unknown model: 'digts' is not found; did you mean 'digits'?"
        );
        assert_eq!(
            refusal(&routes, "bert", "1"),
            "Request for unknown model: 'bert' is not found; known models: 'digits', 'tiny'"
        );
    }

    #[test]
    fn a_wrong_version_is_told_where_it_is_or_which_are_loaded() {
        let routes = Routes::default();
        let by_policy = ("the version policy is latest 1".to_string(), vec![1, 2]);
        let route = Route { unloaded: [by_policy].into(), ..Route::default() };
        routes.publish(Table::new([("m".into(), route)].into()));
        assert_eq!(
            refusal(&routes, "m", "2"),
            "Request for unknown model: 'm' version 2 is not found; it is on disk and not loaded: \
             the version policy is latest 1"
        );
        assert_eq!(
            refusal(&routes, "m", "9"),
            "Request for unknown model: 'm' version 9 is not found; no version is loaded"
        );
    }
}
