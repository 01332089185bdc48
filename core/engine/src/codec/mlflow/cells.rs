//! One value of a request, as an input takes it: what numpy's and pandas' conversions take, but nothing
//! that they would change silently.

use super::reader::{Reader, put, put_text};
use super::refusals::{self, Scoring};
use super::target::Target;
use super::{datetime, halves};
use crate::admission::Reservation;
use crate::codec::json::document::{self, Document};
use crate::codec::json::elements::Elements;
use crate::codec::json::number;
use crate::error::Result;
use crate::tensor::Datatype;
use crate::tensor::schema::Text;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use jiter::Peek;
use std::borrow::Cow;

/// A value before it is of a datatype.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'v> {
    /// As it is written.
    Number(&'v str),
    Bool(bool),
    Text(&'v str),
    /// A cell that is not there.
    Missing,
    /// A text without quotes that may stand for any of these; in a column of texts for itself.
    Cell(&'v str),
}

/// What stands for a cell that is not there, as pandas reads it.
const MISSING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "null",
];

impl Value<'_> {
    fn resolved(self) -> Self {
        let Value::Cell(text) = self else { return self };
        let plain = text.trim();
        match plain {
            _ if MISSING.contains(&plain) => Value::Missing,
            _ if is_decimal(plain) => Value::Number(plain.strip_prefix('+').unwrap_or(plain)),
            _ => Value::Text(text),
        }
    }
}

impl<'v> Value<'v> {
    /// As the client wrote it.
    fn written(self) -> &'v str {
        match self {
            Value::Number(text) | Value::Text(text) | Value::Cell(text) => text,
            Value::Bool(_) | Value::Missing => "",
        }
    }
}

/// With its padding; bits behind the last byte mean nothing.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// A value that is of its declared datatype.
#[derive(Clone, Copy)]
enum Scalar {
    Integer(i128),
    Float(f64),
}

