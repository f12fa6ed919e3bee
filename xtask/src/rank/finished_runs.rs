//! The runs of a finished `reproduce`, with their measurements at the end of training.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use super::rank_table::{RankTable, Score};
use crate::study::metric::{Metric, measures};
use crate::suggest;
use crate::usage::usage;

/// Scores that need no few-shot episodes, in the order of the table.
const SCORES: [Metric; 5] = [
    measures::GC,
    measures::GEOMETRIC_COLLAPSE,
    measures::PAIRWISE_GEOMETRIC_COLLAPSE,
    measures::NC,
    measures::TARGET_NC,
];

/// The scores of the table: those of [`SCORES`], and the measures that the experiment asks for beyond the standard ones.
fn scores() -> impl Iterator<Item = &'static str> {
    let asked = Metric::all().into_iter().filter(|metric| !metric.is_standard());
    SCORES.into_iter().chain(asked).map(Metric::key)
}

/// A row of the recorded measurements.
struct Row<'a> {
    cells: csv::StringRecord,
    header: &'a csv::StringRecord,
}

impl Row<'_> {
    fn cell(&self, name: &str) -> &str {
        let at = self.header.iter().position(|column| column == name);
        at.and_then(|at| self.cells.get(at)).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.cell(name).parse().ok()
    }

    /// Whether one of two columns has this value. Earlier versions had other names.
    fn either(&self, name: &str, earlier: &str, value: &str) -> bool {
        self.cell(name) == value || self.cell(earlier) == value
    }

    /// Whether the row is of a run that no rule excludes.
    fn is_counted(&self) -> bool {
        self.either("status", "standing", "counted")
    }

    /// Whether the row is the end of training of a run that no rule excludes.
    fn counts(&self) -> bool {
        self.is_counted() && self.either("measuring_point", "moment", "schedule") && self.cell("at") == "1"
    }
}

