//! Few-shot accuracy over several networks: each file holds the features of the same samples by another network.

use anyhow::{Context, Result, anyhow, bail};
use fewshot::{
    AcrossModels, Evaluation, HeadKind, IntervalSettings, MeanEstimate, ScoreRank, TransferScores, across_models,
    compare_on_same_episodes, rank_scores,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::few_shot::{self, Args, Prepared};
use crate::invocation::Invocation;
use crate::output::{self, Row};
use crate::usage::usage;

/// Networks from which a rank correlation of scores with accuracies is computed.
const FEWEST_RANKED: usize = 3;

/// What `--json` writes.
#[derive(Serialize)]
struct Document {
    format: u32,
    /// One entry for each file.
    networks: Vec<Network>,
    episodes: usize,
    episodes_sha256: String,
    /// Means over networks with their intervals, and the differences of heads.
    across_networks: AcrossModels,
    /// With --compare-networks: the paired differences of every two networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    comparisons: Option<Vec<Comparison>>,
    /// With --transfer-scores and three networks or more: how each score ranks the networks by the accuracy of each head.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    score_ranks: Vec<HeadRanks>,
}

#[derive(Serialize)]
struct Network {
    features: String,
    fewshot: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_scores: Option<TransferScores>,
}

/// The accuracy of one network minus that of another, on the same episodes.
#[derive(Serialize)]
struct Comparison {
    head: String,
    first: String,
    second: String,
    difference: MeanEstimate,
}

#[derive(Serialize)]
struct HeadRanks {
    head: String,
    scores: Vec<ScoreRank>,
}

/// Evaluates every network on the same episodes.
///
/// # Errors
/// A single file, files whose labels differ, and those of one file.
pub(super) fn across_networks(args: &Args, heads: &[HeadKind], invocation: &Invocation<'_>) -> Result<()> {
    let names: Vec<String> = args.input.files().iter().map(|path| path.display().to_string()).collect();
    if names.len() < 2 {
        return Err(usage(anyhow!("--across-networks: give two files of --features or more, one for each network")));
    }
    let mut labels: Option<(Vec<u32>, Option<Vec<String>>)> = None;
    let (mut evaluations, mut scores) = (Vec::new(), Vec::new());
    for (name, file) in names.iter().zip(args.input.read_each()?) {
        let Prepared { features, class_names } = few_shot::prepared(file?, &args.heads, name)?;
        let own = (features.labels().to_vec(), class_names);
        if *labels.get_or_insert_with(|| own.clone()) != own {
            bail!(
                "{name}: the labels differ from those of {}; networks are compared on the same samples in the same order",
                names[0]
            );
        }
        evaluations.push(args.episodes.evaluate(&features, heads, name)?);
        if args.transfer_scores {
            let found = fewshot::transfer_scores(&features);
            scores.push(found.with_context(|| format!("{name}: --transfer-scores"))?);
        }
    }
    if let Some((labels, _)) = &labels {
        args.episodes.write_tasks(labels)?;
    }
    let document = document(args, names, &evaluations, scores)?;
    if args.json {
        return output::json(&document, invocation);
    }
    print(args, &document, &evaluations);
    Ok(())
}

fn document(
    args: &Args,
    names: Vec<String>,
    evaluations: &[Evaluation],
    scores: Vec<TransferScores>,
) -> Result<Document> {
    let across_networks = across_models(evaluations)?;
    let comparisons = args.compare_networks.then(|| comparisons(&names, evaluations)).transpose()?;
    let score_ranks = if scores.len() < FEWEST_RANKED { Vec::new() } else { ranks(&scores, evaluations) };
    let mut scores = scores.into_iter();
    let network = |(features, evaluation): (String, &Evaluation)| Network {
        features,
        fewshot: few_shot::results(&args.heads, evaluation),
        transfer_scores: scores.next(),
    };
    Ok(Document {
        format: output::FORMAT,
        episodes: evaluations.first().map_or(0, |evaluation| evaluation.episodes),
        episodes_sha256: evaluations
            .first()
            .map_or_else(String::new, |evaluation| evaluation.episodes_checksum.clone()),
        networks: names.into_iter().zip(evaluations).map(network).collect(),
        across_networks,
        comparisons,
        score_ranks,
    })
}

/// Every two networks, for each head.
fn comparisons(names: &[String], evaluations: &[Evaluation]) -> Result<Vec<Comparison>> {
    let mut found = Vec::new();
    for (at, (first, one)) in names.iter().zip(evaluations).enumerate() {
        for (second, other) in names.iter().zip(evaluations).skip(at + 1) {
            for head in one.heads.iter().map(|head| &head.head) {
                let difference = compare_on_same_episodes(one, head, other, head)?.difference;
                let (head, first, second) = (head.clone(), first.clone(), second.clone());
                found.push(Comparison { head, first, second, difference });
            }
        }
    }
    Ok(found)
}

/// The rank correlation of each score with the accuracies of each head. A score or accuracy that is the same for all networks
/// has none.
fn ranks(scores: &[TransferScores], evaluations: &[Evaluation]) -> Vec<HeadRanks> {
    let heads = evaluations.first().map_or(&[][..], |evaluation| evaluation.heads.as_slice());
    let of_head = |(at, head): (usize, &fewshot::HeadAccuracy)| {
        let accuracies: Vec<f64> = evaluations.iter().map(|evaluation| evaluation.heads[at].accuracy.mean).collect();
        let scores = rank_scores(scores, &accuracies, &IntervalSettings::default()).ok()?;
        Some(HeadRanks { head: head.head.clone(), scores })
    };
    heads.iter().enumerate().filter_map(of_head).collect()
}

fn print(args: &Args, document: &Document, evaluations: &[Evaluation]) {
    for (network, evaluation) in document.networks.iter().zip(evaluations) {
        let mut rows = few_shot::accuracy_rows(evaluation);
        if let Some(scores) = &network.transfer_scores {
            rows.extend(few_shot::score_rows(scores));
        }
        output::table(&network.features, &rows);
    }
    let across = &document.across_networks;
    let mut rows = vec![Row::text("episodes", document.episodes.to_string())];
    rows.extend(across.heads.iter().map(|head| few_shot::accuracy(&head.head, &head.accuracy)));
    rows.extend(across.differences.iter().map(|pair| few_shot::difference(&pair.head, &pair.accuracy)));
    output::table(&format!("mean over {} networks; the intervals are those of further networks", across.models), &rows);
    few_shot::explain_errors();
    if let Some(comparisons) = &document.comparisons {
        let row = |pair: &Comparison| {
            few_shot::difference(&format!("{}: {} − {}", pair.head, pair.first, pair.second), &pair.difference)
        };
        output::table("differences of networks, paired by episode", &comparisons.iter().map(row).collect::<Vec<_>>());
    }
    for ranks in &document.score_ranks {
        let rows: Vec<Row> =
            ranks.scores.iter().map(|rank| Row::text(&rank.score.to_string(), correlation(rank))).collect();
        output::table(&format!("rank correlation of scores with the accuracy of {}", ranks.head), &rows);
    }
    if args.transfer_scores && document.networks.len() < FEWEST_RANKED {
        output::note!("note: scores are correlated with accuracies from {FEWEST_RANKED} networks on");
    }
}

/// Both coefficients with their p-values. The intervals are in the JSON; below 8 networks they cover too seldom.
fn correlation(rank: &ScoreRank) -> String {
    let (rho, tau) = (&rank.spearman, &rank.kendall);
    format!(
        "Spearman's ρ {:+.2} (p {:.3}), Kendall's τ {:+.2} (p {:.3})",
        rho.coefficient, rho.p_value, tau.coefficient, tau.p_value
    )
}
