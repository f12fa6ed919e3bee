//! `measure`: geometric complexity of a network on any data, and its collapse where there are labels.

pub(crate) mod checkpoint;
mod estimator;
mod inputs;
pub(crate) mod onnx;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use candle_core::{DType, Device, Tensor};
use clap::ValueEnum;
use collapse::{CollapseReport, Head, ReportOptions};
use gc_core::{Estimate, FeatureMap, InputUnits};
use support::refuse_irregular;

use checkpoint::{NetworkArgs, Subject};
use estimator::EstimatorArgs;
pub(crate) use inputs::{Inputs, InputsArgs};

use crate::output::{self, note};
use crate::usage::usage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask measure --model resnet18 --weights resnet18.safetensors --data images --data-dir photos
  cargo xtask measure --arch net.toml --weights net.safetensors --inputs inputs.safetensors --dtype f64 --json
  cargo xtask measure --model vgg13 --weights vgg13.safetensors --data cifar10:test --until-rel 0.01
  cargo xtask measure --model resnet18 --weights hub:timm/resnet18.a1_in1k --data folder:photos
  cargo xtask measure --onnx net.onnx --data folder:photos --size 224

Standard output holds the result, standard error the progress. Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Arguments of `measure`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
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
pub(crate) fn measure(args: &Args) -> Result<()> {
    if let Some(path) = &args.per_sample {
        refuse_irregular(path).context("--per-sample")?;
    }
    let inputs = args.inputs.read()?;
    let dtype = match args.dtype {
        Some(DTypeName::F32) => DType::F32,
        Some(DTypeName::F64) => DType::F64,
        None => inputs.dtype(),
    };
    let subject = args.network.load(&inputs, dtype, args.layer.as_deref())?;
    let device = args.network.device()?;
    let units = args.units(&inputs)?;
    let order = inputs.order(args.estimator.samples, args.estimator.may_stop(), args.estimator.seed)?;
    let measured = Measurement { args, subject: &subject, inputs: &inputs, dtype, device: &device, order: &order }
        .measure(units)?;
    for note in subject.notes() {
        note!("{}: {note}", subject.name());
    }
    for note in [args.estimator.unused(), args.estimator.unreached(&measured.gc)].into_iter().flatten() {
        note!("{note}");
    }
    if let Some(path) = &args.per_sample {
        report::per_sample(path, &measured.gc, &order, inputs.labels())?;
    }
    if args.json {
        return output::json(&report::document(&subject, &inputs, args.layer.as_deref(), dtype, &measured)?);
    }
    let tensor = subject.tensor(args.layer.as_deref()).map(|tensor| format!(" ({tensor})")).unwrap_or_default();
    output::table(&format!("{} on {}{tensor}", subject.name(), inputs.name()), &report::rows(&measured));
    Ok(())
}

impl Args {
    fn units(&self, inputs: &Inputs) -> Result<InputUnits> {
        match self.units {
            UnitsName::Input if self.inputs.is_tensor_with_std() => Err(usage(anyhow!(
                "--std with --inputs is used by --units pixel alone: `x` is taken as the network sees it; leave --std out, or add \
                 --units pixel"
            ))),
            UnitsName::Input => Ok(InputUnits::Normalised),
            UnitsName::Pixel => Ok(InputUnits::Pixel { std: inputs.std()? }),
        }
    }
}

/// One measurement: a network, its inputs and the options.
struct Measurement<'a> {
    args: &'a Args,
    subject: &'a Subject,
    inputs: &'a Inputs,
    dtype: DType,
    device: &'a Device,
    order: &'a [usize],
}

