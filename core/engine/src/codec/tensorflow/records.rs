//! TFRecord files: before each record its length and the masked CRC32C of that, behind it its own.

use crate::error::{Error, Result};

const LENGTH: usize = size_of::<u64>();
const CHECK: usize = size_of::<u32>();

/// The records of a file, in their order; it ends with the first that is damaged.
///
/// # Errors
/// `BadRequest` saying what is wrong with the record.
pub fn records(mut file: &[u8]) -> impl Iterator<Item = Result<&[u8]>> {
    std::iter::from_fn(move || {
        if file.is_empty() {
            return None;
        }
        let record = next(file).unwrap_or_else(|| Err(Error::bad("the file ends within it")));
        file = match record {
            // Not past the end: it was read.
            Ok(data) => file.get(LENGTH + CHECK + data.len() + CHECK..).unwrap_or_default(),
            Err(_) => &[],
        };
        Some(record)
    })
}

/// `None` where the file ends within the record.
fn next(file: &[u8]) -> Option<Result<&[u8]>> {
    let (length, rest) = file.split_first_chunk::<LENGTH>()?;
    let (check, rest) = rest.split_first_chunk::<CHECK>()?;
    if masked(length) != u32::from_le_bytes(*check) {
        return Some(Err(Error::bad("its length does not match its checksum")));
    }
    let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let (check, _) = rest.split_first_chunk::<CHECK>()?;
    if masked(data) != u32::from_le_bytes(*check) {
        return Some(Err(Error::bad("its data does not match its checksum")));
    }
    Some(Ok(data))
}

/// The checksum of `data`, turned and shifted, so that one of data with checksums in it is none of those.
pub fn masked(data: &[u8]) -> u32 {
    const SHIFT: u32 = 0xa282_ead8;
    crc32c(data).rotate_right(15).wrapping_add(SHIFT)
}

/// A table of Castagnoli's polynomial, reversed: a crate for it would be more to build than it is to write,
/// and a file is read once a load.
const TABLE: [u32; 256] = {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0u32; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[usize::from((crc as u8) ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(all: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for data in all {
            let length = (data.len() as u64).to_le_bytes();
            out.extend(
                [&length[..], &masked(&length).to_le_bytes(), data, &masked(data).to_le_bytes()].concat(),
            );
        }
        out
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        for (data, expected) in [
            (&b"123456789"[..], 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
        ] {
            assert_eq!(crc32c(data), expected);
        }
    }

    #[test]
    fn what_is_wrong_with_a_record_is_said() {
        let whole = file(&[b"first".to_vec(), b"second".to_vec()]);
        let told = |file: &[u8]| records(file).last().unwrap().unwrap_err().message;
        let damaged = |at: usize| {
            let mut file = whole.clone();
            file[at] ^= 1;
            told(&file)
        };
        assert_eq!(damaged(0), "its length does not match its checksum");
        assert_eq!(damaged(12), "its data does not match its checksum");
        for end in [1, 8, 11, 12, 16, 20, whole.len() - 1] {
            assert_eq!(told(&whole[..end]), "the file ends within it", "{end}");
        }
        let huge = u64::MAX.to_le_bytes();
        assert_eq!(told(&[&huge[..], &masked(&huge).to_le_bytes()].concat()), "the file ends within it");
    }

    proptest! {
        #[test]
        fn records_read_back(all: Vec<Vec<u8>>) {
            let file = file(&all);
            let back: Result<Vec<_>> = records(&file).collect();
            prop_assert_eq!(back.unwrap(), all);
        }

        #[test]
        fn any_bytes_end(file: Vec<u8>) {
            prop_assert!(records(&file).count() <= file.len() / 16 + 1);
        }
    }
}
