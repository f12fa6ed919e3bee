//! The panels of the decomposition log NC = log GC + log mean(1/d²) + log(Var/GC): the terms of each run against its NC, and
//! the terms along training.

use super::figure::{described, epochs, shared_axis};
use super::lines::{LinePanel, Point, SeedLine, Series};
use super::scale::Axis;
use super::scatter::{Group, Line, LineKind, Mark, ScatterPanel};
use super::scatter_plots::shape;
use crate::report::decomposition::{ALL_RUNS, ALONG_TRAINING, DecomposedPoint, Decomposition, Shares};
use crate::report::results::{Results, Run};
use crate::report::table::signed;
use crate::study::metric::Scale;

/// The curves and groups, in the order of the key: the terms, then the variance, which is the product of two of them.
const NAMES: [&str; 4] = ["GC", "mean 1/d²", "Var/GC", "Var = GC × Var/GC"];
const CLASSES: [&str; 4] = ["cat-0", "cat-1", "cat-2", "cat-base"];

/// The two panels; each only if it has something to show.
pub(crate) struct DecompositionPanels {
    /// The terms of each run at the end of training against its NC, and their shares in words.
    pub(crate) runs: Option<(ScatterPanel, String)>,
    /// The terms along training, and their shares in words.
    pub(crate) training: Option<(LinePanel, String)>,
}

/// The panels.
pub(crate) fn decomposition(results: &Results, found: &Decomposition) -> DecompositionPanels {
    let over = |scope: &str| found.shares.iter().find(|shares| shares.scope == scope);
    DecompositionPanels {
        runs: over(ALL_RUNS).map(|shares| (against_nc(results, found, shares), in_words(shares))),
        training: over(ALONG_TRAINING).and_then(|shares| Some((along_training(results, found)?, in_words(shares)))),
    }
}

/// The terms of a point, and the variance.
fn terms(point: &DecomposedPoint) -> [f64; 4] {
    let [gc, inverse, ratio] = point.terms;
    [gc, inverse, ratio, gc * ratio]
}

/// The shares of the terms, and of the variance, whose logarithm is the sum of two terms.
fn shares_of(shares: &Shares) -> [f64; 4] {
    let [gc, inverse, ratio] = shares.terms.map(|term| term.share);
    [gc, inverse, ratio, gc + ratio]
}

