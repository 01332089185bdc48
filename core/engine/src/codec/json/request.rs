//! An inference request's JSON, and the binary tensors after it.

use super::data;
use super::document::{Document, kind, parsing, wrong_type};
use super::elements::{Elements, Leaves};
use crate::admission::Reservation;
use crate::codec::parameter::{ALIAS, LONGEST, check_alias};
use crate::codec::place::Placing;
use crate::codec::protobuf::{no_sequences, no_shared_classes, reserved};
use crate::codec::{InferRequest, InputTensor, MAX_TENSORS, Payload, RequestedOutput, names};
use crate::error::{Error, Result};
use crate::stop::Stop;
use crate::tensor::{Datatype, MAX_RANK, Shape, elements, shown};
use bytes::Bytes;
use jiter::Peek;

/// Containers open around a request's tensors: the document, the list, the tensor.
const TENSOR_DEPTH: usize = 3;

/// Of UTF-8: some write it, nobody needs it.
pub(in crate::codec) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Decodes a request. `body` is the JSON, `binary` what follows it (empty where
/// there is nothing); `model` is named in errors, and the request's own model
/// and version stay empty: the URL has them. Converted data is counted by `held`.
///
/// # Errors
/// `BadRequest` for everything malformed, out of range or of the wrong type
/// (faults 51, 58-60) and for binary sizes that do not add up; `Full` where there is no room;
/// `Unimplemented` for sequences; and those of `stop`.
pub fn decode_infer(
    stop: &Stop,
    model: &str,
    body: &[u8],
    binary: Bytes,
    held: &mut Reservation,
) -> Result<InferRequest> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    if body.trim_ascii_start().is_empty() {
        return Err(no_body());
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| Error::bad("failed to parse the request JSON buffer: it is not valid UTF-8"))?;
    parsing(body, held, |held| {
        let document = Document::new(text, stop);
        Decoder { model, document, binary, len: text.len(), held, stop }.whole()
    })
}

#[cold]
fn no_body() -> Error {
    Error::bad(
        "failed to parse the request JSON buffer: it is empty: expected a JSON body with the model's \
         inputs: {\"inputs\": [{\"name\": ..., \"datatype\": ..., \"shape\": [...], \"data\": [...]}]}",
    )
}

struct Decoder<'a> {
    model: &'a str,
    document: Document<'a>,
    /// What the inputs have not taken yet.
    binary: Bytes,
    /// Bytes of the JSON.
    len: usize,
    held: &'a mut Reservation,
    stop: &'a Stop,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Id,
    Parameters,
    Inputs,
    Outputs,
    Name,
    Shape,
    Datatype,
    Data,
    Other,
}

fn key(text: &str) -> Key {
    match text {
        "id" => Key::Id,
        "parameters" => Key::Parameters,
        "inputs" => Key::Inputs,
        "outputs" => Key::Outputs,
        "name" => Key::Name,
        "shape" => Key::Shape,
        "datatype" => Key::Datatype,
        "data" => Key::Data,
        _ => Key::Other,
    }
}

/// Keys seen in one object; a second one of a kind would silently win or lose.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    fn once(&mut self, key: Key, name: &str) -> Result<()> {
        let bit = 1 << key as u16;
        if self.0 & bit != 0 {
            return Err(Error::bad(format!("key '{name}' appears twice in one JSON object")));
        }
        self.0 |= bit;
        Ok(())
    }
}

/// A tensor's data, before its datatype may be known.
enum Data<'a> {
    Absent,
    /// Its text, checked to be JSON.
    Later(&'a str),
    Read(Leaves),
}

impl<'a> Decoder<'a> {
    fn whole(mut self) -> Result<InferRequest> {
        let request = self.request()?;
        self.document.finish()?;
        if self.binary.is_empty() {
            Ok(request)
        } else {
            Err(Error::bad(format!("unexpected additional input data for model '{}'", shown(self.model))))
        }
    }

    fn request(&mut self) -> Result<InferRequest> {
        let mut request = InferRequest::default();
        let mut seen = Seen::default();
        let mut next = self.document.object("the request", key)?;
        while let Some(found) = next {
            match found {
                Key::Id => {
                    seen.once(found, "id")?;
                    if !self.document.null()? {
                        request.id = Some(names::id(self.document.string("'id'")?)?);
                    }
                }
                Key::Parameters => {
                    seen.once(found, "parameters")?;
                    self.request_parameters(&mut request)?;
                }
                Key::Inputs => {
                    seen.once(found, "inputs")?;
                    request.inputs = self.list("'inputs'", Self::input)?;
                }
                Key::Outputs => {
                    seen.once(found, "outputs")?;
                    if !self.document.null()? {
                        request.outputs = self.list("'outputs'", Self::output)?;
                    }
                }
                _ => self.document.skip(1)?,
            }
            next = self.document.next_key(key)?;
        }
        if seen.0 & (1 << Key::Inputs as u16) == 0 {
            return Err(Error::bad("the request has no 'inputs'"));
        }
        Ok(request)
    }

