//! Faults of downloads: killed and simultaneous processes, dead connections, full and read-only disks.
#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests stop at their first error and print what they skip"
)]

mod common;
#[path = "common/relay.rs"]
mod relay;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Mirror, files, shared};
use datasets::{Error, Hub, HubFile, Source};
use relay::Relay;

const PATH: &str = "mnist/test-00000-of-00001.parquet";

/// The smallest file of the mirror, 2.3 MB.
fn small() -> HubFile {
    HubFile::dataset("ylecun/mnist", "main", PATH)
}

fn whole(shared: &Path) -> Vec<u8> {
    std::fs::read(shared.join("hub/datasets/ylecun/mnist").join(PATH)).unwrap()
}

/// This test program as another process that downloads the file. A shell runs `prepare`, which ends in `exec "$@"`.
fn child(endpoint: &str, cache: &Path, prepare: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", prepare, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "as_another_process", "--ignored", "--nocapture"]);
    command.env("HF_ENDPOINT", endpoint).env("HF_HUB_CACHE", cache).env("FETCH_AS_ANOTHER_PROCESS", "1");
    command.env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

const PLAINLY: &str = "exec \"$@\"";

#[test]
#[ignore = "other tests start it"]
fn as_another_process() {
    if std::env::var_os("FETCH_AS_ANOTHER_PROCESS").is_none() {
        return;
    }
    match Hub::from_env().file(&small()) {
        Ok(path) => println!("FETCHED {}", path.display()),
        Err(error) => println!("FAILED {error:?} MESSAGE {error}"),
    }
}

fn result_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line =
        text.lines().find_map(|line| line.find("FETCHED").or(line.find("FAILED")).map(|at| line[at..].to_owned()));
    line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn part(cache: &Path) -> Option<PathBuf> {
    files(cache).iter().find(|file| file.ends_with(".part")).map(|file| cache.join(file))
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn two_processes_share_one_download() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--delay", "0.2"]), tempfile::tempdir().unwrap());
    let spawn = || child(&mirror.endpoint, cache.path(), PLAINLY).spawn().unwrap();
    let both: Vec<Child> = (0..3).map(|_| spawn()).collect();
    for process in both {
        let line = result_line(&process.wait_with_output().unwrap());
        assert!(line.starts_with("FETCHED"), "{line}");
    }
    assert_eq!(mirror.count(&["GET", PATH]), 1, "one download");
    assert_eq!(mirror.count(&["HEAD", PATH]), 1, "one description");
}

#[test]
fn a_killed_download_is_resumed() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let size = whole(&shared).len() as u64;
    let relay = Relay::start(&mirror.endpoint, 1_500_000);
    let mut process = child(&relay.endpoint, cache.path(), PLAINLY).spawn().unwrap();
    let length = || part(cache.path()).map_or(0, |part| std::fs::metadata(part).unwrap().len());
    wait_until("the relay passes no bytes", || length() > 1_000_000);
    process.kill().unwrap();
    process.wait().unwrap();
    let before = length();
    assert!(cache.path().join("datasets--ylecun--mnist/blobs").is_dir() && before < size);
    assert!(
        !files(cache.path()).iter().any(|file| file.contains("snapshots")),
        "a partial file never has the name of the file"
    );
    // A second process takes the lock of the killed one and downloads the missing bytes only.
    let relay = Relay::start(&mirror.endpoint, u64::MAX);
    let line = result_line(&child(&relay.endpoint, cache.path(), PLAINLY).output().unwrap());
    assert!(line.starts_with("FETCHED"), "{line}");
    assert!(relay.sent() < size - before + 4096, "{} bytes received, {before} of {size} were present", relay.sent());
    assert!(std::fs::read(line.trim_start_matches("FETCHED ")).unwrap() == whole(&shared));
    assert_eq!(part(cache.path()), None);
}

#[test]
fn a_dead_connection_is_an_error_after_the_read_timeout() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // Silent from the start; silent in the middle of the file.
    for limit in [0, 500_000] {
        let relay = Relay::start(&mirror.endpoint, limit);
        let hub =
            Hub { retries: 1, read_timeout: Duration::from_millis(300), ..Hub::new(&relay.endpoint, cache.path()) };
        let start = Instant::now();
        let failed = hub.file(&small());
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
        match limit {
            0 => assert!(matches!(failed, Err(Error::Network { attempts: 2, .. })), "{failed:?}"),
            _ => assert!(matches!(failed, Err(Error::Truncated { got: 1.., attempts: 2, .. })), "{failed:?}"),
        }
        assert_eq!(files(cache.path()), [""; 0]);
    }
}

#[test]
fn a_file_beyond_the_systems_size_limit_is_an_error_and_leaves_no_file() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // 1,000 blocks of 512 bytes; the signal is ignored, so that writing fails.
    let output = child(&mirror.endpoint, cache.path(), "trap '' XFSZ; ulimit -f 1000; exec \"$@\"").output().unwrap();
    let line = result_line(&output);
    assert!(line.starts_with("FAILED Io { action: \"write\"") && line.contains("HF_HOME"), "{line}");
    assert_eq!(files(cache.path()), [""; 0]);
}

/// The child's output in its own mount namespace. None, with a printed reason, if the system does not allow one.
fn in_own_namespace(endpoint: &str, cache: &Path, prepare: &str) -> Option<Output> {
    let allowed = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this machine does not allow `unshare --map-root-user --mount`");
        return None;
    }
    let script = format!("{prepare} && exec \"$@\"");
    let mut inner = child(endpoint, cache, &script);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount"]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    inner.stdout(Stdio::null());
    Some(command.output().unwrap())
}

#[test]
fn a_full_disk_is_an_error_with_advice() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // A disk of one megabyte.
    let prepare = format!("mount -t tmpfs -o size=1m tmpfs {0} && cd /", cache.path().display());
    let Some(output) = in_own_namespace(&mirror.endpoint, cache.path(), &prepare) else { return };
    let line = result_line(&output);
    assert!(line.contains("StorageFull") && line.contains("free some space"), "{line}");
}

#[test]
fn a_read_only_cache_gives_its_files_and_refuses_downloads() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let place = cache.path().display();
    let prepare = format!("mount --bind {place} {place} && mount -o remount,ro,bind {place}");
    let Some(output) = in_own_namespace(&mirror.endpoint, cache.path(), &prepare) else { return };
    let refused = result_line(&output);
    assert!(refused.contains("ReadOnlyFilesystem") && refused.contains("HF_HOME"), "{refused}");
    Hub::new(&mirror.endpoint, cache.path()).file(&small()).unwrap();
    let served = result_line(&in_own_namespace(&mirror.endpoint, cache.path(), &prepare).unwrap());
    assert!(served.starts_with("FETCHED"), "{served}");
}

#[test]
fn a_data_set_is_loaded_without_a_writable_decoded_cache() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let decoded = tempfile::NamedTempFile::new().unwrap();
    // A folder cannot be created below a file, also by root.
    let source = Source {
        decoded: Some(decoded.path().join("below")),
        train_per_class: Some(1),
        ..Source::of_hub(Hub::new(&mirror.endpoint, cache.path()))
    };
    assert_eq!(datasets::load("mnist", &source).unwrap().train.len(), 10);
}
