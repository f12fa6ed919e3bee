//! Linear maps, whose geometric complexity is ‖A‖²_F at every point.

use std::cell::RefCell;

use candle_core::{DType, Tensor};
use gc_core::{
    Estimate, FeatureMap, GeometricComplexity, InputUnits, Linearization, Method, Parametric, Population, Probe, Side,
    Stopped,
};

use crate::support::{CPU, entries, normal};

/// x ↦ A vec(x) with A `[5, 3·4·2]` on images of 3 channels, 4 rows and 2 columns, with a forward mode.
fn linear(matrix: &Tensor) -> impl FeatureMap + use<> {
    let apply = |weights: &[Tensor], x: &Tensor| x.flatten_from(1)?.matmul(&weights[0].t()?);
    Parametric::new(vec![matrix.clone()], apply)
        .with_jvp(move |weights: &[Tensor], x: &Tensor, dx: &Tensor| Ok((apply(weights, x)?, apply(weights, dx)?)))
}

fn matrix() -> Tensor {
    normal(&[5, 24], 1, 0)
}

fn images(count: usize) -> Tensor {
    normal(&[count, 3, 4, 2], 2, 0)
}

fn squared_norm(tensor: &Tensor) -> f64 {
    entries(tensor).iter().map(|entry| entry * entry).sum()
}

/// The matrix with each column divided by the σ of its channel.
fn in_pixels(std: &[f64; 3]) -> Tensor {
    let scale: Vec<f64> = (0..24).map(|column| 1.0 / std[column / 8]).collect();
    matrix().broadcast_mul(&Tensor::new(scale, &CPU).unwrap()).unwrap()
}

#[test]
fn exact_is_the_squared_frobenius_norm_from_both_sides() {
    for dtype in [DType::F64, DType::F32] {
        let map = linear(&matrix().to_dtype(dtype).unwrap());
        let images = images(3).to_dtype(dtype).unwrap();
        let expected = squared_norm(&matrix());
        for (side, passes) in [(Side::Rows, 3 + 3 * 5), (Side::Columns, 2 * 3 * 24)] {
            let estimate = GeometricComplexity::exact().by(side).measure_inputs(&map, &images).unwrap();
            let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-6 };
            assert!((estimate.value / expected - 1.0).abs() < tolerance);
            assert_eq!(estimate.method, Method::Exact { by: side });
            assert_eq!((estimate.inputs, estimate.outputs, estimate.samples), (24, 5, 3));
            assert_eq!(estimate.passes.total(), passes);
            assert_eq!(estimate.standard_error.probe, Some(0.0));
            assert!((estimate.largest_norm.unwrap() / expected.sqrt() - 1.0).abs() < tolerance);
            assert_eq!(estimate.stopped, Stopped::DataExhausted);
        }
    }
}

#[test]
fn exact_takes_the_side_with_fewer_passes() {
    let wide = GeometricComplexity::exact().measure_inputs(&linear(&matrix()), &images(2)).unwrap();
    assert_eq!(wide.method, Method::Exact { by: Side::Rows });
    let tall = linear(&normal(&[40, 24], 1, 1));
    let estimate = GeometricComplexity::exact().measure_inputs(&tall, &images(2)).unwrap();
    assert_eq!((estimate.method, estimate.probes), (Method::Exact { by: Side::Columns }, 24));
    // Without a JVP only rows can be computed.
    let weight = normal(&[40, 24], 1, 1);
    let closure = |x: &Tensor| x.flatten_from(1)?.matmul(&weight.t()?);
    let estimate = GeometricComplexity::exact().measure_inputs(&closure, &images(2)).unwrap();
    assert_eq!((estimate.method, estimate.probes), (Method::Exact { by: Side::Rows }, 40));
    assert!((estimate.value / squared_norm(&weight) - 1.0).abs() < 1e-13);
}

#[test]
fn many_rows_of_few_samples_share_a_pass_without_changing_the_value() {
    // 37 rows of one sample: four lanes, the last pass of which is partly empty.
    let matrix = normal(&[37, 24], 1, 2);
    let exact = GeometricComplexity::exact().by(Side::Rows);
    let one = exact.measure_inputs(&linear(&matrix), &images(1)).unwrap();
    assert!((one.value / squared_norm(&matrix) - 1.0).abs() < 1e-13);
    let narrow =
        exact.clone().chunk_bytes(one.chunk.bytes_per_sample).measure_inputs(&linear(&matrix), &images(1)).unwrap();
    assert_eq!(narrow.passes.backward, 37);
    assert!((one.value / narrow.value - 1.0).abs() < 1e-13);
}

/// Whether the true value is within four standard errors, which one in 16,000 correct estimates is not.
fn agrees(estimate: &Estimate, expected: f64) -> bool {
    let error = estimate.standard_error.total.unwrap();
    error > 0.0 && (estimate.value - expected).abs() < 4.0 * error
}

