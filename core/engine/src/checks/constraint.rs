//! One feature's constraint, and what is found of it.

use super::bound::Bound;
use crate::error::Error;
use crate::observe::Noted;
use crate::tensor::shown;
use std::collections::HashSet;
use std::sync::Arc;

/// What one feature's values have to be. Missing is NaN, an empty text, or an input left out.
#[derive(Clone, Debug, Default)]
pub struct Constraint {
    pub feature: Arc<str>,
    pub input: Arc<str>,
    /// Of each row one value: which, and how many a row has. `None`: all of the tensor.
    pub column: Option<(usize, usize)>,
    /// Whether its values are numbers, else texts.
    pub numbers: bool,
    /// Whether an anomaly refuses the request, else it is counted.
    pub refuses: bool,
    pub required: bool,
    /// Both allowed.
    pub least: Option<Bound>,
    pub most: Option<Bound>,
    pub nan: bool,
    pub infinite: bool,
    /// Numbers without a fraction.
    pub whole: bool,
    /// Texts that are allowed.
    pub values: Option<HashSet<Box<[u8]>>>,
    /// How many values a row has.
    pub least_values: Option<u64>,
    pub most_values: Option<u64>,
}

/// In what way a value is not what the schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Missing,
    Nan,
    Infinite,
    TooSmall,
    TooLarge,
    Fraction,
    UnexpectedText,
    ValueCount,
}

pub const KINDS: [Kind; 8] = [
    Kind::Missing,
    Kind::Nan,
    Kind::Infinite,
    Kind::TooSmall,
    Kind::TooLarge,
    Kind::Fraction,
    Kind::UnexpectedText,
    Kind::ValueCount,
];

impl Kind {
    /// Its stable name: in metrics and across the seam.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missing => "missing",
            Kind::Nan => "nan",
            Kind::Infinite => "infinite",
            Kind::TooSmall => "too_small",
            Kind::TooLarge => "too_large",
            Kind::Fraction => "fraction",
            Kind::UnexpectedText => "unexpected_text",
            Kind::ValueCount => "value_count",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    Value,
    Number,
    Finite,
    Least(Bound),
    Most(Bound),
    Whole,
    Listed,
    LeastValues(u64),
    MostValues(u64),
}

/// The first of a feature's values in a request that is none.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    pub kind: Kind,
    pub expected: Expected,
    pub got: String,
    /// Of a column the row, else the element.
    pub at: Option<usize>,
}

impl Anomaly {
    pub fn noted(&self, of: &Constraint) -> Noted {
        Noted { input: of.input.clone(), words: self.words(of), brief: self.brief(of), told: false }
    }

    pub fn refusal(&self, of: &Constraint) -> Error {
        Error::bad(self.words(of)).quoting(&of.input, self.brief(of))
    }

    /// Without the value.
    fn brief(&self, of: &Constraint) -> String {
        format!("{}: {}", whose(of), self.kind.name())
    }

    pub fn words(&self, of: &Constraint) -> String {
        let expected = match self.expected {
            Expected::Value => "a value".to_owned(),
            Expected::Number => "a number".to_owned(),
            Expected::Finite => "a finite number".to_owned(),
            Expected::Least(least) => format!("at least {least}"),
            Expected::Most(most) => format!("at most {most}"),
            Expected::Whole => "a whole number".to_owned(),
            Expected::Listed => "one of the values that the model's schema lists".to_owned(),
            Expected::LeastValues(least) => format!("at least {least} values a row"),
            Expected::MostValues(most) => format!("at most {most} values a row"),
        };
        let place = if of.column.is_some() { "row" } else { "element" };
        let at = self.at.map_or_else(String::new, |at| format!(" ({place} {at})"));
        format!("{}: expected {expected}, got {}{at}", whose(of), self.got)
    }
}

fn whose(of: &Constraint) -> String {
    let feature = shown(&of.feature);
    if of.feature == of.input {
        return format!("feature '{feature}'");
    }
    format!("feature '{feature}' of input '{}'", shown(&of.input))
}

/// How many values a row has, where the constraint says how many it should.
pub fn count_of_values(of: &Constraint, elements: usize, rows: Option<usize>) -> Option<Anomaly> {
    let count = elements as u64 / rows.unwrap_or(1).max(1) as u64;
    let expected = match (of.least_values, of.most_values) {
        // A request without a row has none that could be wrong.
        _ if rows == Some(0) => return None,
        (Some(least), _) if count < least => Expected::LeastValues(least),
        (_, Some(most)) if count > most => Expected::MostValues(most),
        _ => return None,
    };
    Some(Anomaly { kind: Kind::ValueCount, expected, got: count.to_string(), at: None })
}
