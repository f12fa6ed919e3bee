//! ONNX graphs in `measure` and `rank`: golden values, what is printed of the measured tensor, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests, which may panic")]

mod program;
mod schema;

use std::path::{Path, PathBuf};
use std::process::Output;

use candle_core::{Device, Tensor, safetensors};
use program::document;
use serde_json::Value;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx").join(name).to_str().unwrap().to_owned()
}

/// A small network that both exporters of PyTorch export with one sample.
fn exported(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/onnx/tests/networks").join(name)
}

fn xtask(args: &[&str]) -> Output {
    program::xtask(Path::new("."), args)
}

fn json(args: &[&str]) -> Value {
    let document = document(&xtask(args));
    schema::check(args[0], &document);
    document
}

/// Inputs with labels of four classes beside them.
fn labelled(folder: &Path, x: &Tensor) -> String {
    let labels: Vec<i64> = (0..x.dim(0).unwrap() as i64).map(|at| at % 4).collect();
    let y = Tensor::new(labels, &Device::Cpu).unwrap();
    let path = folder.join("inputs.safetensors");
    safetensors::save(&[("x", x.clone()), ("y", y)].into(), &path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_graph_has_pytorchs_complexity_and_its_tensor_is_stated() {
    let golden = safetensors::load(file("small.safetensors"), &Device::Cpu).unwrap();
    let known: Vec<f64> = golden["gc"].to_vec1().unwrap();
    let known = known.iter().sum::<f64>() / known.len() as f64;
    let (graph, inputs) = (file("small.onnx"), file("small.safetensors"));
    let args = ["measure", "--onnx", &graph, "--inputs", &inputs, "--dtype", "f64", "--json"];
    let document = json(&args);
    let value = document["gc"]["value"].as_f64().unwrap();
    assert!((value / known - 1.0).abs() < 1e-9, "{value} {known}");
    assert_eq!(document["tensor_is_guess"], true);
    assert!(document["tensor"].as_str().unwrap().contains("taken as the classifier (a guess"), "{document}");

    let named = json(&[&args[..], &["--layer", "head"]].concat());
    assert_eq!((&named["tensor_is_guess"], &named["gc"]["value"]), (&Value::Bool(false), &document["gc"]["value"]));
    let output = json(&[&args[..], &["--layer", "output"]].concat());
    assert!(output["tensor"].as_str().unwrap().contains("the output of the graph"), "{output}");
    assert_ne!(output["gc"]["value"], document["gc"]["value"]);

    let text = xtask(&args[..7]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("a guess"), "{text}");
}

#[test]
fn exports_with_one_sample_are_measured_with_their_head() {
    let folder = tempfile::tempdir().unwrap();
    for exporter in ["ts", "dynamo"] {
        let graph = exported(&format!("residual_{exporter}.onnx"));
        let known = safetensors::load(graph.with_extension("safetensors"), &Device::Cpu).unwrap();
        let x = Tensor::cat(&[&known["x"], &(&known["x"] * 0.9).unwrap(), &(&known["x"] * 1.1).unwrap()], 0).unwrap();
        let inputs = labelled(folder.path(), &x);
        let document = json(&["measure", "--onnx", graph.to_str().unwrap(), "--inputs", &inputs, "--json"]);
        assert_eq!(document["gc"]["samples"], 9);
        assert!(document["collapse"]["self_duality"].is_number(), "{document}");
        assert!(document["collapse"]["ncc_agreement"].is_number(), "{document}");
        assert_eq!(document["collapse_without_head"], Value::Null);
    }
}

#[test]
fn graphs_are_ranked() {
    let folder = tempfile::tempdir().unwrap();
    let graphs = ["residual_ts.onnx", "residual_dynamo.onnx"].map(|name| exported(name).to_str().unwrap().to_owned());
    let known = safetensors::load(exported("residual_ts.safetensors"), &Device::Cpu).unwrap();
    let inputs = folder.path().join("x.safetensors");
    safetensors::save(&[("x", known["x"].clone())].into(), &inputs).unwrap();
    let args = ["rank", &graphs[0], &graphs[1], "--inputs", inputs.to_str().unwrap(), "--json"];
    let values = |document: &Value| -> Vec<f64> {
        document["scores"][0]["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let document = json(&args);
    let found = values(&document);
    assert_eq!(found.len(), 2, "{document}");
    // Two exports of one network.
    assert!((found[0] / found[1] - 1.0).abs() < 1e-5, "{found:?}");

    let list = folder.path().join("list.toml");
    let entry = |graph: &str| format!("[[checkpoint]]\nname = 'a'\nonnx = '{graph}'\nlayer = 'head'\n");
    std::fs::write(&list, entry(&graphs[0])).unwrap();
    let listed = json(&["rank", "--list", list.to_str().unwrap(), "--inputs", inputs.to_str().unwrap(), "--json"]);
    assert!((values(&listed)[0] / found[0] - 1.0).abs() < 1e-5, "{listed}");
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let x = folder.path().join("x.safetensors");
    safetensors::save(
        &[("x", Tensor::zeros((2, 3, 9, 11), candle_core::DType::F32, &Device::Cpu).unwrap())].into(),
        &x,
    )
    .unwrap();
    let refused = |args: &[&str]| {
        let output = xtask(&[&["measure", "--inputs", x.to_str().unwrap()], args].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let graph = file("small.onnx");
    let message = refused(&["--onnx", &graph]);
    assert!(message.contains("a sample has shape [3, 9, 11], the input `x` takes [2, 9, 11]"), "{message}");
    let message = refused(&["--onnx", &graph, "--layer", "logit"]);
    assert!(message.contains("did you mean `logits`"), "{message}");
    let message = refused(&["--onnx", &file("small.safetensors")]);
    assert!(message.contains("reading ONNX"), "{message}");
}

#[test]
fn layers_of_a_graph_are_measured_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let x = safetensors::load(file("small.safetensors"), &Device::Cpu).unwrap()["x"].clone();
    let (graph, inputs) = (file("small.onnx"), labelled(folder.path(), &x));
    let args = ["measure", "--onnx", &graph, "--inputs", &inputs, "--dtype", "f64", "--json"];
    let output = xtask(&[&args[..], &["--layers", "all"]].concat());
    let all = document(&output);
    schema::check("measure_layers", &all);
    let layers = all["layers"].as_array().unwrap();
    assert!(layers.len() > 1, "{all}");
    for layer in layers {
        let alone = json(&[&args[..], &["--layer", layer["layer"].as_str().unwrap()]].concat());
        assert_eq!((&alone["gc"]["value"], &alone["tensor"]), (&layer["gc"]["value"], &layer["tensor"]));
        assert_eq!(alone["collapse"]["cdnv"], layer["collapse"]["cdnv"]);
    }
}
