//! A cursor over one JSON document: jiter for the tokens, our own bounds.

use crate::admission::Reservation;
use crate::codec::bytes_tensor;
use crate::error::{Error, Result};
use crate::memory;
use crate::stop::Stop;
use jiter::{Jiter, JiterError, Peek};
use smallvec::SmallVec;
use std::marker::PhantomData;

/// Arrays and objects open at once, the outermost included.
pub const MAX_DEPTH: usize = 100;

/// What a protocol says of a text that is no JSON, or too deep.
pub(in crate::codec) trait Words {
    fn syntax(error: JiterError) -> Error;
    fn too_deep() -> Error;
}

/// The Open Inference Protocol's words.
pub(in crate::codec) struct Plain;

impl Words for Plain {
    #[cold]
    fn syntax(error: JiterError) -> Error {
        Error::bad(format!("failed to parse the request JSON buffer: {error}")).quoting_nothing()
    }

    #[cold]
    fn too_deep() -> Error {
        Error::bad(format!(
            "failed to parse the request JSON buffer: nested more than {MAX_DEPTH} levels deep"
        ))
        .quoting_nothing()
    }
}

/// The text is checked to be UTF-8 as a whole, so what is skipped is, too.
pub(in crate::codec) struct Document<'j, W = Plain> {
    text: &'j str,
    jiter: Jiter<'j>,
    stop: &'j Stop,
    words: PhantomData<W>,
}

impl<'j, W: Words> Document<'j, W> {
    pub(in crate::codec) fn new(text: &'j str, stop: &'j Stop) -> Self {
        let jiter = Jiter::new(text.as_bytes()).with_allow_inf_nan();
        Document { text, jiter, stop, words: PhantomData }
    }

    /// Now and then, whether the work is still wanted.
    #[inline]
    pub(in crate::codec) fn look(&self, done: usize) -> Result<()> {
        if done.is_multiple_of(bytes_tensor::LOOK) { self.stop.check() } else { Ok(()) }
    }

    pub(in crate::codec) fn peek(&mut self) -> Result<Peek> {
        self.jiter.peek().map_err(W::syntax)
    }

    /// Enters an object and reads its first key; `None` when it has none.
    pub(in crate::codec) fn object<K>(&mut self, what: &str, key: impl Fn(&str) -> K) -> Result<Option<K>> {
        match self.peek()? {
            Peek::Object => Ok(self.jiter.known_object().map_err(W::syntax)?.map(key)),
            other => Err(wrong_type(what, "an object", other)),
        }
    }

    pub(in crate::codec) fn next_key<K>(&mut self, key: impl Fn(&str) -> K) -> Result<Option<K>> {
        Ok(self.jiter.next_key().map_err(W::syntax)?.map(key))
    }

    /// Enters an array and peeks at its first value; `None` when it has none.
    pub(in crate::codec) fn array(&mut self, what: &str) -> Result<Option<Peek>> {
        match self.peek()? {
            Peek::Array => self.known_array(),
            other => Err(wrong_type(what, "an array", other)),
        }
    }

    pub(in crate::codec) fn known_array(&mut self) -> Result<Option<Peek>> {
        self.jiter.known_array().map_err(W::syntax)
    }

    #[inline]
    pub(in crate::codec) fn array_step(&mut self) -> Result<Option<Peek>> {
        self.jiter.array_step().map_err(W::syntax)
    }

    /// Passes over a null: an optional member that is one is absent.
    pub(in crate::codec) fn null(&mut self) -> Result<bool> {
        let is_null = self.peek()? == Peek::Null;
        if is_null {
            self.jiter.known_null().map_err(W::syntax)?;
        }
        Ok(is_null)
    }

    pub(in crate::codec) fn string(&mut self, what: &str) -> Result<&str> {
        match self.peek()? {
            Peek::String => self.known_string(),
            other => Err(wrong_type(what, "a string", other)),
        }
    }

    pub(in crate::codec) fn known_string(&mut self) -> Result<&str> {
        self.jiter.known_str().map_err(W::syntax)
    }

    pub(in crate::codec) fn bool(&mut self, what: &str) -> Result<bool> {
        match self.peek()? {
            peek @ (Peek::True | Peek::False) => self.known_bool(peek),
            other => Err(wrong_type(what, "true or false", other)),
        }
    }

