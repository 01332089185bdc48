//! The body of a prediction: rows (`instances`) or whole tensors (`inputs`).

use super::answer::{ColumnAnswer, RowAnswer};
use super::column::{Column, Source};
use super::names::Names;
use super::words::{Document, Place, not_for_predict, parse_error, twice};
use crate::admission::Reservation;
use crate::codec::answer::Form;
use crate::codec::json::document::parsing;
use crate::codec::json::request::BYTE_ORDER_MARK;
use crate::codec::tensorflow::SIGNATURE;
use crate::codec::{InferRequest, InputTensor};
use crate::error::{Error, ErrorCode, Result};
use crate::stop::{NEVER, Stop};
use crate::tensor::{Signature, TensorSpec, shown};
use jiter::Peek;

/// Decodes a body by `signature`; the URL has model and version. Converted data is counted by `held`.
/// What comes beside the request is the form of its answer: as it asked, by rows or by columns.
///
/// # Errors
/// `BadRequest` for everything malformed, ragged, out of range, of the wrong type or name, each in
/// TensorFlow Serving's words (faults 53, 54, 58-60); `Unimplemented` for whole tensors of datatypes that
/// JSON has no form for; `Full` where there is no room; and those of `stop`.
pub fn decode_predict(
    stop: &Stop,
    signature: &Signature,
    body: &[u8],
    held: &mut Reservation,
) -> Result<(InferRequest, &'static dyn Form)> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.trim_ascii_start().is_empty() {
        return Err(parse_error("The document is empty.", body.len()));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| parse_error("The text is not valid UTF-8.", error.valid_up_to()))?;
    parsing(body, held, |held| Decoder { document: Document::new(text, stop), signature, held }.whole())
}

/// Containers that are open around the value of a top-level key, and of a row's.
const TOP: usize = 1;
const ROW: usize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Key {
    SignatureName,
    Instances,
    Inputs,
    Other,
}

fn key(text: &str) -> Key {
    match text {
        "signature_name" => Key::SignatureName,
        "instances" => Key::Instances,
        "inputs" => Key::Inputs,
        _ => Key::Other,
    }
}

struct Decoder<'d> {
    document: Document<'d>,
    signature: &'d Signature,
    held: &'d mut Reservation,
}

impl<'d> Decoder<'d> {
    fn whole(mut self) -> Result<(InferRequest, &'static dyn Form)> {
        let (key, inputs) = self.body()?;
        self.document.finish()?;
        let form: &'static dyn Form = if key == Key::Instances { &RowAnswer } else { &ColumnAnswer };
        Ok((InferRequest { inputs, ..InferRequest::default() }, form))
    }

    fn body(&mut self) -> Result<(Key, Vec<InputTensor>)> {
        if self.document.peek()? != Peek::Object {
            let value = shown(self.document.value(0)?);
            return Err(Error::bad(format!("JSON Value: {value} Is not object")));
        }
        let (mut found, mut is_named) = (None, false);
        let mut next = self.document.object("", key)?;
        while let Some(key) = next {
            match key {
                Key::SignatureName if is_named => return Err(twice("signature_name")),
                Key::SignatureName => {
                    self.signature_name()?;
                    is_named = true;
                }
                Key::Instances | Key::Inputs => {
                    check_first(key, found.as_ref())?;
                    let inputs = if key == Key::Instances { self.rows() } else { self.columns() }?;
                    found = Some((key, inputs));
                }
                Key::Other => self.document.skip(TOP)?,
            }
            next = self.document.next_key(self::key)?;
        }
        found.ok_or_else(|| Error::bad("Missing 'inputs' or 'instances' key"))
    }

    fn signature_name(&mut self) -> Result<()> {
        if self.document.peek()? != Peek::String {
            return Err(Error::bad("'signature_name' key must be a string value."));
        }
        match self.document.known_string()? {
            "" | SIGNATURE => Ok(()),
            name => Err(not_for_predict(name, self.signature)),
        }
    }

