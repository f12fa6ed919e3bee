//! Experiments beyond plain SGD: optimisers, schedules, augmentation, sweeps of several keys and of names, and contrasts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod tiny;

use std::path::Path;

use program::{text, xtask};
use tiny::{files, read};

/// Settings of `recipes`: five runs a seed, each of which takes a fraction of a second.
const TINY: [&str; 10] = [
    "data.classes=4",
    "data.train_images_per_class=12",
    "data.test_images_per_class=4",
    "model.width=0.1",
    "train.epochs=2",
    "train.batch_size=8",
    "measure.schedule=[0, 1]",
    "measure.feature_images_per_class=4",
    "measure.gc_images_per_class=2",
    "rules.under_trained_above=1",
];

fn recipes<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["reproduce", "recipes", "--out", out];
    for setting in TINY {
        args.extend(["--set", setting]);
    }
    args.extend(more);
    args
}

fn refused(root: &Path, args: &[&str], code: i32) -> String {
    text(&xtask(root, args), code)
}

#[test]
fn recipes_are_run_and_compared_by_contrasts() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let printed = text(&xtask(root, &recipes("one", &["--seed", "0,1", "--jobs", "1", "--threads", "1"])), 0);
    assert!(printed.contains("10 runs, 0 of them finished before"), "{printed}");
    assert!(printed.contains("Sweep of the recipe") && printed.contains("SGD, constant"), "{printed}");
    let claims = read(root.join("one/claims.csv"));
    let contrasts = claims.lines().filter(|line| line.contains(",contrast,"));
    assert_eq!(contrasts.count(), 12, "{claims}");
    assert!(claims.contains("crop and flip instead of none → higher train NC,contrast,augmentation"), "{claims}");
    let csv = read(root.join("one/measurements.csv"));
    assert!(csv.lines().next().unwrap().ends_with(",levels"), "{csv}");
    assert!(csv.contains("architecture ViT") && csv.contains("\"recipe SGD, constant\""), "{csv}");
    let page = read(root.join("one/report.html"));
    assert!(page.contains("data-label=\"ViT\"") && page.contains("at the end of training, by architecture"));
    assert!(!page.contains("NaN"));

    // Batches that are prepared ahead, and more threads, change no number.
    let more = ["--seed", "0,1", "--jobs", "2", "--threads", "4", "--set", "data.prefetch=3"];
    text(&xtask(root, &recipes("two", &more)), 0);
    for file in ["measurements.csv", "claims.csv", "figure.svg"] {
        assert_eq!(read(root.join("one").join(file)), read(root.join("two").join(file)), "{file}");
    }
    // The folder is of this experiment: another one is refused, and changes nothing.
    let before = files(&root.join("one"));
    let message = refused(root, &["reproduce", "vit", "--out", "one"], 1);
    assert!(message.contains("one has results of the experiment `recipes`, not of `vit`"), "{message}");
    assert_eq!(files(&root.join("one")), before);
    // A rule that changed since the runs is reported once.
    let changed = text(&xtask(root, &recipes("one", &["--seed", "0,1", "--set", "rules.confidence=0.9"])), 0);
    assert_eq!(changed.matches("has changed since the first run").count(), 1, "{changed}");
}

#[test]
fn a_training_that_reaches_its_target_loss_ends_early_and_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let more = ["--set", "train.target_loss=0.9", "--set", "train.epochs=40", "--set", "measure.loss_window=16"];
    text(&xtask(root, &recipes("out", &[&more[..], &["--seed", "0"]].concat())), 0);
    let mut reader = csv::Reader::from_path(root.join("out/measurements.csv")).unwrap();
    let rows = reader.deserialize::<std::collections::BTreeMap<String, String>>().map(|row| row.unwrap());
    let ends: Vec<f64> = rows
        .filter(|row| row["measuring_point"] == "schedule" && row["at"] == "1")
        .map(|row| row["epoch"].parse().unwrap())
        .collect();
    assert!(ends.len() == 5 && ends.iter().any(|epoch| *epoch < 39.0), "{ends:?}");
}

#[test]
fn what_makes_no_sense_is_refused_before_any_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (setting, words) in [
        ("train.batch_size=49", "train.batch_size = 49: there are only 48 training images"),
        (
            "train.schedule.warmup_epochs=2",
            "train.schedule.warmup_epochs = 2: the training ends after train.epochs = 2",
        ),
        ("train.schedule.kind=step", "train.schedule.every_epochs: expected a positive number"),
        ("train.momentum=0.9", "train.momentum contradicts train.optimizer = \"adamw\""),
        ("train.optimiser=sgd", "did you mean `train.optimizer`?"),
        ("data.augmentation.flip=always", "unknown variant `always`"),
        ("sweeps.architecture.values=[{ name = \"VGG\" }]", "expected at least two values"),
        ("measure.layers=[\"blocks.0.mlp\"]", "layer `blocks.0.mlp` is not known"),
    ] {
        let message = refused(root, &recipes("out", &["--set", setting]), 2);
        assert!(message.contains(words), "{setting}: {message}");
        assert!(!root.join("out").exists(), "{setting}");
    }
}
