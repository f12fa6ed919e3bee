//! `bench`: runs our benchmarks and the same work in other libraries in turn, records both, and writes the book's page.

mod anchors;
mod appendix;
mod curve_svg;
mod curves;
mod machine;
mod named;
mod ours;
mod peers;
mod printed_figures;
mod recorded;
mod svg;
mod units;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::anchors::{Changed, workspace};
use crate::arguments::up_to;
use crate::files::write_whole;
use crate::output::{note, say};
use recorded::{Figure, Recorded, Session};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure [default: everything]
    topics: Vec<Topic>,
    /// Folder of the peers: `venv/bin/python`, and checkouts such as `neural-collapse`; without it only our benchmarks run
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Only benchmarks whose name contains this text (or one of several); the other figures of the topic stay, with their own commit
    /// and machine
    #[arg(long, value_name = "TEXT", requires = "topics", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    only: Vec<String>,
    /// Only the comparisons of the summary
    #[arg(long, conflicts_with_all = ["only", "quick", "check", "page"])]
    summary: bool,
    /// Threads of each side
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = up_to::<4_096>)]
    threads: usize,
    /// Rounds, in each of which both sides run once [default: 3, with --quick 1]
    #[arg(long, value_name = "COUNT", value_parser = up_to::<1_000>)]
    rounds: Option<usize>,
    /// Smaller shapes and fewer repetitions, for a trial; page and pictures go to target/bench-quick, not to the book
    #[arg(long)]
    quick: bool,
    /// Measure nothing; fail if README or book state other figures than those recorded
    #[arg(long, conflicts_with_all = ["peers", "quick", "topics"])]
    check: bool,
    /// Measure nothing; write the recorded figures into README, book and pictures
    #[arg(long, conflicts_with_all = ["peers", "quick", "topics", "check"])]
    page: bool,
}

impl Args {
    /// Whether a piece of work is to be measured.
    fn wants(&self, work: &str) -> bool {
        let texts = self.texts();
        texts.is_empty() || texts.iter().any(|text| work.contains(text))
    }

    /// The texts of which the name of a benchmark must contain one; without any, everything is measured.
    fn texts(&self) -> Vec<&str> {
        if self.summary {
            return named::SUMMARY.iter().map(|named| named.work).collect();
        }
        self.only.iter().map(String::as_str).collect()
    }
}

/// A criterion target; the peers' script has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Topic {
    /// Convolutions and training steps
    Ops,
    /// Geometric complexity
    Gc,
    /// Neural collapse
    Collapse,
    /// Episodes
    Fewshot,
    /// Images in batches
    Data,
    /// Whole training runs
    Train,
    /// Tests and sizes of claims
    Statistics,
}

impl Topic {
    /// The name of the target and of the script.
    fn name(self) -> &'static str {
        match self {
            Self::Ops => "ops",
            Self::Gc => "gc",
            Self::Collapse => "collapse",
            Self::Fewshot => "fewshot",
            Self::Data => "data",
            Self::Train => "train",
            Self::Statistics => "statistics",
        }
    }
}

/// The book's folder, and in it the appendix, the recorded figures and the pictures.
const BOOK: &str = "docs/src";
const APPENDIX: &str = "benchmark-figures.md";
const RECORDED: &str = "results/benchmarks.json";
const RATIOS: &str = "results/benchmarks.svg";
const CURVES: &str = "results/benchmark-curves.svg";

/// Runs the command line.
pub(crate) fn bench(args: &Args) -> Result<()> {
    let root = workspace()?;
    let book = root.join(BOOK);
    if args.check {
        return check(&root, &Recorded::read(&book.join(RECORDED))?);
    }
    let folder = if args.quick { trial(&root, &book)? } else { book };
    let mut recorded = Recorded::read(&folder.join(RECORDED))?;
    if !args.page {
        for topic in chosen(args, &root)? {
            let session = measure(topic, args, &root)?;
            if args.texts().is_empty() {
                recorded.replace(topic.name(), session);
            } else {
                recorded.merge(topic.name(), session);
            }
            // Written after each topic, so that an interruption loses the figures of one topic only.
            recorded.write(&folder.join(RECORDED))?;
        }
    }
    write_appendix(&folder, &recorded)?;
    if args.quick {
        return Ok(());
    }
    changed(&root, &recorded)?.iter().try_for_each(|changed| changed.write(&format!("the figures of {RECORDED}")))
}

/// A folder like the book's, for the figures of a trial.
fn trial(root: &Path, book: &Path) -> Result<PathBuf> {
    let folder = ours::target_folder(root).join("bench-quick");
    std::fs::create_dir_all(folder.join("results")).with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::copy(book.join(APPENDIX), folder.join(APPENDIX))
        .with_context(|| format!("cannot copy {BOOK}/{APPENDIX}"))?;
    Ok(folder)
}

