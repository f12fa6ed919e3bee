//! Formulas in markdown: `$…$` in a line and `$$…$$` on lines of its own. Code is left as it is.

use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, push_mathml};

/// The text with MathML in place of every formula.
pub(crate) fn with_mathml(text: &str) -> Result<String, String> {
    let (mut out, mut rest, mut in_fence) = (String::with_capacity(text.len()), text, false);
    while let Some(at) = rest.find(['`', '$', '~', '\\']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let starts_line = out.rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
        if starts_line && (from.starts_with("```") || from.starts_with("~~~")) {
            in_fence = !in_fence;
            rest = moved(&mut out, from, 3);
        } else if in_fence || from.starts_with('~') {
            rest = moved(&mut out, from, 1);
        } else if from.starts_with('\\') {
            let escaped = from.chars().nth(1).map_or(0, char::len_utf8);
            rest = moved(&mut out, from, 1 + escaped);
        } else if from.starts_with('`') {
            let ticks = from.bytes().take_while(|byte| *byte == b'`').count();
            let end = from[ticks..].find(&from[..ticks]).map_or(ticks, |end| end + 2 * ticks);
            rest = moved(&mut out, from, end);
        } else {
            let (mark, display) = if from.starts_with("$$") { ("$$", true) } else { ("$", false) };
            let (tex, after) = from[mark.len()..]
                .split_once(mark)
                .ok_or_else(|| format!("a `{mark}` without its second one: {}", beginning(from)))?;
            out.push_str(&mathml(tex.trim(), display)?);
            rest = after;
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Copies some bytes of the text, and returns what is left of it.
fn moved<'a>(out: &mut String, text: &'a str, bytes: usize) -> &'a str {
    let (copied, rest) = text.split_at(bytes);
    out.push_str(copied);
    rest
}

fn beginning(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A formula as MathML on one line, with the characters that markdown would read as its own escaped.
fn mathml(tex: &str, display: bool) -> Result<String, String> {
    let storage = Storage::new();
    if let Some(error) = Parser::new(tex, &storage).find_map(Result::err) {
        return Err(format!("`{tex}` is not TeX: {error}"));
    }
    let mode = if display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode: mode, ..RenderConfig::default() };
    let storage = Storage::new();
    let mut written = String::new();
    push_mathml(&mut written, Parser::new(tex, &storage), config).map_err(|error| format!("`{tex}`: {error}"))?;
    let one_line: String = written.lines().map(str::trim).collect();
    let escapes = [("*", "&#42;"), ("_", "&#95;"), ("|", "&#124;"), ("[", "&#91;"), ("]", "&#93;"), ("\\", "&#92;")];
    Ok(escapes.iter().fold(one_line, |text, (from, to)| text.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_becomes_mathml_and_text_stays() {
        let text = with_mathml("GC is $\\frac{1}{n}$, of n samples.").unwrap();
        assert!(text.starts_with("GC is <math") && text.ends_with("</math>, of n samples."), "{text}");
        assert!(text.contains("<mfrac>") && !text.contains('\n'));
        assert!(with_mathml("$$ x $$").unwrap().contains("display=\"block\""));
    }

    #[test]
    fn markdown_finds_nothing_of_its_own_in_a_formula() {
        let text = with_mathml("$a * b \\lVert c \\rVert [d]$").unwrap();
        assert!(!text.contains(['*', '_', '|', '[']), "{text}");
    }

    #[test]
    fn code_and_escaped_dollars_stay() {
        for text in ["`echo $HOME`", "```sh\necho $HOME $PATH\n```\n", "~~~\n$x$\n~~~\n", "\\$5", "``a ` $ b``"] {
            assert_eq!(with_mathml(text).unwrap(), text);
        }
        assert!(with_mathml("```\n$\n```\n$x$").unwrap().ends_with("</math>"));
    }

    #[test]
    fn a_wrong_formula_is_an_error_that_shows_it() {
        assert!(with_mathml("$\\frac{1$").unwrap_err().contains("`\\frac{1` is not TeX"));
        assert!(with_mathml("cost: $5\nnext").unwrap_err().contains("without its second one: $5"));
    }
}
