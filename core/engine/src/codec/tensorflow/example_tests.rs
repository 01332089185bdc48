use super::oracle::{
    BytesList, Class, ClassificationResponse as Classified, Example, ExampleList, ExamplesRequest, Feature,
    FeatureEntry, FeatureKind, Features, FloatList, InferenceTask, Input, InputKind, Int64List, Int64Value,
    ModelSpec, MultiInferenceRequest, MultiInferenceResponse as Several, RegressionResponse as Regressed,
    ResultKind, VersionChoice,
};
use super::*;
use crate::admission::Budget;
use crate::codec::answer::{Form, Reply};
use crate::codec::bytes_tensor::{elements, push};
use crate::codec::compression::Encoding;
use crate::codec::frame::FRAME;
use crate::codec::prepare::{Limits, Prepared, check_filled, converted_bytes, prepare};
use crate::codec::{AnswerHead, InferRequest, OutputTensor};
use crate::error::{ErrorCode, Result};
use crate::stop::NEVER;
use crate::tensor::labels::Labels;
use crate::tensor::named::{Asked, Gives, NamedSignature};
use crate::tensor::{Datatype, Shape, Signature, TensorSpec};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMITS: Limits<'_> = Limits { max_string_elements: 100, stop: &NEVER };

fn floats(value: &[f32]) -> FeatureKind {
    FeatureKind::Float(FloatList { value: value.to_vec() })
}

fn ints(value: &[i64]) -> FeatureKind {
    FeatureKind::Int64(Int64List { value: value.to_vec() })
}

fn texts(value: &[&[u8]]) -> FeatureKind {
    FeatureKind::Bytes(BytesList { value: value.iter().map(|text| Bytes::copy_from_slice(text)).collect() })
}

fn example(features: &[(&str, FeatureKind)]) -> Example {
    let entry = |(key, kind): &(&str, FeatureKind)| FeatureEntry {
        key: (*key).into(),
        value: Some(Feature { kind: Some(kind.clone()) }),
    };
    Example { features: Some(Features { feature: features.iter().map(entry).collect() }) }
}

fn input(examples: Vec<Example>, context: Option<Example>) -> Option<Input> {
    let with_context = context.is_some();
    let list = ExampleList { examples, context };
    let kind = if with_context { InputKind::WithContext(list) } else { InputKind::List(list) };
    Some(Input { kind: Some(kind) })
}

fn spec(name: &str, signature_name: &str) -> Option<ModelSpec> {
    Some(ModelSpec { name: name.into(), signature_name: signature_name.into(), ..Default::default() })
}

fn request(examples: Vec<Example>, context: Option<Example>) -> ExamplesRequest {
    ExamplesRequest { model_spec: spec("m", "c"), input: input(examples, context) }
}

fn tensor(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
        optional: false,
        described: None,
        labels: None,
    }
}

/// Classified by `c`, regressed by `r`, both from all inputs.
fn model(inputs: Vec<TensorSpec>) -> Signature {
    let all: Vec<_> = (0..inputs.len()).collect();
    let named =
        |name: &str, gives| Arc::new(NamedSignature { name: name.into(), inputs: all.clone(), gives });
    Signature {
        named: vec![
            named("c", Gives::Classes { classes: None, scores: Some("s".into()), labels: None }),
            named("r", Gives::Value("v".into())),
        ],
        inputs,
        outputs: vec![tensor("s", Datatype::Fp32, &[-1, 3]), tensor("v", Datatype::Fp32, &[-1, 1])],
        left_out: vec![],
        ..Signature::default()
    }
}

fn decoded(request: &impl Message) -> Result<InferRequest> {
    decode_classify(&NEVER, request.encode_to_vec().into())
}

fn prepared(request: &impl Message, signature: &Signature) -> Result<Prepared> {
    let decoded = decoded(request)?;
    let prepared = prepare(&decoded, signature, &LIMITS)?;
    assert!(prepared.bytes <= converted_bytes(&decoded), "what it takes is known before");
    Ok(prepared)
}

/// Shape and elements of the only input, of examples with these features.
fn row(datatype: Datatype, shape: &[i64], features: Vec<FeatureKind>) -> Result<(Vec<i64>, Bytes)> {
    let examples = features.into_iter().map(|one| example(&[("x", one), ("other", ints(&[1]))])).collect();
    let found = prepared(&request(examples, None), &model(vec![tensor("x", datatype, shape)]))?;
    let tensor = found.inputs.into_iter().next().flatten().unwrap();
    Ok((tensor.shape.to_vec(), tensor.data.here()?))
}

