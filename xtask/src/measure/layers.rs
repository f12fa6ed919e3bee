//! `measure --layers`: GC and collapse of the outputs of several layers, on the same inputs.

use anyhow::{Context, Result, bail};
use assess::{Layers, Part};
use candle_core::DType;
use gc_core::InputUnits;
use models::Architecture;
use serde_json::{Value, json};

use super::checkpoint::{Checkpoint, Subject};
use super::onnx::OnnxLayers;
use super::report::complexity;
use super::{Args, Inputs, Measured, Setting, flagged};
use crate::invocation::Invocation;
use crate::output::{self, FORMAT, Row, note};

/// The name that stands for every layer.
pub(super) const ALL: &str = "all";

/// A network of which several layers are measured.
enum Network {
    /// An architecture with weights.
    Checkpoint(Box<Checkpoint>),
    /// Layers of an ONNX file, which is read once.
    Graph(Box<OnnxLayers>),
}

/// A layer with what was measured on its output.
struct LayerResult {
    name: String,
    tensor: String,
    measured: Measured,
}

/// Measures every layer that was asked for.
pub(super) fn measure(
    args: &Args,
    invocation: &Invocation<'_>,
    inputs: &Inputs,
    dtype: DType,
    units: InputUnits,
) -> Result<()> {
    let device = args.network.device()?;
    let order = inputs.order(args.estimator.samples, args.estimator.may_stop(), args.estimator.seed)?;
    let network = Network::load(args, inputs, dtype)?;
    let names = network.names(args);
    let on = Setting { args, inputs, dtype, device: &device, order: &order };
    let layers = network.layers();
    let parts = on.measure(units, Some(names.len()), |images, options| {
        Part::of_layers(layers, &names, &images, options).map_err(flagged)
    });
    let parts = parts.with_context(|| format!("{} on {}", network.name(), inputs.name()))?;
    let measured: Vec<Measured> = parts.into_iter().map(|part| on.measured(part)).collect::<Result<_>>()?;
    let named = names.iter().zip(network.tensors(&names)).zip(measured);
    let results: Vec<LayerResult> =
        named.map(|((name, tensor), measured)| LayerResult { name: name.clone(), tensor, measured }).collect();
    for note in network.notes() {
        note!("{}: {note}", network.name());
    }
    if let Some(note) = args.estimator.unused() {
        note!("{note}");
    }
    for result in &results {
        if let Some(note) = args.estimator.unreached(&result.measured.gc) {
            note!("layer {}: {note}", result.name);
        }
    }
    if args.json {
        return output::json(&document(&network, inputs, dtype, &results)?, invocation);
    }
    let rows: Vec<Row> = results.iter().map(row).collect();
    output::table(&format!("{} on {}: geometric complexity of each layer", network.name(), inputs.name()), &rows);
    Ok(())
}

impl Network {
    /// Reads the network, and of a graph the layers that were asked for.
    fn load(args: &Args, inputs: &Inputs, dtype: DType) -> Result<Self> {
        let names = (args.layers != [ALL]).then_some(&args.layers[..]);
        if let Some(path) = args.network.onnx() {
            let layers = OnnxLayers::read(path, names, &inputs.shape(), dtype, &args.network.device()?);
            return Ok(Self::Graph(Box::new(layers.with_context(|| format!("--onnx on {}", inputs.name()))?)));
        }
        match args.network.load(inputs, dtype, None)? {
            Subject::Checkpoint(checkpoint) => {
                let mut named = args.layers.iter().filter(|layer| *layer != ALL);
                named.try_for_each(|layer| checkpoint.require_weights_of(layer))?;
                Ok(Self::Checkpoint(checkpoint))
            }
            Subject::Graph(graph) => bail!("{}: a graph without --onnx", graph.name),
        }
    }

    /// The layers that were asked for, in forward order where all were.
    fn names(&self, args: &Args) -> Vec<String> {
        match self {
            Self::Graph(layers) => layers.names.clone(),
            Self::Checkpoint(checkpoint) if args.layers == [ALL] => checkpoint.layer_names(),
            Self::Checkpoint(_) => args.layers.clone(),
        }
    }

    fn layers(&self) -> &dyn Layers {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.network.frozen(),
            Self::Graph(layers) => layers.as_ref(),
        }
    }

    /// The measured tensor of each layer, in words.
    fn tensors(&self, names: &[String]) -> Vec<String> {
        match self {
            Self::Checkpoint(_) => names.iter().map(|name| format!("output of `{name}`")).collect(),
            Self::Graph(layers) => layers.tensors().collect(),
        }
    }

    /// The file of the network.
    fn name(&self) -> &str {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.name,
            Self::Graph(layers) => &layers.name,
        }
    }

    /// The architecture; a graph has none.
    fn architecture(&self) -> Option<&Architecture> {
        match self {
            Self::Checkpoint(checkpoint) => Some(&checkpoint.architecture),
            Self::Graph(_) => None,
        }
    }

    /// How the names of the weights were matched, where they are not those of the parameters.
    fn notes(&self) -> &[String] {
        match self {
            Self::Checkpoint(checkpoint) => &checkpoint.notes,
            Self::Graph(_) => &[],
        }
    }
}

fn row(result: &LayerResult) -> Row {
    let gc = &result.measured.gc;
    let outputs = format!("{} outputs", gc.outputs);
    let collapse = result.measured.collapse.as_ref().and_then(|report| {
        let nc = output::measured(report.cdnv.unbiased?, report.cdnv.unbiased_std_error);
        Some(format!("; NC (unbiased) {nc}"))
    });
    Row::measured(
        &result.name,
        gc.value,
        gc.standard_error.total,
        &format!("{outputs}{}", collapse.unwrap_or_default()),
    )
}

/// The document that `--json` writes.
fn document(network: &Network, inputs: &Inputs, dtype: DType, results: &[LayerResult]) -> Result<Value> {
    let layer = |result: &LayerResult| -> Result<Value> {
        Ok(json!({
            "layer": result.name,
            "tensor": result.tensor,
            "gc": complexity(&result.measured.gc)?,
            "collapse": result.measured.collapse,
            "collapse_undefined": result.measured.undefined,
        }))
    };
    Ok(json!({
        "format": FORMAT,
        "weights": network.name(),
        "architecture": network.architecture(),
        "inputs": { "name": inputs.name(), "samples": inputs.count(), "shape": inputs.shape() },
        "dtype": dtype.as_str(),
        "layers": results.iter().map(layer).collect::<Result<Vec<_>>>()?,
    }))
}
