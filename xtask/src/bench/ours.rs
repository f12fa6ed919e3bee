//! Our side: runs a criterion target and reads the samples that criterion writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::printed_figures::figures_of;
use super::recorded::{Figure, Least, OURS, median};
use super::{Args, Topic};

/// Runs the criterion target of a topic and its examples once.
pub(super) fn run(topic: Topic, args: &Args, root: &Path) -> Result<Vec<Figure>> {
    let target = target_folder(root);
    // In whole seconds, so that a file written within the first second counts as new.
    let started = UNIX_EPOCH + Duration::from_secs(crate::provenance::now());
    // `-p xtask` gives the dependencies the features of this command's own build, so that nothing is built twice.
    let mut line = vec!["bench", "-p", "xtask", "-p", "benches", "--bench", topic.name()];
    let texts = args.texts();
    let only = texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join("|");
    line.extend((!texts.is_empty()).then_some(["--", &only]).into_iter().flatten());
    let mut command = cargo(root, args.threads, &line);
    if args.quick {
        command.env("BENCH_QUICK", "1");
    }
    command.env("GC_PEER_FILES", target.join("tmp/gc")).env("TRAIN_PEER_FILES", target.join("tmp/train"));
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the benchmark `{}` failed ({status})", topic.name());
    }
    let mut figures = read_criterion(&target.join("criterion"), started)?;
    add_least_work(&mut figures, &target.join(format!("tmp/work-{}.json", topic.name())))?;
    for example in examples(topic, args.quick).iter().filter(|example| args.wants(&example.work)) {
        figures.extend(run_example(root, args.threads, example)?);
    }
    figures.retain(|figure| args.wants(&figure.work));
    if figures.is_empty() {
        let only =
            if texts.is_empty() { String::new() } else { format!(" whose name contains `{}`", texts.join("` or `")) };
        bail!("the target `{}` has no benchmark{only}: it left no samples in {}", topic.name(), target.display());
    }
    Ok(figures)
}

/// The text as a regular expression that matches it alone: criterion takes its filter as one.
fn literal(text: &str) -> String {
    let escaped = |character: char| match character {
        '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' | '\\' => vec!['\\', character],
        other => vec![other],
    };
    text.chars().flat_map(escaped).collect()
}

/// Adds the least work of each point of a cost curve, which the target writes to a file. A topic without curves has none.
fn add_least_work(figures: &mut [Figure], path: &Path) -> Result<()> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    let declared: BTreeMap<String, Least> =
        serde_json::from_str(&text).with_context(|| format!("{} declares no work", path.display()))?;
    for figure in figures {
        figure.least = declared.get(&figure.work).copied();
    }
    Ok(())
}

/// An example that runs in a process of its own, to read its peak memory.
struct Example {
    name: &'static str,
    package: &'static str,
    arguments: String,
    /// The name of the figure that it prints.
    work: String,
}

/// The examples of a topic.
fn examples(topic: Topic, quick: bool) -> Vec<Example> {
    let memory = |shape: &str, arguments: &str, what: &str| Example {
        name: "full_report",
        package: "geometric-collapse",
        arguments: format!("{shape}{arguments}"),
        work: {
            let sizes: Vec<&str> = shape.splitn(2, ' ').collect();
            format!("collapse/{what}/{}-classes-f32", sizes.join("x").replace(' ', "-"))
        },
    };
    let both = |shape: &'static str| {
        [
            memory(shape, "", "memory beyond the input"),
            memory(shape, " projected", "memory without scatter, beyond the input"),
        ]
    };
    match topic {
        Topic::Collapse => shapes(quick).into_iter().flat_map(both).collect(),
        _ => Vec::new(),
    }
}

fn run_example(root: &Path, threads: usize, example: &Example) -> Result<Vec<Figure>> {
    let Example { name: example, package, arguments, .. } = example;
    let build = ["build", "--release", "-p", "xtask", "-p", "benches", "-p", package, "--example", example];
    let status = cargo(root, threads, &build).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the example `{example}` of `{package}` does not build ({status})");
    }
    let mut command = Command::new(target_folder(root).join("release/examples").join(example));
    set_threads(command.current_dir(root).args(arguments.split(' ')), threads);
    figures_of(&mut command, &format!("the example {example}"))
}

