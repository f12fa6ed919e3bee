//! The sections of plots with a mark or a line for each run: scatter plots and courses along training.

use maud::{Markup, html};

use super::{Page, exact, scrolling, side_by_side};
use crate::report::chart::{self, ScatterPanel};

/// The scatter plots at the end of training; empty without them.
pub(super) fn scatter(page: &Page) -> Markup {
    let note = "A mark for each run at the end of training: its colour is the sweep, its shape the seed. Hollow marks are excluded by \
                a rule. Error bars are one standard error of the measurement to both sides.";
    plots(page, "scatter", "Scatter plots", note, page.scatters)
}

/// The courses along training; empty without claims about them.
pub(super) fn courses(page: &Page) -> Markup {
    let note = "A line for each run, from the first measuring point after the initial network to the end of training, which is the \
                large mark, hollow if a rule excludes the run. Colour is the sweep, shape the seed.";
    plots(page, "courses", "Two quantities along training", note, page.courses)
}

fn plots(page: &Page, id: &str, title: &str, note: &str, panels: &[ScatterPanel]) -> Markup {
    html! {
        @if !panels.is_empty() {
            section aria-labelledby=(id) data-scope {
                h2 id=(id) { (title) }
                p.quiet.small { (note) }
                (key(page, panels))
                div.plots style=(side_by_side(panels.len())) { @for panel in panels { (figure(panel, None)) } }
            }
        }
    }
}

/// One key for all plots of a section: the groups that occur, then the seeds.
pub(super) fn key(page: &Page, plots: &[ScatterPanel]) -> Markup {
    let groups = plots.first().map_or(&[][..], |plot| &plot.groups);
    let occurs = |group: usize| plots.iter().any(|plot| plot.marks.iter().any(|mark| mark.group == group));
    let seeds = &page.results.experiment.plan.seeds;
    html! {
        ul.key {
            @for (index, group) in groups.iter().enumerate() {
                @if occurs(index) {
                    li data-key=(index) {
                        (swatch(html! { g class=(group.class) { path.swatch d="M4 3H22V11H4z" {} } }))
                        (group.label)
                    }
                }
            }
            @if seeds.len() > 1 {
                @for (shape, seed) in seeds.iter().enumerate() {
                    li data-key=(format!("s{shape}")) {
                        (swatch(html! { g.cat-base { (chart::marker(shape, (13.0, 7.0), 4.2, "mark", None)) } }))
                        "seed " (seed)
                    }
                }
            }
        }
    }
}

fn swatch(content: Markup) -> Markup {
    html! { svg viewBox="0 0 26 14" aria-hidden="true" { (content) } }
}

/// A plot with its table, and a caption if there is one.
pub(super) fn figure(plot: &ScatterPanel, caption: Option<&str>) -> Markup {
    html! {
        figure id=(plot.id) {
            @if let Some(caption) = caption { figcaption.small { (caption) } }
            (plot.svg())
            details {
                summary { "Numbers" }
                (scrolling(&plot.title, html! {
                    table {
                        caption { (plot.title) }
                        thead { tr {
                            th.words scope="col" { "run" } th scope="col" { (plot.names.0) } th scope="col" { "standard error" }
                            th scope="col" { (plot.names.1) } th scope="col" { "standard error" }
                        } }
                        tbody {
                            @for mark in &plot.marks {
                                tr {
                                    th.words scope="row" { (mark.label) }
                                    td { (exact(mark.at.0)) } td { (error(mark.errors.0)) }
                                    td { (exact(mark.at.1)) } td { (error(mark.errors.1)) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

fn error(error: Option<f64>) -> Markup {
    html! { @match error { Some(error) => (exact(error)), None => "–" } }
}
