//! Columns of curves by estimator of GC, as in the paper's Fig. 2: estimates and the exact value along training, and the
//! errors of the estimates. The values are those of one seed, because the range over seeds is larger than the errors.

use super::better::Better;
use super::figure::{Column, described, epochs, point, shared_axis};
use super::lines::{LinePanel, Point, Series};
use super::scale::{Axis, plain};
use super::step;
use crate::report::estimates::{self, RepeatedEstimates};
use crate::report::results::Results;
use crate::study::estimator::GcEstimator;
use crate::study::metric::Scale;

/// Names of the rows.
const ROWS: [&str; 2] = ["GC, first seed", "relative error, all seeds"];

/// A column for each kind of estimator.
pub(super) fn columns(results: &Results) -> Vec<Column> {
    let kinds = estimates::kinds(results);
    let rows: [Vec<Vec<Series>>; 2] = [
        kinds.iter().map(|settings| values(results, settings)).collect(),
        kinds.iter().map(|settings| errors(results, settings)).collect(),
    ];
    let axes: Vec<Axis> = rows.iter().map(|row| shared_axis(Scale::Logarithmic, row)).collect();
    let column = |(index, settings): (usize, &Vec<GcEstimator>)| {
        let kind = settings.first().map_or("", |how| how.kind());
        let panels = ROWS.iter().zip(&rows).zip(&axes).map(|((name, row), y)| LinePanel {
            id: format!("estimator-{index}-{}", name.replace([' ', ','], "-")),
            title: format!("{name} along training, by {kind}"),
            description: described(name, kind, &row[index]),
            names: ("epochs".to_owned(), (*name).to_owned()),
            better: (*name == ROWS[1]).then_some(Better::Lower),
            x: epochs(results.experiment.plan.train.epochs, &row[index]),
            y: y.clone(),
            series: row[index].clone(),
            in_figure: true,
            named: false,
        });
        Column { label: estimates::unit(kind).to_owned(), panels: panels.collect() }
    };
    kinds.iter().enumerate().map(column).collect()
}

/// The exact value of the first run, then a curve for each setting with the range of its repeats.
fn values(results: &Results, settings: &[GcEstimator]) -> Vec<Series> {
    let exact = |found: &RepeatedEstimates| vec![found.exact];
    let mut series: Vec<Series> = settings
        .iter()
        .enumerate()
        .map(|(index, how)| curve(results, *how, Style::of(index, settings.len()), &|found| found.values.clone(), true))
        .collect();
    if let Some(how) = settings.first() {
        let style = Style { label: Some("exact".to_owned()), class: "cat-base".to_owned(), shape: settings.len() };
        series.push(curve(results, *how, style, &exact, true));
    }
    series
}

/// The root mean square of (estimate − exact)/exact for each setting.
fn errors(results: &Results, settings: &[GcEstimator]) -> Vec<Series> {
    let off = |found: &RepeatedEstimates| found.relative_error().into_iter().collect();
    settings
        .iter()
        .enumerate()
        .map(|(index, how)| curve(results, *how, Style::of(index, settings.len()), &off, false))
        .collect()
}

/// Name, colour and marks of a curve.
struct Style {
    /// The name in the key; none for the setting of the estimator.
    label: Option<String>,
    class: String,
    shape: usize,
}

impl Style {
    /// The style of the `index`-th of `count` settings.
    fn of(index: usize, count: usize) -> Self {
        Self { label: None, class: format!("seq-{}", step(index, count)), shape: index }
    }
}

fn curve(
    results: &Results,
    how: GcEstimator,
    style: Style,
    shown: &dyn Fn(&RepeatedEstimates) -> Vec<f64>,
    first_alone: bool,
) -> Series {
    let at = |share: &f64| -> Option<Point> {
        let mut found = estimates::at(results, how, *share);
        if first_alone {
            found.truncate(1);
        }
        let values: Vec<f64> = found.iter().flat_map(shown).filter(|value| *value > 0.0).collect();
        point(found.first()?.epoch, &values, Scale::Logarithmic)
    };
    Series {
        label: style.label.unwrap_or_else(|| plain(how.amount())),
        class: style.class,
        shape: style.shape,
        excluded: false,
        diverged: false,
        points: results.experiment.plan.measure.schedule.iter().filter_map(at).collect(),
        seeds: Vec::new(),
    }
}
