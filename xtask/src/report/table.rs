//! Tables for the terminal and the page: one for each sweep, and one for each overlay.

use std::collections::BTreeSet;

use super::results::{Results, Run, compared_runs};
use super::verdict::{ClaimKind, Finding};
use crate::output;
use crate::study::experiment::{ComparisonPoint, Overlay};
use crate::study::measurement::LayerMeasures;
use crate::study::metric::{Metric, Scale, measures};

/// The name of the network before the first step, in tables.
const INITIAL_NETWORK: &str = "initial network";

/// Rows of text under a header.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Its title.
    pub(crate) caption: String,
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// The rows, each as long as the header.
    pub(crate) rows: Vec<Vec<String>>,
    /// Whether the last row is a summary of the others.
    pub(crate) summed: bool,
}

/// The standard measures in the table of a sweep; the others are in the CSV.
const SHOWN: [Metric; 10] = [
    measures::GC,
    measures::GEOMETRIC_COLLAPSE,
    measures::PAIRWISE_GEOMETRIC_COLLAPSE,
    measures::NC,
    measures::TARGET_NC,
    measures::NEAREST_MEAN_ACCURACY,
    measures::RIDGE_ACCURACY,
    measures::TEST_NC,
    measures::TEST_ACCURACY,
    measures::EVALUATION_LOSS,
];

/// The measures in the table of a sweep: the main ones, and those that the experiment asks for beyond the standard ones.
fn shown(results: &Results) -> Vec<Metric> {
    results.metrics().into_iter().filter(|metric| !metric.is_standard() || SHOWN.contains(metric)).collect()
}

/// Tables for each column of the figure: the initial network, the swept values, and the rank correlations of ordered ones, at the end of training
/// and at every other comparison point at which a claim about this sweep is decided.
pub(crate) fn sweeps(results: &Results, findings: &[Finding]) -> Vec<Table> {
    let plan = &results.experiment.plan;
    let others = [ComparisonPoint::EqualLoss, ComparisonPoint::EqualSteps];
    let mut tables = Vec::new();
    for name in &plan.report.columns {
        let trends = || plan.claims.trends.iter().filter(|trend| trend.sweeps.contains_key(name));
        let contrasts = || plan.claims.contrasts.iter().filter(|contrast| contrast.sweep == *name);
        let claimed = |point: &ComparisonPoint| {
            trends().any(|trend| trend.comparisons.contains(point))
                || contrasts().any(|contrast| contrast.comparisons.contains(point))
        };
        let points = std::iter::once(ComparisonPoint::EqualEpochs).chain(others.into_iter().filter(claimed));
        tables.extend(points.map(|point| sweep(results, findings, name, point)));
    }
    tables
}

fn sweep(results: &Results, findings: &[Finding], name: &str, point: ComparisonPoint) -> Table {
    let plan = &results.experiment.plan;
    let sweep = &plan.sweeps[name];
    let metrics = shown(results);
    let mut header = vec![sweep.label.clone(), "runs".to_owned(), "loss".to_owned()];
    header.extend(metrics.iter().map(|metric| metric.short().to_owned()));
    let mut rows = vec![initial(results, name, &metrics)];
    for (index, level) in super::chart::level_names(sweep).into_iter().enumerate() {
        let runs: Vec<&Run> = results.runs.iter().filter(|run| run.planned.value_in(name) == Some(index)).collect();
        let compared = compared_runs(&runs, point, plan.rules.equal_loss_level);
        let losses: Vec<f64> = match point {
            ComparisonPoint::EqualEpochs => runs.iter().filter_map(|run| run.final_loss).collect(),
            ComparisonPoint::EqualLoss | ComparisonPoint::EqualSteps => {
                compared.iter().filter_map(|run| run.train_loss()).collect()
            }
        };
        let mut row = vec![level, counts(&runs, compared.len()), spread(&losses, Scale::Linear)];
        row.extend(metrics.iter().map(|metric| {
            let values: Vec<f64> = compared.iter().filter_map(|run| run.value(*metric)).collect();
            spread(&values, metric.scale())
        }));
        rows.push(row);
    }
    let caption = caption(results, name, point);
    if !sweep.is_ordered() {
        return Table { caption, header, rows, summed: false };
    }
    let mut correlations = vec!["ρ".to_owned(), String::new(), String::new()];
    correlations.extend(metrics.iter().map(|metric| {
        let trend = findings.iter().find(|finding| {
            finding.kind == ClaimKind::Trend
                && finding.sweep.as_deref() == Some(name)
                && finding.metrics == [*metric]
                && finding.comparison == Some(point)
        });
        trend.map_or_else(String::new, statistic)
    }));
    rows.push(correlations);
    Table { caption, header, rows, summed: true }
}

