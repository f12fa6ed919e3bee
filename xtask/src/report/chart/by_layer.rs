//! Panels by layer: GC, NC and probe accuracy at the end of training, for each value of the first sweep.

use super::better::Better;
use super::figure::{point, shared_axis};
use super::lines::{LinePanel, Point, SeedLine, Series};
use super::scale::Axis;
use super::{Column, level_class, level_names, step};
use crate::report::results::{Results, Run};
use crate::study::measurement::LayerMeasures;
use crate::study::metric::Scale;

/// A measure of a layer.
struct Measure {
    name: &'static str,
    better: Better,
    scale: Scale,
    value: fn(&LayerMeasures) -> Option<f64>,
}

/// The measures, from left to right.
const MEASURES: [Measure; 4] = [
    Measure { name: "GC", better: Better::LowerByThePaper, scale: Scale::Logarithmic, value: |layer| layer.gc.value },
    Measure {
        name: "train NC, unbiased",
        better: Better::Lower,
        scale: Scale::Logarithmic,
        value: |layer| layer.nc_unbiased.value,
    },
    Measure {
        name: "target NC, unbiased",
        better: Better::Lower,
        scale: Scale::Logarithmic,
        value: |layer| layer.target_nc_unbiased?.value,
    },
    Measure {
        name: "probe accuracy",
        better: Better::Higher,
        scale: Scale::Percent,
        value: |layer| layer.probe_accuracy.value,
    },
];

/// One column of panels, a panel for each measure; none if no layers were measured.
pub(crate) fn by_layer(results: &Results) -> Option<Column> {
    let plan = &results.experiment.plan;
    let (label, curves) = curves(results);
    let layers = &plan.measure.layers;
    let sweep = plan.report.columns.first().and_then(|name| plan.sweeps.get(name));
    let colour = |at: usize| sweep.map_or_else(|| format!("seq-{}", step(at, 1)), |sweep| level_class(sweep, at));
    let panel = |(index, measure): (usize, &Measure)| -> Option<LinePanel> {
        let series: Vec<Series> = curves
            .iter()
            .enumerate()
            .map(|(at, (label, runs))| series(layers, measure, label, colour(at), at, runs))
            .collect();
        series.iter().any(|series| !series.points.is_empty()).then(|| LinePanel {
            id: format!("layers-{index}"),
            title: format!("{} by layer at the end of training", measure.name),
            description: format!("A curve for each value of the {label}; layers from the input to the features."),
            names: ("layer".to_owned(), measure.name.to_owned()),
            better: Some(measure.better),
            x: Axis::named(layers),
            y: shared_axis(measure.scale, std::slice::from_ref(&series)),
            series,
            in_figure: false,
            named: true,
        })
    };
    let panels: Vec<LinePanel> = MEASURES.iter().enumerate().filter_map(panel).collect();
    (!panels.is_empty()).then_some(Column { label, panels })
}

/// The curves with their runs that count: those of the first sweep, or one for all runs.
fn curves(results: &Results) -> (String, Vec<(String, Vec<&Run>)>) {
    let plan = &results.experiment.plan;
    let counted = || results.runs.iter().filter(|run| run.counts());
    let Some((name, sweep)) = plan.report.columns.first().and_then(|name| Some((name, plan.sweeps.get(name)?))) else {
        return ("runs".to_owned(), vec![("all runs".to_owned(), counted().collect())]);
    };
    let of = |(index, level): (usize, String)| {
        (level, counted().filter(|run| run.planned.value_in(name) == Some(index)).collect())
    };
    (sweep.label.clone(), level_names(sweep).into_iter().enumerate().map(of).collect())
}

fn series(layers: &[String], measure: &Measure, label: &str, class: String, shape: usize, runs: &[&Run]) -> Series {
    let value = |run: &Run, layer: &String| run.layers().iter().find(|own| own.layer == *layer).and_then(measure.value);
    let at = |(index, layer): (usize, &String)| -> Option<Point> {
        let values: Vec<f64> = runs.iter().filter_map(|run| value(run, layer)).collect();
        point(index as f64, &values, measure.scale)
    };
    let line = |run: &&Run| SeedLine {
        seed: run.planned.configuration.seed,
        points: layers
            .iter()
            .enumerate()
            .filter_map(|(index, layer)| Some((index as f64, value(run, layer)?)))
            .collect(),
    };
    Series {
        label: label.to_owned(),
        class,
        shape,
        excluded: false,
        diverged: false,
        points: layers.iter().enumerate().filter_map(at).collect(),
        seeds: if runs.len() > 1 { runs.iter().map(line).collect() } else { Vec::new() },
    }
}
