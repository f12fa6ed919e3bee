//! Claims become statistics with intervals, and statistics become verdicts, by rules that were fixed beforehand.

use std::collections::BTreeSet;

use fewshot::{IntervalSettings, RankCorrelation, RankStatistic};
use serde::Serialize;

use super::results::{Reading, Results, Run, common_level, readings};
use crate::reproduce::experiment::{Direction, Inequality, Readout, Rules};
use crate::reproduce::metric::Metric;

/// What the data say about one claim.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// The claim in words.
    pub(crate) claim: String,
    /// What kind of statement it is.
    pub(crate) kind: Kind,
    /// The sweep whose runs it is about; all runs where there is none.
    pub(crate) sweep: Option<String>,
    /// The metrics that it is about.
    pub(crate) metrics: Vec<Metric>,
    /// When the runs were compared; along all of training where there is none.
    pub(crate) readout: Option<Readout>,
    /// The level of training loss, as a share of ln k, at which they were compared.
    pub(crate) level: Option<f64>,
    /// Spearman's rank correlation, or the share of points that satisfy an inequality.
    pub(crate) statistic: Option<f64>,
    /// Lower and upper end of its bootstrap interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// Two-sided p-value of a permutation test of a rank correlation.
    pub(crate) p_value: Option<f64>,
    /// Runs that it rests on.
    pub(crate) runs: usize,
    /// The same statistic with the excluded runs that reached the readout.
    pub(crate) with_excluded: Option<f64>,
    /// Runs that were excluded.
    pub(crate) excluded: usize,
    /// What follows.
    pub(crate) verdict: Verdict,
    /// Why, in words.
    pub(crate) reason: String,
}

/// What a claim is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A metric goes one way as a swept value rises.
    Trend,
    /// Two metrics go together, or oppositely.
    Association,
    /// A metric is never larger than another.
    Inequality,
}

/// What the data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The interval lies on the claimed side.
    Holds,
    /// The interval lies on the other side.
    Fails,
    /// Neither.
    Undecided,
}

impl Verdict {
    /// The word in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "fails",
            Self::Undecided => "undecided",
        }
    }
}

/// Every claim of the experiment, decided.
pub(crate) fn findings(results: &Results) -> Vec<Finding> {
    let mut findings = trends(results);
    findings.extend(associations(results));
    findings.extend(results.experiment.plan.claims.inequalities.iter().map(|claim| inequality(results, claim)));
    findings
}

fn trends(results: &Results) -> Vec<Finding> {
    let plan = &results.experiment.plan;
    let mut findings = Vec::new();
    for trend in &plan.claims.trends {
        for column in plan.sweeps.keys().filter(|name| trend.sweeps.contains_key(*name)) {
            let (sweep, direction) = (&plan.sweeps[column], trend.sweeps[column]);
            let numbers = sweep.numbers();
            for (metric, readout) in pairs(&trend.metrics, &trend.readouts) {
                let goes = if direction == Direction::Rises { "higher" } else { "lower" };
                let claim = format!("larger {} → {goes} {}", sweep.label, metric.label(plan.task));
                let about = Correlated {
                    kind: Kind::Trend,
                    sweep: Some(column.as_str()),
                    metrics: vec![metric],
                    readout,
                    direction,
                };
                let point =
                    |reading: &Reading| Some((numbers[reading.run.planned.value_in(column)?], reading.value(metric)?));
                findings.push(about.decide(results, claim, &point));
            }
        }
    }
    findings
}

fn associations(results: &Results) -> Vec<Finding> {
    let plan = &results.experiment.plan;
    let sweeps = plan.report.columns.iter().map(|name| Some(name.as_str()));
    let scopes: Vec<Option<&str>> = std::iter::once(None).chain(sweeps).collect();
    let mut findings = Vec::new();
    for claim in &plan.claims.associations {
        for (scope, readout) in pairs(&scopes, &claim.readouts) {
            let (x, y) = (claim.x.label(plan.task), claim.y.label(plan.task));
            let goes = if claim.direction == Direction::Rises { "lower" } else { "higher" };
            let where_ = scope.map_or_else(
                || "over all runs".to_owned(),
                |name| format!("over the {} sweep", plan.sweeps[name].label),
            );
            let about = Correlated {
                kind: Kind::Association,
                sweep: scope,
                metrics: vec![claim.x, claim.y],
                readout,
                direction: claim.direction,
            };
            let point = |reading: &Reading| Some((reading.value(claim.x)?, reading.value(claim.y)?));
            findings.push(about.decide(results, format!("lower {x} ↔ {goes} {y}, {where_}"), &point));
        }
    }
    findings
}

fn pairs<A: Copy, B: Copy>(first: &[A], second: &[B]) -> Vec<(A, B)> {
    second.iter().flat_map(|b| first.iter().map(move |a| (*a, *b))).collect()
}

/// A claim that is a rank correlation.
struct Correlated<'a> {
    kind: Kind,
    sweep: Option<&'a str>,
    metrics: Vec<Metric>,
    readout: Readout,
    direction: Direction,
}

