//! `reproduce` as a process: tiny experiments end to end, stops and restarts, and bad input.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use program::{command, errors, text, xtask};

/// Settings of an experiment of four runs of about a second (five of `fig4`): a few classes, a few images, two epochs.
const TINY: [&str; 15] = [
    "data.classes=6",
    "data.train_images_per_class=8",
    "data.test_images_per_class=3",
    "data.target_classes=5",
    "data.target_images_per_class=8",
    "train.epochs=2",
    "train.batch_size=8",
    "measure.schedule=[0, 1]",
    "measure.loss_window=16",
    "measure.feature_images_per_class=4",
    "measure.gc_images_per_class=2",
    "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
    "sweeps.learning-rate.values=[0.05, 0.1]",
    "sweeps.batch-size.values=[8, 16]",
    "sweeps.l2.values=[0, 1e-2]",
];

fn tiny<'a>(experiment: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["reproduce", experiment, "--seed", "0", "--out", out];
    for setting in TINY {
        args.extend(["--set", setting]);
    }
    if experiment == "fig4" {
        args.extend(["--set", "sweeps.gc-penalty.values=[0, 1e-2]"]);
    }
    args.extend(more);
    args
}

fn succeeded(output: &Output) -> String {
    text(output, 0)
}

/// The message of a command that ended with an error of its input or of the machine: exit code 1, and no panic.
fn refused(output: &Output) -> String {
    refused_with(1, output)
}

fn refused_with(code: i32, output: &Output) -> String {
    let message = errors(output, code);
    assert!(message.contains("error"), "{message}");
    message
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_same_seed_gives_the_same_numbers_with_one_thread_and_with_several() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&xtask(root, &tiny("fig4", "one", &["--jobs", "1", "--threads", "1"])));
    succeeded(&xtask(root, &tiny("fig4", "two", &["--jobs", "2", "--threads", "4"])));
    for file in ["measurements.csv", "claims.csv", "figure.svg"] {
        assert_eq!(read(root.join("one").join(file)), read(root.join("two").join(file)), "{file}");
    }
    let csv = read(root.join("one/measurements.csv"));
    let header = csv.lines().next().unwrap();
    for column in ["gc", "geometric_collapse", "pairwise_geometric_collapse", "nc", "target_nc", "ridge_accuracy"] {
        assert!(header.split(',').any(|name| name == column), "{column} is missing in {header}");
    }
    // Five runs, each measured before and after training.
    for point in [",initial-network,0,0,0,", ",schedule,1,"] {
        assert!(csv.lines().filter(|line| line.contains(point)).count() == 5, "{point}: {csv}");
    }

    let again = succeeded(&xtask(root, &tiny("fig4", "one", &[])));
    assert!(again.contains("5 runs, 5 of them finished before"), "{again}");
    assert_eq!(read(root.join("one/measurements.csv")), csv);
    let changed = succeeded(&xtask(root, &tiny("fig4", "one", &["--set", "sweeps.l2.values=[0, 2e-2]"])));
    assert!(changed.contains("5 runs, 4 of them finished before"), "{changed}");
}