/// The topics of the command line, or all.
fn chosen(args: &Args, root: &Path) -> Result<Vec<Topic>> {
    let present = |topic: &Topic| root.join(format!("benches/benches/{}.rs", topic.name())).exists();
    if args.topics.is_empty() {
        let asked = |topic: &Topic| !args.summary || named::SUMMARY.iter().any(|named| named.is_of(topic.name()));
        return Ok(Topic::value_variants().iter().copied().filter(|topic| asked(topic) && present(topic)).collect());
    }
    match args.topics.iter().find(|topic| !present(topic)) {
        Some(absent) => bail!("there is no benchmark target `{}` yet", absent.name()),
        None => Ok(args.topics.clone()),
    }
}

/// The figures of both sides, run in turn in every round.
fn measure(topic: Topic, args: &Args, root: &Path) -> Result<Session> {
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let mut figures: Vec<Figure> = Vec::new();
    for round in 1..=rounds {
        let mut found = timed(topic, round, "ours", || ours::run(topic, args, root))?;
        if let Some(peers) = &args.peers {
            found.extend(timed(topic, round, "peers", || peers::run(topic, args, root, peers))?);
        }
        for figure in found {
            match figures.iter_mut().find(|known| known.is_of(&figure)) {
                Some(known) => known.rounds.extend(figure.rounds),
                None => figures.push(figure),
            }
        }
    }
    Ok(Session {
        command: command(topic, args),
        date: crate::provenance::utc(crate::provenance::now()),
        threads: args.threads,
        quick: args.quick,
        machine: machine::describe(),
        versions: machine::versions(root, args.peers.as_deref()),
        figures,
    })
}

/// Prints the time that one side took to standard error, so that a whole session can be planned.
fn timed<T>(topic: Topic, round: usize, side: &str, turn: impl FnOnce() -> Result<T>) -> Result<T> {
    note!("{}, round {round}: {side}", topic.name());
    let start = crate::provenance::now();
    let found = turn()?;
    note!("{}, round {round}: {side} took {} s", topic.name(), crate::provenance::now() - start);
    Ok(found)
}

/// The command that measures one topic's figures again.
fn command(topic: Topic, args: &Args) -> String {
    let mut command = format!("cargo xtask bench {} --threads {}", topic.name(), args.threads);
    for only in &args.only {
        command.push_str(&format!(" --only '{only}'"));
    }
    if args.summary {
        command.push_str(" --summary");
    }
    if args.peers.is_some() {
        command.push_str(" --peers DIR");
    }
    if let Some(rounds) = args.rounds {
        command.push_str(&format!(" --rounds {rounds}"));
    }
    if args.quick {
        command.push_str(" --quick");
    }
    command
}

fn write_appendix(folder: &Path, recorded: &Recorded) -> Result<()> {
    let path = folder.join(APPENDIX);
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let after = appendix::with_recorded(&before, recorded)?;
    write_whole(&folder.join(RATIOS), svg::picture(recorded).into_string().as_bytes())?;
    if let Some(curves) = curve_svg::picture(recorded) {
        write_whole(&folder.join(CURVES), curves.into_string().as_bytes())?;
    }
    write_whole(&path, after.as_bytes())?;
    say!("{} and its pictures state the figures of {RECORDED}", path.display());
    Ok(())
}

fn changed(root: &Path, recorded: &Recorded) -> Result<Vec<Changed>> {
    anchors::ANCHORS.changed(root, |request| anchors::value(request, recorded))
}

fn check(root: &Path, recorded: &Recorded) -> Result<()> {
    let mut stale: Vec<String> =
        changed(root, recorded)?.iter().map(|changed| changed.first_difference(root)).collect();
    let path = root.join(BOOK).join(APPENDIX);
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    if appendix::with_recorded(&page, recorded)? != page {
        stale.push(format!("{BOOK}/{APPENDIX}"));
    }
    if stale.is_empty() {
        say!("README and book state the figures of {RECORDED}");
        return Ok(());
    }
    bail!("other figures than those of {RECORDED}:\n  {}\nrun `cargo xtask bench --page`", stale.join("\n  "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(line: &str) -> Args {
        Line::try_parse_from(format!("bench {line}").split_whitespace()).unwrap().args
    }

    #[test]
    fn the_summary_asks_for_its_own_comparisons() {
        let summary = args("--summary");
        assert!(named::SUMMARY.iter().all(|named| summary.wants(named.work)));
        assert!(!summary.wants("gc/estimate, vgg13, 2048 images/1 % by columns, cpu"));
        let root = workspace().unwrap();
        assert_eq!(chosen(&summary, &root).unwrap(), [Topic::Gc, Topic::Collapse, Topic::Fewshot, Topic::Train]);
        assert_eq!(command(Topic::Gc, &summary), "cargo xtask bench gc --threads 2 --summary");
        assert!(Line::try_parse_from(["bench", "gc", "--summary", "--only", "exact"]).is_err());
    }

    #[test]
    fn one_of_several_texts_is_enough() {
        let several = args("gc --only exact --only step");
        assert!(several.wants("gc/exact, vgg13") && several.wants("gc/training step") && !several.wants("gc/estimate"));
        assert!(args("gc").wants("gc/estimate"));
        assert_eq!(command(Topic::Gc, &several), "cargo xtask bench gc --threads 2 --only 'exact' --only 'step'");
    }
}