fn refused(datatype: Datatype, shape: &[i64], features: Vec<FeatureKind>) -> String {
    let error = row(datatype, shape, features).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    error.message
}

fn le<const N: usize>(elements: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    elements.into_iter().flatten().collect()
}

#[test]
fn each_example_gives_a_row_in_the_inputs_own_type() {
    let two = |a: FeatureKind, b: FeatureKind| vec![a, b];
    let i = |value: i64| ints(&[value]);
    for (datatype, a, b, expected) in [
        (Datatype::Fp32, floats(&[1.5]), floats(&[-2.0]), le([1.5f32, -2.0].map(f32::to_le_bytes))),
        (Datatype::Fp64, floats(&[1.5]), floats(&[0.1]), le([1.5, f64::from(0.1f32)].map(f64::to_le_bytes))),
        // Whole numbers in JSON have no other form.
        (Datatype::Fp32, i(1), i(-16_777_216), le([1.0f32, -16_777_216.0].map(f32::to_le_bytes))),
        (
            Datatype::Fp64,
            i(1 << 53),
            i(i64::MIN),
            le([(1i64 << 53) as f64, i64::MIN as f64].map(f64::to_le_bytes)),
        ),
        (Datatype::Int64, i(i64::MAX), i(i64::MIN), le([i64::MAX, i64::MIN].map(i64::to_le_bytes))),
        (Datatype::Uint64, i(0), i(i64::MAX), le([0, i64::MAX as u64].map(u64::to_le_bytes))),
        (
            Datatype::Int32,
            i(i32::MAX.into()),
            i(i32::MIN.into()),
            le([i32::MAX, i32::MIN].map(i32::to_le_bytes)),
        ),
        (Datatype::Uint32, i(u32::MAX.into()), i(0), le([u32::MAX, 0].map(u32::to_le_bytes))),
        (Datatype::Int16, i(-3), i(3), le([-3i16, 3].map(i16::to_le_bytes))),
        (Datatype::Uint16, i(65_535), i(3), le([65_535u16, 3].map(u16::to_le_bytes))),
        (Datatype::Int8, i(-128), i(127), le([-128i8, 127].map(i8::to_le_bytes))),
        (Datatype::Uint8, i(255), i(0), vec![255, 0]),
        (Datatype::Bool, i(1), i(0), vec![1, 0]),
    ] {
        assert_eq!(row(datatype, &[-1, 1], two(a, b)).unwrap(), (vec![2, 1], expected.into()), "{datatype}");
    }
    let mut packed = Vec::new();
    ["é", ""].iter().for_each(|text| push(&mut packed, text.as_bytes()));
    let found = row(Datatype::Bytes, &[-1], two(texts(&["é".as_bytes()]), texts(&[b""])));
    assert_eq!(found.unwrap(), (vec![2], packed.into()));
}

#[test]
fn a_dimension_that_varies_is_as_long_as_the_feature() {
    let found = row(Datatype::Int64, &[-1, 2, -1], vec![ints(&[1, 2, 3, 4, 5, 6]); 2]).unwrap();
    assert_eq!(found.0, [2, 2, 3]);
    assert_eq!(row(Datatype::Fp32, &[-1, -1], vec![floats(&[])]).unwrap().0, [1, 0]);
    assert!(refused(Datatype::Int64, &[-1, 2, -1], vec![ints(&[1, 2, 3])]).contains("output shape: [2,-1]"));
    let text = refused(Datatype::Fp32, &[-1, -1], vec![floats(&[1.0, 2.0]), floats(&[1.0])]);
    assert_eq!(
        text,
        "Key: x, Index: 1.  Number of float values != expected.  Values size: 1 but output shape: [2]"
    );
}

#[test]
fn fault_58_what_a_type_cannot_hold_is_refused_and_never_cut() {
    for (datatype, value) in [
        (Datatype::Uint8, 256),
        (Datatype::Int8, -129),
        (Datatype::Uint16, -1),
        (Datatype::Int16, 32_768),
        (Datatype::Int32, 1 << 31),
        (Datatype::Uint32, -1),
        (Datatype::Uint64, -1),
        (Datatype::Bool, 2),
        (Datatype::Fp32, 16_777_217),
        (Datatype::Fp32, i64::MAX),
        (Datatype::Fp64, i64::MAX),
    ] {
        let text = refused(datatype, &[-1], vec![ints(&[value])]);
        assert!(text.starts_with(&format!("Key: x, Index: 0.  The value {value} is out of range")), "{text}");
    }
}

