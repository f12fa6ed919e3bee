//! The report: one page that needs nothing but itself, on paper, on a phone, in the dark, by keyboard or by ear.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Column, LinePanel, ScatterPanel, Series};
use super::results::Results;
use super::table::{self, Grid, Table};
use super::verdict::{Finding, Verdict};
use crate::record::{self, duration};
use crate::reproduce::experiment::Readout;

const STYLE: &str = include_str!("page.css");

/// Everything that a page shows.
pub(crate) struct Page<'a> {
    /// The runs.
    pub(crate) results: &'a Results,
    /// The claims, decided.
    pub(crate) findings: &'a [Finding],
    /// The grid of curves.
    pub(crate) columns: &'a [Column],
    /// What was asked, as a file.
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
                    (grid(page))
                    (scatter(page))
                    (claims(page))
                    (sweeps(page))
                    (runs(page.results))
                    (configuration(page))
                }
                (footer(page.results))
            }
        }
    };
    markup.into_string()
}

/// A line that says what the figure is made of.
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
    let count = |verdict: Verdict| page.findings.iter().filter(|finding| finding.verdict == verdict).count();
    let excluded = page.results.runs.iter().filter(|run| !run.counts()).count();
    html! {
        header.top {
            p.quiet.small style="margin:0" {
                (plan.figure) " of Munn, Dherin, Gonzalvo (2024), "
                a href="https://arxiv.org/abs/2405.15706" { "arXiv 2405.15706" }
            }
            h1 { (plan.title) }
            p.quiet { (note(page.results)) "." }
            ul.tally aria-label="What the data say about the paper's claims" {
                li { b.holds { (count(Verdict::Holds)) } "hold" }
                li { b.fails { (count(Verdict::Fails)) } "fail" }
                li { b.undecided { (count(Verdict::Undecided)) } "undecided" }
                li { b { (page.results.runs.len() - excluded) } "runs counted" }
                li { b { (excluded) } "runs excluded by rule" }
            }
        }
    }
}

