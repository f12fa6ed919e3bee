//! `measure` on networks that PyTorch made (see the README beside them), in both precisions and with every estimator.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests, which may panic")]

mod program;
mod schema;

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;

use candle_core::{DType, Device, Tensor, safetensors};
use program::{command, document, xtask};
use serde_json::Value;

const NETS: &str = include_str!("pytorch/nets.json");

/// One network in a folder of its own: architecture, weights and inputs, and the values that PyTorch gives for them.
struct Case {
    folder: tempfile::TempDir,
    name: String,
    about: Value,
    gc: Vec<f64>,
}

impl Case {
    fn mean(&self) -> f64 {
        self.gc.iter().sum::<f64>() / self.gc.len() as f64
    }

    /// Runs `measure` on it and checks the document against the schema.
    fn measure(&self, args: &[&str]) -> Value {
        let document = document(&self.run(args));
        schema::check("measure", &document);
        document
    }

    fn run(&self, args: &[&str]) -> Output {
        let network = ["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--json"];
        let inputs = ["--inputs", "x.safetensors"];
        xtask(self.folder.path(), &[&network[..], &inputs, args].concat())
    }
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch/nets.safetensors");
    let tensors = safetensors::load(path, &Device::Cpu).unwrap();
    let described: HashMap<String, Value> = serde_json::from_str(NETS).unwrap();
    let case = |(name, about): (String, Value)| {
        let folder = tempfile::tempdir().unwrap();
        let under = |prefix: String| -> HashMap<String, Tensor> {
            let own = |(key, tensor): (&String, &Tensor)| Some((key.strip_prefix(&prefix)?.to_owned(), tensor.clone()));
            tensors.iter().filter_map(own).collect()
        };
        safetensors::save(&under(format!("{name}.param.")), folder.path().join("w.safetensors")).unwrap();
        let data: HashMap<&str, Tensor> =
            ["x", "y"].iter().map(|key| (*key, tensors[&format!("{name}.{key}")].clone())).collect();
        safetensors::save(&data, folder.path().join("x.safetensors")).unwrap();
        std::fs::write(folder.path().join("net.toml"), about["architecture"].as_str().unwrap()).unwrap();
        let gc = tensors[&format!("{name}.gc")].to_dtype(DType::F64).unwrap().to_vec1().unwrap();
        Case { folder, name, about, gc }
    };
    let cases: Vec<Case> = described.into_iter().map(case).collect();
    assert!(cases.len() >= 9);
    cases
}

fn number(document: &Value, pointer: &str) -> f64 {
    document.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} is no number: {document}"))
}

#[track_caller]
fn near(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{what}: {found}, PyTorch {expected}");
}

#[test]
fn networks_of_every_family_have_pytorchs_complexity() {
    for case in cases() {
        for (dtype, tolerance) in [("f32", 2e-5), ("f64", 1e-11)] {
            let document = case.measure(&["--dtype", dtype, "--per-sample", "gc.csv"]);
            near(&format!("{} {dtype}", case.name), number(&document, "/gc/value"), case.mean(), tolerance);
            let mut reader = csv::Reader::from_path(case.folder.path().join("gc.csv")).unwrap();
            let found: Vec<f64> = reader.records().map(|line| line.unwrap()[2].parse().unwrap()).collect();
            assert_eq!(found.len(), case.gc.len());
            for (found, expected) in found.iter().zip(&case.gc) {
                near(&case.name, *found, *expected, tolerance);
            }
        }
    }
}

#[test]
fn layers_and_pixel_units_agree_with_pytorch() {
    for case in cases() {
        let layer = case.about["layer"][0].as_str().unwrap();
        let document = case.measure(&["--dtype", "f64", "--layer", layer]);
        near(&format!("{} {layer}", case.name), number(&document, "/gc/value"), number(&case.about, "/layer/1"), 1e-11);
        let Some(std) = case.about.get("std") else { continue };
        let std: Vec<String> = std.as_array().unwrap().iter().map(Value::to_string).collect();
        let document = case.measure(&["--dtype", "f64", "--units", "pixel", "--std", &std.join(",")]);
        near(&case.name, number(&document, "/gc/value"), number(&case.about, "/pixel"), 1e-11);
    }
}

