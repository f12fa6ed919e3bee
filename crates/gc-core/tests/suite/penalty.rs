//! Gradients of the penalty against finite differences of its value for fixed probes.

use candle_core::{DType, Tensor, Var};
use gc_core::{BatchNormMode, Error, FeatureMap, GeometricComplexity, InputUnits, Penalty, Probe, Result};

use crate::support::{Activation, entries, normal, perceptron, random_weights, relative_difference, tracked};

/// features = tanh(γ·(z − mean z)/√(var z + ε) + β) Vᵀ with z = x Wᵀ, mean and biased variance over the batch.
struct BatchNormed {
    weights: Vec<Tensor>,
}

impl BatchNormed {
    fn new(weights: &[Tensor]) -> Self {
        Self { weights: weights.to_vec() }
    }

    fn mean(x: &Tensor) -> Result<Tensor> {
        Ok(x.mean_keepdim(0)?)
    }
}

impl FeatureMap for BatchNormed {
    fn features(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.jvp(x, &x.zeros_like()?)?.0)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor) -> Result<(Tensor, Tensor)> {
        let [w, gamma, beta, v] = &self.weights[..] else { panic!("four weights") };
        let (z, dz) = (x.matmul(&w.t()?)?, dx.matmul(&w.t()?)?);
        let centred = z.broadcast_sub(&Self::mean(&z)?)?;
        let dcentred = dz.broadcast_sub(&Self::mean(&dz)?)?;
        let scale = (Self::mean(&centred.sqr()?)? + 1e-5)?.powf(-0.5)?;
        let covariance = Self::mean(&(&centred * &dcentred)?)?;
        // d(var + ε)^(−1/2) = −(var + ε)^(−3/2) · mean(centred · dcentred).
        let dscale = (scale.powf(3.0)? * covariance)?.neg()?;
        let normal = centred.broadcast_mul(&scale)?;
        let dnormal = (dcentred.broadcast_mul(&scale)? + centred.broadcast_mul(&dscale)?)?;
        let y = normal.broadcast_mul(gamma)?.broadcast_add(beta)?.tanh()?;
        let dy = (y.sqr()?.affine(-1.0, 1.0)? * dnormal.broadcast_mul(gamma)?)?;
        Ok((y.matmul(&v.t()?)?, dy.matmul(&v.t()?)?))
    }

    fn has_jvp(&self) -> bool {
        true
    }

    fn frozen(&self) -> Option<Box<dyn FeatureMap + '_>> {
        Some(Box::new(Self { weights: self.weights.iter().map(Tensor::detach).collect() }))
    }

    fn batch_norm(&self) -> BatchNormMode {
        BatchNormMode::Training
    }
}

fn batch_norm_weights() -> Vec<Tensor> {
    let scale = (normal(&[8], 31, 2) * 0.3).unwrap().affine(1.0, 1.0).unwrap();
    vec![normal(&[8, 6], 31, 0), scale, normal(&[8], 31, 3), normal(&[4, 8], 31, 1)]
}