#[test]
fn another_seed_gives_other_numbers_and_fig1_has_its_own_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let text = succeeded(&xtask(root, &tiny("fig1", "a", &[])));
    assert!(text.contains("a/report.html") && text.contains("Sweep of the learning rate"), "{text}");
    succeeded(&xtask(root, &tiny("fig1", "b", &["--seed", "1"])));
    let (a, b) = (read(root.join("a/measurements.csv")), read(root.join("b/measurements.csv")));
    assert!(a.lines().next().unwrap().contains(",test_accuracy,") && !a.contains("target_nc"));
    let last = |csv: &str| csv.lines().last().unwrap().split(',').skip(14).collect::<Vec<_>>().join(",");
    assert_ne!(last(&a), last(&b));
    let page = read(root.join("a/report.html"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(!page.contains("<script src") && !page.contains("NaN"));
}

#[test]
fn a_killed_sweep_continues_to_the_same_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let args = tiny("fig4", "killed", &["--jobs", "1"]);
    let mut child = command(root, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let finished = || walk(&root.join("killed/runs")).iter().filter(|path| path.ends_with("done")).count();
    let since = Instant::now();
    while finished() == 0 {
        assert!(since.elapsed() < Duration::from_secs(120), "no run finished");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // The run that was at work ends with its parent and releases its lock; until then its folder is refused.
    let rest = succeeded(&xtask_until_success(root, &args));
    assert!(rest.contains("5 runs, ") && !rest.contains(", 0 of them"), "{rest}");
    succeeded(&xtask(root, &tiny("fig4", "whole", &[])));
    assert_eq!(read(root.join("killed/measurements.csv")), read(root.join("whole/measurements.csv")));
}

#[test]
fn merged_slices_equal_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&xtask(root, &tiny("fig4", "whole", &[])));
    let first = succeeded(&xtask(root, &tiny("fig4", "first", &["--slice", "1/2"])));
    assert!(first.contains("slice 1/2: 3 of 5 runs"), "{first}");
    succeeded(&xtask(root, &tiny("fig4", "second", &["--slice", "2/2"])));
    let merged = succeeded(&xtask(root, &tiny("fig4", "merged", &["--merge", "first", "--merge", "second"])));
    assert!(merged.contains("3 finished runs copied from first"), "{merged}");
    assert!(merged.contains("2 finished runs copied from second"), "{merged}");
    assert!(merged.contains("5 runs, 5 of them finished before"), "{merged}");
    for file in ["measurements.csv", "claims.csv", "figure.svg", "layers.csv"] {
        assert_eq!(read(root.join("merged").join(file)), read(root.join("whole").join(file)), "{file}");
    }
    // No checkpoint is left in a finished run.
    assert!(walk(&root.join("merged/runs")).iter().all(|path| !path.to_string_lossy().contains("safetensors")));
    // An altered run is named and done again.
    let metrics = walk(&root.join("first/runs")).into_iter().find(|path| path.ends_with("metrics.jsonl")).unwrap();
    fs::write(&metrics, read(metrics.clone()).replacen("\"step\":0", "\"step\":1", 1)).unwrap();
    let again = succeeded(&xtask(root, &tiny("fig4", "again", &["--merge", "first", "--merge", "second"])));
    assert!(again.contains("not merged lr") && again.contains("5 runs, 4 of them finished before"), "{again}");
    assert_eq!(read(root.join("again/measurements.csv")), read(root.join("whole/measurements.csv")));
    fs::create_dir(root.join("empty")).unwrap();
    let message = refused_with(2, &xtask(root, &tiny("fig4", "out", &["--merge", "empty"])));
    assert!(message.contains("--merge empty") && message.contains("no folder `runs`"), "{message}");
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn xtask_until_success(folder: &Path, args: &[&str]) -> Output {
    let mut output = xtask(folder, args);
    for _ in 0..20 {
        if output.status.success() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        output = xtask(folder, args);
    }
    output
}

#[test]
fn a_folder_in_use_is_refused_with_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("busy");
    fs::create_dir(&out).unwrap();
    let file = fs::File::create(out.join("lock")).unwrap();
    fs::write(out.join("lock"), "process 4242 on elsewhere since yesterday").unwrap();
    file.lock().unwrap();
    let message = refused(&xtask(folder.path(), &tiny("fig4", "busy", &[])));
    assert!(message.contains("in use by process 4242 on elsewhere") && message.contains("--out"), "{message}");
}

#[test]
fn a_run_that_fails_is_named_and_the_others_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let more = ["--set", "sweeps.batch-size.key=data.classes", "--set", "sweeps.batch-size.values=[6, 4096]"];
    let output = xtask(root, &tiny("fig4", "some", &more));
    let message = refused(&output);
    assert!(message.contains("1 of the runs failed") && message.contains("data.classes = 4096"), "{message}");
    assert!(read(root.join("some/report.html")).contains("failed: data.classes = 4096"));
    assert_eq!(walk(&root.join("some/runs")).iter().filter(|path| path.ends_with("done")).count(), 4);
}

#[test]
fn more_images_than_there_are_cannot_be_estimated_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut args = vec!["reproduce", "fig2", "--seed", "0", "--out", "out"];
    let settings =
        ["data.classes=5", "data.train_images_per_class=6", "measure.feature_images_per_class=4", "train.batch_size=8"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let message = refused(&xtask(folder.path(), &args));
    assert!(message.contains("measure.estimators.images = 32: there are only 30 training images"), "{message}");
}

