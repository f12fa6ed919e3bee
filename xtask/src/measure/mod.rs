//! `measure`: geometric complexity of a network on any data, and its collapse where there are labels.

pub(crate) mod checkpoint;
mod estimator;
mod inputs;
mod layers;
mod list_models;
pub(crate) mod onnx;
mod progress;
mod report;

use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use assess::{Assessment, Data, Images, Network, Options, Part, Progress, Source, Stage};
use candle_core::{DType, Device};
use clap::ValueEnum;
use collapse::{CollapseReport, ReportOptions, Scatter};
use gc_core::{Estimate, InputUnits};

use checkpoint::{NetworkArgs, Subject};
use estimator::EstimatorArgs;
pub(crate) use inputs::{Inputs, InputsArgs};

use crate::features::{check_class_count, with_flag};
use crate::files::replaceable;
use crate::invocation::Invocation;
use crate::output::{self, note};
use crate::usage::usage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask measure --model resnet18 --weights resnet18.safetensors --data images --data-dir photos
  cargo xtask measure --arch net.toml --weights net.safetensors --inputs inputs.safetensors --dtype f64 --json
  cargo xtask measure --model vgg13 --weights vgg13.safetensors --data cifar10:test --until-rel 0.01
  cargo xtask measure --model resnet18 --weights hub:timm/resnet18.a1_in1k --data folder:photos
  cargo xtask measure --onnx net.onnx --data folder:photos --size 224
  cargo xtask measure --model vgg13 --weights vgg13.safetensors --data cifar10:test --probes 1 --layers all

Standard output holds the result, standard error the progress. Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Arguments of `measure`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// List the architectures that --model takes, and do nothing
    #[arg(long, exclusive = true)]
    list_models: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    inputs: InputsArgs,
    #[command(flatten)]
    estimator: EstimatorArgs,
    /// Units of the inputs: as the network sees them, or pixels in [0, 1]
    #[arg(long, value_enum, default_value_t)]
    units: UnitsName,
    /// Layer whose output is measured [default: the features, the input of the last linear layer]; of an ONNX graph also the
    /// name of a tensor, `output`, or `head` for the input of the last linear layer
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Layers whose outputs are measured one after another, separated by commas: names as for --layer, or `all` for every layer of an
    /// architecture, or every convolution and linear layer of a graph
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["layer", "per_sample"])]
    layers: Vec<String>,
    /// Leave out VCI and RankMe, which need p² numbers of memory for p features
    #[arg(long)]
    no_full_scatter: bool,
    /// Numbers to compute with [default: those of the inputs; images are f32]
    #[arg(long, value_enum)]
    dtype: Option<DTypeName>,
    /// Write ‖∂f/∂x‖² of every sample to this file, as CSV
    #[arg(long, value_name = "FILE")]
    per_sample: Option<PathBuf>,
    /// Write JSON to standard output
    #[arg(long)]
    json: bool,
}

/// [`InputUnits`] on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, ValueEnum)]
enum UnitsName {
    /// As the network sees them
    #[default]
    Input,
    /// Before the division by the channels' standard deviations
    Pixel,
}

/// [`DType`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum DTypeName {
    F32,
    F64,
}

/// The results of `measure`.
pub(crate) struct Measured {
    pub(crate) gc: Estimate,
    pub(crate) collapse: Option<CollapseReport>,
    /// Where there is no collapse report: the reason.
    pub(crate) undefined: Option<String>,
    /// Where there is a head that the collapse measures leave out: the reason.
    pub(crate) without_head: Option<String>,
}

/// Runs the command.
pub(crate) fn measure(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    if args.list_models {
        list_models::list();
        return Ok(());
    }
    args.check()?;
    let inputs = args.inputs.read()?;
    let dtype = match args.dtype {
        Some(DTypeName::F32) => DType::F32,
        Some(DTypeName::F64) => DType::F64,
        None => inputs.dtype(),
    };
    let units = args.units(&inputs)?;
    if !args.layers.is_empty() {
        return layers::measure(args, invocation, &inputs, dtype, units);
    }
    let layer = args.layer.as_deref();
    let subject = args.network.load(&inputs, dtype, layer)?;
    let device = args.network.device()?;
    let order = inputs.order(args.estimator.samples, args.estimator.may_stop(), args.estimator.seed)?;
    let on = Setting { args, inputs: &inputs, dtype, device: &device, order: &order };
    for note in subject.notes() {
        note!("{}: {note}", subject.name());
    }
    let measured = Measurement { layer, subject: &subject, on: &on }.measure(units)?;
    for note in [args.estimator.unused(), args.estimator.unreached(&measured.gc)].into_iter().flatten() {
        note!("{note}");
    }
    if let Some(path) = &args.per_sample {
        report::per_sample(path, &measured.gc, &order, inputs.labels())?;
    }
    if args.json {
        return output::json(&report::document(&subject, &inputs, layer, dtype, &measured)?, invocation);
    }
    let tensor = subject.tensor(layer).map(|tensor| format!(" ({tensor})")).unwrap_or_default();
    output::table(&format!("{} on {}{tensor}", subject.name(), inputs.name()), &report::rows(&measured));
    Ok(())
}

