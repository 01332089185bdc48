//! The typed fields of a `TensorProto` to raw little-endian elements; the last value fills up what the
//! shape has more of.

use super::types;
use crate::codec::bytes_tensor::{self, LOOK};
use crate::codec::wire::{Malformed, Reader, Value};
use crate::error::{Error, Result};
use crate::memory;
use crate::stop::Stop;
use crate::tensor::{Datatype, shown};
use bytes::Bytes;

/// The fields of values, by number.
const FIELDS: [(u32, &str); 14] = [
    (FLOAT, "float_val"),
    (DOUBLE, "double_val"),
    (INT, "int_val"),
    (STRING, "string_val"),
    (9, "scomplex_val"),
    (INT64, "int64_val"),
    (BOOL, "bool_val"),
    (12, "dcomplex_val"),
    (HALF, "half_val"),
    (14, "resource_handle_val"),
    (15, "variant_val"),
    (UINT32, "uint32_val"),
    (UINT64, "uint64_val"),
    (18, "float8_val"),
];
const FLOAT: u32 = 5;
const DOUBLE: u32 = 6;
const INT: u32 = 7;
const STRING: u32 = 8;
const INT64: u32 = 10;
const BOOL: u32 = 11;
const HALF: u32 = 13;
const UINT32: u32 = 16;
const UINT64: u32 = 17;

fn field_of(datatype: Datatype) -> u32 {
    match datatype {
        Datatype::Fp32 => FLOAT,
        Datatype::Fp64 => DOUBLE,
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 | Datatype::Uint8 | Datatype::Uint16 => INT,
        Datatype::Int64 => INT64,
        Datatype::Uint32 => UINT32,
        Datatype::Uint64 => UINT64,
        Datatype::Fp16 | Datatype::Bf16 => HALF,
        Datatype::Bool => BOOL,
        Datatype::Bytes => STRING,
    }
}

/// Turns the values of one `TensorProto` into raw bytes of `datatype`: `expected` elements, the last value
/// as often as it takes, zeros (or empty texts) where there is none. Packed and unpacked encodings are both
/// read; FP32 and FP64 in one packed run, none of them missing, are not copied.
///
/// The caller has bounded what `expected` elements take.
///
/// # Errors
/// `BadRequest` naming `tensor` when values are in another datatype's field, an integer does not fit the
/// datatype, there are more than `expected`, or the message is malformed (faults 47, 52, 58); and those of
/// `stop`.
pub(in crate::codec) fn values_to_raw(
    tensor: &str,
    datatype: Datatype,
    message: &Bytes,
    expected: usize,
    stop: &Stop,
) -> Result<Bytes> {
    let input = Input { tensor, datatype, message, expected, stop };
    match datatype {
        Datatype::Bool => input.integers(|v| Some([u8::from(v != 0)])),
        Datatype::Int8 => input.integers(|v| i8::try_from(v as i64).ok().map(i8::to_le_bytes)),
        Datatype::Int16 => input.integers(|v| i16::try_from(v as i64).ok().map(i16::to_le_bytes)),
        Datatype::Int32 => input.integers(|v| i32::try_from(v as i64).ok().map(i32::to_le_bytes)),
        Datatype::Uint8 => input.integers(|v| u8::try_from(v).ok().map(u8::to_le_bytes)),
        // Two bytes each: of the others only the bits.
        Datatype::Uint16 | Datatype::Fp16 | Datatype::Bf16 => {
            input.integers(|v| u16::try_from(v).ok().map(u16::to_le_bytes))
        }
        Datatype::Uint32 => input.integers(|v| u32::try_from(v).ok().map(u32::to_le_bytes)),
        Datatype::Int64 | Datatype::Uint64 => input.integers(|v| Some(v.to_le_bytes())),
        Datatype::Fp32 => input.floats::<4>(),
        Datatype::Fp64 => input.floats::<8>(),
        Datatype::Bytes => input.texts(),
    }
}

struct Input<'a> {
    tensor: &'a str,
    datatype: Datatype,
    message: &'a Bytes,
    expected: usize,
    stop: &'a Stop,
}

