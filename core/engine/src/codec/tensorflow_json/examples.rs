//! The body of a classification or a regression: examples, written as the `tf.Example`s that they stand for.

use super::column::BASE64;
use super::words::{Document, kind, parse_error, twice};
use crate::admission::Reservation;
use crate::codec::json::document::parsing;
use crate::codec::json::elements::room;
use crate::codec::json::number;
use crate::codec::json::request::BYTE_ORDER_MARK;
use crate::codec::protobuf::write::{len_field, put_tag, put_varint, varint_len};
use crate::codec::tensorflow::{Examples, Kind};
use crate::codec::{InferRequest, names};
use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::tensor::named::Method;
use crate::tensor::shown;
use jiter::Peek;

/// Decodes a body of `:classify`; the URL has model and version. What is made of it is counted by `held`.
///
/// # Errors
/// `BadRequest` for everything malformed, and features that are none or mix types, in TensorFlow Serving's
/// words (faults 58-60); `Full` where there is no room; and those of `stop`.
pub fn decode_classify(stop: &Stop, body: &[u8], held: &mut Reservation) -> Result<InferRequest> {
    decode(Method::Classify, stop, body, held)
}

/// Decodes a body of `:regress`.
///
/// # Errors
/// As [`decode_classify`].
pub fn decode_regress(stop: &Stop, body: &[u8], held: &mut Reservation) -> Result<InferRequest> {
    decode(Method::Regress, stop, body, held)
}

fn decode(method: Method, stop: &Stop, body: &[u8], held: &mut Reservation) -> Result<InferRequest> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.trim_ascii_start().is_empty() {
        return Err(parse_error("The document is empty.", body.len()));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| parse_error("The text is not valid UTF-8.", error.valid_up_to()))?;
    let found = parsing(body, held, |held| {
        let mut decoder = Decoder { document: Document::new(text, stop), scratch: Scratch::default(), held };
        let found = decoder.whole();
        let Decoder { scratch, held, .. } = decoder;
        held.give_back(scratch.bytes());
        found
    })?;
    let messages = (found.list.into(), found.context.unwrap_or_default().into());
    let examples = Examples::of_one(method, found.signature.unwrap_or_default(), messages, stop)?;
    Ok(InferRequest { examples: Some(Box::new(examples)), ..InferRequest::default() })
}

/// Containers that are open around the value of a top-level key.
const TOP: usize = 1;

#[derive(Clone, Copy)]
enum Key {
    SignatureName,
    Context,
    Examples,
    Other,
}

fn key(text: &str) -> Key {
    match text {
        "signature_name" => Key::SignatureName,
        "context" => Key::Context,
        "examples" => Key::Examples,
        _ => Key::Other,
    }
}

#[derive(Default)]
struct Found {
    signature: Option<String>,
    context: Option<Vec<u8>>,
    list: Vec<u8>,
}

/// What is written to again and again, from the inside out: a length stands before its message.
#[derive(Default)]
struct Scratch {
    /// Of one feature: packed numbers, or the fields of texts.
    values: Vec<u8>,
    /// Of one example.
    features: Vec<u8>,
    /// What a text in base64 stands for.
    decoded: Vec<u8>,
}

impl Scratch {
    fn bytes(&self) -> usize {
        self.values.capacity() + self.features.capacity() + self.decoded.capacity()
    }
}

/// As errors of JSON call it.
fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Bytes => "bytes",
        Kind::Float => "float",
        Kind::Int64 => "int64",
    }
}

struct Decoder<'d, 'h> {
    document: Document<'d>,
    scratch: Scratch,
    held: &'h mut Reservation,
}