#[test]
fn features_that_do_not_fit_are_told_in_the_originals_words() {
    for (datatype, shape, features, expected) in [
        (
            Datatype::Fp32,
            &[-1, 2][..],
            vec![texts(&[b"a"])],
            "Key: x, Index: 0.  Data types don't match. Data type: string but expected type: float",
        ),
        (
            Datatype::Bytes,
            &[-1],
            vec![texts(&[b"a"]), ints(&[1])],
            "Key: x, Index: 1.  Data types don't match. Data type: int64 but expected type: string",
        ),
        (
            Datatype::Int32,
            &[-1],
            vec![floats(&[1.0])],
            "Key: x, Index: 0.  Data types don't match. Data type: float but expected type: int32",
        ),
        (
            Datatype::Fp32,
            &[-1, 2],
            vec![floats(&[1.0; 3])],
            "Key: x, Index: 0.  Number of float values != expected.  Values size: 3 but output shape: [2]",
        ),
        (
            Datatype::Int64,
            &[-1],
            vec![ints(&[])],
            "Key: x, Index: 0.  Number of int64 values != expected.  Values size: 0 but output shape: []",
        ),
    ] {
        assert_eq!(refused(datatype, shape, features), expected);
    }
    assert!(refused(Datatype::Bytes, &[-1], vec![texts(&[b"\xff"])]).contains("not valid UTF-8"));
    assert!(
        refused(Datatype::Bytes, &[-1, -1], vec![texts(&[&b"a"[..]; 101])])
            .contains("at most 100 are accepted")
    );
    let lacks = request(vec![example(&[("x", floats(&[1.0]))]), example(&[])], None);
    let error = prepared(&lacks, &model(vec![tensor("x", Datatype::Fp32, &[-1])])).unwrap_err();
    assert_eq!(error.message, "Index: 1.  Feature: x (data type: float) is required but could not be found.");
    let error = prepared(&request(vec![], None), &model(vec![])).unwrap_err();
    assert_eq!((error.code, &*error.message), (ErrorCode::BadRequest, "Input is empty."));
}

#[test]
fn an_input_with_a_default_is_there_for_all_examples_or_for_none() {
    let mut signature = model(vec![tensor("x", Datatype::Fp32, &[-1]), tensor("k", Datatype::Int64, &[-1])]);
    signature.inputs[1].optional = true;
    let with = |k: bool| match k {
        true => example(&[("x", floats(&[1.0])), ("k", ints(&[5]))]),
        false => example(&[("x", floats(&[1.0]))]),
    };
    let found = |ks: &[bool]| prepared(&request(ks.iter().map(|&k| with(k)).collect(), None), &signature);
    assert!(found(&[false, false]).unwrap().inputs[1].is_none());
    assert_eq!(found(&[true, true]).unwrap().inputs[1].as_ref().unwrap().data.len(), 16);
    for mixed in [[true, false], [false, true]] {
        assert!(found(&mixed).unwrap_err().message.contains("Feature: k"));
    }
}

#[test]
fn a_context_is_part_of_each_example() {
    let signature = model(vec![tensor("x", Datatype::Fp32, &[-1]), tensor("k", Datatype::Int64, &[-1, 2])]);
    let all = vec![example(&[("x", floats(&[1.0]))]); 3];
    let context = Some(example(&[("k", ints(&[7, 8])), ("unused", ints(&[1]))]));
    let found = prepared(&request(all.clone(), context), &signature).unwrap();
    assert_eq!(
        found.inputs[1].as_ref().unwrap().data.here().unwrap(),
        le([7i64, 8, 7, 8, 7, 8].map(i64::to_le_bytes))
    );
    let both = Some(example(&[("k", ints(&[7, 8])), ("x", floats(&[1.0]))]));
    let error = prepared(&request(all, both), &signature).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadRequest);
    assert_eq!(error.message, "Key: x, Index: 0.  The feature stands in the example and in its context");
}

#[test]
fn fault_102_a_context_is_read_once_whatever_its_lists_are_made_of() {
    // Unknown fields, and packed chunks of nothing: they make no value, and so count for no memory.
    for (junk, name) in [(&[0x10, 0][..], "unknown fields"), (&[0x0a, 0][..], "empty chunks")] {
        let list = [&[0x0a, 1, 7][..], &junk.repeat(15_000)].concat();
        let feature = field(3, &list);
        let entry = [field(1, b"x"), field(2, &feature)].concat();
        let context = field(1, &field(1, &entry));
        let many = [field(1, b"").repeat(15_000), field(2, &context)].concat();
        let message =
            [field(1, &spec("m", "c").unwrap().encode_to_vec()), field(2, &field(2, &many))].concat();
        assert!(message.len() < crate::codec::prepare::MUCH, "it is read on an I/O thread");
        let began = Instant::now();
        let sent = decode_classify(&NEVER, message.into()).unwrap();
        let signature = model(vec![tensor("x", Datatype::Int64, &[-1])]);
        let found = prepare(&sent, &signature, &LIMITS).unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "{name}: {:?}", began.elapsed());
        let tensor = found.inputs[0].as_ref().unwrap();
        assert_eq!((&*tensor.shape, tensor.data.len()), (&[15_000][..], 15_000 * 8));
    }
}

