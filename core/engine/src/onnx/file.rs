//! What must be known of a file before onnxruntime may see it: external data, domains of
//! operators, which inputs state no shape.

use super::{NotOnnx, Result, fields, keep, last, messages, text};
use crate::codec::wire::Value;
use std::collections::BTreeSet;

/// Protobuf's own parsers stop at the same depth.
const MAX_DEPTH: usize = 100;
const EXTERNAL: u64 = 1;

/// A tensor kept outside the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External<'a> {
    pub tensor: &'a str,
    /// Keys and values as written.
    pub entries: Vec<(&'a str, &'a str)>,
    /// Whether it is one of the main graph's.
    pub is_initializer: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File<'a> {
    pub external: Vec<External<'a>>,
    /// Of the operators that nodes use, and of the functions that the file defines.
    pub domains: BTreeSet<&'a str>,
    pub function_domains: BTreeSet<&'a str>,
    /// Inputs of the graph that state no shape, not even a rank.
    pub unshaped_inputs: BTreeSet<&'a str>,
    pub has_graph: bool,
    pub sparse_tensors: usize,
    pub ir_version: Option<u64>,
    /// `OperatorSetIdProto`s as they stand there.
    pub opsets: Vec<&'a [u8]>,
}

/// Walks a serialized `ModelProto`.
pub fn read(model: &[u8]) -> Result<File<'_>> {
    let mut found = File::default();
    for field in fields(model) {
        match field? {
            (1, Value::Varint(version)) => found.ir_version = Some(version),
            (7, Value::Len(graph)) => {
                found.has_graph = true;
                found.graph(graph, 1)?;
                found.inputs(graph)?;
            }
            (8, Value::Len(opset)) => keep(&mut found.opsets, opset)?,
            (20, Value::Len(training)) => found.training(training)?,
            (25, Value::Len(function)) => found.function(function)?,
            _ => {}
        }
    }
    Ok(found)
}

impl<'a> File<'a> {
    fn training(&mut self, training: &'a [u8]) -> Result<()> {
        for field in messages(training) {
            if let (1 | 2, graph) = field? {
                self.graph(graph, 2)?;
            }
        }
        Ok(())
    }

    fn graph(&mut self, graph: &'a [u8], depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(NotOnnx::TooDeep(MAX_DEPTH));
        }
        for field in messages(graph) {
            match field? {
                (1, node) => self.node(node, depth)?,
                (5, tensor) => self.tensor(tensor, depth == 1)?,
                (15, sparse) => self.sparse_tensor(sparse)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn inputs(&mut self, graph: &'a [u8]) -> Result<()> {
        for field in messages(graph) {
            let (11, input) = field? else { continue };
            let Some(stated) = last(input, 2)? else { continue };
            let Some(tensor) = last(stated, 1)? else { continue };
            if last(tensor, 2)?.is_none() {
                self.unshaped_inputs.insert(text(last(input, 1)?.unwrap_or_default())?);
            }
        }
        Ok(())
    }

    fn function(&mut self, function: &'a [u8]) -> Result<()> {
        for field in messages(function) {
            match field? {
                (7, node) => self.node(node, 2)?,
                (10, domain) => {
                    self.function_domains.insert(text(domain)?);
                }
                (11, attribute) => self.attribute(attribute, 2)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &'a [u8], depth: usize) -> Result<()> {
        let mut domain = "";
        for field in messages(node) {
            match field? {
                (5, attribute) => self.attribute(attribute, depth)?,
                (7, name) => domain = text(name)?,
                _ => {}
            }
        }
        self.domains.insert(domain);
        Ok(())
    }

    fn attribute(&mut self, attribute: &'a [u8], depth: usize) -> Result<()> {
        for field in messages(attribute) {
            match field? {
                (5 | 10, tensor) => self.tensor(tensor, false)?,
                (6 | 11, graph) => self.graph(graph, depth + 1)?,
                (22 | 23, sparse) => self.sparse_tensor(sparse)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn sparse_tensor(&mut self, sparse: &'a [u8]) -> Result<()> {
        self.sparse_tensors += 1;
        for field in messages(sparse) {
            if let (1 | 2, tensor) = field? {
                self.tensor(tensor, false)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &'a [u8], is_initializer: bool) -> Result<()> {
        let (mut name, mut entries, mut is_external) = ("", Vec::new(), false);
        for field in fields(tensor) {
            match field? {
                (8, Value::Len(value)) => name = text(value)?,
                (13, Value::Len(entry)) => keep(&mut entries, (part(entry, 1)?, part(entry, 2)?))?,
                (14, Value::Varint(location)) => is_external = location == EXTERNAL,
                _ => {}
            }
        }
        // Entries count whatever the location says: a tensor may be split over several
        // occurrences of one field, which protobuf merges.
        if is_external || !entries.is_empty() {
            keep(&mut self.external, External { tensor: name, entries, is_initializer })?;
        }
        Ok(())
    }
}

fn part(entry: &[u8], number: u32) -> Result<&str> {
    text(last(entry, number)?.unwrap_or_default())
}
