//! Words as a POSIX shell reads them.

use std::ffi::OsStr;

use anyhow::{Result, anyhow};

/// Text as one word of a shell, in quotes if it needs them.
pub(crate) fn word(text: &str) -> String {
    let plain = |sign: char| sign.is_alphanumeric() || "-_./:=,@%+^".contains(sign);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

/// Text as one word of a shell, in quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A word of a list that has one command a line.
///
/// # Errors
/// Text with a line feed, and text that is not Unicode.
pub(crate) fn line_word(text: &OsStr) -> Result<String> {
    let readable = text.to_str().filter(|text| !text.contains('\n'));
    let text = readable.ok_or_else(|| anyhow!("{}: expected a path in Unicode without line feeds", text.display()))?;
    Ok(word(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_every_word_as_it_was() {
        for text in ["plain-1.0/a:b=c", "it's a b", "", "$(x) `y` \"z\" \\ *", "a\nb", "ü"] {
            let output = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", word(text))]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
        assert_eq!((word("a/b-1.npz"), word("a b")), ("a/b-1.npz".to_owned(), "'a b'".to_owned()));
        assert!(line_word(OsStr::new("a\nb")).is_err());
    }
}
