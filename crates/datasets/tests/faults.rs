//! What goes wrong around a download: killed processes, two at once, dead connections, full and read-only disks.
#![cfg(target_os = "linux")]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests stop at their first error, and say what they skip"
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

/// This test program as another process that fetches the file, started through a shell that prepares its world:
/// `prepare` ends in `exec "$@"`.
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
#[ignore = "a part of other tests, which start it"]
fn as_another_process() {
    if std::env::var_os("FETCH_AS_ANOTHER_PROCESS").is_none() {
        return;
    }
    match Hub::from_env().file(&small()) {
        Ok(path) => println!("FETCHED {}", path.display()),
        Err(error) => println!("FAILED {error:?} SAID {error}"),
    }
}

fn told(output: &Output) -> String {
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
        let told = told(&process.wait_with_output().unwrap());
        assert!(told.starts_with("FETCHED"), "{told}");
    }
    assert_eq!(mirror.count(&["GET", PATH]), 1, "one download");
    assert_eq!(mirror.count(&["HEAD", PATH]), 1, "asked once what it is");
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
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
    assert!(!files(cache.path()).iter().any(|file| file.contains("snapshots")), "a cut file never has its name");
    // A second process takes the lock that the dead one held, and asks for the rest only.
    let relay = Relay::start(&mirror.endpoint, u64::MAX);
    let told = told(&child(&relay.endpoint, cache.path(), PLAINLY).output().unwrap());
    assert!(told.starts_with("FETCHED"), "{told}");
    assert!(relay.sent() < size - before + 4096, "{} bytes came, {before} of {size} were there", relay.sent());
    assert!(std::fs::read(told.trim_start_matches("FETCHED ")).unwrap() == whole(&shared));
    assert_eq!(part(cache.path()), None);
}

#[test]
fn a_dead_connection_is_given_up() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // Silent from the start; silent within the file.
    for limit in [0, 500_000] {
        let relay = Relay::start(&mirror.endpoint, limit);
        let hub = Hub { retries: 1, patience: Duration::from_millis(300), ..Hub::new(&relay.endpoint, cache.path()) };
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
fn a_file_that_grows_beyond_its_limit_is_an_error_and_leaves_nothing() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // 1,000 blocks of 512 bytes; the signal is ignored, so that writing fails.
    let output = child(&mirror.endpoint, cache.path(), "trap '' XFSZ; ulimit -f 1000; exec \"$@\"").output().unwrap();
    let told = told(&output);
    assert!(told.starts_with("FAILED Io { action: \"write\"") && told.contains("HF_HOME"), "{told}");
    assert_eq!(files(cache.path()), [""; 0]);
}

/// The child's output in a world with file systems of its own; none, with a reason, where that is not allowed.
fn in_own_world(endpoint: &str, cache: &Path, prepare: &str) -> Option<Output> {
    let allowed = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this machine does not allow `unshare --map-root-user --mount`: disks cannot be made up");
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
fn a_full_disk_is_an_error_that_says_what_to_do() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    // One megabyte; what is left on it is listed after the program's end.
    let prepare = format!("mount -t tmpfs -o size=1m tmpfs {0} && cd /", cache.path().display());
    let Some(output) = in_own_world(&mirror.endpoint, cache.path(), &prepare) else { return };
    let told = told(&output);
    assert!(told.contains("StorageFull") && told.contains("free some space"), "{told}");
}

#[test]
fn a_read_only_cache_serves_what_it_has_and_refuses_the_rest() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let place = cache.path().display();
    let prepare = format!("mount --bind {place} {place} && mount -o remount,ro,bind {place}");
    let Some(output) = in_own_world(&mirror.endpoint, cache.path(), &prepare) else { return };
    let refused = told(&output);
    assert!(refused.contains("ReadOnlyFilesystem") && refused.contains("HF_HOME"), "{refused}");
    Hub::new(&mirror.endpoint, cache.path()).file(&small()).unwrap();
    let served = told(&in_own_world(&mirror.endpoint, cache.path(), &prepare).unwrap());
    assert!(served.starts_with("FETCHED"), "{served}");
}

#[test]
fn without_a_place_for_decoded_images_only_time_is_lost() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let decoded = tempfile::NamedTempFile::new().unwrap();
    // A folder cannot be made below a file: no place for decoded images, whoever asks.
    let source = Source {
        decoded: Some(decoded.path().join("below")),
        train_per_class: Some(1),
        ..Source::of_hub(Hub::new(&mirror.endpoint, cache.path()))
    };
    assert_eq!(datasets::load("mnist", &source).unwrap().train.len(), 10);
}