impl Decoder<'_, '_> {
    fn whole(&mut self) -> Result<Found> {
        if self.document.peek()? != Peek::Object {
            let value = shown(self.document.value(0)?);
            return Err(Error::bad(format!("JSON Value: {value} Is not object")));
        }
        let (mut found, mut has_examples) = (Found::default(), false);
        let mut next = self.document.object("", key)?;
        while let Some(key) = next {
            match key {
                Key::SignatureName if found.signature.is_some() => return Err(twice("signature_name")),
                Key::SignatureName => found.signature = Some(self.signature_name()?),
                Key::Context if found.context.is_some() => return Err(twice("context")),
                Key::Context => found.context = Some(self.context()?),
                Key::Examples if has_examples => return Err(twice("examples")),
                Key::Examples => {
                    has_examples = true;
                    self.examples(&mut found.list)?;
                }
                Key::Other => self.document.skip(TOP)?,
            }
            next = self.document.next_key(self::key)?;
        }
        self.document.finish()?;
        match has_examples {
            true => Ok(found),
            false => Err(Error::bad(
                "When method is classify or regress, key 'examples' is expected and was not found",
            )),
        }
    }

    fn signature_name(&mut self) -> Result<String> {
        if self.document.peek()? != Peek::String {
            return Err(Error::bad("'signature_name' key must be a string value."));
        }
        names::name("the signature's name", self.document.known_string()?).map(str::to_owned)
    }

    fn context(&mut self) -> Result<Vec<u8>> {
        self.features()?;
        let features = &self.scratch.features;
        let mut context = Vec::new();
        put_example(room(&mut context, features.len() + MOST_HEAD, self.held)?, features);
        Ok(context)
    }

    fn examples(&mut self, list: &mut Vec<u8>) -> Result<()> {
        if self.document.peek()? != Peek::Array {
            return Err(Error::bad("Expecting 'examples' value to be an list/array"));
        }
        if self.document.known_array()?.is_none() {
            return Err(Error::bad("'examples' value is an empty array"));
        }
        let mut done = 0usize;
        loop {
            done += 1;
            self.document.look(done)?;
            self.features()?;
            let features = &self.scratch.features;
            let out = room(list, features.len() + 2 * MOST_HEAD, self.held)?;
            put_head(out, 1, len_of_example(features));
            put_example(out, features);
            if self.document.array_step()?.is_none() {
                return Ok(());
            }
        }
    }

    /// The features of the object at hand, to the scratch of them.
    fn features(&mut self) -> Result<()> {
        self.scratch.features.clear();
        let peek = self.document.peek()?;
        if peek != Peek::Object {
            return Err(Error::bad(format!("Example must be JSON object but got JSON {}", kind(peek))));
        }
        let name = |text: &str| names::name("a feature's name", text).map(str::to_owned);
        let mut next = self.document.object("", name)?;
        while let Some(found) = next {
            let found = found?;
            let kind = self.values(&found)?;
            self.put_feature(&found, kind)?;
            next = self.document.next_key(name)?;
        }
        Ok(())
    }

    /// The values of the feature at hand, to the scratch of them; what they are, if there are any.
    fn values(&mut self, name: &str) -> Result<Option<Kind>> {
        self.scratch.values.clear();
        let mut of = None;
        let peek = self.document.peek()?;
        if peek != Peek::Array {
            self.value(name, peek, &mut of)?;
            return Ok(of);
        }
        let (mut next, mut done) = (self.document.known_array()?, 0usize);
        while let Some(peek) = next {
            done += 1;
            self.document.look(done)?;
            self.value(name, peek, &mut of)?;
            next = self.document.array_step()?;
        }
        Ok(of)
    }

    fn value(&mut self, name: &str, peek: Peek, of: &mut Option<Kind>) -> Result<()> {
        match peek {
            Peek::String => {
                expect(name, Kind::Bytes, of)?;
                let text = self.document.known_string()?.as_bytes();
                put_bytes(&mut self.scratch.values, text, self.held)
            }
            Peek::Object => {
                expect(name, Kind::Bytes, of)?;
                self.base64(name)
            }
            Peek::True | Peek::False => {
                expect(name, Kind::Int64, of)?;
                let value = self.document.known_bool(peek)?;
                put_int64(&mut self.scratch.values, i64::from(value), self.held)
            }
            peek if peek.is_num() => self.number(name, peek, of),
            peek => Err(Error::bad(format!(
                "Feature: {} has element with unexpected JSON type: {}",
                shown(name),
                kind(peek)
            ))),
        }
    }

