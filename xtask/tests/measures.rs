//! `measure`, `collapse`, `fewshot` and `rank` from the outside: golden values, the JSON schema, and bad input.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "helpers of tests, which may panic")]

mod program;
mod schema;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, safetensors};
use fewshot::{Episode, TaskListWriter};
use program::{document, errors, printed, xtask};
use serde_json::Value;

/// The nets of the golden files with their architecture files. The values are from PyTorch 2.15; see the README beside the
/// files.
const NETS: [(&str, &str); 4] = [
    (
        "mlp_tanh",
        "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation = 'tanh'\nactivation_before_head = false\nclasses = 3",
    ),
    ("mlp_relu", "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation_before_head = false\nclasses = 3"),
    (
        "vgg_tiny",
        "family = 'vgg'\nstages = [[4, 4], [6, 6]]\nbatch_norm = false\nin_channels = 3\ninput_size = [8, 8]\nclasses = 4",
    ),
    (
        "resnet_tiny",
        "family = 'resnet'\nblock = 'basic'\nstem = 'cifar'\nin_channels = 3\ninput_size = [8, 8]\nclasses = 3\n\
         stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 1, stride = 2 }]",
    ),
];

fn golden(krate: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(krate).join("tests/golden").join(file)
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let document = document(&xtask(folder, args));
    schema::check(args[0], &document);
    document
}

fn refused(folder: &Path, args: &[&str]) -> String {
    ended(folder, args, 1)
}

/// The message of an error in the command line.
fn misused(folder: &Path, args: &[&str]) -> String {
    ended(folder, args, 2)
}

/// Standard error of a command that fails before it writes anything to standard output.
fn ended(folder: &Path, args: &[&str], code: i32) -> String {
    let output = xtask(folder, args);
    assert!(output.stdout.is_empty(), "{args:?} wrote to standard output before it failed");
    errors(&output, code)
}

/// Writes weights, inputs and architecture of a golden net; returns its tensors.
fn net(folder: &Path, name: &str, precision: &str, description: &str) -> HashMap<String, Tensor> {
    let tensors =
        safetensors::load(golden("models", &format!("{name}_{precision}.safetensors")), &Device::Cpu).unwrap();
    let weights: HashMap<String, Tensor> = tensors
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("param.")?.to_owned(), tensor.clone())))
        .collect();
    safetensors::save(&weights, folder.join("w.safetensors")).unwrap();
    let inputs: HashMap<&str, Tensor> = ["x", "y"].iter().map(|name| (*name, tensors[*name].clone())).collect();
    safetensors::save(&inputs, folder.join("x.safetensors")).unwrap();
    std::fs::write(folder.join("net.toml"), description).unwrap();
    tensors
}

const NET: [&str; 7] = ["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--inputs", "x.safetensors"];

fn number(document: &Value, pointer: &str) -> f64 {
    document.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} is no number"))
}

/// The number in a golden tensor of shape `[1]`.
fn scalar(tensor: &Tensor) -> f64 {
    tensor.to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap()[0]
}

#[test]
fn golden_nets_have_the_golden_complexity_in_both_precisions() {
    for (name, description) in NETS {
        for (precision, tolerance) in [("f32", 1e-6), ("f64", 1e-12)] {
            let folder = tempfile::tempdir().unwrap();
            let tensors = net(folder.path(), name, precision, description);
            let document = json(folder.path(), &[&NET[..], &["--json"]].concat());
            let (found, expected) = (number(&document, "/gc/value"), scalar(&tensors["mean_gc"]));
            assert!((found / expected - 1.0).abs() < tolerance, "{name} {precision}: {found}, PyTorch {expected}");
            assert_eq!(document["dtype"], precision);
            assert!(document["gc"]["method"].as_str().unwrap().starts_with("exact"));
        }
    }
}

#[test]
fn every_estimator_agrees_with_exact_within_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = net(folder.path(), "vgg_tiny", "f64", NETS[2].1);
    let expected = scalar(&tensors["mean_gc"]);
    for estimator in ["rows", "columns", "output-sample", "entry-mask"] {
        let more = ["--estimator", estimator, "--probes", "12", "--rate", "0.5", "--seed", "3", "--json"];
        let document = json(folder.path(), &[&NET[..], &more].concat());
        let (found, error) = (number(&document, "/gc/value"), number(&document, "/gc/std_error"));
        assert!((found - expected).abs() < 3.0 * error, "{estimator}: {found} ± {error}, exact {expected}");
        assert_eq!(document["gc"]["method"], estimator);
    }
}

