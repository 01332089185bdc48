//! A cursor over one JSON document: jiter for the tokens, our own bounds.

use crate::codec::bytes_tensor;
use crate::error::{Error, Result};
use crate::stop::Stop;
use jiter::{Jiter, JiterError, Peek};
use smallvec::SmallVec;

/// Arrays and objects open at once, the outermost included.
pub const MAX_DEPTH: usize = 100;

/// The text is checked to be UTF-8 as a whole, so what is skipped is, too.
pub(super) struct Document<'j> {
    text: &'j str,
    jiter: Jiter<'j>,
    stop: &'j Stop,
}

impl<'j> Document<'j> {
    pub(super) fn new(text: &'j str, stop: &'j Stop) -> Self {
        Document { text, jiter: Jiter::new(text.as_bytes()).with_allow_inf_nan(), stop }
    }

    /// Now and then, whether the work is still wanted.
    #[inline]
    pub(super) fn look(&self, done: usize) -> Result<()> {
        if done.is_multiple_of(bytes_tensor::LOOK) { self.stop.check() } else { Ok(()) }
    }

    pub(super) fn peek(&mut self) -> Result<Peek> {
        self.jiter.peek().map_err(syntax)
    }

    /// Enters an object and reads its first key; `None` when it has none.
    pub(super) fn object<K>(&mut self, what: &str, key: impl Fn(&str) -> K) -> Result<Option<K>> {
        match self.peek()? {
            Peek::Object => Ok(self.jiter.known_object().map_err(syntax)?.map(key)),
            other => Err(wrong_type(what, "an object", other)),
        }
    }

    pub(super) fn next_key<K>(&mut self, key: impl Fn(&str) -> K) -> Result<Option<K>> {
        Ok(self.jiter.next_key().map_err(syntax)?.map(key))
    }

    /// Enters an array and peeks at its first value; `None` when it has none.
    pub(super) fn array(&mut self, what: &str) -> Result<Option<Peek>> {
        match self.peek()? {
            Peek::Array => self.known_array(),
            other => Err(wrong_type(what, "an array", other)),
        }
    }

    pub(super) fn known_array(&mut self) -> Result<Option<Peek>> {
        self.jiter.known_array().map_err(syntax)
    }

    #[inline]
    pub(super) fn array_step(&mut self) -> Result<Option<Peek>> {
        self.jiter.array_step().map_err(syntax)
    }

    /// Passes over a null: an optional member that is one is absent.
    pub(super) fn null(&mut self) -> Result<bool> {
        let is_null = self.peek()? == Peek::Null;
        if is_null {
            self.jiter.known_null().map_err(syntax)?;
        }
        Ok(is_null)
    }

    pub(super) fn string(&mut self, what: &str) -> Result<&str> {
        match self.peek()? {
            Peek::String => self.known_string(),
            other => Err(wrong_type(what, "a string", other)),
        }
    }

    pub(super) fn known_string(&mut self) -> Result<&str> {
        self.jiter.known_str().map_err(syntax)
    }

    pub(super) fn bool(&mut self, what: &str) -> Result<bool> {
        match self.peek()? {
            peek @ (Peek::True | Peek::False) => self.known_bool(peek),
            other => Err(wrong_type(what, "true or false", other)),
        }
    }

    pub(super) fn known_bool(&mut self, peek: Peek) -> Result<bool> {
        self.jiter.known_bool(peek).map_err(syntax)
    }

    /// A non-negative integer.
    pub(super) fn unsigned(&mut self, what: &str) -> Result<u64> {
        let peek = self.peek()?;
        if !peek.is_num() {
            return Err(wrong_type(what, "a non-negative integer", peek));
        }
        let text = self.number(peek)?;
        text.parse()
            .map_err(|_| Error::bad(format!("{what} must be a non-negative integer, got {}", cut(text))))
    }

