//! The regression on covariates of the inputs: unbiased, with a right error, and cheaper, on untrained and trained nets.

use candle_core::{D, DType, Tensor, Var};
use gc_core::{Covariate, Error, Estimate, FeatureMap, GeometricComplexity, Population, Probe};

use crate::support::{Activation, CPU, normal, perceptron, random_weights};

const SIZE: usize = 500;
const SEEDS: u64 = 500;
const WIDTHS: [usize; 4] = [7, 20, 12, 6];

/// Inputs whose length varies between samples, as the contrast of images does.
fn data() -> Tensor {
    let lengths = normal(&[SIZE, 1], 31, 0).affine(0.2, 0.0).unwrap().exp().unwrap();
    normal(&[SIZE, 7], 31, 1).broadcast_mul(&lengths).unwrap()
}

fn shuffled(data: &Tensor, seed: u64) -> Tensor {
    let order = streams::permutation(&mut streams::stream(seed, "gc-core/tests/order", 0), SIZE);
    let order: Vec<u32> = order.into_iter().map(|row| row as u32).collect();
    data.index_select(&Tensor::new(order, &CPU).unwrap(), 0).unwrap()
}

/// Normal weights, before and after 150 steps of gradient descent on the squared distance of `net` to one-hot labels.
fn weights<F: FeatureMap>(trained: bool, rate: f64, net: impl Fn(Vec<Tensor>) -> F) -> Vec<Tensor> {
    let weights: Vec<Var> = random_weights(&WIDTHS, 12, DType::F64)
        .iter()
        .map(|weight| Var::from_tensor(&(weight * 1.5).unwrap()).unwrap())
        .collect();
    let tensors = || weights.iter().map(|weight| weight.as_tensor().clone()).collect::<Vec<_>>();
    let data = data();
    // The class of a sample is that of its largest of six coordinates.
    let classes: Vec<u32> = data.narrow(1, 0, 6).unwrap().argmax(D::Minus1).unwrap().to_vec1().unwrap();
    let targets: Vec<f64> =
        classes.iter().flat_map(|&class| (0..6).map(move |k| f64::from(u8::from(k == class)))).collect();
    let targets = Tensor::from_vec(targets, (SIZE, 6), &CPU).unwrap();
    for _ in 0..if trained { 150 } else { 0 } {
        let features = net(tensors()).features(&data).unwrap();
        let loss = (features - &targets).unwrap().sqr().unwrap().sum(1).unwrap().mean(0).unwrap();
        let gradients = loss.backward().unwrap();
        for weight in &weights {
            let step = (gradients.get(weight.as_tensor()).unwrap() * rate).unwrap();
            weight.set(&(weight.as_tensor() - step).unwrap()).unwrap();
        }
    }
    weights.iter().map(|weight| weight.as_tensor().copy().unwrap().detach()).collect()
}

/// A perceptron of the squared inputs: its Jacobian grows with the length of the input.
fn net(trained: bool) -> impl FeatureMap {
    of_squares(weights(trained, 0.002, of_squares))
}

/// A perceptron whose Jacobian is bounded, so that no few samples dominate the mean.
fn smooth(trained: bool) -> impl FeatureMap {
    let tanh = |weights| perceptron(weights, Activation::Tanh);
    tanh(weights(trained, 0.05, tanh))
}

fn of_squares(weights: Vec<Tensor>) -> impl Fn(&Tensor) -> candle_core::Result<Tensor> {
    let inner = perceptron(weights, Activation::Relu);
    move |x: &Tensor| inner.features(&x.sqr()?).map_err(candle_core::Error::wrap)
}

fn truth(net: &dyn FeatureMap) -> f64 {
    GeometricComplexity::exact().measure_inputs(net, &data()).unwrap().value
}

fn regressed(estimator: GeometricComplexity) -> GeometricComplexity {
    estimator.population(Population::DataSet { size: SIZE }).trust_derivatives().regress_on_inputs()
}

/// Estimates of all seeds, each from its own order of the samples and its own probes.
fn estimates(net: &dyn FeatureMap, estimator: &GeometricComplexity) -> Vec<Estimate> {
    let data = data();
    let measured = |seed| estimator.clone().seed(seed).measure_inputs(net, &shuffled(&data, seed)).unwrap();
    (0..SEEDS).map(measured).collect()
}