/// The sweep and the point of training of a table, with its level.
fn caption(results: &Results, name: &str, point: ComparisonPoint) -> String {
    let plan = &results.experiment.plan;
    let level = plan.rules.equal_loss_level;
    let at = match point {
        ComparisonPoint::EqualEpochs => format!("after {} epochs", super::chart::plain(plan.train.epochs)),
        ComparisonPoint::EqualLoss => {
            let classes = results.runs.iter().find_map(|run| run.trained_on).map(|(classes, _)| classes as f64);
            let nats = classes.map_or_else(String::new, |classes| format!(" = {}", three_digits(level * classes.ln())));
            format!("at a training loss in evaluation mode of {level} ln k{nats}")
        }
        ComparisonPoint::EqualSteps => {
            let steps = results.of(Some(name)).iter().find_map(|run| Some(run.at_equal_steps()?.step));
            steps.map_or_else(|| "after equal steps".to_owned(), |steps| format!("after {steps} steps"))
        }
    };
    format!("Sweep of the {}, {at}", plan.sweeps[name].label)
}

/// The row of the initial network, which is the same for all values of a training setting: one run for each seed.
fn initial(results: &Results, name: &str, metrics: &[Metric]) -> Vec<String> {
    let mut runs = results.of(Some(name));
    if results.experiment.plan.sweeps[name].keys().iter().all(|key| key.starts_with("train.")) {
        let mut seeds = BTreeSet::new();
        runs.retain(|run| run.initial().is_some() && seeds.insert(run.planned.configuration.seed));
    }
    let found: Vec<_> = runs.iter().filter_map(|run| run.initial()).collect();
    let mut row = vec![INITIAL_NETWORK.to_owned(), found.len().to_string(), "–".to_owned()];
    row.extend(metrics.iter().map(|metric| {
        let values: Vec<f64> = found.iter().filter_map(|measurement| measurement.value(*metric)).collect();
        spread(&values, metric.scale())
    }));
    row
}

/// A table for each overlay: a row per measuring point, a column per metric.
pub(crate) fn courses(results: &Results) -> Vec<Table> {
    let plan = &results.experiment.plan;
    let runs: Vec<&Run> = results.runs.iter().filter(|run| run.planned.positions.is_empty()).collect();
    let at = |share: f64, metric: Metric| -> Vec<f64> {
        let lines = runs.iter().filter_map(|run| run.scheduled().find(|(at, _)| *at == share));
        lines.filter_map(|(_, line)| line.value(metric)).collect()
    };
    let course = |group: &Overlay| {
        let row = |share: &f64| {
            let epochs = super::chart::plain(share * plan.train.epochs);
            let mut cells = vec![if *share == 0.0 { format!("{epochs} ({INITIAL_NETWORK})") } else { epochs }];
            cells.extend(group.metrics.iter().map(|metric| spread(&at(*share, *metric), metric.scale())));
            cells
        };
        let mut header = vec!["epochs".to_owned()];
        header.extend(group.metrics.iter().map(|metric| plan.task.label_of(*metric).to_owned()));
        let rows = plan.measure.schedule.iter().map(row).collect();
        Table { caption: format!("{} ({} runs)", group.label, runs.len()), header, rows, summed: false }
    };
    plan.report.overlays.iter().map(course).collect()
}

/// The measures of single layers at the end of training, over the runs with the settings of the file that no sweep changes; none if
/// none were measured.
pub(crate) fn layers(results: &Results) -> Option<Table> {
    let plan = &results.experiment.plan;
    let settings = |seed: u64| results.experiment.configuration(seed, None).and_then(|base| base.key()).ok();
    let base =
        |run: &&Run| run.counts() && settings(run.planned.configuration.seed).is_some_and(|key| key == run.planned.key);
    let runs: Vec<&Run> = results.runs.iter().filter(base).collect();
    let found: Vec<&LayerMeasures> = runs.iter().flat_map(|run| run.layers()).collect();
    let row = |layer: &String| {
        let own: Vec<&LayerMeasures> = found.iter().copied().filter(|found| found.layer == *layer).collect();
        let cell = |value: &dyn Fn(&LayerMeasures) -> Option<f64>, scale: Scale| {
            spread(&own.iter().filter_map(|own| value(own)).collect::<Vec<_>>(), scale)
        };
        vec![
            layer.clone(),
            own.first().map_or_else(|| "–".to_owned(), |own| own.outputs.to_string()),
            cell(&|own| own.gc.value, Scale::Logarithmic),
            cell(&|own| own.nc_unbiased.value, Scale::Logarithmic),
            cell(&|own| own.target_nc_unbiased?.value, Scale::Logarithmic),
            cell(&|own| own.probe_accuracy.value, Scale::Percent),
        ]
    };
    let header = ["layer", "outputs", "GC", "NC unb.", "target NC unb.", "probe acc."];
    (!found.is_empty()).then(|| Table {
        caption: format!("Layers at the end of training ({} runs)", runs.len()),
        header: header.map(str::to_owned).to_vec(),
        rows: plan.measure.layers.iter().map(row).collect(),
        summed: false,
    })
}