#[test]
fn per_sample_values_and_a_chosen_layer_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = net(folder.path(), "mlp_tanh", "f64", NETS[0].1);
    json(folder.path(), &[&NET[..], &["--per-sample", "gc.csv", "--json"]].concat());
    let mut reader = csv::Reader::from_path(folder.path().join("gc.csv")).unwrap();
    let found: Vec<f64> = reader.records().map(|line| line.unwrap()[2].parse().unwrap()).collect();
    let expected: Vec<f64> = tensors["gc_per_sample"].to_vec1().unwrap();
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(found, expected)| (found / expected - 1.0).abs() < 1e-12));
    let hidden = json(folder.path(), &[&NET[..], &["--layer", "embed.0", "--json"]].concat());
    assert_eq!(number(&hidden, "/gc/outputs"), 8.0);
}

#[test]
fn pixel_units_divide_by_the_deviation_of_the_channel() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = net(folder.path(), "vgg_tiny", "f64", NETS[2].1);
    let document = json(folder.path(), &[&NET[..], &["--units", "pixel", "--std", "0.5,0.5,0.5", "--json"]].concat());
    let expected = 4.0 * scalar(&tensors["mean_gc"]);
    assert!((number(&document, "/gc/value") / expected - 1.0).abs() < 1e-12);
    let message = misused(folder.path(), &[&NET[..], &["--units", "pixel"]].concat());
    assert!(message.contains("--std"), "{message}");
}