#[test]
fn bad_input_is_named_with_what_was_expected_and_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::write(folder.path().join("odd.toml"), "title = \"odd\"\nsurprise = 1\n[presets.quick]\n").unwrap();
    let cases: [(&[&str], &[&str]); 36] = [
        (&["fig1", "--set", "measure.gc_images_per_class=33"], &["gc_images_per_class = 33 contradicts", "= 32"]),
        (
            &["fig1", "--set", "measure.feature_images_per_class=151"],
            &["contradicts data.train_images_per_class = 130"],
        ),
        (&["fig4", "--set", "data.target_classes=4"], &["data.target_classes = 4", "way = 5"]),
        (&["fig1", "--set", "sweeps.l2.key=rules.confidence"], &["`rules.confidence` is no setting of a run"]),
        (&["fig1", "--set", "sweeps.l2.key=train.learning_rate"], &["vary the same key `train.learning_rate`"]),
        (&["fig1", "--set", "report.rows=['target_nc']"], &["`target_nc`", "`classification` does not measure it"]),
        (&["fig1", "--set", "rules.equal_loss_level=1.5"], &["rules.equal_loss_level", "(0, 1)", "1.5"]),
        (&["fig1", "--set", "sweeps.l2.values=[1, 1.0]"], &["rising values without duplicates, got 1 before 1"]),
        (&["all", "--data", "mnist"], &["--data mnist contradicts `all`"]),
        (&["all", "--data-dir", "."], &["--data-dir contradicts `all`"]),
        (
            &["fig2", "--set", "measure.estimators.batch_samples=[64]"],
            &["measure.estimators.batch_samples", "32", "64"],
        ),
        (&["fig1", "--set", "train.gc_penalty=-1"], &["train.gc_penalty: expected zero or a positive number, got -1"]),
        (&["fig1", "--set", "model.architecture=resnet18-cifar", "--set", "model.batch_norm=false"], &["contradicts"]),
        (&["fig-4"], &["unknown experiment `fig-4`", "did you mean `fig4`"]),
        (
            &["fig4", "--preset", "quikc"],
            &["unknown preset `quikc`", "did you mean `quick`", "cpu, paper, paper-lite, quick"],
        ),
        (&["fig4", "--data", "glyfs"], &["glyfs", "glyphs"]),
        (&["fig4", "--data", "cifar10"], &["source and target classes", "cifar10", "glyphs"]),
        (&["fig4", "--set", "train.learning_rate"], &["expected key=value"]),
        (&["fig4", "--set", "train.learnin_rate=1"], &["did you mean `train.learning_rate`"]),
        (&["fig4", "--set", "train.learning_rate=fast"], &["`train.learning_rate` is a number", "text (`fast`)"]),
        (&["fig4", "--set", "train.learning_rate=-1"], &["train.learning_rate: expected a positive number, got -1"]),
        (&["fig4", "--set", "train.batch_size=2.5"], &["train.batch_size", "2.5"]),
        (&["fig4", "--set", "sweeps.l2.values=[0, 0]"], &["rising values without duplicates"]),
        (&["fig4", "--set", "model.architecture=vgg-smal"], &["vgg-smal", "vgg-small"]),
        (&["fig4", "--set", "data.target_images_per_class=19"], &["5 shots and 15 queries need 20 images"]),
        (&["fig4", "--out", "file/below"], &["file/below", "--out"]),
        (&["fig4", "--jobs", "0"], &["--jobs", "whole number from 1"]),
        (&["fig4", "--set", "measure.layers=['features.99']"], &["measure.layers", "features.99"]),
        (&["fig4", "--set", "measure.protocol=mean"], &["unknown variant `mean`", "fixed-images", "batches"]),
        (
            &[
                "fig4",
                "--set",
                "measure.gc_images_per_class=10",
                "--set",
                "data.target_images_per_class=20",
                "--set",
                "data.test_images_per_class=30",
                "--set",
                "measure.few_shot.query=2",
                "--set",
                "data.target_images_per_class=9",
            ],
            &["gc_images_per_class = 10 contradicts data.target_images_per_class = 9"],
        ),
        (&["fig4", "--slice", "3/2"], &["--slice", "such as 2/6"]),
        (&["all", "--merge", "."], &["--merge contradicts `all`"]),
        (&["fig2", "--set", "measure.estimators.repeats=10000000"], &["measure.estimators.repeats", "1 to 1048576"]),
        (&["fig4", "--seed", "1,1"], &["seeds: 1 is there twice"]),
        (&["none.toml"], &["cannot read the experiment file none.toml"]),
        (&["odd.toml"], &["odd", "surprise"]),
    ];
    for (args, expected) in cases {
        let mut all = vec!["reproduce"];
        all.extend(args);
        // The command line is wrong, but for experiment files and folders that cannot be used.
        let code = if args.iter().any(|arg| arg.ends_with(".toml") || arg.starts_with("file")) { 1 } else { 2 };
        let message = refused_with(code, &xtask(folder.path(), &all));
        for needle in expected {
            assert!(message.contains(needle), "{args:?}: `{needle}` is not in: {message}");
        }
        assert!(!folder.path().join("results").exists(), "{args:?} made a folder");
    }
}

