//! The book's table of measures is that of the registry. With the environment variable WRITE_BOOK=1, the test writes it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use assess::{Measure, PartOf};

const BEGIN: &str = "<!-- measures: begin; written by `WRITE_BOOK=1 cargo test -p xtask --test conventions` -->\n";
const END: &str = "<!-- measures: end -->\n";

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    if text.is_empty() { "–".to_owned() } else { text.replace('|', "\\|") }
}

/// The keys of a measure on all images that have it; recorded ones in bold.
fn keys(measure: Measure) -> String {
    let variants = ["", "test_", "target_"].map(|part| Measure::named(&format!("{part}{}", measure.key())).ok());
    let shown = |measure: Measure| {
        let key = format!("`{}`", measure.key());
        if measure.is_standard() { format!("**{key}**") } else { key }
    };
    let of_images = variants.into_iter().flatten();
    if measure.part() == PartOf::Train { of_images.map(shown).collect::<Vec<_>>().join(", ") } else { shown(measure) }
}

/// Whether a measure has a row of its own: not as the variant of one of training images.
fn has_row(measure: Measure) -> bool {
    let base = ["test_", "target_"].iter().find_map(|part| measure.key().strip_prefix(part));
    !base.is_some_and(|base| Measure::named(base).is_ok_and(|base| base.part() == PartOf::Train))
}

fn table() -> String {
    let mut text = "| key | name | definition | standard error | source |\n|---|---|---|---|---|\n".to_owned();
    for measure in Measure::all().into_iter().filter(|measure| has_row(*measure)) {
        let entry = measure.entry();
        let name = if measure.label() == entry.symbol {
            cell(entry.symbol)
        } else {
            format!("{}: {}", cell(measure.label()), cell(entry.symbol))
        };
        let [definition, error, source] = [entry.definition, entry.standard_error, entry.source].map(cell);
        writeln!(text, "| {} | {name} | {definition} | {error} | {source} |", keys(measure)).unwrap();
    }
    text
}

#[test]
fn the_books_table_of_measures_is_that_of_the_registry() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/conventions.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("the page has no line {BEGIN}"));
    let (written, after) = rest.split_once(END).unwrap_or_else(|| panic!("the page has no line {END}"));
    let table = table();
    if std::env::var_os("WRITE_BOOK").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert!(written == table, "the table differs from the registry; run this test with WRITE_BOOK=1\n{table}");
}