/// The shares in words.
fn in_words(shares: &Shares) -> String {
    let words = NAMES.iter().zip(shares_of(shares)).map(|(name, share)| format!("{name} {}", signed(share)));
    words.collect::<Vec<_>>().join(", ")
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = values.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// Every run at the end of training: each term, divided by its geometric mean over the runs that count, against NC. On these
/// axes the slope of a term is its share.
fn against_nc(results: &Results, found: &Decomposition, shares: &Shares) -> ScatterPanel {
    let ends: Vec<&DecomposedPoint> = found.points.iter().filter(|point| point.at == 1.0).collect();
    let counted = || ends.iter().filter(|point| point.counts);
    let means = [0, 1, 2, 3].map(|term| geometric_mean(counted().map(|point| terms(point)[term])).unwrap_or(1.0));
    let mark = |(term, point): (usize, &DecomposedPoint)| -> Option<Mark> {
        let run = results.runs.iter().find(|run| run.planned.key == point.run)?;
        Some(Mark {
            group: term,
            shape: shape(results, run),
            at: (point.nc, terms(point)[term] / means[term]),
            errors: (None, None),
            excluded: !point.counts,
            small: false,
            label: format!("{}: {} ({})", NAMES[term], run.planned.description(), run.status.word()),
        })
    };
    let marks: Vec<Mark> = (0..4).flat_map(|term| ends.iter().filter_map(move |point| mark((term, point)))).collect();
    let centre = geometric_mean(counted().map(|point| point.nc)).unwrap_or(1.0);
    let range = counted().map(|point| point.nc).fold((centre, centre), |(low, high), nc| (low.min(nc), high.max(nc)));
    let fit = |(group, share): (usize, &f64)| Line {
        group,
        shape: None,
        kind: LineKind::Fit,
        points: [range.0, range.1].map(|nc| (nc, (nc / centre).powf(*share))).to_vec(),
    };
    let lines: Vec<Line> = shares_of(shares).iter().enumerate().map(fit).collect();
    let ends = lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let y: Vec<f64> = marks.iter().map(|mark| mark.at.1).chain(ends).collect();
    ScatterPanel {
        id: "decomposition-runs".to_owned(),
        title: "Terms of log NC against NC at the end of training".to_owned(),
        description: format!(
            "Each term of each run, divided by its mean over runs. The share of a term in the variance of log NC is the slope of \
             its line: {}.",
            in_words(shares)
        ),
        names: ("NC of training images".to_owned(), "term over its mean".to_owned()),
        better: None,
        x: Axis::over(marks.iter().map(|mark| mark.at.0), Scale::Logarithmic),
        y: Axis::over(y, Scale::Logarithmic),
        groups: NAMES
            .iter()
            .zip(CLASSES)
            .map(|(name, class)| Group { label: (*name).to_owned(), class: class.to_owned() })
            .collect(),
        marks,
        lines,
    }
}

/// The terms along training, relative to the first measuring point after the initial network: geometric means over the runs
/// that count, with the range over seeds.
fn along_training(results: &Results, found: &Decomposition) -> Option<LinePanel> {
    let counted: Vec<&Run> = results.runs.iter().filter(|run| run.counts()).collect();
    let first = found.points.iter().filter(|point| point.step > 0).map(|point| point.at).min_by(f64::total_cmp)?;
    let relative = |run: &Run, at: f64, term: usize| -> Option<(f64, f64)> {
        let own = |at: f64| found.points.iter().find(|point| point.run == run.planned.key && point.at == at);
        let (start, now) = (own(first)?, own(at)?);
        Some((now.epoch, terms(now)[term] / terms(start)[term]))
    };
    let of_seed = |seed: u64, at: f64, term: usize| -> Option<(f64, f64)> {
        let own = counted.iter().filter(|run| run.planned.configuration.seed == seed);
        let values: Vec<(f64, f64)> = own.filter_map(|run| relative(run, at, term)).collect();
        Some((values.first()?.0, geometric_mean(values.iter().map(|value| value.1))?))
    };
    let schedule: Vec<f64> =
        results.experiment.plan.measure.schedule.iter().copied().filter(|at| *at >= first).collect();
    let seeds = &results.experiment.plan.seeds;
    let series = |term: usize| {
        let lines = seeds.iter().map(|seed| SeedLine {
            seed: *seed,
            points: schedule.iter().filter_map(|at| of_seed(*seed, *at, term)).collect(),
        });
        let point = |at: &f64| -> Option<Point> {
            let found: Vec<(f64, f64)> = seeds.iter().filter_map(|seed| of_seed(*seed, *at, term)).collect();
            super::figure::point(
                found.first()?.0,
                &found.iter().map(|value| value.1).collect::<Vec<_>>(),
                Scale::Logarithmic,
            )
        };
        Series {
            label: NAMES[term].to_owned(),
            class: CLASSES[term].to_owned(),
            // Shapes are seeds in the key.
            shape: 0,
            excluded: false,
            diverged: false,
            points: schedule.iter().filter_map(point).collect(),
            seeds: if seeds.len() > 1 { lines.collect() } else { Vec::new() },
        }
    };
    let series: Vec<Series> = (0..4).map(series).collect();
    Some(LinePanel {
        id: "decomposition-training".to_owned(),
        title: "Terms of log NC along training".to_owned(),
        description: described("term over its first value", "of", &series),
        names: ("epochs".to_owned(), "term over its first value".to_owned()),
        better: None,
        x: epochs(results.experiment.plan.train.epochs, &series),
        y: shared_axis(Scale::Logarithmic, std::slice::from_ref(&series)),
        series,
        in_figure: false,
        named: false,
    })
}
