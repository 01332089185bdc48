//! What MLflow's `MLmodel` declares of a model beside its tensors, and how strictly requests of MLflow's
//! scoring protocol are held against it.

use super::Datatype;
use std::sync::Arc;

/// The rules for one version. Without a declaration the tensors themselves are the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub declared: Declared,
    pub params: Vec<Param>,
    /// Inputs that nobody asked for are refused, not passed over.
    pub strict: bool,
    /// Values that a cast changes are taken: fractions for integers, integers that a float rounds.
    pub lossy: bool,
    /// Why no request can be held against what is declared.
    pub unusable: Option<Box<str>>,
    /// A request that does not fit is told no more than that.
    pub terse: bool,
}

/// The inputs of `MLmodel`'s signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Declared {
    #[default]
    Nothing,
    /// Either all have names, or there is one without.
    Tensors(Vec<Field>),
    /// Either all have names, or none.
    Columns(Vec<Field>),
}

/// One input: a tensor, or a column of a data frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Option<Arc<str>>,
    /// What its values are, before they become the model's own datatype.
    pub datatype: Datatype,
    /// Of a tensor, -1 for what varies; empty for a column.
    pub shape: Vec<i64>,
    pub required: bool,
    /// The type in MLflow's words.
    pub kind: Box<str>,
    /// What a text of it stands for.
    pub text: Text,
    /// Lists that each value of a column lies in: 1 for an array, 2 for an array of arrays.
    pub lists: usize,
}

/// What the texts of a column of `Bytes` stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Text {
    #[default]
    Itself,
    /// A date and time, which the model gets as pandas prints it.
    Datetime,
    /// Bytes, in base64.
    Binary,
}

impl Text {
    /// By MLflow's name of a column's type.
    pub fn of(name: &str) -> Text {
        match name {
            "datetime" => Text::Datetime,
            "binary" => Text::Binary,
            _ => Text::Itself,
        }
    }
}

/// A parameter that requests may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: Box<str>,
    pub kind: ParamKind,
    /// Whether its value is a list.
    pub list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    Boolean,
    Integer,
    Long,
    Float,
    Text,
    /// Whatever JSON can say.
    Any,
}

impl ParamKind {
    /// By MLflow's name of the type.
    pub fn of(name: &str) -> ParamKind {
        match name {
            "boolean" => ParamKind::Boolean,
            "integer" => ParamKind::Integer,
            "long" => ParamKind::Long,
            "float" | "double" => ParamKind::Float,
            "string" | "datetime" => ParamKind::Text,
            _ => ParamKind::Any,
        }
    }
}

impl Declared {
    pub fn fields(&self) -> &[Field] {
        match self {
            Declared::Nothing => &[],
            Declared::Tensors(fields) | Declared::Columns(fields) => fields,
        }
    }

    /// Whether requests name what they bring.
    pub fn has_names(&self) -> bool {
        self.fields().first().is_none_or(|field| field.name.is_some())
    }
}
