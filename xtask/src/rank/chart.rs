//! One SVG with a scatter plot of each score against the accuracy; one mark is one network.

use anyhow::{Result, anyhow};
use maud::{PreEscaped, html};

use super::rank_table::{RankTable, Score};
use crate::report::chart::{Axis, Better, Group, Mark, STYLE, ScatterPanel};
use crate::study::metric::Scale;

/// Size of one plot and the space around it, in the units of the view box.
const PLOT: (f64, f64) = (520.0, 330.0);
const GAP: f64 = 16.0;
const TOP: f64 = 56.0;

/// The SVG.
///
/// # Errors
/// Inputs without labels, which have no accuracy.
pub(super) fn svg(rank_table: &RankTable) -> Result<String> {
    let Some(accuracy) = &rank_table.accuracy else { return Err(without_accuracy(&rank_table.on)) };
    let panels: Vec<ScatterPanel> = rank_table.scores.iter().map(|score| panel(rank_table, score, accuracy)).collect();
    let columns = panels.len().clamp(1, 2);
    let width = columns as f64 * (PLOT.0 + GAP) + GAP;
    let height = TOP + panels.len().div_ceil(columns) as f64 * (PLOT.1 + GAP);
    let title = format!("Scores of {} networks on {}", rank_table.names.len(), rank_table.on);
    let drawing = html! {
        svg.standalone xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
            width=(width) height=(height) role="img" aria-labelledby="rank-t" {
            title id="rank-t" { (title) }
            style { (PreEscaped(STYLE)) }
            rect.ground width=(width) height=(height) {}
            text.title x=(GAP + 6.0) y="32" { (title) }
            @for (index, panel) in panels.iter().enumerate() {
                @let left = GAP + (index % columns) as f64 * (PLOT.0 + GAP);
                @let top = TOP + (index / columns) as f64 * (PLOT.1 + GAP);
                svg x=(left) y=(top) width=(PLOT.0) height=(PLOT.1) { (panel.svg()) }
            }
        }
    };
    Ok(drawing.into_string())
}

/// The error for inputs without labels.
pub(super) fn without_accuracy(inputs: &str) -> anyhow::Error {
    anyhow!(
        "--chart: {inputs} has no labels, so there is no accuracy to plot; use labelled inputs or leave --chart out"
    )
}

fn panel(rank_table: &RankTable, score: &Score, accuracy: &Score) -> ScatterPanel {
    let positive = score.values.iter().all(|value| *value > 0.0);
    let scale = if positive { Scale::Logarithmic } else { Scale::Linear };
    let marks = rank_table.names.iter().zip(score.values.iter().zip(&accuracy.values)).map(|(name, (x, y))| Mark {
        group: 0,
        shape: 0,
        at: (*x, *y),
        errors: (None, None),
        excluded: false,
        small: false,
        label: name.clone(),
    });
    ScatterPanel {
        id: format!("rank-{}", score.name),
        title: format!("{} against {}", accuracy.name, score.name),
        description: format!("{} networks; the rank correlation is in the table.", rank_table.names.len()),
        names: (score.name.clone(), accuracy.name.clone()),
        better: Some(Better::Higher),
        x: Axis::over(score.values.iter().copied(), scale),
        y: Axis::over(accuracy.values.iter().copied(), Scale::Percent),
        groups: vec![Group { label: "network".to_owned(), class: "cat-0".to_owned() }],
        marks: marks.collect(),
        lines: Vec::new(),
    }
}
