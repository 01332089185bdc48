//! One model's place in the table: which versions answer, and which one answers whom.

use super::draw;
use super::key::Sticky;
use super::version::{Reference, parse_version};
use super::words;
use crate::error::{Error, ErrorCode, Result};
use crate::queue::Queue;
use crate::stats::Why;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// When to ask again for something that is loading or draining.
pub(super) const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Those that answer, by their number.
    pub versions: BTreeMap<u64, Arc<Queue>>,
    /// Answers requests that name no version, all of them where no weights divide them.
    pub default: Option<u64>,
    /// Other names for versions; see [`super::alias`].
    pub aliases: BTreeMap<String, u64>,
    /// How requests that name no version are divided. What falls to a version that doesn't answer
    /// is the default's, so that nobody else is moved.
    pub weights: Vec<(u64, u32)>,
    /// What names the key by which a client keeps its version, as long as the weights stay: a header,
    /// a key of metadata or a parameter.
    pub sticky: Option<Sticky>,
    /// Versions that get copies of requests that name none.
    pub shadows: Vec<Shadow>,
    /// Of `shadows`, those that are loaded and answer nobody.
    pub beside: BTreeMap<u64, Arc<Queue>>,
    /// Versions that are known but do not answer, and why.
    pub unavailable: BTreeMap<u64, String>,
    /// Versions on disk that are not loaded, by the reason.
    pub unloaded: Arc<[(String, Vec<u64>)]>,
    /// Why nothing answers when there is no default.
    pub reason: Option<String>,
}

/// A version that is to run copies of requests, whose answers nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shadow {
    pub version: u64,
    /// The share of requests, from 0 to 1.
    pub rate: f64,
}

/// Who answers a request: decided once, and carried with it.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub queue: Arc<Queue>,
    pub why: Why,
    /// The request's own number, where one was needed; see [`draw`].
    pub draw: Option<u64>,
    /// The default version, where its draw fell to another: it answers what that one fails.
    pub spare: Option<Arc<Queue>>,
    /// Those that are to run copies of it, where there are any.
    pub shadows: Option<Box<[Arc<Queue>]>>,
}

fn unaliased(asked: Reference<'_>) -> Error {
    Error::new(ErrorCode::NotFound, words::unknown_alias(asked.model, asked.alias))
}

impl Resolved {
    pub fn version(&self) -> u64 {
        self.queue.version()
    }
}

impl Route {
    /// What is named goes before what is drawn: a version, an alias, a tester's header, in this order;
    /// `drawn`: the number that the request has already.
    pub(super) fn resolve(&self, asked: Reference<'_>, drawn: Option<u64>) -> Result<Resolved> {
        let model = asked.model;
        if let Some((number, why)) = self.named(asked)? {
            let queue = self.versions.get(&number).ok_or_else(|| self.absent_to(model, number, why))?;
            return Ok(Resolved { queue: queue.clone(), why, draw: drawn, spare: None, shadows: None });
        }
        let draw = drawn.or_else(|| self.draws().then(|| self.draw(asked)));
        let weighed = draw.and_then(|draw| draw::choose(&self.weights, draw));
        if let Some(queue) = weighed.and_then(|number| self.versions.get(&number)) {
            let spare = self.spare(queue).cloned();
            let shadows = self.drawn_shadows(draw, queue);
            return Ok(Resolved { queue: queue.clone(), why: Why::Weight, draw, spare, shadows });
        }
        let number = self.default.ok_or_else(|| self.nobody(model))?;
        let queue = self.versions.get(&number).ok_or_else(|| self.absent(model, number))?;
        let shadows = self.drawn_shadows(draw, queue);
        Ok(Resolved { queue: queue.clone(), why: Why::Default, draw, spare: None, shadows })
    }

    /// Those that answer, and those that only run copies.
    pub fn loaded(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.versions.values().chain(self.beside.values())
    }

    fn spare(&self, drawn: &Queue) -> Option<&Arc<Queue>> {
        let number = self.default.filter(|&number| number != drawn.version())?;
        self.versions.get(&number)
    }

