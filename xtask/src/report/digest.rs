//! The digest of a report, a file beside it, from which the index of all reports is made.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::results::Results;
use super::verdict::{Finding, Verdict};
use crate::files::{LARGEST_TEXT, write_whole};

const FILE: &str = "digest.json";

/// A primary claim in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PrimaryClaim {
    /// The claim.
    pub(crate) claim: String,
    /// The word of its verdict.
    pub(crate) verdict: String,
    /// Its size in words.
    pub(crate) size: String,
}

/// The digest of a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// The experiment.
    pub(crate) name: String,
    /// Its title.
    pub(crate) title: String,
    /// The figure of the paper that it reproduces.
    pub(crate) figure: String,
    /// Its preset.
    pub(crate) preset: String,
    /// Its data set.
    pub(crate) data: String,
    /// Number of runs.
    pub(crate) runs: usize,
    /// Number of runs that do not count, by a rule or because they failed.
    pub(crate) excluded: usize,
    /// Number of claims that hold.
    pub(crate) holds: usize,
    /// Number of claims that fail.
    pub(crate) fails: usize,
    /// Number of claims about negligible changes.
    #[serde(default)]
    pub(crate) negligible: usize,
    /// Number of claims that could not have been violated.
    #[serde(default)]
    pub(crate) vacuous: usize,
    /// The primary claims, each with its verdict and size in words.
    #[serde(default)]
    pub(crate) primary: Vec<PrimaryClaim>,
    /// The differences from the paper in words; none without a comparison, or in the digest of an earlier version.
    #[serde(default)]
    pub(crate) differences: Option<String>,
    /// Number of undecided claims.
    pub(crate) undecided: usize,
    /// Process time of all finished runs, in seconds.
    pub(crate) seconds: f64,
}

/// The primary claims, those that fail first.
fn primary(findings: &[Finding]) -> Vec<PrimaryClaim> {
    let mut primary: Vec<&Finding> = findings.iter().filter(|finding| finding.primary).collect();
    primary.sort_by_key(|finding| finding.verdict);
    let claim = |finding: &&Finding| {
        let verdict = finding.verdict.word().to_owned();
        PrimaryClaim { claim: finding.claim.clone(), verdict, size: finding.size_words() }
    };
    primary.iter().map(claim).collect()
}

impl Digest {
    /// The digest of these results.
    pub(crate) fn of(results: &Results, findings: &[Finding]) -> Self {
        let (experiment, plan) = (&results.experiment, &results.experiment.plan);
        let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
        Self {
            name: experiment.name.clone(),
            title: plan.title.clone(),
            figure: plan.figure.clone(),
            preset: experiment.preset.clone(),
            data: plan.data.set.clone(),
            runs: results.runs.len(),
            excluded: results.runs.iter().filter(|run| !run.counts()).count(),
            holds: count(Verdict::Holds),
            fails: count(Verdict::Fails),
            negligible: count(Verdict::Negligible),
            vacuous: count(Verdict::Vacuous),
            primary: primary(findings),
            differences: super::from_paper::line(results),
            undecided: count(Verdict::Undecided),
            seconds: results.runs.iter().filter_map(|run| Some(run.record.as_ref()?.work.seconds)).sum(),
        }
    }

    /// Writes it into the folder of its report.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write_whole(&folder.join(FILE), serde_json::to_string_pretty(self)?.as_bytes())
    }

    /// Reads the digest in a folder; none if it has none.
    pub(crate) fn read(folder: &Path) -> Option<Result<Self>> {
        let path = folder.join(FILE);
        let text = support::read_text(&path, LARGEST_TEXT).ok()?;
        Some(serde_json::from_str(&text).with_context(|| format!("cannot parse {}", path.display())))
    }
}
