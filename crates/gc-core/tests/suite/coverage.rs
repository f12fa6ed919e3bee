//! Coverage of the 95 % interval over 1,000 seeds: between 93 and 97 % (±2.9 standard errors of the share).

use candle_core::{DType, Tensor};
use gc_core::{Estimate, FeatureMap, GeometricComplexity, Population, Probe, Side};

use crate::support::{Activation, CPU, normal, perceptron, random_weights};

const SEEDS: u64 = 1_000;

/// A smooth net of widths 7, 20, 12, 6, whose ‖J‖² varies between samples.
fn net() -> impl FeatureMap {
    let weights: Vec<Tensor> =
        random_weights(&[7, 20, 12, 6], 12, DType::F64).iter().map(|weight| (weight * 1.5).unwrap()).collect();
    perceptron(weights, Activation::Tanh)
}

fn inputs(count: usize, index: u64) -> Tensor {
    normal(&[count, 7], 21, index)
}

/// The share of seeds whose interval contains `truth`; `data` returns the inputs of a seed.
fn coverage(
    map: &dyn FeatureMap,
    truth: f64,
    data: impl Fn(u64) -> Tensor,
    estimator: impl Fn(u64) -> GeometricComplexity,
) -> f64 {
    let holds = |estimate: Estimate| {
        let interval = estimate.interval.unwrap();
        interval.low <= truth && truth <= interval.high
    };
    // One chunk per measurement, because candle's matrix product reads the number of processors from the system each time.
    let measured =
        |seed| estimator(seed).trust_derivatives().chunk_samples(1_000).measure_inputs(map, &data(seed)).unwrap();
    let covered = (0..SEEDS).filter(|&seed| holds(measured(seed))).count();
    covered as f64 / SEEDS as f64
}

fn assert_nominal(share: f64, what: &str) {
    assert!((0.93..=0.97).contains(&share), "{what}: {share}");
}

/// The rows of `data` in a random order for each seed.
fn shuffled(data: &Tensor, seed: u64) -> Tensor {
    let order = streams::permutation(&mut streams::stream(seed, "gc-core/tests/order", 0), data.dims()[0]);
    let order: Vec<u32> = order.into_iter().map(|row| row as u32).collect();
    data.index_select(&Tensor::new(order, &CPU).unwrap(), 0).unwrap()
}

#[test]
fn one_probe_per_sample_covers_on_a_linear_map() {
    let weight = normal(&[6, 7], 3, 0);
    let linear = |x: &Tensor| x.matmul(&weight.t()?);
    let truth = entries_squared(&weight);
    for probe in [Probe::Rademacher, Probe::Gaussian, Probe::Sphere] {
        for population in [Population::Distribution, Population::DataSet { size: 200 }] {
            let data = inputs(200, 0);
            let estimator = |seed| GeometricComplexity::projections(probe, 1).seed(seed).population(population);
            assert_nominal(coverage(&linear, truth, |_| data.clone(), estimator), &format!("{probe:?} {population:?}"));
        }
    }
}

fn entries_squared(tensor: &Tensor) -> f64 {
    crate::support::entries(tensor).iter().map(|entry| entry * entry).sum()
}

#[test]
fn one_probe_per_sample_on_new_data_covers_the_distribution() {
    let net = net();
    let exact = GeometricComplexity::exact().measure_inputs(&net, &inputs(60_000, 1)).unwrap();
    // The standard error of the reference value is a twentieth of the standard errors of the estimates below.
    assert!(exact.relative_error().unwrap() < 0.004);
    let data = |seed| inputs(200, 10 + seed);
    for (what, estimator) in [
        ("one probe", GeometricComplexity::projections(Probe::Rademacher, 1)),
        ("three probes", GeometricComplexity::projections(Probe::Gaussian, 3)),
        ("columns", GeometricComplexity::projections(Probe::Rademacher, 1).by(Side::Columns)),
        ("exact", GeometricComplexity::exact()),
    ] {
        assert_nominal(coverage(&net, exact.value, data, |seed| estimator.clone().seed(seed)), what);
    }
}

#[test]
fn every_estimator_covers_a_fixed_data_set() {
    let net = net();
    let data = inputs(150, 2);
    let population = Population::DataSet { size: 150 };
    let truth = GeometricComplexity::exact().measure_inputs(&net, &data).unwrap().value;
    for (what, estimator) in [
        ("two probes", GeometricComplexity::projections(Probe::Rademacher, 2)),
        ("columns", GeometricComplexity::projections(Probe::Sphere, 2).by(Side::Columns)),
        ("orthogonal", GeometricComplexity::projections(Probe::Orthogonal { block: 2 }, 4)),
        ("masks", GeometricComplexity::entry_mask(0.2)),
        ("outputs", GeometricComplexity::output_sample(2)),
        ("a batch sample", GeometricComplexity::exact().batch_sample(60, 150)),
        ("a batch sample with probes", GeometricComplexity::projections(Probe::Rademacher, 2).batch_sample(60, 150)),
    ] {
        let share = coverage(&net, truth, |_| data.clone(), |seed| estimator.clone().seed(seed).population(population));
        assert_nominal(share, what);
    }
}

#[test]
fn one_probe_per_sample_on_a_fixed_data_set_is_conservative_without_replicates() {
    let net = net();
    let data = inputs(200, 3);
    let population = Population::DataSet { size: 200 };
    let truth = GeometricComplexity::exact().measure_inputs(&net, &data).unwrap().value;
    let single = GeometricComplexity::projections(Probe::Rademacher, 1).population(population);
    assert!(single.measure_inputs(&net, &data).unwrap().standard_error.conservative);
    let share = coverage(&net, truth, |seed| shuffled(&data, seed), |seed| single.clone().seed(seed));
    assert!(share > 0.96, "an upper bound of the error covers more often: {share}");
    let share = coverage(&net, truth, |seed| shuffled(&data, seed), |seed| single.clone().replicate(60).seed(seed));
    assert_nominal(share, "60 samples with a second probe");
}

#[test]
fn a_planned_measurement_that_stops_at_its_error_still_covers() {
    let net = net();
    let data = inputs(600, 4);
    let truth = GeometricComplexity::exact().measure_inputs(&net, &data).unwrap().value;
    let planned = GeometricComplexity::planned(Probe::Rademacher, 0.03).population(Population::DataSet { size: 600 });
    let share = coverage(&net, truth, |seed| shuffled(&data, seed), |seed| planned.clone().seed(seed));
    assert_nominal(share, "planned to 3 %");
}
