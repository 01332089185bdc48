//! How much a protobuf message would come to in another reader's memory, before it is given to that: two
//! bytes on the wire may be an object of a hundred there.

use super::wire::{Reader, Value};
use std::collections::HashMap;

/// Of a kind of message the fields that hold messages: by their numbers, the places of their kinds. The
/// first kind is that of the whole.
pub type Layout = [HashMap<u32, usize>];

/// As deep as other readers go.
const DEEPEST: usize = 100;

/// How many messages and texts `data` holds, however deep; no more than one beyond `most` are counted.
/// What is no message at all ends the count: whoever reads it says so.
pub fn counted(data: &[u8], layout: &Layout, most: usize) -> usize {
    let mut count = 0;
    let mut open = vec![(Reader::new(data), 0)];
    while let Some((reader, kind)) = open.last_mut() {
        let (number, value) = match reader.field() {
            Ok(Some(field)) => field,
            Ok(None) => {
                open.pop();
                continue;
            }
            Err(_) => break,
        };
        let Value::Len(inner) = value else { continue };
        count += 1;
        if count > most {
            break;
        }
        let below = layout.get(*kind).and_then(|fields| fields.get(&number)).copied();
        if let Some(below) = below.filter(|_| open.len() < DEEPEST) {
            open.push((Reader::new(inner), below));
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message whose field 1 is one of its own kind.
    fn nested() -> Vec<HashMap<u32, usize>> {
        vec![HashMap::from([(1, 0)])]
    }

    #[test]
    fn messages_and_texts_are_counted_however_deep() {
        // 1: {1: {}, 2: "ab"}, 2: "", 3: 5
        let data = [0x0a, 6, 0x0a, 0, 0x12, 2, b'a', b'b', 0x12, 0, 0x18, 5];
        assert_eq!(counted(&data, &nested(), 100), 4);
        assert_eq!(counted(&data, &nested(), 2), 3);
        // What is in a text is none of it.
        assert_eq!(counted(&data, &[], 100), 2);
        assert_eq!(counted(&[], &nested(), 100), 0);
    }

    #[test]
    fn many_small_ones_end_the_count_and_deep_ones_are_not_followed() {
        let many = [0x0a, 0].repeat(1 << 20);
        assert_eq!(counted(&many, &nested(), 1000), 1001);
        let mut deep = Vec::new();
        for _ in 0..60 {
            let length = u8::try_from(deep.len()).unwrap();
            deep = [&[0x0a, length][..], &deep].concat();
        }
        assert_eq!(counted(&deep, &nested(), 1000), 60);
    }

    proptest! {
        #[test]
        fn any_bytes_end(data: Vec<u8>, most in 0usize..50) {
            prop_assert!(counted(&data, &nested(), most) <= (most + 1).min(data.len() * 50));
        }
    }
}
