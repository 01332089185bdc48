//! What a request is read from, and where its elements go.

use super::refusals::Scoring;
use crate::admission::Reservation;
use crate::codec::bytes_tensor;
use crate::codec::json::document::Document;
use crate::codec::json::elements::Elements;
use crate::error::Result;

/// A cursor over a request's text, and what its data is counted in.
pub(super) struct Reader<'a> {
    pub document: Document<'a, Scoring>,
    pub held: &'a mut Reservation,
    /// Whether what a cast changes is taken.
    pub lossy: bool,
}

#[inline]
pub(super) fn put(out: &mut Elements, element: &[u8], held: &mut Reservation) -> Result<()> {
    out.room(element.len(), held)?.extend_from_slice(element);
    Ok(())
}

pub(super) fn put_text(out: &mut Elements, text: &[u8], held: &mut Reservation) -> Result<()> {
    bytes_tensor::push(out.room(bytes_tensor::room(text), held)?, text);
    Ok(())
}
