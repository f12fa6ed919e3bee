//! The section of curves along training, each panel with a table of its numbers.

use maud::{Markup, html};

use super::{Page, exact, scrolling, side_by_side};
use crate::report::chart::{self, LinePanel, Series};

/// The grid of panels; empty without panels.
pub(super) fn grid(page: &Page) -> Markup {
    let rows = page.columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let lone = page.columns.len() == 1;
    let many = page.columns.len() > 3;
    let style = format!("--columns:{};--rows:{};{}", page.columns.len().max(1), rows + 1, side_by_side(rows));
    html! {
        @if rows > 0 {
            section aria-labelledby="curves" {
                h2 #curves { "Along training" }
                p.quiet.small {
                    (described(page)) " A dashed curve with hollow marks contains runs that a rule excludes. A cross marks divergence."
                }
                div.grid.lone[lone].many[many] style=(style) {
                    @for column in page.columns {
                        div.column data-scope {
                            div.head { h3 { (column.label) } (key(column.key())) }
                            @for panel in &column.panels { (figure(panel, None)) }
                        }
                    }
                }
            }
        }
    }
}

/// The key of curves. The script makes a button of each entry.
pub(super) fn key(series: &[Series]) -> Markup {
    html! {
        ul.key {
            @for (index, series) in series.iter().enumerate() {
                li data-key=(index) {
                    svg viewBox="0 0 26 14" aria-hidden="true" {
                        g class=(series.class) {
                            path class=(if series.excluded { "curve excluded" } else { "curve" }) d="M1 7L25 7" {}
                            (chart::marker(series.shape, (13.0, 7.0), 3.6, if series.excluded { "mark hollow" } else { "mark" }, None))
                        }
                    }
                    (series.label)
                    @if series.diverged { " (diverged)" }
                    @else if series.excluded { " (under-trained)" }
                }
            }
        }
    }
}

/// A panel with its table, and a caption if there is one.
pub(super) fn figure(panel: &LinePanel, caption: Option<&str>) -> Markup {
    html! {
        figure id=(panel.id) {
            @if let Some(caption) = caption { figcaption.small { (caption) } }
            (panel.svg())
            details {
                summary { "Numbers" }
                (scrolling(&panel.title, html! {
                    table {
                        caption { (panel.title) }
                        thead { tr {
                            th scope="col" { "curve" } th scope="col" { (panel.names.0) } th scope="col" { "mean" }
                            th scope="col" { "lowest" } th scope="col" { "highest" }
                        } }
                        tbody {
                            @for series in &panel.series {
                                @for point in &series.points {
                                    tr {
                                        th scope="row" { (series.label) }
                                        td { @if let Some(name) = panel.x_name(point.x) { (name) } @else { (exact(point.x)) } }
                                        td { (exact(point.middle)) } td { (exact(point.low)) } td { (exact(point.high)) }
                                    }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

/// A description of the curves.
fn described(page: &Page) -> &'static str {
    let plan = &page.results.experiment.plan;
    if plan.measure.estimators.is_some() {
        "The exact geometric complexity of some training images, and estimates of it from samples of the images, of the entries \
         of the Jacobian, or of the outputs. The band is the range of the repeats; in the lower row, of repeats and seeds. \
         Panels of a row have the same vertical axis."
    } else if plan.report.columns.is_empty() {
        "A curve for each metric; the band is the range over the seeds. A bound above 1 holds for every error and is vacuous."
    } else {
        "A curve for each swept value; all runs of a panel see the same number of images. The band is the range over the seeds. \
         Panels of a row have the same vertical axis."
    }
}