/// Three standard errors hold for all but one normal estimate in 370; seeds are fixed, so a wrong factor fails for good.
#[test]
fn every_estimator_covers_the_exact_value_of_these_samples() {
    let estimators: [&[&str]; 4] = [
        &["--estimator", "rows", "--probes", "40"],
        &["--estimator", "columns", "--probes", "40", "--probe", "gaussian"],
        &["--estimator", "columns", "--probes", "40", "--probe", "sphere"],
        &["--estimator", "entry-mask", "--rate", "0.7"],
    ];
    for case in cases() {
        // With few of many outputs and four samples the estimate of the error is itself too rough to test against.
        let outputs = case.measure(&[])["gc"]["outputs"].as_u64().unwrap();
        let most = (outputs * 3 / 4).max(2).to_string();
        let sampled: [&[&str]; 1] = [&["--estimator", "output-sample", "--probes", &most]];
        for estimator in estimators.iter().chain(&sampled) {
            let alone = ["--dtype", "f64", "--population", "data-set", "--seed", "5"];
            let document = case.measure(&[*estimator, &alone[..]].concat());
            let (found, error) = (number(&document, "/gc/value"), number(&document, "/gc/std_error"));
            assert!(error > 0.0 && error < case.mean(), "{} {estimator:?}: error {error}", case.name);
            assert!((found - case.mean()).abs() < 3.0 * error, "{} {estimator:?}: {found} ± {error}", case.name);
            assert_eq!(document["gc"]["method"], estimator[1]);
        }
    }
}

#[test]
fn options_that_the_estimator_does_not_use_are_named() {
    let case = cases().into_iter().min_by_key(|case| case.name.clone()).unwrap();
    let notes = |args: &[&str]| String::from_utf8_lossy(&case.run(args).stderr).into_owned();
    let exact = notes(&["--rate", "0.5", "--probe", "gaussian"]);
    assert!(exact.contains("--probe is ignored") && exact.contains("--rate is ignored"), "{exact}");
    let masked = notes(&["--estimator", "entry-mask", "--rate", "0.5", "--probes", "2"]);
    assert!(masked.contains("--probes is ignored") && !masked.contains("--rate is ignored"), "{masked}");
    assert!(!notes(&["--probes", "2", "--probe", "sphere"]).contains("is ignored"));
}

#[test]
fn measures_of_classes_without_gc_say_why_they_have_no_value() {
    let case = cases().into_iter().find(|case| case.name == "vgg_bn").unwrap();
    let report = case.measure(&["--samples", "1"])["collapse"].clone();
    // GC of one sample has no standard error, and neither has what it is a factor of.
    assert!(report["geometric_collapse"].is_f64() && report["geometric_collapse_std_error"].is_null(), "{report}");
    let undefined = report["undefined"].as_array().unwrap();
    for measure in ["pairwise_geometric_collapse", "poincare_constant"] {
        let gap = undefined.iter().find(|gap| gap["measure"] == measure).expect(measure);
        assert!(report[measure].is_null() && gap["reason"].as_str().unwrap().contains("on no sample of some class"));
    }
}

#[test]
fn the_memory_budget_changes_the_work_and_not_the_value() {
    for case in cases().into_iter().filter(|case| case.name.starts_with("resnet")) {
        let wide = case.measure(&["--dtype", "f64"]);
        let narrow = case.measure(&["--dtype", "f64", "--budget-mb", "1"]);
        assert!(narrow["gc"]["chunk"]["samples"].as_u64() <= wide["gc"]["chunk"]["samples"].as_u64());
        near(&case.name, number(&narrow, "/gc/value"), number(&wide, "/gc/value"), 1e-13);
        let none = case.run(&["--budget-mb", "0"]);
        assert_eq!(none.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&none.stderr).contains("bytes"), "the message states how many are needed");
    }
}

#[test]
fn an_exact_value_of_the_data_set_itself_has_no_error() {
    let case = cases().into_iter().find(|case| case.name == "vgg_bn").unwrap();
    assert_eq!(number(&case.measure(&["--population", "data-set"]), "/gc/std_error"), 0.0);
    assert!(number(&case.measure(&["--population", "distribution"]), "/gc/std_error") > 0.0);
}

