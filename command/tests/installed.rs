//! The installed program: its own name everywhere, its commands, completions that fire, manual pages, runs as processes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_geometric-collapse");

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Both outputs of a command, with its exit code checked.
fn text(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = run(folder, arguments);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    text
}

#[test]
fn help_errors_and_examples_have_the_name_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let help = text(root, &["--help"], 0);
    assert!(help.starts_with("Geometric complexity, neural collapse and few-shot accuracy"), "{help}");
    assert!(help.contains("Usage: geometric-collapse <COMMAND>") && !help.contains("bench"), "{help}");
    for command in ["measure", "collapse", "fewshot", "rank", "data", "reproduce", "completions", "man"] {
        assert!(help.contains(command), "{help}");
        let own = text(root, &[command, "--help"], 0);
        assert!(own.contains(&format!("Usage: geometric-collapse {command}")) && !own.contains("xtask"), "{own}");
        let wrong = text(root, &[command, "--no-such-option"], 2);
        assert!(wrong.contains("--no-such-option") && !wrong.contains("xtask"), "{wrong}");
    }
    assert!(text(root, &["bench"], 2).contains("unrecognized subcommand"));
    assert!(text(root, &["--version"], 0).starts_with("geometric-collapse 0."));
}

#[test]
fn json_names_the_command_and_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("my f.csv"), "f0,f1,label\n0,0,0\n0,2,0\n4,0,1\n4,3,1\n").unwrap();
    let output = run(root, &["collapse", "--features", "my f.csv", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let record = &document["record"];
    assert_eq!(record["command"], "geometric-collapse collapse --features 'my f.csv' --json");
    assert_eq!(
        (&record["program"], &record["version"]),
        (&"geometric-collapse".into(), &env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(record["time"].as_str().unwrap().len(), "2026-11-24T01:30:00Z".len());
    assert!(record["commit"].is_string() || record["commit"].is_null());
}

#[test]
fn a_manual_page_is_printed_or_one_for_each_command_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert!(text(root, &["man"], 0).contains(".TH geometric-collapse 1"));
    let measure = text(root, &["man", "measure"], 0);
    assert!(measure.contains(".TH geometric-collapse-measure 1") && measure.contains("measure 0."), "{measure}");
    text(root, &["man", "--out", "man1"], 0);
    for name in ["geometric-collapse", "geometric-collapse-measure", "geometric-collapse-reproduce"] {
        let page = fs::read_to_string(root.join("man1").join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")) && !page.contains("xtask"), "{page}");
    }
    assert!(!root.join("man1/geometric-collapse-run.1").exists(), "hidden commands have no page");
    assert!(text(root, &["man", "mesure"], 2).contains("did you mean `measure`"));
}

/// The completions that bash offers at the end of a line.
fn completed(root: &Path, line: &str) -> Vec<String> {
    let script = "source completions.bash; COMP_LINE=$1; COMP_POINT=${#1}; read -ra COMP_WORDS <<< \"$1\"; \
                  [[ $1 == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                  $(complete -p geometric-collapse | sed 's/.*-F \\([^ ]*\\).*/\\1/') geometric-collapse \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").current_dir(root).args(["-c", script, "bash", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn completions_fire_for_models_experiments_data_sets_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let script = run(root, &["completions", "bash"]);
    fs::write(root.join("completions.bash"), script.stdout).unwrap();
    fs::write(root.join("net.safetensors"), "").unwrap();
    for (line, expected) in [
        ("geometric-collapse mea", "measure"),
        ("geometric-collapse measure --model resnet18", "resnet18-cifar"),
        ("geometric-collapse measure --weights ne", "net.safetensors"),
        ("geometric-collapse measure --onnx ne", "net.safetensors"),
        ("geometric-collapse measure --data cifar1", "cifar100"),
        ("geometric-collapse rank --model vgg1", "vgg13"),
        ("geometric-collapse collapse --features ne", "net.safetensors"),
        ("geometric-collapse reproduce fig", "fig4"),
        ("geometric-collapse reproduce --preset ", "paper-lite"),
        ("geometric-collapse reproduce --data gl", "glyphs"),
        ("geometric-collapse reproduce --engine ", "slurm"),
        ("geometric-collapse data show gl", "glyphs"),
    ] {
        let offered = completed(root, line);
        assert!(offered.iter().any(|word| word == expected), "{line}: {offered:?}");
    }
}

#[test]
fn runs_are_processes_of_the_installed_program() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = [
        "data.classes=4",
        "data.train_images_per_class=6",
        "data.test_images_per_class=3",
        "train.epochs=1",
        "train.batch_size=8",
        "measure.schedule=[0, 1]",
        "measure.loss_window=8",
        "measure.feature_images_per_class=3",
        "measure.gc_images_per_class=2",
        "rules.resamples=100",
        "sweeps.learning-rate.values=[0.05, 0.1]",
        "sweeps.batch-size.values=[8, 12]",
        "sweeps.l2.values=[0, 1e-2]",
    ];
    let mut arguments = vec!["reproduce", "fig1", "--seed", "0", "--out", "out"];
    tiny.iter().for_each(|setting| arguments.extend(["--set", setting]));
    let printed = text(folder.path(), &arguments, 0);
    assert!(printed.contains("report   out/report.html"), "{printed}");
    let record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("out/record.json")).unwrap()).unwrap();
    assert!(record["command"].as_str().unwrap().starts_with("geometric-collapse reproduce fig1"), "{record}");
}
