//! What a version asks of a request: each input with what its values become, and how what came is held
//! against it.

use super::refusals;
use super::target::{Target, numpy_name};
use crate::codec::json::elements::Leaves;
use crate::codec::{InputTensor, Payload};
use crate::error::{Error, ErrorCode, Result};
use crate::tensor::schema::{Declared, Field, Text};
use crate::tensor::{Shape, Signature, TensorSpec, fits};
use smallvec::SmallVec;
use std::collections::HashMap;

/// Characters of a schema that an error repeats, and names of extra inputs that one keeps.
const SHOWN: usize = 512;
const EXTRAS: usize = 17;

pub(super) struct Plan<'s> {
    pub signature: &'s Signature,
    /// The request, for errors.
    pub text: &'s str,
    /// Columns by name, where there are many.
    by_name: HashMap<&'s str, usize>,
}

/// One tensor that is asked for.
pub(super) struct Wanted<'s> {
    pub spec: &'s TensorSpec,
    pub target: Target<'s>,
    field: Option<&'s Field>,
}

impl<'s> Wanted<'s> {
    pub fn name(&self) -> &'s str {
        self.target.name
    }

    pub fn is_required(&self) -> bool {
        self.field.map_or(!self.spec.optional, |field| field.required)
    }
}

impl<'s> Plan<'s> {
    pub fn new(signature: &'s Signature, text: &'s str) -> Result<Plan<'s>> {
        if let Some(why) = &signature.schema.unusable {
            return Err(refusals::unusable(why));
        }
        let mut by_name = HashMap::new();
        if let Declared::Columns(fields) = &signature.schema.declared
            && fields.len() > 16
        {
            by_name =
                fields.iter().enumerate().filter_map(|(at, f)| Some((f.name.as_deref()?, at))).collect();
        }
        Ok(Plan { signature, text, by_name })
    }

    pub fn declared(&self) -> &'s Declared {
        &self.signature.schema.declared
    }

    /// The tensors that a request in tensor form is to bring.
    pub fn tensors(&self) -> SmallVec<[Wanted<'s>; 4]> {
        let inputs = &self.signature.inputs;
        let Declared::Tensors(fields) = self.declared() else {
            return inputs.iter().map(|spec| Wanted { spec, target: plain(spec), field: None }).collect();
        };
        let wanted = |(at, field): (usize, &'s Field)| {
            let by_name = field.name.as_deref().and_then(|name| self.signature.input_near(name, at));
            let spec = by_name.or_else(|| self.single())?;
            let name = field.name.as_deref().unwrap_or(&spec.name);
            let target = Target { name, declared: field.datatype, ..plain(spec) };
            Some(Wanted { spec, target, field: Some(field) })
        };
        fields.iter().enumerate().filter_map(wanted).collect()
    }

    /// The only input that a request has to bring.
    pub fn single(&self) -> Option<&'s TensorSpec> {
        let mut required = self.signature.inputs.iter().filter(|spec| !spec.optional);
        let first = required.next()?;
        required.next().is_none().then_some(first)
    }

    /// What the cells of a column become; `None` where nobody asks for it.
    pub fn column(&self, name: &str, position: usize) -> Option<Target<'s>> {
        let single = self.single();
        match self.declared() {
            Declared::Nothing => {
                let spec = single.or_else(|| self.signature.input_near(name, position))?;
                Some(Target { exact: true, ..plain(spec) })
            }
            Declared::Columns(fields) if self.declared().has_names() => {
                let at = self.field(fields, name)?;
                let field = &fields[at];
                let spec = single.or_else(|| self.signature.input_near(name, at))?;
                Some(column(field.name.as_deref()?, field, spec))
            }
            Declared::Columns(fields) => {
                let spec = single.or_else(|| self.signature.inputs.get(position))?;
                Some(column(&spec.name, fields.get(position)?, spec))
            }
            Declared::Tensors(fields) => {
                let field = match fields.as_slice() {
                    [one] if one.name.is_none() => one,
                    all => all.iter().find(|field| field.name.as_deref() == Some(name))?,
                };
                let by_name = field.name.as_deref().and_then(|name| self.signature.input(name));
                let spec = by_name.map(|(_, spec)| spec).or(single)?;
                Some(column(field.name.as_deref().unwrap_or(&spec.name), field, spec))
            }
        }
    }

    /// Whether the signature has a column of this name, which no input may ask for.
    pub fn is_declared(&self, name: &str) -> bool {
        match self.declared() {
            Declared::Columns(fields) => self.field(fields, name).is_some(),
            Declared::Nothing | Declared::Tensors(_) => false,
        }
    }

    fn field(&self, fields: &[Field], name: &str) -> Option<usize> {
        if self.by_name.is_empty() {
            return fields.iter().position(|field| field.name.as_deref() == Some(name));
        }
        self.by_name.get(name).copied()
    }

    /// Names of inputs that nobody asked for: noted, and refused where that is wished.
    pub fn note_extra(&self, extra: &mut Vec<String>, name: &str) {
        if extra.len() < EXTRAS && !extra.iter().any(|known| known == name) {
            extra.push(crate::tensor::shown(name));
        }
    }

    /// # Errors
    /// `SchemaMismatch` with inputs that are missing, and those that are too many where that is
    /// wished.
    pub fn check_names(&self, missing: &[&str], extra: &[String]) -> Result<()> {
        if !missing.is_empty() {
            return Err(self.mismatch(&refusals::missing_inputs(missing, extra)));
        }
        if self.signature.schema.strict && !extra.is_empty() {
            return Err(self.mismatch(&refusals::extra_inputs(extra)));
        }
        Ok(())
    }

    /// A tensor of the request, once its shape is one that is asked for.
    ///
    /// # Errors
    /// `SchemaMismatch` naming both shapes.
    pub fn input(
        &self,
        spec: &TensorSpec,
        declared: Option<&[i64]>,
        shape: Shape,
        Leaves { data, count }: Leaves,
    ) -> Result<InputTensor> {
        let (expected, fitting) = match declared {
            Some(declared) => (declared, fits(declared, &shape)),
            None => {
                let scalar = spec.shape.is_empty() && shape.as_slice() == [1];
                (spec.expected(), scalar || spec.taken(&shape).is_some())
            }
        };
        if !fitting {
            return Err(self.mismatch(&refusals::wrong_shape(&shape, expected)));
        }
        Ok(InputTensor {
            name: spec.name.to_string(),
            datatype: spec.datatype.name().to_owned(),
            shape,
            payload: Payload::Json { data, count },
        })
    }

    /// As [`Plan::input`], of a tensor that was asked for.
    pub fn tensor(&self, wanted: &Wanted<'_>, shape: Shape, leaves: Leaves) -> Result<InputTensor> {
        self.input(wanted.spec, wanted.field.map(|field| &*field.shape), shape, leaves)
    }

    /// What does not fit the schema, without the schema where that is wished.
    pub fn told(&self, error: Error) -> Error {
        let is_terse = self.signature.schema.terse && error.code == ErrorCode::SchemaMismatch;
        if is_terse { refusals::terse_mismatch() } else { error }
    }

    #[cold]
    pub fn mismatch(&self, reason: &str) -> Error {
        refusals::mismatch(self.text, &self.schema(), reason)
    }

    /// The schema as MLflow prints it, the beginning of long ones.
    fn schema(&self) -> String {
        let tensor = |name: Option<&str>, datatype, shape: &[i64]| {
            let kind = format!("Tensor('{}', {})", numpy_name(datatype), refusals::tuple(shape));
            name.map_or(kind.clone(), |name| format!("'{name}': {kind}"))
        };
        let mut parts: Vec<String> = Vec::new();
        match self.declared() {
            Declared::Nothing => {
                parts.extend(
                    self.signature
                        .inputs
                        .iter()
                        .map(|spec| tensor(Some(&spec.name), spec.datatype, spec.expected())),
                );
            }
            Declared::Tensors(fields) => {
                parts.extend(fields.iter().map(|f| tensor(f.name.as_deref(), f.datatype, &f.shape)));
            }
            Declared::Columns(fields) => parts.extend(fields.iter().take(64).map(|field| {
                let need = if field.required { "required" } else { "optional" };
                let kind = format!("{} ({need})", field.kind);
                field.name.as_deref().map_or(kind.clone(), |name| format!("'{name}': {kind}"))
            })),
        }
        let mut text: String = parts.join(", ").chars().take(SHOWN).collect();
        text.insert(0, '[');
        text.push(']');
        text
    }
}

fn plain(spec: &TensorSpec) -> Target<'_> {
    Target {
        name: &spec.name,
        declared: spec.datatype,
        datatype: spec.datatype,
        exact: false,
        text: Text::Itself,
        lists: 0,
    }
}

fn column<'s>(name: &'s str, field: &Field, spec: &TensorSpec) -> Target<'s> {
    Target {
        name,
        declared: field.datatype,
        datatype: spec.datatype,
        exact: true,
        text: field.text,
        lists: field.lists,
    }
}
