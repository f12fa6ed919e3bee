//! Tables of the recorded ends of training.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report::spread;
use crate::study::metric::Scale;

/// A run by the names of the columns.
type Run = BTreeMap<String, String>;

/// The table of a request `NAME by SWEEP, …: COLUMN=WORDS, …`: means over seeds and half of the range, for each swept value.
///
/// # Errors
/// A request of another form, a file that is missing, and sweeps or columns that it does not have.
pub(super) fn of_request(request: &str, folder: &Path) -> Result<String> {
    let parts = request.split_once(" by ").and_then(|(name, rest)| Some((name, rest.split_once(": ")?)));
    let (name, (sweeps, columns)) = parts.context("a table of runs is `NAME by SWEEP, …: COLUMN=WORDS, …`")?;
    let (sweeps, columns) = (named(sweeps), named(columns));
    let runs = read(folder, name)?;
    let words: Vec<&str> = columns.iter().map(|(column, words)| words.unwrap_or(column)).collect();
    let mut table = format!("| sweep | value | {} |\n|---|---|{}\n", words.join(" | "), "---|".repeat(words.len()));
    for (sweep, words) in sweeps {
        let groups = groups(&runs, sweep).with_context(|| format!("{name}-end-of-training.csv"))?;
        for (index, (value, runs)) in groups.iter().enumerate() {
            let cells = columns.iter().map(|(column, _)| cell(runs, column)).collect::<Result<Vec<_>>>();
            let cells = cells.with_context(|| format!("{name}-end-of-training.csv"))?;
            let words = words.map_or_else(|| sweep_words(sweep), str::to_owned);
            let first = if index == 0 { words } else { String::new() };
            table.push_str(&format!("| {first} | {} | {} |\n", value_words(*value), cells.join(" | ")));
        }
    }
    Ok(table)
}

/// The names of a list `NAME=WORDS, NAME, …`, with their words for people if there are any.
fn named(list: &str) -> Vec<(&str, Option<&str>)> {
    list.split(", ")
        .map(|name| name.split_once('=').map_or((name, None), |(name, words)| (name, Some(words))))
        .collect()
}

fn read(folder: &Path, name: &str) -> Result<Vec<Run>> {
    let path = folder.join(format!("{name}-end-of-training.csv"));
    let mut reader = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    reader.deserialize().collect::<Result<_, _>>().with_context(|| format!("cannot read {}", path.display()))
}

/// The runs of a sweep by ascending swept value.
fn groups<'a>(runs: &'a [Run], sweep: &str) -> Result<Vec<(f64, Vec<&'a Run>)>> {
    let key = sweep.replace('-', "_");
    let mut groups: Vec<(f64, Vec<&Run>)> = Vec::new();
    let of_sweep =
        |run: &&Run| run.get("sweeps").is_some_and(|sweeps| sweeps.split_whitespace().any(|own| own == sweep));
    for run in runs.iter().filter(of_sweep) {
        let value = number(run, &key)?;
        match groups.iter_mut().find(|group| group.0 == value) {
            Some(group) => group.1.push(run),
            None => groups.push((value, vec![run])),
        }
    }
    ensure!(!groups.is_empty(), "no run belongs to the sweep `{sweep}`");
    groups.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(groups)
}

/// The mean over runs and half of their range.
fn cell(runs: &[&Run], column: &str) -> Result<String> {
    let values = runs.iter().map(|run| number(run, column)).collect::<Result<Vec<_>>>()?;
    Ok(spread(&values, if column.ends_with("accuracy") { Scale::Percent } else { Scale::Linear }))
}

fn number(run: &Run, column: &str) -> Result<f64> {
    let text = run.get(column).with_context(|| format!("no column `{column}`"))?;
    text.parse().with_context(|| format!("`{column}` is no number: {text}"))
}

fn sweep_words(sweep: &str) -> String {
    match sweep {
        "l2" => "L2".to_owned(),
        "gc-penalty" => "λ".to_owned(),
        other => other.replace('-', " "),
    }
}

/// A swept value; a power of ten below 0.001 as one.
fn value_words(value: f64) -> String {
    let exponent = value.log10().round() as i32;
    let is_power = value > 0.0 && (value / 10f64.powi(exponent) - 1.0).abs() < 1e-9;
    if !is_power || exponent > -4 {
        return format!("{value}");
    }
    let raised = |digit: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit.to_digit(10).unwrap_or(0) as usize);
    format!("10⁻{}", exponent.unsigned_abs().to_string().chars().filter_map(raised).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: &str = "run,seed,sweeps,l2,gc,test_accuracy\n\
                        a,0,l2 gc-penalty,0,100,0.5\nb,1,l2,0,110,0.6\nc,0,l2,0.00001,20,0.25\nd,1,other,0.1,1,1\n";

    #[test]
    fn a_table_has_means_and_half_ranges_over_seeds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("e-end-of-training.csv"), RUNS).unwrap();
        let table = of_request("e by l2: gc=train GC, test_accuracy=accuracy", folder.path()).unwrap();
        let expected = "| sweep | value | train GC | accuracy |\n|---|---|---|---|\n\
                        | L2 | 0 | 105 ± 5 | 55.0 ± 5.0 % |\n|  | 10⁻⁵ | 20.0 | 25.0 % |\n";
        assert_eq!(table, expected);
        let named = of_request("e by l2=decay, other=the other: gc", folder.path()).unwrap_err();
        assert!(format!("{named:#}").contains("no column `other`"));
        assert!(of_request("e by l2=decay: gc", folder.path()).unwrap().contains("| decay | 0 | 105 ± 5 |"));
        for (request, reason) in [
            ("e by l2", "a table of runs is"),
            ("f by l2: gc", "cannot read"),
            ("e by batch-size: gc", "no run belongs"),
            ("e by other: gc", "no column `other`"),
            ("e by l2: nc", "no column `nc`"),
            ("e by l2: run", "`run` is no number: a"),
        ] {
            let error = format!("{:#}", of_request(request, folder.path()).unwrap_err());
            assert!(error.contains(reason), "{request}: {error}");
        }
    }

    #[test]
    fn small_powers_of_ten_are_written_as_powers() {
        assert_eq!(
            [0.0, 0.001, 1e-4, 1e-12, 2e-5, 128.0].map(value_words),
            ["0", "0.001", "10⁻⁴", "10⁻¹²", "0.00002", "128"]
        );
    }
}
