//! A plot of each score against the accuracy, a mark for each network, as one drawing.

use anyhow::{Result, bail};
use maud::{PreEscaped, html};

use super::standing::{Score, Standings};
use crate::report::chart::{Axis, Group, Mark, STYLE, ScatterPanel};
use crate::reproduce::metric::Scale;

/// Size of one plot and the space around it, in the units of the view box.
const PLOT: (f64, f64) = (520.0, 330.0);
const GAP: f64 = 16.0;
const TOP: f64 = 56.0;

/// The drawing.
///
/// # Errors
/// No accuracy to draw against.
pub(super) fn svg(standings: &Standings) -> Result<String> {
    let Some(accuracy) = &standings.accuracy else {
        bail!("--chart: {} has no labels, so there is no accuracy to draw the scores against", standings.on);
    };
    let panels: Vec<ScatterPanel> = standings.scores.iter().map(|score| panel(standings, score, accuracy)).collect();
    let columns = panels.len().clamp(1, 2);
    let width = columns as f64 * (PLOT.0 + GAP) + GAP;
    let height = TOP + panels.len().div_ceil(columns) as f64 * (PLOT.1 + GAP);
    let title = format!("Scores of {} networks on {}", standings.names.len(), standings.on);
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

fn panel(standings: &Standings, score: &Score, accuracy: &Score) -> ScatterPanel {
    let positive = score.values.iter().all(|value| *value > 0.0);
    let scale = if positive { Scale::Logarithmic } else { Scale::Linear };
    let marks = standings.names.iter().zip(score.values.iter().zip(&accuracy.values)).map(|(name, (x, y))| Mark {
        group: 0,
        at: (*x, *y),
        excluded: false,
        label: name.clone(),
    });
    ScatterPanel {
        id: format!("rank-{}", score.name),
        title: format!("{} against {}", accuracy.name, score.name),
        description: format!("{} networks; the rank correlation is in the table.", standings.names.len()),
        names: (score.name.clone(), accuracy.name.clone()),
        x: Axis::over(score.values.iter().copied(), scale),
        y: Axis::over(accuracy.values.iter().copied(), Scale::Percent),
        groups: vec![Group { label: "network".to_owned(), class: "cat-0".to_owned(), shape: 0 }],
        marks: marks.collect(),
    }
}
