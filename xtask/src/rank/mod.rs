//! `rank`: scores of several networks on the same data, and how well each score predicts their few-shot accuracy.

mod chart;
mod checkpoints;
mod finished_runs;
mod rank_table;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::files::{replaceable_start, write_whole};
use crate::invocation::Invocation;
use crate::measure::InputsArgs;
use crate::output;
use checkpoints::CheckpointArgs;

const EXAMPLES: &str = "\
Examples:
  cargo xtask rank --model resnet18-cifar a.safetensors b.safetensors c.safetensors --data cifar10:test
  cargo xtask rank --list backbones.toml --inputs inputs.safetensors --chart rank.svg
  cargo xtask rank a.onnx b.onnx --data cifar10:test
  cargo xtask rank --runs results/fig4-quick-glyphs --against ridge_accuracy

A list names its checkpoints, each with weights and a model or an architecture file, or with an ONNX file (`onnx`, `layer`);
paths are relative to the list:
  [[checkpoint]]
  name = \"small\"
  weights = \"small.safetensors\"
  model = \"vgg-small\"";

/// Arguments of `rank`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    checkpoints: CheckpointArgs,
    #[command(flatten)]
    inputs: InputsArgs,
    /// Rank the runs of a finished `reproduce` by their recorded measurements; nothing is measured
    #[arg(long, value_name = "DIR", conflicts_with_all = ["weights", "list", "data", "inputs", "data_dir", "model",
        "arch", "probes", "ways", "shots", "queries", "episodes", "head", "seed", "size", "mean", "std"])]
    runs: Option<PathBuf>,
    /// Recorded metric with which every score is correlated
    #[arg(long, value_name = "METRIC", default_value = "ridge_accuracy", requires = "runs")]
    against: String,
    /// Score by which the table is sorted
    #[arg(long, value_name = "SCORE", default_value = "gc")]
    by: String,
    /// Write a chart of every score against the accuracy, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Write JSON to standard output
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn rank(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    if let Some(path) = &args.chart {
        replaceable_start(path, b"<svg", "SVG").context("--chart")?;
    }
    let rank_table = match &args.runs {
        Some(folder) => finished_runs::read(folder, &args.against)?,
        None => args.checkpoints.measure(&args.inputs, &args.by, args.chart.is_some())?,
    };
    let rank_table = rank_table.sorted(&args.by)?;
    if let Some(path) = &args.chart {
        write_whole(path, chart::svg(&rank_table)?.as_bytes())?;
    }
    if args.json {
        return output::json(&rank_table.document(), invocation);
    }
    output::say!("{}", rank_table.text());
    Ok(())
}