    /// Whole ones are integers, others 32-bit floats.
    fn number(&mut self, name: &str, peek: Peek, of: &mut Option<Kind>) -> Result<()> {
        let text = self.document.number(peek)?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            expect(name, Kind::Int64, of)?;
            let value = text.parse().map_err(|_| {
                Error::bad(format!("Feature: {}: the integer {} is beyond 64 bits", shown(name), shown(text)))
            })?;
            return put_int64(&mut self.scratch.values, value, self.held);
        }
        expect(name, Kind::Float, of)?;
        // Beyond the largest is infinite, as in `predict`.
        let value = number::fp32(text).or_else(|| number::fp64(text).map(|wide| wide as f32));
        let value = value.ok_or_else(|| {
            parse_error("Number too big to be stored in double.", self.document.index() - text.len())
        })?;
        room(&mut self.scratch.values, 4, self.held)?.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// Bytes as `{"b64": "..."}`, which has no other member.
    fn base64(&mut self, name: &str) -> Result<()> {
        let start = self.document.index();
        let is_named = self.document.object("", |key| key == "b64")?;
        if is_named != Some(true) || self.document.peek()? != Peek::String {
            return Err(self.no_base64(name, start));
        }
        let text = self.document.known_string()?.as_bytes();
        let Scratch { decoded, values, .. } = &mut self.scratch;
        decoded.clear();
        use base64::Engine;
        let out = room(decoded, base64::decoded_len_estimate(text.len()), self.held)?;
        if BASE64.decode_vec(text, out).is_err() {
            return Err(Error::bad(format!("Feature: {}: Unable to base64 decode", shown(name))));
        }
        put_bytes(values, decoded, self.held)?;
        match self.document.next_key(|_| ())? {
            None => Ok(()),
            Some(()) => Err(self.no_base64(name, start)),
        }
    }

    #[cold]
    fn no_base64(&self, name: &str, start: usize) -> Error {
        Error::bad(format!(
            "Feature: {}: JSON Value: {} not formatted correctly for base64 data",
            shown(name),
            shown(self.document.since(start))
        ))
    }

    /// An entry of the map of features, of the values in the scratch.
    fn put_feature(&mut self, name: &str, kind: Option<Kind>) -> Result<()> {
        let Scratch { values, features, .. } = &mut self.scratch;
        let list = match kind {
            // One without a list is none.
            None => return Ok(()),
            Some(Kind::Bytes) => values.len(),
            Some(_) => len_field(1, values.len()),
        };
        let kind = kind.map_or(0, |kind| kind as u32);
        let feature = len_field(kind, list);
        let entry = len_field(1, name.len()) + len_field(2, feature);
        let out = room(features, len_field(1, entry), self.held)?;
        put_head(out, 1, entry);
        put_head(out, 1, name.len());
        out.extend_from_slice(name.as_bytes());
        put_head(out, 2, feature);
        put_head(out, kind, list);
        if kind != Kind::Bytes as u32 {
            put_head(out, 1, values.len());
        }
        out.extend_from_slice(values);
        Ok(())
    }
}

/// Bytes before a message in one of the fields here, at most.
const MOST_HEAD: usize = 11;

fn put_head(out: &mut Vec<u8>, number: u32, len: usize) {
    put_tag(out, number);
    put_varint(out, len as u64);
}

fn len_of_example(features: &[u8]) -> usize {
    1 + varint_len(features.len() as u64) + features.len()
}

fn put_example(out: &mut Vec<u8>, features: &[u8]) {
    put_head(out, 1, features.len());
    out.extend_from_slice(features);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8], held: &mut Reservation) -> Result<()> {
    let out = room(out, bytes.len() + MOST_HEAD, held)?;
    put_head(out, 1, bytes.len());
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_int64(out: &mut Vec<u8>, value: i64, held: &mut Reservation) -> Result<()> {
    const LONGEST: usize = 10;
    put_varint(room(out, LONGEST, held)?, value as u64);
    Ok(())
}

/// All values of a feature are of one kind.
fn expect(name: &str, kind: Kind, of: &mut Option<Kind>) -> Result<()> {
    let expected = *of.get_or_insert(kind);
    if expected == kind {
        return Ok(());
    }
    Err(Error::bad(format!(
        "Unexpected element type in feature: {} expecting type: {}",
        shown(name),
        name_of(expected)
    )))
}
