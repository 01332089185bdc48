//! A run's outputs as classes and values of examples: the labels and scores that an answer tells, whatever
//! its wire.

use crate::codec::{AnswerHead, OutputTensor, bytes_tensor};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::Datatype;
use crate::tensor::labels::Labels;
use crate::tensor::named::{Asked, Gives, NamedSignature};

/// What a signature gives of a run.
pub(in crate::codec) enum Found<'a> {
    Classes(Classes<'a>),
    Values(Numbers<'a>),
}

/// The signatures that a request asked for, each with its name and what it gives.
///
/// # Errors
/// `BadData` naming the output whose shape does not go with the examples.
pub(in crate::codec) fn found<'a>(
    head: &AnswerHead<'a>,
    outputs: &'a [OutputTensor<'a>],
) -> Result<Vec<(&'a str, Found<'a>)>> {
    let asked = head.asked.ok_or_else(|| Error::new(ErrorCode::Internal, "no signature was asked for"))?;
    asked.signatures.iter().map(|named| Ok((&*named.name, Found::of(named, asked, outputs)?))).collect()
}

impl<'a> Found<'a> {
    fn of(named: &'a NamedSignature, asked: &Asked, outputs: &'a [OutputTensor<'a>]) -> Result<Found<'a>> {
        match &named.gives {
            Gives::Value(name) => {
                let output = output(outputs, name)?;
                check_rows(output, asked.examples)?;
                let values = Numbers::of(output)?;
                if values.len() != asked.examples {
                    return Err(unfit(
                        output,
                        format!("{} values for each example, expected one", per_row(output)),
                    ));
                }
                Ok(Found::Values(values))
            }
            Gives::Classes { classes, scores, labels } => {
                let classes = classes.as_ref().map(|name| output(outputs, name)).transpose()?;
                let scores = scores.as_ref().map(|name| output(outputs, name)).transpose()?;
                Classes::new(classes, scores, labels.as_deref(), asked.examples).map(Found::Classes)
            }
        }
    }
}

fn output<'a>(outputs: &'a [OutputTensor<'a>], name: &str) -> Result<&'a OutputTensor<'a>> {
    outputs
        .iter()
        .find(|output| output.name == name)
        .ok_or_else(|| Error::new(ErrorCode::Internal, format!("output '{name}' is missing")))
}

fn check_rows(output: &OutputTensor<'_>, examples: usize) -> Result<()> {
    let rows = output.shape.first().copied().unwrap_or(0);
    if usize::try_from(rows) == Ok(examples) {
        return Ok(());
    }
    Err(unfit(output, format!("{rows} rows for {examples} examples")))
}

/// Elements of a row.
fn per_row(output: &OutputTensor<'_>) -> usize {
    let sizes = output.shape.iter().skip(1).filter_map(|&size| usize::try_from(size).ok());
    sizes.fold(1, usize::saturating_mul)
}

fn unfit(output: &OutputTensor<'_>, has: String) -> Error {
    Error::new(ErrorCode::BadData, format!("output '{}' has {has}", output.name))
}

/// Numbers of an output as the answers have them, 32-bit floats.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Numbers<'a> {
    datatype: Datatype,
    data: &'a [u8],
}

impl<'a> Numbers<'a> {
    fn of(output: &OutputTensor<'a>) -> Result<Self> {
        match output.datatype {
            Datatype::Fp32 | Datatype::Fp64 => Ok(Numbers { datatype: output.datatype, data: output.data }),
            datatype => Err(unfit(output, format!("the datatype {datatype}, expected FP32 or FP64"))),
        }
    }

    pub(in crate::codec) fn len(self) -> usize {
        self.data.len() / self.datatype.size().unwrap_or(1)
    }

    /// The number at a place; a 64-bit one rounded.
    #[inline]
    pub(in crate::codec) fn get(self, at: usize) -> f32 {
        match self.datatype {
            Datatype::Fp32 => self.data.as_chunks::<4>().0.get(at).map_or(0.0, |b| f32::from_le_bytes(*b)),
            _ => self.data.as_chunks::<8>().0.get(at).map_or(0.0, |b| f64::from_le_bytes(*b) as f32),
        }
    }
}

/// Classes of each example, as many for each.
#[derive(Clone, Copy)]
pub(in crate::codec) struct Classes<'a> {
    pub(in crate::codec) examples: usize,
    /// Of each example.
    pub(in crate::codec) classes: usize,
    names: Names<'a>,
    scores: Option<Numbers<'a>>,
}

