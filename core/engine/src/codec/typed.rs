//! Protobuf `InferTensorContents` to raw little-endian elements, in one pass.

use super::bytes_tensor;
use super::wire::{Malformed, Reader, Value};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, shown};
use bytes::Bytes;

/// The fields of `InferTensorContents`: number, and the datatype Triton's text
/// gives to data that came in it.
const FIELDS: [(u32, &str); 8] = [
    (BOOL, "BOOL"),
    (INT, "INT32"),
    (INT64, "INT64"),
    (UINT, "UINT32"),
    (UINT64, "UINT64"),
    (FP32, "FP32"),
    (FP64, "FP64"),
    (BYTES, "BYTES"),
];
const BOOL: u32 = 1;
const INT: u32 = 2;
const INT64: u32 = 3;
const UINT: u32 = 4;
const UINT64: u32 = 5;
const FP32: u32 = 6;
const FP64: u32 = 7;
const BYTES: u32 = 8;

/// Turns the typed contents of one input into raw bytes of `datatype`.
///
/// `parts` are the encoded `InferTensorContents` messages in wire order, merged
/// by concatenation. Packed and unpacked encodings are both read. FP32 and FP64
/// in one packed run are not copied. No more memory is taken than the parts'
/// lengths justify, whatever `expected_elements` says.
///
/// # Errors
/// `BadRequest` naming `tensor` when the data is in another datatype's field,
/// an integer does not fit the datatype, the count is not `expected_elements`,
/// or the message is malformed (faults 47, 52, 58).
pub fn typed_to_raw(
    tensor: &str,
    model: &str,
    datatype: Datatype,
    parts: &[Bytes],
    expected_elements: usize,
) -> Result<Bytes> {
    let input = Input { tensor, model, datatype, parts, expected: expected_elements };
    match datatype {
        Datatype::Bool => input.integers(|v| Some([u8::from(v != 0)])),
        Datatype::Int8 => input.integers(|v| i8::try_from(v as i64).ok().map(i8::to_le_bytes)),
        Datatype::Int16 => input.integers(|v| i16::try_from(v as i64).ok().map(i16::to_le_bytes)),
        Datatype::Int32 => input.integers(|v| i32::try_from(v as i64).ok().map(i32::to_le_bytes)),
        Datatype::Uint8 => input.integers(|v| u8::try_from(v).ok().map(u8::to_le_bytes)),
        Datatype::Uint16 => input.integers(|v| u16::try_from(v).ok().map(u16::to_le_bytes)),
        Datatype::Uint32 => input.integers(|v| u32::try_from(v).ok().map(u32::to_le_bytes)),
        Datatype::Int64 | Datatype::Uint64 => input.integers(|v| Some(v.to_le_bytes())),
        Datatype::Fp32 => input.floats::<4>(),
        Datatype::Fp64 => input.floats::<8>(),
        Datatype::Bytes => input.strings(),
        Datatype::Fp16 | Datatype::Bf16 => input.only_raw(),
    }
}

/// The one field that carries a datatype; `None` where only raw bytes do.
fn field_of(datatype: Datatype) -> Option<u32> {
    match datatype {
        Datatype::Bool => Some(BOOL),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Some(INT),
        Datatype::Int64 => Some(INT64),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Some(UINT),
        Datatype::Uint64 => Some(UINT64),
        Datatype::Fp32 => Some(FP32),
        Datatype::Fp64 => Some(FP64),
        Datatype::Bytes => Some(BYTES),
        Datatype::Fp16 | Datatype::Bf16 => None,
    }
}

struct Input<'a> {
    tensor: &'a str,
    model: &'a str,
    datatype: Datatype,
    parts: &'a [Bytes],
    expected: usize,
}

impl<'a> Input<'a> {
    /// Calls `each` with every value of the datatype's own field.
    fn values(&self, mut each: impl FnMut(&'a Bytes, Value<'a>) -> Result<()>) -> Result<()> {
        let wanted = field_of(self.datatype);
        for part in self.parts {
            let mut reader = Reader::new(part);
            while let Some((number, value)) = reader.field()? {
                if Some(number) == wanted {
                    each(part, value)?;
                } else if let Some((_, found)) = FIELDS.iter().find(|(field, _)| *field == number) {
                    self.refuse_other(number, value, found)?;
                }
            }
        }
        Ok(())
    }