    fn list<T>(&mut self, what: &str, item: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut next = self.document.array(what)?;
        while next.is_some() {
            if items.len() >= MAX_TENSORS {
                return Err(Error::bad(format!("{what} of the request has more than {MAX_TENSORS} entries")));
            }
            items.push(item(self)?);
            next = self.document.array_step()?;
        }
        Ok(items)
    }

    fn input(&mut self) -> Result<InputTensor> {
        let mut name: Option<String> = None;
        let mut datatype: Option<String> = None;
        let mut shape: Option<Shape> = None;
        let mut parameters = InputParameters::default();
        let mut data = Data::Absent;
        let mut seen = Seen::default();
        let mut next = self.document.object("an input", key)?;
        while let Some(found) = next {
            match found {
                Key::Name => {
                    seen.once(found, "name")?;
                    let text = self.document.string("'name' of an input")?;
                    name = Some(names::name("an input's name", text)?.to_owned());
                }
                Key::Datatype => {
                    seen.once(found, "datatype")?;
                    let text = self.document.string("'datatype' of an input")?;
                    datatype = Some(names::name("an input's datatype", text)?.to_owned());
                }
                Key::Shape => {
                    seen.once(found, "shape")?;
                    shape = Some(self.shape()?);
                }
                Key::Parameters => {
                    seen.once(found, "parameters")?;
                    parameters = self.input_parameters()?;
                }
                Key::Data => {
                    seen.once(found, "data")?;
                    data = self.data(name.as_deref(), datatype.as_deref(), shape.as_ref())?;
                }
                _ => self.document.skip(TENSOR_DEPTH)?,
            }
            next = self.document.next_key(key)?;
        }
        let name = name.ok_or_else(|| Error::bad("an input has no 'name'"))?;
        let shape = shape.ok_or_else(|| lacks(&name, "shape"))?;
        let datatype = datatype.ok_or_else(|| lacks(&name, "datatype"))?;
        let payload = self.payload(&name, &datatype, &shape, parameters, data)?;
        Ok(InputTensor { name, datatype, shape, payload })
    }

    /// Reads data at once where name and datatype came before it.
    fn data(
        &mut self,
        name: Option<&str>,
        datatype: Option<&str>,
        shape: Option<&Shape>,
    ) -> Result<Data<'a>> {
        if self.document.null()? {
            return Ok(Data::Absent);
        }
        if let (Some(name), Some(datatype)) = (name, datatype.and_then(Datatype::from_name)) {
            let room = self.len - self.document.index();
            let leaves = read_data(&mut self.document, name, datatype, shape, room, self.held)?;
            return Ok(Data::Read(leaves));
        }
        self.document.peek()?;
        let start = self.document.index();
        self.document.skip(TENSOR_DEPTH)?;
        Ok(Data::Later(self.document.since(start)))
    }

    fn payload(
        &mut self,
        name: &str,
        datatype: &str,
        shape: &Shape,
        parameters: InputParameters,
        data: Data<'a>,
    ) -> Result<Payload> {
        let has_data = !matches!(data, Data::Absent);
        let sources = usize::from(has_data)
            + usize::from(parameters.binary_size.is_some())
            + usize::from(parameters.placing.region.is_some());
        if sources != 1 {
            return Err(Error::bad(format!(
                "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
                 'shared_memory_region' in 'parameters'. Input '{}' sets {sources} of them",
                shown(name)
            )));
        }
        let place = parameters.placing.place(name)?;
        match (data, parameters.binary_size) {
            (Data::Read(Leaves { data, count }), _) => Ok(Payload::Json { data, count }),
            (Data::Later(text), _) => match Datatype::from_name(datatype) {
                Some(datatype) => {
                    let mut document = Document::new(text, self.stop);
                    let Leaves { data, count } =
                        read_data(&mut document, name, datatype, Some(shape), text.len(), self.held)?;
                    Ok(Payload::Json { data, count })
                }
                // Without its datatype data means nothing; the model's check says so.
                None => Ok(Payload::Missing),
            },
            (Data::Absent, Some(size)) => self.take_binary(name, size).map(Payload::Raw),
            (Data::Absent, None) => Ok(place.map_or(Payload::Missing, Payload::Shared)),
        }
    }

    /// The next `size` bytes of the binary part.
    fn take_binary(&mut self, name: &str, size: u64) -> Result<Bytes> {
        match usize::try_from(size).ok().filter(|&size| size <= self.binary.len()) {
            Some(size) => Ok(self.binary.split_to(size)),
            None => Err(Error::bad(format!(
                "unexpected size for input '{}', expecting {} additional bytes for model '{}'",
                shown(name),
                size - self.binary.len() as u64,
                shown(self.model)
            ))),
        }
    }

    fn shape(&mut self) -> Result<Shape> {
        let mut shape = Shape::new();
        let mut next = self.document.array("'shape' of an input")?;
        while let Some(peek) = next {
            if !peek.is_num() {
                return Err(Error::bad(format!(
                    "'shape' of an input must hold integers, got {}",
                    kind(peek)
                )));
            }
            if shape.len() >= MAX_RANK {
                return Err(Error::bad(format!("'shape' of an input has more than {MAX_RANK} dimensions")));
            }
            let text = self.document.number(peek)?;
            shape.push(text.parse().map_err(|_| {
                Error::bad(format!(
                    "'shape' of an input must hold 64-bit integers, got {}",
                    super::document::cut(text)
                ))
            })?);
            next = self.document.array_step()?;
        }
        Ok(shape)
    }

    fn output(&mut self) -> Result<RequestedOutput> {
        let mut name: Option<String> = None;
        let mut parameters = OutputParameters::default();
        let mut seen = Seen::default();
        let mut next = self.document.object("an output", key)?;
        while let Some(found) = next {
            match found {
                Key::Name => {
                    seen.once(found, "name")?;
                    let text = self.document.string("'name' of an output")?;
                    name = Some(names::name("an output's name", text)?.to_owned());
                }
                Key::Parameters => {
                    seen.once(found, "parameters")?;
                    parameters = self.output_parameters()?;
                }
                _ => self.document.skip(TENSOR_DEPTH)?,
            }
            next = self.document.next_key(key)?;
        }
        let name = name.ok_or_else(|| Error::bad("an output has no 'name'"))?;
        let OutputParameters { binary, classes, placing } = parameters;
        if classes > 0 && placing.region.is_some() {
            return Err(no_shared_classes(&name));
        }
        let place = placing.place(&name)?;
        if place.is_some() && binary == Some(true) {
            return Err(Error::bad("Output can't set both 'shared_memory_region' and 'binary_data'"));
        }
        Ok(RequestedOutput { name, binary, classes, place })
    }
}