    /// The text of a number, which may be `NaN`, `Infinity` or `-Infinity`.
    #[inline]
    pub(super) fn number(&mut self, peek: Peek) -> Result<&'j str> {
        let start = self.jiter.current_index();
        self.jiter.known_number_bytes(peek).map_err(syntax)?;
        Ok(self.since(start))
    }

    pub(super) fn index(&self) -> usize {
        self.jiter.current_index()
    }

    /// The text from `start`, an earlier [`Document::index`], up to here.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'j str {
        self.text.get(start..self.jiter.current_index()).unwrap_or_default()
    }

    /// Passes over one value, checking it; `depth` containers are open already.
    pub(super) fn skip(&mut self, depth: usize) -> Result<()> {
        let mut open: SmallVec<[Container; 16]> = SmallVec::new();
        let mut next = self.peek()?;
        let mut passed = 0usize;
        loop {
            passed += 1;
            self.look(passed)?;
            if let Some(container) = Container::begins(next) {
                if depth + open.len() >= MAX_DEPTH {
                    return Err(too_deep());
                }
                open.push(container);
                if let Some(first) = self.first_of(container)? {
                    next = first;
                    continue;
                }
                open.pop();
            } else {
                self.skip_scalar(next)?;
            }
            match self.after(&mut open)? {
                Some(value) => next = value,
                None => return Ok(()),
            }
        }
    }

    /// Enters a container and peeks at its first value.
    fn first_of(&mut self, container: Container) -> Result<Option<Peek>> {
        match container {
            Container::Array => self.known_array(),
            Container::Object => {
                let any = self.jiter.known_object().map_err(syntax)?.is_some();
                if any { self.peek().map(Some) } else { Ok(None) }
            }
        }
    }

    /// The value after the one just passed, leaving the containers that end here.
    fn after(&mut self, open: &mut SmallVec<[Container; 16]>) -> Result<Option<Peek>> {
        while let Some(container) = open.last() {
            let next = match container {
                Container::Array => self.array_step()?,
                Container::Object => match self.next_key(|_| ())? {
                    Some(()) => Some(self.peek()?),
                    None => None,
                },
            };
            if next.is_some() {
                return Ok(next);
            }
            open.pop();
        }
        Ok(None)
    }

    fn skip_scalar(&mut self, peek: Peek) -> Result<()> {
        match peek {
            Peek::String => self.known_string().map(drop),
            Peek::True | Peek::False => self.known_bool(peek).map(drop),
            Peek::Null => self.jiter.known_null().map_err(syntax),
            _ => self.number(peek).map(drop),
        }
    }

    /// Nothing but whitespace may follow.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.jiter.finish().map_err(syntax)
    }
}

#[derive(Clone, Copy)]
enum Container {
    Array,
    Object,
}

impl Container {
    fn begins(peek: Peek) -> Option<Container> {
        match peek {
            Peek::Array => Some(Container::Array),
            Peek::Object => Some(Container::Object),
            _ => None,
        }
    }
}

#[cold]
pub(super) fn syntax(error: JiterError) -> Error {
    Error::bad(format!("failed to parse the request JSON buffer: {error}"))
}

#[cold]
pub(super) fn too_deep() -> Error {
    Error::bad(format!("failed to parse the request JSON buffer: nested more than {MAX_DEPTH} levels deep"))
}

#[cold]
pub(super) fn wrong_type(what: &str, expected: &str, got: Peek) -> Error {
    Error::bad(format!("{what} must be {expected}, got {}", kind(got)))
}

/// What a value is, by its first character.
pub(super) fn kind(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a bool",
        Peek::String => "a string",
        Peek::Array => "an array",
        Peek::Object => "an object",
        other if other.is_num() => "a number",
        _ => "something that is not JSON",
    }
}

/// A number's text as errors show it: the first digits of very long ones.
pub(super) fn cut(number: &str) -> String {
    match number.get(..32) {
        Some(head) if number.len() > 32 => format!("{head}..."),
        _ => number.to_owned(),
    }
}
