//! The summary as Markdown: for a README, an issue, or a lab book.

use std::fmt::Write;

use super::results::Results;
use super::table::{self, Table};
use super::verdict::{self, Finding, Verdict};
use super::{estimates, page};

/// Title, verdicts, tables and exclusions.
pub(crate) fn summary(results: &Results, findings: &[Finding]) -> String {
    let plan = &results.experiment.plan;
    let count = |verdict: Verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let mut text = format!(
        "# {}: {}\n\n{}.\n\nOf {} claims {} hold, {} fail and {} are undecided.\n",
        plan.figure,
        plan.title,
        page::note(results),
        findings.len(),
        count(Verdict::Holds),
        count(Verdict::Fails),
        count(Verdict::Undecided)
    );
    let mut tables = table::sweeps(results, findings);
    tables.extend(table::courses(results));
    tables.extend(estimates::tables(results));
    tables.extend(table::grids(results, findings).iter().map(|grid| grid.table()));
    tables.iter().for_each(|table| push(&mut text, table));
    let excluded = verdict::exclusions(results);
    if !excluded.is_empty() {
        text.push_str("\n## Excluded from verdicts\n\n");
        // Writing to a string cannot fail.
        excluded.iter().for_each(|(run, why)| _ = writeln!(text, "- {run}: {why}"));
    }
    text
}

fn push(text: &mut String, table: &Table) {
    let line =
        |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(" | "));
    let rule: Vec<&str> = table.header.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    _ = write!(text, "\n## {}\n\n{}| {} |\n", table.caption, line(&table.header), rule.join(" | "));
    table.rows.iter().for_each(|row| text.push_str(&line(row)));
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}
