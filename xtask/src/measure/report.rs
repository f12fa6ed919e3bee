//! The output of `measure`: JSON, a table, and the GC of each sample as CSV.

use std::path::Path;

use anyhow::Result;
use candle_core::DType;
use gc_core::{Estimate, Method, Probe, Side};
use serde_json::{Value, json};

use super::checkpoint::Subject;
use super::{Inputs, Measured};
use crate::features::collapse_rows;
use crate::files::write_whole;
use crate::output::{self, FORMAT, Row, word};

/// The document that `--json` writes.
pub(super) fn document(
    subject: &Subject,
    inputs: &Inputs,
    layer: Option<&str>,
    dtype: DType,
    measured: &Measured,
) -> Result<Value> {
    Ok(json!({
        "format": FORMAT,
        "weights": subject.name(),
        "architecture": subject.architecture(),
        "inputs": { "name": inputs.name(), "samples": inputs.count(), "shape": inputs.shape() },
        "layer": layer,
        "tensor": subject.tensor(layer),
        "tensor_is_guess": subject.tensor_is_guess(),
        "dtype": dtype.as_str(),
        "gc": complexity(&measured.gc)?,
        "collapse": measured.collapse,
        "collapse_undefined": measured.undefined,
        "collapse_without_head": measured.without_head,
    }))
}

/// An estimate as JSON, with its method as a word and its standard error as a number.
pub(crate) fn complexity(gc: &Estimate) -> Result<Value> {
    let mut value = serde_json::to_value(gc)?;
    if let Value::Object(fields) = &mut value {
        fields.remove("per_sample");
        let parts = fields.remove("standard_error");
        let settings = fields.insert("method".to_owned(), method(&gc.method).into());
        fields.insert("method_settings".to_owned(), settings.unwrap_or_default());
        fields.insert("std_error".to_owned(), json!(gc.standard_error.total));
        fields.insert("std_error_parts".to_owned(), parts.unwrap_or_default());
    }
    Ok(value)
}

fn method(method: &Method) -> &'static str {
    match method {
        Method::Exact { by: Side::Rows } => "exact-rows",
        Method::Exact { by: Side::Columns } => "exact-columns",
        Method::EntryMask { .. } => "entry-mask",
        Method::OutputSample { .. } => "output-sample",
        Method::Projections { by: Side::Rows, .. } => "rows",
        Method::Projections { by: Side::Columns, .. } => "columns",
        _ => "other",
    }
}

fn probe(method: &Method) -> String {
    match method {
        Method::Projections { probe: Probe::Rademacher, .. } => ", Rademacher".to_owned(),
        Method::Projections { probe, .. } => format!(", {probe:?}"),
        Method::EntryMask { rate } => format!(", share {rate}"),
        _ => String::new(),
    }
}

/// The lines of the table.
pub(super) fn rows(measured: &Measured) -> Vec<Row> {
    let gc = &measured.gc;
    let error = gc.standard_error.total;
    let mut rows = vec![Row::measured("gc", gc.value, error, "geometric complexity: mean ‖∂f/∂x‖²_F")];
    if let Some(interval) = gc.interval {
        let (low, high, level) = (interval.low, interval.high, 100.0 * interval.level);
        let ends = output::interval(gc.value, error.unwrap_or(0.0), [low, high]);
        rows.push(Row::text("interval", format!("{ends} at {level} %")));
    }
    let probes = if gc.probes > 1 && !matches!(gc.method, Method::Exact { .. }) {
        format!(", {} probes for each sample", gc.probes)
    } else {
        String::new()
    };
    rows.push(Row::text("method", format!("{}{}{probes}", method(&gc.method), probe(&gc.method))));
    rows.push(Row::text(
        "measured",
        format!(
            "{} samples in {} passes, {} inputs to {} outputs",
            gc.samples,
            gc.passes.total(),
            gc.inputs,
            gc.outputs
        ),
    ));
    let units =
        if gc.units == gc_core::InputUnits::Normalised { "as the network sees them" } else { "pixels in [0, 1]" };
    rows.push(Row::text(
        "inputs",
        format!("{units}; batch norm: {}; stopped: {}", word(&gc.batch_norm), word(&gc.stopped)),
    ));
    if let Some(report) = &measured.collapse {
        rows.extend(collapse_rows(report));
    }
    if let Some(reason) = &measured.undefined {
        rows.push(Row::text("collapse", format!("undefined: {reason}")));
    }
    if let Some(reason) = &measured.without_head {
        rows.push(Row::text("head", format!("left out: {reason}")));
    }
    rows
}

/// The columns of the file of --per-sample.
pub(super) const PER_SAMPLE: [&str; 3] = ["sample", "label", "gc"];

/// Writes the GC of each measured sample, in the order of the inputs.
pub(super) fn per_sample(path: &Path, gc: &Estimate, order: &[usize], labels: Option<&[u32]>) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(PER_SAMPLE)?;
    let mut lines: Vec<(usize, f64)> = order.iter().copied().zip(gc.per_sample.iter().flatten().copied()).collect();
    lines.sort_unstable_by_key(|(sample, _)| *sample);
    for (sample, value) in lines {
        let label = labels.map_or_else(String::new, |labels| labels[sample].to_string());
        writer.write_record([sample.to_string(), label, value.to_string()])?;
    }
    write_whole(path, &writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}