    /// The one input whose name need not be said: the only one, or the only one that is needed.
    fn unnamed(&self) -> Option<&'d TensorSpec> {
        let inputs = &self.signature.inputs;
        if let [only] = inputs.as_slice() {
            return Some(only);
        }
        let mut required = inputs.iter().filter(|spec| !spec.optional);
        required.next().filter(|_| required.next().is_none())
    }

    /// How much of the text may be about each of so many inputs.
    fn room(&self, inputs: usize) -> usize {
        self.document.rest().len() / inputs.max(1)
    }

    fn source(&mut self, depth: usize, place: Place) -> Source<'_, 'd> {
        Source { document: &mut self.document, held: self.held, depth, place }
    }

    /// Whether an object at hand is bytes, `{"b64": "..."}`, and not values by name: an input may be called so.
    fn is_base64(&self) -> bool {
        let rest = self.document.rest();
        let inside = rest.strip_prefix('{').unwrap_or_default().trim_ascii_start();
        if !inside.starts_with("\"b64\"") {
            return false;
        }
        // Looked at ahead; what is wrong with it the walk will say.
        let mut ahead = Document::new(rest, &NEVER);
        let only = |ahead: &mut Document<'_>| -> Result<bool> {
            ahead.object("", |_| ())?;
            if ahead.peek()? != Peek::String {
                return Ok(false);
            }
            ahead.skip(ROW)?;
            Ok(ahead.next_key(|_| ())?.is_none())
        };
        only(&mut ahead).unwrap_or(true)
    }

    // ----- by columns ---------------------------------------------------------

    fn columns(&mut self) -> Result<Vec<InputTensor>> {
        if self.document.peek()? == Peek::Object && !self.is_base64() {
            return self.named_columns();
        }
        let Some(spec) = self.unnamed() else {
            return Err(Error::bad(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as \
                 per tensorinfo_map",
            ));
        };
        let mut column = Column::new(spec, self.room(1));
        column.read(self.source(TOP, Place::Whole))?;
        Ok(vec![column.whole(self.held)])
    }

    fn named_columns(&mut self) -> Result<Vec<InputTensor>> {
        let names = Names::of(self.signature);
        let mut seen = vec![false; self.signature.inputs.len()];
        let mut tensors = Vec::with_capacity(seen.len());
        let mut next = self.document.object("", |name| names.find(name, tensors.len()))?;
        while let Some(found) = next {
            let at = found.map_err(|name| Error::bad(names.unknown(&name)))?;
            let spec = &self.signature.inputs[at];
            if std::mem::replace(&mut seen[at], true) {
                return Err(Error::bad(format!("'inputs' object has the input {} twice", spec.name)));
            }
            let mut column = Column::new(spec, self.room(1));
            column.read(self.source(ROW, Place::Whole))?;
            tensors.push(column.whole(self.held));
            next = self.document.next_key(|name| names.find(name, tensors.len()))?;
        }
        let missing = |(spec, seen): &(&TensorSpec, &bool)| !**seen && !spec.optional;
        match self.signature.inputs.iter().zip(&seen).find(missing) {
            None => Ok(tensors),
            Some((spec, _)) => {
                Err(Error::bad(format!("Missing named input: {} in 'inputs' object.", spec.name)))
            }
        }
    }

    // ----- by rows ------------------------------------------------------------

    fn rows(&mut self) -> Result<Vec<InputTensor>> {
        if self.document.peek()? != Peek::Array {
            return Err(Error::bad("Expecting 'instances' to be an list/array"));
        }
        let Some(first) = self.document.known_array()? else {
            return Err(Error::bad("No values in 'instances' array"));
        };
        if first == Peek::Object && !self.is_base64() {
            return self.named_rows();
        }
        let Some(spec) = self.unnamed() else {
            return Err(Error::bad(
                "instances is a plain list, but expecting list of objects as multiple input tensors required \
                 as per tensorinfo_map",
            ));
        };
        self.plain_rows(spec, first)
    }

    fn plain_rows(&mut self, spec: &TensorSpec, first: Peek) -> Result<Vec<InputTensor>> {
        let mut column = Column::new(spec, self.room(1));
        let mut next = Some(first);
        while let Some(peek) = next {
            let number = column.values;
            self.document.look(number)?;
            if peek == Peek::Object && !self.is_base64() {
                return Err(Error::bad(format!(
                    "Expecting value/list but got object at item {number} of input list"
                )));
            }
            column.read(self.source(ROW, Place::Row { number, named: false }))?;
            next = self.document.array_step()?;
        }
        Ok(vec![column.stacked(self.held)])
    }

    fn named_rows(&mut self) -> Result<Vec<InputTensor>> {
        let names = Names::of(self.signature);
        let room = self.room(self.signature.inputs.len());
        let mut columns: Vec<_> = self.signature.inputs.iter().map(|spec| Column::new(spec, room)).collect();
        // How many inputs each row has: as many as the first.
        let (mut number, mut expected) = (0, None);
        let mut next = Some(Peek::Object);
        while let Some(peek) = next {
            self.document.look(number)?;
            if peek != Peek::Object || self.is_base64() {
                return Err(Error::bad(format!(
                    "Expecting object but got list at item {number} of input list"
                )));
            }
            let start = self.document.index();
            let count = self.named_row(&names, &mut columns, number)?;
            let whole = match expected {
                Some(expected) => count == expected,
                None => self.has_required(&columns),
            };
            if !whole {
                return Err(self.wrong_keys(start, number, &columns));
            }
            expected = Some(count);
            number += 1;
            next = self.document.array_step()?;
        }
        let held = &mut *self.held;
        Ok(columns.into_iter().filter(|one| one.values > 0).map(|one| one.stacked(held)).collect())
    }

    /// Returns how many inputs the row has.
    fn named_row(&mut self, names: &Names<'_>, columns: &mut [Column<'_>], number: usize) -> Result<usize> {
        let start = self.document.index();
        let mut count = 0;
        let mut next = self.document.object("", |name| names.find(name, 0))?;
        while let Some(found) = next {
            let place = Place::Row { number, named: true };
            let at = match found {
                Ok(at) => at,
                Err(name) => {
                    return Err(place.error(&name, ErrorCode::BadRequest, &names.unknown(&name)));
                }
            };
            // One that the rows before have not, or that this one has already.
            if columns[at].values != number {
                self.document.skip(ROW + 1)?;
                return Err(self.wrong_keys(start, number, columns));
            }
            columns[at].read(self.source(ROW + 1, place))?;
            count += 1;
            next = self.document.next_key(|name| names.find(name, at + 1))?;
        }
        Ok(count)
    }

    fn has_required(&self, columns: &[Column<'_>]) -> bool {
        self.signature.inputs.iter().zip(columns).all(|(spec, column)| spec.optional || column.values > 0)
    }

    /// The row that begins at `start` has others than the first, or than the signature.
    #[cold]
    fn wrong_keys(&self, start: usize, number: usize, columns: &[Column<'_>]) -> Error {
        let required = self.signature.inputs.iter().filter(|spec| !spec.optional).map(|spec| &*spec.name);
        let mut names: Vec<&str> = match number {
            0 => required.collect(),
            _ => columns.iter().filter(|one| one.values > 0).map(Column::name).collect(),
        };
        names.sort_unstable();
        names.truncate(SHOWN);
        Error::bad(format!(
            "Failed to process element: {number} of 'instances' list. JSON object: {} keys must be equal to: {}",
            shown(self.document.since(start)),
            names.join(",")
        ))
    }
}

/// Names that an error lists: a model may have thousands.
const SHOWN: usize = 32;

fn check_first(key: Key, found: Option<&(Key, Vec<InputTensor>)>) -> Result<()> {
    match found {
        None => Ok(()),
        Some((before, _)) if *before == key => {
            let name = if key == Key::Instances { "instances" } else { "inputs" };
            Err(twice(name))
        }
        Some(_) => Err(Error::bad(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist",
        )),
    }
}
