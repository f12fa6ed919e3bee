//! Results of an earlier version of the program: its finished runs are reported and not done again, and its interrupted
//! run is continued. `old_results/README.md` describes the files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use program::{text, xtask};
use tiny::{copy, read, reproduce};

/// The rows of a run in a CSV file, by the names of the columns.
fn rows(csv: &str, run: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let all = reader.deserialize::<BTreeMap<String, String>>().map(|row| row.unwrap());
    all.filter(|row| row["run"] == run).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_results").join(name)
}

#[test]
fn finished_runs_are_reported_as_unsigned_and_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    copy(&fixture("finished"), &root.join("out"));
    let before = read(root.join("out/measurements.csv"));
    let plan = text(&xtask(root, &reproduce("out", &["--dry-run"])), 0);
    assert_eq!(plan.matches("finished, unsigned").count(), 2, "{plan}");

    let printed = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(printed.contains("5 runs, 2 of them finished before"), "{printed}");
    assert!(
        printed.contains("2 of the finished runs are unsigned: an earlier version wrote their results"),
        "{printed}"
    );
    let page = read(root.join("out/report.html"));
    assert!(page.contains("2 of 5 finished runs are unsigned"));
    assert_eq!(page.matches("(unsigned)").count(), 2);
    let after = read(root.join("out/measurements.csv"));
    for run in ["621823b1b48e", "a656c52d051c"] {
        let path = Path::new("runs").join(run).join("metrics.jsonl");
        assert_eq!(read(root.join("out").join(&path)), read(fixture("finished").join(&path)));
        let (before, after) = (rows(&before, run), rows(&after, run));
        assert!(!before.is_empty());
        assert_eq!(before.len(), after.len(), "{run}");
        for (before, after) in before.iter().zip(&after) {
            // Later versions have more columns, and the initial network has its own name.
            let point = if before["step"] == "0" { "initial-network" } else { &before["moment"] };
            assert_eq!((&before["standing"], point), (&after["status"], after["measuring_point"].as_str()), "{run}");
            let kept = before.iter().filter(|(name, _)| !["standing", "moment", "sweeps"].contains(&name.as_str()));
            kept.for_each(|(name, value)| assert_eq!(after[name], *value, "{run}, {name}"));
            assert!(after["sweeps"].starts_with(before["sweeps"].as_str()), "{run}");
            let (new, old) = ("evaluation_loss", "gc");
            assert!(after[new].is_empty() && !after[old].is_empty(), "{run}");
        }
    }
    let header = |csv: &str| csv.lines().next().unwrap().to_owned();
    let renamed = header(&before).replace(",standing,moment,", ",status,measuring_point,");
    assert!(header(&after).starts_with(&renamed), "{}", header(&after));
}

#[test]
fn an_unsigned_folder_of_another_seed_is_recognised_by_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    copy(&fixture("finished"), &root.join("out"));
    let path = root.join("out/runs/a656c52d051c/run.toml");
    fs::write(&path, read(&path).replace("seed = 0", "seed = 1")).unwrap();
    let printed = text(&xtask(root, &reproduce("out", &[])), 0);
    assert!(printed.contains("5 runs, 1 of them finished before"), "{printed}");
    assert!(printed.contains("belongs to another run: `seed` is 1, expected 0"), "{printed}");
}

#[test]
fn earlier_columns_can_be_ranked() {
    let document = xtask(&fixture("."), &["rank", "--runs", "finished", "--json"]);
    // All runs of the sample are under-trained by the rule, so none counts; the columns themselves are found.
    let message = text(&document, 1);
    assert!(message.contains("counted runs have `ridge_accuracy`"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let csv = read(fixture("finished/measurements.csv")).replace(",under-trained,", ",counted,");
    fs::write(folder.path().join("measurements.csv"), csv).unwrap();
    let ranked = text(&xtask(folder.path(), &["rank", "--runs", "."]), 0);
    assert!(ranked.contains("lr 0.1, batch 16, L2 0, seed 0"), "{ranked}");
}

#[test]
fn an_interrupted_run_continues_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    copy(&fixture("interrupted"), &run);
    let printed = text(&xtask(folder.path(), &["run", "run"]), 0);
    // The checkpoint is of a processor with AVX-512. Another one has other bits and starts anew.
    let elsewhere = printed.contains("the device of this checkpoint is \"cpu with avx-512\", and here it is");
    assert!(printed.contains("done, training loss") && printed.contains("is ignored") == elsewhere, "{printed}");
    let done: serde_json::Value = serde_json::from_str(&read(run.join("done"))).unwrap();
    let loss = done["final_loss"].as_f64().unwrap();
    // Sums round differently on other processors.
    assert!((loss - 1.672_156_6).abs() < 1e-3, "{loss}");
    assert!(!run.join("checkpoints").exists());
}
