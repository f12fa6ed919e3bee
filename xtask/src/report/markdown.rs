//! The summary as Markdown, for a README, an issue, or a lab notebook.

use std::fmt::Write;

use super::results::Results;
use super::table::{self, Table};
use super::verdict::{self, Finding};
use super::{estimates, from_paper, page};

/// Title, primary claims, tables and exclusions. Names from the experiment file are escaped: they cannot add markup.
pub(crate) fn summary(results: &Results, findings: &[Finding]) -> String {
    let plan = &results.experiment.plan;
    let mut text =
        format!("# {}: {}\n\n{}.\n", escaped(&plan.figure), escaped(&plan.title), escaped(&page::note(results)),);
    if let Some(line) = from_paper::line(results) {
        // Writing to a string cannot fail.
        _ = writeln!(text, "\n{}", escaped(&line));
    }
    let lead = verdict::lead(results, findings);
    if !lead.is_empty() {
        text.push_str("\n## Primary claims\n\n");
        for sentence in lead {
            let evidence = escaped(&sentence.evidence.join("; "));
            let evidence = if evidence.is_empty() { evidence } else { format!(" {}.", capital(&evidence)) };
            _ = writeln!(text, "- **{}**: {}.{evidence}", capital(sentence.verdict.word()), escaped(&sentence.text));
        }
    }
    let frozen = &results.frozen;
    _ = writeln!(text, "\nExperiment file with all settings: SHA-256 `{}`.", frozen.sha256);
    if let Some(warning) = frozen.warning() {
        _ = writeln!(text, "\nThe experiment file: {}", escaped(&warning));
    }
    let mut tables = verdict::tables(results, findings);
    tables.extend(super::explanations(results));
    tables.extend(table::sweeps(results, findings));
    tables.extend(table::courses(results));
    tables.extend(estimates::tables(results));
    tables.iter().for_each(|table| push(&mut text, table));
    let excluded = verdict::exclusions(results);
    if !excluded.is_empty() {
        text.push_str("\n## Excluded from verdicts\n\n");
        excluded.iter().for_each(|(run, why)| _ = writeln!(text, "- {}: {}", escaped(run), escaped(why)));
    }
    text.push_str("\n## Rules\n\n");
    verdict::rules(results).iter().for_each(|rule| _ = writeln!(text, "- {}", escaped(rule)));
    text
}

fn capital(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn push(text: &mut String, table: &Table) {
    let line =
        |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join(" | "));
    let rule: Vec<&str> = table.header.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }).collect();
    _ = write!(text, "\n## {}\n\n{}| {} |\n", escaped(&table.caption), line(&table.header), rule.join(" | "));
    table.rows.iter().for_each(|row| text.push_str(&line(row)));
}

/// Text as one line of Markdown without a meaning of its own: line ends become spaces, and the characters that begin markup,
/// HTML or a table cell are escaped (CommonMark 0.31, sections 2.4 and 2.5).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '>' | '|' | '~' | '#' | '$' | '!' => {
                out.push('\\');
                out.push(character);
            }
            control if control.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_add_markup() {
        let cell = "a|b\n# c <script> [x](y) ![z](w) `d` *e* _f_ \\ &lt; ~g~ $h$\r\n- i\u{0}";
        let text = escaped(cell);
        assert!(!text.contains(char::is_control), "{text:?}");
        let mut before = ' ';
        for character in text.chars() {
            if "`*_[]|~#$!<".contains(character) {
                assert_eq!(before, '\\', "{character} is not escaped in {text}");
            }
            before = if before == '\\' && character == '\\' { ' ' } else { character };
        }
        assert!(text.contains("&amp;lt;") && text.contains("&lt;script"), "{text}");
        assert_eq!(escaped("lr 0.1 · batch 32 · λ 0.5, −0.97 to +0.2 %"), "lr 0.1 · batch 32 · λ 0.5, −0.97 to +0.2 %");
    }

    #[test]
    fn a_table_has_one_line_per_row() {
        let table = Table {
            caption: "one\ntwo".to_owned(),
            header: vec!["x\ny".to_owned(), "a|b".to_owned()],
            rows: vec![vec!["1\n2".to_owned(), "3".to_owned()]],
            summed: false,
        };
        let mut text = String::new();
        push(&mut text, &table);
        assert_eq!(text, "\n## one two\n\n| x y | a\\|b |\n| --- | ---: |\n| 1 2 | 3 |\n");
    }
}
