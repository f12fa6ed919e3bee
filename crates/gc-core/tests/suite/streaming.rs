//! Streams of batches: a result does not depend on their sizes, and measuring stops when it should.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use candle_core::{DType, Tensor};
use gc_core::{Derivatives, Error, Estimate, FeatureMap, GeometricComplexity, Population, Probe, Progress, Stopped};

use crate::support::{Activation, normal, perceptron, random_weights};

fn net() -> impl FeatureMap {
    perceptron(random_weights(&[6, 9, 4], 40, DType::F64), Activation::Tanh)
}

fn data(count: usize) -> Tensor {
    normal(&[count, 6], 41, 0)
}

/// The data in batches of these sizes.
fn batches(data: &Tensor, sizes: &[usize]) -> Vec<Result<Tensor, Error>> {
    let mut first = 0;
    let mut batches = Vec::new();
    for &size in sizes {
        batches.push(Ok(data.narrow(0, first, size).unwrap()));
        first += size;
    }
    batches
}

#[test]
fn the_result_does_not_depend_on_how_inputs_were_batched() {
    let data = data(103);
    for estimator in [
        GeometricComplexity::exact().per_sample(),
        GeometricComplexity::projections(Probe::Gaussian, 2).per_sample().seed(3),
        GeometricComplexity::projections(Probe::Gaussian, 1).batch_sample(31, 103).per_sample().seed(3),
        GeometricComplexity::entry_mask(0.3).per_sample().seed(3),
    ] {
        let estimator = estimator.chunk_samples(20);
        let whole = estimator.measure_inputs(&net(), &data).unwrap();
        let uneven = estimator.measure(&net(), batches(&data, &[1, 0, 50, 2, 49, 1])).unwrap();
        assert_eq!(whole, uneven);
        let singles = estimator.measure(&net(), batches(&data, &[1; 103])).unwrap();
        assert_eq!(whole, singles);
    }
}