#[test]
fn values_are_unbiased_and_intervals_cover_before_and_after_training() {
    for trained in [false, true] {
        let net = smooth(trained);
        let truth = truth(&net);
        for (name, estimator) in [
            ("exact", GeometricComplexity::exact().max_passes(7 * 60)),
            ("probes", GeometricComplexity::projections(Probe::Rademacher, 2).max_passes(3 * 100)),
            (
                "one probe, replicated",
                GeometricComplexity::projections(Probe::Rademacher, 1).replicate(40).max_passes(280),
            ),
        ] {
            let found = estimates(&net, &regressed(estimator));
            let count = found.len() as f64;
            let mean = found.iter().map(|estimate| estimate.value).sum::<f64>() / count;
            let variance = found.iter().map(|estimate| (estimate.value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            let stated = found.iter().map(|e| e.standard_error.total.unwrap().powi(2)).sum::<f64>() / count;
            // Four standard errors of the mean of 500 values; the variance of 500 values has a relative error of 6 %.
            let deviation = (mean - truth) / (variance / count).sqrt();
            assert!(deviation.abs() < 4.0, "{name}, trained {trained}: {mean} is {deviation} errors from {truth}");
            assert!((0.8..1.35).contains(&(stated / variance)), "{name}, trained {trained}: {}", stated / variance);
            let covered = found.iter().map(|e| e.interval.unwrap()).filter(|i| i.low <= truth && truth <= i.high);
            let share = covered.count() as f64 / count;
            assert!((0.925..=0.975).contains(&share), "{name}, trained {trained}: {share}");
        }
    }
}

#[test]
fn the_error_is_smaller_than_without_the_covariates() {
    for trained in [false, true] {
        let net = net(trained);
        let exact = GeometricComplexity::exact().max_passes(7 * 60);
        let plain = exact.clone().population(Population::DataSet { size: SIZE }).trust_derivatives();
        let truth = truth(&net);
        let square = |of: &[Estimate]| of.iter().map(|estimate| (estimate.value - truth).powi(2)).sum::<f64>();
        let (with, without) = (square(&estimates(&net, &regressed(exact))), square(&estimates(&net, &plain)));
        assert!(with < 0.8 * without, "trained {trained}: {}", with / without);
    }
}

#[test]
fn a_planned_measurement_reaches_its_error_with_fewer_passes() {
    // At 0.05 a regression saves no passes in this small net: 1236 with it, 1196 without, in the untrained one.
    const TARGET: f64 = 0.03;
    for trained in [false, true] {
        let net = net(trained);
        let truth = truth(&net);
        let plain =
            GeometricComplexity::planned(Probe::Rademacher, TARGET).population(Population::DataSet { size: SIZE });
        let found = estimates(&net, &regressed(GeometricComplexity::planned(Probe::Rademacher, TARGET)));
        let plain = estimates(&net, &plain.trust_derivatives());
        let passes =
            |of: &[Estimate]| of.iter().map(|estimate| estimate.passes.total() as f64).sum::<f64>() / of.len() as f64;
        assert!(passes(&found) < passes(&plain), "trained {trained}: {} {}", passes(&found), passes(&plain));
        let squares: f64 = found.iter().map(|estimate| (estimate.value / truth - 1.0).powi(2)).sum();
        let error = (squares / found.len() as f64).sqrt();
        // A rule that stops at a small estimated error stops a little too early.
        assert!(error < TARGET * 1.15, "trained {trained}: {error}");
        let covered = found.iter().map(|e| e.interval.unwrap()).filter(|i| i.low <= truth && truth <= i.high).count();
        assert!(covered as f64 / found.len() as f64 > 0.9, "trained {trained}: {covered}");
    }
}

#[test]
fn the_estimate_states_its_regression_and_does_not_depend_on_the_chunks() {
    let net = net(false);
    let estimator = regressed(GeometricComplexity::projections(Probe::Rademacher, 2).max_passes(180)).seed(3);
    let whole = estimator.clone().chunk_samples(500).measure_inputs(&net, &data()).unwrap();
    let parts = estimator.chunk_samples(7).measure_inputs(&net, &data()).unwrap();
    // Products of matrices of another size round differently.
    let same = |one: f64, other: f64| (one / other - 1.0).abs() < 1e-12;
    assert!(same(whole.value, parts.value));
    assert!(same(whole.standard_error.total.unwrap(), parts.standard_error.total.unwrap()));
    let regression = whole.regression.as_ref().unwrap();
    assert_eq!(regression.covariates, [Covariate::Mean, Covariate::MeanSquare, Covariate::StandardDeviation]);
    assert!(regression.explained > 0.0 && regression.plain_mean != whole.value, "{regression:?}");
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Estimate>(&json).unwrap(), whole);
}

#[test]
fn a_data_set_that_is_measured_exactly_has_its_mean_and_no_error() {
    let net = net(false);
    let all = regressed(GeometricComplexity::exact()).measure_inputs(&net, &data()).unwrap();
    assert!((all.value / truth(&net) - 1.0).abs() < 1e-12);
    assert_eq!(all.standard_error.total, Some(0.0));
}

#[test]
fn without_the_other_samples_it_is_refused() {
    let net = net(false);
    let refused = |estimator: GeometricComplexity| {
        let error = estimator.regress_on_inputs().measure_inputs(&net, &data()).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "regress_on_inputs", .. }), "{error}");
    };
    refused(GeometricComplexity::exact());
    refused(GeometricComplexity::exact().population(Population::DataSet { size: SIZE }).batch_sample(30, SIZE));
}
