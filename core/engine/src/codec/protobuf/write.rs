//! Writing protobuf's wire format: length-delimited fields and varints.

use bytes::BufMut;

const LEN: u32 = 2;

pub(in crate::codec) fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_tag(out, number);
        put_varint(out, text.len() as u64);
        out.put_slice(text.as_bytes());
    }
}

pub(in crate::codec) fn text_len(number: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { len_field(number, text.len()) }
}

pub(in crate::codec) fn len_field(number: u32, len: usize) -> usize {
    varint_len(u64::from(number << 3)) + varint_len(len as u64) + len
}

/// Everything an answer holds, but the one bool, is length-delimited.
pub(in crate::codec) fn put_tag(out: &mut Vec<u8>, number: u32) {
    put_varint(out, u64::from(number << 3 | LEN));
}

pub(in crate::codec) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(in crate::codec) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
