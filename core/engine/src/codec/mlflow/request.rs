//! A scoring request as a whole: which of the four forms it has, and what else stands in it.

use super::answer::Predictions;
use super::frame::Frame;
use super::plan::Plan;
use super::reader::Reader;
use super::refusals::Table;
use super::{csv, params, refusals, rows, split, tensors};
use crate::admission::Reservation;
use crate::codec::answer::Form;
use crate::codec::json::document::{self, Document};
use crate::codec::json::request::BYTE_ORDER_MARK;
use crate::codec::{InferRequest, InputTensor};
use crate::error::{Error, ErrorCode, Result};
use crate::stop::Stop;
use crate::tensor::Signature;
use crate::tensor::schema::Declared;

/// Decodes a JSON body against the version that answers it. The request's own model and version stay
/// empty: the URL has them. Converted data is counted by `held`.
///
/// # Errors
/// `BadRequest` for what is no scoring request, or holds values that the inputs cannot take;
/// `SchemaMismatch` for one that does not fit the model's signature; `TooLarge`; `Full`; `Unimplemented`
/// for a signature that no JSON can be held against; and those of `stop`.
pub fn decode_json(
    stop: &Stop,
    body: &[u8],
    signature: &Signature,
    held: &mut Reservation,
) -> Result<Scored> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| refusals::no_json_text("it is not valid UTF-8"))?;
    let plan = Plan::new(signature, text)?;
    let scored = document::parsing(body, held, |held| {
        let mut reader = Reader { document: Document::new(text, stop), held, lossy: signature.schema.lossy };
        Request { plan: &plan, reader: &mut reader, stop }.whole()
    });
    scored.map_err(|error| plan.told(error))
}

/// Decodes a table in CSV, which may have been made of another form, `came_as`; as [`decode_json`].
///
/// # Errors
/// As there.
pub fn decode_table(
    stop: &Stop,
    body: &[u8],
    came_as: Table,
    signature: &Signature,
    held: &mut Reservation,
) -> Result<Scored> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| came_as.invalid("it is not valid UTF-8"))?;
    let plan = Plan::new(signature, text)?;
    if let Declared::Tensors(_) = plan.declared() {
        return Err(came_as.invalid("the model's signature asks for tensors, which no table carries"));
    }
    let inputs = document::parsing_csv(text, held, |held| {
        let mut reader = Reader { document: Document::new("", stop), held, lossy: signature.schema.lossy };
        csv::read(&mut reader, &plan, came_as)
    });
    let inputs = inputs.map_err(|error| plan.told(error))?;
    Ok((InferRequest { inputs, ..InferRequest::default() }, &Predictions::Rows))
}

/// A request, and how its answer looks.
pub(super) type Scored = (InferRequest, &'static dyn Form);

const FORMATS: [&str; 4] = ["dataframe_split", "dataframe_records", "instances", "inputs"];
const FOR_LANGUAGE_MODELS: [&str; 3] = ["messages", "prompt", "input"];

#[derive(Clone, Copy)]
enum Key {
    Format(usize),
    Params,
    ForLanguageModels(usize),
    Other,
}

fn key(text: &str) -> Key {
    if let Some(at) = FORMATS.iter().position(|&format| format == text) {
        return Key::Format(at);
    }
    match FOR_LANGUAGE_MODELS.iter().position(|&key| key == text) {
        Some(at) => Key::ForLanguageModels(at),
        None if text == "params" => Key::Params,
        None => Key::Other,
    }
}

struct Request<'r, 'a, 's> {
    plan: &'r Plan<'s>,
    reader: &'r mut Reader<'a>,
    stop: &'a Stop,
}

impl Request<'_, '_, '_> {
    fn whole(mut self) -> Result<Scored> {
        let document = &mut self.reader.document;
        match document.peek()? {
            jiter::Peek::Object => {}
            // What is no JSON at all is told as that.
            other => {
                document.skip(0)?;
                document.finish()?;
                return Err(refusals::not_a_dictionary(document::kind(other)));
            }
        }
        let mut next = document.object("the request", key)?;
        let (mut found, mut inputs) = (Vec::new(), None);
        while let Some(key) = next {
            match key {
                Key::Format(at) if found.contains(&FORMATS[at]) => return Err(refusals::twice(FORMATS[at])),
                Key::Format(at) => {
                    found.push(FORMATS[at]);
                    match found.len() {
                        1 => inputs = Some(self.format(FORMATS[at]).map_err(|error| self.told(error))?),
                        _ => self.reader.document.skip(1)?,
                    }
                }
                Key::ForLanguageModels(at) => {
                    return Err(refusals::for_language_models(FOR_LANGUAGE_MODELS[at]));
                }
                Key::Params => params::read(self.reader, self.plan)?,
                Key::Other => self.reader.document.skip(1)?,
            }
            next = self.reader.document.next_key(self::key)?;
        }
        self.reader.document.finish()?;
        match (inputs, found.as_slice()) {
            (Some(inputs), [format]) => {
                let request = InferRequest { inputs, ..InferRequest::default() };
                Ok((request, self.form(format)))
            }
            (_, found) => Err(refusals::not_one_format(found)),
        }
    }

    /// What is wrong with one format's value is not told where another format stands beside it: that is.
    #[cold]
    fn told(&self, error: Error) -> Error {
        if !matches!(error.code, ErrorCode::BadRequest | ErrorCode::SchemaMismatch) {
            return error;
        }
        match formats(self.plan.text, self.stop) {
            Ok(found) if found.len() > 1 => refusals::not_one_format(&found),
            // What is no JSON, or work that nobody waits for, is told as it was found.
            _ => error,
        }
    }

    fn format(&mut self, format: &str) -> Result<Vec<InputTensor>> {
        match format {
            "dataframe_split" => {
                let mut frame = Frame::new(self.plan);
                split::read(self.reader, &mut frame, self.stop)?;
                frame.finish(self.reader)
            }
            "dataframe_records" => {
                let mut frame = Frame::new(self.plan);
                rows::records(self.reader, &mut frame)?;
                frame.finish(self.reader)
            }
            _ if matches!(self.plan.declared(), Declared::Columns(_)) => {
                let mut frame = Frame::new(self.plan);
                rows::any(self.reader, &mut frame)?;
                frame.finish(self.reader)
            }
            _ => tensors::read(self.reader, self.plan),
        }
    }

    fn form(&self, format: &str) -> &'static dyn Form {
        match self.plan.declared() {
            Declared::Columns(_) => &Predictions::Rows,
            Declared::Nothing if format.starts_with("dataframe") => &Predictions::Rows,
            Declared::Nothing | Declared::Tensors(_) => &Predictions::Tensors,
        }
    }
}

/// The formats of a request, in their order.
fn formats(text: &str, stop: &Stop) -> Result<Vec<&'static str>> {
    let mut document: Document<'_, refusals::Scoring> = Document::new(text, stop);
    let mut found = Vec::new();
    let mut next = document.object("the request", key)?;
    while let Some(key) = next {
        match key {
            Key::Format(at) if !found.contains(&FORMATS[at]) => found.push(FORMATS[at]),
            _ => {}
        }
        document.skip(1)?;
        next = document.next_key(self::key)?;
    }
    Ok(found)
}
