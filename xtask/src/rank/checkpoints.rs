//! Networks of files, measured on the same data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use assess::{Assessment, Data, FewShot, FewShotResult, Images, Measure, Network, Options, Source, measures};
use candle_core::Device;
use collapse::{ReportOptions, Scatter};
use fewshot::EpisodeSampler;
use gc_core::{FeatureMap, GeometricComplexity, Probe};
use models::WeightsSource;
use serde::Deserialize;

use super::chart;
use super::rank_table::{RankTable, Score};
use crate::arguments::{architecture, up_to};
use crate::features::{check_class_count, few_shot_heads};
use crate::files::{LARGEST_TEXT, existing};
use crate::measure::checkpoint::{Description, Subject, fetched};
use crate::measure::onnx::OnnxGraph;
use crate::measure::{Inputs, InputsArgs};
use crate::output::note;
use crate::suggest;
use crate::usage::usage;

/// The networks, and the settings of their scores.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CheckpointArgs {
    /// Networks: weights of one architecture (safetensors files, or `hub:OWNER/NAME[@REVISION][:FILE]`), or ONNX files
    #[arg(value_name = "WEIGHTS", conflicts_with = "list", value_hint = clap::ValueHint::FilePath)]
    weights: Vec<WeightsSource>,
    /// Their architecture by name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["arch", "list"], value_parser = architecture(),
        hide_possible_values = true)]
    model: Option<String>,
    /// Their architecture as a TOML file
    #[arg(long, value_name = "FILE", conflicts_with = "list")]
    arch: Option<PathBuf>,
    /// List of networks of any architectures, as a TOML file
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Random directions for each sample, for GC
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = up_to::<1_000_000>)]
    probes: usize,
    /// Classes in each few-shot episode (way)
    #[arg(long, alias = "way", value_name = "N", default_value_t = 5, value_parser = up_to::<100_000>)]
    ways: usize,
    /// Support samples of each class (shot)
    #[arg(long, alias = "shot", value_name = "N", default_value_t = 5, value_parser = up_to::<1_000_000>)]
    shots: usize,
    /// Query samples of each class
    #[arg(long, alias = "query", value_name = "N", default_value_t = 15, value_parser = up_to::<1_000_000>)]
    queries: usize,
    /// Number of episodes, which all networks share
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = up_to::<10_000_000>)]
    episodes: usize,
    /// Few-shot head with whose accuracy the scores are correlated
    #[arg(long, value_name = "HEAD", default_value = "ridge:1.0")]
    head: String,
    /// Seed of probes and episodes
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = crate::arguments::seed, allow_negative_numbers = true)]
    seed: u64,
}

/// A list of networks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    checkpoint: Vec<Listed>,
}

/// One network of a list; paths are relative to the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    name: String,
    #[serde(default, deserialize_with = "weights_source")]
    weights: Option<WeightsSource>,
    model: Option<String>,
    arch: Option<PathBuf>,
    /// A graph instead of weights and their architecture.
    onnx: Option<PathBuf>,
    /// The layer of the graph that is measured.
    layer: Option<String>,
}

fn weights_source<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<WeightsSource>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(serde::de::Error::custom)
}

impl Listed {
    /// Checks names and files without a download.
    fn check(&self) -> Result<()> {
        match (&self.weights, &self.onnx) {
            (None, Some(path)) => existing(path),
            (Some(_), None) if self.layer.is_some() => {
                bail!("`layer` is that of an ONNX graph; weights are ranked by their features")
            }
            (Some(weights), None) => {
                Description::read(self.model.as_deref(), self.arch.as_deref())?;
                match weights {
                    WeightsSource::File(path) => existing(path),
                    WeightsSource::Hub { .. } => Ok(()),
                }
            }
            _ => bail!("a network has either `weights` or `onnx`"),
        }
    }

    /// Reads the network for these inputs.
    fn load(&self, inputs: &Inputs) -> Result<Subject> {
        match (&self.weights, &self.onnx) {
            (Some(weights), None) => {
                let description = Description::read(self.model.as_deref(), self.arch.as_deref())?;
                let checkpoint = description.load(&fetched(weights)?, inputs, inputs.dtype(), &Device::Cpu)?;
                Ok(Subject::Checkpoint(Box::new(checkpoint)))
            }
            (None, Some(path)) => {
                let layer = self.layer.as_deref();
                let graph = OnnxGraph::read(path, layer, &inputs.shape(), inputs.dtype(), &Device::Cpu)?;
                note!("{}: {}", self.name, graph.graph.tensor());
                Ok(Subject::Graph(Box::new(graph)))
            }
            _ => bail!("a network has either `weights` or `onnx`"),
        }
    }
}

