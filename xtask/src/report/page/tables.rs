//! The sections of tables, and the list of runs.

use maud::{Markup, html};

use super::{Page, scrolling};
use crate::provenance::duration;
use crate::report::estimates;
use crate::report::results::Results;
use crate::report::table::{self, Table};
use crate::study::store::Verified;

/// The tables.
pub(super) fn tables(page: &Page) -> Markup {
    let sweeps = table::sweeps(page.results, page.findings);
    let courses = table::courses(page.results);
    let estimates = estimates::tables(page.results);
    let layers = table::layers(page.results);
    html! {
        @if !sweeps.is_empty() {
            section aria-labelledby="sweeps" {
                h2 #sweeps { "The sweeps in numbers" }
                p.quiet.small { "Means over the seeds; ± is half their range. GC, geometric collapse (mixture and pairwise form) and NC are those of the training classes." }
                @for table in &sweeps { (scrolling(&table.caption, plain_table(table))) }
            }
        }
        @if !courses.is_empty() {
            section aria-labelledby="numbers" {
                h2 #numbers { "Along training, in numbers" }
                p.quiet.small { "Means over the seeds; ± is half their range." }
                @for table in &courses { (scrolling(&table.caption, plain_table(table))) }
            }
        }
        @if let Some(table) = &layers {
            section aria-labelledby="layer-numbers" {
                h2 #layer-numbers { "Layers in numbers" }
                (scrolling(&table.caption, plain_table(table)))
            }
        }
        @if !estimates.is_empty() {
            section aria-labelledby="estimates" {
                h2 #estimates { "Errors of the estimates" }
                p.quiet.small {
                    "Root mean squares over all measuring points, repeats and seeds, relative to the exact value. The standard error of an "
                    "estimate is computed from its own sample."
                }
                @for table in &estimates { (scrolling(&table.caption, plain_table(table))) }
            }
        }
    }
}

/// A table of text.
pub(super) fn plain_table(table: &Table) -> Markup {
    html! {
        table {
            caption { (table.caption) }
            thead { tr { @for name in &table.header { th scope="col" { (name) } } } }
            tbody {
                @for (index, row) in table.rows.iter().enumerate() {
                    tr.last[table.summed && index + 1 == table.rows.len()] {
                        @for (column, cell) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// Every run with its folder and its status.
pub(super) fn runs(results: &Results) -> Markup {
    html! {
        section aria-labelledby="runs" {
            h2 #runs { "Runs" }
            details {
                summary { "All runs with their folders and their status" }
                (scrolling("All runs", html! {
                    table {
                        caption { "All runs" }
                        thead { tr {
                            th.words scope="col" { "run" } th.words scope="col" { "folder" } th scope="col" { "train loss" }
                            th scope="col" { "process time" } th.words scope="col" { "status" }
                        } }
                        tbody {
                            @for run in &results.runs {
                                tr {
                                    th.words scope="row" { (run.planned.description()) }
                                    td.words { a href=(format!("runs/{}/", run.planned.key)) { code { "runs/" (run.planned.key) } } }
                                    td { (run.final_loss.map_or_else(|| "–".to_owned(), table::three_digits)) }
                                    td { (run.record.as_ref().map_or_else(|| "–".to_owned(), |record| duration(record.work.seconds))) }
                                    td.words { (run.status.explained()) @if run.verified == Verified::Unsigned { " (unsigned)" } }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}
