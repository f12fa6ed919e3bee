//! `fewshot`: accuracies of few-shot heads on features of a file, over sampled or replayed episodes.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use fewshot::{
    Episode, EpisodeSampler, Evaluation, HeadAccuracy, HeadKind, IntervalSettings, LabelledFeatures, TransferScores,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{FeaturesArgs, LabelledFile};
use crate::arguments::up_to;
use crate::invocation::Invocation;
use crate::output::{self, Row};
use crate::usage::usage;

const EXAMPLES: &str = "\
Examples:
  cargo xtask fewshot --features features.safetensors --ways 5 --shots 5
  cargo xtask fewshot --features features.npz --tasks tasks.jsonl --heads ncm,ridge:loo,simpleshot:l2n --json
  cargo xtask fewshot --features features.safetensors --episodes 1000 --seed 7 --write-tasks tasks.jsonl";

/// The 97.5 % quantile of the normal distribution as few-shot papers round it.
const NORMAL_QUANTILE: f64 = 1.96;

/// Arguments of `fewshot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    input: FeaturesArgs,
    /// Task list to replay (JSON Lines, as --write-tasks writes it), instead of sampling episodes
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ways", "shots", "queries", "episodes", "seed"])]
    tasks: Option<PathBuf>,
    /// Classes in each episode (way)
    #[arg(long, alias = "way", value_name = "N", default_value_t = 5, value_parser = up_to::<100_000>)]
    ways: usize,
    /// Support samples of each class (shot)
    #[arg(long, alias = "shot", value_name = "N", default_value_t = 5, value_parser = up_to::<1_000_000>)]
    shots: usize,
    /// Query samples of each class
    #[arg(long, alias = "query", value_name = "N", default_value_t = 15, value_parser = up_to::<1_000_000>)]
    queries: usize,
    /// Number of episodes
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = up_to::<10_000_000>)]
    episodes: usize,
    /// Seed of the episodes
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Heads: ncm, cosine, simpleshot:un|l2n|cl2n, ridge:LAMBDA, ridge:loo, logistic:LAMBDA, lda:auto|GAMMA
    #[arg(long, value_name = "HEADS", value_delimiter = ',', default_value = "ncm,ridge:1.0")]
    heads: Vec<String>,
    /// Also write the sampled episodes as a task list
    #[arg(long, value_name = "FILE", conflicts_with = "tasks")]
    write_tasks: Option<PathBuf>,
    /// Also compute the transfer scores LogME, H-score and separation of all features
    #[arg(long)]
    transfer_scores: bool,
    /// Write JSON to standard output
    #[arg(long)]
    json: bool,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_scores: Option<TransferScores>,
}

/// Runs the command.
pub(crate) fn few_shot(args: &Args, invocation: &Invocation<'_>) -> Result<()> {
    let heads = heads(&args.heads).map_err(usage)?;
    let LabelledFile { features, labels, arrays, class_names } = args.input.read()?;
    let mut features = LabelledFeatures::from_tensor(&features, &labels).with_context(|| args.input.path())?;
    if arrays.get("base_mean").is_some() {
        let width = features.dimension();
        features = features.with_base_mean(arrays.numbers("base_mean", "features, transposed", width)?)?;
    }
    if let (Some(text), None) = (args.heads.iter().find(|text| text.contains("cl2n")), arrays.get("base_mean")) {
        let (file, width) = (args.input.path(), features.dimension());
        bail!(
            "{file}: the head {text} centres by the mean of the base classes: add it as tensor `base_mean` [{width}]"
        );
    }
    let evaluation = args.evaluate(&features, &heads)?;
    let results = results(&args.heads, &evaluation);
    let scores = args.transfer_scores.then(|| fewshot::transfer_scores(&features)).transpose();
    let scores = scores.with_context(|| format!("{}: --transfer-scores", args.input.path()))?;
    if args.json {
        return output::json(
            &Output {
                format: output::FORMAT,
                features: args.input.path(),
                class_names,
                episodes: evaluation.episodes,
                episodes_sha256: evaluation.episodes_checksum.clone(),
                fewshot: results,
                differences: serde_json::to_value(&evaluation.differences)?,
                transfer_scores: scores,
            },
            invocation,
        );
    }
    let mut rows = rows(&evaluation);
    if let Some(scores) = &scores {
        rows.push(Row::measured("log_me", scores.log_me.value, None, "log evidence per sample of a linear model"));
        rows.push(Row::measured("h_score", scores.h_score.value, None, "H-score with a shrunk covariance"));
        rows.push(Row::measured("separation", scores.separation.value, None, "class separation by the CDNV"));
    }
    output::table(&args.input.path(), &rows);
    output::say!("± is {NORMAL_QUANTILE} standard errors, as in few-shot papers; intervals are at 95 %");
    Ok(())
}

