//! Outputs as lists in lists, which no shape stands beside.

use super::answer::{ENDS, STRETCH, guess_output, least};
use crate::admission::Reservation;
use crate::codec::OutputTensor;
use crate::codec::buffer::{AnswerBuf, too_large};
use crate::error::Result;

/// For an answer of all outputs.
///
/// # Errors
/// `TooLarge` where it is known to be over the limit, and `Full`.
pub(in crate::codec) fn buffer<'a>(
    outputs: &[OutputTensor<'_>],
    of: &'a Reservation,
) -> Result<AnswerBuf<'a>> {
    let limit = of.max_message();
    let smallest = outputs.iter().map(least).fold(0, usize::saturating_add);
    if smallest > limit {
        return Err(too_large(format_args!("at least {smallest}"), limit));
    }
    let guess = outputs.iter().map(|output| guess_output(output).saturating_add(brackets(output)));
    let guess = guess.fold(4 * ENDS, usize::saturating_add);
    AnswerBuf::new(of, guess.min(limit.saturating_add(STRETCH)), limit)
}

/// About as many characters as the lists of all rows take.
fn brackets(output: &OutputTensor<'_>) -> usize {
    let lists = output.shape.split_last().map_or(1, |(_, outer)| {
        outer.iter().fold(1usize, |all, &dim| all.saturating_mul(usize::try_from(dim).unwrap_or(0)))
    });
    lists.min(output.data.len()).saturating_mul(4)
}

/// The next elements as lists of the lengths that `dims` says; one by itself where it says none. `run`
/// puts so many of them, with commas between them.
pub(in crate::codec) fn nested(
    buffer: &mut AnswerBuf<'_>,
    dims: &[i64],
    run: &mut impl FnMut(&mut AnswerBuf<'_>, usize) -> Result<()>,
) -> Result<()> {
    let Some((&length, inner)) = dims.split_first() else { return run(buffer, 1) };
    buffer.room(ENDS)?.push(b'[');
    if inner.is_empty() {
        run(buffer, usize::try_from(length).unwrap_or_default())?;
    } else {
        for i in 0..length {
            if i > 0 {
                buffer.room(ENDS)?.push(b',');
            }
            nested(buffer, inner, run)?;
        }
    }
    buffer.room(ENDS)?.push(b']');
    Ok(())
}
