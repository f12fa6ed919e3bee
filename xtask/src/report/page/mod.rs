//! The report: one HTML page without other files, for screens of any width, print, dark mode, keyboards and screen readers.

mod claims;
mod curves;
mod lead;
mod provenance;
mod rules;
mod scatter;
mod tables;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Column};
use super::results::Results;
use super::verdict::Finding;

/// The style sheet of pages, without that of charts.
pub(super) const STYLE: &str = include_str!("page.css");

/// The contents of a page.
pub(crate) struct Page<'a> {
    /// The runs.
    pub(crate) results: &'a Results,
    /// The verdicts on the claims.
    pub(crate) findings: &'a [Finding],
    /// The panels of the figure.
    pub(crate) columns: &'a [Column],
    /// The resolved experiment as a TOML file.
    pub(crate) experiment: String,
}

/// The page as HTML.
pub(crate) fn page(page: &Page) -> String {
    let plan = &page.results.experiment.plan;
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (plan.title) " · " (plan.figure) }
                style { (PreEscaped(chart::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                (header(page))
                main {
                    (curves::grid(page))
                    (scatter::scatter(page))
                    (claims::claims(page))
                    (tables::tables(page))
                    (tables::runs(page.results))
                    (configuration(page))
                    (provenance::provenance(page.results))
                }
                (footer())
            }
        }
    };
    markup.into_string()
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
    html! {
        header.top {
            p.quiet.small style="margin:0" {
                (plan.figure) " of Munn, Dherin, Gonzalvo (2024), "
                a href="https://arxiv.org/abs/2405.15706" { "arXiv 2405.15706" }
            }
            h1 { (plan.title) }
            p.quiet { (note(page.results)) "." }
            (lead::lead(page))
        }
    }
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

fn footer() -> Markup {
    html! {
        footer.quiet.small {
            p {
                "Files beside this page: the numbers in " code { "measurements.csv" } " and " code { "claims.csv" } ", the tables in "
                code { "summary.md" } "."
            }
        }
    }
}

/// A region that scrolls horizontally and can be focused by keyboard.
fn scrolling(label: &str, content: Markup) -> Markup {
    html! { div.wide tabindex="0" role="region" aria-label=(label) { (content) } }
}
