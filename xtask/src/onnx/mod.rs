//! Features of an ONNX graph as a feature map with right derivatives.
//!
//! `candle-onnx` reads the file. Its evaluator runs candle's own convolution and pooling, whose derivatives are wrong for
//! some strides and groups; so the nodes are mapped to this workspace's operations here, and a graph with any other node
//! is refused with the list of them, before anything is measured.

mod attributes;
mod operators;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use candle_onnx::onnx::tensor_shape_proto::dimension;
use candle_onnx::onnx::{GraphProto, NodeProto, ValueInfoProto, type_proto};
use gc_core::{BatchNormMode, FeatureMap};

use crate::suggest;

/// Node types that multiply features by the weights of a head.
const HEADS: [&str; 2] = ["Gemm", "MatMul"];

/// A graph up to its features, with its weights.
pub(crate) struct OnnxFeatures {
    /// The file.
    name: String,
    input: String,
    /// The sizes of the input that the graph states; the first is the number of samples.
    sizes: Vec<Option<usize>>,
    output: String,
    nodes: Vec<NodeProto>,
    weights: HashMap<String, Tensor>,
}

impl OnnxFeatures {
    /// Reads a graph. The features are the tensor `layer`, or else the input of the last linear layer.
    ///
    /// # Errors
    /// A file that is no ONNX graph, nodes without an operation here (all of them are listed), an unknown `layer`.
    pub(crate) fn read(path: &Path, layer: Option<&str>, dtype: DType, device: &Device) -> Result<Self> {
        let name = path.display().to_string();
        let read = || -> Result<Self> {
            let model = candle_onnx::read_file(path)?;
            Self::of(name.clone(), &model.graph.context("the file holds no graph")?, layer, dtype, device)
        };
        read().with_context(|| name.clone())
    }

    fn of(name: String, graph: &GraphProto, layer: Option<&str>, dtype: DType, device: &Device) -> Result<Self> {
        let mut weights = HashMap::new();
        for tensor in &graph.initializer {
            let value = candle_onnx::eval::get_tensor(tensor, &tensor.name)?;
            weights.insert(tensor.name.clone(), in_kind(&value, dtype, device)?);
        }
        let inputs: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|input| !weights.contains_key(&input.name)).collect();
        let [input] = inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            bail!("expected a graph of one input, got {names:?}")
        };
        let output = features(graph, layer)?;
        let nodes = needed(&graph.node, &output);
        refuse_unsupported(&nodes)?;
        Ok(Self { name, input: input.name.clone(), sizes: sizes(input), output, nodes, weights })
    }

    /// The file.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Refuses samples of another shape than the graph states.
    pub(crate) fn check_inputs(&self, sample: &[usize]) -> Result<()> {
        let Some((_, stated)) = self.sizes.split_first() else { return Ok(()) };
        let fits = |(stated, size): (&Option<usize>, &usize)| stated.is_none_or(|stated| stated == *size);
        if stated.len() != sample.len() || !stated.iter().zip(sample).all(fits) {
            let stated: Vec<String> =
                stated.iter().map(|size| size.map_or_else(|| "any".to_owned(), |size| size.to_string())).collect();
            bail!("a sample has shape {sample:?}, the input `{}` takes [{}]", self.input, stated.join(", "));
        }
        Ok(())
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let mut values: HashMap<&str, Tensor> = HashMap::from([(self.input.as_str(), x.clone())]);
        for node in &self.nodes {
            let inputs: Vec<&Tensor> = node
                .input
                .iter()
                .filter(|name| !name.is_empty())
                .map(|name| {
                    values
                        .get(name.as_str())
                        .or_else(|| self.weights.get(name))
                        .ok_or_else(|| anyhow!("no tensor `{name}`"))
                })
                .collect::<Result<_>>()?;
            let output = operators::apply(node, &inputs)
                .with_context(|| format!("node `{}` ({}) on {:?}", node.name, node.op_type, shapes(&inputs)))?;
            let output = if node.op_type == "Constant" { in_kind(&output, x.dtype(), x.device())? } else { output };
            let name = node.output.first().context("a node without an output")?;
            values.insert(name.as_str(), output);
        }
        let features = values.get(self.output.as_str()).with_context(|| format!("no tensor `{}`", self.output))?;
        Ok(features.flatten_from(1)?)
    }
}

