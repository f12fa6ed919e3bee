//! Tables for the terminal and the page: one for each sweep, and grids of the claims.

use super::results::{Results, Run};
use super::verdict::{ClaimKind, Finding};
use crate::study::experiment::{ComparisonPoint, Overlay, Plan};
use crate::study::metric::{Metric, Scale};

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

/// The metrics in the table of a sweep; the others are in the CSV.
fn shown(results: &Results) -> Vec<Metric> {
    let auxiliary = [
        Metric::PoincareConstant,
        Metric::PathSlope,
        Metric::StepSlope,
        Metric::TestBound,
        Metric::NearestMeanError,
        Metric::NearestMeanBound,
        Metric::NearestMeanGcBound,
        Metric::SphericalBound,
        Metric::SphericalGcBound,
        Metric::MeanVariance,
        Metric::MeanInverseSquaredDistance,
        Metric::VarianceOverGc,
        Metric::GcOverVariance,
        Metric::GcOverTotalVariance,
        Metric::TestGc,
        Metric::TargetGc,
        Metric::NcUnbiased,
        Metric::TargetNcUnbiased,
        Metric::GeometricCollapseUnbiased,
        Metric::CantelliBound,
        Metric::DirectionalBound,
        Metric::TargetNearestMeanError,
        Metric::TargetCantelliBound,
        Metric::TargetDirectionalBound,
    ];
    results.metrics().into_iter().filter(|metric| !auxiliary.contains(metric)).collect()
}

/// A table for each column of the figure: the swept values, the metrics at the end of training, the rank correlations.
pub(crate) fn sweeps(results: &Results, findings: &[Finding]) -> Vec<Table> {
    results.experiment.plan.report.columns.iter().map(|name| sweep(results, findings, name)).collect()
}

fn sweep(results: &Results, findings: &[Finding], name: &str) -> Table {
    let plan = &results.experiment.plan;
    let sweep = &plan.sweeps[name];
    let metrics = shown(results);
    let mut header = vec![sweep.label.clone(), "runs".to_owned(), "loss".to_owned()];
    header.extend(metrics.iter().map(|metric| metric.short().to_owned()));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (index, value) in sweep.numbers().iter().enumerate() {
        let runs: Vec<&Run> = results.runs.iter().filter(|run| run.planned.value_in(name) == Some(index)).collect();
        let losses: Vec<f64> = runs.iter().filter_map(|run| run.final_loss).collect();
        let mut row = vec![super::chart::plain(*value), counts(&runs), spread(&losses, Scale::Linear)];
        row.extend(metrics.iter().map(|metric| {
            let values: Vec<f64> = runs.iter().filter_map(|run| run.last()?.value(*metric)).collect();
            spread(&values, metric.scale())
        }));
        rows.push(row);
    }
    let mut correlations = vec!["ρ".to_owned(), String::new(), String::new()];
    correlations.extend(metrics.iter().map(|metric| {
        let trend = findings.iter().find(|finding| {
            finding.kind == ClaimKind::Trend
                && finding.sweep.as_deref() == Some(name)
                && finding.metrics == [*metric]
                && finding.comparison == Some(ComparisonPoint::EqualEpochs)
        });
        trend.map_or_else(String::new, statistic)
    }));
    rows.push(correlations);
    let caption = format!("Sweep of the {}, after {} epochs", sweep.label, super::chart::plain(plan.train.epochs));
    Table { caption, header, rows, summed: true }
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
            let mut cells = vec![super::chart::plain(share * plan.train.epochs)];
            cells.extend(group.metrics.iter().map(|metric| spread(&at(*share, *metric), metric.scale())));
            cells
        };
        let mut header = vec!["epochs".to_owned()];
        header.extend(group.metrics.iter().map(|metric| metric.label(plan.task).to_owned()));
        let rows = plan.measure.schedule.iter().map(row).collect();
        Table { caption: format!("{} ({} runs)", group.label, runs.len()), header, rows, summed: false }
    };
    plan.report.overlays.iter().map(course).collect()
}

/// The number of runs, and the numbers of those that do not count.
fn counts(runs: &[&Run]) -> String {
    let mut words = vec![runs.len().to_string()];
    for word in ["under-trained", "diverged", "failed", "unfinished"] {
        let count = runs.iter().filter(|run| run.status.word() == word).count();
        if count > 0 {
            words.push(format!("({count} {word})"));
        }
    }
    words.join(" ")
}