/// A field that holds bytes, on the wire.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::bytes::encode(number, &bytes.to_vec(), &mut out);
    out
}

#[test]
fn fault_110_texts_of_a_context_count_for_each_example() {
    let signature = model(vec![tensor("x", Datatype::Bytes, &[-1])]);
    let ask = |count| {
        let context = Some(example(&[("x", texts(&[b"ab"]))]));
        prepared(&request(vec![Example::default(); count], context), &signature)
    };
    let found = ask(100).unwrap();
    let mut expected = Vec::new();
    (0..100).for_each(|_| push(&mut expected, b"ab"));
    assert_eq!(found.inputs[0].as_ref().unwrap().data.here().unwrap(), expected);
    assert!(ask(101).unwrap_err().message.contains("101 string elements, at most 100"));
}

#[test]
fn fault_102_the_features_of_a_context_are_bounded() {
    let ask = |count: usize| {
        let names: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        let all: Vec<_> = names.iter().map(|name| (&**name, ints(&[]))).collect();
        decoded(&request(vec![example(&[("x", floats(&[1.0]))])], Some(example(&all))))
    };
    ask(crate::codec::MAX_TENSORS).unwrap();
    let error = ask(crate::codec::MAX_TENSORS + 1).unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        (ErrorCode::BadRequest, "the context has more than 4096 features")
    );
}

#[test]
fn fault_102_a_context_for_many_examples_is_refused_before_it_takes_memory() {
    let context = Some(example(&[("x", floats(&[1.0; 1000]))]));
    let sent = decoded(&request(vec![Example::default(); 1000], context)).unwrap();
    assert!(converted_bytes(&sent) >= 4_000_000);
    let error = check_filled(&sent, 1_000_000).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("repeated for each of 1000 examples"), "{}", error.message);
    check_filled(&sent, 10_000_000).unwrap();
    // A million empty examples bring nothing, and take nothing ahead.
    let empty = decoded(&request(vec![Example::default(); 100_000], None)).unwrap();
    assert_eq!(converted_bytes(&empty), 0);
    let wide = model(vec![tensor("x", Datatype::Fp32, &[-1, 1 << 40])]);
    assert!(prepare(&empty, &wide, &LIMITS).unwrap_err().message.contains("Feature: x"));
}

#[test]
fn a_request_names_version_and_signature() {
    let version = VersionChoice::Version(Int64Value { value: 3 });
    let mut sent = request(vec![example(&[("x", floats(&[1.0]))])], None);
    sent.model_spec.as_mut().unwrap().version_choice = Some(version);
    let found = decoded(&sent).unwrap();
    assert_eq!((&*found.model, &*found.version, found.signature), ("m", "3", None));
    for (spec, expected) in [(None, "Missing ModelSpec"), (spec("", "c"), "ModelSpec has no name specified.")]
    {
        sent.model_spec = spec;
        assert_eq!(decoded(&sent).unwrap_err().message, expected);
    }
}

fn asked(
    decoded: Result<InferRequest>,
    signature: &Signature,
) -> std::result::Result<Vec<String>, (ErrorCode, String)> {
    let found = decoded.and_then(|request| prepare(&request, signature, &LIMITS));
    let found = found.map_err(|error| (error.code, error.message))?;
    Ok(found.asked.unwrap().signatures.iter().map(|named| named.name.to_string()).collect())
}

