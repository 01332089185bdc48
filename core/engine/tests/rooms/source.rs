//! Just enough of Rust to see which modules a file's paths lead to.

/// A word, `::`, or one other character that is no space.
pub type Token = String;

/// A path that a file holds, from the crate's root on: `crate::a::b` is `["a", "b"]`.
pub type Path = Vec<String>;

/// The tokens of a file without its comments, texts and characters.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        at += match rest {
            ['/', '/', ..] => until(rest, |left| left[0] == '\n'),
            ['/', '*', ..] => block_comment(rest),
            ['r' | 'b' | 'c', ..] if raw_text(rest) > 0 => raw_text(rest),
            ['"', ..] => quoted(rest, '"'),
            ['\'', '\\', ..] => quoted(rest, '\''),
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => keep(&mut found, &rest[..2]),
            [first, ..] if is_word(*first) => {
                keep(&mut found, &rest[..until(rest, |left| !is_word(left[0]))])
            }
            [first, ..] if first.is_whitespace() => 1,
            _ => keep(&mut found, &rest[..1]),
        };
    }
    found
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn keep(found: &mut Vec<Token>, token: &[char]) -> usize {
    found.push(token.iter().collect());
    token.len()
}

/// How many characters come before the first place where `ends` holds.
fn until(chars: &[char], ends: impl Fn(&[char]) -> bool) -> usize {
    (0..chars.len()).find(|&at| ends(&chars[at..])).unwrap_or(chars.len())
}

fn block_comment(chars: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn quoted(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The length of `r#"..."#`, also after `b` or `c`; 0 for anything else.
fn raw_text(chars: &[char]) -> usize {
    let prefix = until(chars, |left| !matches!(left[0], 'r' | 'b' | 'c'));
    let hashes = until(&chars[prefix..], |left| left[0] != '#');
    let open = prefix + hashes;
    if prefix > 2 || !chars[..prefix].contains(&'r') || chars.get(open) != Some(&'"') {
        return 0;
    }
    let ends = |left: &[char]| {
        left[0] == '"' && left.len() > hashes && left[1..=hashes].iter().all(|&char| char == '#')
    };
    open + 1 + until(&chars[open + 1..], ends) + 1 + hashes
}

/// What one file says: the files it has beside its tests, and the paths that it holds.
#[derive(Debug, Default)]
pub struct Read {
    pub children: Vec<String>,
    pub paths: Vec<Path>,
}

/// Read the file of `module`. What only tests see is passed over: they may use what they like.
pub fn read(text: &str, module: &[String]) -> Read {
    let mut reader = Reader { tokens: tokens(text), at: 0, read: Read::default() };
    reader.module(module);
    reader.read
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    read: Read,
}

impl Reader {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn next_is(&self, tokens: &str) -> bool {
        tokens.split(' ').enumerate().all(|(ahead, token)| self.peek(ahead) == token)
    }

    /// A module's items, to the end of the file or past its closing brace.
    fn module(&mut self, module: &[String]) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "}" if depth == 0 => break,
                "}" => depth -= 1,
                "{" => depth += 1,
                "#" if self.is_for_tests() => {
                    self.skip_item();
                    continue;
                }
                "mod" if self.peek(2) == ";" => self.read.children.push(self.peek(1).to_owned()),
                "mod" if self.peek(2) == "{" => {
                    let inner = [module, &[self.peek(1).to_owned()]].concat();
                    self.at += 3;
                    self.module(&inner);
                }
                "crate" | "super" | "self" if self.peek(1) == "::" => {
                    let start = if self.peek(0) == "crate" { &[] } else { module };
                    self.path(start.to_vec());
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn is_for_tests(&self) -> bool {
        self.next_is("# [ cfg ( test ) ]") || self.next_is("# [ cfg ( all ( test ,")
    }

    /// Past the item that an attribute is on: its `;` or closing brace.
    fn skip_item(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            let token = self.peek(0).to_owned();
            self.at += 1;
            match token.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => return,
                "}" => depth -= 1,
                ";" if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// A path, or a tree of them in braces, that goes on from `start`.
    fn path(&mut self, mut start: Path) {
        loop {
            match self.peek(0) {
                "{" => return self.branches(&start),
                "super" => drop(start.pop()),
                "crate" | "self" => {}
                name => start.push(name.to_owned()),
            }
            self.at += 1;
            if self.peek(0) != "::" {
                return self.read.paths.push(start);
            }
            self.at += 1;
        }
    }

    fn branches(&mut self, start: &Path) {
        self.at += 1;
        while !matches!(self.peek(0), "}" | "") {
            match self.peek(0) {
                "," => self.at += 1,
                "as" => self.at += 2,
                _ => self.path(start.clone()),
            }
        }
        self.at += 1;
    }
}
