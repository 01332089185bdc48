//! Writing protobuf's wire format: length-delimited fields and varints.

use bytes::BufMut;

const LEN: u32 = 2;

pub(super) fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_tag(out, number);
        put_varint(out, text.len() as u64);
        out.put_slice(text.as_bytes());
    }
}

pub(super) fn text_len(number: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { len_field(number, text.len()) }
}

pub(super) fn len_field(number: u32, len: usize) -> usize {
    varint_len(u64::from(number << 3)) + varint_len(len as u64) + len
}

/// Nearly everything an answer holds is length-delimited.
pub(super) fn put_tag(out: &mut Vec<u8>, number: u32) {
    put_varint(out, u64::from(number << 3 | LEN));
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// An entry of an output's `map<string, InferParameter> parameters = 4`.
pub(super) struct Parameter<'a> {
    pub key: &'static str,
    pub choice: Choice<'a>,
}

pub(super) enum Choice<'a> {
    /// `int64_param = 2`.
    Int(u64),
    /// `string_param = 3`.
    Text(&'a str),
}

impl Parameter<'_> {
    /// Bytes of the whole field.
    pub(super) fn len(&self) -> usize {
        len_field(4, self.entry_len())
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_tag(out, 4);
        put_varint(out, self.entry_len() as u64);
        put_text(out, 1, self.key);
        put_tag(out, 2);
        put_varint(out, self.choice_len() as u64);
        match self.choice {
            Choice::Int(value) => {
                out.put_u8(2 << 3);
                put_varint(out, value);
            }
            Choice::Text(text) => put_text(out, 3, text),
        }
    }

    fn entry_len(&self) -> usize {
        text_len(1, self.key) + len_field(2, self.choice_len())
    }

    fn choice_len(&self) -> usize {
        match self.choice {
            Choice::Int(value) => 1 + varint_len(value),
            Choice::Text(text) => text_len(3, text),
        }
    }
}