#[test]
fn golden_features_have_the_golden_measures() {
    let tensors = safetensors::load(golden("collapse", "metrics.safetensors"), &Device::Cpu).unwrap();
    let text = std::fs::read_to_string(golden("collapse", "metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&text).unwrap();
    let metrics = metrics.get("metrics").unwrap_or(&metrics);
    let sets: Vec<&str> = tensors.keys().filter_map(|name| name.strip_suffix(".features")).collect();
    assert!(sets.len() >= 7, "{sets:?}");
    for set in sets {
        let folder = tempfile::tempdir().unwrap();
        let names = [("features", "features"), ("labels", "labels"), ("weight", "W"), ("bias", "b"), ("gc", "gc")];
        let file: HashMap<&str, Tensor> =
            names.iter().map(|(ours, theirs)| (*ours, tensors[&format!("{set}.{theirs}")].clone())).collect();
        safetensors::save(&file, folder.path().join("f.safetensors")).unwrap();
        let document = json(folder.path(), &["collapse", "--features", "f.safetensors", "--json"]);
        for (ours, theirs) in [
            ("cdnv", "/cdnv_mean"),
            ("cdnv_max", "/cdnv_max"),
            ("geometric_collapse", "/geo_mixture"),
            ("pairwise_geometric_collapse", "/geo_pairwise"),
            ("nc1", "/class_balanced/nc1"),
            ("trace_ratio", "/class_balanced/tr_ratio"),
            ("equinorm", "/class_balanced/nc2_equinorm_cv"),
            ("equiangularity", "/class_balanced/equiang_mean_abs_dev"),
            ("etf_error", "/class_balanced/etf_dev"),
            ("self_duality", "/class_balanced/nc3"),
            ("ncc_agreement", "/nc4_agreement"),
        ] {
            let Some(expected) = metrics[set].pointer(theirs).and_then(Value::as_f64) else { continue };
            let found = number(&document["collapse"], &format!("/{ours}"));
            assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{set} {ours}: {found}, {expected}");
        }
    }
}

fn few_shot_features(folder: &Path) {
    let tensors = safetensors::load(golden("fewshot", "fewshot.safetensors"), &Device::Cpu).unwrap();
    let file: HashMap<&str, Tensor> =
        ["features", "labels"].iter().map(|name| (*name, tensors[*name].clone())).collect();
    safetensors::save(&file, folder.join("f.safetensors")).unwrap();
}

#[test]
fn drawn_episodes_are_replayed_from_their_list() {
    let folder = tempfile::tempdir().unwrap();
    few_shot_features(folder.path());
    let source = ["fewshot", "--features", "f.safetensors", "--heads", "ncm,ridge:1.0", "--json"];
    let drawn = ["--ways", "3", "--shots", "2", "--queries", "4", "--episodes", "40", "--seed", "5"];
    let drawn = json(folder.path(), &[&source[..], &drawn, &["--write-tasks", "t.jsonl"]].concat());
    let replayed = json(folder.path(), &[&source[..], &["--tasks", "t.jsonl"]].concat());
    assert_eq!(drawn["fewshot"], replayed["fewshot"]);
    for head in ["ncm", "ridge:1.0"] {
        let (ci, error) = (number(&drawn["fewshot"][head], "/ci95"), number(&drawn["fewshot"][head], "/std_error"));
        assert!((ci - 1.96 * error).abs() < 1e-15);
    }
    let message = refused(folder.path(), &["fewshot", "--features", "f.safetensors", "--ways", "99"]);
    assert!(message.contains("99") && message.contains("f.safetensors"), "{message}");
}

/// Writes the episodes of the golden file as a task list, one class after the other.
fn write_golden_tasks(path: &Path, tensors: &HashMap<String, Tensor>, about: &Value, set: &str) {
    let whole = |name: String| -> Vec<i64> { tensors[&name].to_vec1().unwrap() };
    let labels: Vec<u32> = whole("labels".to_owned()).iter().map(|label| *label as u32).collect();
    let rows = |name: String, each: u64| -> Vec<Vec<usize>> {
        whole(name).chunks(each as usize).map(|rows| rows.iter().map(|row| *row as usize).collect()).collect()
    };
    let count = |key: &str| about[set][key].as_u64().unwrap();
    let mut list = TaskListWriter::new(std::fs::File::create(path).unwrap(), &labels, None).unwrap();
    for episode in 0..count("episodes") {
        let name = |what: &str| format!("{set}.ep{episode}.{what}");
        let classes = whole(name("classes")).iter().map(|class| *class as u32).collect();
        let (support, query) = (rows(name("support"), count("shot")), rows(name("query"), count("query_per_class")));
        list.write(&Episode::new(classes, support, query).unwrap()).unwrap();
    }
    list.finish().unwrap();
}

/// Accuracies of scikit-learn's NearestCentroid and RidgeClassifier; see the README beside the files.
#[test]
fn golden_episodes_have_the_golden_accuracies() {
    let folder = tempfile::tempdir().unwrap();
    few_shot_features(folder.path());
    let tensors = safetensors::load(golden("fewshot", "fewshot.safetensors"), &Device::Cpu).unwrap();
    let text = std::fs::read_to_string(golden("fewshot", "accuracies.json")).unwrap();
    let about: Value = serde_json::from_str(&text).unwrap();
    for set in ["5w1s", "5w5s", "2w3s", "10w2s"] {
        write_golden_tasks(&folder.path().join("t.jsonl"), &tensors, &about, set);
        let heads = "ncm,ridge:0.1,ridge:1.0,ridge:10.0";
        let args = ["fewshot", "--features", "f.safetensors", "--tasks", "t.jsonl", "--heads", heads, "--json"];
        let document = json(folder.path(), &args);
        for (head, known) in heads.split(',').zip(["ncm", "ridge0.1", "ridge1.0", "ridge10.0"]) {
            for (ours, theirs) in [("accuracy", "mean"), ("ci95", "ci95")] {
                let (found, expected) = (
                    number(&document["fewshot"][head], &format!("/{ours}")),
                    number(&about[set][known], &format!("/{theirs}")),
                );
                assert!((found - expected).abs() < 1e-12, "{set} {head} {ours}: {found}, scikit-learn {expected}");
            }
        }
    }
}

#[test]
fn measures_are_defined_without_the_classes_that_have_no_samples() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = net(folder.path(), "vgg_tiny", "f64", NETS[2].1);
    let relabelled = |labels: [i64; 5]| {
        let inputs = [("x", tensors["x"].clone()), ("y", Tensor::new(&labels, &Device::Cpu).unwrap())];
        safetensors::save(&HashMap::from(inputs), folder.path().join("x.safetensors")).unwrap();
        json(folder.path(), &[&NET[..], &["--json"]].concat())
    };
    // The head has four classes; classes 1 and 2 have no samples.
    let document = relabelled([0, 3, 0, 3, 0]);
    assert_eq!(document["collapse"]["missing_classes"], 2);
    assert!(number(&document, "/collapse/pairwise_geometric_collapse") > 0.0);
    assert!(number(&document, "/collapse/self_duality") > 0.0 && document["collapse_without_head"].is_null());
    // A label above the classes of the head: the head is not for these labels, and the rest is measured without it.
    let document = relabelled([0, 7, 0, 7, 0]);
    assert!(number(&document, "/collapse/cdnv") > 0.0);
    assert!(document["collapse"].get("self_duality").is_none());
    assert!(document["collapse_without_head"].as_str().unwrap().contains("4 classes"), "{document}");
    // A single class has no distances, so only the complexity is measured.
    let document = relabelled([1; 5]);
    assert!(document["collapse"].is_null() && document["collapse_undefined"].is_string());
    assert!(number(&document, "/gc/value") > 0.0);
}

#[test]
fn a_head_for_other_classes_than_those_of_the_folder_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    net(folder.path(), "vgg_tiny", "f32", NETS[2].1);
    for (class, shade) in [("dark", 10u8), ("light", 200)] {
        let path = folder.path().join("photos").join(class);
        std::fs::create_dir_all(&path).unwrap();
        for at in 0..2u8 {
            let pixels = (0..192u8).map(|pixel| shade.wrapping_add(pixel.wrapping_mul(7 + at))).collect();
            image::RgbImage::from_raw(8, 8, pixels).unwrap().save(path.join(format!("{at}.png"))).unwrap();
        }
    }
    let network = ["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--data", "folder:photos"];
    let more = ["--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--json"];
    let document = json(folder.path(), &[&network[..], &more].concat());
    assert_eq!((&document["inputs"]["samples"], &document["collapse"]["missing_classes"]), (&4.into(), &0.into()));
    let reason = document["collapse_without_head"].as_str().unwrap();
    assert_eq!(reason, "the head has 4 classes, the data have 2");
    assert!(document["collapse"].get("head_accuracy").is_none(), "{document}");
}