#[test]
fn a_signature_is_one_of_the_methods() {
    let signature = model(vec![tensor("x", Datatype::Fp32, &[-1])]);
    let with = |name: &str| {
        let sent = ExamplesRequest {
            model_spec: spec("m", name),
            ..request(vec![example(&[("x", floats(&[1.0]))])], None)
        };
        Bytes::from(sent.encode_to_vec())
    };
    let classify = |name: &str| asked(decode_classify(&NEVER, with(name)), &signature);
    let regress = |name: &str| asked(decode_regress(&NEVER, with(name)), &signature);
    assert_eq!(classify("c").unwrap(), ["c"]);
    assert_eq!(regress("r").unwrap(), ["r"]);
    // The only one of its method.
    assert_eq!((classify("").unwrap(), regress("").unwrap()), (vec!["c".into()], vec!["r".into()]));
    let bad = |text: &str| (ErrorCode::BadRequest, text.to_owned());
    let classification =
        "Expected classification signature method_name to be tensorflow/serving/classify. Was: ";
    let regression = "Expected regression signature method_name to be tensorflow/serving/regress. Was: ";
    assert_eq!(classify("r").unwrap_err(), bad(&format!("{classification}tensorflow/serving/regress")));
    assert_eq!(regress("c").unwrap_err(), bad(&format!("{regression}tensorflow/serving/classify")));
    assert_eq!(
        classify("serving_default").unwrap_err(),
        bad(&format!("{classification}tensorflow/serving/predict"))
    );
    let unknown = (ErrorCode::FailedPrecondition, "Serving signature key \"z\" not found.".to_owned());
    assert_eq!(classify("z").unwrap_err(), unknown);
    let none = Signature { named: vec![], ..signature.clone() };
    let (code, text) = asked(decode_regress(&NEVER, with("")), &none).unwrap_err();
    assert!(
        code == ErrorCode::BadRequest && text.contains("Was: tensorflow/serving/predict. The model has no")
    );
    let mut two = signature.clone();
    two.named.push(Arc::new(NamedSignature { name: "d".into(), ..(*two.named[0]).clone() }));
    assert!(asked(decode_classify(&NEVER, with("")), &two).unwrap_err().1.contains("such as c or d"));
}

#[test]
fn predict_by_one_of_them_is_told_which_call_to_use() {
    let signature = model(vec![tensor("x", Datatype::Fp32, &[-1])]);
    let of = |name: &str| InferRequest { signature: Some(name.into()), ..Default::default() };
    let error = prepare(&of("r"), &signature, &LIMITS).unwrap_err();
    assert_eq!(error.code, ErrorCode::FailedPrecondition);
    assert!(error.message.starts_with("Serving signature key \"r\" not found. "), "{}", error.message);
    assert!(error.message.ends_with("ask for it by Regress"), "{}", error.message);
}

fn task(model: &str, signature: &str, method: &str) -> InferenceTask {
    let method_name = format!("tensorflow/serving/{method}");
    InferenceTask { model_spec: spec(model, signature), method_name }
}

fn several(tasks: Vec<InferenceTask>) -> Bytes {
    let input = input(vec![example(&[("x", floats(&[1.0]))])], None);
    MultiInferenceRequest { tasks, input }.encode_to_vec().into()
}

#[test]
fn several_tasks_are_one_run_or_refused_in_the_originals_words() {
    let mut signature = model(vec![tensor("x", Datatype::Fp32, &[-1])]);
    let ask = |tasks, signature: &_| asked(decode_multi_inference(&NEVER, several(tasks)), signature);
    let found = ask(vec![task("m", "r", "regress"), task("m", "", "classify")], &signature);
    assert_eq!(found.unwrap(), ["r", "c"]);
    let mut versioned = task("m", "r", "regress");
    versioned.model_spec.as_mut().unwrap().version_choice = Some(VersionChoice::Label("a".into()));
    for (tasks, text) in [
        (vec![], "at least one task"),
        (vec![task("m", "c", "classify"), task("n", "r", "regress")], "must access the same model name"),
        (vec![task("m", "c", "classify"), versioned], "the same version"),
        (
            vec![task("m", "c", "classify"), task("m", "c", "classify")],
            "Duplicate evaluation of signature: c",
        ),
        (vec![task("m", "c", "classify"), task("m", "", "classify")], "Duplicate evaluation of signature: c"),
        (vec![task("m", "z", "classify")], "Requested signature not found in model graph: z"),
        (vec![task("m", "c", "predict")], "Unrecognized signature method_name: tensorflow/serving/predict"),
        (vec![task("m", "c", "regress")], "Expected regression signature method_name"),
        (vec![task("m", "", "classify"); 65], "more than 64 tasks"),
    ] {
        let (code, said) = ask(tasks, &signature).unwrap_err();
        assert!(code == ErrorCode::BadRequest && said.contains(text), "{said}");
    }
    signature.named[1] = Arc::new(NamedSignature { inputs: vec![], ..(*signature.named[1]).clone() });
    let both = vec![task("m", "c", "classify"), task("m", "r", "regress")];
    assert_eq!(ask(both, &signature).unwrap_err().1, "Input tensor must be the same for all Signatures.");
}

