//! The curves along training, each panel with its numbers.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::report::chart::{self, LinePanel, Series};
use crate::report::table;

/// The grid of the figure.
pub(super) fn grid(page: &Page) -> Markup {
    let rows = page.columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let style = format!("--columns:{};--rows:{}", page.columns.len().max(1), rows + 1);
    html! {
        section aria-labelledby="along" {
            h2 #along { "Along training" }
            p.quiet.small {
                (described(page)) " Dashed curves with hollow marks have runs that a rule excludes; a cross is where training diverged."
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

/// What the curves are, in a sentence.
fn described(page: &Page) -> &'static str {
    if estimators(page) {
        "The exact geometric complexity of some training images, and estimates of it from part of the images, of the entries of \
         the Jacobian, or of the outputs. The band is the range of the repeats, below also of the seeds. Rows share their \
         vertical axis."
    } else if page.results.experiment.plan.report.columns.is_empty() {
        "A curve for each quantity; the band is the range over the seeds. A bound above 1 says nothing of an error."
    } else {
        "A curve for each swept value; all runs of a panel see the same number of images. The band is the range over the seeds. \
         Rows share their vertical axis."
    }
}

fn estimators(page: &Page) -> bool {
    page.results.experiment.plan.measure.estimators.is_some()
}
