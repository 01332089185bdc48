//! A graph's nodes, values and small constants, for analysis; weights are not looked at.

use super::constant::{
    Constant, FLOAT, INT64, SMALL, count_floats, count_integers, extend_floats, extend_integers, float,
    sparse, tensor,
};
use super::{NotOnnx, Result, fields, keep, merged, messages, text};
use crate::codec::wire::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

const MAX_DEPTH: usize = 64;

// AttributeProto's types.
const A_FLOAT: u64 = 1;
const AN_INT: u64 = 2;
const FLOATS: u64 = 6;
const INTS: u64 = 7;

pub type Named<T> = BTreeMap<Box<str>, T>;

/// Domain and name.
pub type FunctionName = (Box<str>, Box<str>);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub graph: Graph,
    /// Of several for one name the last counts.
    pub functions: Vec<(FunctionName, Graph)>,
    /// Domain -> version.
    pub opsets: Named<i64>,
    /// 0 where none is stated.
    pub ir_version: i64,
}

/// A graph, or a function's body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub inputs: Vec<Box<str>>,
    pub outputs: Vec<Box<str>>,
    /// Value -> stated element type.
    pub types: Named<i64>,
    /// In their order; of several with one name the last counts.
    pub constants: Vec<(Box<str>, Constant)>,
    /// Of a function: its own versions of the operator sets, and its attributes' defaults.
    pub opsets: Named<i64>,
    pub defaults: Option<Box<Node>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// With a function's overload, if it has one, after a colon.
    pub operator: Box<str>,
    /// Empty for the default one, also where the file says `ai.onnx`.
    pub domain: Box<str>,
    pub inputs: Vec<Box<str>>,
    pub outputs: Vec<Box<str>>,
    pub name: Box<str>,
    // Attributes by name; lists of numbers are tensors of rank 1.
    pub numbers: Named<i64>,
    pub floats: Named<f64>,
    /// Bytes: they may be no UTF-8.
    pub texts: Named<Box<[u8]>>,
    pub tensors: Named<Constant>,
    /// In their order; of several with one name the last counts.
    pub graphs: Vec<(Box<str>, Arc<Graph>)>,
    /// In a function: attribute -> the function's own attribute whose value it takes.
    pub references: Named<Box<str>>,
    pub text_lists: Named<Texts>,
    /// Those of other types: lists of tensors and of graphs, sparse tensors.
    pub others: BTreeSet<Box<str>>,
}

/// A list of texts, as fields of a message like those that they stood in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    fields: Arc<[u8]>,
    count: usize,
}

impl Texts {
    const FIELD: u32 = 9;

    fn of(attribute: &[u8]) -> Result<Texts> {
        let (mut kept, mut count) = (Vec::new(), 0);
        for field in messages(attribute) {
            if let (Texts::FIELD, text) = field? {
                kept.try_reserve(text.len() + HEAD).map_err(|_| NotOnnx::NoMemory)?;
                put(&mut kept, text);
                count += 1;
            }
        }
        Ok(Texts { fields: kept.into(), count })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn contains(&self, wanted: &[u8]) -> bool {
        messages(&self.fields).flatten().any(|(_, text)| text == wanted)
    }
}

/// Of a tag and a length.
const HEAD: usize = 11;

fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.push((Texts::FIELD << 3 | 2) as u8);
    let mut len = text.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(text);
}

/// Walks a serialized `ModelProto`.
pub fn read(model: &[u8]) -> Result<Model> {
    let mut found = Model::default();
    for field in fields(model) {
        match field? {
            (1, Value::Varint(version)) => found.ir_version = version as i64,
            // As protobuf has it: a second occurrence goes on with the first.
            (7, Value::Len(graph)) => read_graph(graph, 1, &mut found.graph)?,
            (8, Value::Len(opset)) => read_opset(opset, &mut found.opsets)?,
            (25, Value::Len(function)) => keep(&mut found.functions, read_function(function)?)?,
            _ => {}
        }
    }
    Ok(found)
}

fn read_opset(data: &[u8], opsets: &mut Named<i64>) -> Result<()> {
    let (mut domain, mut version) = ("", 1);
    for field in fields(data) {
        match field? {
            (1, Value::Len(name)) => domain = text(name)?,
            (2, Value::Varint(number)) => version = number as i64,
            _ => {}
        }
    }
    // Of several for one domain the last counts, whichever of its names it goes by.
    opsets.insert(domain_of(domain).into(), version);
    Ok(())
}