/// How many runs have measurements and are excluded.
fn excluded_runs(rows: &[Row<'_>]) -> usize {
    let excluded = rows.iter().filter(|row| !row.is_counted()).map(|row| row.cell("run"));
    excluded.collect::<std::collections::BTreeSet<&str>>().len()
}

/// Reads the measurements of the runs under `folder`.
///
/// # Errors
/// A folder without a report, an unknown metric, fewer than three counted runs.
pub(super) fn read(folder: &Path, against: &str) -> Result<RankTable> {
    let path = folder.join("measurements.csv");
    let advice = || format!("cannot read {}: is it the results folder of a finished `reproduce`?", path.display());
    let mut reader = csv::Reader::from_path(&path).with_context(advice)?;
    let header = reader.headers().with_context(advice)?.clone();
    if !header.iter().any(|column| column == against) {
        let metrics =
            header.iter().filter(|column| header.iter().any(|other| other == format!("{column}_standard_error")));
        let unknown = suggest::unknown("metric", against, metrics);
        return Err(usage(anyhow!("--against {against}: {unknown} ({})", path.display())));
    }
    let rows = reader.records().map(|cells| Ok(Row { cells: cells?, header: &header }));
    let rows: Vec<Row<'_>> = rows.collect::<Result<_>>().with_context(advice)?;
    let counted = rows.iter().filter(|row| row.counts()).count();
    let excluded_runs = excluded_runs(&rows);
    let rows: Vec<&Row<'_>> = rows.iter().filter(|row| row.counts() && row.number(against).is_some()).collect();
    if counted == 0 {
        bail!("{}: all runs are excluded by the rules, so 0 counted runs have `{against}`", path.display());
    }
    if rows.len() < 3 {
        bail!("{}: {} counted runs have `{against}`; ranking needs at least 3", path.display(), rows.len());
    }
    let column = |name: &str| -> Option<Score> {
        let values: Option<Vec<f64>> = rows.iter().map(|row| row.number(name)).collect();
        let errors = rows.iter().map(|row| row.number(&format!("{name}_standard_error"))).collect();
        Some(Score { name: name.to_owned(), values: values?, standard_errors: Some(errors) })
    };
    Ok(RankTable {
        on: folder.display().to_string(),
        names: names(&rows),
        excluded_runs,
        groups: rows.iter().map(|row| row.cell("seed").parse().ok()).collect(),
        scores: scores().filter(|name| *name != against).filter_map(column).collect(),
        accuracy: column(against),
    })
}

/// The settings of each run; where they are those of another run too, with its folder.
fn names(rows: &[&Row<'_>]) -> Vec<String> {
    let names: Vec<String> = rows.iter().map(|row| name(row)).collect();
    let is_alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let with_folder = |(row, name): (&&Row<'_>, &String)| match is_alone(name) {
        true => name.clone(),
        false => format!("{name}, run {}", row.cell("run")),
    };
    rows.iter().zip(&names).map(with_folder).collect()
}

fn name(row: &Row<'_>) -> String {
    let [rate, batch, l2, seed] = ["learning_rate", "batch_size", "l2", "seed"].map(|name| row.cell(name));
    // Earlier versions have no such column.
    let penalty = match row.cell("gc_penalty") {
        "" | "0" => String::new(),
        penalty => format!(", λ {penalty}"),
    };
    format!("lr {rate}, batch {batch}, L2 {l2}{penalty}, seed {seed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "run,seed,learning_rate,batch_size,l2,status,measuring_point,at,gc,gc_standard_error,acc,acc_standard_error\n";

    fn folder(rows: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let text = HEADER.to_owned() + &rows.join("\n");
        std::fs::write(folder.path().join("measurements.csv"), text).unwrap();
        folder
    }

    #[test]
    fn runs_that_count_are_taken_at_the_end_of_training() {
        let rows = [
            "a,0,0.1,32,0,counted,schedule,0.5,9,1,0.1,0.01",
            "a,0,0.1,32,0,counted,schedule,1,3,1,0.5,0.01",
            "b,0,0.2,32,0,counted,schedule,1,2,1,0.6,0.01",
            "c,1,0.1,32,0,counted,schedule,1,4,1,0.4,0.01",
            "d,1,0.2,32,0,diverged,schedule,0.5,5,1,0.9,0.01",
            "d,1,0.2,32,0,diverged,schedule,1,5,1,0.9,0.01",
        ];
        let rank_table = read(folder(&rows).path(), "acc").unwrap();
        assert_eq!(rank_table.excluded_runs, 1);
        let words: Vec<String> = rank_table.text().split_whitespace().map(str::to_owned).collect();
        assert!(words.join(" ").contains("without 1 run that is excluded by the rules"), "{words:?}");
        assert_eq!(rank_table.scores[0].values, [3.0, 2.0, 4.0]);
        assert_eq!(rank_table.groups.as_deref(), Some(&[0, 0, 1][..]));
        assert_eq!(rank_table.predictions()[0].correlation.as_ref().unwrap().coefficient, -1.0);
    }

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let header = HEADER.replace("l2,", "l2,gc_penalty,");
        let run = |name: &str, penalty: &str| format!("{name},0,0.1,32,0,{penalty},counted,schedule,1,3,1,0.5,0.01\n");
        let text = header + &run("a", "0") + &run("b", "0.001") + &run("c", "0.01") + &run("d", "0.01");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("measurements.csv"), text).unwrap();
        let base = "lr 0.1, batch 32, L2 0";
        let expected = ["seed 0", "λ 0.001, seed 0", "λ 0.01, seed 0, run c", "λ 0.01, seed 0, run d"];
        let expected: Vec<String> = expected.map(|end| format!("{base}, {end}")).into();
        assert_eq!(read(folder.path(), "acc").unwrap().names, expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let few = folder(&["a,0,0.1,32,0,counted,schedule,1,3,1,0.5,0.01"]);
        assert!(read(few.path(), "acc").err().unwrap().to_string().contains("at least 3"));
        let unknown = read(few.path(), "ridge").err().unwrap().to_string();
        assert!(unknown.contains("unknown metric `ridge`") && unknown.contains("known: gc, acc"), "{unknown}");
        assert!(format!("{:#}", read(Path::new("nowhere"), "acc").err().unwrap()).contains("nowhere"));
    }
}
