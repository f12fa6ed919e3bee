//! Aligned lines for people, within the columns of a terminal.

use super::numbers::measured;
use super::say;
use super::wrap::{WIDTH, lines, wrapped};

/// The largest width of the column of names; longer names have a line of their own.
const NAME: usize = 22;

/// The smallest width of the last column.
const LAST: usize = 24;

/// One line.
pub(crate) struct Row {
    name: String,
    value: String,
    meaning: String,
    has_error: bool,
}

impl Row {
    /// A number, with its standard error where it has one.
    pub(crate) fn measured(name: &str, value: f64, error: Option<f64>, meaning: &str) -> Self {
        Self { has_error: error.is_some(), ..Self::worded(name, measured(value, error), meaning) }
    }

    /// A value in words.
    pub(crate) fn text(name: &str, value: String) -> Self {
        Self::worded(name, value, "")
    }

    /// A value in words, with its meaning.
    pub(crate) fn worded(name: &str, value: String, meaning: &str) -> Self {
        Self { name: name.to_owned(), value, meaning: meaning.to_owned(), has_error: false }
    }
}

/// Prints a title and lines below it, with names and values aligned. The meaning of ± is said below, if there is one.
pub(crate) fn table(title: &str, rows: &[Row]) {
    say!("{}", wrapped(&title.replace('\n', "\\n"), WIDTH, "  "));
    for line in formatted(rows) {
        say!("{line}");
    }
    if rows.iter().any(|row| row.has_error) {
        say!("± is one standard error");
    }
}

fn formatted(rows: &[Row]) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let name = rows.iter().map(|row| width(&row.name)).filter(|name| *name <= NAME).max().unwrap_or(0);
    let with_meaning = || rows.iter().filter(|row| !row.meaning.is_empty());
    let value = with_meaning().map(|row| width(&row.value)).max().unwrap_or(0).min(WIDTH - LAST - name - 6);
    let mut text = Vec::new();
    for row in rows {
        let mut start = format!("  {:<name$}  ", row.name);
        if width(&row.name) > name {
            text.push(format!("  {}", row.name));
            start = " ".repeat(name + 4);
        }
        let (last, indent) = if row.meaning.is_empty() {
            (&row.value, name + 4)
        } else {
            start = format!("{start}{:<value$}  ", row.value);
            (&row.meaning, name + value + 6)
        };
        // The first line begins with the name and the value, whose spaces must stay.
        let room = WIDTH.saturating_sub(width(&start)).max(LAST);
        let mut parts = lines(last, room, "").into_iter();
        text.push(format!("{start}{}", parts.next().unwrap_or_default()).trim_end().to_owned());
        text.extend(parts.map(|part| format!("{}{part}", " ".repeat(indent))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits_into_80_columns_and_no_word_is_broken() {
        let meaning =
            "the mean over pairs of classes of the variance within classes over the squared distance of their means";
        let rows = [
            Row::measured("gc", 17.234, Some(0.62), "geometric complexity: mean ‖∂f/∂x‖²_F"),
            Row::measured("pairwise_geometric_collapse_unbiased", 1.234e-7, Some(3.4e-9), meaning),
            Row::text("measured", format!("{meaning} {meaning}")),
        ];
        let text = formatted(&rows);
        assert!(text.iter().all(|line| line.chars().count() <= WIDTH), "{text:#?}");
        assert_eq!(text[0], "  gc        17.2 ± 0.6          geometric complexity: mean ‖∂f/∂x‖²_F");
        assert_eq!(text[1], "  pairwise_geometric_collapse_unbiased");
        assert!(text[2].starts_with("            (1.234 ± 0.034)e-7  the mean over"), "{text:#?}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let all = words(&text.join("\n"));
        assert!(words(meaning).iter().all(|word| all.contains(word)));
    }
}
