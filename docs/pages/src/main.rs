//! The preprocessor of the book, which `mdbook build docs` runs: TeX between dollar signs becomes MathML.
//!
//! `mdbook` calls it with `supports RENDERER`, and then with the context and the book as JSON on standard input. The book is
//! written to standard output. A formula that is not TeX is an error with its chapter.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "mdbook reads the book from standard output")]

mod markdown;

use std::io::Read;
use std::process::ExitCode;

use serde_json::Value;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("supports") {
        return ExitCode::SUCCESS;
    }
    match preprocessed() {
        Ok(book) => {
            println!("{book}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("formulas of the book: {error}");
            ExitCode::FAILURE
        }
    }
}

fn preprocessed() -> Result<Value, String> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(|error| format!("cannot read standard input: {error}"))?;
    let input: Value = serde_json::from_str(&input).map_err(|error| format!("standard input is no JSON: {error}"))?;
    let Value::Array(parts) = input else { return Err("expected an array of the context and the book".into()) };
    let mut book = parts.into_iter().nth(1).ok_or("expected an array of the context and the book")?;
    typeset(&mut book)?;
    Ok(book)
}

/// Replaces the formulas of every chapter, an object with `name` and `content`, at any depth.
fn typeset(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(typeset),
        Value::Object(fields) => {
            let name = fields.get("name").and_then(Value::as_str).map(str::to_owned);
            if let (Some(name), Some(Value::String(content))) = (name, fields.get_mut("content")) {
                *content = markdown::with_mathml(content).map_err(|error| format!("chapter “{name}”: {error}"))?;
            }
            fields.values_mut().try_for_each(typeset)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chapters_at_any_depth_are_typeset_and_a_wrong_formula_names_its_chapter() {
        let mut book = serde_json::json!({ "sections": [{ "Chapter": { "name": "One", "content": "no formula",
            "sub_items": [{ "Chapter": { "name": "Two", "content": "$x$" } }] } }] });
        typeset(&mut book).unwrap();
        let two = book["sections"][0]["Chapter"]["sub_items"][0]["Chapter"]["content"].as_str().unwrap();
        assert!(two.starts_with("<math") && two.contains("<mi>x</mi>"), "{two}");
        let mut wrong = serde_json::json!({ "name": "Three", "content": "$\\frac{1$" });
        assert!(typeset(&mut wrong).unwrap_err().starts_with("chapter “Three”: "));
    }
}