/// Linear–ReLU–Linear with identity weights at (1, −1), as a description without `activation_before_head` means it; the head may be
/// missing from the weights, and their names may have prefixes.
#[test]
fn the_document_and_the_table_name_the_tensor_that_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let eye = Tensor::eye(2, DType::F32, &Device::Cpu).unwrap();
    let zeros = || Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap();
    let inputs = HashMap::from([("x", Tensor::new(&[[1f32, -1.0], [1.0, -1.0]], &Device::Cpu).unwrap())]);
    safetensors::save(&inputs, path.join("x.safetensors")).unwrap();
    let text = "family = 'mlp'\ninputs = 2\nhidden = [2]\nclasses = 2\nactivation = 'relu'\n";
    let args = ["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--inputs", "x.safetensors"];
    for (key, complexity, layer) in [
        ("", 1.0, "`embed.1`"),
        ("activation_before_head = true", 1.0, "`embed.1`"),
        ("activation_before_head = false", 2.0, "`embed.0`"),
    ] {
        std::fs::write(path.join("net.toml"), format!("{text}{key}")).unwrap();
        for (prefix, with_head) in [("", true), ("module.", true), ("", false), ("_orig_mod.module.", false)] {
            let mut weights = vec![("embed.0.weight", eye.clone()), ("embed.0.bias", zeros())];
            if with_head {
                weights.extend([("head.weight", eye.clone()), ("head.bias", zeros())]);
            }
            let weights: HashMap<String, Tensor> =
                weights.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
            safetensors::save(&weights, path.join("w.safetensors")).unwrap();
            let output = xtask(path, &[&args[..], &["--json"]].concat());
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{errors}");
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(document["gc"]["value"], complexity, "{key}");
            assert!(document["tensor"].as_str().unwrap().contains(layer), "{document}");
            assert!(errors.contains(prefix), "{errors}");
            assert_eq!(errors.contains("holds no head"), !with_head, "{errors}");
            let table = String::from_utf8(xtask(path, &args).stdout).unwrap();
            assert!(table.contains(layer) && table.contains("input of the head `head`"), "{table}");
        }
    }
}

