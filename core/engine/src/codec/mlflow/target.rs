//! What the values of an input are to become.

use crate::tensor::Datatype;
use crate::tensor::schema::Text;

/// What the values of one input, or of one column, become.
#[derive(Clone, Debug)]
pub(super) struct Target<'s> {
    /// The input's name, or the column's, for errors.
    pub name: &'s str,
    /// What the model's signature says that they are.
    pub declared: Datatype,
    /// What the model takes.
    pub datatype: Datatype,
    /// Of a data frame: an integer that a float cannot hold is refused.
    pub exact: bool,
    /// What a text stands for.
    pub text: Text,
    /// Lists that each value of a column lies in.
    pub lists: usize,
}

impl Target<'_> {
    /// Whether its values are converted once, and rounded as decimals are.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.declared == self.datatype && !self.exact
    }
}

/// numpy's name of a datatype, as MLflow's clients know it.
pub(super) fn numpy_name(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "bool",
        Datatype::Uint8 => "uint8",
        Datatype::Uint16 => "uint16",
        Datatype::Uint32 => "uint32",
        Datatype::Uint64 => "uint64",
        Datatype::Int8 => "int8",
        Datatype::Int16 => "int16",
        Datatype::Int32 => "int32",
        Datatype::Int64 => "int64",
        Datatype::Fp16 => "float16",
        Datatype::Bf16 => "bfloat16",
        Datatype::Fp32 => "float32",
        Datatype::Fp64 => "float64",
        Datatype::Bytes => "object",
    }
}
