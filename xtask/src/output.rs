//! Standard output and standard error: JSON for programs, aligned lines for people.
//!
//! Printing never panics. A reader that closes its end of a pipe early (`… | head -1`) is no error: the rest of the output
//! is dropped and the command goes on with its work. Any other error of standard output, such as a full disk, is kept, and
//! the command ends with it ([`failure`]).

use std::borrow::Cow;
use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

use anyhow::Result;
use serde::Serialize;

/// Version of the JSON's layout, which `docs/src/output.schema.json` describes.
pub(crate) const FORMAT: u32 = 1;

/// The first error of standard output, other than a closed pipe.
static FAILURE: OnceLock<String> = OnceLock::new();

/// Prints a line to standard output, with the syntax of `println!`, and never panics.
macro_rules! say {
    () => { $crate::output::line(format_args!("")) };
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints one line to standard error, with the syntax of `eprintln!`, and never panics.
macro_rules! note {
    ($($text:tt)*) => { $crate::output::note_line(format_args!($($text)*)) };
}

/// Prints an error, which may have several lines, to standard error, and never panics.
macro_rules! note_error {
    ($($text:tt)*) => { $crate::output::note_lines(format_args!($($text)*)) };
}

pub(crate) use {note, note_error, say};

/// Text with every control character but line feed and tab as an escape such as `\u{1b}`.
///
/// Names of files and arguments may hold the codes by which a terminal is cleared, coloured or made to answer.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !text.chars().any(harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if harmful(character) { escaped.extend(character.escape_unicode()) } else { escaped.push(character) }
    }
    Cow::Owned(escaped)
}

/// Prints a line to standard output, with control characters escaped; [`say!`] calls it.
pub(crate) fn line(text: Arguments<'_>) {
    print(&printable(&format!("{text}\n")));
}

/// Prints text to standard output as it is.
pub(crate) fn print(text: &str) {
    let mut output = std::io::stdout().lock();
    if let Err(error) = output.write_all(text.as_bytes()).and_then(|()| output.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        FAILURE.get_or_init(|| format!("cannot write to standard output: {error}"));
    }
}

/// Text with every control character as an escape, line feeds too: a name with a line feed stays on its line.
fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Prints a line to standard error, with control characters escaped; [`note!`] calls it. An error has no other place to be
/// reported and is ignored.
pub(crate) fn note_line(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", on_one_line(&text.to_string()));
}

/// Prints lines to standard error; [`note_error!`] calls it. Control characters are escaped, and line feeds where they are
/// those of a command-line argument, such as a file's name.
pub(crate) fn note_lines(text: impl Display) {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let text = with_names_on_one_line(&text.to_string(), &arguments);
    let _ = writeln!(std::io::stderr().lock(), "{}", printable(&text));
}

/// The text, with the line feeds of these names escaped.
fn with_names_on_one_line(text: &str, names: &[String]) -> String {
    let broken = names.iter().filter(|name| name.trim_matches('\n').contains('\n'));
    broken.fold(text.to_owned(), |text, name| text.replace(name.as_str(), &name.replace('\n', "\\n")))
}

/// The first error of standard output so far, other than a closed pipe.
pub(crate) fn failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}

/// One line for people.
pub(crate) struct Row {
    name: String,
    value: String,
    meaning: &'static str,
}

impl Row {
    /// A number, with its standard error where it has one.
    pub(crate) fn measured(name: &str, value: f64, error: Option<f64>, meaning: &'static str) -> Self {
        let error = error.map_or_else(String::new, |error| format!(" ± {error:.2e}"));
        Self { name: name.to_owned(), value: format!("{}{error}", number(value)), meaning }
    }

    /// A value in words.
    pub(crate) fn text(name: &str, value: String) -> Self {
        Self { name: name.to_owned(), value, meaning: "" }
    }
}

/// A number with six digits, in the shorter of the two notations.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) {
        let decimals = (5 - size.max(1.0).log10().floor() as i64).clamp(0, 6) as usize;
        format!("{value:.decimals$}")
    } else {
        format!("{value:.5e}")
    }
}

/// Prints a title and lines below it, with names and values aligned.
pub(crate) fn table(title: &str, rows: &[Row]) {
    let width = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let name = width(|row| &row.name);
    let value = width(|row| if row.meaning.is_empty() { "" } else { &row.value });
    say!("{}", title.replace('\n', "\\n"));
    for row in rows {
        let line = format!("  {:<name$}  {:<value$}  {}", row.name, row.value, row.meaning);
        say!("{}", line.trim_end());
    }
}

/// Prints one JSON document.
///
/// # Errors
/// A document that is not JSON.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    // JSON has escapes of its own.
    print(&format!("{}\n", serde_json::to_string_pretty(document)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{number, on_one_line, printable, with_names_on_one_line};

    #[test]
    fn names_with_line_feeds_stay_on_one_line() {
        assert_eq!(on_one_line("note: a\nb\u{1b}: 3 files"), "note: a\\nb\\u{1b}: 3 files");
        let names = ["measure".to_owned(), "\n".to_owned(), "a\nb.npz".to_owned()];
        let text = with_names_on_one_line("cannot read a\nb.npz: unknown\n  known: x", &names);
        assert_eq!(text, "cannot read a\\nb.npz: unknown\n  known: x");
    }

    #[test]
    fn control_characters_are_escaped_and_lines_stay() {
        assert_eq!(printable("a\u{1b}[31mb\r\u{9b}c\n\td é"), "a\\u{1b}[31mb\\u{d}\\u{9b}c\n\td é");
        assert!(matches!(printable("photos/ü.png"), std::borrow::Cow::Borrowed(_)));
    }

    #[test]
    fn numbers_have_six_digits() {
        let read: Vec<String> = [0.0, 1.5, 123.456_789, 0.012_345_678, 1.0e-7, 2.5e9].map(number).to_vec();
        assert_eq!(read, ["0.00000", "1.50000", "123.457", "0.01235", "1.00000e-7", "2.50000e9"]);
    }
}
