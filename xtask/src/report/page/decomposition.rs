//! The sections that explain: the decomposition of NC, the mediation of the GC penalty, the layers.

use maud::{Markup, html};

use super::tables::plain_table;
use super::{Page, curves, scatter, scrolling, side_by_side};
use crate::report::mediation::METHOD;

/// The terms of log NC over runs and along training, with their shares; empty if they are not measured.
pub(super) fn decomposition(page: &Page) -> Markup {
    let Some((found, panels)) = page.decomposition else { return Markup::default() };
    let runs = panels.runs.as_ref();
    let drawn = usize::from(runs.is_some()) + usize::from(panels.training.is_some());
    html! {
        section aria-labelledby="decomposition" data-scope[drawn > 0] {
            h2 #decomposition { "What moves NC" }
            p.quiet.small {
                "log NC = log GC + log mean(1/d²) + log(Var/GC), with d the distance of two class means and Var the variance within \
                 classes. The share of a term is its covariance with log NC over the variance of log NC; shares sum to 1, and a negative \
                 one undoes the others. The theory takes Var/GC as a constant."
            }
            @if let Some((panel, _)) = runs { (scatter::key(page, std::slice::from_ref(panel))) }
            @else if let Some((panel, _)) = &panels.training { (curves::key(&panel.series)) }
            @if drawn > 0 { div.plots style=(side_by_side(drawn)) {
                @if let Some((panel, shares)) = runs { (scatter::figure(panel, Some(&format!("Over runs: {shares}")))) }
                @if let Some((panel, shares)) = &panels.training {
                    (curves::figure(panel, Some(&format!("Along training: {shares}"))))
                }
            } }
            @let table = found.table();
            (scrolling(&table.caption, plain_table(&table)))
        }
    }
}

/// The effects of the GC penalty on outcomes through mediators; empty without a sweep of it.
pub(super) fn mediation(page: &Page) -> Markup {
    let Some(found) = page.mediation else { return Markup::default() };
    let table = found.table(page.results.experiment.plan.task);
    html! {
        section aria-labelledby="mediation" {
            h2 #mediation { "The GC penalty as an intervention" }
            p.quiet.small { (METHOD) }
            (scrolling(&table.caption, plain_table(&table)))
        }
    }
}

/// GC, NC and probe accuracy by layer; empty if no layers were measured.
pub(super) fn layers(page: &Page) -> Markup {
    let Some(column) = page.layers else { return Markup::default() };
    html! {
        section aria-labelledby="layers" data-scope {
            h2 #layers { "By layer" }
            p.quiet.small {
                "At the end of training, from the layer next to the input to the features; a curve for each value of the " (column.label)
                ", over the runs that count. The band is the range over seeds."
            }
            (curves::key(column.key()))
            div.plots style=(side_by_side(column.panels.len())) {
                @for panel in &column.panels { (curves::figure(panel, None)) }
            }
        }
    }
}
