//! `collapse`: every measure of neural collapse, of features of a file.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use assess::{Assessment, Measure, Part};
use candle_core::{DType, Tensor};
use clap::ValueEnum;
use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Counts, Head, Precision, Preset, PresetMeasures, ReportOptions,
    Scatter, Weighting,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::bounds::Bounds;
use super::conventions::ConventionArgs;
use super::labelled::listed;
use super::training_path::TrainingPath;
use super::{FeaturesArgs, LabelledFile, class_pairs};
use crate::arguments::up_to;
use crate::arrays::{Arrays, COMPLEXITY};
use crate::invocation::Invocation;
use crate::output::{self, Row, note, word};
use crate::usage::usage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask collapse --features features.safetensors
  cargo xtask collapse --features features.npy --labels labels.npy --json | jq .collapse.cdnv
  cargo xtask collapse --features features.parquet --head head.safetensors --weighting sample-weighted
  cargo xtask collapse --features epoch1.npz epoch10.npz epoch100.npz --steps 1,10,100
  cargo xtask collapse --features features.safetensors --bounds 5 --pairs pairs.csv";

/// Arguments of `collapse`.
#[allow(rustdoc::broken_intra_doc_links, reason = "the texts are help in a terminal, where shapes need no escapes")]
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    input: FeaturesArgs,
    /// File with the head's `weight` [K, p] and, if it has one, `bias` [K], where the features' file has none
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Number of classes, where some have no sample [default: the head's, or the largest label plus one]
    #[arg(long, value_name = "K", value_parser = up_to::<16_777_216>)]
    classes: Option<usize>,
    /// The files are the features of one network at these training steps, separated by commas, and have its heads: one report for
    /// each step
    #[arg(long, value_name = "STEPS", value_delimiter = ',', conflicts_with_all = ["head", "bounds", "pairs", "preset"])]
    steps: Vec<u64>,
    /// Also compute both sides of the theory's bounds: NC against geometric collapse (with `gc`), and the error of the
    /// nearest-mean rule with this many samples of each class
    #[arg(long, value_name = "SHOTS", value_parser = up_to::<1_000_000>)]
    bounds: Option<usize>,
    /// Write the CDNV of every pair of classes as a CSV file
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Leave out VCI and RankMe, which need p² numbers of memory
    #[arg(long)]
    no_full_scatter: bool,
    /// Also measure as this public codebase does; several are separated by commas
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',', conflicts_with = "no_full_scatter")]
    preset: Vec<PresetName>,
    #[command(flatten)]
    conventions: ConventionArgs,
    /// Write JSON to standard output
    #[arg(long)]
    json: bool,
}

/// [`Preset`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PresetName {
    /// rhubarbwu/neural-collapse
    RhubarbWu,
    /// The notebook of Papyan, Han and Donoho
    Papyan,
    /// tding1/Neural-Collapse
    Tding1,
    /// felixsh/nc-toolbox
    NcToolbox,
    /// kowalski of PyPI
    Kowalski,
}

impl PresetName {
    fn preset(self) -> Preset {
        match self {
            Self::RhubarbWu => Preset::RhubarbWu,
            Self::Papyan => Preset::Papyan,
            Self::Tding1 => Preset::Tding1,
            Self::NcToolbox => Preset::NcToolbox,
            Self::Kowalski => Preset::Kowalski,
        }
    }

    /// The name that the command line takes.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What `--json` writes.
#[derive(Serialize)]
struct Output<'a> {
    format: u32,
    features: String,
    /// The names of the classes in the order of their numbers, where labels are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_names: Option<&'a [String]>,
    collapse: &'a CollapseReport,
    /// The measures of each public codebase of --preset.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    presets: &'a BTreeMap<String, PresetMeasures>,
    /// Both sides of the inequalities of --bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<&'a Bounds>,
}

