//! Examples to tensors: a feature that is called as an input gives a row of it.

use super::examples::Examples;
use super::features::{Element, Feature, Kind, features};
use super::request::Fields;
use super::types;
use crate::codec::bytes_tensor;
use crate::error::{Error, Result};
use crate::memory;
use crate::stop::Stop;
use crate::tensor::{Datatype, Shape, Signature, TensorSpec, show, shown};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// A tensor that examples make: the place of its input, its shape and its raw elements.
pub(in crate::codec) type Rows = (usize, Shape, Bytes);

/// Tensors of the inputs at `places` that the examples fill, a row for each example. Features of other
/// names are passed over, as they are there.
///
/// The caller has bounded what they take, by [`Examples::most_bytes`].
///
/// # Errors
/// `BadRequest` naming example, feature, what was expected and what came: a feature that is missing, of
/// another type or another number of values than a row has, a number that its input's type cannot hold, a
/// name that stands in the context, too; more texts than `max_texts`, or texts that are not UTF-8; a
/// malformed message; and those of `stop`.
pub(in crate::codec) fn rows(
    examples: &Examples,
    signature: &Signature,
    places: &[usize],
    max_texts: usize,
    stop: &Stop,
) -> Result<Vec<Rows>> {
    let mut fields = Fields::new(stop);
    let mut table = Table::new(examples, signature, places, max_texts);
    let shared = Context::read(examples, &table, &mut fields)?;
    let mut number = 0;
    examples.each(&mut fields, |example, fields| {
        table.row(number, example, &shared, fields)?;
        number += 1;
        Ok(())
    })?;
    table.finish(examples.count, stop)
}

/// Where an error is: the context, or an example by its number.
#[derive(Clone, Copy)]
struct Place<'a> {
    example: usize,
    feature: &'a str,
}

impl Place<'_> {
    /// In the words of their errors.
    fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::bad(format!("Key: {}, Index: {}.  {why}", shown(self.feature), self.example))
    }
}

/// What each example has beside its own.
struct Context<'a> {
    names: HashSet<&'a str>,
    /// By column.
    found: Vec<Option<Feature<'a>>>,
}

impl<'a> Context<'a> {
    fn read(examples: &'a Examples, table: &Table<'_>, fields: &mut Fields<'_>) -> Result<Self> {
        let mut context = Context { names: HashSet::new(), found: vec![None; table.columns.len()] };
        features(examples.context(), fields, &mut |_, name, feature| {
            context.names.insert(name);
            if let Some(&column) = table.by_name.get(name) {
                context.found[column] = Some(feature);
            }
            Ok(())
        })?;
        Ok(context)
    }
}

struct Table<'s> {
    columns: Vec<Column<'s>>,
    by_name: HashMap<&'s str, usize>,
    max_texts: usize,
}

impl<'s> Table<'s> {
    fn new(examples: &Examples, signature: &'s Signature, places: &[usize], max_texts: usize) -> Self {
        // Taken ahead is no more than all of them together were counted for.
        let mut left = examples.most_bytes();
        let of = |&place: &usize| {
            let column = Column::new(place, signature.inputs.get(place)?, examples.count, left);
            left -= column.room;
            Some(column)
        };
        let columns: Vec<_> = places.iter().filter_map(of).collect();
        let by_name = columns.iter().enumerate().map(|(at, column)| (&*column.spec.name, at)).collect();
        Table { columns, by_name, max_texts }
    }

