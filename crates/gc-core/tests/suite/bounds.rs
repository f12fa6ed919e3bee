//! Bounds hold, and are sharp where they can be.

use candle_core::{DType, Tensor, Var};
use gc_core::bounds::{
    Evidence, Inequality, Lipschitz, NormBound, empirical_bernstein, hoeffding, power_iteration, spectral_norm_bound,
};
use gc_core::{Error, GeometricComplexity, Slope};

use crate::support::{Activation, CPU, normal, perceptron, random_weights};

/// The matrix of a convolution with zero padding, row by row, from candle's forward pass on unit images.
fn dense(weight: &Tensor, padding: usize, stride: usize, size: (usize, usize)) -> Tensor {
    let channels = weight.dims()[1];
    let inputs = channels * size.0 * size.1;
    let units = Tensor::eye(inputs, DType::F64, &CPU).unwrap().reshape((inputs, channels, size.0, size.1)).unwrap();
    units.conv2d(weight, padding, stride, 1, 1).unwrap().flatten_from(1).unwrap().t().unwrap().contiguous().unwrap()
}

fn frobenius(matrix: &Tensor) -> f64 {
    matrix.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

#[test]
fn the_spectral_norm_lies_between_its_estimate_and_its_bound() {
    for (rows, columns) in [(1, 7), (7, 1), (20, 33), (60, 12), (40, 40)] {
        let matrix = normal(&[rows, columns], 61, (100 * rows + columns) as u64);
        let below = power_iteration(&matrix, 1e-14, 20_000, 3).unwrap();
        let above = spectral_norm_bound(&matrix).unwrap();
        assert!(below.converged);
        // Rank 40 leaves a factor of at most 40^(1/16384).
        assert!(below.value <= above && above < below.value * 1.0005, "{rows}×{columns}: {} {above}", below.value);
    }
    assert_eq!(spectral_norm_bound(&Tensor::zeros((3, 4), DType::F32, &CPU).unwrap()).unwrap(), 0.0);
    // No overflow or underflow for matrices of any scale.
    for scale in [1e-140, 1e140] {
        let bound = spectral_norm_bound(&(Tensor::eye(5, DType::F64, &CPU).unwrap() * scale).unwrap()).unwrap();
        assert!((bound / scale - 1.0).abs() < 1e-3);
    }
}

#[test]
fn a_convolution_stays_below_its_bounds() {
    for (kernel, padding, stride, size) in [
        ((3, 3), 1, 1, (6, 5)),
        ((3, 3), 1, 2, (7, 4)),
        ((1, 1), 0, 2, (5, 6)),
        ((5, 3), 0, 1, (8, 5)),
        ((2, 4), 2, 3, (7, 9)),
    ] {
        let weight = normal(&[4, 3, kernel.0, kernel.1], 62, (kernel.0 * 10 + stride) as u64);
        let matrix = dense(&weight, padding, stride, size);
        let bound = NormBound::convolution(&weight, stride, matrix.dims()[0] / 4).unwrap();
        let operator = power_iteration(&matrix, 1e-12, 5_000, 1).unwrap().value;
        assert!(operator <= bound.operator, "{kernel:?} {stride}: {operator} > {}", bound.operator);
        assert!(frobenius(&matrix) <= bound.frobenius * (1.0 + 1e-12));
        // No looser than √(taps), which a bound by the whole weight could be at worst.
        assert!(bound.operator <= 3.0 * operator, "{kernel:?} {stride}: {operator} ≪ {}", bound.operator);
    }
    // Without overlap or padding the Frobenius bound is met.
    let weight = normal(&[4, 3, 2, 2], 62, 0);
    let matrix = dense(&weight, 0, 2, (6, 4));
    let bound = NormBound::convolution(&weight, 2, 6).unwrap();
    assert!((frobenius(&matrix) / bound.frobenius - 1.0).abs() < 1e-12);
    let operator = power_iteration(&matrix, 1e-13, 5_000, 1).unwrap().value;
    assert!((operator / bound.operator - 1.0).abs() < 1e-3);
}

#[test]
fn layer_norms_certify_what_samples_estimate() {
    let weights = random_weights(&[6, 15, 9, 4], 63, DType::F64);
    let network = NormBound::linear(&weights[0])
        .unwrap()
        .then(NormBound::contraction(15))
        .then(NormBound::linear(&weights[2]).unwrap())
        .then(NormBound::contraction(9))
        .then(NormBound::linear(&weights[4]).unwrap());
    let net = perceptron(weights, Activation::Tanh);
    let measured = GeometricComplexity::exact().per_sample().measure_inputs(&net, &normal(&[300, 6], 63, 9)).unwrap();
    let values = measured.per_sample.unwrap();
    let sampled = Lipschitz::from_samples(&values).unwrap();
    assert_eq!(sampled.evidence, Evidence::Sampled { samples: 300 });
    assert_eq!(Some(sampled.value), measured.largest_norm);
    let certified = network.lipschitz();
    assert_eq!(certified.evidence, Evidence::Certified);
    assert!(sampled.value < certified.value);
    // Near 0 tanh is the identity, so the certificate cannot be far off the largest norms.
    assert!(certified.value < 10.0 * sampled.value);
    let bernstein = empirical_bernstein(&values, sampled, 0.05).unwrap();
    assert_eq!(bernstein.inequality, Inequality::EmpiricalBernstein);
    assert!(empirical_bernstein(&values, certified, 0.05).unwrap().radius > bernstein.radius);
}

#[test]
fn composition_and_sum_of_branches() {
    let (a, b) = (normal(&[5, 4], 64, 0), normal(&[3, 5], 64, 1));
    let both = NormBound::linear(&a).unwrap().then(NormBound::linear(&b).unwrap());
    let product = b.matmul(&a).unwrap();
    assert!(frobenius(&product) <= both.frobenius);
    assert!(power_iteration(&product, 1e-12, 1_000, 0).unwrap().value <= both.operator);
    let norms = |operator, frobenius| NormBound::new(operator, frobenius).unwrap();
    assert_eq!(NormBound::identity(4).plus(norms(0.5, 0.7)), norms(1.5, 2.7));
    let pooled = NormBound::average_pool(4, 9);
    assert_eq!(pooled, norms(0.5, 1.5));
    let scaled = NormBound::channel_scale(&[3.0, -4.0], 2).unwrap();
    assert_eq!(scaled, norms(4.0, 50f64.sqrt()));
}

/// The share of 2,000 draws of 400 values in [0, L²] whose mean is off by more than the radius.
fn failures(radius: impl Fn(&[f64]) -> f64) -> f64 {
    // Values 4u³ for uniform u: mean 1, range [0, 4], skewed.
    let failed = (0..2_000).filter(|&draw| {
        let values: Vec<f64> =
            streams::uniform(&mut streams::stream(9, "gc-core/tests/bernstein", draw), 400, 0.0, 1.0)
                .into_iter()
                .map(|u| 4.0 * u.powi(3))
                .collect();
        let mean = values.iter().sum::<f64>() / 400.0;
        (mean - 1.0).abs() > radius(&values)
    });
    failed.count() as f64 / 2_000.0
}

#[test]
fn inequalities_hold_with_their_probability() {
    let lipschitz = Lipschitz::certified(2.0).unwrap();
    let range = failures(|_| hoeffding(400, lipschitz, 0.1).unwrap().radius);
    let variance = failures(|values| empirical_bernstein(values, lipschitz, 0.1).unwrap().radius);
    assert!(range <= 0.1 && variance <= 0.1, "{range} {variance}");
    // The same inequality at a tenth of its radius fails often, so the test can see a failure.
    assert!(failures(|_| 0.1 * hoeffding(400, lipschitz, 0.1).unwrap().radius) > 0.5);
}

#[test]
fn settings_without_a_bound_are_refused() {
    let lipschitz = Lipschitz::certified(2.0).unwrap();
    let refused = |result: gc_core::Result<_>| matches!(result, Err(Error::Setting { .. }));
    assert!(refused(hoeffding(0, lipschitz, 0.1)));
    assert!(refused(hoeffding(5, lipschitz, 0.0)));
    assert!(matches!(Lipschitz::certified(f64::INFINITY), Err(Error::Setting { .. })));
    assert!(refused(empirical_bernstein(&[1.0], lipschitz, 0.1)));
    assert!(refused(empirical_bernstein(&[1.0, 4.1], lipschitz, 0.1)));
    assert!(matches!(Lipschitz::from_samples(&[]), Err(Error::EmptyData)));
    assert!(matches!(Lipschitz::from_samples(&[f64::NAN]), Err(Error::Setting { .. })));
    let refused = |result: gc_core::Result<NormBound>| matches!(result, Err(Error::Setting { .. }));
    assert!(refused(NormBound::new(-1.0, 1.0)));
    assert!(refused(NormBound::linear(&normal(&[3], 1, 1))));
    assert!(refused(NormBound::linear(&normal(&[3, 2], 1, 1).affine(f64::NAN, 0.0).unwrap())));
    assert!(refused(NormBound::convolution(&normal(&[3, 2], 1, 1), 1, 4)));
    assert!(refused(NormBound::convolution(&normal(&[3, 2, 3, 3], 1, 1), 0, 4)));
    assert!(refused(NormBound::channel_scale(&[], 4)));
}

#[test]
fn the_slope_is_the_squared_norm_of_all_gradients() {
    let used = Var::from_tensor(&normal(&[3, 2], 65, 0)).unwrap();
    let unused = Var::from_tensor(&normal(&[4], 65, 1)).unwrap();
    let gradients = (used.sqr().unwrap().sum_all().unwrap() * 0.5).unwrap().backward().unwrap();
    let slope = Slope::new(&gradients, [("used", &used), ("unused", &unused)]).unwrap();
    assert!((slope.squared_norm / frobenius(&used).powi(2) - 1.0).abs() < 1e-14);
    assert_eq!((slope.entries, slope.without_gradient), (6, vec!["unused".to_string()]));
    let infinite = (used.as_tensor() - used.detach()).unwrap().sqrt().unwrap().sum_all().unwrap().backward().unwrap();
    let refused = Slope::new(&infinite, [("used", &used)]);
    assert!(matches!(refused, Err(Error::NonFiniteParameter { name }) if name == "used"));
}
