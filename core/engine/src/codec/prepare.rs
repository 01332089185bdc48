//! A request held against a model's signature: every name, datatype, shape and
//! size is checked here, before anything is queued.

use super::{InferRequest, InputTensor, Payload, bytes_tensor, protobuf, typed};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Shape, Signature, TensorSpec, byte_size, elements, show, shown};
use bytes::Bytes;

/// One input as the model runs it: raw little-endian, row-major elements;
/// BYTES elements are length-prefixed and valid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTensor {
    pub shape: Shape,
    pub data: Bytes,
}

/// A request that fits its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// In the order of the signature; `None` where an optional input was left out.
    pub inputs: Vec<Option<PreparedTensor>>,
    /// The outputs to answer with: their index in the signature, and whether
    /// they go into an HTTP answer's binary part.
    pub outputs: Vec<(usize, bool)>,
    /// Bytes of all inputs together.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_string_elements: usize,
    /// Whether axis 0 of every input is rows.
    pub batched: bool,
}

/// Payloads over this many bytes are converted or walked off the I/O threads.
const MUCH: usize = 64 * 1024;

/// Whether [`prepare`] converts or walks more than 64 KiB for this request.
pub fn costs_much(request: &InferRequest) -> bool {
    let bytes: usize = request.inputs.iter().map(walked).sum();
    bytes > MUCH
}

/// Bytes of an input that [`prepare`] has to look at one by one.
fn walked(input: &InputTensor) -> usize {
    match &input.payload {
        Payload::Typed(parts) => parts.iter().map(Bytes::len).sum(),
        Payload::Raw(data) if input.datatype == Datatype::Bytes.name() => data.len(),
        Payload::Raw(_) | Payload::Json { .. } | Payload::Missing => 0,
    }
}

/// Holds `request` against `signature`. The payloads are taken out of it; the
/// rest stays for the answer and the log.
///
/// # Errors
/// `BadRequest` naming the tensor, what was expected and what came: unknown,
/// duplicate and missing inputs, unknown and duplicate outputs (fault 53),
/// datatypes (54), shapes, overflows and byte sizes (50-52), string elements
/// (55, 56), and BOOL bytes other than 0 and 1 (57; nothing is normalised,
/// because that would copy the tensor).
pub fn prepare(request: &mut InferRequest, signature: &Signature, limits: &Limits) -> Result<Prepared> {
    let places = places(request, signature)?;
    let outputs = outputs(request, signature)?;
    let mut inputs: Vec<Option<PreparedTensor>> = vec![None; signature.inputs.len()];
    let mut bytes = 0;
    for (input, &place) in request.inputs.iter_mut().zip(&places) {
        let prepared = tensor(&request.model, input, &signature.inputs[place], limits)?;
        bytes += prepared.data.len();
        inputs[place] = Some(prepared);
    }
    if limits.batched {
        check_rows(&request.model, signature, &inputs)?;
    }
    Ok(Prepared { inputs, outputs, bytes })
}

/// For each input of the request, its index in the signature.
fn places(request: &InferRequest, signature: &Signature) -> Result<Vec<usize>> {
    let mut seen = vec![false; signature.inputs.len()];
    let mut places = Vec::with_capacity(request.inputs.len().min(seen.len()));
    for input in &request.inputs {
        let (place, _) =
            signature.input(&input.name).ok_or_else(|| unexpected("input", &input.name, request))?;
        if std::mem::replace(&mut seen[place], true) {
            return Err(duplicate("input", &input.name));
        }
        places.push(place);
    }
    let missing: Vec<&str> = signature
        .inputs
        .iter()
        .zip(&seen)
        .filter(|(spec, seen)| !**seen && !spec.optional)
        .map(|(spec, _)| &*spec.name)
        .collect();
    if missing.is_empty() { Ok(places) } else { Err(missing_inputs(request, signature, &missing)) }
}

fn unexpected(kind: &str, name: &str, request: &InferRequest) -> Error {
    Error::bad(format!("unexpected inference {kind} '{}' for model '{}'", shown(name), shown(&request.model)))
}

fn duplicate(kind: &str, name: &str) -> Error {
    Error::bad(format!("{kind} '{}' already exists in request", shown(name)))
}

fn missing_inputs(request: &InferRequest, signature: &Signature, missing: &[&str]) -> Error {
    let all = signature.inputs.len();
    let required = signature.inputs.iter().filter(|spec| !spec.optional).count();
    let expected = match required == all {
        true => format!("expected {all} inputs but got {} inputs", request.inputs.len()),
        false => {
            format!(
                "expected number of inputs between {required} and {all} but got {} inputs",
                request.inputs.len()
            )
        }
    };
    let got = names(request.inputs.iter().map(|input| input.name.as_str()));
    Error::bad(format!(
        "{expected} for model '{}'. Got input(s) [{got}], but missing required input(s) [{}]. \
         Please provide all required input(s).",
        shown(&request.model),
        names(missing.iter().copied())
    ))
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("'{}'", shown(name))).collect::<Vec<_>>().join(",")
}

/// The outputs asked for, all of them when none is named.
fn outputs(request: &InferRequest, signature: &Signature) -> Result<Vec<(usize, bool)>> {
    if request.outputs.is_empty() {
        return Ok((0..signature.outputs.len()).map(|place| (place, request.binary_output)).collect());
    }
    let mut seen = vec![false; signature.outputs.len()];
    let mut outputs = Vec::with_capacity(request.outputs.len().min(seen.len()));
    for output in &request.outputs {
        let (place, _) =
            signature.output(&output.name).ok_or_else(|| unexpected("output", &output.name, request))?;
        if std::mem::replace(&mut seen[place], true) {
            return Err(duplicate("output", &output.name));
        }
        outputs.push((place, output.binary.unwrap_or(request.binary_output)));
    }
    Ok(outputs)
}

