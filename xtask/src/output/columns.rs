//! Tables of several columns within the columns of a terminal.

use super::wrap::{lines, wrapped};

/// The largest width of the column of names in a table that is too wide; longer names have a line of their own.
const NAME: usize = 28;

/// The space between two columns.
const GAP: usize = 2;

/// A table as lines of at most `room` characters: the first column is left-aligned, the others are right-aligned.
///
/// A table that is too wide is continued below with the columns that are left, each time beside the names. Words of the header
/// are not broken. A name that is longer than a line loses characters in its middle.
pub(crate) fn columns(caption: &str, header: &[String], rows: &[Vec<String>], room: usize) -> String {
    let cells = |at: usize| rows.iter().map(move |row| row.get(at).map_or("", String::as_str)).collect();
    let all = |header_width: fn(&str) -> usize| -> Vec<Column> {
        header.iter().enumerate().map(|(at, name)| Column::new(name, header_width(name), cells(at))).collect()
    };
    let caption = wrapped(caption, room, "  ");
    // Headers in one line, in several lines, and in several blocks: the first that fits.
    for columns in [all(characters), all(longest_word)] {
        let Some((names, values)) = columns.split_first() else { break };
        let whole = Block { names: names.width, columns: values };
        if whole.width() <= room {
            return format!("{caption}\n{}", whole.text(names, room));
        }
    }
    let columns = all(longest_word);
    let Some((names, values)) = columns.split_first() else { return format!("{caption}\n") };
    let width = names.cells.iter().map(|cell| characters(cell)).filter(|width| *width <= NAME).max();
    let blocks = split(width.unwrap_or(0).max(characters_of_longest(&names.header)), values, room);
    let text: Vec<String> = blocks.iter().map(|block| block.text(names, room)).collect();
    format!("{caption}\n{}", text.join("\n"))
}

/// One column.
struct Column<'a> {
    /// The lines of its header.
    header: Vec<String>,
    cells: Vec<&'a str>,
    width: usize,
}

impl<'a> Column<'a> {
    /// A column that is as wide as its widest cell, and at least as `least`.
    fn new(header: &str, least: usize, cells: Vec<&'a str>) -> Self {
        let width = cells.iter().map(|cell| characters(cell)).max().unwrap_or(0).max(least);
        Self { header: lines(header, width, ""), cells, width }
    }
}

/// Columns that fit beside the names.
struct Block<'a> {
    /// The width of the names.
    names: usize,
    columns: &'a [Column<'a>],
}

/// As many columns in each block as fit, but at least one.
fn split<'a>(names: usize, mut left: &'a [Column<'a>], room: usize) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    while !left.is_empty() {
        let fits = |count: &usize| Block { names, columns: &left[..*count] }.width() <= room;
        let count = (1..=left.len()).take_while(fits).last().unwrap_or(1);
        let (columns, others) = left.split_at(count);
        blocks.push(Block { names, columns });
        left = others;
    }
    blocks
}

impl Block<'_> {
    fn width(&self) -> usize {
        self.names + self.columns.iter().map(|column| GAP + column.width).sum::<usize>()
    }

    fn text(&self, names: &Column<'_>, room: usize) -> String {
        let rule = "─".repeat(self.width());
        let mut text = String::new();
        let mut push = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        push(&rule);
        let height = self.columns.iter().chain([names]).map(|column| column.header.len()).max().unwrap_or(0);
        for line in 0..height {
            // Headers of fewer lines end at the last one.
            let part = |column: &Column<'_>| {
                let above = height - column.header.len();
                line.checked_sub(above).and_then(|at| column.header.get(at).cloned()).unwrap_or_default()
            };
            push(&self.line(&part(names), self.columns.iter().map(part)));
        }
        push(&rule);
        for (row, name) in names.cells.iter().enumerate() {
            let cells = self.columns.iter().map(|column| column.cells.get(row).copied().unwrap_or_default().to_owned());
            if characters(name) <= self.names {
                push(&self.line(name, cells));
            } else {
                push(&shortened(name, room));
                push(&self.line("", cells));
            }
        }
        text
    }

    fn line(&self, name: &str, cells: impl Iterator<Item = String>) -> String {
        let mut line = format!("{name}{}", " ".repeat(self.names - characters(name)));
        for (cell, column) in cells.zip(self.columns) {
            line.push_str(&" ".repeat(GAP + column.width - characters(&cell)));
            line.push_str(&cell);
        }
        line.trim_end().to_owned()
    }
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

fn longest_word(text: &str) -> usize {
    text.split_whitespace().map(characters).max().unwrap_or(0)
}

fn characters_of_longest(lines: &[String]) -> usize {
    lines.iter().map(|line| characters(line)).max().unwrap_or(0)
}

/// The text without characters in its middle, where it is longer than `width`.
fn shortened(text: &str, width: usize) -> String {
    let count = characters(text);
    if count <= width {
        return text.to_owned();
    }
    let end = (width - 1) / 2;
    let start: String = text.chars().take(width - 1 - end).collect();
    let rest: String = text.chars().skip(count - end).collect();
    format!("{start}…{rest}")
}

#[cfg(test)]
mod tests {
    use super::super::wrap::WIDTH;
    use super::*;

    fn cells(row: &[&str]) -> Vec<String> {
        row.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = columns("C", &cells(&["a", "long"]), &[cells(&["wide é", "1"])], WIDTH);
        assert_eq!(text, "C\n────────────\na       long\n────────────\nwide é     1\n");
    }

    #[test]
    fn headers_of_wide_tables_are_broken_between_words() {
        let row = cells(&["x", "0.5 (1)", "1"]);
        let narrow = columns("C", &cells(&["a", "ridge:1.0 accuracy", "gc"]), std::slice::from_ref(&row), WIDTH);
        assert_eq!(narrow.lines().nth(2), Some("a  ridge:1.0 accuracy  gc"));
        let long = "a-name-of-more-than-fifty-characters-for-a-network-in-a-file";
        let text = columns("C", &cells(&["a", "ridge:1.0 accuracy", "gc"]), &[cells(&[long, "0.5 (1)", "1"])], WIDTH);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[2].trim(), lines[3]), ("ridge:1.0", format!("{:<60}   accuracy  gc", "a").as_str()));
        assert_eq!(lines[5], format!("{long}    0.5 (1)   1"));
    }

    #[test]
    fn wide_tables_are_continued_below_and_no_word_is_lost() {
        let header = cells(&[
            "checkpoint",
            "gc",
            "pairwise_geometric_collapse",
            "geometric_collapse",
            "test_nc",
            "ridge:1.0 accuracy",
        ]);
        let long = format!("{}-last", "hub:owner/name/".repeat(9));
        let middle = "learning rate 0.0316227766, batch 32, L2 0.0001, seed 3";
        let row = |name: &str| cells(&[name, "17.2 (1)", "0.000123 (2)", "1.23e-9 (3)", "0.1 (1)", "0.512 (4)"]);
        let text = columns(&"caption ".repeat(15), &header, &[row("short"), row(middle), row(&long)], WIDTH);
        assert!(text.lines().all(|line| characters(line) <= WIDTH), "{text}");
        assert!(text.contains(middle) && text.contains("-last\n") && text.contains("…"), "{text}");
        assert_eq!(text.matches("short").count(), 2, "each block has the names:\n{text}");
        let words = text.split_whitespace().collect::<Vec<_>>();
        for word in ["pairwise_geometric_collapse", "geometric_collapse", "ridge:1.0", "accuracy", "1.23e-9"] {
            assert!(words.contains(&word), "{word}:\n{text}");
        }
    }
}