#[test]
fn networks_are_ranked_on_labelled_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::write(
        path.join("net.toml"),
        "family = 'mlp'\ninputs = 4\nhidden = [6, 5]\nactivation_before_head = false\nclasses = 3",
    )
    .unwrap();
    let draw =
        |seed: u64, count: usize| streams::standard_normal(&mut streams::stream(seed, "xtask/tests/rank", 0), count);
    let tensor = |values: Vec<f64>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    let labels: Vec<i64> = (0..90).map(|index| index % 3).collect();
    let x = draw(0, 360).iter().enumerate().map(|(index, noise)| noise + labels[index / 4] as f64).collect();
    let inputs = HashMap::from([("x", tensor(x, &[90, 4])), ("y", Tensor::new(labels, &Device::Cpu).unwrap())]);
    safetensors::save(&inputs, path.join("x.safetensors")).unwrap();
    for seed in 1..=4 {
        let shapes: [(&str, &[usize]); 6] = [
            ("embed.0.weight", &[6, 4]),
            ("embed.0.bias", &[6]),
            ("embed.2.weight", &[5, 6]),
            ("embed.2.bias", &[5]),
            ("head.weight", &[3, 5]),
            ("head.bias", &[3]),
        ];
        let weights: HashMap<&str, Tensor> = shapes
            .iter()
            .enumerate()
            .map(|(index, (name, shape))| {
                (*name, tensor(draw(seed * 10 + index as u64, shape.iter().product()), shape))
            })
            .collect();
        safetensors::save(&weights, path.join(format!("net{seed}.safetensors"))).unwrap();
    }
    let mut args = vec!["rank", "net1.safetensors", "net2.safetensors", "net3.safetensors", "net4.safetensors"];
    args.extend(["--arch", "net.toml", "--inputs", "x.safetensors", "--ways", "3", "--shots", "2", "--queries", "5"]);
    let document = json(path, &[&args[..], &["--episodes", "50", "--chart", "rank.svg", "--json"]].concat());
    let gc: Vec<f64> =
        document["scores"][0]["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(gc.len() == 4 && gc.windows(2).all(|pair| pair[0] <= pair[1]), "sorted by GC: {gc:?}");
    assert_eq!(document["predictions"].as_array().unwrap().len(), 4);
    let chart = std::fs::read_to_string(path.join("rank.svg")).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("net3"), "each network is a mark with its name");

    // The table fits into a terminal, with the whole name of a network where that is long.
    let long = format!("a-network-of-{}.safetensors", "many-words-".repeat(5));
    std::fs::copy(path.join("net1.safetensors"), path.join(&long)).unwrap();
    let mut named = args.clone();
    named.insert(1, &long);
    let table = printed(path, &[&named[..], &["--episodes", "50"]].concat());
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains(long.trim_end_matches(".safetensors")) && table.contains("accuracy"), "{table}");
}

#[test]
fn what_cannot_be_ranked_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // Files that are no weights, so that a message about the arguments shows that none was read.
    std::fs::write(path.join("w.safetensors"), "no weights").unwrap();
    let save = |name: &str, tensors: &[(&str, Tensor)]| {
        safetensors::save(&tensors.iter().cloned().collect::<HashMap<_, _>>(), path.join(name)).unwrap();
    };
    let x = Tensor::ones((4, 3), DType::F32, &Device::Cpu).unwrap();
    save("x.safetensors", &[("x", x.clone())]);
    save("xy.safetensors", &[("x", x), ("y", Tensor::new(&[0i64, 0, 1, 1], &Device::Cpu).unwrap())]);
    let rank = ["rank", "w.safetensors", "--model", "resnet18", "--inputs"];
    for (code, args, part) in [
        (2, &["x.safetensors", "--by", "gcc"][..], "did you mean `gc`"),
        (2, &["x.safetensors", "--by", "nc"], "`gc` is the only score"),
        (2, &["xy.safetensors", "--by", "log_mee"], "did you mean `log_me`"),
        (2, &["xy.safetensors", "--head", "rigde"], "rigde"),
        (1, &["x.safetensors", "--chart", "c.svg"], "no accuracy to plot"),
        (1, &["xy.safetensors", "--ways", "3"], "few-shot episodes on xy.safetensors"),
    ] {
        let message = ended(path, &[&rank[..], args].concat(), code);
        assert!(message.contains(part), "{args:?}: {message}");
    }
    let both = "[[checkpoint]]\nname = 'a'\nweights = 'w.safetensors'\nonnx = 'w.safetensors'\nmodel = 'resnet18'\n";
    std::fs::write(path.join("list.toml"), both).unwrap();
    let message = ended(path, &["rank", "--list", "list.toml", "--inputs", "missing"], 1);
    assert!(message.contains("a: a network has either `weights` or `onnx`"), "{message}");
}

