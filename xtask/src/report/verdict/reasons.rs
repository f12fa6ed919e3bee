//! The reasons of verdicts, in words.

use std::collections::BTreeMap;

use statistics::{Correction, Decision, DecisionRules, Judged, Undecided};

use super::{ClaimKind, Finding};
use crate::report::results::{Results, Run};
use crate::report::table::three_digits;
use crate::study::experiment::{ComparisonPoint, Direction, Rules};
use crate::study::metric::{Metric, measures};

/// A p-value in words and tables.
pub(crate) fn p_value(value: f64) -> String {
    if value < 0.001 { "below 0.001".to_owned() } else { format!("{value:.3}") }
}

/// The reason of a decision.
pub(super) fn of_decision(judged: &Judged, finding: &Finding, how: &DecisionRules, rules: &Rules) -> String {
    let sized = matches!(finding.kind, ClaimKind::Trend | ClaimKind::Contrast);
    let what = if sized { "the size" } else { "the statistic" };
    let corrected = format!("corrected p {}", p_value(judged.corrected_p_value));
    let unchanged = finding.direction == Some(Direction::Unchanged);
    match judged.decision {
        Decision::Holds | Decision::Fails if unchanged => {
            format!("{corrected}, and the whole interval of {what} lies on one side of no change")
        }
        Decision::Holds => format!("{corrected}, and the whole interval of {what} lies on the claimed side"),
        Decision::Fails => format!("{corrected}, and the whole interval of {what} lies on the other side"),
        Decision::Negligible => format!(
            "the whole interval of the size lies within the margin, ×{} to ×{} or ±{} points",
            three_digits(1.0 / rules.negligible_factor),
            three_digits(rules.negligible_factor),
            rules.negligible_points
        ),
        Decision::Undecided(Undecided::OneSeed) => "one seed has no interval: run at least two".to_owned(),
        Decision::Undecided(Undecided::TooFewValues { smallest }) => format!(
            "too few values for its test: the smallest p-value that {} runs of {} seeds can have is {}{}, above {:.2}",
            finding.runs,
            finding.seeds,
            p_value(smallest),
            if how.correction == Correction::Holm {
                format!(" after correction for {} claims", finding.family)
            } else {
                String::new()
            },
            how.level
        ),
        Decision::Undecided(Undecided::NotSignificant) => format!("{corrected} is above {:.2}", how.level),
        Decision::Undecided(Undecided::IntervalContainsZero) => format!("the interval of {what} contains no effect"),
        Decision::Undecided(Undecided::OppositeSigns) => match finding.kind {
            ClaimKind::Contrast => "most seeds and the size point in opposite directions".to_owned(),
            _ => "rank correlation and size point in opposite directions".to_owned(),
        },
    }
}

fn not_measured(metric: Metric) -> String {
    format!("`{}` is not measured in these runs", metric.key())
}

/// That no run counts, with the number of runs for each reason.
pub(super) fn all_excluded(runs: &[&Run]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    runs.iter().for_each(|run| *counts.entry(run.status.word()).or_default() += 1);
    let words: Vec<String> = counts.iter().map(|(word, count)| format!("{count} {word}")).collect();
    if words.is_empty() {
        "there are no runs".to_owned()
    } else {
        format!("all runs are excluded: {}", words.join(", "))
    }
}

/// Why no runs are left for a claim; none if there are some.
pub(super) fn without_runs(
    results: &Results,
    all: &[&Run],
    metrics: &[Metric],
    comparison: Option<ComparisonPoint>,
    found: usize,
) -> Option<String> {
    if let Some(metric) = metrics.iter().find(|metric| !results.has(**metric)) {
        return Some(not_measured(*metric));
    }
    if found > 0 {
        return None;
    }
    if !all.iter().any(|run| run.counts()) {
        return Some(all_excluded(all));
    }
    Some(match comparison {
        Some(ComparisonPoint::EqualLoss) if !results.has(measures::EVALUATION_LOSS) => {
            format!("equal loss cannot be found: {}", not_measured(measures::EVALUATION_LOSS))
        }
        Some(ComparisonPoint::EqualLoss) => {
            let level = results.experiment.plan.rules.equal_loss_level;
            format!("no counted run reached a training loss of {level} ln k in evaluation mode")
        }
        Some(ComparisonPoint::EqualSteps) => "no counted run is measured at equal steps".to_owned(),
        _ => "no counted run has a value".to_owned(),
    })
}
