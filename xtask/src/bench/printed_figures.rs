//! Figures that a process prints, one line `figure {…}` for each piece of work.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::recorded::{Figure, median};

/// One printed figure.
#[derive(Deserialize)]
struct Printed {
    work: String,
    side: String,
    #[serde(default = "seconds")]
    unit: String,
    values: Vec<f64>,
    elements: Option<f64>,
}

fn seconds() -> String {
    "s".to_owned()
}

/// Runs a command, prints its output, and reads the figures in it.
pub(super) fn figures_of(command: &mut Command, name: &str) -> Result<Vec<Figure>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    crate::output::print(&text);
    if !output.status.success() {
        bail!("{name} failed ({}): its output is above", output.status);
    }
    read_figures(&text).with_context(|| format!("{name} printed a figure that cannot be read"))
}

fn read_figures(text: &str) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("figure ")) {
        let Printed { work, side, unit, values, elements } =
            serde_json::from_str(line).with_context(|| format!("`{line}`"))?;
        if values.is_empty() || !values.iter().all(|value| value.is_finite() && *value >= 0.0) {
            bail!("`{line}` holds no values, or values that are no cost");
        }
        figures.push(Figure { work, side, unit, rounds: vec![median(&values)], elements, least: None });
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_figures_are_read_and_other_lines_are_not() {
        let text = "warming up\nfigure {\"work\": \"a/b\", \"side\": \"NumPy\", \"values\": [3.0, 1.0, 2.0]}\n\
                    figure {\"work\": \"a/b\", \"side\": \"NumPy\", \"unit\": \"MiB\", \"values\": [5], \"elements\": 7}\n";
        let figures = read_figures(text).unwrap();
        assert_eq!((figures.len(), figures[0].rounds[0], figures[0].unit.as_str()), (2, 2.0, "s"));
        assert_eq!((figures[1].unit.as_str(), figures[1].elements), ("MiB", Some(7.0)));
        assert!(read_figures("figure {\"work\": 1}").is_err());
        assert!(read_figures("figure {\"work\": \"a\", \"side\": \"b\", \"values\": []}").is_err());
    }

    #[test]
    fn a_failing_peer_is_an_error() {
        let failed = figures_of(Command::new("sh").args(["-c", "exit 3"]), "the peer").unwrap_err();
        assert!(failed.to_string().contains("the peer failed"), "{failed}");
    }
}
