//! `collapse`: every measure of neural collapse, of features of a file.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use clap::ValueEnum;
use collapse::{
    ClassMoments, CollapseReport, Counts, Head, Precision, Preset, PresetMeasures, ReportOptions, Scatter, Weighting,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::{FeaturesArgs, LabelledFile};
use crate::arguments::up_to;
use crate::arrays::Arrays;
use crate::output::{self, Row};

const EXAMPLES: &str = "\
Examples:
  cargo xtask collapse --features features.safetensors
  cargo xtask collapse --features features.npy --labels labels.npy --json | jq .collapse.cdnv
  cargo xtask collapse --features features.parquet --head head.safetensors --weighting sample-weighted";

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
    /// Whether averages weight every class or every sample equally
    #[arg(long, value_enum, default_value_t)]
    weighting: WeightingName,
    /// Number of classes, where some have no sample [default: the head's, or the largest label plus one]
    #[arg(long, value_name = "K", value_parser = up_to::<16_777_216>)]
    classes: Option<usize>,
    /// Leave out VCI and RankMe, which need p² numbers of memory
    #[arg(long)]
    no_full_scatter: bool,
    /// Also measure as this public codebase does; several are separated by commas
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',', conflicts_with = "no_full_scatter")]
    preset: Vec<PresetName>,
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

/// [`Weighting`] on the command line.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum WeightingName {
    #[default]
    ClassBalanced,
    SampleWeighted,
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
}

/// Runs the command.
pub(crate) fn collapse_measures(args: &Args) -> Result<()> {
    let LabelledFile { features, labels, mut arrays, class_names } = args.input.read()?;
    if let Some(path) = &args.head {
        let mut file = Arrays::read(path, "weight")?;
        if file.get("bias").is_some() {
            arrays.adopt("bias", &mut file, "bias")?;
        }
        arrays.adopt("weight", &mut file, "weight")?;
    }
    let [count, width] = [features.dim(0)?, features.dim(1)?];
    let head = head(&arrays, width, if args.classes.is_none() { &labels } else { &[] })?;
    let weighting = match args.weighting {
        WeightingName::ClassBalanced => Weighting::ClassBalanced,
        WeightingName::SampleWeighted => Weighting::SampleWeighted,
    };
    // A file is measured once, so accuracy counts for more than time.
    let options = ReportOptions::default()
        .with_class_count(args.classes)
        .with_weighting(weighting)
        .with_scatter(if args.no_full_scatter { Scatter::Trace } else { Scatter::Full })
        .with_gc_per_sample(arrays.get("gc").map(|_| arrays.numbers("gc", "features", count)).transpose()?)
        .with_precision(Precision::Double);
    let report = collapse::report(&features, &labels, head.as_ref(), &options).with_context(|| args.input.path())?;
    let class_count = report.counts.classes + report.counts.singleton_classes + report.counts.missing_classes;
    let presets = presets(&args.preset, &features, &labels, head.as_ref(), class_count)?;
    if args.json {
        return output::json(&Output {
            format: output::FORMAT,
            features: args.input.path(),
            class_names: class_names.as_deref(),
            collapse: &report,
            presets: &presets,
        });
    }
    output::table(&args.input.path(), &rows(&report));
    for (name, measures) in &presets {
        output::table(&format!("with the conventions of {name}"), &preset_rows(measures)?);
    }
    Ok(())
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

/// The report as lines of a table, with the names of the JSON fields.
pub(crate) fn rows(report: &CollapseReport) -> Vec<Row> {
    let Counts { samples, features, classes, .. } = report.counts;
    let mut rows = vec![Row::text("samples", format!("{samples} of {classes} classes, {features} features"))];
    let mut add = |name: &str, value: Option<f64>, error: Option<f64>, meaning: &'static str| {
        if let Some(value) = value {
            rows.push(Row::measured(name, value, error, meaning));
        }
    };
    add(
        "cdnv",
        Some(report.cdnv.mean),
        report.cdnv.std_error,
        "mean class-distance normalised variance: NC of the paper",
    );
    let unbiased = report.cdnv.unbiased_std_error;
    add("cdnv_unbiased", report.cdnv.unbiased, unbiased, "the same from unbiased variances and squared distances");
    add("cdnv_max", Some(report.cdnv.max), None, "of the worst pair");
    add("directional_cdnv", report.cdnv.directional, None, "variance along the axis between two means only");
    let mixture = report.geometric.mixture_std_error;
    add("geometric_collapse", report.geometric.mixture, mixture, "GC over squared distances, mixture form");
    let pairwise = report.geometric.pairwise_std_error;
    add("pairwise_geometric_collapse", report.geometric.pairwise, pairwise, "with each class's own GC");
    let (mixture, error) = (report.geometric.mixture_unbiased, report.geometric.mixture_unbiased_std_error);
    add("geometric_collapse_unbiased", mixture, error, "mixture form from unbiased squared distances");
    let pairwise = report.geometric.pairwise_unbiased;
    let error = report.geometric.pairwise_unbiased_std_error;
    add("pairwise_geometric_collapse_unbiased", pairwise, error, "pairwise form from unbiased squared distances");
    add("poincare_constant", report.geometric.poincare_constant, None, "largest variance over GC of a class");
    add("nc1", report.variability.nc1, None, "tr(Σ_W Σ_B⁺)/K");
    add("trace_ratio", report.variability.trace_ratio, None, "tr Σ_W / tr Σ_B");
    add("vci", report.variability.vci, None, "variability collapse index");
    add("rank_me", report.rank_me, None, "effective rank of the features");
    add("equinorm", report.simplex.equinorm, None, "NC2: variation of the norms of class means");
    add("equiangularity", report.simplex.equiangularity, None, "NC2: mean |cos + 1/(K−1)|");
    add("etf_error", report.simplex.etf_error, None, "NC2: distance of the means from a simplex");
    add("log_energy_excess", report.simplex.log_energy_excess, None, "hyperspherical uniformity beyond the simplex's");
    add("nearest_mean_error", Some(report.nearest_mean.error), Some(report.nearest_mean.std_error), "on these samples");
    if let Some(head) = &report.head {
        add("self_duality", head.duality.difference, None, "NC3: ‖W/‖W‖ − M/‖M‖‖");
        add("duality_etf_error", head.duality.product_error, None, "NC3: ‖WMᵀ/‖WMᵀ‖ − ETF‖");
        add("head_etf_error", head.simplex.etf_error, None, "distance of the head's rows from a simplex");
        add("bias_collapse", head.bias_collapse, None, "‖W μ_G + b‖");
        let agreement = Some(head.agreement.std_error);
        add("ncc_agreement", Some(head.agreement.share), agreement, "NC4: head and nearest mean agree");
        add("head_accuracy", Some(head.agreement.head_accuracy), None, "on these samples");
    }
    if report.counts.singleton_classes > 0 {
        let [classes, samples] = [report.counts.singleton_classes as u64, report.counts.left_out_samples];
        rows.push(Row::text("left out", format!("{samples} samples of {classes} classes of one sample")));
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