/// Runs the command.
pub(crate) fn collapse_measures(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    if !args.steps.is_empty() {
        return along_training(args, invocation);
    }
    args.pairs.as_deref().map_or(Ok(()), class_pairs::check)?;
    let mut file = args.input.read()?;
    args.adopt_head(&mut file.arrays)?;
    let (report, head) = args.report(&file).with_context(|| args.input.path())?;
    let LabelledFile { features, labels, class_names, .. } = &file;
    let class_count = report.counts.classes + report.counts.singleton_classes + report.counts.missing_classes;
    let presets = presets(&args.preset, features, labels, head.as_ref(), class_count)?;
    let gc = complexities(&file)?;
    let bounds = |shots: usize| Bounds::new(features, labels, gc.as_deref(), shots, &report);
    let bounds = args.bounds.map(bounds).transpose().context("--bounds")?;
    if let Some(path) = &args.pairs {
        class_pairs::write(path, features, labels, class_names.as_deref(), args.conventions.cdnv())?;
    }
    if args.json {
        return output::json(
            &Output {
                format: output::FORMAT,
                features: args.input.path(),
                class_names: class_names.as_deref(),
                collapse: &report,
                presets: &presets,
                bounds: bounds.as_ref(),
            },
            invocation,
        );
    }
    output::table(&args.input.path(), &rows(&report));
    for (name, measures) in &presets {
        output::table(&format!("with the conventions of {name}"), &preset_rows(measures)?);
    }
    if let Some(bounds) = &bounds {
        output::table(
            &format!("bounds, with m = {} samples of each class", args.bounds.unwrap_or_default()),
            &bounds.rows(),
        );
    }
    Ok(())
}

/// One report for each file of --features, at the steps of --steps.
fn along_training(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    let (files, steps) = (args.input.files(), &args.steps);
    if files.len() != steps.len() {
        let (files, steps) = (files.len(), steps.len());
        return Err(usage(anyhow!(
            "--steps: {steps} steps for {files} files; give one step for each file of --features"
        )));
    }
    if let Some((_, twice)) = steps.iter().enumerate().find(|(at, step)| steps[..*at].contains(step)) {
        return Err(usage(anyhow!("--steps: {twice} is given twice")));
    }
    let mut path = TrainingPath::new();
    for ((name, file), &step) in files.iter().zip(args.input.read_each()?).zip(steps) {
        let name = name.display().to_string();
        let (report, _) = args.report(&file?).with_context(|| name.clone())?;
        path.add(step, name, report)?;
    }
    if args.json {
        return output::json(&path.document(), invocation);
    }
    output::say!("{}", path.table().terminal());
    Ok(())
}

impl Args {
    /// Adds the head of --head, if it is given, to the arrays of the features.
    fn adopt_head(&self, arrays: &mut Arrays) -> Result<()> {
        let Some(path) = &self.head else { return Ok(()) };
        let mut file = Arrays::read(path, "weight")?;
        if file.get("bias").is_some() {
            arrays.adopt("bias", &mut file, "bias")?;
        }
        arrays.adopt("weight", &mut file, "weight")
    }

    /// Every measure of the features, and the head that was used.
    fn report(&self, file: &LabelledFile) -> Result<(CollapseReport, Option<Head>)> {
        let LabelledFile { features, labels, arrays, .. } = file;
        let head = head(arrays, features.dim(1)?, if self.classes.is_none() { labels } else { &[] })?;
        if let (Some(names), Some(_)) = (&file.class_names, &head) {
            note!("note: the rows of the head are taken for the classes in alphabetical order: {}", listed(names));
        }
        // A file is measured once, so accuracy counts for more than time.
        let options = ReportOptions::default()
            .with_class_count(self.classes)
            .with_scatter(if self.no_full_scatter { Scatter::Trace } else { Scatter::Full })
            .with_gc_per_sample(complexities(file)?)
            .with_precision(Precision::Double);
        let options = self.conventions.apply(options);
        let report = collapse::report(features, labels, head.as_ref(), &options);
        Ok((report.map_err(|error| anyhow!(with_flag(&error.to_string())))?, head))
    }
}

/// The message of a report, with the flag in place of the option of the library.
pub(crate) fn with_flag(message: &str) -> String {
    message.replace("use ReportOptions::with_scatter(Scatter::Trace)", "use --no-full-scatter")
}

/// GC of each sample, if the file has it.
fn complexities(file: &LabelledFile) -> Result<Option<Vec<f64>>> {
    let count = file.features.dim(0)?;
    file.arrays.get(COMPLEXITY).map(|_| file.arrays.numbers(COMPLEXITY, "features", count)).transpose()
}

/// The measures of each preset, by its name on the command line.
fn presets(
    names: &[PresetName],
    features: &Tensor,
    labels: &[u32],
    head: Option<&Head>,
    classes: usize,
) -> Result<BTreeMap<String, PresetMeasures>> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut moments = ClassMoments::new(classes, features.dim(1)?, Scatter::Full);
    let values: Vec<f64> = features.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
    moments.update_slice(&values, labels)?;
    let measured = |preset: &PresetName| {
        let name = preset.name();
        let measures = preset.preset().measure(&moments, head).with_context(|| format!("--preset {name}"))?;
        Ok((name, measures))
    };
    names.iter().map(measured).collect()
}