/// Only as much memory as shape and text agree on is taken ahead.
fn read_data(
    document: &mut Document<'_>,
    name: &str,
    datatype: Datatype,
    shape: Option<&Shape>,
    room: usize,
    held: &mut Reservation,
) -> Result<Leaves> {
    let expected = shape.and_then(|shape| elements(name, shape).ok()).unwrap_or(16);
    data::read(document, name, datatype, TENSOR_DEPTH, Elements::new(expected, room), held)
}

fn lacks(name: &str, key: &str) -> Error {
    Error::bad(format!("input '{}' has no '{key}'", shown(name)))
}

// ----- parameters -----------------------------------------------------------

#[derive(Default)]
struct InputParameters {
    binary_size: Option<u64>,
    placing: Placing,
}

#[derive(Default)]
struct OutputParameters {
    binary: Option<bool>,
    classes: usize,
    placing: Placing,
}

/// The parameters that mean something, of requests, inputs and outputs.
#[derive(Clone, PartialEq)]
enum ParameterKey {
    Priority,
    Timeout,
    BinaryDataOutput,
    BinaryDataSize,
    BinaryData,
    Classification,
    Region,
    RegionOffset,
    RegionSize,
    Sequence(&'static str),
    Reserved(String),
    /// Of a request.
    Named(String),
    Other,
}

fn parameter_key(text: &str) -> ParameterKey {
    match text {
        "priority" => ParameterKey::Priority,
        "timeout" => ParameterKey::Timeout,
        "binary_data_output" => ParameterKey::BinaryDataOutput,
        "binary_data_size" => ParameterKey::BinaryDataSize,
        "binary_data" => ParameterKey::BinaryData,
        "classification" => ParameterKey::Classification,
        "shared_memory_region" => ParameterKey::Region,
        "shared_memory_offset" => ParameterKey::RegionOffset,
        "shared_memory_byte_size" => ParameterKey::RegionSize,
        "sequence_id" => ParameterKey::Sequence("sequence_id"),
        "sequence_start" => ParameterKey::Sequence("sequence_start"),
        "sequence_end" => ParameterKey::Sequence("sequence_end"),
        _ if text.starts_with("triton_") => ParameterKey::Reserved(shown(text)),
        _ => ParameterKey::Other,
    }
}

/// Of a request, others may say who is to answer it.
fn request_key(text: &str) -> ParameterKey {
    match parameter_key(text) {
        ParameterKey::Other if text.len() <= LONGEST => ParameterKey::Named(text.to_owned()),
        key => key,
    }
}

impl Decoder<'_> {
    fn parameters(
        &mut self,
        keys: fn(&str) -> ParameterKey,
        mut each: impl FnMut(&mut Self, ParameterKey) -> Result<()>,
    ) -> Result<()> {
        if self.document.null()? {
            return Ok(());
        }
        let mut next = self.document.object("'parameters'", keys)?;
        while let Some(key) = next {
            if !self.document.null()? {
                each(self, key)?;
            }
            next = self.document.next_key(keys)?;
        }
        Ok(())
    }