#[test]
fn every_estimator_agrees_within_its_error() {
    let probes = [Probe::Rademacher, Probe::Gaussian, Probe::Sphere, Probe::Orthogonal { block: 2 }];
    let mut all: Vec<GeometricComplexity> = vec![
        GeometricComplexity::entry_mask(0.3),
        GeometricComplexity::entry_mask(0.003),
        GeometricComplexity::output_sample(1),
        GeometricComplexity::output_sample(3),
    ];
    for probe in probes {
        for side in [Side::Rows, Side::Columns] {
            all.push(GeometricComplexity::projections(probe, 2).by(side));
        }
    }
    let expected = squared_norm(&matrix());
    for estimator in all {
        let estimate = estimator.clone().seed(5).measure_inputs(&linear(&matrix()), &images(500)).unwrap();
        assert!(
            agrees(&estimate, expected),
            "{:?}: {} ± {:?}, not {expected}",
            estimate.method,
            estimate.value,
            estimate.standard_error
        );
        assert!(estimate.relative_error().unwrap() < 0.25, "{:?}", estimate.method);
        // The same seed gives the same bits, another seed another value.
        let again = estimator.clone().seed(5).measure_inputs(&linear(&matrix()), &images(500)).unwrap();
        assert_eq!(estimate, again);
        let other = estimator.seed(6).measure_inputs(&linear(&matrix()), &images(500)).unwrap();
        assert_ne!(estimate.value, other.value);
    }
}

#[test]
fn complete_draws_are_exact() {
    let expected = squared_norm(&matrix());
    let complete = [
        GeometricComplexity::entry_mask(1.0),
        GeometricComplexity::output_sample(5),
        GeometricComplexity::projections(Probe::Orthogonal { block: 5 }, 5),
        GeometricComplexity::projections(Probe::Orthogonal { block: 24 }, 24).by(Side::Columns),
    ];
    for estimator in complete {
        let estimate = estimator.measure_inputs(&linear(&matrix()), &images(3)).unwrap();
        assert!((estimate.value / expected - 1.0).abs() < 1e-12, "{:?}", estimate.method);
        assert_eq!(estimate.standard_error.probe, Some(0.0), "{:?}", estimate.method);
    }
}

#[test]
fn a_sparse_mask_skips_rows_without_entries() {
    // 120 entries per sample at rate 1e-4: about one sample in 83 keeps an entry, usually a single one.
    let mask = GeometricComplexity::entry_mask(1e-4).chunk_samples(50).seed(3);
    let estimate = mask.measure_inputs(&linear(&matrix()), &images(2_000)).unwrap();
    assert!(estimate.passes.backward < 2_000, "{}", estimate.passes.backward);
    assert!(agrees(&estimate, squared_norm(&matrix())));
}

#[test]
fn the_variance_of_a_probe_is_the_stated_one() {
    // All samples have the same ‖J‖², so the variance of the estimates is that of a single probe.
    let gram = matrix().matmul(&matrix().t().unwrap()).unwrap();
    let (trace, fourth): (f64, f64) = (squared_norm(&matrix()), squared_norm(&gram));
    let diagonal: f64 = gram.to_vec2::<f64>().unwrap().iter().enumerate().map(|(i, row)| row[i] * row[i]).sum();
    let stated = [
        (Probe::Gaussian, 2.0 * fourth),
        (Probe::Rademacher, 2.0 * (fourth - diagonal)),
        (Probe::Sphere, 2.0 * (5.0 * fourth - trace * trace) / 7.0),
    ];
    for (probe, variance) in stated {
        let samples = 20_000;
        let single = GeometricComplexity::projections(probe, 1).seed(8);
        let estimate = single.measure_inputs(&linear(&matrix()), &images(samples)).unwrap();
        let got = estimate.standard_error.total.unwrap().powi(2) * samples as f64;
        // The sample variance of 20,000 draws with a kurtosis below 15 has a relative standard error of 2.7 %; 8 % is allowed.
        assert!((got / variance - 1.0).abs() < 0.08, "{probe:?}: {got}, not {variance}");
        // The variance within samples, from two probes per sample, is the same.
        let pair = GeometricComplexity::projections(probe, 2).seed(9);
        let estimate = pair.measure_inputs(&linear(&matrix()), &images(samples)).unwrap();
        let got = estimate.standard_error.probe.unwrap().powi(2) * (2 * samples) as f64;
        assert!((got / variance - 1.0).abs() < 0.08, "{probe:?} within: {got}, not {variance}");
    }
}