/// The scores of one network.
struct Scored {
    gc: f64,
    gc_error: Option<f64>,
    labelled: Option<LabelledScores>,
}

struct LabelledScores {
    nc: f64,
    log_me: f64,
    h_score: f64,
    accuracy: f64,
    accuracy_error: f64,
}

impl CheckpointArgs {
    /// Measures every network on the inputs.
    pub(super) fn measure(&self, inputs: &InputsArgs, by: &str, charted: bool) -> Result<RankTable> {
        self.check_names(by)?;
        let listed = self.listed()?;
        listed.iter().try_for_each(|listed| listed.check().with_context(|| listed.name.clone()))?;
        inputs.check()?;
        let inputs = &inputs.read()?;
        self.check_labels(inputs, by, charted)?;
        let bar = indicatif::ProgressBar::new(listed.len() as u64);
        let score = |listed: &Listed| -> Result<Scored> {
            let scored = self.score(listed.load(inputs)?.features(None)?.as_ref(), inputs)?;
            bar.inc(1);
            Ok(scored)
        };
        let scored = listed.iter().map(|listed| score(listed).with_context(|| listed.name.clone()));
        let scored: Vec<Scored> = scored.collect::<Result<_>>()?;
        bar.finish_and_clear();
        Ok(rank_table(inputs.name(), listed.into_iter().map(|listed| listed.name).collect(), &scored, &self.head))
    }

    /// Checks the names of the head and of the score, as arguments.
    fn check_names(&self, by: &str) -> Result<()> {
        few_shot_heads(std::slice::from_ref(&self.head)).map_err(usage)?;
        let accuracy = accuracy_name(&self.head);
        let names = SCORES.map(Measure::key).into_iter().chain([accuracy.as_str()]);
        if !names.clone().any(|name| name == by) {
            return Err(usage(anyhow!("--by {by}: {}", suggest::unknown("score", by, names))));
        }
        Ok(())
    }

    /// Checks what depends on the labels of the inputs, before a network is measured.
    fn check_labels(&self, inputs: &Inputs, by: &str, charted: bool) -> Result<()> {
        let Some(labels) = inputs.labels() else {
            if by != measures::GC.key() {
                let only = measures::GC.key();
                return Err(usage(anyhow!(
                    "--by {by}: {} has no labels, so that `{only}` is the only score",
                    inputs.name()
                )));
            }
            if charted {
                return Err(chart::without_accuracy(inputs.name()));
            }
            return Ok(());
        };
        check_class_count(&inputs.name(), labels)?;
        let sampler = EpisodeSampler::fixed(labels, self.ways, self.shots, self.queries, self.seed);
        sampler.map(|_| ()).with_context(|| format!("few-shot episodes on {}", inputs.name()))
    }

    fn listed(&self) -> Result<Vec<Listed>> {
        let listed = match &self.list {
            Some(path) => read_list(path)?,
            None => self.weights.iter().map(|weights| self.of_weights(weights)).collect(),
        };
        if listed.is_empty() {
            return Err(usage(anyhow!("no networks: give files of weights, --list or --runs")));
        }
        Ok(listed)
    }

    fn of_weights(&self, weights: &WeightsSource) -> Listed {
        let name = match weights {
            WeightsSource::File(path) => path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            WeightsSource::Hub { .. } => weights.to_string(),
        };
        let unnamed = Listed { name, weights: None, model: None, arch: None, onnx: None, layer: None };
        match weights {
            WeightsSource::File(path) if path.extension().is_some_and(|extension| extension == "onnx") => {
                Listed { onnx: Some(path.clone()), ..unnamed }
            }
            weights => {
                Listed { weights: Some(weights.clone()), model: self.model.clone(), arch: self.arch.clone(), ..unnamed }
            }
        }
    }

