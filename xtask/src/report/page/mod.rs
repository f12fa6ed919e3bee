//! The report: one HTML page without other files, for screens of any width, print, dark mode, keyboards and screen readers.

mod claims;
mod curves;
mod decomposition;
mod differences;
mod lead;
mod provenance;
mod rules;
mod scatter;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Column, DecompositionPanels, ScatterPanel};
use super::decomposition::Decomposition;
use super::mediation::Mediation;
use super::results::Results;
use super::table::three_digits;
use super::verdict::Finding;

pub(super) use lead::sentence;

/// The style sheet of pages, without that of charts.
const STYLE: &str = include_str!("page.css");

/// The script of pages, which they do not need to be read.
const SCRIPT: &str = include_str!("page.js");

/// The contents of a page.
pub(crate) struct Page<'a> {
    /// The runs.
    pub(crate) results: &'a Results,
    /// The verdicts on the claims.
    pub(crate) findings: &'a [Finding],
    /// The panels of the figure.
    pub(crate) columns: &'a [Column],
    /// The scatter plots.
    pub(crate) scatters: &'a [ScatterPanel],
    /// The plots of two quantities along training.
    pub(crate) courses: &'a [ScatterPanel],
    /// The decomposition of NC with its panels, if it is measured.
    pub(crate) decomposition: Option<&'a (Decomposition, DecompositionPanels)>,
    /// The effects of the GC penalty through mediators, if it is swept.
    pub(crate) mediation: Option<&'a Mediation>,
    /// The panels by layer, if layers are measured.
    pub(crate) layers: Option<&'a Column>,
    /// Whether an index of all reports is in the parent folder.
    pub(crate) indexed: bool,
    /// The resolved experiment as a TOML file.
    pub(crate) experiment: String,
}

impl Page<'_> {
    /// Whether a panel with this id is on the page.
    fn has_panel(&self, id: &str) -> bool {
        let lines = self.columns.iter().flat_map(|column| &column.panels).map(|panel| &panel.id);
        let plots = self.scatters.iter().chain(self.courses).map(|plot| &plot.id);
        lines.chain(plots).any(|other| other == id)
    }
}

