//! Features in several files: columns and classes are matched by their names, and nothing is lost or overwritten silently.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which may panic")]

mod program;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use program::{ended, printed};
use serde_json::Value;

const FIRST: &str = "a,b,gc,name\n0,1,2,cat\n1,3,4,cat\n5,0,1,dog\n6,2,3,dog\n";
const SECOND: &str = "a,b,gc,name\n9,9,2,ant\n8,7,1,ant\n1,2,5,cat\n";

fn report(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&printed(folder, &[&["collapse", "--features"], args, &["--json"]].concat())).unwrap()
}

fn folder_with_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("first.csv", FIRST);
    write("second.csv", SECOND);
    write("turned.csv", "gc,name,b,a\n2,ant,9,9\n1,ant,7,8\n5,cat,2,1\n");
    write("renamed.csv", "a,c,gc,name\n9,9,2,ant\n8,7,1,ant\n1,2,5,cat\n");
    write("bare.csv", "a,b,name\n9,9,ant\n8,7,ant\n1,2,cat\n");
    let body = SECOND.split_once('\n').unwrap().1;
    write("all.csv", &format!("{FIRST}{body}"));
    let weight = Tensor::new(&[[1.0, 0.2], [0.1, -1.0], [-2.0, 0.5]], &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("weight", weight)]), folder.path().join("head.safetensors")).unwrap();
    folder
}

#[test]
fn columns_and_classes_are_matched_by_name_in_any_order_of_the_files() {
    let folder = folder_with_files();
    let path = folder.path();
    let head = ["--head", "head.safetensors"];
    let expected = report(path, &[&["all.csv"], &head[..]].concat());
    assert_eq!(expected["class_names"], serde_json::json!(["ant", "cat", "dog"]));
    for files in [["first.csv", "second.csv"], ["first.csv", "turned.csv"]] {
        let found = report(path, &[&files[..], &head].concat());
        assert_eq!((&found["collapse"], &found["class_names"]), (&expected["collapse"], &expected["class_names"]));
    }
    // The samples are in another order, so that sums are rounded otherwise.
    let turned = report(path, &[&["second.csv", "first.csv"], &head[..]].concat());
    assert_eq!(turned["class_names"], expected["class_names"]);
    for measure in ["cdnv", "self_duality", "ncc_agreement", "geometric_collapse", "pairwise_geometric_collapse"] {
        let [found, expected] = [&turned, &expected].map(|report| report["collapse"][measure].as_f64().unwrap());
        assert!((found / expected - 1.0).abs() < 1e-12, "{measure}: {found}, expected {expected}");
    }
}

#[test]
fn what_cannot_be_joined_is_refused() {
    let folder = folder_with_files();
    let message = |second: &str| ended(folder.path(), &["collapse", "--features", "first.csv", second], 1);
    let renamed = message("renamed.csv");
    assert!(renamed.contains("renamed.csv: its columns are a, c, those of the first file a, b"), "{renamed}");
    let bare = message("bare.csv");
    assert!(bare.contains("bare.csv: `gc` is in some of the files and not in others"), "{bare}");
}

#[test]
fn a_file_of_another_kind_is_not_overwritten() {
    let folder = folder_with_files();
    let path = folder.path();
    let fewshot =
        ["fewshot", "--features", "all.csv", "--shots", "1", "--queries", "1", "--ways", "2", "--episodes", "9"];
    let tasks = |file: &'static str| [&fewshot[..], &["--write-tasks", file]].concat();
    printed(path, &tasks("tasks.jsonl"));
    printed(path, &tasks("tasks.jsonl"));
    let shown = |file: &'static str| vec!["data", "show", "glyphs", "--out", file];
    printed(path, &shown("glyphs.png"));
    printed(path, &shown("glyphs.png"));
    let chart = vec!["rank", "--runs", "results", "--chart", "all.csv"];
    for args in [tasks("all.csv"), vec!["reproduce", "--plan", "all.csv"], shown("all.csv"), chart] {
        let message = ended(path, &args, 1);
        assert!(message.contains("all.csv exists and is no "), "{message}");
    }
    assert!(fs::read_to_string(path.join("all.csv")).unwrap().starts_with(FIRST));
}