#[test]
fn pixel_units_divide_each_column_by_the_deviation_of_its_channel() {
    let std = [0.25, 0.5, 0.2];
    let expected = squared_norm(&in_pixels(&std));
    let units = InputUnits::Pixel { std: std.to_vec() };
    for side in [Side::Rows, Side::Columns] {
        let exact = GeometricComplexity::exact().by(side).units(units.clone());
        let estimate = exact.measure_inputs(&linear(&matrix()), &images(2)).unwrap();
        assert!((estimate.value / expected - 1.0).abs() < 1e-13, "{side:?}");
        assert_eq!(estimate.units, units);
        let projected = GeometricComplexity::projections(Probe::Gaussian, 2).by(side).units(units.clone());
        assert!(agrees(&projected.measure_inputs(&linear(&matrix()), &images(400)).unwrap(), expected), "{side:?}");
    }
    let masked = GeometricComplexity::entry_mask(0.5).units(units);
    assert!(agrees(&masked.measure_inputs(&linear(&matrix()), &images(400)).unwrap(), expected));
}

#[test]
fn a_measured_data_set_has_no_error_and_a_sample_of_it_has() {
    let map = |x: &Tensor| x.flatten_from(1)?.tanh();
    let whole = Population::DataSet { size: 60 };
    let exact = GeometricComplexity::exact().population(whole);
    let truth = exact.measure_inputs(&map, &images(60)).unwrap();
    assert_eq!((truth.standard_error.total, truth.standard_error.conservative), (Some(0.0), false));
    assert_eq!(truth.interval.map(|interval| interval.high - interval.low), Some(0.0));
    let sampled = exact.clone().batch_sample(20, 60).seed(4).measure_inputs(&map, &images(60)).unwrap();
    assert_eq!(sampled.samples, 20);
    assert!(agrees(&sampled, truth.value));
    // The finite population correction: Var = (1 − 20/60) s²/20, and for the distribution s²/20.
    let endless = exact.population(Population::Distribution).batch_sample(20, 60).seed(4);
    let endless = endless.measure_inputs(&map, &images(60)).unwrap();
    assert_eq!(endless.value, sampled.value);
    let ratio = sampled.standard_error.total.unwrap() / endless.standard_error.total.unwrap();
    assert!((ratio - (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
}

/// The linear map with its own linearization, which records the number of rows of every backward pass.
struct WithLinearization {
    matrix: Tensor,
    rows: RefCell<Vec<usize>>,
}

impl FeatureMap for WithLinearization {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        Ok(x.flatten_from(1)?.matmul(&self.matrix.t()?)?)
    }

    fn linearize(&self, x: &Tensor) -> gc_core::Result<Option<Box<dyn Linearization + '_>>> {
        Ok(Some(Box::new(AtImages { features: self.features(x)?, map: self })))
    }
}

struct AtImages<'a> {
    features: Tensor,
    map: &'a WithLinearization,
}

impl Linearization for AtImages<'_> {
    fn features(&self) -> &Tensor {
        &self.features
    }

    fn vjp(&self, cotangents: &Tensor) -> gc_core::Result<Tensor> {
        let rows = cotangents.dim(0)?;
        assert_eq!(rows % self.features.dim(0)?, 0);
        self.map.rows.borrow_mut().push(rows);
        Ok(cotangents.matmul(&self.map.matrix)?.reshape((rows, 3, 4, 2))?)
    }

    fn bytes(&self) -> gc_core::ResidualBytes {
        gc_core::ResidualBytes { total: 1_000, largest: 100 }
    }
}

#[test]
fn a_linearization_computes_many_rows_per_sample_in_one_pass() {
    let matrix = normal(&[150, 24], 1, 3);
    let own = WithLinearization { matrix: matrix.clone(), rows: RefCell::default() };
    let images = images(5);
    let both = |settings: GeometricComplexity| {
        own.rows.take();
        let found = settings.measure_inputs(&own, &images).unwrap();
        let expected = settings.measure_inputs(&linear(&matrix), &images).unwrap();
        assert!((found.value / expected.value - 1.0).abs() < 1e-12, "{} {}", found.value, expected.value);
        // The first pass is the inspection of two samples.
        (found.passes, own.rows.take().split_off(1))
    };
    // One sample at a time, with one forward pass each.
    let exact = GeometricComplexity::exact().by(Side::Rows);
    let (passes, rows) = both(exact.clone());
    assert_eq!((passes.forward, passes.backward, rows), (5, 5 * 150, [128, 22].repeat(5)));
    let (passes, rows) = both(GeometricComplexity::output_sample(40));
    assert_eq!((passes.forward, passes.backward, rows), (5, 5 * 40, vec![120, 80]));
    // Few rows per sample: all samples together.
    let (passes, rows) = both(GeometricComplexity::projections(Probe::Gaussian, 14));
    assert_eq!((passes.forward, passes.backward, rows), (5, 5 * 14, vec![60, 10]));
    // Within the budget: (1000 + 4·100)/2 bytes per row, from the inspection of two samples.
    let (_, rows) = both(exact.chunk_bytes(10 * 700));
    assert_eq!(rows, [10].repeat(5 * 15));
}
