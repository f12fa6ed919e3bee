//! What a command says on standard output: JSON for programs, aligned lines for people.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

/// Version of the JSON's layout; `docs/src/output.schema.json` describes it.
pub(crate) const FORMAT: u32 = 1;

/// One line for people.
pub(crate) struct Row {
    name: String,
    value: String,
    meaning: &'static str,
}

impl Row {
    /// A number with its standard error where it has one.
    pub(crate) fn measured(name: &str, value: f64, error: Option<f64>, meaning: &'static str) -> Self {
        let error = error.map_or_else(String::new, |error| format!(" ± {error:.2e}"));
        Self { name: name.to_owned(), value: format!("{}{error}", number(value)), meaning }
    }

    /// Words.
    pub(crate) fn text(name: &str, value: String) -> Self {
        Self { name: name.to_owned(), value, meaning: "" }
    }
}

/// Six digits, in the notation that is shorter to read.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) {
        let decimals = (5 - size.max(1.0).log10().floor() as i64).clamp(0, 6) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.5e}")
    }
}

/// Prints lines under a title, names and values aligned.
pub(crate) fn table(title: &str, rows: &[Row]) {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let name = width(|row| &row.name);
    let value = width(|row| if row.meaning.is_empty() { "" } else { &row.value });
    println!("{title}");
    for row in rows {
        let line = format!("  {:<name$}  {:<value$}  {}", row.name, row.value, row.meaning);
        println!("{}", line.trim_end());
    }
}

/// Prints one JSON document.
///
/// # Errors
/// Standard output that is closed.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    std::io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_six_digits() {
        let read: Vec<String> = [0.0, 1.5, 123.456_789, 0.012_345_678, 1.0e-7, 2.5e9].map(number).to_vec();
        assert_eq!(read, ["0.00000", "1.50000", "123.457", "0.01235", "1.00000e-7", "2.50000e9"]);
    }
}