    fn draws(&self) -> bool {
        !self.weights.is_empty() || !self.shadows.is_empty()
    }

    fn draw(&self, asked: Reference<'_>) -> u64 {
        let key = self.sticky.as_ref().and_then(|name| asked.keys.named(name));
        key.map_or_else(draw::any, |key| key.draw(asked.model))
    }

    /// The version that is named in one way or another, and in which.
    fn named(&self, asked: Reference<'_>) -> Result<Option<(u64, Why)>> {
        if !asked.version.is_empty() {
            return self.numbered(asked.version).map(Some);
        }
        if !asked.alias.is_empty() {
            let number = self.aliases.get(asked.alias).ok_or_else(|| unaliased(asked))?;
            return Ok(Some((*number, Why::Alias)));
        }
        if !asked.forced.is_empty() {
            let (number, _) = self.numbered(asked.forced)?;
            return Ok(Some((number, Why::Forced)));
        }
        Ok(None)
    }

    fn numbered(&self, version: &str) -> Result<(u64, Why)> {
        match self.aliases.get(version) {
            Some(&number) => Ok((number, Why::Alias)),
            // Only an empty text is no number.
            None => Ok((parse_version(version)?.unwrap_or_default(), Why::Named)),
        }
    }

    /// Who runs copies of a request that drew `draw`, beside the version that answers it.
    pub fn shadows_of(&self, draw: u64) -> impl Iterator<Item = &Arc<Queue>> {
        let chosen = self.shadows.iter().filter(move |s| draw::copies(s.rate, s.version, draw));
        chosen.filter_map(|shadow| {
            self.versions.get(&shadow.version).or_else(|| self.beside.get(&shadow.version))
        })
    }

    /// Those of a request that `answering` answers. Where a key was drawn by, whole clients would be copied
    /// or not: such a request draws anew for its copies.
    fn drawn_shadows(&self, draw: Option<u64>, answering: &Queue) -> Option<Box<[Arc<Queue>]>> {
        if self.shadows.is_empty() {
            return None;
        }
        let draw = if self.sticky.is_some() { draw::any() } else { draw? };
        let others = self.shadows_of(draw).filter(|queue| queue.version() != answering.version());
        let chosen: Box<[_]> = others.cloned().collect();
        (!chosen.is_empty()).then_some(chosen)
    }

    fn nobody(&self, model: &str) -> Error {
        let why = self.reason.as_deref().unwrap_or("no version is at ready state");
        Error::new(ErrorCode::Unavailable, words::unavailable_model(model, why)).retry(RETRY)
    }

    /// Why `version`, which is none that answers, doesn't.
    fn absent(&self, model: &str, version: u64) -> Error {
        if let Some(why) = self.unavailable.get(&version) {
            return Error::new(ErrorCode::Unavailable, words::unready_version(model, version, why))
                .retry(RETRY);
        }
        let on_disk = self.unloaded.iter().find(|(_, versions)| versions.contains(&version));
        let loaded = self.versions.keys().copied();
        Error::new(
            ErrorCode::NotFound,
            words::unknown_version(model, version, on_disk.map(|(why, _)| &**why), loaded),
        )
    }

    /// As `absent`; an alias names no number that the client could know.
    fn absent_to(&self, model: &str, version: u64, why: Why) -> Error {
        let led_to = (why == Why::Alias).then_some(version);
        Error { led_to, ..self.absent(model, version) }
    }

    /// Whether it answers requests that name no version.
    pub fn is_ready(&self) -> bool {
        self.default.is_some_and(|v| self.versions.contains_key(&v))
    }

    /// Whether it answers requests that name `version`.
    pub(super) fn is_ready_for(&self, model: &str, version: &str) -> Result<bool> {
        if version.is_empty() {
            return Ok(self.is_ready());
        }
        let (number, _) = self.numbered(version)?;
        let known = self.versions.contains_key(&number) || self.unavailable.contains_key(&number);
        if known { Ok(self.versions.contains_key(&number)) } else { Err(self.absent(model, number)) }
    }
}