/// The default domain has two names.
fn domain_of(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn read_graph(data: &[u8], depth: usize, graph: &mut Graph) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(NotOnnx::TooDeep(MAX_DEPTH));
    }
    for field in messages(data) {
        match field? {
            (1, node) => keep(&mut graph.nodes, read_node(node, depth)?)?,
            (5, data) => {
                let (name, constant) = tensor(data)?;
                keep(&mut graph.constants, (name.into(), constant))?;
            }
            (15, data) => keep(&mut graph.constants, sparse(data)?)?,
            (11, info) => keep(&mut graph.inputs, read_value(info, &mut graph.types)?)?,
            (12, info) => keep(&mut graph.outputs, read_value(info, &mut graph.types)?)?,
            (13, info) => {
                read_value(info, &mut graph.types)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Graph {
    /// Constants that are there more than once.
    pub fn repeated(&self) -> BTreeSet<&str> {
        let mut seen = HashSet::new();
        self.constants.iter().map(|(name, _)| &**name).filter(|name| !seen.insert(*name)).collect()
    }
}

fn read_function(data: &[u8]) -> Result<(FunctionName, Graph)> {
    let (mut graph, mut defaults) = (Graph::default(), Box::<Node>::default());
    let (mut name, mut domain, mut overload) = ("", "", "");
    for field in messages(data) {
        match field? {
            (1, value) => name = text(value)?,
            (4, input) => keep(&mut graph.inputs, text(input)?.into())?,
            (5, output) => keep(&mut graph.outputs, text(output)?.into())?,
            (7, node) => keep(&mut graph.nodes, read_node(node, 2)?)?,
            (9, opset) => read_opset(opset, &mut graph.opsets)?,
            (10, value) => domain = text(value)?,
            (11, attribute) => read_attribute(attribute, &mut defaults, 2)?,
            (12, info) => {
                read_value(info, &mut graph.types)?;
            }
            (13, value) => overload = text(value)?,
            _ => {}
        }
    }
    graph.defaults = Some(defaults);
    Ok(((domain_of(domain).into(), overloaded(name, overload)), graph))
}

fn overloaded(name: &str, overload: &str) -> Box<str> {
    if overload.is_empty() { name.into() } else { format!("{name}:{overload}").into() }
}

/// The value's name; its element type goes into `types`.
fn read_value(info: &[u8], types: &mut Named<i64>) -> Result<Box<str>> {
    let (mut name, mut stated) = ("", Vec::new());
    for field in messages(info) {
        match field? {
            (1, value) => name = text(value)?,
            (2, value) => keep(&mut stated, value)?,
            _ => {}
        }
    }
    let stated = merged(&stated)?;
    let mut tensors = Vec::new();
    for field in messages(&stated) {
        if let (1, tensor) = field? {
            keep(&mut tensors, tensor)?;
        }
    }
    for field in fields(&merged(&tensors)?) {
        if let (1, Value::Varint(elem_type)) = field? {
            types.insert(name.into(), elem_type as i64);
        }
    }
    Ok(name.into())
}

fn read_node(data: &[u8], depth: usize) -> Result<Node> {
    let (mut node, mut operator, mut overload) = (Node::default(), "", "");
    for field in messages(data) {
        match field? {
            (1, input) => keep(&mut node.inputs, text(input)?.into())?,
            (2, output) => keep(&mut node.outputs, text(output)?.into())?,
            (3, name) => node.name = text(name)?.into(),
            (4, name) => operator = text(name)?,
            (5, attribute) => read_attribute(attribute, &mut node, depth)?,
            (7, domain) => node.domain = domain_of(text(domain)?).into(),
            (8, name) => overload = text(name)?,
            _ => {}
        }
    }
    node.operator = overloaded(operator, overload);
    Ok(node)
}

/// An `AttributeProto`'s fields that count.
#[derive(Default)]
struct Attribute<'a> {
    name: &'a str,
    reference: &'a str,
    stated: u64,
    float: Option<f64>,
    number: Option<i64>,
    text: Option<&'a [u8]>,
    tensors: Vec<&'a [u8]>,
    graphs: Vec<&'a [u8]>,
    // How long the lists are.
    floats: usize,
    integers: usize,
    has_texts: bool,
    has_others: bool,
}

impl<'a> Attribute<'a> {
    fn take(&mut self, number: u32, value: Value<'a>) -> Result<()> {
        match (number, value) {
            (1, Value::Len(name)) => self.name = text(name)?,
            (2, Value::Fixed32(bytes)) => self.float = float(&bytes),
            (3, Value::Varint(number)) => self.number = Some(number as i64),
            (4, Value::Len(text)) => self.text = Some(text),
            (5, Value::Len(tensor)) => keep(&mut self.tensors, tensor)?,
            (6, Value::Len(graph)) => keep(&mut self.graphs, graph)?,
            (7, value) => self.floats += count_floats(value),
            (8, value) => self.integers += count_integers(value)?,
            (9, Value::Len(_)) => self.has_texts = true,
            (10 | 11 | 22 | 23, _) => self.has_others = true,
            (20, Value::Varint(stated)) => self.stated = stated,
            (21, Value::Len(reference)) => self.reference = text(reference)?,
            _ => {}
        }
        Ok(())
    }

    /// A list of integers or of floats; long ones are only counted.
    fn list(&self, data: &[u8]) -> Result<Option<Constant>> {
        if self.integers > 0 || self.stated == INTS {
            let values = if self.integers <= SMALL { Some(integers(data)?) } else { None };
            let dims = vec![self.integers as i64];
            return Ok(Some(Constant { elem_type: INT64, dims, values, floats: None }));
        }
        if self.floats > 0 || self.stated == FLOATS {
            let floats = if self.floats <= SMALL { Some(floats(data)?) } else { None };
            let dims = vec![self.floats as i64];
            return Ok(Some(Constant { elem_type: FLOAT, dims, values: None, floats }));
        }
        Ok(None)
    }
}

fn integers(attribute: &[u8]) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    for field in fields(attribute) {
        if let (8, value) = field? {
            extend_integers(&mut found, value, SMALL)?;
        }
    }
    Ok(found)
}

fn floats(attribute: &[u8]) -> Result<Vec<f64>> {
    let mut found = Vec::new();
    for field in fields(attribute) {
        if let (7, value) = field? {
            extend_floats::<4>(&mut found, value, SMALL);
        }
    }
    Ok(found)
}

fn read_attribute(data: &[u8], node: &mut Node, depth: usize) -> Result<()> {
    let mut read = Attribute::default();
    for field in fields(data) {
        let (number, value) = field?;
        read.take(number, value)?;
    }
    if !read.reference.is_empty() {
        // It has no value of its own, whatever stands there.
        node.references.insert(read.name.into(), read.reference.into());
        return Ok(());
    }
    add_single(&read, node, depth)?;
    if let Some(list) = read.list(data)? {
        node.tensors.insert(read.name.into(), list);
    }
    if read.has_texts {
        node.text_lists.insert(read.name.into(), Texts::of(data)?);
    }
    if read.has_others {
        node.others.insert(read.name.into());
    }
    Ok(())
}

/// A float, an integer, a text, a tensor or a graph.
fn add_single(read: &Attribute<'_>, node: &mut Node, depth: usize) -> Result<()> {
    if let Some(float) = read.float {
        node.floats.insert(read.name.into(), float);
    }
    if let Some(number) = read.number {
        node.numbers.insert(read.name.into(), number);
    }
    // Writers may leave out what is the default of its type.
    match read.stated {
        AN_INT => drop(node.numbers.entry(read.name.into()).or_insert(0)),
        A_FLOAT => drop(node.floats.entry(read.name.into()).or_insert(0.0)),
        _ => {}
    }
    if let Some(text) = read.text {
        node.texts.insert(read.name.into(), text.into());
    }
    if !read.tensors.is_empty() {
        let data = merged(&read.tensors)?;
        let (_, constant) = tensor(&data)?;
        node.tensors.insert(read.name.into(), constant);
    }
    if !read.graphs.is_empty() {
        let mut graph = Graph::default();
        read_graph(&merged(&read.graphs)?, depth + 1, &mut graph)?;
        keep(&mut node.graphs, (read.name.into(), graph.into()))?;
    }
    Ok(())
}