#[test]
fn an_unusable_run_folder_is_listed_and_the_other_runs_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&xtask(root, &tiny("fig4", "out", &[])));
    let key = read(root.join("out/measurements.csv")).lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let run = root.join("out/runs").join(key);
    fs::remove_dir_all(&run).unwrap();
    fs::write(&run, "a file where a folder should be").unwrap();
    let message = refused(&xtask(root, &tiny("fig4", "out", &[])));
    assert!(message.contains("skipped lr") && message.contains("1 of the runs failed"), "{message}");
    assert!(read(root.join("out/report.html")).contains("failed: cannot read"));
    fs::remove_file(&run).unwrap();
    succeeded(&xtask(root, &tiny("fig4", "out", &[])));
}

#[test]
fn a_finished_run_with_damaged_measurements_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&xtask(root, &tiny("fig4", "out", &[])));
    let csv = read(root.join("out/measurements.csv"));
    let damaged = walk(&root.join("out/runs")).into_iter().filter(|path| path.ends_with("metrics.jsonl")).take(2);
    for (path, text) in damaged.zip(["", "no numbers\n"]) {
        fs::write(path, text).unwrap();
    }
    let plan = succeeded(&xtask(root, &tiny("fig4", "out", &["--dry-run"])));
    assert_eq!(plan.matches("unusable, to be done again").count(), 2, "{plan}");
    let again = succeeded(&xtask(root, &tiny("fig4", "out", &[])));
    assert!(again.contains("5 runs, 3 of them finished before"), "{again}");
    assert!(again.contains("lacks the measurement at the end") && again.contains("metrics.jsonl, line 1"), "{again}");
    assert_eq!(read(root.join("out/measurements.csv")), csv);
}

#[test]
fn results_of_a_newer_format_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("format"), "4000\n").unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let message = refused(&xtask(folder.path(), &tiny("fig4", "out", more)));
        assert!(message.contains("results of format 4000") && message.contains("newer version"), "{message}");
    }
    assert_eq!(walk(&out), [out.join("format")]);
}

#[test]
fn a_failed_download_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["reproduce", "fig1", "--preset", "cpu", "--out", "a/b"];
    let mut command = command(folder.path(), &args);
    let message =
        refused(&command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", folder.path().join("hub")).output().unwrap());
    assert!(message.contains("cannot fetch the data set `cifar10`"), "{message}");
    assert!(!folder.path().join("a").exists());
}

#[test]
fn the_time_of_day_in_a_record_changes_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    succeeded(&xtask(root, &tiny("fig4", "out", &[])));
    let csv = read(root.join("out/measurements.csv"));
    for (clock, path) in
        [0, u64::MAX].iter().zip(walk(&root.join("out/runs")).iter().filter(|path| path.ends_with("record.json")))
    {
        let mut record: serde_json::Value = serde_json::from_str(&read(path.clone())).unwrap();
        record["started"] = (*clock).into();
        fs::write(path, record.to_string()).unwrap();
    }
    succeeded(&xtask(root, &tiny("fig4", "out", &[])));
    assert_eq!(read(root.join("out/measurements.csv")), csv);
}

