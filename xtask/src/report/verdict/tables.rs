//! The claims as tables: the primary ones, and the exploratory ones apart.

use statistics::Correction;

use super::{Finding, Verdict, correction_words, reasons};
use crate::report::results::Results;
use crate::report::table::{self, Table, signed};
use crate::study::experiment::Rules;

/// A table of the primary claims and one of the exploratory claims, each only if there are some. Claims that fail come first.
pub(crate) fn tables(results: &Results, findings: &[Finding]) -> Vec<Table> {
    let rules = &results.experiment.plan.rules;
    [true, false].into_iter().filter_map(|primary| one(findings.iter(), primary, rules)).collect()
}

/// The same for the terminal, without exploratory claims that are undecided.
pub(crate) fn short_tables(results: &Results, findings: &[Finding]) -> Vec<Table> {
    let rules = &results.experiment.plan.rules;
    let decided = findings.iter().filter(|finding| finding.verdict != Verdict::Undecided);
    let mut tables: Vec<Table> = one(findings.iter(), true, rules).into_iter().collect();
    let left_out = findings.iter().any(|finding| !finding.primary && finding.verdict == Verdict::Undecided);
    tables.extend(one(decided, false, rules).map(|mut table| {
        if left_out {
            table.caption.push_str("; the undecided ones are in summary.md");
        }
        table
    }));
    tables
}

fn one<'a>(findings: impl Iterator<Item = &'a Finding>, primary: bool, rules: &Rules) -> Option<Table> {
    let mut own: Vec<&Finding> = findings.filter(|finding| finding.primary == primary).collect();
    if own.is_empty() {
        return None;
    }
    own.sort_by_key(|finding| finding.verdict);
    let header = [
        "claim",
        "compared at",
        "runs",
        "statistic",
        "interval",
        "size",
        "trained alone",
        "granulated",
        "sign error",
        "p",
        "corrected p",
        "verdict",
    ];
    let caption = caption(&own, primary, rules);
    let rows = own.into_iter().map(row).collect();
    Some(without_empty_columns(Table { caption, header: header.map(str::to_owned).to_vec(), rows, summed: false }))
}

/// The table without columns that have no value in any row.
fn without_empty_columns(table: Table) -> Table {
    let used = |column: usize| table.rows.iter().any(|row| row.get(column).is_some_and(|cell| cell != "–"));
    let kept: Vec<bool> = (0..table.header.len()).map(used).collect();
    let keep = |cells: &[String]| -> Vec<String> {
        cells.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(cell, _)| cell.clone()).collect()
    };
    let rows = table.rows.iter().map(|row| keep(row)).collect();
    Table { header: keep(&table.header), rows, ..table }
}

fn caption(findings: &[&Finding], primary: bool, rules: &Rules) -> String {
    let (name, correction, level) = if primary {
        ("Primary claims", Correction::Holm, 1.0 - rules.confidence)
    } else {
        ("Exploratory claims", Correction::BenjaminiHochberg, rules.false_discovery_rate)
    };
    let tested = findings.iter().map(|finding| finding.family).max().unwrap_or(0);
    let by = if tested == 0 {
        String::new()
    } else {
        format!("; p corrected over {tested} claims by {}, decided at {level:.2}", correction_words(correction))
    };
    format!("{name}; {:.0} % intervals over seeds{by}", 100.0 * rules.confidence)
}

fn row(finding: &Finding) -> Vec<String> {
    let dash = || "–".to_owned();
    let source = finding.source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
    vec![
        format!("{}{source}", finding.claim),
        table::comparison(finding),
        table::runs(finding),
        table::statistic(finding),
        table::interval(finding),
        finding.size_cell(finding.size),
        finding.trained_size.map_or_else(dash, |size| finding.size_cell(Some(size))),
        finding.granulated_coefficient.map_or_else(dash, signed),
        finding.sign_error.map_or_else(dash, |error| format!("{error:.2}")),
        finding.p_value.map_or_else(dash, reasons::p_value),
        finding.corrected_p_value.map_or_else(dash, reasons::p_value),
        finding.verdict.word().to_owned(),
    ]
}
