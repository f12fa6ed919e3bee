//! The peers' side: the Python script of the same name, which prints a line `figure {…}` for each piece of work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::recorded::{Figure, median};
use super::{Args, Topic, ours};
use crate::output::note;

/// Runs the script of a topic once; nothing where there is none.
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
        figures.extend(figures_of(&mut command, &format!("{} {}", script.display(), arguments.join(" ")))?);
    }
    Ok(figures)
}

/// The interpreter of the folder's own environment, or whichever is found first.
pub(super) fn python(peers: &Path) -> PathBuf {
    let own = peers.join("venv/bin/python");
    if own.exists() { own } else { "python3".into() }
}

/// Command lines of a script: one for each of its runs.
fn arguments(topic: Topic, args: &Args, root: &Path, peers: &Path) -> Vec<Vec<String>> {
    let threads = args.threads.to_string();
    let target = ours::target_folder(root);
    let words = |line: &[&str]| -> Vec<String> { line.iter().map(|&word| word.to_owned()).collect() };
    let path = |path: PathBuf| path.display().to_string();
    let target_path = path(target.clone());
    match topic {
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
            // A process for each peer, because peak memory is a process's.
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

/// Runs a command, hands its output through, and reads the figures in it.
pub(super) fn figures_of(command: &mut Command, name: &str) -> Result<Vec<Figure>> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    crate::output::print(&text);
    if !output.status.success() {
        bail!("{name} failed ({}): its last words are above", output.status);
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