/// The measures that a preset has, under the names of the JSON fields.
fn preset_rows(measures: &PresetMeasures) -> Result<Vec<Row>> {
    let Value::Object(fields) = serde_json::to_value(measures)? else { return Ok(Vec::new()) };
    let row = |(name, value): (String, Value)| Some(Row::measured(&name, value.as_f64()?, None, ""));
    Ok(fields.into_iter().filter(|(name, _)| name != "samples").filter_map(row).collect())
}

/// The head of the file, if there is one; it must have a row for each label.
fn head(arrays: &Arrays, width: usize, labels: &[u32]) -> Result<Option<Head>> {
    let Some(weight) = arrays.get("weight") else {
        if arrays.get("bias").is_some() {
            let file = arrays.file("bias");
            bail!(
                "{file}: there is a tensor `bias` without a `weight`; a head is `weight` [K, {width}], with or without \
                 `bias` [K]"
            );
        }
        return Ok(None);
    };
    let largest = labels.iter().max().map_or(0, |label| *label as usize);
    let (file, shape) = (arrays.file("weight"), weight.dims());
    match *shape {
        [rows, columns] if columns == width && rows > largest => {}
        [rows, columns] if columns == width => {
            bail!(
                "{file}: tensor `weight` has shape {shape:?}, expected a row for each class, but a label is {largest} (of {rows} rows)"
            )
        }
        _ => bail!("{file}: tensor `weight` has shape {shape:?}, expected [K, {width}], a row for each class"),
    }
    let weight = arrays.floats("weight", &[2], "[K, p]")?;
    arrays.check_finite("weight", &weight)?;
    let bias = arrays.get("bias").map(|_| arrays.numbers("bias", "weight", weight.dim(0)?)).transpose()?;
    let bias = bias.map(|bias| Tensor::from_vec(bias, weight.dim(0)?, weight.device())).transpose()?;
    Ok(Some(Head::new(&weight, bias.as_ref()).with_context(|| arrays.file("weight").to_string())?))
}

/// The report as lines of a table: every measure of the registry that it has.
pub(crate) fn rows(report: &CollapseReport) -> Vec<Row> {
    let Counts { samples, features, classes, .. } = report.counts;
    let mut rows = vec![Row::text("samples", format!("{samples} of {classes} classes, {features} features"))];
    let assessment = Assessment::of_parts(Part::of_report(report.clone()));
    rows.extend(assessment.values(Measure::all()).into_iter().filter_map(|(measure, measured)| {
        Some(Row::measured(measure.key(), measured.value?, measured.standard_error, &meaning(measure)))
    }));
    rows.extend(conventions(report));
    if report.counts.singleton_classes > 0 {
        let samples = report.counts.left_out_samples;
        rows.push(Row::text("left out", format!("samples that are alone in their class: {samples}")));
    }
    let excluded = report.cdnv.excluded_pairs;
    rows.push(Row::text(
        "pairs",
        format!(
            "{} averaged; excluded: {} with a missing class, {} with a class of one sample, {} with equal means",
            report.cdnv.pairs, excluded.missing, excluded.singleton, excluded.coincident
        ),
    ));
    for gap in &report.undefined {
        rows.push(Row::text(&gap.measure, format!("undefined: {}", gap.reason)));
    }
    rows
}

/// The conventions of the report, where they are not those by which the measures are described.
fn conventions(report: &CollapseReport) -> Option<Row> {
    let (of_cdnv, weighting) = (report.cdnv.convention, report.weighting);
    let described = of_cdnv == CdnvConvention::default() && weighting == Weighting::default();
    let cdnv = format!("CDNV {}, divisor of variances: {}", word(&of_cdnv.form), word(&of_cdnv.divisor));
    (!described).then(|| Row::text("conventions", format!("{cdnv}; weighting: {}", word(&weighting))))
}

/// The name and the formula of a measure. The samples of a file are no training images.
fn meaning(measure: Measure) -> String {
    let label = measure.label().trim_start_matches("train ");
    let symbol = measure.entry().symbol;
    if label == symbol || symbol == measure.key() { label.to_owned() } else { format!("{label}: {symbol}") }
}