/// The number of runs that reach the comparison point, of all if not all do, and the numbers of those that do not count.
fn counts(runs: &[&Run], compared: usize) -> String {
    let mut words =
        vec![if compared == runs.len() { runs.len().to_string() } else { format!("{compared} of {}", runs.len()) }];
    for word in ["under-trained", "diverged", "failed", "unfinished"] {
        let count = runs.iter().filter(|run| run.status.word() == word).count();
        if count > 0 {
            words.push(format!("({count} {word})"));
        }
    }
    words.join(" ")
}

/// The comparison point of a finding, with its level.
pub(crate) fn comparison(finding: &Finding) -> String {
    match (finding.comparison, finding.level) {
        (None, _) => "all points".to_owned(),
        (Some(ComparisonPoint::EqualEpochs), _) => "equal epochs".to_owned(),
        (Some(ComparisonPoint::EqualSteps), _) => "equal steps".to_owned(),
        (Some(ComparisonPoint::EqualLoss), Some(level)) => format!("equal loss, {level} ln k"),
        (Some(ComparisonPoint::EqualLoss), None) => "equal loss".to_owned(),
    }
}

/// The number of runs of a finding, and the number of excluded ones.
pub(crate) fn runs(finding: &Finding) -> String {
    if finding.excluded == 0 { finding.runs.to_string() } else { format!("{} (−{})", finding.runs, finding.excluded) }
}

/// The interval of a finding.
pub(crate) fn interval(finding: &Finding) -> String {
    let number = |value| number(finding.kind, value);
    finding.interval.map_or_else(|| "–".to_owned(), |(low, high)| format!("{} to {}", number(low), number(high)))
}

/// The statistic of a finding: a correlation with its sign, a share without.
pub(crate) fn statistic(finding: &Finding) -> String {
    finding.statistic.map_or_else(|| "–".to_owned(), |value| number(finding.kind, value))
}

/// A statistic of this kind of finding, as text.
fn number(kind: ClaimKind, value: f64) -> String {
    match kind {
        ClaimKind::Inequality | ClaimKind::Coverage => format!("{value:.3}"),
        ClaimKind::Trend | ClaimKind::Contrast | ClaimKind::Association | ClaimKind::Course => signed(value),
    }
}

/// A number with sign and two decimals, with a minus sign instead of a hyphen.
pub(crate) fn signed(value: f64) -> String {
    format!("{value:+.2}").replace('-', "−")
}

/// The mean over seeds, ± half their range.
pub(crate) fn spread(values: &[f64], scale: Scale) -> String {
    let Some(mean) = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64) else {
        return "–".to_owned();
    };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let half = (high - low) / 2.0;
    let several = values.len() > 1;
    match scale {
        Scale::Percent if several => format!("{:.1} ± {:.1} %", mean * 100.0, half * 100.0),
        Scale::Percent => format!("{:.1} %", mean * 100.0),
        _ if several => {
            let digits = decimals(mean);
            format!("{mean:.digits$} ± {half:.digits$}")
        }
        _ => three_digits(mean),
    }
}

/// A number with three significant digits.
pub(crate) fn three_digits(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    format!("{value:.*}", decimals(value))
}

/// The number of decimals for three significant digits.
fn decimals(value: f64) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    (2 - value.abs().log10().floor() as i32).clamp(0, 8) as usize
}

impl Table {
    /// The table as lines, each row in one line.
    pub(crate) fn text(&self) -> String {
        output::columns(&self.caption, &self.header, &self.rows, usize::MAX)
    }

    /// The table as lines within the columns of a terminal.
    pub(crate) fn terminal(&self) -> String {
        output::columns(&self.caption, &self.header, &self.rows, output::WIDTH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        assert_eq!(three_digits(1082.4), "1082");
        assert_eq!(three_digits(14.23), "14.2");
        assert_eq!(three_digits(0.01234), "0.0123");
        assert_eq!(three_digits(3e-9), "3.00e-9");
        assert_eq!(three_digits(0.0), "0");
        assert_eq!(signed(-0.973), "−0.97");
        assert_eq!(spread(&[0.5, 0.6], Scale::Percent), "55.0 ± 5.0 %");
        assert_eq!(spread(&[], Scale::Linear), "–");
    }
}
