//! A server on loopback with the addresses of the Hub, and the folders of its files.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a helper of tests stops at its first error and prints what it skips"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The folder with the server's program and files, beside the workspace. None if it is missing.
///
/// **Panics** if it is missing under continuous integration, which must not skip these tests.
#[allow(dead_code, reason = "not every test file needs the mirror")]
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    match folder.join("tools/hub_mirror.py").is_file() {
        true => Some(folder),
        false if std::env::var("CI").is_ok_and(|value| value == "true") => {
            panic!("{} is missing, and CI=true", folder.display())
        }
        false => {
            println!("skipped: {} with the offline mirror of the Hub is missing", folder.display());
            None
        }
    }
}

/// The server. It ends when the value is dropped.
pub(crate) struct Mirror {
    process: Child,
    pub(crate) endpoint: String,
    folder: tempfile::TempDir,
}

#[allow(dead_code, reason = "not every test file counts requests or serves files of its own")]
impl Mirror {
    /// The server with these files of data sets, given as `owner/name/path` with their bytes.
    pub(crate) fn of_files(shared: &Path, files: &[(&str, Vec<u8>)], options: &[&str]) -> Self {
        Self::of_repositories(shared, "datasets", files, options)
    }

    /// As [`Self::of_files`], for repositories of weights.
    pub(crate) fn of_models(shared: &Path, files: &[(&str, Vec<u8>)], options: &[&str]) -> Self {
        Self::of_repositories(shared, "models", files, options)
    }

    fn of_repositories(shared: &Path, kind: &str, files: &[(&str, Vec<u8>)], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The program serves the folder `hub` beside its own folder.
        let tools = folder.path().join("tools");
        std::fs::create_dir_all(&tools).unwrap();
        std::fs::copy(shared.join("tools/hub_mirror.py"), tools.join("hub_mirror.py")).unwrap();
        for (path, bytes) in files {
            let path = folder.path().join("hub").join(kind).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Self::run(&tools.join("hub_mirror.py"), folder, options)
    }

    pub(crate) fn start(shared: &Path, options: &[&str]) -> Self {
        Self::run(&shared.join("tools/hub_mirror.py"), tempfile::tempdir().unwrap(), options)
    }

    /// The number of requests so far whose log line contains all of these words.
    pub(crate) fn count(&self, words: &[&str]) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    fn run(program: &Path, folder: tempfile::TempDir, options: &[&str]) -> Self {
        let ready = folder.path().join("ready");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("python3")
            .arg(program)
            .args(["--verbose", "--port", "0", "--ready"])
            .arg(&ready)
            .args(options)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("python3 runs the mirror");
        let mut mirror = Self { process, endpoint: String::new(), folder };
        let start = Instant::now();
        while mirror.endpoint.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(30), "the mirror does not start");
            std::thread::sleep(Duration::from_millis(10));
            mirror.endpoint = std::fs::read_to_string(&ready).unwrap_or_default();
        }
        mirror
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The paths of all files below a folder, relative to it, without lock files.
#[allow(dead_code, reason = "not every test file looks into folders")]
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|extension| extension != "lock") {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