impl Target<'_> {
    /// Reads the value at `peek`, which is no array.
    pub fn read(&self, reader: &mut Reader<'_>, peek: Peek, out: &mut Elements) -> Result<()> {
        let Reader { document: text, held, lossy } = reader;
        if self.declared == Datatype::Bytes {
            if peek != Peek::String && self.text != Text::Datetime {
                return Err(refusals::unfit(self, document::kind(peek)));
            }
            let value = value(text, peek, self)?;
            return self.put_value(value, *lossy, held, out);
        }
        let value = value(text, peek, self)?;
        self.put(value, *lossy, &mut |element| put(out, element, held))
    }

    /// Puts a value that was no JSON.
    pub fn take(&self, value: Value<'_>, reader: &mut Reader<'_>, out: &mut Elements) -> Result<()> {
        if self.declared != Datatype::Bytes {
            return self.put(value, reader.lossy, &mut |element| put(out, element, reader.held));
        }
        self.put_value(value, reader.lossy, reader.held, out)
    }

    /// What decoding takes beside the text is counted as long as it takes it.
    fn put_value(
        &self,
        value: Value<'_>,
        lossy: bool,
        held: &mut Reservation,
        out: &mut Elements,
    ) -> Result<()> {
        let beside = if self.text == Text::Binary { 2 * value.written().len() } else { 0 };
        held.take(beside)?;
        put_text(out, &self.text_of(value, lossy)?, held)?;
        held.give_back(beside);
        Ok(())
    }

    /// What a value of a column of texts stands for.
    fn text_of<'v>(&self, value: Value<'v>, lossy: bool) -> Result<Cow<'v, [u8]>> {
        self.check_texts()?;
        match (self.text, value) {
            (Text::Datetime, value) => Ok(self.datetime(value, lossy)?.into_bytes().into()),
            (Text::Itself, Value::Text(text) | Value::Cell(text)) => Ok(text.as_bytes().into()),
            (Text::Binary, Value::Text(text) | Value::Cell(text)) => Ok(self.decoded(text)?.into()),
            _ => Err(refusals::missing_cell(self)),
        }
    }

    /// As pandas takes them: numbers are nanoseconds since 1970, and what is missing is no time.
    fn datetime(&self, value: Value<'_>, lossy: bool) -> Result<String> {
        let (found, text) = match value {
            Value::Missing => return Ok(datetime::NONE.to_owned()),
            Value::Text(text) | Value::Cell(text) if is_no_time(text) => return Ok(datetime::NONE.to_owned()),
            Value::Text(text) | Value::Cell(text) => (datetime::of_text(text), text),
            Value::Number(text) => {
                let since_1970 = whole(text, lossy).map_err(|Fraction| refusals::cut(self, text))?;
                (since_1970.and_then(datetime::of_nanoseconds), text)
            }
            Value::Bool(is) => (None, if is { "true" } else { "false" }),
        };
        found.ok_or_else(|| refusals::no_datetime(self, text))
    }

    /// Lines of it end where the encoder that MLflow takes ends them.
    fn decoded(&self, text: &str) -> Result<Vec<u8>> {
        let has_blanks = text.bytes().any(|byte| byte.is_ascii_whitespace());
        let plain = if has_blanks {
            Cow::Owned(text.split_ascii_whitespace().collect::<String>())
        } else {
            Cow::Borrowed(text)
        };
        let found = BASE64.decode(plain.as_bytes()).map_err(|_| refusals::no_base64(self, text))?;
        // A text of ONNX is one to whoever runs the model.
        String::from_utf8(found).map(String::into_bytes).map_err(|_| refusals::no_utf8(self, text))
    }

    #[inline]
    pub fn fp32(&self, reader: &mut Reader<'_>, peek: Peek) -> Result<f32> {
        if peek.is_num() {
            let text = reader.document.number(peek)?;
            return number::fp32(text).ok_or_else(|| refusals::out_of_range(self, self.datatype, text));
        }
        let value = value(&mut reader.document, peek, self)?;
        let written = value.written();
        self.float(value, reader.lossy).and_then(|wide| self.narrow(wide, written))
    }

    #[inline]
    pub fn fp64(&self, reader: &mut Reader<'_>, peek: Peek) -> Result<f64> {
        if peek.is_num() {
            let text = reader.document.number(peek)?;
            return number::fp64(text).ok_or_else(|| refusals::out_of_range(self, self.datatype, text));
        }
        let value = value(&mut reader.document, peek, self)?;
        self.float(value, reader.lossy)
    }

    fn check_texts(&self) -> Result<()> {
        if self.datatype == Datatype::Bytes { Ok(()) } else { Err(refusals::incompatible(self)) }
    }

    fn put(&self, value: Value<'_>, lossy: bool, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let value = value.resolved();
        let scalar = match self.declared {
            Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => {
                Scalar::Float(self.float(value, lossy)?)
            }
            Datatype::Bool => Scalar::Integer(i128::from(self.boolean(value, lossy)?)),
            _ => Scalar::Integer(self.integer(value, lossy)?),
        };
        match self.datatype {
            Datatype::Fp32 => out(&self.narrow(self.wide(scalar, lossy)?, value.written())?.to_le_bytes()),
            Datatype::Fp64 => out(&self.wide(scalar, lossy)?.to_le_bytes()),
            Datatype::Bool => out(&[self
                .fitted::<u8>(scalar)
                .ok()
                .filter(|&b| b <= 1)
                .ok_or_else(|| refusals::incompatible(self))?]),
            Datatype::Uint8 => out(&self.fitted::<u8>(scalar)?.to_le_bytes()),
            Datatype::Uint16 => out(&self.fitted::<u16>(scalar)?.to_le_bytes()),
            Datatype::Uint32 => out(&self.fitted::<u32>(scalar)?.to_le_bytes()),
            Datatype::Uint64 => out(&self.fitted::<u64>(scalar)?.to_le_bytes()),
            Datatype::Int8 => out(&self.fitted::<i8>(scalar)?.to_le_bytes()),
            Datatype::Int16 => out(&self.fitted::<i16>(scalar)?.to_le_bytes()),
            Datatype::Int32 => out(&self.fitted::<i32>(scalar)?.to_le_bytes()),
            Datatype::Int64 => out(&self.fitted::<i64>(scalar)?.to_le_bytes()),
            Datatype::Fp16 | Datatype::Bf16 => {
                let wide = self.wide(scalar, lossy)?;
                out(&halves::bytes(self.datatype, self.finite(wide, self.datatype, value.written())?))
            }
            Datatype::Bytes => Err(refusals::incompatible(self)),
        }
    }

    /// Of the declared width.
    fn float(&self, value: Value<'_>, lossy: bool) -> Result<f64> {
        match value {
            Value::Number(text) => self.decimal(text, lossy),
            Value::Bool(is) => Ok(f64::from(u8::from(is))),
            Value::Missing | Value::Cell(_) => Ok(f64::NAN),
            Value::Text(text) => {
                let number = text.trim();
                match word(number) {
                    Some(value) => Ok(value),
                    None if is_decimal(number) => self.decimal(number.trim_start_matches('+'), lossy),
                    None => Err(refusals::no_float(self, text)),
                }
            }
        }
    }

    fn decimal(&self, text: &str, lossy: bool) -> Result<f64> {
        let wide = match self.declared {
            Datatype::Fp32 => number::fp32(text).map(f64::from),
            _ => number::fp64(text),
        }
        .ok_or_else(|| refusals::out_of_range(self, self.declared, text))?;
        let wide = self.finite(wide, self.declared, text)?;
        // Up to here every integer is a float.
        let many = match self.declared {
            Datatype::Bf16 => 2,
            Datatype::Fp16 => 3,
            Datatype::Fp32 => 7,
            _ => 15,
        };
        if self.exact
            && !lossy
            && text.len() > many
            && text.parse::<i128>().is_ok_and(|n| n as f64 != wide || wide as i128 != n)
        {
            return Err(refusals::rounded(self, self.declared, text));
        }
        Ok(wide)
    }

    fn boolean(&self, value: Value<'_>, lossy: bool) -> Result<bool> {
        match value {
            Value::Bool(is) => Ok(is),
            Value::Text(text) => match text.trim() {
                "true" | "True" | "TRUE" => Ok(true),
                "false" | "False" | "FALSE" => Ok(false),
                _ => Err(refusals::no_bool(self, text)),
            },
            Value::Number(text) => match number::fp64(text) {
                Some(0.0) => Ok(false),
                Some(1.0) => Ok(true),
                Some(_) if lossy => Ok(true),
                _ => Err(refusals::no_bool(self, text)),
            },
            Value::Missing | Value::Cell(_) => Err(refusals::missing_cell(self)),
        }
    }

    /// Within the declared type's range.
    fn integer(&self, value: Value<'_>, lossy: bool) -> Result<i128> {
        let (found, text) = match value {
            Value::Number(text) => (whole(text, lossy).map_err(|Fraction| refusals::cut(self, text))?, text),
            Value::Bool(is) => return Ok(i128::from(is)),
            Value::Text(text) => {
                let number = text.trim();
                let plain = number.strip_prefix('+').unwrap_or(number);
                let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(refusals::no_integer(self, text));
                }
                (plain.parse::<i128>().ok(), text)
            }
            Value::Missing | Value::Cell(_) => return Err(refusals::missing_cell(self)),
        };
        let (least, most) = range(self.declared);
        let is_within = |n: &i128| (least..=most).contains(n);
        found.filter(is_within).ok_or_else(|| refusals::out_of_range(self, self.declared, text))
    }

    fn wide(&self, scalar: Scalar, lossy: bool) -> Result<f64> {
        match scalar {
            Scalar::Float(wide) => Ok(wide),
            Scalar::Integer(n) => {
                let wide = if self.datatype == Datatype::Fp32 { f64::from(n as f32) } else { n as f64 };
                let wide = self.finite(wide, self.datatype, &n.to_string())?;
                if lossy || wide as i128 == n {
                    Ok(wide)
                } else {
                    Err(refusals::rounded(self, self.datatype, &n.to_string()))
                }
            }
        }
    }

    /// The nearest number that `datatype` has, where that is FP16 or BF16; never an infinity that was none.
    fn finite(&self, wide: f64, datatype: Datatype, written: &str) -> Result<f64> {
        if !halves::is_half(datatype) {
            return Ok(wide);
        }
        let nearest = halves::nearest(datatype, wide);
        if nearest.is_infinite() && wide.is_finite() {
            return Err(refusals::out_of_range(self, datatype, written));
        }
        Ok(nearest)
    }

    /// Rounded as every decimal is, but never to infinity.
    fn narrow(&self, wide: f64, written: &str) -> Result<f32> {
        let narrow = wide as f32;
        if narrow.is_infinite() && wide.is_finite() {
            return Err(refusals::out_of_range(self, Datatype::Fp32, written));
        }
        Ok(narrow)
    }

    fn fitted<T: TryFrom<i128>>(&self, scalar: Scalar) -> Result<T> {
        match scalar {
            Scalar::Integer(n) => {
                T::try_from(n).map_err(|_| refusals::out_of_range(self, self.datatype, &n.to_string()))
            }
            // What is declared as a float goes to no integer.
            Scalar::Float(_) => Err(refusals::incompatible(self)),
        }
    }
}