impl FeatureMap for &OnnxFeatures {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        Ok(self.run(x).map_err(|error| candle_core::Error::Msg(format!("{error:#}")))?)
    }

    fn batch_norm(&self) -> BatchNormMode {
        if self.nodes.iter().any(|node| node.op_type == "BatchNormalization") {
            BatchNormMode::Evaluation
        } else {
            BatchNormMode::Unstated
        }
    }
}

/// Floats in the dtype of the network; shapes and axes stay integers.
fn in_kind(tensor: &Tensor, dtype: DType, device: &Device) -> Result<Tensor> {
    let tensor = if tensor.dtype().is_float() { tensor.to_dtype(dtype)? } else { tensor.clone() };
    Ok(tensor.to_device(device)?)
}

fn shapes(tensors: &[&Tensor]) -> Vec<Vec<usize>> {
    tensors.iter().map(|tensor| tensor.dims().to_vec()).collect()
}

/// The sizes that a graph states for an input. A free size is `None`; without a stated shape there are no sizes.
fn sizes(input: &ValueInfoProto) -> Vec<Option<usize>> {
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Vec::new();
    };
    let size = |value: &Option<dimension::Value>| match value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(*size).ok(),
        _ => None,
    };
    tensor.shape.iter().flat_map(|shape| &shape.dim).map(|dim| size(&dim.value)).collect()
}

/// The name of the tensor that holds the features.
fn features(graph: &GraphProto, layer: Option<&str>) -> Result<String> {
    if let Some(layer) = layer {
        let known = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
        if !known.clone().any(|name| name == layer) {
            bail!("--layer {layer}: {}", suggest::unknown("tensor", layer, known));
        }
        return Ok(layer.to_owned());
    }
    let head = graph.node.iter().rev().find(|node| HEADS.contains(&node.op_type.as_str()));
    let input = head.and_then(|head| head.input.first());
    input
        .cloned()
        .context("the graph has no linear layer whose input would be the features; name a tensor with --layer")
}

/// The nodes on which the features depend, in the graph's order, which is a topological order.
fn needed(nodes: &[NodeProto], output: &str) -> Vec<NodeProto> {
    let mut wanted = BTreeSet::from([output.to_owned()]);
    let mut kept: Vec<NodeProto> = Vec::new();
    for node in nodes.iter().rev() {
        if node.output.iter().any(|name| wanted.contains(name)) {
            wanted.extend(node.input.iter().cloned());
            kept.push(node.clone());
        }
    }
    kept.reverse();
    kept
}

/// The unsupported operators on which the features depend, with the number of their nodes.
#[derive(Debug, PartialEq)]
pub(crate) struct UnsupportedOperators(BTreeMap<String, usize>);

impl std::fmt::Display for UnsupportedOperators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let listed: Vec<String> = self.0.iter().map(|(name, count)| format!("{name} (×{count})")).collect();
        write!(
            f,
            "the features depend on operators without a checked derivative here: {}; supported are {}",
            listed.join(", "),
            operators::SUPPORTED.join(", ")
        )
    }
}

impl std::error::Error for UnsupportedOperators {}

fn refuse_unsupported(nodes: &[NodeProto]) -> Result<(), UnsupportedOperators> {
    let mut missing = BTreeMap::new();
    for node in nodes.iter().filter(|node| !operators::SUPPORTED.contains(&node.op_type.as_str())) {
        *missing.entry(node.op_type.clone()).or_default() += 1;
    }
    if missing.is_empty() { Ok(()) } else { Err(UnsupportedOperators(missing)) }
}

#[cfg(test)]
mod tests;
