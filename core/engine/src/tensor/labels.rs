//! What an output's elements are called, as a file lists it: one name a line.

/// The lines of a text, by their number; four bytes for each beside the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    text: Box<str>,
    /// Where each line ends.
    ends: Box<[u32]>,
}

impl Labels {
    /// `None` where the text has 4 GiB or more.
    pub fn new(text: String) -> Option<Labels> {
        let len = u32::try_from(text.len()).ok()?;
        let mut ends: Vec<u32> = text.match_indices('\n').map(|(at, _)| at as u32).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            ends.push(len);
        }
        Some(Labels { text: text.into(), ends: ends.into() })
    }

    /// The name of the element of this number; `None` where its line is empty, or there is none.
    pub fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize + 1,
            None => 0,
        };
        let line = self.text.get(start..end)?;
        Some(line.strip_suffix('\r').unwrap_or(line)).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_the_name_of_the_element_of_its_number() {
        for (text, lines) in [
            ("", &[None, None][..]),
            ("\n", &[None, None]),
            ("cat", &[Some("cat"), None]),
            ("cat\nbig dog\n", &[Some("cat"), Some("big dog"), None]),
            ("cat\r\n\r\n\u{e9}:1", &[Some("cat"), None, Some("\u{e9}:1"), None]),
        ] {
            let labels = Labels::new(text.to_owned()).unwrap();
            let found: Vec<_> = (0..lines.len()).map(|number| labels.get(number)).collect();
            assert_eq!(found, lines, "{text:?}");
        }
    }
}