    pub(in crate::codec) fn known_bool(&mut self, peek: Peek) -> Result<bool> {
        self.jiter.known_bool(peek).map_err(W::syntax)
    }

    /// A non-negative integer.
    pub(in crate::codec) fn unsigned(&mut self, what: &str) -> Result<u64> {
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
    pub(in crate::codec) fn number(&mut self, peek: Peek) -> Result<&'j str> {
        let start = self.jiter.current_index();
        self.jiter.known_number_bytes(peek).map_err(W::syntax)?;
        Ok(self.since(start))
    }

    pub(in crate::codec) fn index(&self) -> usize {
        self.jiter.current_index()
    }

    /// The text from `start`, an earlier [`Document::index`], up to here.
    #[inline]
    pub(in crate::codec) fn since(&self, start: usize) -> &'j str {
        self.text.get(start..self.jiter.current_index()).unwrap_or_default()
    }

    /// What is not read yet, from the value on that was peeked at.
    pub(in crate::codec) fn rest(&self) -> &'j str {
        self.text.get(self.jiter.current_index()..).unwrap_or_default()
    }

    /// The text of the value at hand, which is passed over as by [`Document::skip`].
    pub(in crate::codec) fn value(&mut self, depth: usize) -> Result<&'j str> {
        self.peek()?;
        let start = self.index();
        self.skip(depth)?;
        Ok(self.since(start))
    }

    /// Passes over one value, checking it; `depth` containers are open already.
    pub(in crate::codec) fn skip(&mut self, depth: usize) -> Result<()> {
        let mut open: SmallVec<[Container; 16]> = SmallVec::new();
        let mut next = self.peek()?;
        let mut passed = 0usize;
        loop {
            passed += 1;
            self.look(passed)?;
            if let Some(container) = Container::begins(next) {
                if depth + open.len() >= MAX_DEPTH {
                    return Err(W::too_deep());
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
                let any = self.jiter.known_object().map_err(W::syntax)?.is_some();
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
            Peek::Null => self.jiter.known_null().map_err(W::syntax),
            _ => self.number(peek).map(drop),
        }
    }

    /// Nothing but whitespace may follow.
    pub(in crate::codec) fn finish(&mut self) -> Result<()> {
        self.jiter.finish().map_err(W::syntax)
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
pub(super) fn wrong_type(what: &str, expected: &str, got: Peek) -> Error {
    Error::bad(format!("{what} must be {expected}, got {}", kind(got)))
}

/// Bytes that the parser may need beside the text: it copies a string that has escapes.
fn escaped(body: &[u8]) -> usize {
    if body.len() > LITTLE && body.contains(&b'\\') { body.len() } else { 0 }
}

/// Not worth the counting.
const LITTLE: usize = 64 << 10;

/// Counts what parsing `body` may take beside it, for as long as `work` goes on.
///
/// # Errors
/// `Full` where there is no room, and those of `work`.
pub(in crate::codec) fn parsing<T>(
    body: &[u8],
    held: &mut Reservation,
    work: impl FnOnce(&mut Reservation) -> Result<T>,
) -> Result<T> {
    copying(escaped(body), held, work)
}

/// As [`parsing`], of CSV: a field in which quotes are doubled is copied.
///
/// # Errors
/// As there.
pub(in crate::codec) fn parsing_csv<T>(
    text: &str,
    held: &mut Reservation,
    work: impl FnOnce(&mut Reservation) -> Result<T>,
) -> Result<T> {
    let doubled = if text.len() > LITTLE && text.contains("\"\"") { text.len() } else { 0 };
    copying(doubled, held, work)
}

fn copying<T>(
    escaped: usize,
    held: &mut Reservation,
    work: impl FnOnce(&mut Reservation) -> Result<T>,
) -> Result<T> {
    held.take(escaped)?;
    // The parser grows by itself, and takes no error from the allocator.
    drop(memory::room::<u8>(escaped.saturating_mul(2))?);
    let done = work(held);
    held.give_back(escaped);
    done
}

/// What a value is, by its first character.
pub(in crate::codec) fn kind(peek: Peek) -> &'static str {
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
pub(in crate::codec) fn cut(number: &str) -> String {
    match number.get(..32) {
        Some(head) if number.len() > 32 => format!("{head}..."),
        _ => number.to_owned(),
    }
}