#[test]
fn probes_depend_on_the_sample_and_not_on_the_chunk() {
    let values = |chunk| {
        let projections = GeometricComplexity::projections(Probe::Sphere, 2).chunk_samples(chunk).per_sample();
        projections.measure_inputs(&net(), &data(50)).unwrap().per_sample.unwrap()
    };
    for (a, b) in values(7).iter().zip(values(50)) {
        assert!((a / b - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_batch_sample_measures_the_drawn_samples() {
    let exact = GeometricComplexity::exact().per_sample();
    let all = exact.measure_inputs(&net(), &data(40)).unwrap().per_sample.unwrap();
    let some = exact.batch_sample(11, 40).seed(9).measure_inputs(&net(), &data(40)).unwrap().per_sample.unwrap();
    assert_eq!(some.len(), 11);
    let mut rest = all.iter();
    for value in some {
        assert!(rest.any(|other| (other / value - 1.0).abs() < 1e-12), "drawn without replacement, in order");
    }
}

#[test]
fn classes_have_values_of_their_own() {
    let labels: Vec<u32> = (0..40).map(|sample| [7, 2, 2, 30][sample % 4]).collect();
    let batch = (data(40), labels.clone());
    let estimate = GeometricComplexity::exact().per_sample().per_class().chunk_samples(9);
    let estimate = estimate.measure(&net(), [Ok::<_, Error>(batch)]).unwrap();
    let values = estimate.per_sample.unwrap();
    let classes = estimate.per_class.unwrap();
    assert_eq!(
        classes.iter().map(|class| (class.label, class.samples)).collect::<Vec<_>>(),
        [(2, 20), (7, 10), (30, 10)]
    );
    for class in classes {
        let members: Vec<f64> = (0..40).filter(|&i| labels[i] == class.label).map(|i| values[i]).collect();
        let mean = members.iter().sum::<f64>() / members.len() as f64;
        let variance = members.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (members.len() - 1) as f64;
        assert!((class.value / mean - 1.0).abs() < 1e-13);
        let error = (variance / members.len() as f64).sqrt();
        assert!((class.standard_error.total.unwrap() / error - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_stream_is_read_no_further_than_needed() {
    let read = Cell::new(0);
    let stream = (0..).map(|index| {
        read.set(read.get() + 1);
        Ok::<_, Error>(normal(&[16, 6], 42, index))
    });
    let estimate = GeometricComplexity::projections(Probe::Rademacher, 1).until_relative_error(0.05).chunk_samples(16);
    let estimate = estimate.measure(&net(), stream).unwrap();
    assert_eq!(estimate.stopped, Stopped::RelativeError);
    assert!(estimate.relative_error().unwrap() <= 0.05);
    assert!(estimate.samples >= 32);
    assert_eq!(read.get(), estimate.samples.div_ceil(16));
}

#[test]
fn passes_are_counted_and_never_exceed_their_budget() {
    // By rows two probes cost three passes per sample: 100 passes allow 33 samples.
    let projections = GeometricComplexity::projections(Probe::Rademacher, 2).max_passes(100).chunk_samples(8);
    let estimate = projections.measure_inputs(&net(), &data(60)).unwrap();
    assert_eq!((estimate.stopped, estimate.samples, estimate.passes.total()), (Stopped::Passes, 33, 99));
    assert!(matches!(
        GeometricComplexity::exact().max_passes(4).measure_inputs(&net(), &data(3)),
        Err(Error::PassBudget { needed: 5, budget: 4 })
    ));
}

#[test]
fn passes_with_many_rows_stay_within_their_budget() {
    // A graph with several lanes takes more forward passes than the budget counts.
    let many = GeometricComplexity::projections(Probe::Gaussian, 32);
    let estimate = many.clone().max_passes(4 * 33).measure_inputs(&net(), &data(60)).unwrap();
    assert_eq!((estimate.samples, estimate.passes.forward, estimate.passes.backward), (4, 4, 4 * 32));
    let wide = |x: &candle_core::Tensor| x.repeat((1, 7))?.tanh();
    let estimate = GeometricComplexity::exact().max_passes(3 * 43).measure_inputs(&wide, &data(60)).unwrap();
    assert_eq!((estimate.samples, estimate.passes.total()), (3, 3 * 43));
    // Without a limit, rows share passes: 42 rows of each of 2 samples in 9 passes with 5 lanes, the last one padded.
    let estimate = GeometricComplexity::exact().measure_inputs(&wide, &data(2)).unwrap();
    assert_eq!((estimate.passes.forward, estimate.passes.backward), (2 * 5, 2 * 5 * 9));
}

#[test]
fn the_time_limit_stops_after_the_current_chunk() {
    let exact = GeometricComplexity::exact().time_limit(Duration::ZERO).chunk_samples(5);
    let estimate = exact.measure_inputs(&net(), &data(60)).unwrap();
    assert_eq!((estimate.stopped, estimate.samples), (Stopped::Time, 5));
}

#[test]
fn the_memory_budget_sets_the_chunk() {
    let exact = GeometricComplexity::exact();
    let one = exact.measure_inputs(&net(), &data(2)).unwrap().chunk.bytes_per_sample;
    // 6 inputs, 9 units and 4 features in f64, several tensors of each: between 200 bytes and 5 kB.
    assert!((200..5_000).contains(&one), "{one}");
    let estimate = exact.clone().chunk_bytes(10 * one + 1).measure_inputs(&net(), &data(25)).unwrap();
    assert_eq!(estimate.chunk.samples, 10);
    let refused = exact.chunk_bytes(one - 1).measure_inputs(&net(), &data(25));
    assert!(matches!(refused, Err(Error::MemoryBudget { needed, budget }) if needed == one && budget == one - 1));
}

#[test]
fn a_plan_is_reported_and_kept() {
    let planned = GeometricComplexity::planned(Probe::Rademacher, 0.03).pilot(40).seed(1);
    let estimate = planned.measure_inputs(&net(), &data(4_000)).unwrap();
    let plan = estimate.plan.clone().unwrap();
    assert_eq!(estimate.stopped, Stopped::RelativeError);
    assert!(estimate.relative_error().unwrap() <= 0.03);
    assert_eq!(estimate.probes, plan.probes);
    // The last plan was made after the samples had doubled for the last time, or where the number before it was not enough. So it
    // predicts the number of samples well.
    assert!(plan.pilot_samples >= 40 && estimate.samples <= 2 * plan.pilot_samples, "{plan:?}");
    // No plan is made at the end, so that the reported number of probes is one that samples had.
    assert!(plan.pilot_samples < estimate.samples, "{plan:?}");
    let ratio = estimate.samples as f64 / plan.samples as f64;
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
    // The second probes of the pilot identify the data part and the probe part.
    let error = estimate.standard_error;
    let (data, probe, total) = (error.data.unwrap(), error.probe.unwrap(), error.total.unwrap());
    assert!((data.hypot(probe) / total - 1.0).abs() < 1e-12 || data == 0.0);
}

#[test]
fn a_single_sample_has_a_value_and_no_error() {
    let estimate = GeometricComplexity::exact().measure_inputs(&net(), &data(1)).unwrap();
    assert_eq!((estimate.samples, estimate.standard_error.total, estimate.interval), (1, None, None));
    let of_itself = GeometricComplexity::exact().population(Population::DataSet { size: 1 });
    assert_eq!(of_itself.measure_inputs(&net(), &data(1)).unwrap().standard_error.total, Some(0.0));
}

#[test]
fn a_result_is_written_and_read_as_json() {
    let estimate = GeometricComplexity::planned(Probe::Rademacher, 0.1).per_sample().measure_inputs(&net(), &data(50));
    let estimate = estimate.unwrap();
    let mut json = serde_json::to_value(&estimate).unwrap();
    assert_eq!(json["method"]["projections"]["probe"], "rademacher");
    assert!(json["standard_error"]["total"].as_f64().unwrap() > 0.0);
    assert_eq!(json["seed"], 0);
    assert_eq!(serde_json::from_value::<Estimate>(json.clone()).unwrap(), estimate);
    // Results of earlier versions have other names, and no record of the check.
    let interval = json["interval"].as_object_mut().unwrap();
    let degrees = interval.remove("degrees_of_freedom").unwrap();
    interval.insert("freedom".into(), degrees);
    json.as_object_mut().unwrap().remove("derivatives");
    json.as_object_mut().unwrap().remove("tracked_weights");
    let old: Estimate = serde_json::from_value(json).unwrap();
    assert_eq!(
        (old.interval, old.value, old.derivatives),
        (estimate.interval, estimate.value, Derivatives::Unrecorded)
    );
}

#[test]
fn an_estimate_prints_as_value_and_error() {
    let exact = GeometricComplexity::exact().measure_inputs(&net(), &data(50)).unwrap();
    let (value, error) = (exact.value, exact.standard_error.total.unwrap());
    let text = exact.to_string();
    let (shown, shown_error) = text.split_once(" ± ").unwrap();
    assert!((shown.parse::<f64>().unwrap() - value).abs() <= 0.5 * error, "{text}");
    assert!((shown_error.parse::<f64>().unwrap() / error - 1.0).abs() < 0.3, "{text}");
}

#[test]
fn progress_counts_every_pass_as_it_is_made() {
    let data = data(60);
    for estimator in [
        GeometricComplexity::exact().by(gc_core::Side::Rows),
        GeometricComplexity::projections(Probe::Rademacher, 3),
        GeometricComplexity::output_sample(2),
        GeometricComplexity::planned(Probe::Rademacher, 0.05),
    ] {
        let estimator = estimator.seed(5).chunk_samples(16);
        let seen = RefCell::new(Vec::new());
        let watch = |progress: &Progress| seen.borrow_mut().push(progress.clone());
        let watched = estimator.measure_watched(&net(), batches(&data, &[25, 35]), &watch).unwrap();
        assert_eq!(watched, estimator.measure_inputs(&net(), &data).unwrap(), "watching changes no result");
        let seen = seen.into_inner();
        assert!(seen.is_sorted_by_key(|progress| (progress.samples, progress.passes)));
        let last = seen.last().unwrap();
        assert_eq!((last.samples, last.passes), (watched.samples, watched.passes.total()));
        assert_eq!((&last.plan, last.relative_error), (&watched.plan, watched.relative_error()));
        // Many reports within the first chunk, before any sample is complete.
        assert!(seen.iter().filter(|progress| progress.samples == 0 && progress.passes > 0).count() > 1);
        if watched.plan.is_none() {
            assert_eq!(last.passes_per_sample * last.samples as u64, last.passes);
        }
    }
}
