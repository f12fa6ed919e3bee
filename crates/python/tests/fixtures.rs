//! Writes arrays and the results of the Rust crates on them, for the Python tests to compare bit for bit.
//!
//! The file is the one that `GEOMETRIC_FIXTURES` names, or `fixtures.json` in Cargo's folder for the files of tests. It is not
//! committed, because other processors round differently.

use candle_core::{DType, Device, Tensor};
use collapse::{ClassMoments, Head, ReportOptions, Scatter, cdnv, report_slice};
use fewshot::{EpisodeRules, EpisodeSampler, FeatureView, HeadKind, IntervalSettings, TransferScores};
use gc_core::{GeometricComplexity, Penalty, Probe};
use models::{Architecture, Initialisation, Network, Pass};
use onnx_graph::{Layer, Model};
use serde_json::{Value, json};
use statistics::{Block, ChangeScale, CovariateBlock, PermutationSettings, RankStatistic};

type Error = Box<dyn std::error::Error>;

fn normal(index: u64, count: usize) -> Vec<f64> {
    streams::standard_normal(&mut streams::stream(0, "python/fixtures", index), count)
}

/// 60 samples of 5 features in 4 classes of unequal size.
fn features() -> (Vec<f64>, Vec<u32>) {
    let labels: Vec<u32> = (0..60).map(|row| [0, 1, 1, 2, 2, 2, 3, 3, 3, 3][row % 10]).collect();
    let mut values = normal(0, 60 * 5);
    for (row, &label) in labels.iter().enumerate() {
        values[row * 5 + label as usize] += 4.0;
    }
    (values, labels)
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[test]
fn fixtures_are_written() -> Result<(), Error> {
    let (values, labels) = features();
    let single = narrow(&values);
    let all = json!({
        "features": values, "features_f32": wide(&single), "labels": labels,
        "collapse": collapse_results(&values, &single, &labels)?,
        "fewshot": few_shot_results(&single, &labels)?,
        "statistics": statistics_results()?,
        "gc": complexity_results()?,
        "onnx": onnx_results()?,
    });
    let path = std::env::var("GEOMETRIC_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_TARGET_TMPDIR"), "/fixtures.json").to_owned());
    std::fs::write(&path, serde_json::to_string(&all)?)?;
    let read: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
    assert_eq!(read, all, "{path}");
    Ok(())
}

fn collapse_results(values: &[f64], single: &[f32], labels: &[u32]) -> Result<Value, Error> {
    let (weight, bias) = (normal(1, 4 * 5), normal(2, 4));
    let head = Head::from_slices(&weight, Some(&bias), 4)?;
    let gc: Vec<f64> = normal(3, 60).iter().map(|value| value * value).collect();
    let options = ReportOptions::default().with_gc_per_sample(Some(gc.clone()));
    let mut parts = ClassMoments::new(4, 5, Scatter::Full);
    parts.update_slice(&values[..20 * 5], &labels[..20])?;
    let mut rest = ClassMoments::new(4, 5, Scatter::Full);
    rest.update_slice(&values[20 * 5..], &labels[20..])?;
    parts.merge(&rest)?;
    Ok(json!({
        "weight": weight, "bias": bias, "gc_per_sample": gc,
        "report": report_slice(values, 5, labels, Some(&head), &options)?,
        "report_f32": report_slice(single, 5, labels, None, &ReportOptions::default())?,
        "moments": parts,
        "cdnv": cdnv(&parts, Default::default())?,
    }))
}

fn few_shot_results(single: &[f32], labels: &[u32]) -> Result<Value, Error> {
    let view = FeatureView::from_f32(single, 5, labels)?;
    let sampler = EpisodeSampler::new(labels, EpisodeRules::fixed(3, 2, 3), 7)?;
    let heads: Vec<HeadKind> =
        ["ncm", "ridge:1", "logistic:1", "lda:auto"].iter().map(|head| head.parse()).collect::<Result<_, _>>()?;
    let evaluation = fewshot::evaluate(view, &sampler, 1100, &heads)?;
    let scores = fewshot::transfer_scores(view)?;
    let mut several: Vec<TransferScores> = Vec::new();
    for part in 0..4 {
        let rows = 30 + 10 * part;
        several.push(fewshot::transfer_scores(FeatureView::from_f32(&single[..rows * 5], 5, &labels[..rows])?)?);
    }
    let accuracies = [0.5, 0.7, 0.6, 0.8];
    let ranks = fewshot::rank_scores(&several, &accuracies, &IntervalSettings::default())?;
    Ok(json!({
        "evaluation": evaluation, "text": evaluation.to_string(), "episode_3": sampler.episode(3),
        "scores": scores, "accuracies": accuracies, "ranks": ranks,
    }))
}

