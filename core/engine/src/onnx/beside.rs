//! Where the fields of a file lie that stand beside its graph, without a look at the graph.

use super::{NotOnnx, Result};
use crate::codec::wire::{CUT, Reader};
use std::io;

/// A key and a length have at most ten bytes each.
const HEAD: usize = 20;

/// Why a look at the fields stopped before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    NotOnnx(NotOnnx),
    /// There are more than are looked at.
    TooMany,
}

/// A field's place: where it begins, its key included, and how many bytes it has.
pub type Place = (u64, u64);

/// The places of the fields with these numbers, of at most `longest` bytes, in a file of `size`
/// bytes; and what came in the way, no later than after `most` fields. `read` fills what it is
/// given with the bytes at a place.
pub fn places(
    size: u64,
    numbers: &[u32],
    longest: u64,
    most: usize,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<(Vec<Place>, Option<Stopped>)> {
    let (mut found, mut at, mut seen, mut head) = (Vec::new(), 0, 0, [0; HEAD]);
    while at < size {
        seen += 1;
        if seen > most {
            return Ok((found, Some(Stopped::TooMany)));
        }
        let filled = read(&mut head, at)?;
        let (number, len) = match field(&head[..filled]) {
            Ok((_, len)) if len > size - at => return Ok((found, Some(Stopped::NotOnnx(NotOnnx::Cut)))),
            Ok(field) => field,
            Err(error) => return Ok((found, Some(Stopped::NotOnnx(error)))),
        };
        if numbers.contains(&number) && len <= longest {
            found.push((at, len));
        }
        at += len;
    }
    Ok((found, None))
}

/// The number of the field that begins with these bytes, and how many it has.
fn field(head: &[u8]) -> Result<(u32, u64)> {
    let mut reader = Reader::of_file(head);
    let (number, kind) = reader.tag()?;
    let more = match kind {
        0 => reader.varint().map(|_| 0)?,
        1 => 8,
        2 => reader.varint()?,
        5 => 4,
        _ => return Err(NotOnnx::Malformed),
    };
    let here = (head.len() - reader.left()) as u64;
    Ok((number, here.checked_add(more).ok_or(CUT)?))
}
