//! The scatter plots, each with its numbers.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::report::chart::{self, ScatterPanel};
use crate::report::table;

/// The scatter plots, if there are any.
pub(super) fn scatter(page: &Page) -> Markup {
    let plots = chart::scatters(page.results);
    html! {
        @if !plots.is_empty() {
            section aria-labelledby="against" {
                h2 #against { "Against each other" }
                p.quiet.small { "Every run at the end of training, a mark each; hollow marks are excluded by a rule." }
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
