//! `measure --layers`: GC and collapse of the outputs of several layers, on the same inputs.

use anyhow::{Context, Result};
use candle_core::DType;
use gc_core::InputUnits;
use serde_json::{Value, json};

use super::checkpoint::Subject;
use super::report::complexity;
use super::{Args, Inputs, Measured, Measurement};
use crate::invocation::Invocation;
use crate::output::{self, FORMAT, Row, note};

/// The name that stands for every layer.
pub(super) const ALL: &str = "all";

/// A layer with what was measured on its output.
struct LayerResult {
    name: String,
    tensor: Option<String>,
    measured: Measured,
}

/// Measures every layer that was asked for.
pub(super) fn measure(
    args: &Args,
    invocation: &Invocation<'_>,
    inputs: &Inputs,
    dtype: DType,
    units: &InputUnits,
) -> Result<()> {
    let device = args.network.device()?;
    let order = inputs.order(args.estimator.samples, args.estimator.may_stop(), args.estimator.seed)?;
    // A graph is read up to the measured tensor, so each of its layers is a subject of its own.
    let whole = args.network.load(inputs, dtype, None)?;
    let names = names(args, &whole)?;
    let mut results = Vec::new();
    for name in names {
        let graph = match &whole {
            Subject::Checkpoint(_) => None,
            Subject::Graph(_) => Some(args.network.load(inputs, dtype, Some(&name))?),
        };
        let (subject, layer) = (graph.as_ref().unwrap_or(&whole), Some(name.as_str()));
        let measurement = Measurement { args, layer, subject, inputs, dtype, device: &device, order: &order };
        let measured = measurement.measure(units.clone()).with_context(|| format!("layer `{name}`"))?;
        results.push(LayerResult { tensor: subject.tensor(layer), name, measured });
    }
    for note in whole.notes() {
        note!("{}: {note}", whole.name());
    }
    if args.json {
        return output::json(&document(&whole, inputs, dtype, &results)?, invocation);
    }
    let rows: Vec<Row> = results.iter().map(row).collect();
    output::table(&format!("{} on {}: geometric complexity of each layer", whole.name(), inputs.name()), &rows);
    Ok(())
}

/// The layers that were asked for, in forward order where all were.
fn names(args: &Args, subject: &Subject) -> Result<Vec<String>> {
    if args.layers != [ALL] {
        return Ok(args.layers.clone());
    }
    Ok(match subject {
        Subject::Checkpoint(checkpoint) => checkpoint.network.frozen().layer_names(),
        Subject::Graph(graph) => graph.linear_nodes()?,
    })
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
fn document(subject: &Subject, inputs: &Inputs, dtype: DType, results: &[LayerResult]) -> Result<Value> {
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
        "weights": subject.name(),
        "architecture": subject.architecture(),
        "inputs": { "name": inputs.name(), "samples": inputs.count(), "shape": inputs.shape() },
        "dtype": dtype.as_str(),
        "layers": results.iter().map(layer).collect::<Result<Vec<_>>>()?,
    }))
}
