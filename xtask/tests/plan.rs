//! `reproduce --plan`: the runs as a list of commands, executed by xargs and GNU parallel.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod tiny;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use program::{text, xtask};
use tiny::{files, read, reproduce};

/// A program that executes the commands of `commands.txt`, four at a time.
fn execute(root: &Path, words: &[&str]) -> Output {
    let [program, arguments @ ..] = words else { panic!("no program") };
    let list = fs::File::open(root.join("commands.txt")).unwrap();
    Command::new(program).args(arguments).current_dir("/").stdin(Stdio::from(list)).output().unwrap()
}

fn finished(out: &Path) -> usize {
    files(out).iter().filter(|path| path.file_name().is_some_and(|name| name == "done")).count()
}

/// The arguments of the tiny experiment without `--jobs`, which a plan has no use for.
fn planned<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = reproduce(out, more);
    let jobs = all.iter().position(|word| *word == "--jobs").unwrap();
    [&all[..jobs], &all[jobs + 2..]].concat()
}

fn a_list_gives_the_results_of_one_command(words: &[&str], out: &str) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &reproduce("whole", &[])), 0);
    let whole = finished(&root.join("whole"));
    let printed = text(&xtask(root, &planned(out, &["--plan", "commands.txt"])), 0);
    assert!(printed.contains(&format!("{whole} commands in commands.txt")), "{printed}");
    assert_eq!(finished(&root.join(out)), 0, "nothing was trained");
    let list = read(root.join("commands.txt"));
    assert_eq!(list.lines().count(), whole);
    let executed = text(&execute(root, words), 0);
    assert_eq!(finished(&root.join(out)), whole, "{executed}");
    // The same command without --plan trains nothing more, and its files are those of one command.
    let printed = text(&xtask(root, &reproduce(out, &[])), 0);
    assert!(printed.contains(&format!("{whole} runs, {whole} of them finished before")), "{printed}");
    for name in ["measurements.csv", "claims.csv", "claims.json", "figure.svg"] {
        assert_eq!(read(root.join(out).join(name)), read(root.join("whole").join(name)), "{name}");
    }
    // Everything is done, so a plan is empty now; executing the old list again does no harm.
    let printed = text(&xtask(root, &planned(out, &["--plan", "commands.txt"])), 0);
    assert!(printed.contains("0 commands in commands.txt"), "{printed}");
    fs::write(root.join("commands.txt"), list).unwrap();
    text(&execute(root, words), 0);
}

#[test]
fn xargs_executes_a_plan_in_a_folder_with_a_space_and_a_quote() {
    a_list_gives_the_results_of_one_command(&["xargs", "-d", "\n", "-n", "1", "-P", "4", "sh", "-c"], "it's out");
}

#[test]
fn plain_lines_need_no_shell() {
    a_list_gives_the_results_of_one_command(&["xargs", "-L", "1", "-P", "4", "env"], "out");
}

#[test]
fn gnu_parallel_executes_a_plan() {
    let version = Command::new("parallel").arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with("GNU parallel")) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: GNU parallel is not on this machine");
        return;
    }
    a_list_gives_the_results_of_one_command(&["parallel", "-j", "4"], "out");
}

#[test]
fn slices_of_a_plan_and_what_contradicts_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    text(&xtask(root, &planned("out", &["--slice", "1/2", "--plan", "one.txt"])), 0);
    text(&xtask(root, &planned("out", &["--slice", "2/2", "--plan", "two.txt"])), 0);
    let (one, two) = (read(root.join("one.txt")), read(root.join("two.txt")));
    text(&xtask(root, &planned("out", &["--plan", "all.txt"])), 0);
    let all = read(root.join("all.txt"));
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&format!("{one}{two}")), sorted(&all));
    for more in [&["--dry-run"][..], &["--list"], &["--jobs", "2"], &["--engine", "slurm"]] {
        let printed = text(&xtask(root, &planned("out", &[&["--plan", "x.txt"], more].concat())), 2);
        assert!(printed.contains("--plan"), "{printed}");
    }
    fs::create_dir(root.join("folder")).unwrap();
    let printed = text(&xtask(root, &planned("out", &["--plan", "folder"])), 1);
    assert!(printed.contains("--plan: ") && printed.contains("it is a folder"), "{printed}");
    // A run that fails ends its command with 1, so that the scheduler sees it, and the report names it.
    let first = all.lines().next().unwrap();
    let run = first.rsplit(' ').next().unwrap();
    fs::write(Path::new(run).join("run.toml"), "format = 2\n").unwrap();
    let failed = Command::new("sh").args(["-c", first]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
}
