//! Standard output and standard error: JSON for programs, aligned lines for people.
//!
//! Printing never panics. A reader that closes its end of a pipe early (`… | head -1`) is no error: the rest of the output
//! is dropped and the command goes on with its work. Any other error of standard output, such as a full disk, is kept, and
//! the command ends with it ([`failure`]).

mod columns;
mod numbers;
mod table;
mod wrap;

use std::borrow::Cow;
use std::fmt::{Arguments, Display};
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use serde::Serialize;

use crate::invocation::{Invocation, Record};
pub(crate) use columns::columns;
pub(crate) use numbers::{interval, measured};
pub(crate) use table::{Row, table};
use wrap::wrapped;
pub(crate) use wrap::{WIDTH, lines as wrapped_lines};

/// Version of the JSON's layout, which `docs/src/output.schema.json` describes.
pub(crate) const FORMAT: u32 = 1;

/// The first error of standard output, other than a closed pipe.
static FAILURE: Mutex<Option<String>> = Mutex::new(None);

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
        let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| format!("cannot write to standard output: {error}"));
    }
}

/// Text with every control character as an escape, line feeds too: a name with a line feed stays on its line.
fn on_one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Prints a line to standard error, with control characters escaped; [`note!`] calls it.
pub(crate) fn note_line(text: impl Display) {
    write_error(on_one_line(&text.to_string()));
}

/// Prints lines to standard error; [`note_error!`] calls it. Control characters are escaped, and line feeds where they are
/// those of a command-line argument, such as a file's name.
pub(crate) fn note_lines(text: impl Display) {
    let arguments: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    write_error(printable(&with_names_on_one_line(&text.to_string(), &arguments)).into_owned());
}

/// The text, with the line feeds of these names escaped.
fn with_names_on_one_line(text: &str, names: &[String]) -> String {
    let broken = names.iter().filter(|name| name.trim_matches('\n').contains('\n'));
    broken.fold(text.to_owned(), |text, name| text.replace(name.as_str(), &name.replace('\n', "\\n")))
}

/// Writes to standard error. An error of that has no other place to be reported and is ignored.
fn write_error(text: String) {
    let mut errors = std::io::stderr().lock();
    // A terminal would break lines within words; other programs search in whole lines.
    let text = if errors.is_terminal() { wrapped(&text, WIDTH, "  ") } else { text };
    let _ = writeln!(errors, "{text}");
}

/// The first error of standard output in this command, other than a closed pipe.
pub(crate) fn failure() -> Option<String> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Forgets the error of an earlier command of this process.
pub(crate) fn forget_failure() {
    *FAILURE.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Prints one JSON document, with the record of its command.
///
/// # Errors
/// A document that is not JSON.
pub(crate) fn json(document: &impl Serialize, invocation: &Invocation<'_>) -> Result<()> {
    #[derive(Serialize)]
    struct Recorded<'a, D> {
        #[serde(flatten)]
        document: &'a D,
        record: Record,
    }
    let recorded = Recorded { document, record: invocation.record() };
    // JSON has escapes of its own.
    print(&format!("{}\n", serde_json::to_string_pretty(&recorded)?));
    Ok(())
}

/// The name of a value in JSON, with spaces for underscores.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{on_one_line, printable, with_names_on_one_line};

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
}
