//! What `collapse` and `fewshot` do beyond one report of one file: training steps, bounds, pairs of classes, conventions; several
//! networks, ranges of ways and shots, equivalence, confusion matrices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

mod program;
mod schema;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use program::{ended, printed};
use serde_json::Value;

/// The document of a command, checked against a part of the schema.
fn json(folder: &Path, kind: &str, args: &[&str]) -> Value {
    let document = serde_json::from_str(&printed(folder, &[args, &["--json"]].concat())).unwrap();
    schema::check(kind, &document);
    document
}

fn close(found: &Value, expected: f64) {
    let found = found.as_f64().unwrap();
    assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} for {expected}");
}

/// Two features of four samples, the first two of class 0, with the spread of class 0 and GC.
fn save(path: &Path, spread: f64) {
    let features = Tensor::new(&[[0.0, -spread], [0.0, spread], [4.0, -1.0], [4.0, 1.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u8, 0, 1, 1], &Device::Cpu).unwrap();
    let gc = Tensor::new(&[2.0, 4.0, 0.5, 0.5], &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", features), ("labels", labels), ("gc", gc)]), path).unwrap();
}

#[test]
fn collapse_along_training_has_one_report_for_each_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save(&path.join("a.safetensors"), 3.0);
    save(&path.join("b.safetensors"), 1.0);
    let files = ["collapse", "--features", "a.safetensors", "b.safetensors", "--steps"];
    let document = json(path, "collapse_along_training", &[&files[..], &["100,20"]].concat());
    // Steps ascend, whatever the order of the files is: NC = (1 + 1)/32 at step 20 and (9 + 1)/32 at step 100.
    let [first, second] = document["steps"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!((&first["step"], &first["features"]), (&20.into(), &"b.safetensors".into()));
    assert_eq!((&second["step"], &second["features"]), (&100.into(), &"a.safetensors".into()));
    close(&first["collapse"]["cdnv"], 2.0 / 32.0);
    close(&second["collapse"]["cdnv"], 10.0 / 32.0);
    // GC of each step's own file: mean 1.75 times 2/2 over 16.
    close(&second["collapse"]["geometric_collapse"], 1.75 / 16.0);
    let table = printed(path, &[&files[..], &["100,20"]].concat());
    assert!(table.contains("geometric_collapse") && !table.contains("self_duality"), "{table}");
    for (steps, reason) in [("1", "1 steps for 2 files"), ("7,7", "7 is given twice")] {
        let message = ended(path, &[&files[..], &[steps]].concat(), 2);
        assert!(message.contains(reason), "{message}");
    }
    ended(path, &[&files[..], &["1,-2"]].concat(), 2);
    ended(path, &[&files[..], &["1,2", "--bounds", "5"]].concat(), 2);
    let narrow = Tensor::new(&[[0.0], [1.0], [4.0], [5.0]], &Device::Cpu).unwrap();
    let labels = Tensor::new(&[0u8, 0, 1, 1], &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", narrow), ("labels", labels)]), path.join("b.safetensors")).unwrap();
    let message = ended(path, &[&files[..], &["1,2"]].concat(), 1);
    assert!(message.contains("b.safetensors") && message.contains("1 features, 2 classes at step 2"), "{message}");
}

#[test]
fn bounds_have_both_sides_and_pairs_are_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save(&path.join("a.safetensors"), 3.0);
    let args = ["collapse", "--features", "a.safetensors", "--bounds", "4", "--pairs", "pairs.csv"];
    let document = json(path, "collapse", &args);
    let bounds = &document["bounds"];
    // Variances 9 and 1 over GC 3 and 0.5: c = 3; 3·(3.5/2)/16.
    close(&bounds["chain"]["constant"], 3.0);
    close(&bounds["chain"]["nc"], 10.0 / 32.0);
    close(&bounds["chain"]["pairwise"], 3.0 * 1.75 / 16.0);
    assert_eq!((&bounds["chain"]["first_holds"], &bounds["chain"]["second_holds"]), (&true.into(), &true.into()));
    // 16 (2 − 1)(1/s + 1/4) NC with s = 1 and s = p = 2.
    close(&bounds["nearest_mean"]["bound"], 16.0 * 1.25 * 10.0 / 32.0);
    close(&bounds["nearest_mean_spherical"]["bound"], 16.0 * 0.75 * 10.0 / 32.0);
    close(&bounds["nearest_mean_by_complexity"]["nc"], 3.0 * 1.75 / 16.0);
    assert_eq!(fs::read_to_string(path.join("pairs.csv")).unwrap(), "first,second,cdnv\n0,1,0.3125\n");
    let table = printed(path, &args);
    assert!(table.contains("with m = 4 samples") && table.contains("vacuous: above 1"), "{table}");
    // Ordered pairs: each variance over d².
    let ordered = [&args[..3], &["--cdnv-form", "ordered", "--pairs", "pairs.csv"]].concat();
    close(&json(path, "collapse", &ordered)["collapse"]["cdnv_max"], 9.0 / 16.0);
    assert_eq!(fs::read_to_string(path.join("pairs.csv")).unwrap(), "first,second,cdnv\n0,1,0.5625\n1,0,0.0625\n");
    fs::write(path.join("f.csv"), "f,kind\n0,hen\n2,hen\n10,ox\n12,ox\n").unwrap();
    printed(path, &["collapse", "--features", "f.csv", "--labels-name", "kind", "--pairs", "named.csv"]);
    assert_eq!(fs::read_to_string(path.join("named.csv")).unwrap(), "first,second,cdnv\nhen,ox,0.01\n");
    let message = ended(path, &[&args[..3], &["--pairs", "/dev/null"]].concat(), 1);
    assert!(message.contains("character device"), "{message}");
    for usage in [["--bounds", "0"], ["--cdnv-form", "half"], ["--nc1-eigenvalues", "1"], ["--cdnv-divisor", "n"]] {
        ended(path, &[&args[..3], &usage].concat(), 2);
    }
}

#[test]
fn conventions_change_what_they_are_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save(&path.join("a.safetensors"), 3.0);
    let cdnv = |more: &[&str]| {
        let args = [&["collapse", "--features", "a.safetensors"], more].concat();
        json(path, "collapse", &args)["collapse"].clone()
    };
    close(&cdnv(&["--cdnv-form", "unhalved"])["cdnv"], 10.0 / 16.0);
    // n − 1 doubles the variance of two samples.
    let unbiased = cdnv(&["--cdnv-divisor", "samples-minus-one"]);
    close(&unbiased["cdnv"], 20.0 / 32.0);
    assert_eq!(unbiased["cdnv_convention"]["divisor"], "samples_minus_one");
    // A table says which convention its values have, unless it is the one of the descriptions.
    let table = |more: &[&str]| printed(path, &[&["collapse", "--features", "a.safetensors"], more].concat());
    let stated = table(&["--cdnv-form", "unhalved"]);
    assert!(stated.contains("CDNV unhalved, divisor"), "{stated}");
    assert!(!table(&[]).contains("divisor of variances"));
    assert_eq!(cdnv(&["--nc1-eigenvalues", "rank"])["nc1"], cdnv(&["--nc1-eigenvalues", "0.5"])["nc1"]);
}

/// Noisy features of 60 samples in 3 classes; the larger the gap, the more accurate is every head.
fn save_noisy(path: &Path, seed: u64, gap: f64) {
    let noise = streams::standard_normal(&mut streams::stream(seed, "xtask/tests/features", 0), 120);
    let value = |(at, noise): (usize, &f64)| noise + if at / 2 % 3 == at % 2 { gap } else { 0.0 };
    let values: Vec<f64> = noise.iter().enumerate().map(value).collect();
    let features = Tensor::from_vec(values, (60, 2), &Device::Cpu).unwrap();
    let labels: Vec<u8> = (0..60).map(|row| row % 3).collect();
    let labels = Tensor::from_vec(labels, 60, &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", features), ("labels", labels)]), path).unwrap();
}

const EPISODES: [&str; 8] = ["--ways", "3", "--shots", "3", "--queries", "5", "--episodes", "50"];

#[test]
fn several_networks_are_compared_on_the_same_episodes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let names = ["a.safetensors", "b.safetensors", "c.safetensors"];
    for (seed, (name, gap)) in names.into_iter().zip([1.0, 2.0, 4.0]).enumerate() {
        save_noisy(&path.join(name), seed as u64, gap);
    }
    let args = [&["fewshot", "--features"], &names[..], &EPISODES, &["--across-networks"]].concat();
    let plain = json(path, "fewshot_across_networks", &args);
    assert!(plain.get("comparisons").is_none() && plain.get("score_ranks").is_none());
    assert_eq!(plain["across_networks"]["models"], 3);
    assert_eq!(plain["across_networks"]["same_episodes"], true);
    let accuracy = |network: usize| plain["networks"][network]["fewshot"]["ncm"]["accuracy"].as_f64().unwrap();
    let mean = (accuracy(0) + accuracy(1) + accuracy(2)) / 3.0;
    close(&plain["across_networks"]["heads"][0]["accuracy"]["mean"], mean);
    // Each network's own result is that of the command on its file alone.
    let alone = json(path, "fewshot", &[&["fewshot", "--features", names[1]], &EPISODES[..]].concat());
    assert_eq!(plain["networks"][1]["fewshot"], alone["fewshot"]);
    assert_eq!(plain["episodes_sha256"], alone["episodes_sha256"]);
    let all =
        json(path, "fewshot_across_networks", &[&args[..], &["--compare-networks", "--transfer-scores"]].concat());
    let comparisons = all["comparisons"].as_array().unwrap();
    assert_eq!(comparisons.len(), 6, "three pairs of networks, two heads");
    assert_eq!((&comparisons[0]["first"], &comparisons[0]["second"]), (&names[0].into(), &names[1].into()));
    close(&comparisons[0]["difference"]["mean"], accuracy(0) - accuracy(1));
    let ranks = &all["score_ranks"][0];
    assert_eq!((&ranks["head"], ranks["scores"].as_array().unwrap().len()), (&"ncm".into(), 3));
    let table = printed(path, &[&args[..], &["--compare-networks", "--transfer-scores"]].concat());
    for part in ["mean over 3 networks", "paired by episode", "Kendall"] {
        assert!(table.contains(part), "{table}");
    }
    // A single network, other labels, and a comparison without networks.
    ended(path, &[&["fewshot", "--features", names[0], "--across-networks"], &EPISODES[..]].concat(), 2);
    ended(path, &[&["fewshot", "--features", names[0], "--compare-networks"], &EPISODES[..]].concat(), 2);
    let other = Tensor::from_vec(vec![0f64; 120], (60, 2), &Device::Cpu).unwrap();
    let labels = Tensor::from_vec((0..60u8).map(|row| row / 20).collect(), 60, &Device::Cpu).unwrap();
    safetensors::save(&HashMap::from([("features", other), ("labels", labels)]), path.join(names[2])).unwrap();
    let message = ended(path, &args, 1);
    assert!(message.contains("c.safetensors: the labels differ from those of a.safetensors"), "{message}");
}

#[test]
fn ways_and_shots_may_vary_and_heads_are_tested_for_equivalence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_noisy(&path.join("f.safetensors"), 7, 2.0);
    let file = ["fewshot", "--features", "f.safetensors", "--episodes", "40", "--heads", "ncm,cosine"];
    let ranged = [&file[..], &["--ways", "2-3", "--shots", "1-4", "--queries", "6"]].concat();
    let document = json(path, "fewshot", &[&ranged[..], &["--margin", "50"]].concat());
    let ways: Vec<u64> = document["fewshot"]["ncm"]["by_way"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| way["way"].as_u64().unwrap())
        .collect();
    assert_eq!(ways, [2, 3]);
    let equal = &document["equivalence"][0];
    assert_eq!((&equal["first"], &equal["margin"]), (&"ncm".into(), &0.5.into()));
    assert!(equal["p_value"].as_f64().unwrap() < 1e-3, "{equal}");
    assert!(printed(path, &[&ranged[..], &["--margin", "50"]].concat()).contains("differ by 50 points or more"));
    // Sampled episodes, written and replayed, give the same result.
    let written = json(path, "fewshot", &[&ranged[..], &["--write-tasks", "tasks.jsonl"]].concat());
    let replayed = ["fewshot", "--features", "f.safetensors", "--heads", "ncm,cosine", "--tasks", "tasks.jsonl"];
    assert_eq!(json(path, "fewshot", &replayed)["fewshot"], written["fewshot"]);
    let natural = [&file[..], &["--ways", "2", "--shots", "5", "--queries", "12", "--natural-queries"]].concat();
    assert_ne!(json(path, "fewshot", &natural)["episodes_sha256"], written["episodes_sha256"]);
    for (more, code) in [
        (&["--ways", "3-2"][..], 2),
        (&["--ways", "x"], 2),
        (&["--margin", "0"], 2),
        (&["--heads", "ncn"], 2),
        (&["--meta-dataset", "--ways", "3"], 2),
        (&["--meta-dataset"], 1),
        (&["--ways", "2-9"], 0),
    ] {
        let plain = ["fewshot", "--features", "f.safetensors", "--episodes", "20", "--queries", "3"];
        let plain = if more.contains(&"--meta-dataset") { &plain[..5] } else { &plain[..] };
        ended(path, &[plain, more].concat(), code);
    }
}

