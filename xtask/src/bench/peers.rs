//! The peers' side: runs the Python script of a topic, which prints a line `figure {…}` for each piece of work.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::printed_figures::figures_of;
use super::recorded::Figure;
use super::{Args, Topic, ours};
use crate::output::note;

/// Runs the script of a topic once; without a script there are no figures.
pub(super) fn run(topic: Topic, args: &Args, root: &Path, peers: &Path) -> Result<Vec<Figure>> {
    let script = root.join(format!("benches/peers/{}.py", topic.name()));
    if !script.exists() {
        note!("{} has no peer: {} is missing", topic.name(), script.display());
        return Ok(Vec::new());
    }
    let mut figures = Vec::new();
    for arguments in arguments(topic, args, root, peers) {
        let mut command = Command::new(python(peers));
        command.arg(&script).args(&arguments).current_dir(root).env("PYTHONUNBUFFERED", "1");
        command.env("BENCH_ONLY", args.texts().join("\n"));
        figures.extend(figures_of(&mut command, &format!("{} {}", script.display(), arguments.join(" ")))?);
    }
    figures.retain(|figure| args.wants(&figure.work));
    Ok(figures)
}

/// The interpreter of the folder's virtual environment, or the first `python3` of the path.
pub(super) fn python(peers: &Path) -> PathBuf {
    let own = peers.join("venv/bin/python");
    if own.exists() { own } else { "python3".into() }
}

/// The command lines of a script, one for each run.
fn arguments(topic: Topic, args: &Args, root: &Path, peers: &Path) -> Vec<Vec<String>> {
    let threads = args.threads.to_string();
    let target = ours::target_folder(root);
    let words = |line: &[&str]| -> Vec<String> { line.iter().map(|&word| word.to_owned()).collect() };
    let path = |path: PathBuf| path.display().to_string();
    let target_path = path(target.clone());
    match topic {
        Topic::Statistics => Vec::new(),
        Topic::Ops => {
            let mut line = words(&["--threads", &threads, "--target", &target_path]);
            line.extend(args.quick.then(|| "--quick".to_owned()));
            vec![line]
        }
        Topic::Gc => {
            let mut line = words(&[&path(target.join("tmp/gc")), "--threads", &threads]);
            line.extend(args.quick.then(|| "--quick".to_owned()));
            vec![line]
        }
        Topic::Collapse => {
            let line = |shape: &str, only: &str| {
                let mut line: Vec<String> = shape.split(' ').map(str::to_owned).collect();
                line.extend(words(&["--threads", &threads, "--target", &target_path, "--only", only]));
                line.extend(words(&["--peer", &path(peers.join("neural-collapse"))]));
                line
            };
            // One process for each peer, because peak memory is measured for a process.
            ours::shapes(args.quick).iter().flat_map(|shape| [line(shape, "numpy"), line(shape, "torch")]).collect()
        }
        Topic::Fewshot => vec![words(&[if args.quick { "100" } else { "1000" }, &threads, &target_path])],
        Topic::Data => {
            let [images, seconds] = if args.quick { ["1000", "0.5"] } else { ["5000", "2"] };
            let line = ["--workers", "0", &threads, "--target", &target_path, "--images", images, "--seconds", seconds];
            vec![words(&line)]
        }
        Topic::Train => {
            let case = path(target.join("tmp/train"));
            let mut line = words(&["bench", "--threads", &threads, "--target", &target_path, "--case", &case]);
            line.extend(args.quick.then(|| ["--only", "vgg-small"].map(str::to_owned)).into_iter().flatten());
            vec![line]
        }
    }
}
