//! `fewshot`: accuracies of few-shot heads on features of a file, over sampled or replayed episodes.

use anyhow::{Context, Result, anyhow, bail};
use fewshot::{
    Confusion, Difference, Evaluation, HeadAccuracy, HeadKind, Interval, LabelledFeatures, MeanEstimate, TransferScores,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use statistics::equivalence_test;

use super::episodes::EpisodeArgs;
use super::{FeaturesArgs, LabelledFile, networks};
use crate::invocation::Invocation;
use crate::output::{self, Row};
use crate::report::Table;
use crate::usage::usage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask fewshot --features features.safetensors --ways 5 --shots 5
  cargo xtask fewshot --features features.npz --tasks tasks.jsonl --heads ncm,ridge:loo,simpleshot:l2n --json
  cargo xtask fewshot --features features.safetensors --episodes 1000 --seed 7 --write-tasks tasks.jsonl
  cargo xtask fewshot --features seed0.npz seed1.npz seed2.npz --across-networks --compare-networks
  cargo xtask fewshot --features features.safetensors --meta-dataset --margin 1";

/// The 97.5 % quantile of the normal distribution as few-shot papers round it.
const NORMAL_QUANTILE: f64 = 1.96;

/// Arguments of `fewshot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) input: FeaturesArgs,
    #[command(flatten)]
    pub(super) episodes: EpisodeArgs,
    /// Heads: ncm, cosine, simpleshot:un|l2n|cl2n, ridge:LAMBDA, ridge:loo, logistic:LAMBDA, lda:auto|GAMMA
    #[arg(long, value_name = "HEADS", value_delimiter = ',', default_value = "ncm,ridge:1.0")]
    pub(super) heads: Vec<String>,
    /// The files are the features of the same samples by several networks: the mean accuracy over networks with its interval,
    /// and with --transfer-scores how well each score ranks them
    #[arg(long)]
    across_networks: bool,
    /// Also compare every two networks, paired by episode
    #[arg(long, requires = "across_networks")]
    pub(super) compare_networks: bool,
    /// Also test whether two heads differ by less than this many percentage points (two one-sided t-tests)
    #[arg(long, value_name = "POINTS", conflicts_with = "across_networks", value_parser = margin)]
    margin: Option<f64>,
    /// Also classify all other samples into all classes, and write the confusion matrix of each head
    #[arg(long, conflicts_with = "across_networks")]
    confusion: bool,
    /// Also compute the transfer scores LogME, H-score and separation of all features
    #[arg(long)]
    pub(super) transfer_scores: bool,
    /// Write JSON to standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Output {
    format: u32,
    features: String,
    /// The names of the classes in the order of their numbers, where labels are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    class_names: Option<Vec<String>>,
    episodes: usize,
    episodes_sha256: String,
    fewshot: Map<String, Value>,
    differences: Value,
    /// With --margin: the equivalence test of each difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    equivalence: Option<Vec<EqualWithin>>,
    /// With --confusion: one matrix for each head.
    #[serde(skip_serializing_if = "Option::is_none")]
    confusion: Option<Vec<Confusion>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_scores: Option<TransferScores>,
}

/// Whether two heads differ by less than a margin.
#[derive(Serialize)]
struct EqualWithin {
    first: String,
    second: String,
    /// As a difference of accuracies, 0 to 1.
    margin: f64,
    p_value: f64,
}

/// Features that are ready for evaluation.
pub(super) struct Prepared {
    pub(super) features: LabelledFeatures,
    pub(super) class_names: Option<Vec<String>>,
}

/// Runs the command.
pub(crate) fn few_shot(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    let heads = heads(&args.heads).map_err(usage)?;
    args.episodes.check()?;
    if args.across_networks {
        return networks::across_networks(args, &heads, invocation);
    }
    let source = args.input.path();
    if args.margin.is_some() && args.heads.len() < 2 {
        return Err(usage(anyhow!("--margin: heads are compared with each other; give at least two of --heads")));
    }
    let Prepared { features, class_names } = prepared(args.input.read()?, &args.heads, &source)?;
    args.episodes.write_tasks(features.labels())?;
    let confusion = args.confusion.then(|| args.episodes.all_classes(&features, &heads)).transpose()?;
    let evaluation = args.episodes.evaluate(&features, &heads, &source)?;
    let equivalence = args.margin.map(|points| equivalence(&evaluation, points / 100.0)).transpose()?;
    let scores = args.transfer_scores.then(|| fewshot::transfer_scores(&features)).transpose();
    let scores = scores.with_context(|| format!("{source}: --transfer-scores"))?;
    if args.json {
        return output::json(
            &Output {
                format: output::FORMAT,
                features: source,
                class_names,
                episodes: evaluation.episodes,
                episodes_sha256: evaluation.episodes_checksum.clone(),
                fewshot: results(&args.heads, &evaluation),
                differences: serde_json::to_value(&evaluation.differences)?,
                equivalence,
                confusion,
                transfer_scores: scores,
            },
            invocation,
        );
    }
    let mut rows = rows(&evaluation);
    rows.extend(equivalence.iter().flatten().map(|pair| {
        let text = format!("p = {:.3} that they differ by {} points or more", pair.p_value, 100.0 * pair.margin);
        Row::text(&format!("{} ≈ {}", pair.first, pair.second), text)
    }));
    rows.extend(scores.iter().flat_map(score_rows));
    output::table(&source, &rows);
    explain_errors();
    for confusion in confusion.iter().flatten() {
        output::say!("{}", confusion_table(confusion, class_names.as_deref()).terminal());
    }
    Ok(())
}

