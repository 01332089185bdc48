//! Texts held against lists: one walk over a tensor for all features of it.

use super::Feature;
use super::constraint::{Anomaly, Constraint, Expected, Kind, count_of_values};
use crate::codec::bytes_tensor;
use crate::error::Result;
use crate::stop::Stop;
use crate::tensor::shown;

/// Elements between two looks at whether the work is still wanted.
const LOOK: usize = 4096;

/// Of each feature the first value that is none.
///
/// # Errors
/// Those of `stop`.
pub fn find(
    features: &[Feature],
    data: &[u8],
    rows: Option<usize>,
    stop: &Stop,
) -> Result<Vec<Option<Anomaly>>> {
    let mut found = vec![None; features.len()];
    let by_column = columns(features);
    let mut count = 0;
    for text in bytes_tensor::elements(data) {
        if count % LOOK == 0 {
            stop.check()?;
        }
        for &place in &by_column[count % by_column.len()] {
            let (of, known) = (&features[place].constraint, &mut found[place]);
            if known.is_none() {
                *known = look(of, text, of.column.map_or(count, |(_, width)| count / width));
            }
        }
        count += 1;
    }
    for (one, known) in features.iter().zip(&mut found) {
        if known.is_none() {
            *known = count_of_values(&one.constraint, count, rows);
        }
    }
    Ok(found)
}

/// Of each column of a row the features that it is of. All columns of a tensor are of rows of one width.
fn columns(features: &[Feature]) -> Vec<Vec<usize>> {
    let width = features.iter().filter_map(|one| one.constraint.column).map(|(_, width)| width).max();
    let mut found = vec![Vec::new(); width.unwrap_or(1)];
    for (place, one) in features.iter().enumerate() {
        match one.constraint.column {
            Some((column, _)) => found[column].push(place),
            None => found.iter_mut().for_each(|all| all.push(place)),
        }
    }
    found
}

fn look(of: &Constraint, text: &[u8], at: usize) -> Option<Anomaly> {
    if text.is_empty() {
        let missing =
            Anomaly { kind: Kind::Missing, expected: Expected::Value, got: "''".into(), at: Some(at) };
        return of.required.then_some(missing);
    }
    if of.values.as_ref().is_none_or(|values| values.contains(text)) {
        return None;
    }
    let got = format!("'{}'", shown(&String::from_utf8_lossy(text)));
    Some(Anomaly { kind: Kind::UnexpectedText, expected: Expected::Listed, got, at: Some(at) })
}
