//! Which requests run together, and how their tensors meet and part.

pub mod assemble;
pub mod policy;