impl Args {
    /// Whether the command lists the architectures and measures nothing.
    pub(crate) fn only_lists(&self) -> bool {
        self.list_models
    }

    /// Checks all arguments before anything is downloaded.
    fn check(&self) -> Result<()> {
        if let Some(path) = &self.per_sample {
            replaceable(path, &report::PER_SAMPLE).context("--per-sample")?;
        }
        self.network.check(self.layer.as_deref())?;
        if self.layers.len() > 1 && self.layers.iter().any(|layer| layer == layers::ALL) {
            return Err(usage(anyhow!("--layers: `{}` stands alone, it is every layer", layers::ALL)));
        }
        for layer in self.layers.iter().filter(|layer| *layer != layers::ALL) {
            self.network.check(Some(layer))?;
        }
        self.inputs.check()?;
        self.inputs.check_normalisation()?;
        if self.units == UnitsName::Input && self.inputs.is_tensor_with_std() {
            return Err(usage(anyhow!(
                "--std with --inputs is used by --units pixel alone: `x` is taken as the network sees it; leave --std out, or add \
                 --units pixel"
            )));
        }
        Ok(())
    }

    fn units(&self, inputs: &Inputs) -> Result<InputUnits> {
        match self.units {
            UnitsName::Input => Ok(InputUnits::Normalised),
            UnitsName::Pixel => Ok(InputUnits::Pixel { std: inputs.std()? }),
        }
    }
}

/// One measurement of one tensor of a network.
struct Measurement<'a> {
    /// The layer whose output is measured, if not the features.
    layer: Option<&'a str>,
    subject: &'a Subject,
    on: &'a Setting<'a>,
}

impl Measurement<'_> {
    fn measure(&self, units: InputUnits) -> Result<Measured> {
        let map = self.subject.features(self.layer)?;
        let network = Network::new(map.as_ref()).with_head(self.subject.head(self.layer)?);
        let part = self.on.measure(units, None, |images, options| {
            let assessment = Assessment::of(&network, &Data::new(images), options).map_err(flagged)?;
            Ok(assessment.train)
        });
        self.on.measured(part.with_context(|| format!("{} on {}", self.subject.name(), self.on.inputs.name()))?)
    }
}

/// The inputs of a measurement, and how they are measured.
struct Setting<'a> {
    args: &'a Args,
    inputs: &'a Inputs,
    dtype: DType,
    device: &'a Device,
    /// The inputs on which geometric complexity is measured.
    order: &'a [usize],
}

impl Setting<'_> {
    /// Calls `measure` with the images and the options; the passes of each of these layers are shown.
    fn measure<T>(
        &self,
        units: InputUnits,
        layers: Option<usize>,
        measure: impl FnOnce(Images<'_>, &Options<'_>) -> Result<T>,
    ) -> Result<T> {
        if let Some(labels) = self.inputs.labels() {
            check_class_count(&self.inputs.name(), labels)?;
        }
        let bar = self.args.estimator.bar(self.order.len());
        let all: Vec<usize> = (0..self.inputs.count()).collect();
        let measured = Source::new(|| self.inputs.source(self.order, self.dtype, self.device));
        let every = Source::new(|| self.inputs.source(&all, self.dtype, self.device));
        let images = Images::new(&every).with_complexity(&measured).with_classes(self.inputs.class_count());
        let mut settings = self.args.estimator.settings(units, self.order.len());
        if self.args.per_sample.is_some() {
            settings = settings.per_sample();
        }
        let passes = |progress: &gc_core::Progress| bar.show(progress);
        let stages = |progress: Progress| {
            if let (Stage::Layer(position), Some(count)) = (progress.stage, layers) {
                bar.begin_layer(position, count);
            }
            ControlFlow::Continue(())
        };
        let scatter = if self.args.no_full_scatter { Scatter::Trace } else { Scatter::Full };
        let report = ReportOptions::default().with_scatter(scatter);
        let options = Options::default().with_complexity(settings).with_report(report).without_decomposition();
        let found = measure(images, &options.with_pass_watch(&passes).with_watch(&stages));
        bar.close();
        found
    }

    fn measured(&self, part: Part) -> Result<Measured> {
        Ok(Measured {
            gc: part.gc.context("geometric complexity was not measured")?,
            collapse: part.collapse,
            undefined: part.undefined.map(|reason| with_flag(&reason)).or_else(|| self.inputs.unlabelled()),
            without_head: part.without_head,
        })
    }
}

/// The error of an assessment, with the flag that caused it where it is known.
fn flagged(error: assess::Error) -> anyhow::Error {
    match error {
        assess::Error::Layer { layer, source } => flagged(*source).context(format!("layer `{layer}`")),
        assess::Error::Complexity { source, .. } => match estimator::flag(&source) {
            Some(flag) => anyhow::Error::new(source).context(flag),
            None => source.into(),
        },
        other => other.into(),
    }
}