    fn request_parameters(&mut self, request: &mut InferRequest) -> Result<()> {
        self.parameters(request_key, |decoder, key| {
            match key {
                ParameterKey::Named(name) => decoder.named_parameter(request, &name)?,
                ParameterKey::Priority => {
                    request.priority = decoder.document.unsigned("parameter 'priority'")?
                }
                ParameterKey::Timeout => {
                    request.timeout_us = decoder.document.unsigned("parameter 'timeout'")?
                }
                ParameterKey::BinaryDataOutput => {
                    request.binary_output = decoder.document.bool("parameter 'binary_data_output'")?;
                }
                ParameterKey::Sequence(name) => {
                    if !decoder.empty_parameter()? {
                        return Err(no_sequences(name));
                    }
                }
                ParameterKey::Reserved(name) => return Err(reserved(&name)),
                _ => drop(decoder.empty_parameter()?),
            }
            Ok(())
        })
    }

    fn input_parameters(&mut self) -> Result<InputParameters> {
        let mut parameters = InputParameters::default();
        self.parameters(parameter_key, |decoder, key| {
            match key {
                ParameterKey::BinaryDataSize => {
                    parameters.binary_size = Some(decoder.document.unsigned("parameter 'binary_data_size'")?);
                }
                key => decoder.place_parameter(&key, &mut parameters.placing)?,
            }
            Ok(())
        })?;
        Ok(parameters)
    }

    fn output_parameters(&mut self) -> Result<OutputParameters> {
        let mut parameters = OutputParameters::default();
        self.parameters(parameter_key, |decoder, key| {
            match key {
                ParameterKey::BinaryData => {
                    parameters.binary = Some(decoder.document.bool("parameter 'binary_data'")?);
                }
                ParameterKey::Classification => {
                    let count = decoder.document.unsigned("parameter 'classification'")?;
                    parameters.classes = usize::try_from(count).unwrap_or(usize::MAX);
                }
                key => decoder.place_parameter(&key, &mut parameters.placing)?,
            }
            Ok(())
        })?;
        Ok(parameters)
    }

    /// What a tensor's parameter says of its place; others are passed over.
    fn place_parameter(&mut self, key: &ParameterKey, placing: &mut Placing) -> Result<()> {
        match key {
            ParameterKey::Region => {
                let text = self.document.string("parameter 'shared_memory_region'")?;
                placing.region = Some(names::name("a shared memory region's name", text)?.to_owned());
            }
            ParameterKey::RegionOffset => {
                placing.offset = Some(self.document.unsigned("parameter 'shared_memory_offset'")?);
            }
            ParameterKey::RegionSize => {
                placing.byte_size = Some(self.document.unsigned("parameter 'shared_memory_byte_size'")?);
            }
            _ => drop(self.empty_parameter()?),
        }
        Ok(())
    }

    /// A text or a whole number is kept.
    fn named_parameter(&mut self, request: &mut InferRequest, name: &str) -> Result<()> {
        match self.document.peek()? {
            Peek::String => {
                let text = self.document.known_string()?;
                if name == ALIAS {
                    check_alias(text)?;
                }
                request.keep_parameter(name, text);
            }
            other if name == ALIAS => return Err(wrong_type("parameter 'alias'", "a string", other)),
            peek if peek.is_num() => {
                let number = self.document.number(peek)?;
                if number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
                    request.keep_parameter(name, number);
                }
            }
            _ => drop(self.empty_parameter()?),
        }
        Ok(())
    }

    /// Passes over a parameter's value and says whether it is 0, "" or false,
    /// which is the same as no parameter at all.
    fn empty_parameter(&mut self) -> Result<bool> {
        match self.document.peek()? {
            Peek::String => Ok(self.document.known_string()?.is_empty()),
            peek @ (Peek::True | Peek::False) => Ok(!self.document.known_bool(peek)?),
            peek if peek.is_num() => Ok(self.document.number(peek)? == "0"),
            other => {
                Err(Error::bad(format!("a parameter must be a string, number or bool, got {}", kind(other))))
            }
        }
    }
}