fn grid(page: &Page) -> Markup {
    let rows = page.columns.iter().map(|column| column.panels.len()).max().unwrap_or(0);
    let style = format!("--columns:{};--rows:{}", page.columns.len().max(1), rows + 1);
    html! {
        section aria-labelledby="along" {
            h2 #along { "Along training" }
            p.quiet.small {
                "A curve for each swept value; all runs of a panel see the same number of images. The band is the range over the seeds. Rows share their vertical axis. Dashed curves with hollow "
                "marks have runs that a rule excludes; a cross is where training diverged."
            }
            div.grid style=(style) {
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
                        g class=(format!("seq-{}", series.step)) {
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
                        thead { tr { th scope="col" { "value" } th scope="col" { "epochs" } th scope="col" { "mean" } th scope="col" { "range" } } }
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

fn scatter(page: &Page) -> Markup {
    let plots = chart::scatters(page.results);
    html! {
        section aria-labelledby="against" {
            h2 #against { "Against each other" }
            p.quiet.small { "Every run at the end of training, a mark each; hollow marks are excluded by a rule." }
            div.plots { @for plot in &plots { (scatter_figure(plot)) } }
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

fn claims(page: &Page) -> Markup {
    html! {
        section aria-labelledby="claims" {
            h2 #claims { "What the data say about the claims" }
            @for grid in &table::grids(page.results, page.findings) { (verdicts(grid)) }
            (rules(page.results))
            details {
            summary { "All " (page.findings.len()) " claims with intervals, tests and reasons" }
            (scrolling("Claims and verdicts", html! {
                table {
                    thead { tr {
                        th.words scope="col" { "claim" } th.words scope="col" { "compared at" } th scope="col" { "runs" }
                        th scope="col" { "ρ or share" } th scope="col" { "interval" } th scope="col" { "p" } th scope="col" { "with excluded" }
                        th.words scope="col" { "verdict" } th.words scope="col" { "because" }
                    } }
                    tbody { @for finding in page.findings { (claim(finding)) } }
                }
            }))
            }
        }
    }
}

fn verdicts(grid: &Grid) -> Markup {
    scrolling(
        &grid.caption,
        html! {
            table.verdicts {
                caption { (grid.caption) }
                thead { tr { th scope="col" {} @for name in &grid.columns { th scope="col" { (name) } } } }
                tbody {
                    @for (name, cells) in &grid.rows {
                        tr {
                            th scope="row" { (name) }
                            @for cell in cells {
                                td { @if let Some(finding) = cell {
                                    @let word = finding.verdict.word();
                                    (finding.statistic.map_or_else(|| "–".to_owned(), table::signed)) " "
                                    span class=(format!("verdict {word}")) title=(finding.reason) { (word) }
                                } }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn claim(finding: &Finding) -> Markup {
    let word = finding.verdict.word();
    html! {
        tr {
            th.words scope="row" { (finding.claim) }
            td.words { (table::readout(finding)) }
            td { (table::runs(finding)) }
            td { (finding.statistic.map_or_else(|| "–".to_owned(), table::signed)) }
            td { (table::interval(finding)) }
            td { (finding.p_value.map_or_else(|| "–".to_owned(), |p| format!("{p:.3}"))) }
            td { (finding.with_excluded.map_or_else(|| "–".to_owned(), table::signed)) }
            td.words { span class=(format!("verdict {word}")) { (word) } }
            td.words.quiet { (finding.reason) }
        }
    }
}

/// The rules in words, with the numbers that the experiment file gives them.
fn rules(results: &Results) -> Markup {
    let plan = &results.experiment.plan;
    let rules = &plan.rules;
    let matched = plan.claims.trends.iter().any(|trend| trend.readouts.contains(&Readout::MatchedLoss));
    html! {
        p {
            "The statistic of a trend or an association is Spearman's rank correlation ρ over runs; its interval is the "
            (format!("{:.0} % percentile interval of {} resamples of the runs. ", rules.confidence * 100.0, rules.resamples))
            "A claim " b { "holds" } " when the whole interval lies on the claimed side of zero, " b { "fails" } " when it lies on "
            "the other side, and is " b { "undecided" } " otherwise, and also whenever a two-sided permutation test finds a ρ as "
            "large by chance with a probability above " (format!("{:.2}. ", 1.0 - rules.confidence))
            "The statistic of an inequality is the share of measured points that satisfy it: it holds at 1, and fails when the "
            "interval lies below 1. No correction is made for the number of claims."
        }
        p {
            "A run is " b { "diverged" } " when its training loss or a weight is no longer finite, and " b { "under-trained" }
            " when its training loss ends above " (rules.under_trained_above) " ln k, the loss of a uniform guess among k classes "
            "being ln k. Both are shown everywhere and excluded from verdicts; “with excluded” is the statistic with them. "
            "All rules stood in the experiment file before the runs."
        }
        @if matched {
            p {
                "Equal loss compares runs where their running training loss first fell below the lowest level (a share of ln k) "
                "that all of them reached."
            }
        }
    }
}

fn sweeps(page: &Page) -> Markup {
    let tables = table::sweeps(page.results, page.findings);
    html! {
        section aria-labelledby="sweeps" {
            h2 #sweeps { "At the end of training" }
            p.quiet.small { "Means over the seeds; ± is half their range. GC, geometric collapse (mixture and pairwise form) and NC are those of the training classes." }
            @for table in &tables { (scrolling(&table.caption, plain_table(table))) }
        }
    }
}

fn plain_table(table: &Table) -> Markup {
    html! {
        table {
            caption { (table.caption) }
            thead { tr { @for name in &table.header { th scope="col" { (name) } } } }
            tbody {
                @for (index, row) in table.rows.iter().enumerate() {
                    tr.last[index + 1 == table.rows.len()] {
                        @for (column, cell) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

fn runs(results: &Results) -> Markup {
    html! {
        section aria-labelledby="runs" {
            h2 #runs { "Runs" }
            details {
                summary { "All " (results.runs.len()) " runs, their folders and how they ended" }
                (scrolling("All runs", html! {
                    table {
                        thead { tr {
                            th.words scope="col" { "run" } th.words scope="col" { "folder" } th scope="col" { "train loss" }
                            th scope="col" { "took" } th.words scope="col" { "standing" }
                        } }
                        tbody {
                            @for run in &results.runs {
                                tr {
                                    th.words scope="row" { (run.planned.description()) }
                                    td.words { code { "runs/" (run.planned.key) } }
                                    td { (run.final_loss.map_or_else(|| "–".to_owned(), table::three_digits)) }
                                    td { (run.record.as_ref().map_or_else(|| "–".to_owned(), |record| duration(record.work.seconds))) }
                                    td.words { (run.standing.explained()) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

fn configuration(page: &Page) -> Markup {
    html! {
        section aria-labelledby="configuration" {
            h2 #configuration { "Configuration" }
            details {
                summary { "The experiment as it was resolved" }
                pre tabindex="0" { code { (page.experiment) } }
            }
        }
    }
}

fn footer(results: &Results) -> Markup {
    let records: Vec<_> =
        results.runs.iter().filter_map(|run| run.record.as_ref().map(|record| &record.work)).collect();
    let mut hosts: Vec<String> =
        records.iter().map(|record| format!("{} ({})", record.host, record.platform)).collect();
    hosts.sort();
    hosts.dedup();
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    let last = records.iter().map(|record| record.started + record.seconds as u64).max();
    html! {
        footer.quiet.small {
            p {
                "Made by version " (env!("CARGO_PKG_VERSION")) " from " (records.len()) " finished runs that took "
                (duration(seconds)) " of process time on " (hosts.join(", "))
                @if let Some(last) = last { ", the last of them finished " (record::utc(last)) }
                ". The numbers are in " code { "measurements.csv" } " and " code { "claims.csv" } " beside this page."
            }
        }
    }
}

/// A region that scrolls sideways by itself, reachable by keyboard.
fn scrolling(label: &str, content: Markup) -> Markup {
    html! { div.wide tabindex="0" role="region" aria-label=(label) { (content) } }
}
