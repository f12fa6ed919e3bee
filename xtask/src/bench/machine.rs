//! The machine and the versions of a session.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::peers::python;

/// Processor, cores, memory and system.
pub(super) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default().trim();
    let kibibytes: f64 = memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
    let model = crate::provenance::processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    format!("{model}, {cores} cores, {:.0} GiB, {}", kibibytes / 1_048_576.0, std::env::consts::OS)
}

/// Versions of the compiler and the peers, where they can be read.
pub(super) fn versions(root: &Path, peers: Option<&Path>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([("this workspace".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    let mut add = |name: &str, command: &mut Command| {
        if let Some(version) = first_output(command) {
            versions.insert(name.to_owned(), version);
        }
    };
    add("rustc", Command::new("rustc").arg("--version"));
    add("commit", Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root));
    if let Some(peers) = peers {
        let python = python(peers);
        for package in ["torch", "numpy", "scikit-learn", "easyfsl", "torchvision", "jacobian"] {
            let program = format!("from importlib.metadata import version; print(version('{package}'))");
            add(package, Command::new(&python).args(["-c", &program]));
        }
        add("python", Command::new(&python).args(["-c", "import platform; print(platform.python_version())"]));
        for checkout in ["neural-collapse", "jacobian_regularizer"] {
            let mut git = Command::new("git");
            git.args(["rev-parse", "--short", "HEAD"]).current_dir(peers.join(checkout));
            add(checkout, &mut git);
        }
    }
    versions
}

fn first_output(command: &mut Command) -> Option<String> {
    let output = command.stderr(std::process::Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // `rustc --version` prints `rustc 1.95.0 (…)`; the name is removed, because it is the key of the list.
    let text = text.strip_prefix("rustc ").unwrap_or(&text).to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