impl Correlated<'_> {
    fn decide(self, results: &Results, claim: String, point: &dyn Fn(&Reading) -> Option<(f64, f64)>) -> Finding {
        let plan = &results.experiment.plan;
        let levels = &plan.measure.loss_levels;
        let all = results.of(self.sweep);
        let counted: Vec<&Run> = all.iter().copied().filter(|run| run.counts()).collect();
        let collect = |runs: &[&Run]| -> Vec<(f64, f64)> {
            readings(runs, self.readout, levels).iter().filter_map(point).collect()
        };
        let points = collect(&counted);
        let found = spearman(&points, &plan.rules);
        let (verdict, reason) = self.judge(points.len(), found.as_ref(), &plan.rules);
        let found = found.ok();
        let excluded = all.len() - counted.len();
        Finding {
            claim,
            kind: self.kind,
            sweep: self.sweep.map(str::to_owned),
            metrics: self.metrics,
            readout: Some(self.readout),
            level: (self.readout == Readout::MatchedLoss).then(|| common_level(&counted, levels)).flatten(),
            statistic: found.as_ref().map(|found| found.coefficient),
            interval: found.as_ref().map(|found| (found.bootstrap.low, found.bootstrap.high)),
            p_value: found.as_ref().map(|found| found.p_value),
            runs: points.len(),
            with_excluded: (excluded > 0)
                .then(|| spearman(&collect(&all), &plan.rules).ok().map(|found| found.coefficient))
                .flatten(),
            excluded,
            verdict,
            reason,
        }
    }

    fn judge(
        &self,
        points: usize,
        found: std::result::Result<&RankCorrelation, &fewshot::Error>,
        rules: &Rules,
    ) -> (Verdict, String) {
        if points == 0 && self.readout == Readout::MatchedLoss {
            return (Verdict::Undecided, "no level of training loss was reached by all counted runs".to_owned());
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => return (Verdict::Undecided, error.to_string()),
        };
        let chance = 1.0 - rules.confidence;
        if found.p_value > chance {
            return (Verdict::Undecided, format!("by chance alone such a ρ has probability {:.2}", found.p_value));
        }
        let (low, high) = (found.bootstrap.low, found.bootstrap.high);
        let (low, high) = if self.direction == Direction::Rises { (low, high) } else { (-high, -low) };
        if low > 0.0 {
            (Verdict::Holds, "the whole interval lies on the claimed side of zero".to_owned())
        } else if high < 0.0 {
            (Verdict::Fails, "the whole interval lies on the other side of zero".to_owned())
        } else {
            (Verdict::Undecided, "the interval contains zero".to_owned())
        }
    }
}

fn inequality(results: &Results, claim: &Inequality) -> Finding {
    let plan = &results.experiment.plan;
    let all = results.of(None);
    let shares: Vec<f64> = all.iter().filter(|run| run.counts()).filter_map(|run| satisfied(run, claim)).collect();
    let statement =
        format!("{} ≤ {} at every measured point", claim.lesser.label(plan.task), claim.greater.label(plan.task));
    let found = fewshot::estimate_mean(&shares, &settings(&plan.rules));
    let (verdict, reason) = match &found {
        Err(error) => (Verdict::Undecided, error.to_string()),
        Ok(found) if found.mean == 1.0 => (Verdict::Holds, "it is satisfied everywhere".to_owned()),
        Ok(found) if found.bootstrap.high < 1.0 => {
            (Verdict::Fails, "it is violated, and the interval of the share lies below 1".to_owned())
        }
        Ok(_) => (Verdict::Undecided, "it is violated at too few points to tell".to_owned()),
    };
    let found = found.ok();
    Finding {
        claim: statement,
        kind: Kind::Inequality,
        sweep: None,
        metrics: vec![claim.lesser, claim.greater],
        readout: None,
        level: None,
        statistic: found.as_ref().map(|found| found.mean),
        interval: found.as_ref().map(|found| (found.bootstrap.low, found.bootstrap.high)),
        p_value: None,
        runs: shares.len(),
        with_excluded: None,
        excluded: all.iter().filter(|run| !run.counts()).count(),
        verdict,
        reason,
    }
}

/// The share of a run's measured points after the initialisation at which the inequality is satisfied.
fn satisfied(run: &Run, claim: &Inequality) -> Option<f64> {
    let trained = run.measurements.iter().filter(|measurement| measurement.step > 0);
    let sides =
        trained.filter_map(|measurement| Some((measurement.value(claim.lesser)?, measurement.value(claim.greater)?)));
    let (mut all, mut kept) = (0usize, 0usize);
    for (lesser, greater) in sides {
        all += 1;
        kept += usize::from(lesser <= greater);
    }
    (all > 0).then(|| kept as f64 / all as f64)
}

/// How intervals are made, as the rules say; the seed fixes the resamples.
fn settings(rules: &Rules) -> IntervalSettings {
    IntervalSettings { level: rules.confidence, resamples: rules.resamples, seed: 0 }
}

/// Spearman's rank correlation of the points, where there is one.
fn spearman(points: &[(f64, f64)], rules: &Rules) -> fewshot::Result<RankCorrelation> {
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    fewshot::rank_correlation(&x, &y, RankStatistic::Spearman, &settings(rules))
}

/// Excluded runs with the rules that excluded them, each once.
pub(crate) fn exclusions(results: &Results) -> BTreeSet<(String, String)> {
    let excluded = results.runs.iter().filter(|run| !run.counts());
    excluded.map(|run| (run.planned.description(), run.standing.explained())).collect()
}