/// The heads of these texts, which must differ.
pub(crate) fn heads(texts: &[String]) -> Result<Vec<HeadKind>> {
    texts.iter().map(|text| text.trim().parse().with_context(|| format!("--heads {text}"))).collect()
}

impl Args {
    fn evaluate(&self, features: &LabelledFeatures, heads: &[HeadKind]) -> Result<Evaluation> {
        let source = || self.input.path();
        if let Some(path) = &self.tasks {
            let list = || path.display().to_string();
            let tasks = fewshot::TaskListReader::open(path, features.labels()).with_context(list)?;
            let episodes: Vec<Episode> = tasks.collect::<fewshot::Result<_>>().with_context(list)?;
            if episodes.len() < 2 {
                bail!("{}: {} episodes; an interval needs at least 2", path.display(), episodes.len());
            }
            let episodes = episodes.into_iter().map(Ok);
            return fewshot::evaluate_episodes(features, episodes, heads, &IntervalSettings::default())
                .with_context(source);
        }
        let sampler = EpisodeSampler::fixed(features.labels(), self.ways, self.shots, self.queries, self.seed)
            .with_context(source)?;
        if let Some(path) = &self.write_tasks {
            fewshot::write_task_list(path, features.labels(), &sampler, self.episodes)
                .with_context(|| path.display().to_string())?;
        }
        fewshot::evaluate(features, &sampler, self.episodes, heads).with_context(source)
    }
}

/// One JSON object for each head, under the text of --heads.
fn results(texts: &[String], evaluation: &Evaluation) -> Map<String, Value> {
    texts.iter().zip(&evaluation.heads).map(|(text, head)| (text.trim().to_owned(), result(head))).collect()
}

fn result(head: &HeadAccuracy) -> Value {
    let accuracy = &head.accuracy;
    json!({
        "head": head.head,
        "accuracy": accuracy.mean,
        "std_error": accuracy.standard_error,
        "ci95": ci95(head),
        "episodes": accuracy.samples,
        "student": accuracy.student,
        "bootstrap": accuracy.bootstrap,
        "by_class": head.by_class,
        "by_way": head.by_way,
    })
}

/// The ± of few-shot papers: 1.96 standard errors.
fn ci95(head: &HeadAccuracy) -> f64 {
    NORMAL_QUANTILE * head.accuracy.standard_error
}

fn rows(evaluation: &Evaluation) -> Vec<Row> {
    let mut rows = vec![Row::text("episodes", evaluation.episodes.to_string())];
    rows.extend(evaluation.heads.iter().map(|head| {
        let student = head.accuracy.student;
        let value = format!("{:.2} % ± {:.2}", 100.0 * head.accuracy.mean, 100.0 * ci95(head));
        let interval = format!("t-interval {:.2} to {:.2}", 100.0 * student.low, 100.0 * student.high);
        Row::worded(&head.head, value, &interval)
    }));
    rows.extend(evaluation.differences.iter().map(|pair| {
        let student = pair.difference.student;
        let value = format!("{:+.2} points", 100.0 * pair.difference.mean);
        let interval = format!("paired t-interval {:+.2} to {:+.2}", 100.0 * student.low, 100.0 * student.high);
        Row::worded(&format!("{} − {}", pair.first, pair.second), value, &interval)
    }));
    rows
}
