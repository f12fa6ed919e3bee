//! Embeds the commit and the version of candle in the program, for the provenance of its runs.

use std::path::Path;
use std::process::Command;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for path in ["xtask/src", "xtask/experiments", "crates", "Cargo.lock"] {
        watch(&root.join(path));
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    if let Some(candle) = locked(&lock) {
        println!("cargo::rustc-env=REPRODUCE_CANDLE={candle}");
    }
    // The last commit of the program's sources; none in a copy without history and on a machine without git. Later commits
    // are not watched, because a commit that changes no source need not rebuild the program.
    let sources = ["--", "xtask", "crates", "Cargo.lock"];
    let Some(commit) = git(&root, &[&["log", "-1", "--format=%h", "--abbrev=12"], &sources[..]].concat()) else {
        return;
    };
    let changed = git(&root, &[&["status", "--porcelain"], &sources[..]].concat());
    let mark = if changed.is_some() { ", changed since" } else { "" };
    println!("cargo::rustc-env=REPRODUCE_COMMIT={commit}{mark}");
}

/// Makes cargo run this script again when the path changes. A missing path would make it run every time.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// The version of candle in a lock file.
fn locked(lock: &str) -> Option<&str> {
    let own = lock.split("[[package]]").find(|package| package.contains("name = \"candle-core\""))?;
    own.lines().find_map(|line| line.strip_prefix("version = "))?.trim().strip_prefix('"')?.strip_suffix('"')
}

/// The output of git; none if it is empty or git fails. Git takes no lock, so that it does not block other commands.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).current_dir(root).env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