#[test]
fn estimators_and_bounds_and_the_penalty_are_measured_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let few =
        "measure.estimators={ images = 4, repeats = 2, batch_samples = [2], mask_rates = [0.1], output_samples = [2] }";
    let common = ["--set", "model.width=0.25", "--set", "data.target_classes=0"];
    let set = |experiment: &'static str, more: &[&str]| {
        let mut args = vec!["reproduce", experiment, "--seed", "0,1", "--out", experiment];
        TINY.iter()
            .filter(|setting| !setting.starts_with("sweeps."))
            .for_each(|setting| args.extend(["--set", setting]));
        args.extend(common);
        args.extend(more);
        succeeded(&xtask(root, &args));
        let page = read(root.join(experiment).join("report.html"));
        assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("NaN") && page.contains("role=\"img\""));
        read(root.join(experiment).join("measurements.csv"))
    };
    set("fig2", &["--set", few]);
    let estimates = read(root.join("fig2/estimates.csv"));
    // Two seeds at two points, each with the exact value and three settings twice.
    assert_eq!(estimates.lines().count(), 1 + 2 * 2 * (1 + 3 * 2), "{estimates}");
    assert!(read(root.join("fig2/claims.csv")).contains("entry mask 0.1: 95 % intervals contain the exact GC"));
    let bounds = set("fig3", &[]);
    assert!(bounds.lines().next().unwrap().contains("nearest_mean_gc_bound"), "{bounds}");
    assert!(read(root.join("fig3/summary.md")).contains("| epochs | nearest-mean test error |"));
    let penalty = set("gc-penalty", &["--set", "sweeps.gc-penalty.values=[0, 0.01]"]);
    let numbers = |penalty: &str, strength: &str| -> Vec<String> {
        let own =
            penalty.lines().filter(|line| line.split(',').nth(6) == Some(strength) && line.contains(",schedule,1,"));
        own.map(|line| line.split(',').skip(13).collect()).collect()
    };
    let (without, with) = (numbers(&penalty, "0"), numbers(&penalty, "0.01"));
    assert_eq!((without.len(), with.len()), (2, 2), "{penalty}");
    assert_ne!(without, with);
}

#[test]
#[ignore = "trains for minutes; run it with --ignored"]
fn every_experiment_has_its_figure_and_all_of_them_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut args = vec!["reproduce", "all", "--seed", "0", "--out", "everything", "--preset", "quick"];
    let all = [
        "data.classes=5",
        "data.train_images_per_class=32",
        "data.test_images_per_class=3",
        "train.epochs=1.5",
        "train.batch_size=8",
        "measure.schedule=[0, 1]",
        "measure.loss_window=16",
        "measure.feature_images_per_class=4",
        "measure.layer_images_per_class=4",
        "measure.gc_images_per_class=2",
        "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
    ];
    for setting in all {
        args.extend(["--set", setting]);
    }
    // A folder with other results is refused, and the other experiments are executed nevertheless.
    fs::create_dir_all(root.join("everything/fig1-quick-glyphs")).unwrap();
    fs::write(root.join("everything/fig1-quick-glyphs/experiment"), "another\n").unwrap();
    let watch = Instant::now();
    let message = refused(&xtask(root, &args));
    let passed = watch.elapsed().as_secs_f64();
    assert!(message.contains("1 of 12 experiments ended with an error: fig1"), "{message}");
    let index = read(root.join("everything/index.html"));
    let mut recorded = Vec::new();
    for entry in fs::read_dir(root.join("everything")).unwrap() {
        let record = entry.unwrap().path().join("record.json");
        if record.exists() {
            let record: serde_json::Value = serde_json::from_str(&read(record)).unwrap();
            recorded.push(record["seconds"].as_f64().unwrap());
        }
    }
    // Each record has the time of its own experiment, and no two were executed at the same time.
    assert_eq!(recorded.len(), 11);
    assert!(recorded.iter().sum::<f64>() <= passed, "{recorded:?} in {passed} s");
    for name in ["fig2", "fig3", "fig4", "gc-penalty", "mini-imagenet", "resnet50-cifar100", "vit", "recipes"] {
        let own = root.join(format!("everything/{name}-quick-glyphs"));
        assert!(index.contains(&format!("href=\"{name}-quick-glyphs/report.html\"")), "{name}");
        let page = read(own.join("report.html"));
        assert!(
            page.starts_with("<!DOCTYPE html>") && !page.contains("NaN") && page.contains("role=\"img\""),
            "{name}"
        );
        assert!(read(own.join("summary.md")).contains("## "), "{name}");
    }
    let estimates = read(root.join("everything/fig2-quick-glyphs/estimates.csv"));
    assert!(estimates.contains("entry mask") && estimates.contains("output sample"), "{estimates}");
    let bounds = read(root.join("everything/fig3-quick-glyphs/measurements.csv"));
    assert!(bounds.lines().next().unwrap().contains("nearest_mean_gc_bound"), "{bounds}");
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = refused(&xtask(folder.path(), &["run", "."]));
    assert!(message.contains("is no run folder"), "{message}");
}

