//! Protobuf `InferTensorContents` to raw little-endian elements, in one pass.

use super::bytes_tensor;
use super::wire::{Malformed, Reader, Value};
use crate::error::{Error, Result};
use crate::memory;
use crate::stop::Stop;
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
/// or the message is malformed (faults 47, 52, 58); and those of `stop`.
pub fn typed_to_raw(
    tensor: &str,
    model: &str,
    datatype: Datatype,
    parts: &[Bytes],
    expected_elements: usize,
    stop: &Stop,
) -> Result<Bytes> {
    let input = Input { tensor, model, datatype, parts, expected: expected_elements, stop };
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
    stop: &'a Stop,
}

impl<'a> Input<'a> {
    /// Calls `each` with every value of the datatype's own field.
    fn values(&self, mut each: impl FnMut(&'a Bytes, Value<'a>) -> Result<()>) -> Result<()> {
        let wanted = field_of(self.datatype);
        let mut fields = 0usize;
        for part in self.parts {
            let mut reader = Reader::new(part);
            while let Some((number, value)) = reader.field()? {
                fields += 1;
                self.look(fields)?;
                if Some(number) == wanted {
                    each(part, value)?;
                } else if let Some((_, found)) = FIELDS.iter().find(|(field, _)| *field == number) {
                    self.refuse_other(number, value, found)?;
                }
            }
        }
        Ok(())
    }