    fn score(&self, map: &dyn FeatureMap, inputs: &Inputs) -> Result<Scored> {
        let order: Vec<usize> = (0..inputs.count()).collect();
        let images = Source::new(|| inputs.source(&order, inputs.dtype(), &Device::Cpu));
        let complexity = GeometricComplexity::projections(Probe::Rademacher, self.probes).seed(self.seed);
        let report = ReportOptions::default().with_scatter(Scatter::Trace);
        let mut options = Options::default().with_complexity(complexity).with_report(report);
        if inputs.labels().is_some() {
            let heads = few_shot_heads(std::slice::from_ref(&self.head))?;
            let (way, shot, query, episodes) = (self.ways, self.shots, self.queries, self.episodes);
            let few_shot = FewShot { way, shot, query, episodes, seed: self.seed, heads };
            options = options.with_few_shot(few_shot).with_transfer_scores();
        }
        let assessment = Assessment::of(&Network::new(map), &Data::new(Images::new(&images)), &options)?;
        let gc = assessment.train.complexity().context("geometric complexity was not measured")?;
        let gc_value = gc.value.context("the geometric complexity is not finite")?;
        let labelled = assessment.few_shot.as_ref().map(|few_shot| labelled_scores(&assessment, few_shot));
        Ok(Scored { gc: gc_value, gc_error: gc.standard_error, labelled: labelled.transpose()? })
    }
}

/// The scores that need labels.
fn labelled_scores(assessment: &Assessment, few_shot: &FewShotResult) -> Result<LabelledScores> {
    let value = |measure: Measure| -> Result<f64> {
        let value = measure.read(assessment).and_then(|measured| measured.value);
        value.with_context(|| reason(assessment).unwrap_or_else(|| format!("{} is undefined", measure.label())))
    };
    let accuracy = few_shot.evaluation.heads.first().context("the evaluation has no head")?.accuracy;
    Ok(LabelledScores {
        nc: value(measures::NC)?,
        log_me: value(measures::LOG_ME)?,
        h_score: value(measures::H_SCORE)?,
        accuracy: accuracy.mean,
        accuracy_error: accuracy.standard_error,
    })
}

/// Why a score is undefined.
fn reason(assessment: &Assessment) -> Option<String> {
    let of_scores = assessment.transfer.as_ref().and_then(|transfer| transfer.undefined.clone());
    assessment.train.undefined.clone().or(of_scores)
}

fn read_list(path: &Path) -> Result<Vec<Listed>> {
    let text =
        support::read_text(path, LARGEST_TEXT).with_context(|| format!("cannot read the list {}", path.display()))?;
    let list: List =
        toml::from_str(&text).map_err(|error| anyhow!("{}: {}", path.display(), error.to_string().trim()))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let at = |weights: WeightsSource| match weights {
        WeightsSource::File(path) => WeightsSource::File(beside.join(path)),
        hub @ WeightsSource::Hub { .. } => hub,
    };
    let placed = |listed: Listed| Listed {
        weights: listed.weights.clone().map(at),
        arch: listed.arch.as_ref().map(|arch| beside.join(arch)),
        onnx: listed.onnx.as_ref().map(|onnx| beside.join(onnx)),
        ..listed
    };
    Ok(list.checkpoint.into_iter().map(placed).collect())
}

/// The scores of the table; the last three need labels.
const SCORES: [Measure; 4] = [measures::GC, measures::NC, measures::LOG_ME, measures::H_SCORE];

/// The name of the accuracy of a head.
fn accuracy_name(head: &str) -> String {
    format!("{head} accuracy")
}

fn rank_table(on: &str, names: Vec<String>, scored: &[Scored], head: &str) -> RankTable {
    let [gc, nc, log_me, h_score] = SCORES.map(Measure::key);
    let mut gc = Score::new(gc, scored.iter().map(|scored| scored.gc).collect());
    gc.standard_errors = Some(scored.iter().map(|scored| scored.gc_error).collect());
    let labelled: Option<Vec<&LabelledScores>> = scored.iter().map(|scored| scored.labelled.as_ref()).collect();
    let column = |name: &str, value: fn(&LabelledScores) -> f64| {
        let labelled = labelled.as_ref()?;
        Some(Score::new(name, labelled.iter().map(|labelled| value(labelled)).collect()))
    };
    let others = [
        column(nc, |labelled| labelled.nc),
        column(log_me, |labelled| labelled.log_me),
        column(h_score, |labelled| labelled.h_score),
    ];
    let errors = labelled.as_ref().map(|all| all.iter().map(|labelled| Some(labelled.accuracy_error)).collect());
    let accuracy = column(&accuracy_name(head), |labelled| labelled.accuracy);
    RankTable {
        on: on.to_owned(),
        names,
        excluded_runs: 0,
        groups: None,
        scores: [gc].into_iter().chain(others.into_iter().flatten()).collect(),
        accuracy: accuracy.map(|accuracy| Score { standard_errors: errors, ..accuracy }),
    }
}