/// The claims as grids: a row per statement, a column per sweep.
pub(crate) fn grids(results: &Results, findings: &[Finding]) -> Vec<Grid> {
    let plan = &results.experiment.plan;
    let scope = |finding: &Finding| match &finding.sweep {
        Some(name) => plan.sweeps.get(name).map_or_else(|| name.clone(), |sweep| sweep.label.clone()),
        None => "all runs".to_owned(),
    };
    let mut grids: Vec<Grid> = Vec::new();
    for finding in findings {
        let names: Vec<&str> = finding.metrics.iter().map(|metric| metric.label(plan.task)).collect();
        let (caption, row) = match finding.kind {
            ClaimKind::Trend => (format!("With the swept value, at {}", compared(finding)), names.concat()),
            ClaimKind::Association => (format!("With each other, at {}", compared(finding)), names.join(" ↔ ")),
            ClaimKind::Inequality => ("At every measured point".to_owned(), names.join(" ≤ ")),
            ClaimKind::Course => ("In the course of training".to_owned(), names.join(" ↔ ")),
            ClaimKind::Coverage => {
                ("Share of stated intervals that contain the exact value".to_owned(), finding.claim.clone())
            }
        };
        let grid = match grids.iter_mut().position(|grid| grid.caption == caption) {
            Some(index) => &mut grids[index],
            None => {
                grids.push(Grid { caption, columns: Vec::new(), rows: Vec::new() });
                let last = grids.len() - 1;
                &mut grids[last]
            }
        };
        grid.enter(row, scope(finding), finding);
    }
    grids.iter_mut().for_each(|grid| grid.order(&plan.report.columns, plan));
    grids
}

fn compared(finding: &Finding) -> &'static str {
    match finding.comparison {
        Some(ComparisonPoint::EqualLoss) => "equal training loss",
        Some(ComparisonPoint::EqualSteps) => "equal steps",
        _ => "equal epochs",
    }
}

/// Findings by row and column.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    /// Its title.
    pub(crate) caption: String,
    /// The sweeps, or all runs.
    pub(crate) columns: Vec<String>,
    /// The statements, with a finding for each column that has one.
    pub(crate) rows: Vec<(String, Vec<Option<Finding>>)>,
}

impl Grid {
    fn enter(&mut self, row: String, column: String, finding: &Finding) {
        let at = self.columns.iter().position(|known| *known == column).unwrap_or_else(|| {
            self.columns.push(column);
            self.rows.iter_mut().for_each(|(_, cells)| cells.push(None));
            self.columns.len() - 1
        });
        let width = self.columns.len();
        let line = match self.rows.iter().position(|(known, _)| *known == row) {
            Some(line) => line,
            None => {
                self.rows.push((row, vec![None; width]));
                self.rows.len() - 1
            }
        };
        self.rows[line].1[at] = Some(finding.clone());
    }

    /// Sorts the columns in the order of the figure; other columns stay in front.
    fn order(&mut self, columns: &[String], plan: &Plan) {
        let rank = |label: &String| {
            columns
                .iter()
                .position(|name| plan.sweeps.get(name).is_some_and(|sweep| sweep.label == *label))
                .map_or(0, |at| at + 1)
        };
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|index| rank(&self.columns[*index]));
        self.columns = order.iter().map(|index| self.columns[*index].clone()).collect();
        for (_, cells) in &mut self.rows {
            *cells = order.iter().map(|index| cells[*index].clone()).collect();
        }
    }

    /// The grid as a table.
    pub(crate) fn table(&self) -> Table {
        let cell = |finding: &Option<Finding>| {
            finding
                .as_ref()
                .map_or_else(String::new, |finding| format!("{} {}", statistic(finding), finding.verdict.word()))
        };
        let header = std::iter::once(String::new()).chain(self.columns.iter().cloned());
        let rows =
            self.rows.iter().map(|(name, cells)| std::iter::once(name.clone()).chain(cells.iter().map(cell)).collect());
        Table { caption: self.caption.clone(), header: header.collect(), rows: rows.collect(), summed: false }
    }
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
        ClaimKind::Trend | ClaimKind::Association | ClaimKind::Course => signed(value),
    }
}

/// A number with sign and two decimals, with a minus sign instead of a hyphen.
pub(crate) fn signed(value: f64) -> String {
    format!("{value:+.2}").replace('-', "−")
}

/// The mean over seeds, ± half their range.
fn spread(values: &[f64], scale: Scale) -> String {
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
    /// The table as lines for a terminal: the first column is left-aligned, the others are right-aligned.
    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let line = |cells: &[String]| {
            let cell = |(column, cell): (usize, &String)| {
                let gap = " ".repeat(widths[column] - cell.chars().count());
                if column == 0 { format!("{cell}{gap}") } else { format!("{gap}{cell}") }
            };
            cells.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
        let rows: Vec<String> = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n{rule}\n{}\n{rule}\n{}\n", self.caption, line(&self.header), rows.join("\n"))
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

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cells = |row: [&str; 2]| row.map(str::to_owned).to_vec();
        let table = Table {
            caption: "C".to_owned(),
            header: cells(["a", "long"]),
            rows: vec![cells(["wide é", "1"])],
            summed: false,
        };
        assert_eq!(table.text(), "C\n────────────\na       long\n────────────\nwide é     1\n");
    }
}