    /// Now and then, whether the work is still wanted.
    #[inline]
    fn look(&self, done: usize) -> Result<()> {
        if done.is_multiple_of(bytes_tensor::LOOK) { self.stop.check() } else { Ok(()) }
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
        let mut out = memory::room(self.expected.min(self.parts_len()).saturating_mul(N))?;
        let mut got = 0usize;
        let mut put = |value: u64| -> Result<()> {
            let element = convert(value).ok_or_else(|| self.out_of_range(value, got))?;
            got += 1;
            if got <= self.expected {
                out.extend_from_slice(&element);
            }
            self.look(got)
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
                Value::Fixed32(element) if N == 4 => joined.push_slice(&element)?,
                Value::Fixed64(element) if N == 8 => joined.push_slice(&element)?,
                Value::Len(packed) if packed.len().is_multiple_of(N) => {
                    joined.push(part.slice_ref(packed))?
                }
                Value::Len(_) => return Err(Malformed("a packed field is cut inside an element").into()),
                _ => return Err(Malformed("a field has the wrong wire type").into()),
            }
            got = joined.len() / N;
            Ok(())
        })?;
        self.counted(got, joined.finish())
    }

    fn strings(&self) -> Result<Bytes> {
        let mut out = memory::room(self.parts_len().min(self.expected.saturating_mul(32)))?;
        let mut got = 0usize;
        self.values(|_, value| {
            let element = value.len()?;
            got += 1;
            if got <= self.expected {
                memory::more(&mut out, bytes_tensor::room(element))?;
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
        let (tensor, model, expected) = (shown(self.tensor), shown(self.model), self.expected);
        let words = format!(
            "unexpected number of elements for input '{tensor}' for model '{model}': expected {expected}, got {got}"
        );
        Err(Error::bad(words).quoting_nothing())
    }

    fn out_of_range(&self, value: u64, index: usize) -> Error {
        let signed = matches!(self.datatype, Datatype::Int8 | Datatype::Int16 | Datatype::Int32);
        let value = if signed { i128::from(value as i64) } else { i128::from(value) };
        let (tensor, model, datatype) = (shown(self.tensor), shown(self.model), self.datatype);
        let what =
            format!("element {index} of input '{tensor}' for model '{model}' is out of range for {datatype}");
        Error::bad(format!("{what}: {value}")).quoting(self.tensor, what)
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
    fn push(&mut self, run: Bytes) -> Result<()> {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = run;
            return Ok(());
        }
        self.push_slice(&run)
    }

    fn push_slice(&mut self, run: &[u8]) -> Result<()> {
        if self.all.is_empty() {
            memory::more(&mut self.all, self.first.len() + run.len())?;
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        memory::more(&mut self.all, run.len())?;
        self.all.extend_from_slice(run);
        Ok(())
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn finish(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::oracle::{InferTensorContents, UnpackedContents};
    use crate::stop::NEVER;
    use proptest::prelude::*;
    use prost::Message;

    fn raw(datatype: Datatype, contents: &impl Message, expected: usize) -> Result<Bytes> {
        typed_to_raw("x", "m", datatype, &[contents.encode_to_vec().into()], expected, &NEVER)
    }

    fn refusal(datatype: Datatype, contents: &impl Message, expected: usize) -> String {
        raw(datatype, contents, expected).unwrap_err().message
    }

    #[test]
    fn fault_52_data_in_a_wrong_field_is_refused_in_tritons_words() {
        let contents = InferTensorContents { int_contents: vec![1], ..Default::default() };
        assert_eq!(
            refusal(Datatype::Fp32, &contents, 1),
            "unexpected explicit tensor data for input tensor 'x' for model 'm' of type 'INT32', \
             expected datatype 'FP32'"
        );
        let both = InferTensorContents {
            fp32_contents: vec![1.0],
            bytes_contents: vec![Bytes::new()],
            ..Default::default()
        };
        assert!(refusal(Datatype::Fp32, &both, 1).contains("of type 'BYTES'"));
        assert!(
            refusal(Datatype::Int64, &contents, 1).contains("of type 'INT32', expected datatype 'INT64'")
        );
        assert!(refusal(Datatype::Uint8, &contents, 1).contains("expected datatype 'UINT8'"));
        assert!(refusal(Datatype::Fp16, &contents, 1).contains("expected datatype 'FP16'"));
    }

    #[test]
    fn fault_52_fp16_and_bf16_are_only_raw() {
        let empty = InferTensorContents::default();
        assert!(refusal(Datatype::Fp16, &empty, 2).contains("raw_input_contents"));
        assert!(refusal(Datatype::Bf16, &empty, 2).contains("raw_input_contents"));
        assert!(raw(Datatype::Bf16, &empty, 0).unwrap().is_empty());
    }

    #[test]
    fn fault_52_counts_that_differ_are_named() {
        let three = InferTensorContents { int_contents: vec![1, 2, 3], ..Default::default() };
        assert!(refusal(Datatype::Int8, &three, 2).ends_with("expected 2, got 3"));
        assert!(refusal(Datatype::Int32, &three, 4).ends_with("expected 4, got 3"));
        let floats = InferTensorContents { fp32_contents: vec![1.0; 3], ..Default::default() };
        assert!(refusal(Datatype::Fp32, &floats, usize::MAX / 8).contains("got 3"));
        let strings = InferTensorContents { bytes_contents: vec![Bytes::from("a"); 3], ..Default::default() };
        assert!(refusal(Datatype::Bytes, &strings, 2).contains("expected 2 string elements, got 3"));
        assert!(refusal(Datatype::Bytes, &strings, usize::MAX).contains("got 3"));
    }

    #[test]
    fn fault_58_integers_that_do_not_fit_are_refused_not_wrapped() {
        for (datatype, bad) in [
            (Datatype::Int8, 128),
            (Datatype::Int8, -129),
            (Datatype::Int16, 32768),
            (Datatype::Int16, -32769),
        ] {
            let contents = InferTensorContents { int_contents: vec![0, bad], ..Default::default() };
            let text = refusal(datatype, &contents, 2);
            assert!(text.contains("element 1 of input 'x'"), "{text}");
            assert!(text.contains(&format!("out of range for {datatype}: {bad}")), "{text}");
        }
        for (datatype, bad) in [(Datatype::Uint8, 256), (Datatype::Uint16, 65536)] {
            let contents = InferTensorContents { uint_contents: vec![bad], ..Default::default() };
            assert!(refusal(datatype, &contents, 1).contains("out of range"));
        }
        // No encoder writes 2^32 into an int32 field; its low bits are not the value meant.
        let wide = InferTensorContents { int64_contents: vec![1 << 32], ..Default::default() };
        let mut encoded = wide.encode_to_vec();
        encoded[0] = 0x12;
        assert!(typed_to_raw("x", "m", Datatype::Int32, &[encoded.into()], 1, &NEVER).is_err());
    }

    #[test]
    fn fault_47_contents_that_are_cut_are_refused() {
        for bad in [&[0x32, 3, 0, 0, 0][..], &[0x12, 1, 0x80], &[0x32, 9, 1], &[0x30, 1], &[0x42, 5, b'a']] {
            for datatype in Datatype::ALL {
                assert!(typed_to_raw("x", "m", datatype, &[Bytes::copy_from_slice(bad)], 1, &NEVER).is_err());
            }
        }
    }

    #[test]
    fn one_packed_run_of_floats_is_not_copied() {
        let encoded = Bytes::from(
            InferTensorContents { fp32_contents: vec![1.0, 2.0], ..Default::default() }.encode_to_vec(),
        );
        let raw = typed_to_raw("x", "m", Datatype::Fp32, std::slice::from_ref(&encoded), 2, &NEVER).unwrap();
        assert_eq!(raw.as_ptr(), encoded[2..].as_ptr());
    }

    fn le<const N: usize>(elements: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
        elements.into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn typed_is_raw_for_every_datatype(
            bools: Vec<bool>, i8s: Vec<i8>, i16s: Vec<i16>, i32s: Vec<i32>, i64s: Vec<i64>,
            u8s: Vec<u8>, u16s: Vec<u16>, u32s: Vec<u32>, u64s: Vec<u64>, f32s: Vec<f32>, f64s: Vec<f64>,
            strings: Vec<Vec<u8>>,
        ) {
            let empty = InferTensorContents::default;
            let ints = |v: Vec<i32>| InferTensorContents { int_contents: v, ..empty() };
            let uints = |v: Vec<u32>| InferTensorContents { uint_contents: v, ..empty() };
            let mut packed = Vec::new();
            for s in &strings {
                bytes_tensor::push(&mut packed, s);
            }
            for (datatype, contents, count, want) in [
                (Datatype::Bool, InferTensorContents { bool_contents: bools.clone(), ..empty() }, bools.len(),
                    bools.iter().map(|b| u8::from(*b)).collect()),
                (Datatype::Int8, ints(i8s.iter().map(|&v| v.into()).collect()), i8s.len(), le(i8s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Int16, ints(i16s.iter().map(|&v| v.into()).collect()), i16s.len(), le(i16s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Int32, ints(i32s.clone()), i32s.len(), le(i32s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Int64, InferTensorContents { int64_contents: i64s.clone(), ..empty() }, i64s.len(), le(i64s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Uint8, uints(u8s.iter().map(|&v| v.into()).collect()), u8s.len(), u8s.clone()),
                (Datatype::Uint16, uints(u16s.iter().map(|&v| v.into()).collect()), u16s.len(), le(u16s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Uint32, uints(u32s.clone()), u32s.len(), le(u32s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Uint64, InferTensorContents { uint64_contents: u64s.clone(), ..empty() }, u64s.len(), le(u64s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Fp32, InferTensorContents { fp32_contents: f32s.clone(), ..empty() }, f32s.len(), le(f32s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Fp64, InferTensorContents { fp64_contents: f64s.clone(), ..empty() }, f64s.len(), le(f64s.iter().map(|v| v.to_le_bytes()))),
                (Datatype::Bytes, InferTensorContents { bytes_contents: strings.iter().cloned().map(Bytes::from).collect(), ..empty() }, strings.len(), packed),
            ] {
                prop_assert_eq!(raw(datatype, &contents, count).unwrap(), want);
            }
        }

        #[test]
        fn unpacked_and_split_contents_read_like_packed_ones(
            bools: Vec<bool>, i32s: Vec<i32>, u64s: Vec<u64>, f32s: Vec<f32>, f64s: Vec<f64>,
        ) {
            let loose = UnpackedContents { bool_contents: bools.clone(), ..Default::default() };
            prop_assert_eq!(raw(Datatype::Bool, &loose, bools.len()).unwrap(), bools.iter().map(|b| u8::from(*b)).collect::<Vec<_>>());
            let loose = UnpackedContents { int_contents: i32s.clone(), ..Default::default() };
            prop_assert_eq!(raw(Datatype::Int32, &loose, i32s.len()).unwrap(), le(i32s.iter().map(|v| v.to_le_bytes())));
            let loose = UnpackedContents { uint64_contents: u64s.clone(), ..Default::default() };
            prop_assert_eq!(raw(Datatype::Uint64, &loose, u64s.len()).unwrap(), le(u64s.iter().map(|v| v.to_le_bytes())));
            let loose = UnpackedContents { fp32_contents: f32s.clone(), ..Default::default() };
            let packed = InferTensorContents { fp32_contents: f32s.clone(), ..Default::default() };
            let parts = [Bytes::from(packed.encode_to_vec()), loose.encode_to_vec().into(), packed.encode_to_vec().into()];
            let thrice = le(f32s.iter().chain(&f32s).chain(&f32s).map(|v| v.to_le_bytes()));
            prop_assert_eq!(typed_to_raw("x", "m", Datatype::Fp32, &parts, 3 * f32s.len(), &NEVER).unwrap(), thrice);
            let loose = UnpackedContents { fp64_contents: f64s.clone(), ..Default::default() };
            prop_assert_eq!(raw(Datatype::Fp64, &loose, f64s.len()).unwrap(), le(f64s.iter().map(|v| v.to_le_bytes())));
        }

        #[test]
        fn any_bytes_end(part: Vec<u8>, expected in 0usize..8, datatype in 0usize..14) {
            let _ = typed_to_raw("x", "m", Datatype::ALL[datatype], &[part.into()], expected, &NEVER);
        }
    }
}