/// The page as HTML.
pub(crate) fn page(page: &Page) -> String {
    let plan = &page.results.experiment.plan;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{} · {}", plan.title, plan.figure)))
            body.many[page.columns.len() > 3] data-name=(name(page.results)) {
                (header(page))
                main {
                    (lead::lead(page))
                    (differences::differences(page.results))
                    (curves::grid(page))
                    (decomposition::decomposition(page))
                    (decomposition::mediation(page))
                    (scatter::courses(page))
                    (scatter::scatter(page))
                    (decomposition::layers(page))
                    (claims::claims(page))
                    (tables::tables(page))
                    (tables::runs(page.results))
                    (configuration(page))
                    (provenance::provenance(page.results))
                }
                (footer(page))
                script type="module" { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// The head of a page with its styles.
pub(super) fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            link rel="icon" href="data:,";
            title { (title) }
            style #chart-style { (PreEscaped(chart::STYLE)) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// The name of the report in the names of downloaded files.
fn name(results: &Results) -> String {
    let experiment = &results.experiment;
    format!("{} {} {}", experiment.name, experiment.preset, experiment.plan.data.set)
}

/// A line with the experiment, preset, data set, runs and seeds of the figure.
pub(crate) fn note(results: &Results) -> String {
    let experiment = &results.experiment;
    let plan = &experiment.plan;
    let seeds = match plan.seeds.len() {
        1 => "one seed".to_owned(),
        count => format!("mean and range of {count} seeds"),
    };
    let (name, preset, data) = (&experiment.name, &experiment.preset, &plan.data.set);
    format!("{name}, preset {preset}, data {data}: {} runs, {seeds}", results.runs.len())
}

fn header(page: &Page) -> Markup {
    let plan = &page.results.experiment.plan;
    let sections = [
        ("#verdict", "verdict", true),
        ("#curves", "along training", page.columns.iter().any(|column| !column.panels.is_empty())),
        ("#decomposition", "what moves NC", page.decomposition.is_some()),
        ("#mediation", "the penalty", page.mediation.is_some()),
        ("#courses", "courses", !page.courses.is_empty()),
        ("#scatter", "scatter plots", !page.scatters.is_empty()),
        ("#layers", "layers", page.layers.is_some()),
        ("#claims", "claims", true),
        ("#runs", "runs", true),
    ];
    html! {
        header.top #top {
            nav.small aria-label="Page" {
                @if page.indexed { a href="../index.html" { "← all experiments" } " " }
                @for (target, name, _) in sections.iter().filter(|section| section.2) { a href=(target) { (name) } " " }
            }
            h1 { (plan.title) }
            p.quiet {
                (plan.figure) (if of_the_paper(&plan.figure) { " of " } else { ", after " }) "Munn, Dherin, Gonzalvo (2024), "
                a href="https://arxiv.org/abs/2405.15706" { "arXiv 2405.15706" } ". " (note(page.results)) "."
            }
        }
    }
}

/// Whether a figure is one of the paper's, such as "Fig. 4" or "Appendix".
fn of_the_paper(figure: &str) -> bool {
    figure.starts_with("Fig.") || figure == "Appendix"
}

fn configuration(page: &Page) -> Markup {
    html! {
        section aria-labelledby="configuration" {
            h2 #configuration { "Configuration" }
            details {
                summary { "The resolved experiment file" }
                p.small { "SHA-256 " code { (page.results.frozen.sha256) } @if page.results.frozen.warning().is_none() {
                    ", the same as before the first run" } "." }
                pre tabindex="0" role="region" aria-label="Configuration" { code { (page.experiment) } }
            }
        }
    }
}

fn footer(page: &Page) -> Markup {
    html! {
        footer.quiet.small {
            p {
                "Files beside this page: the numbers in " a href="measurements.csv" { "measurements.csv" } " and "
                a href="claims.csv" { "claims.csv" } ", the tables in " a href="summary.md" { "summary.md" } ", the figure in "
                a href="figure.svg" { "figure.svg" } "."
            }
            p { a href="#top" { "↑ top" } @if page.indexed { " " a href="../index.html" { "← all experiments" } } }
        }
    }
}

/// A region that scrolls horizontally and can be focused by keyboard.
fn scrolling(label: &str, content: Markup) -> Markup {
    html! { div.wide tabindex="0" role="region" aria-label=(label) { (content) } }
}

/// A number with three significant digits; its element has all digits, which the CSV takes.
fn exact(value: f64) -> Markup {
    exact_as(value, &three_digits(value))
}

/// A number as it is shown, in an element that has all digits.
fn exact_as(value: f64, shown: &str) -> Markup {
    html! { data value=(value) { (shown) } }
}

/// The style of a group of plots: how many are side by side, and how many on a page with many columns. No row has a single
/// plot if that can be.
fn side_by_side(plots: usize) -> String {
    format!("--across:{};--wide:{}", across(plots, 3), across(plots, 4))
}

/// Number of plots side by side, at most `most`.
fn across(plots: usize, most: usize) -> usize {
    let widest = plots.clamp(1, most);
    let alone = |across: &usize| plots % across == 1 && *across > 1;
    (2..=widest).rev().find(|across| !alone(across)).unwrap_or(widest)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod layout {
    use super::*;

    #[test]
    fn the_last_row_of_plots_has_more_than_one_if_that_can_be() {
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 10].map(|plots| across(plots, 3)), [1, 2, 3, 2, 3, 3, 3, 3, 2]);
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 9].map(|plots| across(plots, 4)), [1, 2, 3, 4, 3, 4, 4, 4, 3]);
    }
}
