//! The tables of claims: primary ones, then exploratory ones, and the rules.

use maud::{Markup, html};

use super::lead::{ordered, verdict};
use super::rules::rules;
use super::{Page, exact_as, scrolling};
use crate::report::table;
use crate::report::verdict::Finding;

/// The two tables, and the rules.
pub(super) fn claims(page: &Page) -> Markup {
    let primary = ordered(page.findings.iter().filter(|finding| finding.primary));
    let others = ordered(page.findings.iter().filter(|finding| !finding.primary));
    html! {
        section aria-labelledby="claims" {
            h2 #claims { "Claims with their statistics" }
            (claim_table("Primary claims", &primary))
            (claim_table("Exploratory claims", &others))
            details { summary { "The rules of these verdicts" } (rules(page.results)) }
        }
    }
}

fn claim_table(caption: &str, findings: &[&Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            (scrolling(caption, html! {
                table.claims {
                    caption { (caption) }
                    thead { tr {
                        th.words scope="col" { "claim" } th.words scope="col" { "verdict" } th.words scope="col" { "size" }
                        th scope="col" { "ρ or share" } th.words scope="col" { "interval" } th scope="col" { "p" }
                        th.words scope="col" { "compared at" } th scope="col" { "runs" } th scope="col" { "with excluded" }
                        th.words scope="col" { "reason" }
                    } }
                    tbody { @for finding in findings { (claim(finding)) } }
                }
            }))
        }
    }
}

fn claim(finding: &Finding) -> Markup {
    html! {
        tr {
            th.words scope="row" { (finding.claim) }
            td.words { (verdict(finding)) }
            td.words { (finding.size.map_or_else(|| "–".to_owned(), |size| size.words())) }
            td { (number(finding.statistic, table::statistic(finding))) }
            td.words { (table::interval(finding)) }
            td { (number(finding.p_value, finding.p_value.map_or_else(String::new, |p| format!("{p:.3}")))) }
            td.words { (table::comparison(finding)) }
            td { (table::runs(finding)) }
            td { (number(finding.with_excluded, finding.with_excluded.map_or_else(String::new, table::signed))) }
            td.words.quiet { (finding.reason) }
        }
    }
}

/// A number as it is shown, with the exact one for the CSV; a dash without one.
fn number(value: Option<f64>, shown: String) -> Markup {
    html! { @match value { Some(value) => (exact_as(value, &shown)), None => "–" } }
}