#[test]
fn the_confusion_matrix_has_all_remaining_samples_as_queries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_noisy(&path.join("f.safetensors"), 3, 6.0);
    let args = [&["fewshot", "--features", "f.safetensors", "--confusion"], &EPISODES[..]].concat();
    let document = json(path, "fewshot", &args);
    let [ncm, ridge] = document["confusion"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!(
        (&ncm["head"], &ncm["queries"], &ncm["classes"]),
        (&"ncm".into(), &51.into(), &serde_json::json!([0, 1, 2]))
    );
    let counts = ncm["counts"].as_array().unwrap();
    let sums: Vec<u64> =
        counts.iter().map(|row| row.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()).collect();
    assert_eq!(sums, [17; 3]);
    assert_eq!(ridge["queries"], 51);
    assert!(printed(path, &args).contains("All classes, 51 queries: ncm: "));
    let message = ended(path, &[&args[..4], &["--ways", "3", "--shots", "20"]].concat(), 1);
    assert!(message.contains("leave no query beside 20 shots"), "{message}");
    ended(path, &[&args[..4], &["--shots", "1-2"]].concat(), 2);
}

#[test]
fn options_that_would_have_no_effect_or_no_meaning_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    save_noisy(&path.join("a.safetensors"), 1, 3.0);
    let fewshot = ["fewshot", "--features", "a.safetensors", "--ways", "2", "--shots", "1", "--queries", "2"];
    for (more, reason) in [
        (&["--heads", "ncm", "--margin", "1"][..], "give at least two of --heads"),
        (&["--episodes", "1"], "an interval needs at least 2 episodes"),
    ] {
        let message = ended(path, &[&fewshot[..], more].concat(), 2);
        assert!(message.contains(reason), "{message}");
    }
    let seeds = ended(path, &["reproduce", "fig4", "--set", "seeds=[0]", "--seed", "1", "--dry-run"], 2);
    assert!(seeds.contains("both say which seeds"), "{seeds}");
    for (option, value, code, reason) in [
        ("--seed", "-1", 2, "a whole number from 0 to 18446744073709551615"),
        ("--set", "=5", 2, "expected key=value"),
        ("--out", "a.safetensors", 1, "is not a folder"),
    ] {
        let message = ended(path, &["reproduce", "fig4", option, value, "--dry-run"], code);
        assert!(message.contains(reason), "{option} {value}: {message}");
    }
    let measuring =
        ["--head=ncm", "--ways=3", "--shots=3", "--queries=3", "--episodes=9", "--probes=3", "--seed=5", "--size=32"];
    for option in measuring.iter().chain(&["--model=vgg-small", "--mean=0.5", "--std=0.5"]) {
        let recorded = ended(path, &["rank", "--runs", "results", option], 2);
        assert!(recorded.contains("cannot be used with"), "{option}: {recorded}");
    }
}
