//! `ClassificationRequest`, `RegressionRequest` and `MultiInferenceRequest`: which signatures they ask for,
//! and their examples, which stay undecoded until the model is known.

use super::features::features;
use super::request::{Fields, ModelSpec};
use crate::codec::InferRequest;
use crate::codec::wire::Reader;
use crate::error::{Error, ErrorCode, Result};
use crate::stop::Stop;
use crate::tensor::named::Method;
use crate::tensor::shown;
use bytes::Bytes;

/// More tasks than a model has signatures.
pub const MAX_TASKS: usize = 64;

/// A signature that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// As it came; empty: the model's only one of the method.
    pub(super) signature: String,
    pub(super) method: Method,
}

/// Whose examples they are, for the words of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    One,
    Several,
}

/// Examples as they came, not yet held against a model.
#[derive(Clone, Debug)]
pub struct Examples {
    pub(super) tasks: Vec<Task>,
    pub(super) of: Of,
    /// A message whose field 1 is an example, again and again.
    list: Bytes,
    /// Features that each of them has beside its own.
    context: Bytes,
    /// How many there are.
    pub(super) count: usize,
    /// The most bytes that their features take as tensors, and what the context's take once.
    own_bytes: usize,
    context_bytes: usize,
}

impl Examples {
    /// Of one signature. `list`: a message whose field 1 is an example, again and again; `context`: one
    /// more, or nothing.
    ///
    /// # Errors
    /// `BadRequest` for malformed messages, and those of `stop`.
    pub(in crate::codec) fn of_one(
        method: Method,
        signature: String,
        (list, context): (Bytes, Bytes),
        stop: &Stop,
    ) -> Result<Self> {
        let task = Task { signature, method };
        Examples::new(vec![task], Of::One, list, context, &mut Fields::new(stop))
    }

    fn new(tasks: Vec<Task>, of: Of, list: Bytes, context: Bytes, fields: &mut Fields<'_>) -> Result<Self> {
        let context_bytes = most_bytes(&context, fields)?;
        let (mut count, mut own_bytes) = (0, 0usize);
        let mut reader = Reader::new(&list);
        while let Some((number, value)) = fields.next(&mut reader)? {
            if number == 1 {
                count += 1;
                own_bytes = own_bytes.saturating_add(most_bytes(value.len()?, fields)?);
            }
        }
        Ok(Examples { tasks, of, list, context, count, own_bytes, context_bytes })
    }

    /// The name of the signature that is asked for; of the first of several.
    pub(in crate::codec) fn signature(&self) -> &str {
        self.tasks.first().map_or("", |task| &task.signature)
    }

    /// See [`InferRequest::owned_bytes`].
    pub fn owned_bytes(&self) -> usize {
        size_of::<Self>()
            + self.tasks.capacity() * size_of::<Task>()
            + self.tasks.iter().map(|task| task.signature.capacity()).sum::<usize>()
    }

    /// Bytes that are walked or written to make tensors of them.
    pub fn cost(&self) -> usize {
        self.list.len().max(self.most_bytes())
    }

    /// The most bytes that tensors of them take.
    pub fn most_bytes(&self) -> usize {
        self.context_bytes.saturating_mul(self.count).saturating_add(self.own_bytes)
    }

    /// A few bytes of context may stand for any number: they are held against what a message may have.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn check_context(&self, limit: usize) -> Result<()> {
        let bytes = self.most_bytes();
        if self.context_bytes == 0 || bytes <= limit {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::TooLarge,
            format!(
                "the context, repeated for each of {} examples, makes tensors of {bytes} bytes, over the limit of \
                 {limit} bytes (setting limits.max_message_bytes)",
                self.count
            ),
        ))
    }

    /// Calls `each` with each example, in their order.
    pub(super) fn each<'a>(
        &'a self,
        fields: &mut Fields<'_>,
        mut each: impl FnMut(&'a [u8], &mut Fields<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut reader = Reader::new(&self.list);
        while let Some((number, value)) = fields.next(&mut reader)? {
            if number == 1 {
                each(value.len()?, fields)?;
            }
        }
        Ok(())
    }

    pub(super) fn context(&self) -> &[u8] {
        &self.context
    }
}

/// Decodes a `ClassificationRequest`.
///
/// # Errors
/// As [`super::decode_predict`], and `BadRequest` for more than one list of examples, or context.
pub fn decode_classify(stop: &Stop, message: Bytes) -> Result<InferRequest> {
    decode_one(Method::Classify, stop, &message)
}

/// Decodes a `RegressionRequest`.
///
/// # Errors
/// As [`decode_classify`].
pub fn decode_regress(stop: &Stop, message: Bytes) -> Result<InferRequest> {
    decode_one(Method::Regress, stop, &message)
}

fn decode_one(method: Method, stop: &Stop, message: &Bytes) -> Result<InferRequest> {
    let (mut spec, mut input) = (None, Input::default());
    let mut fields = Fields::new(stop);
    let mut reader = Reader::new(message);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 => spec.get_or_insert_with(ModelSpec::default).merge(value.len()?, &mut fields)?,
            2 => input.merge(value.len()?, &mut fields)?,
            _ => {}
        }
    }
    let spec = spec.ok_or_else(missing_spec)?;
    let task = Task { signature: spec.signature.to_owned(), method };
    request(&spec, vec![task], Of::One, input, message, &mut fields)
}