/// The value at `peek`, which is no array.
fn value<'d>(text: &'d mut Document<'_, Scoring>, peek: Peek, target: &Target<'_>) -> Result<Value<'d>> {
    match peek {
        Peek::Null => text.null().map(|_| Value::Missing),
        Peek::True | Peek::False => text.known_bool(peek).map(Value::Bool),
        Peek::String => text.known_string().map(Value::Text),
        peek if peek.is_num() => text.number(peek).map(Value::Number),
        other => Err(refusals::unfit(target, document::kind(other))),
    }
}

struct Fraction;

/// The integer that a number's text says, in whatever form; `None` where it is beyond all.
fn whole(text: &str, lossy: bool) -> std::result::Result<Option<i128>, Fraction> {
    if let Ok(n) = text.parse::<i128>() {
        return Ok(Some(n));
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Ok(None);
    }
    if let Some(n) = exact(text) {
        return Ok(Some(n));
    }
    match text.parse::<f64>() {
        Ok(value) if value.abs() >= BEYOND || (lossy && !value.is_nan()) => Ok(Some(value as i128)),
        _ => Err(Fraction),
    }
}

/// 2 to the 64: no integer type goes so far.
const BEYOND: f64 = 18_446_744_073_709_551_616.0;

/// The integer that a number with a fraction or an exponent says, by its digits: a float would round it.
/// `None` where it is none, or beyond all.
fn exact(text: &str) -> Option<i128> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = fraction.trim_end_matches('0');
    let digits = match fraction {
        "" => whole.parse::<i128>(),
        fraction => format!("{whole}{fraction}").parse(),
    };
    let (digits, shift) = (digits.ok()?, exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?);
    if digits == 0 {
        return Some(0);
    }
    let power = 10i128.checked_pow(shift.unsigned_abs())?;
    if shift < 0 { (digits % power == 0).then(|| digits / power) } else { digits.checked_mul(power) }
}

fn is_no_time(text: &str) -> bool {
    let text = text.trim();
    text == datetime::NONE || MISSING.contains(&text)
}

/// What stands for a float in letters.
fn word(text: &str) -> Option<f64> {
    let (text, sign) = match text.strip_prefix('-') {
        Some(rest) => (rest, -1.0),
        None => (text.strip_prefix('+').unwrap_or(text), 1.0),
    };
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    match () {
        () if is("nan") => Some(f64::NAN),
        () if is("inf") || is("infinity") => Some(sign * f64::INFINITY),
        () => None,
    }
}

fn is_decimal(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    !text.is_empty() && text.bytes().all(is_part) && text.parse::<f64>().is_ok()
}

fn range(datatype: Datatype) -> (i128, i128) {
    match datatype {
        Datatype::Uint8 => (0, i128::from(u8::MAX)),
        Datatype::Uint16 => (0, i128::from(u16::MAX)),
        Datatype::Uint32 => (0, i128::from(u32::MAX)),
        Datatype::Uint64 => (0, i128::from(u64::MAX)),
        Datatype::Int8 => (i128::from(i8::MIN), i128::from(i8::MAX)),
        Datatype::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX)),
        Datatype::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX)),
        _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
    }
}
