//! The coverage of the intervals of the estimators of GC.

use statistics::{Effect, SeedValue};

use super::{ClaimKind, Finding, Verdict, counted, reasons};
use crate::report::chart::plain;
use crate::report::estimates;
use crate::report::results::{Results, Run};
use crate::study::estimator::{GcEstimator, STATED_LEVEL};

/// A finding for each kind of estimator over all of its settings, primary if the experiment file says so, and one for each
/// setting.
pub(super) fn findings(results: &Results) -> Vec<Finding> {
    let kinds = estimates::kinds(results);
    let primary = results.experiment.plan.claims.coverage_primary;
    let mut findings: Vec<Finding> = kinds
        .iter()
        .filter_map(|kind| {
            let name = kind.first()?.kind();
            Some(finding(results, kind, &format!("{name}, all settings"), primary))
        })
        .collect();
    for how in kinds.iter().flatten() {
        let name = format!("{} {}", how.kind(), plain(how.amount()));
        findings.push(finding(results, &[*how], &name, false));
    }
    findings
}

/// Whether the share of intervals that contain the exact value is at least their level less the tolerance: the mean over
/// seeds with Student's t-interval.
fn finding(results: &Results, estimators: &[GcEstimator], name: &str, primary: bool) -> Finding {
    let rules = &results.experiment.plan.rules;
    let wanted = STATED_LEVEL - rules.coverage_tolerance;
    let words = format!("{name}: {:.0} % intervals contain the exact GC", STATED_LEVEL * 100.0);
    let mut finding = Finding::new(words, ClaimKind::Coverage, Vec::new(), rules.confidence);
    finding.primary = primary;
    finding.excluded = results.runs.iter().filter(|run| !run.counts()).count();
    for seed in super::covariates::seeds(counted(results)) {
        let own: Vec<&Run> = counted(results).filter(|run| run.planned.configuration.seed == seed).collect();
        let (contained, all) =
            own.iter().map(|run| contained(run, estimators)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        if all > 0 {
            finding.runs += own.len();
            finding.per_seed.push(SeedValue { seed, value: contained as f64 / all as f64 });
        }
    }
    finding.seeds = finding.per_seed.len();
    let effect = match Effect::over_seeds(finding.per_seed.clone(), rules.confidence) {
        Ok(effect) => effect,
        Err(_) if counted(results).next().is_none() => {
            finding.undecided(reasons::all_excluded(&results.runs.iter().collect::<Vec<_>>()));
            return finding;
        }
        Err(error) => {
            finding.undecided(error.to_string());
            return finding;
        }
    };
    finding.statistic = Some(effect.mean);
    finding.interval = effect.interval.map(|interval| (interval.low.max(0.0), interval.high.min(1.0)));
    (finding.verdict, finding.reason) = match finding.interval {
        None => (Verdict::Undecided, "one seed has no interval: run at least two".to_owned()),
        Some((low, _)) if low >= wanted => {
            (Verdict::Holds, format!("the whole interval of the share lies at or above {wanted:.2}"))
        }
        Some((_, high)) if high < wanted => {
            (Verdict::Fails, format!("the whole interval of the share lies below {wanted:.2}"))
        }
        Some(_) => (Verdict::Undecided, format!("the interval of the share contains {wanted:.2}")),
    };
    finding
}

/// Numbers of intervals that contain the exact value, and of all.
fn contained(run: &Run, estimators: &[GcEstimator]) -> (usize, usize) {
    let each = estimators.iter().flat_map(|how| estimates::in_run(run, *how));
    each.fold((0, 0), |(contained, all), (_, found)| (contained + found.contained, all + found.values.len()))
}
