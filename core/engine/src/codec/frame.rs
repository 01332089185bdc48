//! gRPC's frames: a flag and a length before each message. Who writes a message is told whether
//! to begin with its frame, so that none is made to be taken off again.

use super::answer::{Answer, Reply};
use super::buffer::{AnswerBuf, too_large};
use super::compression::{self, Encoding};
use crate::admission::Reservation;
use crate::error::Result;
use bytes::{BufMut, Bytes};

/// Bytes before a message.
pub const FRAME: usize = 5;
/// The largest message a gRPC client can take.
pub const MAX_MESSAGE: usize = i32::MAX as usize;

/// Of a message of `len` bytes that is not compressed.
pub fn put_frame(out: &mut Vec<u8>, len: usize) {
    out.put_u8(0);
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// A buffer for a message of `len` bytes, behind its frame where `framed`, in the budget of `of`.
///
/// # Errors
/// `TooLarge` and `Full`.
pub fn buffer(len: usize, framed: bool, of: &Reservation) -> Result<AnswerBuf<'_>> {
    let limit = of.max_message().min(MAX_MESSAGE);
    if len > limit {
        return Err(too_large(len, limit));
    }
    let mut buffer = AnswerBuf::new(of, FRAME + len, usize::MAX)?;
    if framed {
        put_frame(buffer.room(0)?, len);
    }
    Ok(buffer)
}

/// A copy of a message that is encoded already.
///
/// # Errors
/// As [`buffer`].
pub fn copied(message: &[u8], framed: bool, of: &Reservation) -> Result<Bytes> {
    let mut buffer = buffer(message.len(), framed, of)?;
    buffer.room(0)?.extend_from_slice(message);
    buffer.finish()
}

/// An answer of the message that `write` makes, behind its frame where it is told so.
///
/// # Errors
/// Those of `write`, and `Full` where there is no room for it compressed.
pub fn answer(encoding: Encoding, of: &Reservation, write: impl FnOnce(bool) -> Result<Bytes>) -> Reply {
    match encoding {
        Encoding::Identity => write(true).map(Answer::plain),
        encoding => packed(encoding, &write(false)?, of),
    }
}

/// A message without its frame, compressed behind another.
///
/// # Errors
/// `Full` where there is no room for it.
pub fn packed(encoding: Encoding, message: &[u8], of: &Reservation) -> Reply {
    let mut out = compression::buffer(message.len(), of)?;
    out.room(FRAME)?.extend_from_slice(&[1, 0, 0, 0, 0]);
    let mut out = compression::pack(encoding, message, out)?;
    let len = u32::try_from(out.len() - FRAME).unwrap_or(u32::MAX);
    if let Some(field) = out.room(0)?.get_mut(1..FRAME) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    Ok(Answer { body: out.finish()?, json_len: None, encoding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Budget;
    use crate::codec::compression::inflate;

    #[test]
    fn a_message_is_written_with_its_frame_unless_it_is_compressed() {
        let of = Budget::new(usize::MAX).reserve();
        let write = |framed| copied(&[7; 300], framed, &of);
        let plain = answer(Encoding::Identity, &of, write).unwrap();
        assert_eq!((plain.encoding, &plain.body[..FRAME]), (Encoding::Identity, &[0, 0, 0, 1, 44][..]));
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = answer(encoding, &of, write).unwrap();
            let (frame, message) = packed.body.split_at(FRAME);
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            assert_eq!((packed.encoding, frame[0], &frame[1..]), (encoding, 1, &length[..]));
            let message = inflate(encoding, &Bytes::copy_from_slice(message), 1000).unwrap();
            assert_eq!(message, plain.body[FRAME..]);
        }
    }
}
