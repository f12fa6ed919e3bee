//! Errors of measuring, by variant.

use std::cell::Cell;

use candle_core::{DType, Tensor, Var};
use gc_core::{Error, FeatureMap, GeometricComplexity, InputUnits, Population, Probe, Quantity, Side};

use crate::support::{Activation, CPU, normal, perceptron, random_weights};

fn net() -> impl FeatureMap {
    perceptron(random_weights(&[6, 9, 4], 50, DType::F64), Activation::Tanh)
}

fn data(count: usize) -> Tensor {
    normal(&[count, 6], 51, 0)
}

fn exact() -> GeometricComplexity {
    GeometricComplexity::exact()
}

fn setting(result: gc_core::Result<gc_core::Estimate>) -> &'static str {
    match result {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("expected a refused setting, got {other:?}"),
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let measure = |estimator: GeometricComplexity| setting(estimator.measure_inputs(&net(), &data(5)));
    assert_eq!(measure(GeometricComplexity::projections(Probe::Rademacher, 0)), "probes");
    assert_eq!(measure(GeometricComplexity::projections(Probe::Orthogonal { block: 5 }, 5)), "Probe::Orthogonal");
    assert_eq!(measure(GeometricComplexity::projections(Probe::Orthogonal { block: 2 }, 3)), "probes");
    assert_eq!(measure(GeometricComplexity::entry_mask(0.0)), "entry_mask");
    assert_eq!(measure(GeometricComplexity::entry_mask(f64::NAN)), "entry_mask");
    assert_eq!(measure(GeometricComplexity::entry_mask(1.5)), "entry_mask");
    assert_eq!(measure(GeometricComplexity::output_sample(0)), "probes");
    assert_eq!(measure(GeometricComplexity::output_sample(5)), "output_sample");
    assert_eq!(measure(exact().until_relative_error(0.0)), "until_relative_error");
    assert_eq!(measure(exact().confidence(1.0)), "confidence");
    assert_eq!(measure(exact().chunk_samples(0)), "chunk_samples");
    assert_eq!(measure(exact().batch_sample(0, 5)), "batch_sample");
    assert_eq!(measure(exact().batch_sample(6, 5)), "batch_sample");
    assert_eq!(measure(exact().batch_sample(2, 5).population(Population::DataSet { size: 6 })), "batch_sample");
    assert_eq!(measure(exact().population(Population::DataSet { size: 0 })), "Population::DataSet");
    assert_eq!(measure(GeometricComplexity::planned(Probe::Gaussian, 0.1).pilot(1)), "pilot");
    let pixels = |std| exact().units(InputUnits::Pixel { std });
    assert_eq!(measure(pixels(vec![1.0; 5])), "InputUnits::Pixel");
    assert_eq!(measure(pixels(vec![1.0, 1.0, 0.0, 1.0, 1.0, 1.0])), "InputUnits::Pixel");
}

#[test]
fn unsuitable_data_are_refused() {
    assert!(matches!(exact().measure_inputs(&net(), &data(0)), Err(Error::EmptyData)));
    let none: [gc_core::Result<Tensor>; 0] = [];
    assert!(matches!(exact().measure(&net(), none), Err(Error::EmptyData)));
    let of_six = exact().population(Population::DataSet { size: 6 });
    assert!(matches!(of_six.measure_inputs(&net(), &data(5)), Err(Error::PopulationSize { expected: 6, got: 5 })));
    assert!(matches!(of_six.measure_inputs(&net(), &data(7)), Err(Error::PopulationSize { expected: 6, got: 7 })));
    let flat = Tensor::zeros(4, DType::F64, &CPU).unwrap();
    assert!(matches!(exact().measure_inputs(&net(), &flat), Err(Error::InputShape { .. })));
    let integers = Tensor::zeros((4, 6), DType::U8, &CPU).unwrap();
    assert!(matches!(exact().measure_inputs(&net(), &integers), Err(Error::InputShape { .. })));
    let ragged = [Ok::<_, Error>(data(3)), Ok(normal(&[3, 5], 1, 1))];
    assert!(matches!(exact().measure(&net(), ragged), Err(Error::InputShape { .. })));
    let labelled = (data(3), vec![0, 1]);
    let refused = exact().measure(&net(), [Ok::<_, Error>(labelled)]);
    assert!(matches!(refused, Err(Error::LabelCount { samples: 3, labels: 2 })));
    assert!(matches!(exact().per_class().measure_inputs(&net(), &data(3)), Err(Error::LabelsMissing)));
    let broken = [Ok(data(3)), Err(std::io::Error::other("the disk is gone"))];
    let refused = exact().measure(&net(), broken);
    assert!(matches!(&refused, Err(Error::Source(source)) if source.to_string() == "the disk is gone"));
}

