//! What clients are told of models and versions that don't answer: the same on both doors, and by
//! whoever answers calls.

use crate::near;
use crate::tensor::shown;

/// Versions that an error names.
const SHOWN: usize = 8;

/// `count`: how many names are `known`.
pub fn unknown_model<'a, I>(model: &str, known: I, count: usize) -> String
where
    I: IntoIterator<Item = &'a str> + Clone,
{
    let hint = match count {
        0 => "; there is no model yet".into(),
        count => near::hint(model, known, count, "known models:"),
    };
    format!("Request for unknown model: '{}' is not found{hint}", shown(model))
}

/// For requests that name no model, where there are `count`.
pub fn no_default_model(count: usize) -> String {
    let found = match count {
        0 => "there is no model yet".to_owned(),
        count => format!("there are {count} models, and the setting mlflow.default_model names none of them"),
    };
    format!("Request for unknown model: none is named, and {found}; name one: /models/NAME/invocations")
}

/// Others that it has are not told.
pub fn unknown_alias(model: &str, alias: &str) -> String {
    format!("Request for unknown model: '{}' has no alias '{}'", shown(model), shown(alias))
}

pub fn unavailable_model(model: &str, why: &str) -> String {
    format!("Request for unavailable model: '{}': {why}", shown(model))
}

pub fn unready_version(model: &str, version: u64, why: &str) -> String {
    format!("model '{}' version {version} is not at ready state: {why}", shown(model))
}

/// `on_disk`: why it is there and not loaded, if it is; `loaded`: those that answer, ascending.
pub fn unknown_version(
    model: &str,
    version: u64,
    on_disk: Option<&str>,
    loaded: impl ExactSizeIterator<Item = u64> + DoubleEndedIterator,
) -> String {
    let place = on_disk
        .map_or_else(|| which_are_loaded(loaded), |why| format!("it is on disk and not loaded: {why}"));
    format!("Request for unknown model: '{}' version {version} is not found; {place}", shown(model))
}

fn which_are_loaded(loaded: impl ExactSizeIterator<Item = u64> + DoubleEndedIterator) -> String {
    let count = loaded.len();
    let newest: Vec<String> = loaded.rev().take(SHOWN).map(|version| version.to_string()).collect();
    match count {
        0 => "no version is loaded".into(),
        count if count > SHOWN => format!("loaded: {} and {} more", newest.join(", "), count - SHOWN),
        _ => format!("loaded: {}", newest.join(", ")),
    }
}