/// Samples, features and classes of a full report, for the target `collapse` and its peers.
pub(super) fn shapes(quick: bool) -> [&'static str; 2] {
    if quick { ["100000 512 100", "10000 2048 200"] } else { ["1000000 512 100", "50000 2048 1000"] }
}

fn cargo(root: &Path, threads: usize, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    set_threads(&mut command, threads);
    command
}

fn set_threads(command: &mut Command, threads: usize) {
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        command.env(name, threads.to_string());
    }
}

pub(super) fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}

/// The description that criterion writes beside a sample.
#[derive(Deserialize)]
struct Benchmark {
    full_id: String,
    throughput: Option<BTreeMap<String, f64>>,
}

/// A sample of criterion: numbers of iterations, and the nanoseconds that they took.
#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

/// Every benchmark under `folder` whose newest sample is not older than `since`.
fn read_criterion(folder: &Path, since: SystemTime) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let sample = folder.join("sample.json");
        if folder.ends_with("new") && sample.metadata().and_then(|about| about.modified()).is_ok_and(|at| at >= since) {
            figures.push(read_sample(&folder)?);
        }
        let mut inner: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
        inner.sort();
        waiting.extend(inner.into_iter().rev());
    }
    Ok(figures)
}

fn read_sample(folder: &Path) -> Result<Figure> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let shape = || format!("{} is not in criterion's format of versions 0.5 to 0.8", folder.display());
    let benchmark: Benchmark = serde_json::from_str(&read("benchmark.json")?).with_context(shape)?;
    let sample: Sample = serde_json::from_str(&read("sample.json")?).with_context(shape)?;
    let seconds: Vec<f64> = sample.times.iter().zip(&sample.iters).map(|(time, count)| time / count * 1e-9).collect();
    Ok(Figure {
        work: benchmark.full_id,
        side: OURS.to_owned(),
        unit: "s".to_owned(),
        rounds: vec![median(&seconds)],
        elements: benchmark.throughput.and_then(|throughput| throughput.get("Elements").copied()),
        least: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_print_the_work_that_they_are_asked_for() {
        let works: Vec<String> = examples(Topic::Collapse, false).into_iter().map(|example| example.work).collect();
        assert_eq!(works[0], "collapse/memory beyond the input/1000000x512-100-classes-f32");
        assert_eq!(works[3], "collapse/memory without scatter, beyond the input/50000x2048-1000-classes-f32");
    }

    #[test]
    fn a_filter_is_taken_literally() {
        assert_eq!(literal("gc/exact, p=10 (1.5 %)"), "gc/exact, p=10 \\(1\\.5 %\\)");
    }

    #[test]
    fn samples_are_read_from_where_criterion_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("group_a/b/new");
        std::fs::create_dir_all(&new).unwrap();
        std::fs::create_dir_all(folder.path().join("group_a/b/base")).unwrap();
        let about = r#"{"group_id":"group/a","function_id":"b","value_str":null,"throughput":{"Elements":64},"full_id":"group/a/b","title":"t"}"#;
        std::fs::write(new.join("benchmark.json"), about).unwrap();
        let times = r#"{"sampling_mode":"Flat","iters":[1.0,2.0,4.0],"times":[5e9,4e9,4e9]}"#;
        std::fs::write(new.join("sample.json"), times).unwrap();
        let figures = read_criterion(folder.path(), SystemTime::UNIX_EPOCH).unwrap();
        // 5, 2 and 1 seconds an iteration.
        assert_eq!((figures.len(), figures[0].rounds[0], figures[0].elements), (1, 2.0, Some(64.0)));
        assert_eq!((figures[0].work.as_str(), figures[0].side.as_str()), ("group/a/b", OURS));
        let mut figures = figures;
        let declared = folder.path().join("work.json");
        add_least_work(&mut figures, &declared).unwrap();
        assert_eq!(figures[0].least, None);
        std::fs::write(&declared, r#"{"group/a/b": {"operations": 2e9, "bytes": 1.2e1}}"#).unwrap();
        add_least_work(&mut figures, &declared).unwrap();
        assert_eq!(figures[0].least, Some(Least { operations: 2e9, bytes: 12.0 }));
        let later = UNIX_EPOCH + Duration::from_secs(crate::provenance::now() + 3600);
        assert!(read_criterion(folder.path(), later).unwrap().is_empty());
    }
}
