//! The tables of claims with their statistics: primary ones, then exploratory ones, and the rules.

use maud::{Markup, html};

use super::lead::word;
use super::rules::rules;
use super::{Page, exact_as, scrolling};
use crate::report::table::{self, signed};
use crate::report::verdict::{self, ClaimKind, Finding, Size};

/// The two tables, and the rules.
pub(super) fn claims(page: &Page) -> Markup {
    html! {
        section aria-labelledby="claims" {
            h2 #claims { "Claims with their statistics" }
            p.quiet.small { (intervals(page)) }
            (claim_table("Primary claims", &ordered(page, true)))
            (claim_table("Exploratory claims", &ordered(page, false)))
            details { summary { "The rules of these verdicts" } (rules(page.results)) }
        }
    }
}

/// The findings of one table, those that fail first.
fn ordered<'a>(page: &Page<'a>, primary: bool) -> Vec<&'a Finding> {
    let mut own: Vec<&Finding> = page.findings.iter().filter(|finding| finding.primary == primary).collect();
    own.sort_by_key(|finding| finding.verdict);
    own
}

fn intervals(page: &Page) -> String {
    let confidence = 100.0 * page.results.experiment.plan.rules.confidence;
    format!(
        "Intervals are Student's t-intervals over seeds at {confidence:.0} %. A claim is decided when its corrected p is at most its \
         level, and its statistic and the interval of its size lie on one side."
    )
}

fn claim_table(caption: &str, findings: &[&Finding]) -> Markup {
    html! {
        @if !findings.is_empty() {
            (scrolling(caption, html! {
                table.claims {
                    caption { (caption) (correction(findings)) }
                    thead { tr {
                        th.words scope="col" { "claim" } th.words scope="col" { "verdict" } th.words scope="col" { "size, interval" }
                        th.words scope="col" { "trained runs alone" } th scope="col" { "statistic" } th.words scope="col" { "interval" }
                        th scope="col" { "p" } th scope="col" { "corrected p" } th scope="col" { "level" }
                        th.words scope="col" { "compared at" } th scope="col" { "runs" } th scope="col" { "seeds" }
                        th scope="col" { "with excluded" } th.words scope="col" { "reason" }
                    } }
                    tbody { @for finding in findings { (claim(finding)) } }
                }
            }))
        }
    }
}

/// How the p-values of a table are corrected.
fn correction(findings: &[&Finding]) -> String {
    let tested = findings.iter().find_map(|finding| Some((finding.correction?, finding.family)));
    tested.map_or_else(String::new, |(correction, family)| {
        format!("; p corrected by {} over {family} tests", verdict::correction_words(correction))
    })
}

fn claim(finding: &Finding) -> Markup {
    let size = |size: Option<Size>| size.map_or_else(|| "–".to_owned(), |size| finding.size_cell(Some(size)));
    html! {
        tr {
            th.words scope="row" { (finding.claim) @if let Some(source) = &finding.source { " (" (source) ")" } }
            td.words { (word(finding.verdict, &finding.reason)) }
            td.words { (finding.size_cell(finding.size)) }
            td.words { (size(finding.trained_size)) }
            td { (name(finding.kind)) " " (number(finding.statistic, table::statistic(finding))) }
            td.words { (table::interval(finding)) }
            td { (p_value(finding.p_value)) }
            td { (p_value(finding.corrected_p_value)) }
            td { (finding.decision_level.map_or_else(|| "–".to_owned(), |level| format!("{level:.2}"))) }
            td.words { (table::comparison(finding)) }
            td { (table::runs(finding)) }
            td { (finding.seeds) }
            td { (number(finding.with_excluded, finding.with_excluded.map_or_else(String::new, signed))) }
            td.words.quiet { (finding.reason) (concordance(finding)) }
        }
    }
}

/// The name of the statistic of a kind of claim.
fn name(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Trend | ClaimKind::Course => "mean ρ",
        ClaimKind::Contrast => "mean sign",
        ClaimKind::Association => "partial ρ",
        ClaimKind::Inequality | ClaimKind::Coverage => "share",
    }
}

/// The granulated coefficient and the sign error of an association.
fn concordance(finding: &Finding) -> String {
    let granulated = finding.granulated_coefficient.map(|value| format!("; granulated τ {}", signed(value)));
    let sign = finding.sign_error.map(|value| format!("; worst sign error {value:.2}"));
    granulated.into_iter().chain(sign).collect()
}

fn p_value(value: Option<f64>) -> Markup {
    number(value, value.map_or_else(String::new, verdict::p_value))
}

/// A number as it is shown, with the exact one for the CSV; a dash without one.
fn number(value: Option<f64>, shown: String) -> Markup {
    html! { @match value { Some(value) => (exact_as(value, &shown)), None => "–" } }
}