fn statistics_results() -> Result<Value, Error> {
    // Four swept values in each of three seeds.
    let (x, y, z) = ([0.1, 0.2, 0.4, 0.8].repeat(3), normal(5, 12), normal(6, 12));
    let blocks: Vec<Block<'_>> =
        (0..3).map(|seed| Block { x: &x[4 * seed..4 * seed + 4], y: &y[4 * seed..4 * seed + 4] }).collect();
    let lists: Vec<[&[f64]; 1]> = (0..3).map(|seed| [&z[4 * seed..4 * seed + 4]]).collect();
    let covariates: Vec<CovariateBlock<'_>> =
        blocks.iter().zip(&lists).map(|(&block, covariates)| CovariateBlock { block, covariates }).collect();
    let permutations = PermutationSettings::default();
    let p = [0.01, 0.04, 0.03, 0.2];
    Ok(json!({
        "x": x, "y": y, "z": z, "p": p,
        "mean": statistics::estimate_mean(&x, &IntervalSettings::default())?,
        "spearman": statistics::rank_correlation(&x, &y, RankStatistic::Spearman, &IntervalSettings::default())?,
        "blocked": statistics::blocked_rank_correlation(&blocks, RankStatistic::Kendall, &permutations)?,
        "partial": statistics::partial_rank_correlation(&covariates, &permutations)?,
        "sweep": statistics::sweep_change(&blocks, ChangeScale::Difference, 0.95)?,
        "ends": statistics::end_to_end_change(&blocks, ChangeScale::Difference, 0.9)?,
        "holm": statistics::holm(&p)?, "benjamini_hochberg": statistics::benjamini_hochberg(&p)?,
        "wilson": statistics::wilson_interval(3, 10, 0.95)?, "clopper_pearson": statistics::clopper_pearson_interval(3, 10, 0.95)?,
        "equivalence": statistics::equivalence_test(0.1, 0.2, 9.0, (-0.5, 0.5))?,
        "granulated": statistics::granulated_coefficient(&[&blocks])?, "sign_error": statistics::worst_sign_error(&blocks, 0.1)?,
    }))
}

/// An MLP of f64 weights, measured exactly, by a plan, and by projections with values per class.
fn complexity_results() -> Result<Value, Error> {
    let toml = "family = \"mlp\"\ninputs = 6\nhidden = [8, 5]\nactivation = \"tanh\"\nclasses = 3\n";
    let network = Network::new(&Architecture::from_toml(toml)?, Initialisation::HeNormal, 3, DType::F64, &Device::Cpu)?;
    let mut weights = serde_json::Map::new();
    for (name, parameter) in network.params().iter() {
        let tensor = parameter.var.as_tensor();
        let flat = tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        weights.insert(name.to_owned(), json!({ "shape": tensor.dims(), "values": flat }));
    }
    let inputs = normal(8, 200 * 6);
    let labels: Vec<u32> = (0..200).map(|row| row % 3).collect();
    let images = Tensor::from_vec(inputs.clone(), (200, 6), &Device::Cpu)?;
    let map = network.frozen().feature_map(Pass::evaluation(), None)?;
    let labelled = || std::iter::once(candle_core::Result::Ok((images.clone(), labels.clone())));
    let projections = GeometricComplexity::projections(Probe::Rademacher, 2).seed(5).per_class().per_sample();
    let probes = Penalty::projections(Probe::Sphere, 2).seed(4).probes(&images, gc_core::BatchNormMode::Unstated, 9)?;
    let cotangents: Vec<Vec<f64>> =
        probes.cotangents().iter().map(|cotangent| cotangent.flatten_all()?.to_vec1()).collect::<Result<_, _>>()?;
    Ok(json!({
        "architecture": toml, "weights": weights, "inputs": inputs, "labels": labels,
        "exact": GeometricComplexity::exact().measure_inputs(&map, &images)?,
        "planned": GeometricComplexity::planned(Probe::Rademacher, 0.02).seed(1).measure_inputs(&map, &images)?,
        "projections": projections.measure(&map, labelled())?,
        "cotangents": cotangents,
    }))
}

/// ONNX graphs of the crate `onnx` on their three inputs, 20 times, by projections.
fn onnx_results() -> Result<Value, Error> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx/tests/networks");
    let mut results = serde_json::Map::new();
    for name in ["perceptron_ts", "residual_dynamo", "tiny_vit_ts"] {
        let known = candle_core::safetensors::load(folder.join(format!("{name}.safetensors")), &Device::Cpu)?;
        let x = known["x"].to_dtype(DType::F64)?;
        let images = Tensor::cat(&vec![x; 20], 0)?;
        let model = Model::open(&folder.join(format!("{name}.onnx")))?;
        let graph = model.graph(&Layer::Features, DType::F64, &Device::Cpu)?;
        let estimate =
            GeometricComplexity::projections(Probe::Rademacher, 3).seed(2).measure_inputs(&graph, &images)?;
        let tensor = format!("`{}`, {}", graph.tensor().name, graph.tensor().role);
        results.insert(name.to_owned(), json!({ "tensor": tensor, "projections": estimate }));
    }
    Ok(results.into())
}
