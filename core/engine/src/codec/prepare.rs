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

/// Holds `request` against `signature`. Raw payloads are shared, not copied.
///
/// # Errors
/// `BadRequest` naming the tensor, what was expected and what came: unknown,
/// duplicate and missing inputs, unknown and duplicate outputs (fault 53),
/// datatypes (54), shapes, overflows and byte sizes (50-52), string elements
/// (55, 56), and BOOL bytes other than 0 and 1 (57; nothing is normalised,
/// because that would copy the tensor).
pub fn prepare(request: &InferRequest, signature: &Signature, limits: &Limits) -> Result<Prepared> {
    let places = places(request, signature)?;
    let outputs = outputs(request, signature)?;
    let mut inputs: Vec<Option<PreparedTensor>> = vec![None; signature.inputs.len()];
    let mut bytes = 0;
    for (input, &place) in request.inputs.iter().zip(&places) {
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

/// One input against its declaration.
fn tensor(model: &str, input: &InputTensor, spec: &TensorSpec, limits: &Limits) -> Result<PreparedTensor> {
    check_datatype(model, input, spec)?;
    let shape = fitting_shape(model, input, spec)?;
    let expected = elements(&spec.name, &shape)?;
    let size = byte_size(&spec.name, spec.datatype, &shape)?;
    if size.is_none() {
        bytes_tensor::check_count(&spec.name, expected, limits.max_string_elements)?;
    }
    let data = match &input.payload {
        Payload::Raw(data) => {
            check_raw(model, spec, data, size, expected, limits)?;
            data.clone()
        }
        Payload::Typed(parts) => {
            let data = typed::typed_to_raw(&spec.name, model, spec.datatype, parts, expected)?;
            if size.is_none() {
                bytes_tensor::check(&spec.name, &data, expected, limits.max_string_elements)?;
            }
            data
        }
        Payload::Json { data, count } if *count == expected => data.clone(),
        Payload::Json { count, .. } => return Err(wrong_count(model, spec, &shape, expected, *count)),
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
fn fitting_shape(model: &str, input: &InputTensor, spec: &TensorSpec) -> Result<Shape> {
    if spec.shape.is_empty() && input.shape.as_slice() == [1] {
        return Ok(Shape::new());
    }
    // Negative dimensions, too many of them, and overflow have their own texts.
    elements(&spec.name, &input.shape)?;
    if spec.fits(&input.shape) {
        return Ok(input.shape.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::RequestedOutput;
    use crate::error::Word;

    const LIMITS: Limits = Limits { max_string_elements: 100, batched: false };
    const ROWS: Limits = Limits { batched: true, ..LIMITS };

    fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
        TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), optional: false }
    }

    fn model(inputs: &[(&str, Datatype, &[i64])]) -> Signature {
        Signature {
            inputs: inputs.iter().map(|(name, datatype, shape)| spec(name, *datatype, shape)).collect(),
            outputs: vec![spec("y", Datatype::Fp32, &[-1]), spec("z", Datatype::Fp32, &[-1])],
        }
    }

    fn raw(name: &str, datatype: &str, shape: &[i64], data: &[u8]) -> InputTensor {
        let payload = Payload::Raw(Bytes::copy_from_slice(data));
        InputTensor { name: name.into(), datatype: datatype.into(), shape: shape.into(), payload }
    }

    fn request(inputs: Vec<InputTensor>) -> InferRequest {
        InferRequest { model: "m".into(), inputs, ..Default::default() }
    }

    fn refusal(inputs: Vec<InputTensor>, signature: &Signature, limits: &Limits) -> String {
        let error = prepare(&request(inputs), signature, limits).unwrap_err();
        assert_eq!(error.word, Word::BadRequest);
        error.message
    }

    fn xy() -> Signature {
        model(&[("a", Datatype::Fp32, &[-1, 2]), ("b", Datatype::Int8, &[-1])])
    }

    #[test]
    fn inputs_come_out_in_the_order_of_the_signature() {
        let sent = request(vec![raw("b", "INT8", &[3], &[1, 2, 3]), raw("a", "FP32", &[1, 2], &[0; 8])]);
        let prepared = prepare(&sent, &xy(), &LIMITS).unwrap();
        assert_eq!(prepared.bytes, 11);
        assert_eq!(prepared.inputs[0].as_ref().unwrap().shape.as_slice(), [1, 2]);
        assert_eq!(prepared.inputs[1].as_ref().unwrap().data, [1, 2, 3][..]);
        assert_eq!(prepared.outputs, [(0, false), (1, false)]);
    }

    #[test]
    fn fault_53_unknown_duplicate_and_missing_inputs_are_named() {
        let a = || raw("a", "FP32", &[1, 2], &[0; 8]);
        let b = || raw("b", "INT8", &[1], &[0]);
        let c = raw("c", "INT8", &[1], &[0]);
        assert_eq!(
            refusal(vec![a(), b(), c], &xy(), &LIMITS),
            "unexpected inference input 'c' for model 'm'"
        );
        assert_eq!(refusal(vec![a(), b(), a()], &xy(), &LIMITS), "input 'a' already exists in request");
        assert_eq!(
            refusal(vec![a()], &xy(), &LIMITS),
            "expected 2 inputs but got 1 inputs for model 'm'. Got input(s) ['a'], but missing required input(s) ['b']. \
             Please provide all required input(s)."
        );
    }

    #[test]
    fn optional_inputs_may_be_absent_and_required_ones_may_not() {
        let mut signature = xy();
        signature.inputs[1].optional = true;
        let sent = request(vec![raw("a", "FP32", &[1, 2], &[0; 8])]);
        let prepared = prepare(&sent, &signature, &LIMITS).unwrap();
        assert!(prepared.inputs[0].is_some() && prepared.inputs[1].is_none());
        let text = refusal(vec![], &signature, &LIMITS);
        assert!(text.starts_with("expected number of inputs between 1 and 2 but got 0 inputs"), "{text}");
    }

    fn asked(outputs: &[(&str, Option<bool>)], binary_output: bool) -> Result<Vec<(usize, bool)>> {
        let mut sent = request(vec![raw("x", "INT8", &[1], &[0])]);
        sent.binary_output = binary_output;
        sent.outputs = outputs
            .iter()
            .map(|(name, binary)| RequestedOutput { name: (*name).into(), binary: *binary })
            .collect();
        Ok(prepare(&sent, &model(&[("x", Datatype::Int8, &[1])]), &LIMITS)?.outputs)
    }

    #[test]
    fn fault_53_unknown_and_duplicate_outputs_are_named() {
        assert_eq!(
            asked(&[("q", None)], false).unwrap_err().message,
            "unexpected inference output 'q' for model 'm'"
        );
        let twice = asked(&[("y", None), ("y", None)], false).unwrap_err();
        assert_eq!(twice.message, "output 'y' already exists in request");
    }

    #[test]
    fn an_outputs_own_binary_flag_overrides_the_requests() {
        assert_eq!(asked(&[], true).unwrap(), [(0, true), (1, true)]);
        assert_eq!(asked(&[("z", None), ("y", Some(false))], true).unwrap(), [(1, true), (0, false)]);
        assert_eq!(asked(&[("z", Some(true))], false).unwrap(), [(1, true)]);
    }

    #[test]
    fn fault_54_datatypes_must_match() {
        let signature = model(&[("x", Datatype::Fp32, &[1])]);
        assert_eq!(
            refusal(vec![raw("x", "INT32", &[1], &[0; 4])], &signature, &LIMITS),
            "inference input 'x' data-type is 'INT32', but model 'm' expects 'FP32'"
        );
        let text = refusal(vec![raw("x", "FLOAT", &[1], &[0; 4])], &signature, &LIMITS);
        assert!(text.contains("'FLOAT', which is not a known datatype"), "{text}");
    }

    #[test]
    fn shapes_must_fit() {
        let signature = model(&[("x", Datatype::Fp32, &[-1, 16])]);
        assert_eq!(
            refusal(vec![raw("x", "FP32", &[1, 15], &[0; 60])], &signature, &LIMITS),
            "unexpected shape for input 'x' for model 'm'. Expected [-1,16], got [1,15]. "
        );
        assert!(refusal(vec![raw("x", "FP32", &[16], &[0; 64])], &signature, &LIMITS).contains("got [16]"));
    }

    #[test]
    fn faults_50_and_51_hostile_shapes_are_refused_before_memory_is_taken() {
        let signature = model(&[("x", Datatype::Fp64, &[-1, -1])]);
        for shape in [
            &[i64::MAX, 2][..],
            &[1 << 32, 1 << 32],
            &[i64::MAX / 8, 1],
            &[-1, 2],
            &[i64::MIN, 1],
            &[0, i64::MAX, i64::MAX],
        ] {
            for payload in [
                Payload::Raw(Bytes::new()),
                Payload::Typed(vec![Bytes::new()]),
                Payload::Json { data: Bytes::new(), count: 0 },
            ] {
                let mut input = raw("x", "FP64", shape, &[]);
                input.payload = payload;
                refusal(vec![input], &signature, &LIMITS);
            }
        }
        refusal(vec![raw("x", "FP64", &[1; 65], &[0; 8])], &signature, &LIMITS);
    }

    #[test]
    fn a_scalar_may_be_sent_as_one_element() {
        let signature = model(&[("x", Datatype::Int8, &[])]);
        for shape in [&[][..], &[1]] {
            let sent = request(vec![raw("x", "INT8", shape, &[5])]);
            let prepared = prepare(&sent, &signature, &LIMITS).unwrap();
            assert!(prepared.inputs[0].as_ref().unwrap().shape.is_empty());
        }
        assert!(
            refusal(vec![raw("x", "INT8", &[1, 1], &[5])], &signature, &LIMITS)
                .contains("Expected [], got [1,1]")
        );
    }

    #[test]
    fn fault_52_byte_sizes_must_match() {
        let signature = model(&[("x", Datatype::Fp32, &[-1])]);
        assert_eq!(
            refusal(vec![raw("x", "FP32", &[16], &[0; 60])], &signature, &LIMITS),
            "input byte size mismatch for input 'x' for model 'm'. Expected 64, got 60"
        );
    }

    #[test]
    fn empty_tensors_are_legal_and_need_no_data() {
        let signature = model(&[("x", Datatype::Fp32, &[-1, 4])]);
        for payload in [
            Payload::Missing,
            Payload::Raw(Bytes::new()),
            Payload::Typed(vec![Bytes::new()]),
            Payload::Json { data: Bytes::new(), count: 0 },
        ] {
            let mut input = raw("x", "FP32", &[0, 4], &[]);
            input.payload = payload;
            let prepared = prepare(&request(vec![input]), &signature, &LIMITS).unwrap();
            assert!(prepared.inputs[0].as_ref().unwrap().data.is_empty());
        }
        let mut input = raw("x", "FP32", &[1, 4], &[]);
        input.payload = Payload::Missing;
        assert_eq!(
            refusal(vec![input], &signature, &LIMITS),
            "unable to find data for input tensor 'x' for model 'm' in request."
        );
    }

    #[test]
    fn fault_60_a_json_count_that_is_not_the_shapes_is_refused() {
        let signature = model(&[("x", Datatype::Int8, &[-1])]);
        let mut input = raw("x", "INT8", &[3], &[]);
        input.payload = Payload::Json { data: Bytes::from_static(&[1, 2]), count: 2 };
        assert!(refusal(vec![input], &signature, &LIMITS).ends_with("shape [3] expects 3, got 2"));
    }

    #[test]
    fn faults_55_and_56_strings_are_walked_whatever_door_they_came_by() {
        let signature = model(&[("x", Datatype::Bytes, &[-1])]);
        let cut = raw("x", "BYTES", &[1], &[9, 0, 0, 0, b'a']);
        assert!(refusal(vec![cut], &signature, &LIMITS).contains("expected 1 string elements, got 0"));
        let mut typed = raw("x", "BYTES", &[1], &[]);
        typed.payload = Payload::Typed(vec![Bytes::from_static(b"\x42\x01\xff")]);
        assert!(refusal(vec![typed], &signature, &LIMITS).contains("not valid UTF-8"));
        let many = raw("x", "BYTES", &[101], &[0; 404]);
        assert!(refusal(vec![many], &signature, &LIMITS).contains("at most 100 are accepted"));
        let mut typed = raw("x", "BYTES", &[2], &[]);
        typed.payload = Payload::Typed(vec![Bytes::from_static(b"\x42\x01a\x42\x00")]);
        let prepared = prepare(&request(vec![typed]), &signature, &LIMITS).unwrap();
        assert_eq!(prepared.inputs[0].as_ref().unwrap().data, b"\x01\0\0\0a\0\0\0\0"[..]);
    }

    #[test]
    fn fault_57_bool_bytes_are_zero_or_one() {
        let signature = model(&[("x", Datatype::Bool, &[-1])]);
        for bad in [2, 3, 128, 255] {
            let mut data = vec![1; 5000];
            data[4321] = bad;
            let text = refusal(vec![raw("x", "BOOL", &[5000], &data)], &signature, &LIMITS);
            assert!(text.starts_with(&format!("element 4321 of BOOL input 'x' is {bad}")), "{text}");
        }
        prepare(&request(vec![raw("x", "BOOL", &[3], &[0, 1, 1])]), &signature, &LIMITS).unwrap();
    }

    #[test]
    fn rows_must_be_as_many_in_every_input_when_batched() {
        let inputs = || vec![raw("a", "FP32", &[1, 2], &[0; 8]), raw("b", "INT8", &[3], &[0; 3])];
        prepare(&request(inputs()), &xy(), &LIMITS).unwrap();
        assert_eq!(
            refusal(inputs(), &xy(), &ROWS),
            "input 'b' batch size does not match other inputs for 'm'"
        );
    }

    #[test]
    fn large_conversions_cost_much_and_plain_bytes_do_not() {
        let big = vec![0u8; MUCH + 1];
        assert!(!costs_much(&request(vec![raw("x", "FP32", &[1], &big)])));
        assert!(costs_much(&request(vec![raw("x", "BYTES", &[1], &big)])));
        let mut typed = raw("x", "FP32", &[1], &[]);
        typed.payload = Payload::Typed(vec![big[..40_000].to_vec().into(); 2]);
        assert!(costs_much(&request(vec![typed])));
    }
}