    /// Data in another datatype's field; an empty packed run holds none.
    fn refuse_other(&self, number: u32, value: Value<'_>, found: &str) -> Result<()> {
        if number != BYTES && value == Value::Len(&[]) {
            return Ok(());
        }
        Err(Error::bad(format!(
            "unexpected explicit tensor data for input tensor '{}' for model '{}' of type '{found}', \
             expected datatype '{}'",
            shown(self.tensor),
            shown(self.model),
            self.datatype
        )))
    }

    fn integers<const N: usize>(&self, convert: impl Fn(u64) -> Option<[u8; N]>) -> Result<Bytes> {
        // An element takes at least one byte in the message.
        let mut out = Vec::with_capacity(self.expected.min(self.parts_len()) * N);
        let mut got = 0usize;
        let mut put = |value: u64| -> Result<()> {
            let element = convert(value).ok_or_else(|| self.out_of_range(value, got))?;
            got += 1;
            if got <= self.expected {
                out.extend_from_slice(&element);
            }
            Ok(())
        };
        self.values(|_, value| match value {
            Value::Varint(value) => put(value),
            Value::Len(packed) => {
                let mut reader = Reader::new(packed);
                while !reader.is_empty() {
                    put(reader.varint()?)?;
                }
                Ok(())
            }
            _ => Err(Malformed("a field has the wrong wire type").into()),
        })?;
        self.counted(got, out.into())
    }

    fn floats<const N: usize>(&self) -> Result<Bytes> {
        // Little-endian on the wire and in memory: only several runs need joining.
        let mut joined = Joined::default();
        let mut got = 0usize;
        self.values(|part, value| {
            match value {
                Value::Fixed32(element) if N == 4 => joined.push_slice(&element),
                Value::Fixed64(element) if N == 8 => joined.push_slice(&element),
                Value::Len(packed) if packed.len().is_multiple_of(N) => joined.push(part.slice_ref(packed)),
                Value::Len(_) => return Err(Malformed("a packed field is cut inside an element").into()),
                _ => return Err(Malformed("a field has the wrong wire type").into()),
            }
            got = joined.len() / N;
            Ok(())
        })?;
        self.counted(got, joined.finish())
    }

    fn strings(&self) -> Result<Bytes> {
        let mut out = Vec::with_capacity(self.parts_len().min(self.expected.saturating_mul(32)));
        let mut got = 0usize;
        self.values(|_, value| {
            let element = value.len()?;
            got += 1;
            if got <= self.expected {
                bytes_tensor::push(&mut out, element);
            }
            Ok(())
        })?;
        if got == self.expected {
            Ok(out.into())
        } else {
            Err(bytes_tensor::wrong_count(self.tensor, self.expected, got))
        }
    }

    /// FP16 and BF16 have no field: there must be no data, and none expected.
    fn only_raw(&self) -> Result<Bytes> {
        self.values(|_, _| Ok(()))?;
        if self.expected == 0 {
            return Ok(Bytes::new());
        }
        Err(Error::bad(format!(
            "input '{}' for model '{}' has datatype {}, which must be sent in raw_input_contents",
            shown(self.tensor),
            shown(self.model),
            self.datatype
        )))
    }

    fn counted(&self, got: usize, data: Bytes) -> Result<Bytes> {
        if got == self.expected {
            return Ok(data);
        }
        Err(Error::bad(format!(
            "unexpected number of elements for input '{}' for model '{}': expected {}, got {got}",
            shown(self.tensor),
            shown(self.model),
            self.expected
        )))
    }

    fn out_of_range(&self, value: u64, index: usize) -> Error {
        let signed = matches!(self.datatype, Datatype::Int8 | Datatype::Int16 | Datatype::Int32);
        let value = if signed { i128::from(value as i64) } else { i128::from(value) };
        Error::bad(format!(
            "element {index} of input '{}' for model '{}' is out of range for {}: {value}",
            shown(self.tensor),
            shown(self.model),
            self.datatype
        ))
    }

    fn parts_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// Byte runs joined into one, without a copy while there is only one.
#[derive(Default)]
struct Joined {
    first: Bytes,
    all: Vec<u8>,
}

impl Joined {
    fn push(&mut self, run: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = run;
        } else {
            self.push_slice(&run);
        }
    }

    fn push_slice(&mut self, run: &[u8]) {
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(run);
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}
