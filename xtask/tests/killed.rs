//! Runs that are killed at any time continue from their last checkpoint and end with the same bits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Settings of one run of about 70 steps with batch norm, momentum and measurements at four points.
const SETTINGS: [&str; 17] = [
    "data.classes=4",
    "data.train_images_per_class=12",
    "data.test_images_per_class=3",
    "data.target_classes=4",
    "data.target_images_per_class=8",
    "train.epochs=12",
    "train.momentum=0.3",
    "measure.schedule=[0, 0.3, 0.6, 1]",
    "measure.loss_window=16",
    "measure.feature_images_per_class=4",
    "measure.gc_images_per_class=2",
    "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
    "train.batch_size=8",
    "sweeps.learning-rate.values=[0.05, 0.1]",
    "sweeps.batch-size.values=[8, 16]",
    "sweeps.l2.values=[0, 1e-2]",
    "sweeps.gc-penalty.values=[0, 1e-2]",
];

const KILLS: usize = 20;

fn xtask() -> Command {
    let mut command = program::command(Path::new("."), &[]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A folder with the configuration of one run, which `reproduce` wrote.
fn template(root: &Path) -> PathBuf {
    template_with(root, &[])
}

/// The same with more settings.
fn template_with(root: &Path, more: &[&str]) -> PathBuf {
    let mut command = xtask();
    command.current_dir(root).args(["reproduce", "fig4", "--seed", "0", "--out", "made"]);
    for setting in SETTINGS.iter().chain(more) {
        command.args(["--set", setting]);
    }
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let runs = fs::read_dir(root.join("made/runs")).unwrap().map(|entry| entry.unwrap().path());
    let small_batches =
        |run: &PathBuf| fs::read_to_string(run.join("run.toml")).unwrap().contains("\nbatch_size = 8\n");
    runs.filter(small_batches).min().unwrap()
}

fn fresh(root: &Path, name: &str, template: &Path) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir(&folder).unwrap();
    fs::copy(template.join("run.toml"), folder.join("run.toml")).unwrap();
    folder
}

fn start(folder: &Path) -> Child {
    xtask().args(["run", "--checkpoint-every", "2"]).arg(folder).spawn().unwrap()
}

/// Whether the child ended by itself within this time.
fn ends_within(child: &mut Child, time: Duration) -> bool {
    let since = Instant::now();
    while since.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn results(folder: &Path) -> [String; 2] {
    ["metrics.jsonl", "done"].map(|name| fs::read_to_string(folder.join(name)).unwrap())
}

fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("checkpoints")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths
}

/// Kills the run once it has saved at least `count` checkpoints.
fn kill_with_checkpoints(folder: &Path, count: usize) {
    let mut child = start(folder);
    while checkpoints(folder).len() < count {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it saved {count} checkpoints");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_killed_twenty_times_at_random_moments_ends_with_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let template = template(root.path());
    let undisturbed = fresh(root.path(), "undisturbed", &template);
    let since = Instant::now();
    assert!(ends_within(&mut start(&undisturbed), Duration::from_secs(120)));
    let whole = since.elapsed();
    let expected = results(&undisturbed);
    assert!(expected[0].lines().count() >= 5, "four points of the schedule and one of equal steps: {}", expected[0]);

    let mut shares = streams::uniform(&mut streams::stream(1, "tests/kills", 0), 4 * KILLS, 0.02, 0.6).into_iter();
    let (mut kills, mut with_checkpoint, mut run) = (0, 0, 0);
    while kills < KILLS {
        run += 1;
        let folder = fresh(root.path(), &format!("killed-{run}"), &template);
        for attempt in 0.. {
            let mut child = start(&folder);
            // Every sixth attempt is not killed, so that the run also ends on a slow machine.
            let time = if attempt % 6 == 5 { Duration::from_secs(120) } else { whole.mul_f64(shares.next().unwrap()) };
            if ends_within(&mut child, time) {
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            with_checkpoint += usize::from(!checkpoints(&folder).is_empty());
        }
        assert_eq!(results(&folder), expected, "after {kills} kills");
        assert!(checkpoints(&folder).is_empty(), "a finished run keeps no checkpoint");
    }
    assert!(with_checkpoint > 0, "no run was killed after a checkpoint");
}

#[test]
fn a_killed_run_continues_from_its_checkpoint_and_a_damaged_one_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let template = template(root.path());
    let expected = results(&template);

    let folder = fresh(root.path(), "resumed", &template);
    kill_with_checkpoints(&folder, 2);
    let mut command = xtask();
    command.args(["run", "--attached"]).arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut first = String::new();
    // The pipe stays open, so that the run can report its progress.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut first).unwrap();
    let share = serde_json::from_str::<serde_json::Value>(&first).unwrap()["share"].as_f64().unwrap();
    assert!(share >= 4.0 / 72.0, "the run starts at its beginning: {first}");
    // `wait` would close its standard input, and the run would end.
    assert!(ends_within(&mut child, Duration::from_secs(120)));
    assert_eq!(results(&folder), expected);

    let folder = fresh(root.path(), "damaged", &template);
    kill_with_checkpoints(&folder, 2);
    let newest = checkpoints(&folder).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let output = xtask().arg("run").arg(&folder).stderr(Stdio::piped()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    let name = newest.file_name().unwrap().to_str().unwrap();
    assert!(output.status.success() && printed.contains(name) && printed.contains("is ignored"), "{printed}");
    assert_eq!(results(&folder), expected);
}

#[test]
fn an_averaged_run_on_augmented_images_continues_with_the_same_bits() {
    let more = [
        "train.ema=0.9",
        "train.accumulate=2",
        "train.nesterov=true",
        "train.clip=1",
        "train.label_smoothing=0.1",
        "train.schedule={ kind = \"cosine\", warmup_epochs = 1 }",
        "data.augmentation={ crop_padding = 2, flip = \"random\" }",
        "data.prefetch=2",
    ];
    let root = tempfile::tempdir().unwrap();
    let template = template_with(root.path(), &more);
    let text = fs::read_to_string(template.join("run.toml")).unwrap();
    assert!(
        text.contains("ema = 0.9") && text.contains("[data.augmentation]") && text.contains("[train.schedule]"),
        "{text}"
    );
    let undisturbed = fresh(root.path(), "undisturbed", &template);
    assert!(ends_within(&mut start(&undisturbed), Duration::from_secs(120)));
    let expected = results(&undisturbed);
    let killed = fresh(root.path(), "killed", &template);
    for count in [1, 2] {
        kill_with_checkpoints(&killed, count);
    }
    assert!(ends_within(&mut start(&killed), Duration::from_secs(120)));
    assert_eq!(results(&killed), expected);
    // Without batches prepared ahead the numbers are the same.
    let alone = fresh(root.path(), "alone", &template);
    fs::write(alone.join("run.toml"), text.replace("prefetch = 2\n", "")).unwrap();
    assert!(ends_within(&mut start(&alone), Duration::from_secs(120)));
    assert_eq!(results(&alone), expected);
}