impl Measurement<'_> {
    /// The network and its inputs, for messages.
    fn title(&self) -> String {
        format!("{} on {}", self.subject.name(), self.inputs.name())
    }

    fn measure(&self, units: InputUnits) -> Result<Measured> {
        let gc = self.complexity(units).with_context(|| self.title())?;
        let Some(labels) = self.inputs.labels() else {
            return Ok(Measured { gc, collapse: None, undefined: self.inputs.unlabelled(), without_head: None });
        };
        let features = self.features().with_context(|| self.title())?;
        let head = self.subject.head(self.args.layer.as_deref(), features.dim(1)?)?;
        let without_head = head.as_ref().and_then(|head| other_classes(head, self.inputs.class_count(), labels));
        let head = head.filter(|_| without_head.is_none());
        let named = labels.iter().max().map_or(0, |last| *last as usize + 1);
        let classes = head.as_ref().map_or(0, Head::class_count).max(self.inputs.class_count().unwrap_or(named));
        // Collapse is undefined without classes or where class means coincide; GC is defined all the same.
        Ok(match collapse_of(&features, labels, classes, head, &gc) {
            Ok(report) => Measured { gc, collapse: Some(report), undefined: None, without_head },
            Err(error) => Measured { gc, collapse: None, undefined: Some(error.to_string()), without_head },
        })
    }

    fn complexity(&self, units: InputUnits) -> Result<Estimate> {
        let mut settings = self.args.estimator.settings(units, self.order.len());
        if self.inputs.labels().is_some() {
            settings = settings.per_class();
        }
        if self.args.per_sample.is_some() {
            settings = settings.per_sample();
        }
        let map = self.subject.features(self.args.layer.as_deref())?;
        let bar = report::bar(self.order.len());
        let batches = self.inputs.batches(self.order, self.dtype, self.device, &bar);
        let estimate = settings.measure(map.as_ref(), batches).map_err(|error| match estimator::flag(&error) {
            Some(flag) => anyhow::Error::new(error).context(flag),
            None => error.into(),
        })?;
        bar.finish_and_clear();
        Ok(estimate)
    }

    /// The features of all inputs, in their own order.
    fn features(&self) -> Result<Tensor> {
        let all: Vec<usize> = (0..self.inputs.count()).collect();
        let map = self.subject.features(self.args.layer.as_deref())?;
        features(map.as_ref(), self.inputs, &all, self.dtype, self.device)
    }
}

/// The features `[n, p]` of the inputs at these positions, on the CPU.
pub(crate) fn features(
    map: &dyn FeatureMap,
    inputs: &Inputs,
    positions: &[usize],
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let bar = indicatif::ProgressBar::hidden();
    let batches = inputs.batches(positions, dtype, device, &bar);
    let rows = batches.map(|batch| Ok(map.features(&batch?.0)?.flatten_from(1)?.to_device(&Device::Cpu)?));
    Ok(Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?)
}

/// The reason why the rows of a head are not the classes of the data, if they are not.
///
/// The head of a network for ImageNet has other classes than a folder of somebody's images, so that NC3 would compare each
/// row with the mean of another class.
fn other_classes(head: &Head, known: Option<usize>, labels: &[u32]) -> Option<String> {
    let rows = head.class_count();
    let largest = labels.iter().max().copied().unwrap_or(0);
    match known {
        Some(count) if count != rows => Some(format!("the head has {rows} classes, the data have {count}")),
        _ if largest as usize >= rows => Some(format!("the head has {rows} classes, a label is {largest}")),
        _ => None,
    }
}

/// Every collapse measure; those that need GC get the measured one.
fn collapse_of(
    features: &Tensor,
    labels: &[u32],
    classes: usize,
    head: Option<Head>,
    gc: &Estimate,
) -> collapse::Result<CollapseReport> {
    let options = ReportOptions::default().with_class_count(classes).with_gc(gc.value);
    let options = match complexity_by_label(labels, gc) {
        Some(of_class) => options.with_gc_by_label(of_class),
        None => options,
    };
    collapse::report(features, labels, head.as_ref(), &options)
}

/// GC of each class. `None` where no sample of a class was measured.
fn complexity_by_label(labels: &[u32], gc: &Estimate) -> Option<BTreeMap<u32, f64>> {
    let measured = gc.per_class.as_deref()?.iter().map(|class| (class.label, class.value));
    let measured: BTreeMap<u32, f64> = measured.collect();
    labels.iter().all(|label| measured.contains_key(label)).then_some(measured)
}
