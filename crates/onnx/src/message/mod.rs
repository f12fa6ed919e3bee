//! The messages of `onnx.proto3` that a network needs, as borrowed parts of the file.
//!
//! Numbers of fields are those of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>. Fields that no operator needs
//! (documentation, training information, metadata) are skipped.

mod graph;
mod tensor;

pub(crate) use graph::{AttributeValue, Function, Graph, Node, ValueInfo};
pub(crate) use tensor::{External, Kind, Tensor};

use crate::Result;
use crate::error::malformed;
use crate::wire::Fields;

/// The most elements of one list of a file: nodes of a graph, tensors, attributes. It bounds the memory of a false claim.
pub(crate) const MOST: usize = 1 << 20;

/// The operator sets that a model or a function imports: domain and version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opsets<'a>(pub(crate) Vec<(&'a str, i64)>);

impl Opsets<'_> {
    /// The version of a domain. The empty name and `ai.onnx` are the standard's own domain.
    pub(crate) fn version(&self, domain: &str) -> Option<i64> {
        let plain = |domain: &str| if domain == "ai.onnx" { String::new() } else { domain.to_owned() };
        self.0.iter().find(|(known, _)| plain(known) == plain(domain)).map(|(_, version)| *version)
    }
}

/// `ModelProto`.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    /// The program that wrote it.
    pub(crate) producer: &'a str,
    pub(crate) opsets: Opsets<'a>,
    pub(crate) graph: Graph<'a>,
    pub(crate) functions: Vec<Function<'a>>,
}

impl<'a> Model<'a> {
    /// Reads a model; its graph's nodes and tensors, whose weights stay where they are.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        const NAME: &str = "ModelProto";
        let (mut opsets, mut graph, mut functions, mut producer) = (Opsets::default(), None, Vec::new(), "");
        for field in Fields::new(NAME, bytes) {
            match field? {
                (2, value) => producer = value.text(NAME)?,
                (7, value) => graph = Some(Graph::read(value.bytes(NAME)?)?),
                (8, value) => push(NAME, &mut opsets.0, opset(value.bytes(NAME)?)?)?,
                (25, value) => push(NAME, &mut functions, Function::read(value.bytes(NAME)?)?)?,
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| malformed(NAME, "there is no graph; is this an ONNX file?"))?;
        Ok(Self { producer, opsets, graph, functions })
    }
}

/// `OperatorSetIdProto`.
fn opset(bytes: &[u8]) -> Result<(&str, i64)> {
    const NAME: &str = "OperatorSetIdProto";
    let (mut domain, mut version) = ("", 0);
    for field in Fields::new(NAME, bytes) {
        match field? {
            (1, value) => domain = value.text(NAME)?,
            (2, value) => version = value.integer(NAME)?,
            _ => {}
        }
    }
    Ok((domain, version))
}

/// Appends to a list whose length is bounded.
fn push<T>(message: &'static str, list: &mut Vec<T>, value: T) -> Result<()> {
    if list.len() >= MOST {
        return Err(malformed(message, format!("a list has more than {MOST} entries")));
    }
    list.push(value);
    Ok(())
}
