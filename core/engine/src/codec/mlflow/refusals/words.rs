//! How clients' own words, and names, stand in what they are told.

use crate::tensor::shown;

/// Characters of a request that an error repeats.
const ECHOED: usize = 64;
/// Names that an error lists.
const LISTED: usize = 16;

/// The beginning of what a client sent, on one line.
pub(super) fn echo(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHOED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(ECHOED).is_some() {
        shown.push_str("...");
    }
    shown
}

/// A shape as Python writes it.
pub(in crate::codec::mlflow) fn tuple(shape: &[i64]) -> String {
    let mut text = String::from("(");
    for (i, dim) in shape.iter().take(LISTED).enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(&dim.to_string());
    }
    match shape.len() {
        1 => text.push(','),
        len if len > LISTED => text.push_str(", ..."),
        _ => {}
    }
    text.push(')');
    text
}

pub(super) fn listed(names: &[&str]) -> String {
    let mut all: Vec<String> = names.iter().take(LISTED).map(|name| format!("'{}'", shown(name))).collect();
    if names.len() > LISTED {
        all.push("...".into());
    }
    format!("[{}]", all.join(", "))
}

/// What JSON calls something, as Python does.
pub(super) fn python(what: &str) -> &str {
    match what {
        "an array" => "list",
        "an object" => "dictionary",
        other => other,
    }
}
