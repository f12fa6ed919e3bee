//! Class names from a data set's card: the part of `README.md` that the `datasets` library of Python writes.
//!
//! That part is YAML of one fixed form with one key per line, so it is parsed by lines and indentation. A text of another
//! form gives no names, and the classes are then named by their numbers.

/// The indentation of a line and its text.
type Line<'a> = (usize, &'a str);

/// The class names of a column, in the order of the labels. Without a column: those of the only column that has names.
pub(crate) fn class_names(card: &str, configuration: &str, column: Option<&str>) -> Option<Vec<String>> {
    let lines: Vec<Line<'_>> = front_matter(card)?;
    let several = lines.iter().any(|(_, text)| text.starts_with("- config_name:"));
    let mut current = None;
    let mut found = Vec::new();
    for (at, (indent, text)) in lines.iter().enumerate() {
        if let Some(name) = text.strip_prefix("- config_name:") {
            current = Some(unquoted(name.trim()));
        }
        let Some(name) = text.strip_prefix("- name:") else { continue };
        let wanted = column.is_none_or(|column| unquoted(name.trim()) == column)
            && (!several || current.as_deref() == Some(configuration));
        if let Some(names) = wanted.then(|| names_below(&lines[at + 1..], *indent)).flatten() {
            found.push(names);
        }
    }
    // Several different lists are ambiguous.
    found.dedup();
    if found.len() == 1 { found.pop() } else { None }
}

fn front_matter(card: &str) -> Option<Vec<Line<'_>>> {
    let mut lines = card.lines();
    (lines.next()?.trim_end() == "---").then_some(())?;
    let inside = lines.take_while(|line| line.trim_end() != "---");
    Some(inside.map(|line| (line.len() - line.trim_start().len(), line.trim())).collect())
}

/// The list under `names:` of a feature whose lines are indented by more than `indent`.
fn names_below(lines: &[Line<'_>], indent: usize) -> Option<Vec<String>> {
    let own = |(depth, _): &&Line<'_>| *depth > indent;
    let block: Vec<&Line<'_>> = lines.iter().take_while(own).collect();
    let start = block.iter().position(|(_, text)| *text == "names:")?;
    let depth = block[start].0;
    let mut names: Vec<String> = Vec::new();
    for (inside, text) in block[start + 1..].iter().take_while(|(inside, _)| *inside > depth) {
        match text.split_once(':').map(|(number, name)| (unquoted(number).parse::<usize>(), name)) {
            Some((Ok(number), name)) if number == names.len() => names.push(name.trim().to_owned()),
            // A long name continues in the next line.
            _ if *inside > depth + 2 && !names.is_empty() => {
                let last = names.len() - 1;
                names[last] = format!("{} {text}", names[last]);
            }
            _ => return None,
        }
    }
    let names: Vec<String> = names.iter().map(|name| unquoted(name)).collect();
    (!names.is_empty()).then_some(names)
}

/// A YAML scalar without its quotes.
fn unquoted(text: &str) -> String {
    if let Some(inner) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    match text.starts_with('"') {
        // YAML has the escapes of JSON.
        true => serde_json::from_str(text).unwrap_or_else(|_| text.trim_matches('"').to_owned()),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "---\nlicense: mit\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    \
        dtype:\n      class_label:\n        names:\n          '0': T - shirt / top\n          '1': 'it''s: a coat'\n          \
        '2': a very long name\n            that continues\n  config_name: plain\n---\n# Title\n  names:\n    '0': no\n";

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let expected = ["T - shirt / top", "it's: a coat", "a very long name that continues"];
        assert_eq!(class_names(CARD, "plain", None).unwrap(), expected);
        assert_eq!(class_names(CARD, "plain", Some("label")).unwrap(), expected);
        assert_eq!(class_names(CARD, "plain", Some("image")), None);
    }

    #[test]
    fn configurations_are_distinguished() {
        let item = |configuration: &str, name: &str| {
            format!(
                "- config_name: {configuration}\n  features:\n  - name: label\n    dtype:\n      class_label:\n        \
                 names:\n          '0': {name}\n"
            )
        };
        let card = format!("---\ndataset_info:\n{}{}---\n", item("a", "cat"), item("b", "dog"));
        assert_eq!(class_names(&card, "b", None).unwrap(), ["dog"]);
        assert_eq!(class_names(&card, "c", None), None);
    }

    #[test]
    fn a_text_of_another_form_gives_no_names() {
        for card in
            ["", "---", "# Title", "---\nfeatures\n---", &CARD.replace("'1'", "'7'"), &CARD.replace("names:", "x")]
        {
            assert_eq!(class_names(card, "plain", None), None, "{card}");
        }
    }
}
