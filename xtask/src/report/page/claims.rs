//! The section of verdicts on the claims, with their rules.

use maud::{Markup, html};

use super::rules::rules;
use super::{Page, scrolling};
use crate::report::table::{self, Grid};
use crate::report::verdict::Finding;

/// The verdicts, the rules, and every claim.
pub(super) fn claims(page: &Page) -> Markup {
    html! {
        section aria-labelledby="claims" {
            h2 #claims { "Verdicts on the claims" }
            @for grid in &table::grids(page.results, page.findings) { (verdicts(grid)) }
            (rules(page.results))
            details {
            summary { "All " (page.findings.len()) " claims with intervals, tests and reasons" }
            (scrolling("Claims and verdicts", html! {
                table {
                    caption { "Claims and verdicts" }
                    thead { tr {
                        th.words scope="col" { "claim" } th.words scope="col" { "compared at" } th scope="col" { "runs" }
                        th scope="col" { "ρ or share" } th scope="col" { "interval" } th scope="col" { "p" } th.words scope="col" { "size" } th scope="col" { "with excluded" }
                        th.words scope="col" { "verdict" } th.words scope="col" { "reason" }
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
                                    (table::statistic(finding)) " "
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
            th.words scope="row" { (finding.claim) @if finding.primary { " (primary)" } }
            td.words { (table::comparison(finding)) }
            td { (table::runs(finding)) }
            td { (table::statistic(finding)) }
            td { (table::interval(finding)) }
            td { (finding.p_value.map_or_else(|| "–".to_owned(), |p| format!("{p:.3}"))) }
            td.words { (finding.size.map_or_else(|| "–".to_owned(), |size| size.words())) }
            td { (finding.with_excluded.map_or_else(|| "–".to_owned(), table::signed)) }
            td.words { span class=(format!("verdict {word}")) { (word) } }
            td.words.quiet { (finding.reason) }
        }
    }
}