#[test]
fn lists_and_dry_runs_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let list = succeeded(&xtask(folder.path(), &["reproduce", "--list"]));
    let experiments = ["fig1", "fig2", "fig3", "fig4", "resnet18-cifar10", "vgg11-mnist", "vgg11-fashion-mnist"];
    let others = ["resnet50-cifar100", "mini-imagenet", "gc-penalty", "quick", "cpu", "paper", "glyphs", "cifar-fs"];
    for name in experiments.into_iter().chain(others) {
        assert!(list.contains(name), "{name} is not in {list}");
    }
    let plan = succeeded(&xtask(folder.path(), &tiny("fig4", "out", &["--dry-run"])));
    assert!(plan.contains("5 runs in out") && plan.contains("runs left: about"), "{plan}");
    let few = "measure.estimators={ images = 8, repeats = 3, batch_samples = [2, 8], mask_rates = [0.1], output_samples = [2] }";
    let mut estimators = vec!["reproduce", "fig2", "--seed", "0", "--out", "out", "--dry-run", "--set", few];
    let settings = TINY.iter().filter(|setting| !setting.starts_with("sweeps."));
    settings.for_each(|setting| estimators.extend(["--set", setting]));
    let plan = succeeded(&xtask(folder.path(), &estimators));
    assert!(plan.contains("1 runs in out") && plan.contains("1 runs left: about"), "{plan}");
    // A dry run fetches no data, and without data there is no estimate.
    let offline = ["reproduce", "fig1", "--preset", "cpu", "--dry-run", "--seed", "0"];
    let offline = command(folder.path(), &offline).env("HF_HOME", folder.path()).output().unwrap();
    let offline = succeeded(&offline);
    assert!(offline.contains("10 runs in") && offline.contains("time and memory are not known"), "{offline}");
    let plan = ["reproduce", "--dry-run", "--seeds", "0,1,2", "--set", "measure.few_shot.episodes=20"];
    let plan = succeeded(&xtask(folder.path(), &plan));
    // Thirteen runs a seed: sweeps of four values that share one.
    assert!(plan.contains("39 runs in results/fig4-quick-glyphs") && plan.contains("to do"), "{plan}");
    assert!(cfg!(not(target_os = "linux")) || plan.contains("MiB of memory each"), "{plan}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn data_sets_are_listed_shown_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let list = succeeded(&xtask(folder.path(), &["data", "list"]));
    assert!(list.contains("glyphs") && list.contains("cifar-fs"), "{list}");
    succeeded(&xtask(folder.path(), &["data", "show", "glyphs", "--classes", "4", "--per-class", "2"]));
    assert_eq!(fs::read(folder.path().join("glyphs.png")).unwrap()[..4], *b"\x89PNG");
    let message = refused_with(2, &xtask(folder.path(), &["data", "verify", "glyphz"]));
    assert!(message.contains("glyphs"), "{message}");
}

/// A folder of classes without `train` and `test` has no test images.
#[test]
fn a_folder_without_test_images_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (class, shade) in [("dark", 10), ("light", 200)] {
        let images = folder.path().join("mine").join(class);
        fs::create_dir_all(&images).unwrap();
        for at in 0..2u8 {
            let pixels = vec![shade + at; 8 * 8];
            image::GrayImage::from_raw(8, 8, pixels).unwrap().save(images.join(format!("{at}.png"))).unwrap();
        }
    }
    let shown = ["data", "show", "folder:mine", "--per-class", "2", "--out", "sheet.png"];
    succeeded(&xtask(folder.path(), &shown));
    let sheet = image::open(folder.path().join("sheet.png")).unwrap().to_luma8();
    assert!(sheet.pixels().any(|pixel| pixel.0[0] == 11) && sheet.pixels().any(|pixel| pixel.0[0] == 201));
}