#[test]
fn errors_of_inputs_name_file_tensor_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = net(folder.path(), "vgg_tiny", "f32", NETS[2].1);
    let path = folder.path();
    let save = |name: &str, x: &Tensor| safetensors::save(&HashMap::from([("x", x.clone())]), path.join(name)).unwrap();
    save("flat.safetensors", &tensors["x"].flatten_from(1).unwrap());
    save("cube.safetensors", &tensors["x"].flatten_from(2).unwrap());
    save("labels.safetensors", &tensors["y"]);
    let with_inputs =
        |file: &str| refused(path, &["measure", "--arch", "net.toml", "--weights", "w.safetensors", "--inputs", file]);
    for (file, parts) in [
        ("flat.safetensors", &["flat.safetensors", "[192]", "[3, 8, 8]"][..]),
        ("cube.safetensors", &["cube.safetensors", "[3, 64]", "[3, 8, 8]"]),
        ("labels.safetensors", &["labels.safetensors", "`x`", "[5]", "2 to 5 dimensions"]),
        ("w.safetensors", &["w.safetensors", "unknown tensor `x`"]),
        ("nowhere.safetensors", &["nowhere.safetensors"]),
    ] {
        let message = with_inputs(file);
        assert!(parts.iter().all(|part| message.contains(part)), "{file}: {message}");
    }
    let not_a_number = (&tensors["x"] * f64::NAN).unwrap();
    save("nan.safetensors", &not_a_number);
    let message = with_inputs("nan.safetensors");
    assert!(message.contains("nan.safetensors: tensor `x` holds NaN in row 0"), "{message}");
    std::fs::write(path.join("net.toml"), format!("{}\nwidth = 3", NETS[2].1)).unwrap();
    let message = with_inputs("x.safetensors");
    assert!(message.contains("net.toml") && message.contains("width"), "{message}");
    let usage = xtask(path, &["measure", "--estimator", "exakt"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn errors_of_features_name_file_tensor_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F64, &Device::Cpu).unwrap();
    let labels = |last: i64| Tensor::new(&[0, 1, 0, last], &Device::Cpu).unwrap();
    type Tensors = Vec<(&'static str, Tensor)>;
    let mut cases: Vec<(Tensors, Vec<&str>)> = vec![
        (vec![("labels", labels(1))], vec!["unknown tensor `features`", "[n, p]"]),
        (vec![("features", zeros(&[4, 0])), ("labels", labels(1))], vec!["`features`", "[4, 0]", "[n, p]"]),
        (
            vec![("features", zeros(&[4, 3])), ("labels", (zeros(&[4]) + 0.5).unwrap())],
            vec!["label 0.5 of row 0", "whole numbers"],
        ),
        (vec![("features", zeros(&[5, 3])), ("labels", labels(1))], vec!["`labels` has shape [4], expected [5]"]),
        // A label may be any whole number: only classes that occur take memory.
        (
            vec![("features", zeros(&[4, 3])), ("labels", labels(4_000_000_000))],
            vec!["at least 2 classes of two or more samples, found 1", "classes of one sample, which are left out: 2"],
        ),
    ];
    let with = |more: Tensors| [vec![("features", zeros(&[4, 3])), ("labels", labels(1))], more].concat();
    cases.extend([
        (with(vec![("weight", zeros(&[2, 5]))]), vec!["`weight` has shape [2, 5], expected [K, 3]"]),
        (with(vec![("weight", zeros(&[1, 3]))]), vec!["`weight` has shape [1, 3]", "a label is 1"]),
        (with(vec![("weight", zeros(&[2, 3])), ("bias", zeros(&[3]))]), vec!["`bias` has shape [3], expected [2]"]),
        (with(vec![("bias", zeros(&[2]))]), vec!["`bias` without a `weight`", "[K, 3]"]),
        (with(vec![("weight", (zeros(&[2, 3]) + f64::NAN).unwrap())]), vec!["`weight` holds NaN in row 0"]),
        (with(vec![("gc", zeros(&[3]))]), vec!["`gc` has shape [3], expected [4]"]),
    ]);
    for (tensors, parts) in cases {
        safetensors::save(&tensors.into_iter().collect::<HashMap<_, _>>(), path.join("f.safetensors")).unwrap();
        let message = refused(path, &["collapse", "--features", "f.safetensors"]);
        assert!(message.contains("f.safetensors"), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{parts:?}: {message}");
    }
}

#[test]
fn errors_name_the_task_list_and_a_missing_mean() {
    let folder = tempfile::tempdir().unwrap();
    few_shot_features(folder.path());
    std::fs::write(folder.path().join("t.jsonl"), "{}").unwrap();
    let message = refused(folder.path(), &["fewshot", "--features", "f.safetensors", "--tasks", "t.jsonl"]);
    assert!(message.starts_with("error: t.jsonl: line 1"), "{message}");
    let message = refused(folder.path(), &["fewshot", "--features", "f.safetensors", "--heads", "simpleshot:cl2n"]);
    assert!(message.contains("f.safetensors") && message.contains("`base_mean` [12]"), "{message}");
}

#[test]
fn errors_of_architectures_name_their_file() {
    let folder = tempfile::tempdir().unwrap();
    net(folder.path(), "mlp_relu", "f32", NETS[1].1);
    for (description, part) in [
        ("family = 'mpl'\ninputs = 6\nhidden = [5]\nclasses = 3", "`mpl` is not known"),
        ("family = 'mlp'\ninputs = 6\nhidden = [0]\nclasses = 3", "hidden is 0"),
        ("family = 'mlp'\ninputs = 6\nhidden = [900000000000]\nclasses = 3", "hidden is 900000000000"),
        (
            "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation_before_head = false\nclasses = 4",
            "`head.weight` is [3, 5] where [4, 5]",
        ),
    ] {
        std::fs::write(folder.path().join("net.toml"), description).unwrap();
        let message = refused(folder.path(), &NET);
        assert!(message.contains(part), "{message}");
        assert!(message.contains("net.toml") || message.contains("w.safetensors"), "{message}");
    }
    std::fs::write(folder.path().join("net.toml"), NETS[1].1).unwrap();
    for flags in [["--until-rel", "2"], ["--rate", "0"], ["--until-rel", "nan"]] {
        let output = xtask(folder.path(), &[&NET[..], &flags[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let message = refused(folder.path(), &[&NET[..], &["--budget-mb", "0"]].concat());
    assert!(message.contains("--budget-mb") && message.contains("bytes"), "{message}");
}

#[test]
fn features_too_wide_for_their_matrix_are_refused_with_the_flag_that_avoids_it() {
    let folder = tempfile::tempdir().unwrap();
    // Two matrices of 4,000,000² numbers would be 256 terabytes.
    let features = Tensor::zeros((2, 4_000_000), DType::F32, &Device::Cpu).unwrap();
    let arrays = HashMap::from([("features", features), ("labels", Tensor::new(&[0u32, 1], &Device::Cpu).unwrap())]);
    safetensors::save(&arrays, folder.path().join("wide.safetensors")).unwrap();
    let message = refused(folder.path(), &["collapse", "--features", "wide.safetensors"]);
    assert!(message.contains("use --no-full-scatter") && !message.contains("ReportOptions"), "{message}");
}

#[test]
fn labels_of_few_classes_may_be_any_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<f64> = (0..8 * 600).map(|at| f64::from(at % 7) + if at / 2400 == 1 { 3.0 } else { 0.0 }).collect();
    let write = |file: &str, labels: [u32; 8]| {
        let features = Tensor::from_vec(rows.clone(), (8, 600), &Device::Cpu).unwrap();
        let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
        let arrays = HashMap::from([("features", features), ("labels", labels)]);
        safetensors::save(&arrays, folder.path().join(file)).unwrap();
    };
    // Means of every class below the label would take terabytes; only those that occur are held.
    write("large.safetensors", [5, 5, 5, 5, 4_000_000_000, 4_000_000_000, 4_000_000_000, 4_000_000_000]);
    write("small.safetensors", [0, 0, 0, 0, 1, 1, 1, 1]);
    let cdnv = |file: &str| {
        let args = ["collapse", "--features", file, "--json", "--no-full-scatter"];
        number(&json(folder.path(), &args), "/collapse/cdnv")
    };
    assert_eq!(cdnv("large.safetensors"), cdnv("small.safetensors"));
}