    fn row(
        &mut self,
        number: usize,
        example: &[u8],
        shared: &Context<'_>,
        fields: &mut Fields<'_>,
    ) -> Result<()> {
        let mut found: smallvec::SmallVec<[Option<Feature<'_>>; 16]> = shared.found.as_slice().into();
        features(example, fields, &mut |_, name, feature| {
            if shared.names.contains(name) {
                let place = Place { example: number, feature: name };
                return Err(place.refuse("The feature stands in the example and in its context"));
            }
            if let Some(&column) = self.by_name.get(name) {
                found[column] = Some(feature);
            }
            Ok(())
        })?;
        for (column, feature) in self.columns.iter_mut().zip(found) {
            column.push(number, feature, self.max_texts, fields)?;
        }
        Ok(())
    }

    fn finish(self, count: usize, stop: &Stop) -> Result<Vec<Rows>> {
        let made = self.columns.into_iter().filter(|column| column.rows > 0);
        made.map(|column| column.finish(count, stop)).collect()
    }
}

/// An input as its rows come.
struct Column<'s> {
    place: usize,
    spec: &'s TensorSpec,
    /// Elements of a row: of its dimensions that are fixed, and of all once one row is there.
    fixed: usize,
    row: Option<usize>,
    /// Examples so far that have it.
    rows: usize,
    data: Vec<u8>,
    texts: usize,
    /// Bytes to take for it at once, when its first row comes.
    room: usize,
}

impl<'s> Column<'s> {
    /// `left`: bytes that may be taken ahead.
    fn new(place: usize, spec: &'s TensorSpec, examples: usize, left: usize) -> Self {
        let dims = spec.shape.get(1..).unwrap_or_default();
        let sizes = dims.iter().filter_map(|&dim| usize::try_from(dim).ok());
        let fixed = sizes.fold(1, usize::saturating_mul);
        let row = dims.iter().all(|&dim| dim >= 0).then_some(fixed);
        let size = spec.datatype.size().unwrap_or(0);
        let all = fixed.saturating_mul(size).saturating_mul(examples);
        let room = all.min(left);
        Column { place, spec, fixed, row, rows: 0, data: Vec::new(), texts: 0, room }
    }

    fn push(
        &mut self,
        number: usize,
        feature: Option<Feature<'_>>,
        max_texts: usize,
        fields: &mut Fields<'_>,
    ) -> Result<()> {
        let place = Place { example: number, feature: &self.spec.name };
        let Some(feature) = feature else {
            return if self.spec.optional && self.rows == 0 { Ok(()) } else { Err(self.missing(number)) };
        };
        if self.rows != number {
            // Left out before: an input is there for all examples, or for none.
            return Err(self.missing(0));
        }
        if !takes(self.spec.datatype, feature.kind) {
            return Err(place.refuse(format_args!(
                "Data types don't match. Data type: {} but expected type: {}",
                feature.kind.name(),
                types::plain_name_of(self.spec.datatype)
            )));
        }
        if self.rows == 0 {
            memory::more(&mut self.data, std::mem::take(&mut self.room))?;
        }
        self.rows += 1;
        let most = self.row.unwrap_or(usize::MAX);
        let mut count = 0usize;
        feature.values(fields, |element| {
            count += 1;
            // What is too much is counted, and not kept.
            if count > most { Ok(()) } else { self.element(element, place, max_texts) }
        })?;
        self.check_count(count, feature.kind, place)
    }

    #[inline]
    fn element(&mut self, element: Element<'_>, place: Place<'_>, max_texts: usize) -> Result<()> {
        match element {
            Element::Bytes(text) => {
                self.texts += 1;
                bytes_tensor::check_count(&self.spec.name, self.texts, max_texts)?;
                memory::more(&mut self.data, bytes_tensor::room(text))?;
                bytes_tensor::push(&mut self.data, text);
                Ok(())
            }
            Element::Float(value) if self.spec.datatype == Datatype::Fp64 => {
                put(&mut self.data, f64::from(value).to_le_bytes())
            }
            Element::Float(value) => put(&mut self.data, value.to_le_bytes()),
            Element::Int64(value) => {
                let put = integer(&mut self.data, self.spec.datatype, value)?;
                put.ok_or_else(|| self.out_of_range(value, place))
            }
        }
    }

