//! MLflow's scoring requests: JSON in four forms and CSV, to requests and back.
//!
//! A request is decoded against the version that answers it: its numbers become what the model's own
//! signature (`MLmodel`) or its tensors ask for. What comes as tensors is answered as tensors, what comes
//! as a data frame as rows, but for models whose signature says otherwise.

mod answer;
mod cells;
mod csv;
mod datetime;
mod frame;
mod grid;
mod halves;
mod matrix;
mod params;
mod plan;
mod reader;
mod refusals;
mod request;
mod rows;
mod split;
mod target;
mod tensors;

pub use answer::Predictions;
pub use refusals::{Table, error, not_run};
pub use request::{decode_json, decode_table};

#[cfg(test)]
mod tests;