// Answers

fn output<'a>(name: &'a str, datatype: Datatype, shape: &[i64], data: &'a [u8]) -> OutputTensor<'a> {
    OutputTensor { name, datatype, shape: Shape::from_slice(shape), data, binary: false, placed: false }
}

fn classes(classes: Option<&str>, scores: Option<&str>, labels: Option<&str>) -> Gives {
    let labels = labels.map(|text| Arc::new(Labels::new(text.to_owned()).unwrap()));
    Gives::Classes { classes: classes.map(Into::into), scores: scores.map(Into::into), labels }
}

fn answer(form: &dyn Form, gives: Vec<Gives>, examples: usize, outputs: &[OutputTensor<'_>]) -> Reply {
    let named =
        |(at, gives)| Arc::new(NamedSignature { name: format!("s{at}").into(), inputs: vec![], gives });
    let asked = Asked { signatures: gives.into_iter().enumerate().map(named).collect(), examples };
    let head = AnswerHead { model: "m", version: "7", id: None, asked: Some(&asked) };
    form.encode(Encoding::Identity, &head, outputs, &Budget::new(usize::MAX).reserve())
}

fn message(reply: Reply) -> Bytes {
    let body = reply.unwrap().body;
    let (frame, message) = body.split_at(FRAME);
    assert_eq!(frame[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
    Bytes::copy_from_slice(message)
}

fn classified(gives: Gives, examples: usize, outputs: &[OutputTensor<'_>]) -> Vec<Vec<(String, f32)>> {
    let body = message(answer(&ClassificationResponse, vec![gives], examples, outputs));
    let said = Classified::decode(body).unwrap();
    let spec = said.model_spec.unwrap();
    let version = VersionChoice::Version(Int64Value { value: 7 });
    assert_eq!((&*spec.name, &*spec.signature_name, spec.version_choice), ("m", "s0", Some(version)));
    let of = |Class { label, score }| (label, score);
    let rows = said.result.unwrap().classifications.into_iter();
    rows.map(|row| row.classes.into_iter().map(of).collect()).collect()
}

fn packed(all: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|text| push(&mut out, text.as_bytes()));
    out
}

#[test]
fn classes_and_scores_stand_side_by_side() {
    let scores = le([0.5f32, 0.0, -1.0, f32::INFINITY].map(f32::to_le_bytes));
    let names = packed(&["a", "", "c", "é"]);
    let both = [output("n", Datatype::Bytes, &[2, 2], &names), output("s", Datatype::Fp32, &[2, 2], &scores)];
    let pair = |label: &str, score| (label.to_owned(), score);
    assert_eq!(
        classified(classes(Some("n"), Some("s"), None), 2, &both),
        [[pair("a", 0.5), pair("", 0.0)], [pair("c", -1.0), pair("é", f32::INFINITY)]]
    );
    assert_eq!(
        classified(classes(None, Some("s"), Some("cat\ndog")), 2, &both),
        [[pair("cat", 0.5), pair("dog", 0.0)], [pair("cat", -1.0), pair("dog", f32::INFINITY)]]
    );
    assert_eq!(
        classified(classes(None, Some("s"), None), 2, &both)[1],
        [pair("", -1.0), pair("", f32::INFINITY)]
    );
    let labels = le([3i64, -1].map(i64::to_le_bytes));
    let wide = le([0.25f64, 1e300].map(f64::to_le_bytes));
    let column = [output("n", Datatype::Int64, &[2], &labels), output("s", Datatype::Fp64, &[2, 1], &wide)];
    assert_eq!(
        classified(classes(Some("n"), Some("s"), None), 2, &column),
        [[pair("3", 0.25)], [pair("-1", f32::INFINITY)]]
    );
    assert_eq!(classified(classes(Some("n"), None, None), 2, &column), [[pair("3", 0.0)], [pair("-1", 0.0)]]);
}

#[test]
fn a_regression_is_a_value_for_each_example() {
    let values = le([1.5f32, 0.0].map(f32::to_le_bytes));
    for shape in [&[2][..], &[2, 1]] {
        let of = output("v", Datatype::Fp32, shape, &values);
        let body = message(answer(&RegressionResponse, vec![Gives::Value("v".into())], 2, &[of]));
        let said = Regressed::decode(body).unwrap();
        let found: Vec<_> = said.result.unwrap().regressions.iter().map(|one| one.value).collect();
        assert_eq!((found, &*said.model_spec.unwrap().signature_name), (vec![1.5, 0.0], "s0"));
    }
}

#[test]
fn several_results_come_in_the_order_of_their_tasks() {
    let (values, scores) = (le([2.5f32].map(f32::to_le_bytes)), le([0.5f32, 0.25].map(f32::to_le_bytes)));
    let outputs = [output("v", Datatype::Fp32, &[1], &values), output("s", Datatype::Fp32, &[1, 2], &scores)];
    let gives = vec![classes(None, Some("s"), None), Gives::Value("v".into()), Gives::Value("v".into())];
    let said = Several::decode(message(answer(&MultiInferenceResponse, gives, 1, &outputs))).unwrap();
    let told: Vec<_> = said
        .results
        .into_iter()
        .map(|one| match one.result.unwrap() {
            ResultKind::Classification(of) => {
                (one.model_spec.unwrap().signature_name, of.classifications[0].classes.len())
            }
            ResultKind::Regression(of) => (one.model_spec.unwrap().signature_name, of.regressions.len()),
        })
        .collect();
    assert_eq!(told, [("s0".to_owned(), 2), ("s1".to_owned(), 1), ("s2".to_owned(), 1)]);
}

#[test]
fn outputs_that_do_not_go_with_the_examples_are_named() {
    let data = [0; 24];
    for (gives, outputs, text) in [
        (
            Gives::Value("v".into()),
            vec![output("v", Datatype::Fp32, &[3], &data[..12])],
            "'v' has 3 rows for 2",
        ),
        (Gives::Value("v".into()), vec![output("v", Datatype::Fp32, &[2, 3], &data)], "'v' has 3 values"),
        (
            classes(None, Some("s"), None),
            vec![output("s", Datatype::Fp32, &[], &data[..4])],
            "'s' has 0 rows",
        ),
        (
            classes(Some("n"), Some("s"), None),
            vec![output("n", Datatype::Int32, &[2], &data[..8]), output("s", Datatype::Fp32, &[2, 3], &data)],
            "'n' has 1 classes for each example, while 's' has 3 scores",
        ),
    ] {
        let error = answer(&ClassificationResponse, vec![gives], 2, &outputs).unwrap_err();
        assert_eq!(error.code, ErrorCode::BadData);
        assert!(error.message.contains(text), "{}", error.message);
    }
}

// Held against prost

/// Inputs of all three kinds, which features may leave out.
fn three() -> Signature {
    let mut signature = model(vec![
        tensor("f", Datatype::Fp32, &[-1, 2]),
        tensor("i", Datatype::Int64, &[-1, -1]),
        tensor("s", Datatype::Bytes, &[-1, 1]),
    ]);
    signature.inputs.iter_mut().for_each(|input| input.optional = true);
    signature
}

fn by_name(example: &Example) -> BTreeMap<&str, &FeatureKind> {
    let entries = example.features.iter().flat_map(|features| &features.feature);
    let kinds = entries.filter_map(|entry| Some((&*entry.key, entry.value.as_ref()?.kind.as_ref()?)));
    kinds.collect()
}

/// What an input would be, element after element.
fn elements_of(name: &str, list: &ExampleList) -> Vec<String> {
    let context = list.context.as_ref().map(by_name).unwrap_or_default();
    let mut all = Vec::new();
    for example in &list.examples {
        match by_name(example).get(name).or(context.get(name)) {
            Some(FeatureKind::Float(of)) => all.extend(of.value.iter().map(|v| v.to_bits().to_string())),
            Some(FeatureKind::Int64(of)) if name == "f" => {
                all.extend(of.value.iter().map(|&v| (v as f32).to_bits().to_string()));
            }
            Some(FeatureKind::Int64(of)) => all.extend(of.value.iter().map(i64::to_string)),
            Some(FeatureKind::Bytes(of)) => all.extend(of.value.iter().map(|v| format!("{v:?}"))),
            None => {}
        }
    }
    all
}

fn raw_elements(datatype: Datatype, data: &[u8]) -> Vec<String> {
    match datatype {
        Datatype::Fp32 => data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b).to_string()).collect(),
        Datatype::Int64 => data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b).to_string()).collect(),
        _ => elements(data).map(|text| format!("{:?}", Bytes::copy_from_slice(text))).collect(),
    }
}