    #[cold]
    fn out_of_range(&self, value: i64, place: Place<'_>) -> Error {
        let datatype = types::plain_name_of(self.spec.datatype);
        place.refuse(format_args!("The value {value} is out of range for the type {datatype}"))
    }

    #[cold]
    fn missing(&self, example: usize) -> Error {
        Error::bad(format!(
            "Index: {example}.  Feature: {} (data type: {}) is required but could not be found.",
            self.spec.name,
            types::plain_name_of(self.spec.datatype)
        ))
    }

    fn check_count(&mut self, count: usize, kind: Kind, place: Place<'_>) -> Result<()> {
        let fits = match self.row {
            Some(row) => count == row,
            // All rows are as long as the first.
            None => {
                self.row = Some(count);
                self.fixed > 0 && count.is_multiple_of(self.fixed)
            }
        };
        if fits {
            return Ok(());
        }
        let dims = self.dims(self.row.filter(|_| self.rows > 1));
        Err(place.refuse(format_args!(
            "Number of {} values != expected.  Values size: {count} but output shape: {}",
            kind.name(),
            show(&dims)
        )))
    }

    /// Of a row of so many elements, as far as that is known.
    fn dims(&self, row: Option<usize>) -> Shape {
        let open = row.and_then(|row| row.checked_div(self.fixed)).map_or(-1, |size| size as i64);
        let dims = self.spec.shape.get(1..).unwrap_or_default();
        dims.iter().map(|&dim| if dim < 0 { open } else { dim }).collect()
    }

    fn finish(self, count: usize, stop: &Stop) -> Result<Rows> {
        if self.rows != count {
            return Err(self.missing(self.rows));
        }
        let row = self.row.unwrap_or(0);
        let mut shape = Shape::from_slice(&[count as i64]);
        shape.extend(self.dims(Some(row)));
        if self.spec.datatype == Datatype::Bytes {
            bytes_tensor::check(&self.spec.name, &self.data, row.saturating_mul(count), stop)?;
        }
        Ok((self.place, shape, self.data.into()))
    }
}

/// Whether values of that kind may be an input's; each is looked at when it comes.
fn takes(datatype: Datatype, kind: Kind) -> bool {
    match kind {
        Kind::Bytes => datatype == Datatype::Bytes,
        Kind::Float => matches!(datatype, Datatype::Fp32 | Datatype::Fp64),
        Kind::Int64 => !matches!(datatype, Datatype::Bytes | Datatype::Fp16 | Datatype::Bf16),
    }
}

#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, element: [u8; N]) -> Result<()> {
    memory::more(out, N)?;
    out.extend_from_slice(&element);
    Ok(())
}

/// `None` where the type cannot hold the value, exactly.
#[inline]
fn integer(out: &mut Vec<u8>, datatype: Datatype, value: i64) -> Result<Option<()>> {
    macro_rules! put_as {
        ($kind:ty) => {
            <$kind>::try_from(value).ok().map(|value| put(out, value.to_le_bytes()))
        };
    }
    // A whole number is what it was only where no digit was lost on the way.
    let exact = |float: f64| (float as i128 == i128::from(value)).then_some(float);
    let done = match datatype {
        Datatype::Bool => (0..=1).contains(&value).then(|| put(out, [value as u8])),
        Datatype::Uint8 => put_as!(u8),
        Datatype::Uint16 => put_as!(u16),
        Datatype::Uint32 => put_as!(u32),
        Datatype::Uint64 => put_as!(u64),
        Datatype::Int8 => put_as!(i8),
        Datatype::Int16 => put_as!(i16),
        Datatype::Int32 => put_as!(i32),
        Datatype::Int64 => Some(put(out, value.to_le_bytes())),
        Datatype::Fp32 => exact(f64::from(value as f32)).map(|_| put(out, (value as f32).to_le_bytes())),
        Datatype::Fp64 => exact(value as f64).map(|float| put(out, float.to_le_bytes())),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Bytes => None,
    };
    done.transpose()
}