/// Decodes a `MultiInferenceRequest`.
///
/// # Errors
/// As [`decode_classify`], and `BadRequest` where there is no task, two ask for the same signature, or not
/// all of them for the same version of the same model.
pub fn decode_multi_inference(stop: &Stop, message: Bytes) -> Result<InferRequest> {
    let (mut first, mut tasks, mut input) = (None::<ModelSpec<'_>>, Vec::new(), Input::default());
    let mut fields = Fields::new(stop);
    let mut reader = Reader::new(&message);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 if tasks.len() >= MAX_TASKS => {
                return Err(Error::bad(format!("the request has more than {MAX_TASKS} tasks")));
            }
            1 => {
                let (spec, task) = inference_task(value.len()?, &mut fields)?;
                same_version(first.as_ref().unwrap_or(&spec), &spec)?;
                first.get_or_insert(spec);
                push_task(&mut tasks, task)?;
            }
            2 => input.merge(value.len()?, &mut fields)?,
            _ => {}
        }
    }
    let spec = first.ok_or_else(|| Error::bad("a MultiInferenceRequest has at least one task, got none"))?;
    request(&spec, tasks, Of::Several, input, &message, &mut fields)
}

fn inference_task<'a>(encoded: &'a [u8], fields: &mut Fields<'_>) -> Result<(ModelSpec<'a>, Task)> {
    let (mut spec, mut method) = (None, "");
    let mut reader = Reader::new(encoded);
    while let Some((number, value)) = fields.next(&mut reader)? {
        match number {
            1 => spec.get_or_insert_with(ModelSpec::default).merge(value.len()?, fields)?,
            2 => method = value.text()?,
            _ => {}
        }
    }
    let spec = spec.ok_or_else(missing_spec)?;
    let named = method.strip_prefix("tensorflow/serving/").and_then(Method::from_name);
    let method =
        named.ok_or_else(|| Error::bad(format!("Unrecognized signature method_name: {}", shown(method))))?;
    let task = Task { signature: spec.signature.to_owned(), method };
    Ok((spec, task))
}

fn missing_spec() -> Error {
    Error::bad("Missing ModelSpec")
}

fn same_version(first: &ModelSpec<'_>, other: &ModelSpec<'_>) -> Result<()> {
    if first.name != other.name {
        return Err(Error::bad(format!(
            "All ModelSpecs in a MultiInferenceRequest must access the same model name, got '{}' and '{}'",
            shown(first.name),
            shown(other.name)
        )));
    }
    if first.is_of_version(other) {
        return Ok(());
    }
    Err(Error::bad("all tasks of a MultiInferenceRequest ask for the same version, or name none"))
}

fn push_task(tasks: &mut Vec<Task>, task: Task) -> Result<()> {
    // What an empty name stands for hangs on the model.
    if !task.signature.is_empty() && tasks.iter().any(|other| other.signature == task.signature) {
        return Err(super::refusals::evaluated_twice(&task.signature));
    }
    tasks.push(task);
    Ok(())
}

/// An `Input`: the list of examples in either of its forms.
#[derive(Default)]
struct Input<'a> {
    list: Option<&'a [u8]>,
    with_context: bool,
}

impl<'a> Input<'a> {
    fn merge(&mut self, encoded: &'a [u8], fields: &mut Fields<'_>) -> Result<()> {
        let mut reader = Reader::new(encoded);
        while let Some((number, value)) = fields.next(&mut reader)? {
            if !matches!(number, 1 | 2) {
                continue;
            }
            if self.list.is_some() {
                return Err(Error::bad("the input has more than one list of examples"));
            }
            (self.list, self.with_context) = (Some(value.len()?), number == 2);
        }
        Ok(())
    }
}

fn request(
    spec: &ModelSpec<'_>,
    tasks: Vec<Task>,
    of: Of,
    input: Input<'_>,
    message: &Bytes,
    fields: &mut Fields<'_>,
) -> Result<InferRequest> {
    let mut request = InferRequest::default();
    spec.put_version(&mut request)?;
    let list = input.list.unwrap_or_default();
    let context = if input.with_context { context(list, fields)? } else { &[] };
    let examples = Examples::new(tasks, of, message.slice_ref(list), message.slice_ref(context), fields)?;
    request.examples = Some(Box::new(examples));
    Ok(request)
}

fn context<'a>(list: &'a [u8], fields: &mut Fields<'_>) -> Result<&'a [u8]> {
    let (mut reader, mut context) = (Reader::new(list), None);
    while let Some((number, value)) = fields.next(&mut reader)? {
        if number == 2 && context.replace(value.len()?).is_some() {
            return Err(Error::bad("the input has more than one context"));
        }
    }
    Ok(context.unwrap_or_default())
}

/// The most bytes that an example's features take as tensors.
fn most_bytes(example: &[u8], fields: &mut Fields<'_>) -> Result<usize> {
    let mut total = 0usize;
    features(example, fields, &mut |fields, _, feature| {
        total = total.saturating_add(feature.most_bytes(fields)?);
        Ok(())
    })?;
    Ok(total)
}