/// What ours takes prost takes too, and reads in the same way. Whether it was taken.
fn held_against_prost(encoded: &[u8]) -> bool {
    let signature = three();
    let Ok(decoded) = decode_classify(&NEVER, Bytes::copy_from_slice(encoded)) else { return false };
    let counted = converted_bytes(&decoded);
    let Ok(found) = prepare(&decoded, &signature, &LIMITS) else { return false };
    assert!(found.bytes <= counted);
    let twin = ExamplesRequest::decode(encoded).unwrap();
    assert_eq!(&*decoded.model, &*twin.model_spec.unwrap().name);
    let list = match twin.input.unwrap().kind.unwrap() {
        InputKind::List(list) => ExampleList { context: None, ..list },
        InputKind::WithContext(list) => list,
    };
    assert_eq!(found.asked.unwrap().examples, list.examples.len());
    for (spec, input) in signature.inputs.iter().zip(&found.inputs) {
        let data = input.as_ref().map_or(Bytes::new(), |tensor| tensor.data.here().unwrap());
        assert_eq!(raw_elements(spec.datatype, &data), elements_of(&spec.name, &list), "{}", spec.name);
    }
    true
}

fn any_kind() -> impl Strategy<Value = FeatureKind> {
    prop_oneof![
        prop::collection::vec(any::<f32>(), 0..4).prop_map(|value| floats(&value)),
        prop::collection::vec(-9i64..9, 0..4).prop_map(|value| ints(&value)),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(|value| ints(&value)),
        prop::collection::vec("[a-é]{0,3}", 0..3)
            .prop_map(|all| { texts(&all.iter().map(String::as_bytes).collect::<Vec<_>>()) }),
    ]
}