#[derive(Clone, Copy)]
enum Names<'a> {
    Nameless,
    /// By the class's number.
    Listed(&'a Labels),
    Texts(&'a [u8]),
    Integers(Datatype, &'a [u8]),
}

impl<'a> Classes<'a> {
    fn new(
        classes: Option<&'a OutputTensor<'a>>,
        scores: Option<&'a OutputTensor<'a>>,
        labels: Option<&'a Labels>,
        examples: usize,
    ) -> Result<Self> {
        for output in classes.iter().chain(&scores) {
            check_rows(output, examples)?;
        }
        if let (Some(classes), Some(scores)) = (classes, scores)
            && per_row(classes) != per_row(scores)
        {
            let (has, other) = (per_row(classes), per_row(scores));
            let words = format!("{has} classes for each example, while '{}' has {other} scores", scores.name);
            return Err(unfit(classes, words));
        }
        let names = match classes {
            Some(output) => Names::of(output)?,
            None => labels.map_or(Names::Nameless, Names::Listed),
        };
        let count = classes.or(scores).map_or(0, per_row);
        Ok(Classes { examples, classes: count, names, scores: scores.map(Numbers::of).transpose()? })
    }

    /// All of them from the first example's first on.
    pub(in crate::codec) fn walk(&self) -> Walk<'a> {
        let texts = if let Names::Texts(data) = self.names { data } else { &[] };
        Walk { of: *self, at: 0, texts, digits: itoa::Buffer::new() }
    }
}

impl<'a> Names<'a> {
    fn of(output: &OutputTensor<'a>) -> Result<Self> {
        match output.datatype {
            Datatype::Bytes => Ok(Names::Texts(output.data)),
            Datatype::Bool | Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => Err(unfit(
                output,
                format!("the datatype {}, expected BYTES or integers for classes", output.datatype),
            )),
            datatype => Ok(Names::Integers(datatype, output.data)),
        }
    }
}

/// Classes one after the other.
pub(in crate::codec) struct Walk<'a> {
    of: Classes<'a>,
    at: usize,
    /// Texts that are still to come.
    texts: &'a [u8],
    digits: itoa::Buffer,
}

impl Walk<'_> {
    /// The next one's label and score; empty and 0 where there are none.
    pub(in crate::codec) fn next(&mut self) -> (&[u8], f32) {
        let at = self.at;
        self.at += 1;
        let score = self.of.scores.map_or(0.0, |scores| scores.get(at));
        let label = match self.of.names {
            Names::Nameless => &[],
            Names::Listed(labels) => labels.get(at % self.of.classes.max(1)).unwrap_or_default().as_bytes(),
            Names::Texts(_) => {
                let text = bytes_tensor::elements(self.texts).next().unwrap_or_default();
                self.texts = self.texts.get(bytes_tensor::room(text)..).unwrap_or_default();
                text
            }
            Names::Integers(datatype, data) => integer(&mut self.digits, datatype, data, at),
        };
        (label, score)
    }
}

/// The text of an integer.
fn integer<'d>(digits: &'d mut itoa::Buffer, datatype: Datatype, data: &[u8], at: usize) -> &'d [u8] {
    macro_rules! text {
        ($kind:ty, $size:literal) => {
            data.as_chunks::<$size>().0.get(at).map(|bytes| digits.format(<$kind>::from_le_bytes(*bytes)))
        };
    }
    let text = match datatype {
        Datatype::Uint8 => text!(u8, 1),
        Datatype::Uint16 => text!(u16, 2),
        Datatype::Uint32 => text!(u32, 4),
        Datatype::Uint64 => text!(u64, 8),
        Datatype::Int8 => text!(i8, 1),
        Datatype::Int16 => text!(i16, 2),
        Datatype::Int32 => text!(i32, 4),
        _ => text!(i64, 8),
    };
    text.unwrap_or_default().as_bytes()
}
