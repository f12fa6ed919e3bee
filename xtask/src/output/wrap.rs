//! Text in lines of limited width, broken between words.

/// Columns of a terminal that every line fits into, unless a single word is longer.
pub(crate) const WIDTH: usize = 80;

/// Text with every line broken into lines of at most `width` characters; all but the first of them begin with `indent`.
pub(super) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    text.split('\n').map(|line| lines(line, width, indent).join("\n")).collect::<Vec<_>>().join("\n")
}

/// One line as lines of at most `width` characters; all but the first of them begin with `indent`. Words are never broken. The
/// spaces at the beginning of the line stay.
pub(crate) fn lines(line: &str, width: usize, indent: &str) -> Vec<String> {
    let start = &line[..line.len() - line.trim_start().len()];
    let mut lines = vec![start.to_owned()];
    let mut is_empty = true;
    for word in line.split_whitespace() {
        let current = lines.last().map_or(0, |line| line.chars().count());
        if !is_empty && current + 1 + word.chars().count() > width {
            lines.push(indent.to_owned());
            is_empty = true;
        }
        if let Some(line) = lines.last_mut() {
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
        }
        is_empty = false;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        assert_eq!(wrapped("one two three\n  four five", 9, "> "), "one two\n> three\n  four\n> five");
        assert_eq!(wrapped("a/very/long/path is kept", 6, ""), "a/very/long/path\nis\nkept");
        assert_eq!(wrapped("", 5, "  "), "");
        assert_eq!(lines("ü ü ü", 5, "").len(), 1, "characters are counted, not bytes");
    }
}
