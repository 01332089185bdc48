//! A reader of the protobuf wire format over borrowed bytes.
//!
//! Written by hand so that hostile messages cost nothing beyond their own size:
//! fields are handed out one at a time, and whoever reads them decides how many
//! to keep. Two bytes on the wire never become a hundred in memory unasked.

use crate::error::Error;
use smallvec::SmallVec;

/// Deeper groups than any encoder writes (fault 47).
const MAX_GROUPS: usize = 100;

/// The bytes do not follow the protobuf wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Error::bad(format!("malformed protobuf message: {}", malformed.0))
    }
}

/// A field's value, as its wire type carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// Strings, bytes, messages and packed numbers.
    Len(&'a [u8]),
    Fixed32([u8; 4]),
}

impl<'a> Value<'a> {
    pub(crate) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Value::Varint(value) => Ok(value),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(crate) fn len(self) -> Result<&'a [u8], Malformed> {
        match self {
            Value::Len(bytes) => Ok(bytes),
            _ => Err(WRONG_TYPE),
        }
    }

    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.len()?).map_err(|_| Malformed("a string is not valid UTF-8"))
    }
}

const WRONG_TYPE: Malformed = Malformed("a field has the wrong wire type");
pub(crate) const CUT: Malformed = Malformed("it ends in the middle of a field");

/// Walks the fields of one message, skipping groups.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    of_file: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Reader { rest: message, of_file: false }
    }

    /// For what another parser reads, too, and must read in the same way: numbers of more than
    /// 64 bits lose those above, as in protobuf's own C++. Groups are refused, since nobody writes
    /// any; a field's number may be 0, which that other parser refuses.
    pub(crate) fn of_file(message: &'a [u8]) -> Self {
        Reader { rest: message, of_file: true }
    }

    /// The next field's number and value; `None` at the end of the message.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            let (number, kind) = self.tag()?;
            match kind {
                GROUP_START if !self.of_file => self.skip_group(number)?,
                GROUP_START => return Err(Malformed("groups are not read here")),
                GROUP_END => return Err(Malformed("a group ends that never began")),
                _ => return Ok(Some((number, self.value(kind)?))),
            }
        }
        Ok(None)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    /// Bytes that are not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            if i == 9 && byte > 1 && !(self.of_file && byte < 0x80) {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { CUT } else { Malformed("a varint is longer than 64 bits") })
    }

    pub(crate) fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed("a field number is too large"))?;
        match tag >> 3 {
            0 if !self.of_file => Err(Malformed("a field has number 0")),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    fn value(&mut self, kind: u8) -> Result<Value<'a>, Malformed> {
        match kind {
            0 => Ok(Value::Varint(self.varint()?)),
            1 => Ok(Value::Fixed64(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                Ok(Value::Len(self.take(len)?))
            }
            5 => Ok(Value::Fixed32(self.array()?)),
            _ => Err(Malformed("a field has an unknown wire type")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(CUT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn skip_group(&mut self, number: u32) -> Result<(), Malformed> {
        let mut open: SmallVec<[u32; 8]> = smallvec::smallvec![number];
        while let Some(&innermost) = open.last() {
            match self.tag()? {
                (number, GROUP_START) if open.len() < MAX_GROUPS => open.push(number),
                (_, GROUP_START) => return Err(Malformed("groups are nested too deeply")),
                (number, GROUP_END) if number == innermost => {
                    open.pop();
                }
                (_, GROUP_END) => return Err(Malformed("a group ends that never began")),
                (_, kind) => {
                    self.value(kind)?;
                }
            }
        }
        Ok(())
    }
}

const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_come_out_in_order() {
        let mut reader = Reader::new(&[0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0]);
        assert_eq!(reader.field().unwrap(), Some((1, Value::Varint(150))));
        assert_eq!(reader.field().unwrap(), Some((2, Value::Len(b"hi"))));
        assert_eq!(reader.field().unwrap(), Some((3, Value::Fixed32([1, 0, 0, 0]))));
        assert_eq!(reader.field().unwrap(), None);
    }

    #[test]
    fn fault_47_deep_groups_end_in_an_error_without_recursion() {
        let deep = vec![0x0b; 1_000_000];
        assert_eq!(Reader::new(&deep).field(), Err(Malformed("groups are nested too deeply")));
        let mut closed = vec![0x0b; 100];
        closed.extend([0x0c; 100]);
        assert_eq!(Reader::new(&closed).field(), Ok(None));
        assert!(Reader::new(&[0x0b, 0x14]).field().is_err());
        assert!(Reader::new(&[0x0b]).field().is_err());
        assert!(Reader::new(&[0x0c]).field().is_err());
    }

    #[test]
    fn what_others_read_too_holds_no_groups_and_numbers_cut_to_64_bits() {
        assert!(Reader::of_file(&[0x0b, 0x0c]).field().is_err());
        assert_eq!(Reader::of_file(&[0x00, 5]).field(), Ok(Some((0, Value::Varint(5)))));
        let wide = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Reader::of_file(&wide).field(), Ok(Some((1, Value::Varint(u64::MAX)))));
        assert!(Reader::of_file(&[&wide[..10], &[0x80, 0]].concat()).field().is_err());
    }

    #[test]
    fn fault_47_bad_varints_tags_and_lengths_are_errors() {
        for bad in [
            &[0x08][..],
            &[0x08, 0x80],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x00, 0x00],
            &[0x0e],
            &[0x0f],
            &[0x12, 0x05, 1],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x0d, 1, 2, 3],
            &[0x09, 1, 2, 3, 4, 5, 6, 7],
            &[0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        ] {
            assert!(Reader::new(bad).field().is_err(), "{bad:?}");
        }
        let max = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Reader::new(&max).field(), Ok(Some((1, Value::Varint(u64::MAX)))));
    }

    proptest! {
        #[test]
        fn varints_read_back(value: u64) {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(value));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.field() {}
        }
    }
}