/// One input against its declaration; takes the payload.
fn tensor(
    model: &str,
    input: &mut InputTensor,
    spec: &TensorSpec,
    limits: &Limits,
) -> Result<PreparedTensor> {
    check_datatype(model, input, spec)?;
    let shape = fitting_shape(model, input, spec)?;
    let expected = elements(&spec.name, &shape)?;
    let payload = std::mem::replace(&mut input.payload, Payload::Missing);
    let size = byte_size(&spec.name, spec.datatype, &shape)?;
    if size.is_none() {
        bytes_tensor::check_count(&spec.name, expected, limits.max_string_elements)?;
    }
    let data = match payload {
        Payload::Raw(data) => {
            check_raw(model, spec, &data, size, expected, limits)?;
            data
        }
        Payload::Typed(parts) => {
            let data = typed::typed_to_raw(&spec.name, model, spec.datatype, &parts, expected)?;
            if size.is_none() {
                bytes_tensor::check(&spec.name, &data, expected, limits.max_string_elements)?;
            }
            data
        }
        Payload::Json { data, count } if count == expected => data,
        Payload::Json { count, .. } => return Err(wrong_count(model, spec, &shape, expected, count)),
        // An empty tensor has no data to bring.
        Payload::Missing if expected == 0 => Bytes::new(),
        Payload::Missing => return Err(protobuf::no_data(&spec.name, model)),
    };
    Ok(PreparedTensor { shape, data })
}

fn check_datatype(model: &str, input: &InputTensor, spec: &TensorSpec) -> Result<()> {
    if input.datatype == spec.datatype.name() {
        return Ok(());
    }
    let (name, model, got) = (&spec.name, shown(model), shown(&input.datatype));
    Err(Error::bad(match Datatype::from_name(&input.datatype) {
        Some(_) => {
            format!(
                "inference input '{name}' data-type is '{got}', but model '{model}' expects '{}'",
                spec.datatype
            )
        }
        None => format!(
            "inference input '{name}' data-type is '{got}', which is not a known datatype; model '{model}' expects '{}'",
            spec.datatype
        ),
    }))
}

/// The shape the model is given: as sent, but a scalar sent as `[1]` becomes `[]`.
fn fitting_shape(model: &str, input: &mut InputTensor, spec: &TensorSpec) -> Result<Shape> {
    if spec.shape.is_empty() && input.shape.as_slice() == [1] {
        return Ok(Shape::new());
    }
    // Negative dimensions, too many of them, and overflow have their own texts.
    elements(&spec.name, &input.shape)?;
    if spec.fits(&input.shape) {
        return Ok(std::mem::take(&mut input.shape));
    }
    Err(Error::bad(format!(
        "unexpected shape for input '{}' for model '{}'. Expected {}, got {}. ",
        spec.name,
        shown(model),
        show(&spec.shape),
        show(&input.shape)
    )))
}

fn check_raw(
    model: &str,
    spec: &TensorSpec,
    data: &[u8],
    size: Option<usize>,
    expected: usize,
    limits: &Limits,
) -> Result<()> {
    match size {
        None => bytes_tensor::check(&spec.name, data, expected, limits.max_string_elements),
        Some(size) if size != data.len() => Err(Error::bad(format!(
            "input byte size mismatch for input '{}' for model '{}'. Expected {size}, got {}",
            spec.name,
            shown(model),
            data.len()
        ))),
        Some(_) if spec.datatype == Datatype::Bool => check_bools(spec, data),
        Some(_) => Ok(()),
    }
}

/// Every byte 0 or 1: the OR of a stretch is at most 1 exactly then, and a
/// stretch folds in vector registers.
fn check_bools(spec: &TensorSpec, data: &[u8]) -> Result<()> {
    if data.chunks(4096).all(|stretch| stretch.iter().fold(0, |or, byte| or | byte) <= 1) {
        return Ok(());
    }
    let (index, byte) = data.iter().enumerate().find(|(_, byte)| **byte > 1).unwrap_or((0, &0));
    Err(Error::bad(format!(
        "element {index} of BOOL input '{}' is {byte}, only the bytes 0 and 1 are accepted",
        spec.name
    )))
}

fn wrong_count(model: &str, spec: &TensorSpec, shape: &[i64], expected: usize, got: usize) -> Error {
    Error::bad(format!(
        "unexpected number of elements in 'data' of input '{}' for model '{}': shape {} expects {expected}, got {got}",
        spec.name,
        shown(model),
        show(shape)
    ))
}

/// Axis 0 is rows: all inputs must have as many.
fn check_rows(model: &str, signature: &Signature, inputs: &[Option<PreparedTensor>]) -> Result<()> {
    let mut rows = None;
    for (spec, input) in signature.inputs.iter().zip(inputs) {
        let Some(&first) = input.as_ref().and_then(|input| input.shape.first()) else { continue };
        if *rows.get_or_insert(first) != first {
            return Err(Error::bad(format!(
                "input '{}' batch size does not match other inputs for '{}'",
                spec.name,
                shown(model)
            )));
        }
    }
    Ok(())
}
