//! The section of scatter plots, each with a table of its numbers.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::report::chart::{self, ScatterPanel};
use crate::report::table;

/// The section; empty without scatter plots.
pub(super) fn scatter(page: &Page) -> Markup {
    let plots = chart::scatters(page.results);
    html! {
        @if !plots.is_empty() {
            section aria-labelledby="scatter" {
                h2 #scatter { "Scatter plots" }
                p.quiet.small { "A mark for each run at the end of training. Hollow marks are excluded by a rule." }
                div.plots { @for plot in &plots { (scatter_figure(plot)) } }
            }
        }
    }
}

fn scatter_figure(plot: &ScatterPanel) -> Markup {
    html! {
        figure {
            ul.key {
                @for group in &plot.groups {
                    li {
                        svg viewBox="0 0 26 14" aria-hidden="true" {
                            g class=(group.class) { (chart::marker(group.shape, (13.0, 7.0), 4.2, "mark", None)) }
                        }
                        (group.label)
                    }
                }
            }
            (plot.svg())
            details {
                summary { "Numbers" }
                (scrolling(&plot.title, html! {
                    table {
                        caption { (plot.title) }
                        thead { tr { th scope="col" { "run" } th scope="col" { (plot.names.0) } th scope="col" { (plot.names.1) } } }
                        tbody {
                            @for mark in &plot.marks {
                                tr {
                                    th scope="row" { (mark.label) }
                                    td { (table::three_digits(mark.at.0)) }
                                    td { (table::three_digits(mark.at.1)) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}