fn any_example() -> impl Strategy<Value = Example> {
    prop::collection::vec(("[fisz]", any_kind()), 0..4).prop_map(|features| {
        example(&features.iter().map(|(name, kind)| (&**name, kind.clone())).collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn any_features_are_refused_or_read_as_prost_reads_them(
        all in prop::collection::vec(any_example(), 0..4), context in prop::option::of(any_example()),
    ) {
        held_against_prost(&request(all, context).encode_to_vec());
    }

    #[test]
    fn features_that_fit_are_taken(
        rows in prop::collection::vec((any::<[f32; 2]>(), any::<[i64; 3]>(), "[a-é]{0,3}"), 1..5), shared: bool,
    ) {
        let texts = |text: &str| texts(&[text.as_bytes()]);
        let all = rows.iter().map(|(f, i, s)| {
            let mut features = vec![("f", floats(f)), ("i", ints(i))];
            features.extend((!shared).then(|| ("s", texts(s))));
            example(&features)
        }).collect();
        let context = shared.then(|| example(&[("s", texts("all"))]));
        prop_assert!(held_against_prost(&request(all, context).encode_to_vec()));
    }

    #[test]
    fn fault_47_damaged_examples_end_and_what_is_taken_is_what_prost_reads(
        at in 0usize..120, byte: u8, cut in 0usize..16,
    ) {
        let one = || example(&[("f", floats(&[1.0, -2.0])), ("i", ints(&[300, -1])), ("z", ints(&[1]))]);
        let sent = request(vec![one(), one()], Some(example(&[("s", texts(&[b"text"]))])));
        let mut encoded = sent.encode_to_vec();
        prop_assert!(held_against_prost(&encoded));
        encoded.truncate(encoded.len() - cut);
        if let Some(target) = encoded.get_mut(at) {
            *target = byte;
        }
        held_against_prost(&encoded);
    }

    #[test]
    fn fault_47_any_bytes_end(bytes: Vec<u8>) {
        held_against_prost(&bytes);
        let bytes = Bytes::from(bytes);
        let _ = decode_multi_inference(&NEVER, bytes.clone());
        let _ = decode_log(&NEVER, &bytes);
    }

    #[test]
    fn answers_read_back_with_prost(rows in prop::collection::vec(any::<[(i32, f32); 2]>(), 1..20)) {
        let names = le(rows.iter().flatten().map(|(name, _)| name.to_le_bytes()));
        let scores = le(rows.iter().flatten().map(|(_, score)| score.to_le_bytes()));
        let shape = [i64::try_from(rows.len()).unwrap(), 2];
        let outputs = [output("n", Datatype::Int32, &shape, &names), output("s", Datatype::Fp32, &shape, &scores)];
        let found = classified(classes(Some("n"), Some("s"), None), rows.len(), &outputs);
        let bits = |all: Vec<Vec<(String, f32)>>| -> Vec<_> {
            all.into_iter().flatten().map(|(name, score)| (name, score.to_bits())).collect()
        };
        let expected = rows.iter().map(|row| row.iter().map(|(n, s)| (n.to_string(), *s)).collect()).collect();
        prop_assert_eq!(bits(found), bits(expected));
    }
}