/// Checks the features of a file for these heads.
pub(super) fn prepared(file: LabelledFile, heads: &[String], source: &str) -> Result<Prepared> {
    let LabelledFile { features, labels, arrays, class_names, .. } = file;
    let mut features = LabelledFeatures::from_tensor(&features, &labels).with_context(|| source.to_owned())?;
    let width = features.dimension();
    if arrays.get("base_mean").is_some() {
        features = features.with_base_mean(arrays.numbers("base_mean", "features, transposed", width)?)?;
    } else if let Some(text) = heads.iter().find(|text| text.contains("cl2n")) {
        bail!(
            "{source}: the head {text} centres by the mean of the base classes: add it as tensor `base_mean` [{width}]"
        );
    }
    Ok(Prepared { features, class_names })
}

/// Rows of true classes, columns of predicted ones.
fn confusion_table(confusion: &Confusion, names: Option<&[String]>) -> Table {
    let name =
        |class: &u32| names.and_then(|names| names.get(*class as usize)).cloned().unwrap_or_else(|| class.to_string());
    let row = |(class, counts): (&u32, &Vec<u64>)| {
        std::iter::once(name(class)).chain(counts.iter().map(u64::to_string)).collect()
    };
    Table {
        summed: false,
        caption: format!(
            "All classes, {} queries: {confusion}; rows are true classes, columns predicted ones",
            confusion.queries
        ),
        header: std::iter::once("class".to_owned()).chain(confusion.classes.iter().map(name)).collect(),
        rows: confusion.classes.iter().zip(&confusion.counts).map(row).collect(),
    }
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(points) if points > 0.0 && points <= 100.0 => Ok(points),
        _ => Err("expected percentage points above 0, at most 100".to_owned()),
    }
}

/// The equivalence test of every two heads.
fn equivalence(evaluation: &Evaluation, margin: f64) -> Result<Vec<EqualWithin>> {
    let test = |pair: &Difference| {
        let difference = &pair.difference;
        let freedom = difference.samples as f64 - 1.0;
        let found = equivalence_test(difference.mean, difference.standard_error, freedom, (-margin, margin))?;
        Ok(EqualWithin { first: pair.first.clone(), second: pair.second.clone(), margin, p_value: found.p_value })
    };
    evaluation.differences.iter().map(test).collect()
}

/// The heads of these texts, which must differ.
pub(crate) fn heads(texts: &[String]) -> Result<Vec<HeadKind>> {
    texts.iter().map(|text| text.trim().parse().with_context(|| format!("--heads {text}"))).collect()
}

/// One JSON object for each head, under the text of --heads.
pub(super) fn results(texts: &[String], evaluation: &Evaluation) -> Map<String, Value> {
    texts.iter().zip(&evaluation.heads).map(|(text, head)| (text.trim().to_owned(), result(head))).collect()
}

fn result(head: &HeadAccuracy) -> Value {
    let accuracy = &head.accuracy;
    json!({
        "head": head.head,
        "accuracy": accuracy.mean,
        "std_error": accuracy.standard_error,
        "ci95": NORMAL_QUANTILE * accuracy.standard_error,
        "episodes": accuracy.samples,
        "student": accuracy.student,
        "bootstrap": accuracy.bootstrap,
        "by_class": head.by_class,
        "by_way": head.by_way,
    })
}

fn rows(evaluation: &Evaluation) -> Vec<Row> {
    let mut rows = vec![Row::text("episodes", evaluation.episodes.to_string())];
    rows.extend(accuracy_rows(evaluation));
    let pair = |pair: &Difference| difference(&format!("{} − {}", pair.first, pair.second), &pair.difference);
    rows.extend(evaluation.differences.iter().map(pair));
    rows
}

/// One row for each head.
pub(super) fn accuracy_rows(evaluation: &Evaluation) -> Vec<Row> {
    evaluation.heads.iter().map(|head| accuracy(&head.head, &head.accuracy)).collect()
}

/// The transfer scores.
pub(super) fn score_rows(scores: &TransferScores) -> Vec<Row> {
    vec![
        Row::measured("log_me", scores.log_me.value, None, "log evidence per sample of a linear model"),
        Row::measured("h_score", scores.h_score.value, None, "H-score with a shrunk covariance"),
        Row::measured("separation", scores.separation.value, None, "class separation by the CDNV"),
    ]
}

/// An accuracy in percent, with the ± of few-shot papers and the t-interval.
pub(super) fn accuracy(name: &str, accuracy: &MeanEstimate) -> Row {
    let Interval { low, high, .. } = accuracy.student;
    let value = format!("{:.2} % ± {:.2}", 100.0 * accuracy.mean, 100.0 * NORMAL_QUANTILE * accuracy.standard_error);
    Row::worded(name, value, &format!("t-interval {:.2} to {:.2}", 100.0 * low, 100.0 * high))
}

/// A difference of accuracies in percentage points, with its t-interval.
pub(super) fn difference(name: &str, difference: &MeanEstimate) -> Row {
    let Interval { low, high, .. } = difference.student;
    let value = format!("{:+.2} points", 100.0 * difference.mean);
    Row::worded(name, value, &format!("paired t-interval {:+.2} to {:+.2}", 100.0 * low, 100.0 * high))
}

/// What ± means.
pub(super) fn explain_errors() {
    output::say!("± is {NORMAL_QUANTILE} standard errors, as in few-shot papers; intervals are at 95 %");
}
