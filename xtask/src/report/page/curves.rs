//! The section of curves along training, each panel with a table of its numbers.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::report::chart::{self, LinePanel, Series};
use crate::report::table;

/// The grid of panels.
pub(super) fn grid(page: &Page) -> Markup {
    let rows = page.columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let style = format!("--columns:{};--rows:{}", page.columns.len().max(1), rows + 1);
    html! {
        section aria-labelledby="curves" {
            h2 #curves { "Along training" }
            p.quiet.small {
                (described(page)) " A dashed curve with hollow marks contains runs that a rule excludes. A cross marks divergence."
            }
            div.grid.lone[page.columns.len() == 1] style=(style) {
                @for column in page.columns {
                    div.column {
                        div.head { h3 { (column.label) } (key(column.key())) }
                        @for panel in &column.panels { (figure(panel)) }
                    }
                }
            }
        }
    }
}

fn key(series: &[Series]) -> Markup {
    html! {
        ul.key {
            @for series in series {
                li {
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

fn figure(panel: &LinePanel) -> Markup {
    html! {
        figure {
            (panel.svg())
            details {
                summary { "Numbers" }
                (scrolling(&panel.title, html! {
                    table {
                        caption { (panel.title) }
                        thead { tr { th scope="col" { "curve" } th scope="col" { "epochs" } th scope="col" { "mean" } th scope="col" { "range" } } }
                        tbody {
                            @for series in &panel.series {
                                @for point in &series.points {
                                    tr {
                                        th scope="row" { (series.label) }
                                        td { (format!("{:.2}", point.x)) }
                                        td { (table::three_digits(point.middle)) }
                                        td { (table::three_digits(point.low)) " – " (table::three_digits(point.high)) }
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
    if estimators(page) {
        "The exact geometric complexity of some training images, and estimates of it from samples of the images, of the entries \
         of the Jacobian, or of the outputs. The band is the range of the repeats; in the lower row, of repeats and seeds. \
         Panels of a row have the same vertical axis."
    } else if page.results.experiment.plan.report.columns.is_empty() {
        "A curve for each metric; the band is the range over the seeds. A bound above 1 holds for every error and is vacuous."
    } else {
        "A curve for each swept value; all runs of a panel see the same number of images. The band is the range over the seeds. \
         Panels of a row have the same vertical axis."
    }
}

fn estimators(page: &Page) -> bool {
    page.results.experiment.plan.measure.estimators.is_some()
}