#[test]
fn an_error_that_is_not_reached_is_reported_beside_the_result() {
    let case = cases().into_iter().find(|case| case.name == "vgg_bn").unwrap();
    let output = case.run(&["--until-rel", "0.001"]);
    assert!(output.status.success());
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("0.001 of --until-rel") && note.contains("--population data-set"), "{note}");
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "the note is not in the document");
}

#[test]
fn weights_in_several_files_of_the_hubs_cache_are_fetched_by_their_index() {
    let case = cases().into_iter().find(|case| case.name.starts_with("resnet")).unwrap();
    let tensors = safetensors::load(case.folder.path().join("w.safetensors"), &Device::Cpu).unwrap();
    let snapshot = case.folder.path().join("cache/models--owner--name/snapshots/c0ffee");
    std::fs::create_dir_all(snapshot.join("weights")).unwrap();
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let mut map = serde_json::Map::new();
    for (part, names) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("part-{part}.safetensors");
        let held: HashMap<&str, Tensor> = names.iter().map(|name| (name.as_str(), tensors[*name].clone())).collect();
        safetensors::save(&held, snapshot.join("weights").join(&file)).unwrap();
        map.extend(names.iter().map(|name| ((*name).clone(), file.clone().into())));
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(snapshot.join("weights/model.safetensors.index.json"), index).unwrap();
    let run = || {
        command(case.folder.path(), &["measure", "--arch", "net.toml", "--inputs", "x.safetensors", "--json"])
            .env("HF_HUB_CACHE", case.folder.path().join("cache"))
            .env("HF_HUB_OFFLINE", "1")
            .args(["--dtype", "f64", "--weights", "hub:owner/name@c0ffee:weights/model.safetensors.index.json"])
            .output()
            .unwrap()
    };
    let output = run();
    let document = document(&output);
    near(&case.name, number(&document, "/gc/value"), case.mean(), 1e-11);
    // A part that the cache lacks is named.
    std::fs::remove_file(snapshot.join("weights/part-1.safetensors")).unwrap();
    let output = run();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("weights/part-1.safetensors"), "{error}");
}

#[test]
fn all_layers_are_those_that_are_measured_alone() {
    let case = cases().into_iter().min_by_key(|case| case.name.clone()).unwrap();
    let output = case.run(&["--dtype", "f64", "--layers", "all"]);
    let all = document(&output);
    schema::check("measure_layers", &all);
    let layers = all["layers"].as_array().unwrap();
    assert!(layers.len() > 1, "{all}");
    for layer in layers {
        let name = layer["layer"].as_str().unwrap();
        let alone = case.measure(&["--dtype", "f64", "--layer", name]);
        assert_eq!(
            (&alone["gc"]["value"], &alone["gc"]["outputs"]),
            (&layer["gc"]["value"], &layer["gc"]["outputs"]),
            "{name}"
        );
    }
    for (layers, needle) in [("all,head", "stands alone"), ("no-such-layer", "no-such-layer")] {
        let refused = case.run(&["--layers", layers]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && message.contains(needle), "{layers}: {message}");
    }
}

/// The output of a head that the weights lack would be one of random numbers.
#[test]
fn the_output_of_a_missing_head_is_refused_and_left_out_of_all_layers() {
    let case = cases().into_iter().find(|case| case.name == "resnet_basic_imagenet").unwrap();
    let layers = || -> Vec<String> {
        let all = document(&case.run(&["--layers", "all"]));
        all["layers"].as_array().unwrap().iter().map(|layer| layer["layer"].as_str().unwrap().to_owned()).collect()
    };
    let mut whole = layers();
    let path = case.folder.path().join("w.safetensors");
    let mut weights = safetensors::load(&path, &Device::Cpu).unwrap();
    weights.retain(|name, _| !name.starts_with("fc."));
    safetensors::save(&weights, &path).unwrap();
    case.measure(&[]);
    for option in ["--layer", "--layers"] {
        let refused = case.run(&[option, "fc"]);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && message.contains("no weights of the head"), "{message}");
    }
    assert_eq!(whole.pop().as_deref(), Some("fc"));
    assert_eq!(layers(), whole);
}