/// The derivative of the loss along a random direction of all weights: from its gradients, and by central differences.
fn along_a_direction(
    weights: &[Tensor],
    value: impl Fn(&[Tensor]) -> f64,
    loss: impl Fn(&[Tensor]) -> Tensor,
) -> (f64, f64) {
    let directions: Vec<Tensor> =
        weights.iter().enumerate().map(|(i, weight)| normal(weight.dims(), 77, i as u64)).collect();
    let (variables, leaves) = tracked(weights);
    let store = loss(&leaves).backward().unwrap();
    let analytic = variables.iter().zip(&directions).filter_map(|(variable, direction): (&Var, _)| {
        let gradient = store.get(variable)?;
        Some((gradient * direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap())
    });
    let step = 1e-5;
    let moved = |sign: f64| -> Vec<Tensor> {
        weights.iter().zip(&directions).map(|(w, d)| (w + (d * (sign * step)).unwrap()).unwrap()).collect()
    };
    (analytic.sum(), (value(&moved(1.0)) - value(&moved(-1.0))) / (2.0 * step))
}

#[test]
fn the_gradient_is_exact_for_the_drawn_probes() {
    let weights = random_weights(&[6, 9, 4], 30, DType::F64);
    let x = normal(&[5, 6], 30, 9);
    for probe in [Probe::Rademacher, Probe::Gaussian, Probe::Sphere, Probe::Orthogonal { block: 2 }] {
        let penalty =
            Penalty::projections(probe, 2).seed(4).units(InputUnits::Pixel { std: vec![0.5, 0.2, 1.0, 2.0, 0.3, 0.7] });
        let term = |weights: &[Tensor]| penalty.term(&perceptron(tracked(weights).1, Activation::Tanh), &x, 6).unwrap();
        let loss =
            |leaves: &[Tensor]| penalty.term(&perceptron(leaves.to_vec(), Activation::Tanh), &x, 6).unwrap().loss;
        let (analytic, numeric) = along_a_direction(&weights, |weights| term(weights).value, loss);
        // Central differences at step 1e-5 of a smooth function in f64: error about 1e-9 of its size.
        assert!((analytic / numeric - 1.0).abs() < 1e-7, "{probe:?}: {analytic}, not {numeric}");
        let whole = term(&weights);
        assert!((entries(&whole.loss)[0] / whole.value - 1.0).abs() < 1e-14);
        assert!((whole.per_sample.iter().sum::<f64>() / 5.0 / whole.value - 1.0).abs() < 1e-14);
    }
}

#[test]
fn the_gradient_includes_the_batch_statistics_in_training_mode() {
    let weights = batch_norm_weights();
    let x = normal(&[7, 6], 31, 9);
    let penalty = Penalty::projections(Probe::Rademacher, 3).seed(2);
    let term = |weights: &[Tensor]| penalty.term(&BatchNormed::new(&tracked(weights).1), &x, 0).unwrap();
    let loss = |leaves: &[Tensor]| penalty.term(&BatchNormed::new(leaves), &x, 0).unwrap().loss;
    let (analytic, numeric) = along_a_direction(&weights, |weights| term(weights).value, loss);
    assert!((analytic / numeric - 1.0).abs() < 1e-7, "{analytic}, not {numeric}");
}

#[test]
fn on_a_mixing_map_the_mean_over_probes_is_the_norm_of_the_whole_jacobian() {
    let weights = batch_norm_weights();
    let map = BatchNormed::new(&tracked(&weights).1);
    let x = normal(&[3, 6], 31, 9);
    // All 3·4 rows of the batch map, one cotangent each.
    let term = Penalty::exact();
    let mut whole = 0.0;
    for row in 0..12 {
        let mut cotangent = vec![0.0; 12];
        cotangent[row] = 1.0;
        let cotangent = Tensor::from_vec(cotangent, (3, 4), &crate::support::CPU).unwrap();
        whole += term.term_along(&map, &x, &[cotangent]).unwrap().value;
    }
    let draws = 2_000;
    let estimate = Penalty::projections(Probe::Rademacher, draws).term(&map, &x, 0).unwrap().value;
    assert!((estimate / whole - 1.0).abs() < 0.08, "{estimate}, not {whole}");
    assert!(matches!(Penalty::exact().term(&map, &x, 0), Err(Error::MixesSamples { .. })));
}

#[test]
fn the_penalty_estimates_the_measured_value() {
    let weights = random_weights(&[6, 9, 4], 30, DType::F64);
    let map = perceptron(tracked(&weights).1, Activation::Tanh);
    let x = normal(&[5, 6], 30, 9);
    let exact = GeometricComplexity::exact().per_sample().measure_inputs(&map, &x).unwrap();
    let term = Penalty::exact().term(&map, &x, 0).unwrap();
    assert!(relative_difference(&term.per_sample, &exact.per_sample.unwrap()) < 1e-13);
    let draws = 2_000;
    let mean = Penalty::projections(Probe::Sphere, draws).term(&map, &x, 3).unwrap().value;
    assert!((mean / exact.value - 1.0).abs() < 0.08, "{mean}, not {}", exact.value);
    // The features are those of the map and have a graph.
    assert!(relative_difference(&entries(&term.features), &entries(&map.features(&x).unwrap())) < 1e-14);
    assert!(term.features.track_op());
}

#[test]
fn each_step_and_each_seed_has_its_own_probes() {
    let map = perceptron(tracked(&random_weights(&[6, 9, 4], 30, DType::F64)).1, Activation::Tanh);
    let x = normal(&[5, 6], 30, 9);
    let value = |seed, step| Penalty::projections(Probe::Gaussian, 1).seed(seed).term(&map, &x, step).unwrap().value;
    assert_eq!(value(1, 1), value(1, 1));
    assert_ne!(value(1, 1), value(1, 2));
    assert_ne!(value(1, 1), value(2, 1));
}

#[test]
fn unsuitable_maps_and_settings_are_refused() {
    let weights = random_weights(&[6, 9, 4], 30, DType::F64);
    let x = normal(&[5, 6], 30, 9);
    let one = Penalty::projections(Probe::Rademacher, 1);
    let constant = perceptron(weights.clone(), Activation::Tanh);
    assert!(matches!(one.term(&constant, &x, 0), Err(Error::ConstantWeights)));
    let weight = weights[0].clone();
    let closure = move |x: &Tensor| x.matmul(&weight.t()?);
    assert!(matches!(one.term(&closure, &x, 0), Err(Error::ConstantWeights)));
    let map = perceptron(tracked(&weights).1, Activation::Tanh);
    assert!(matches!(Penalty::projections(Probe::Gaussian, 0).term(&map, &x, 0), Err(Error::Setting { .. })));
    assert!(matches!(one.term_along(&map, &x, &[]), Err(Error::Setting { name: "cotangents", .. })));
    assert!(matches!(one.term(&map, &x.narrow(0, 0, 0).unwrap(), 0), Err(Error::EmptyData)));
    let infinite = x.affine(1.0, f64::INFINITY).unwrap();
    assert!(matches!(one.term(&map, &infinite, 0), Err(Error::NonFinite { sample: 0, .. })));
}