/// The data with one entry of sample `sample` replaced.
fn with_entry(sample: usize, entry: f64) -> Tensor {
    let mut rows = data(9).to_vec2::<f64>().unwrap();
    rows[sample][4] = entry;
    Tensor::new(rows, &CPU).unwrap()
}

#[test]
fn errors_for_non_finite_values_name_the_sample() {
    for sample in [0, 1, 7] {
        let refused = exact().chunk_samples(3).measure_inputs(&net(), &with_entry(sample, f64::NAN));
        assert!(
            matches!(refused, Err(Error::NonFinite { quantity: Quantity::Inputs, sample: s, layer: None }) if s == sample)
        );
        // ln is infinite at 0 only.
        let logarithm = |x: &Tensor| x.sqr()?.log();
        let refused = exact().chunk_samples(3).measure_inputs(&logarithm, &with_entry(sample, 0.0));
        assert!(
            matches!(refused, Err(Error::NonFinite { quantity: Quantity::Features, sample: s, .. }) if s == sample)
        );
        // The root of a square is finite at 0, and its derivative is not.
        let root = |x: &Tensor| x.sqr()?.sqrt();
        for estimator in [exact(), GeometricComplexity::projections(Probe::Gaussian, 1)] {
            let refused = estimator.chunk_samples(3).measure_inputs(&root, &with_entry(sample, 0.0));
            assert!(
                matches!(refused, Err(Error::NonFinite { quantity: Quantity::Gradient, sample: s, .. }) if s == sample),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_map_with_named_layers_names_the_first_non_finite_one() {
    struct Named;
    impl FeatureMap for Named {
        fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
            Ok(x.sqr()?.log()?)
        }
        fn first_non_finite_layer(&self, _: &Tensor) -> Option<String> {
            Some("log".into())
        }
    }
    let refused = exact().measure_inputs(&Named, &with_entry(5, 0.0)).unwrap_err();
    assert_eq!(refused.to_string(), "features of sample 5 are not finite (first seen in log)");
}

#[test]
fn maps_that_mix_samples_are_refused() {
    let centred = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(0)?)?.tanh();
    let softly = |x: &Tensor| x.broadcast_add(&x.mean_keepdim(0)?.affine(0.02, 0.0)?)?.tanh();
    // Detached statistics of the batch: the derivatives do not mix samples, but the features do.
    let held = |x: &Tensor| x.broadcast_sub(&x.detach().mean_keepdim(0)?)?.tanh();
    for count in [1, 2, 9] {
        assert!(matches!(exact().measure_inputs(&centred, &data(count)), Err(Error::MixesSamples { .. })));
        assert!(matches!(exact().measure_inputs(&softly, &data(count)), Err(Error::MixesSamples { .. })));
        assert!(matches!(exact().measure_inputs(&held, &data(count)), Err(Error::MixesSamples { .. })));
    }
    let batch_sum = gc_core::Parametric::new(vec![], |_: &[Tensor], x: &Tensor| x.broadcast_add(&x.sum_keepdim(0)?))
        .with_jvp(|_: &[Tensor], x: &Tensor, dx: &Tensor| {
            Ok((x.broadcast_add(&x.sum_keepdim(0)?)?, dx.broadcast_add(&dx.sum_keepdim(0)?)?))
        });
    let columns = GeometricComplexity::projections(Probe::Gaussian, 1).by(Side::Columns);
    assert!(matches!(columns.measure_inputs(&batch_sum, &data(4)), Err(Error::MixesSamples { .. })));
}

#[test]
fn maps_without_a_jacobian_are_refused() {
    let columns = exact().by(Side::Columns);
    assert!(matches!(columns.measure_inputs(&|x: &Tensor| x.tanh(), &data(2)), Err(Error::NoForwardMode)));
    let detached = |x: &Tensor| Ok(x.detach());
    assert!(matches!(exact().measure_inputs(&detached, &data(2)), Err(Error::NotDifferentiable)));
    let images = |x: &Tensor| x.reshape((x.dim(0)?, 2, 3));
    assert!(matches!(exact().measure_inputs(&images, &data(2)), Err(Error::FeatureShape { samples: 1, .. })));
    let pooled = |x: &Tensor| x.sum_keepdim(0);
    assert!(matches!(exact().measure_inputs(&pooled, &data(2)), Err(Error::FeatureShape { samples: 2, .. })));
}

#[test]
fn maps_whose_number_of_features_depends_on_the_batch_are_refused() {
    let repeated = |x: &Tensor| x.repeat((1, x.dim(0)?));
    let refused = exact().measure_inputs(&repeated, &data(3));
    assert!(matches!(refused, Err(Error::FeatureCount { alone: 6, together: 12 })), "{refused:?}");
    // Up to a batch of two nothing is wrong.
    let late = |x: &Tensor| if x.dim(0)? > 2 { x.narrow(1, 0, 5) } else { Ok(x.clone()) };
    let refused = exact().trust_derivatives().measure_inputs(&late, &data(3));
    assert!(matches!(refused, Err(Error::FeatureCount { alone: 6, together: 5 })), "{refused:?}");
}

#[test]
fn maps_that_return_integers_are_refused() {
    let classes = |x: &Tensor| x.argmax_keepdim(1);
    let refused = exact().measure_inputs(&classes, &data(3));
    assert!(matches!(refused, Err(Error::FeatureDType { got: DType::U32 })), "{refused:?}");
}

#[test]
fn maps_that_draw_random_numbers_are_refused() {
    let calls = Cell::new(0);
    let dropout = |x: &Tensor| {
        calls.set(calls.get() + 1);
        let mask: Vec<f64> =
            streams::uniform(&mut streams::stream(1, "gc-core/tests/dropout", calls.get()), x.elem_count(), 0.0, 1.0);
        x * Tensor::from_vec(mask, x.dims(), &CPU)?.gt(0.5)?.to_dtype(x.dtype())?
    };
    for count in [1, 2, 9] {
        let refused = exact().measure_inputs(&dropout, &data(count));
        assert!(matches!(refused, Err(Error::NotDeterministic { .. })), "{refused:?}");
    }
    // Small noise is refused as well.
    let noisy = |x: &Tensor| {
        calls.set(calls.get() + 1);
        x + 1e-6 * calls.get() as f64
    };
    let refused = exact().measure_inputs(&noisy, &data(2));
    assert!(matches!(refused, Err(Error::NotDeterministic { difference }) if difference < 1e-4), "{refused:?}");
}

#[test]
fn weights_that_are_variables_are_measured_and_recorded() {
    let weight = Var::from_tensor(&normal(&[4, 6], 1, 1)).unwrap();
    let constant = weight.as_detached_tensor();
    for estimator in
        [exact(), GeometricComplexity::projections(Probe::Gaussian, 2), GeometricComplexity::entry_mask(0.5)]
    {
        let tracked = estimator.measure_inputs(&|x: &Tensor| x.matmul(&weight.t()?)?.tanh(), &data(5)).unwrap();
        let frozen = estimator.measure_inputs(&|x: &Tensor| x.matmul(&constant.t()?)?.tanh(), &data(5)).unwrap();
        let weights = tracked.tracked_weights.unwrap();
        assert_eq!((weights.count, weights.entries, weights.gradient_bytes), (1, 24, 24 * 8));
        assert_eq!((tracked.value, tracked.standard_error), (frozen.value, frozen.standard_error));
        assert_eq!(frozen.tracked_weights, None);
    }
}

#[test]
fn errors_and_settings_cross_threads() {
    fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<Error>();
    assert_send_and_sync::<GeometricComplexity>();
    assert_send_and_sync::<gc_core::Estimate>();
}