impl<'a> Input<'a> {
    /// Calls `each` with every value of the datatype's own field.
    fn values(&self, mut each: impl FnMut(Value<'a>) -> Result<()>) -> Result<()> {
        let wanted = field_of(self.datatype);
        let mut fields = 0usize;
        let mut reader = Reader::new(self.message);
        while let Some((number, value)) = reader.field()? {
            fields += 1;
            self.look(fields)?;
            if number == wanted {
                each(value)?;
            } else if let Some((_, found)) = FIELDS.iter().find(|(field, _)| *field == number) {
                self.refuse_other(value, found)?;
            }
        }
        Ok(())
    }

    /// Now and then, whether the work is still wanted.
    #[inline]
    fn look(&self, done: usize) -> Result<()> {
        if done.is_multiple_of(LOOK) { self.stop.check() } else { Ok(()) }
    }

    /// Values in another datatype's field; an empty run holds none.
    fn refuse_other(&self, value: Value<'_>, found: &str) -> Result<()> {
        if value == Value::Len(&[]) && found != "string_val" {
            return Ok(());
        }
        let wanted = field_of(self.datatype);
        let expected = FIELDS.iter().find(|(field, _)| *field == wanted).map_or("", |(_, name)| name);
        Err(Error::bad(format!(
            "input '{}' of {} has values in {found}, expected them in {expected}",
            shown(self.tensor),
            types::name_of(self.datatype)
        )))
    }

    fn integers<const N: usize>(&self, convert: impl Fn(u64) -> Option<[u8; N]>) -> Result<Bytes> {
        let mut values = Values::new(self, self.expected.saturating_mul(N))?;
        self.values(|value| match value {
            Value::Varint(value) => self.integer(&mut values, value, &convert),
            Value::Len(packed) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    self.integer(&mut values, reader.varint()?, &convert)?;
                }
                Ok(())
            }
            _ => Err(Malformed("a field has the wrong wire type").into()),
        })?;
        values.filled(N)
    }

    #[inline]
    fn integer<const N: usize>(
        &self,
        values: &mut Values<'_, 'a>,
        value: u64,
        convert: &impl Fn(u64) -> Option<[u8; N]>,
    ) -> Result<()> {
        let element = convert(value).ok_or_else(|| self.out_of_range(value, values.count))?;
        values.push(1, &element)?;
        self.look(values.count)
    }

    fn floats<const N: usize>(&self) -> Result<Bytes> {
        if let Some(run) = self.only_run(self.expected.saturating_mul(N))? {
            return Ok(run);
        }
        let mut values = Values::new(self, self.expected.saturating_mul(N))?;
        self.values(|value| match value {
            Value::Fixed32(element) if N == 4 => values.push(1, &element),
            Value::Fixed64(element) if N == 8 => values.push(1, &element),
            Value::Len(packed) if packed.len().is_multiple_of(N) => values.push(packed.len() / N, packed),
            Value::Len(_) => Err(Malformed("a packed field is cut inside an element").into()),
            _ => Err(Malformed("a field has the wrong wire type").into()),
        })?;
        values.filled(N)
    }

    /// All elements as they lie in the message, where they are one run of `size` bytes.
    fn only_run(&self, size: usize) -> Result<Option<Bytes>> {
        let mut runs = (0, None);
        self.values(|value| {
            let run = if let Value::Len(packed) = value { Some(packed) } else { None };
            runs = (runs.0 + 1, run);
            Ok(())
        })?;
        Ok(match runs {
            (1, Some(run)) if run.len() == size => Some(self.message.slice_ref(run)),
            _ => None,
        })
    }

    fn texts(&self) -> Result<Bytes> {
        // As much as was counted for them: growing would hold up to twice that.
        let (mut count, mut all, mut last) = (0, 0_usize, bytes_tensor::room(&[]));
        self.values(|value| {
            last = bytes_tensor::room(value.len()?);
            (count, all) = (count + 1, all + last);
            Ok(())
        })?;
        let more = self.expected.saturating_sub(count).saturating_mul(last);
        let mut values = Values::new(self, all.saturating_add(more))?;
        self.values(|value| values.text(value.len()?))?;
        values.filled(last)
    }

    fn out_of_range(&self, value: u64, index: usize) -> Error {
        // Narrow elements come in fields of int32, of unsigned datatypes, too.
        let value = value as i64;
        let (tensor, datatype) = (shown(self.tensor), types::name_of(self.datatype));
        let what = format!("element {index} of input '{tensor}' is out of range for {datatype}");
        Error::bad(format!("{what}: {value}")).quoting(self.tensor, what)
    }
}

/// The elements so far.
struct Values<'i, 'a> {
    of: &'i Input<'a>,
    out: Vec<u8>,
    count: usize,
}

impl<'i, 'a> Values<'i, 'a> {
    fn new(of: &'i Input<'a>, size: usize) -> Result<Self> {
        Ok(Values { of, out: memory::room(size)?, count: 0 })
    }

    #[inline]
    fn push(&mut self, more: usize, elements: &[u8]) -> Result<()> {
        self.counted(more)?;
        self.out.extend_from_slice(elements);
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.counted(1)?;
        memory::more(&mut self.out, bytes_tensor::room(text))?;
        bytes_tensor::push(&mut self.out, text);
        Ok(())
    }

    #[inline]
    fn counted(&mut self, more: usize) -> Result<()> {
        self.count += more;
        if self.count <= self.of.expected { Ok(()) } else { Err(self.too_many()) }
    }

    #[cold]
    fn too_many(&self) -> Error {
        Error::bad(format!(
            "input '{}' has more values than the {} elements of its shape",
            shown(self.of.tensor),
            self.of.expected
        ))
    }

    /// The last of `last` bytes once more for each that is missing; zeros where there is none.
    fn filled(mut self, last: usize) -> Result<Bytes> {
        let missing = self.of.expected.saturating_sub(self.count).saturating_mul(last);
        if missing == 0 {
            return Ok(self.out.into());
        }
        if missing > self.out.capacity() - self.out.len() {
            self.out.try_reserve_exact(missing).map_err(|_| memory::none_left())?;
        }
        let total = self.out.len() + missing;
        if self.count == 0 {
            self.out.resize(total, 0);
        }
        let from = self.out.len().saturating_sub(last);
        while self.out.len() < total {
            // Twice as many each time.
            let more = (self.out.len() - from).min(total - self.out.len());
            self.out.extend_from_within(from..from + more);
        }
        Ok(self.out.into())
    }
}
