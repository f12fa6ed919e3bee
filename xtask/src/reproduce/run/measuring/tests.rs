//! Measures of whole networks.

use super::*;
use crate::reproduce::run::training;
use crate::study::experiment::Experiment;
use crate::study::metric::measures;

/// A transfer of a few classes and images, with more settings.
fn configuration(more: &[&str]) -> Configuration {
    let tiny = [
        "data.classes=6",
        "data.train_images_per_class=8",
        "data.test_images_per_class=6",
        "data.target_classes=5",
        "data.target_images_per_class=8",
        "train.batch_size=16",
        "measure.feature_images_per_class=8",
        "measure.gc_images_per_class=2",
        "measure.few_shot={ way = 3, shot = 2, query = 3, episodes = 20, ridge = 0.1 }",
        "measure.layers=[]",
        "sweeps.batch-size.values=[8, 16]",
    ];
    let set: Vec<String> = tiny.iter().chain(more).map(|text| (*text).to_owned()).collect();
    Experiment::resolve("fig4", "quick", None, None, &set).unwrap().configuration(0, None).unwrap()
}

fn measured(configuration: &Configuration, change: impl Fn(&models::Network)) -> (Values, Vec<LayerMeasures>) {
    let images = Images::load(configuration, None).unwrap();
    let network = training::network(configuration, &images).unwrap();
    change(&network);
    let measuring = Measuring::new(configuration, &images).unwrap();
    measuring.check(&network).unwrap();
    (measuring.measure(&network, Slopes::default()).unwrap(), measuring.measure_layers(&network).unwrap())
}

/// Multiplies parameters by a power of two, which changes no digit.
fn scale(network: &models::Network, names: &[&str], factor: f64) {
    for name in names {
        let var = &network.params().get(name).unwrap().var;
        var.set(&var.affine(factor, 0.0).unwrap()).unwrap();
    }
}

#[test]
fn features_times_four_with_the_head_over_four_leave_every_scale_free_measure_unchanged() {
    let configuration = configuration(&[]);
    let (one, _) = measured(&configuration, |_| ());
    let (other, _) = measured(&configuration, |network| {
        // The last batch norm; ReLU and max pooling are homogeneous.
        scale(network, &["features.19.weight", "features.19.bias"], 4.0);
        scale(network, &["classifier.weight"], 0.25);
    });
    for metric in Metric::standard().into_iter().filter(|metric| Task::Transfer.measures(*metric)) {
        let Some(before) = one.get(&metric) else { continue };
        let after = &other[&metric];
        if metric.is_scale_free() {
            for (before, after) in [(before.value, after.value), (before.standard_error, after.standard_error)] {
                let close = |(before, after): (f64, f64)| (before - after).abs() <= 1e-10 * before.abs();
                assert!(before.zip(after).is_none_or(close) && before.is_some() == after.is_some(), "{metric:?}");
            }
        } else {
            assert!(before.value != after.value, "{metric:?}");
        }
    }
    // log NC is the sum of its three terms.
    let log = |metric: Metric| one[&metric].value.unwrap().ln();
    let sum = log(measures::GC) + log(measures::MEAN_INVERSE_SQUARED_DISTANCE) + log(measures::VARIANCE_OVER_GC);
    assert!((log(measures::NC) - sum).abs() < 1e-12);
}

#[test]
fn every_metric_of_the_task_is_measured_and_the_bounds_are_above_their_errors() {
    let (values, layers) = measured(&configuration(&["measure.layers=['features.3', 'features.21']"]), |_| ());
    // The slopes come from training steps.
    let measured = |metric: &Metric| {
        Task::Transfer.measures(*metric) && ![measures::PATH_SLOPE, measures::STEP_SLOPE].contains(metric)
    };
    for metric in Metric::standard().into_iter().filter(measured) {
        assert!(values.contains_key(&metric), "{metric:?}");
    }
    let with_errors = [
        measures::GC,
        measures::GEOMETRIC_COLLAPSE,
        measures::NC,
        measures::MEAN_VARIANCE,
        measures::MEAN_INVERSE_SQUARED_DISTANCE,
        measures::VARIANCE_OVER_GC,
        measures::GC_OVER_VARIANCE,
        measures::GC_OVER_TOTAL_VARIANCE,
        measures::TEST_GC,
        measures::TARGET_GC,
        measures::TARGET_NC,
        measures::EVALUATION_LOSS,
        measures::CANTELLI_BOUND,
        measures::DIRECTIONAL_BOUND,
        measures::TARGET_CANTELLI_BOUND,
        measures::TARGET_DIRECTIONAL_BOUND,
    ];
    for metric in with_errors {
        assert!(values[&metric].standard_error.is_some_and(|error| error >= 0.0), "{metric:?}: {:?}", values[&metric]);
    }
    let value = |metric: Metric| values[&metric].value.unwrap();
    for (error, cantelli, directional) in [
        (measures::NEAREST_MEAN_ERROR, measures::CANTELLI_BOUND, measures::DIRECTIONAL_BOUND),
        (measures::TARGET_NEAREST_MEAN_ERROR, measures::TARGET_CANTELLI_BOUND, measures::TARGET_DIRECTIONAL_BOUND),
    ] {
        assert!(value(error) <= value(cantelli) + 1e-12 && value(cantelli) <= value(directional) + 1e-12);
        assert!(value(directional) <= 1.0);
    }
    assert_eq!(layers.iter().map(|layer| layer.layer.as_str()).collect::<Vec<_>>(), ["features.3", "features.21"]);
    // The last layer before the head: the outputs are the features, measured on the same images.
    assert_eq!(layers[1].gc.value, values[&measures::GC].value);
    assert_eq!(layers[1].nc_unbiased, values[&measures::NC_UNBIASED]);
    assert!(layers.iter().all(|layer| layer.target_nc_unbiased.is_some() && layer.probe_accuracy.value.is_some()));
}

#[test]
fn batches_change_the_measures_of_training_images_alone() {
    let (fixed, _) = measured(&configuration(&[]), |_| ());
    let (batches, _) = measured(&configuration(&["measure.protocol=batches"]), |_| ());
    for (metric, value) in &fixed {
        let averaged = [
            measures::GC,
            measures::NC,
            measures::GEOMETRIC_COLLAPSE,
            measures::PAIRWISE_GEOMETRIC_COLLAPSE,
            measures::MEAN_VARIANCE,
            measures::MEAN_INVERSE_SQUARED_DISTANCE,
            measures::VARIANCE_OVER_GC,
            measures::GC_OVER_VARIANCE,
            measures::GC_OVER_TOTAL_VARIANCE,
        ];
        if averaged.contains(metric) {
            assert_ne!(value.value, batches[metric].value, "{metric:?}");
        } else if ![measures::NC_UNBIASED, measures::GEOMETRIC_COLLAPSE_UNBIASED].contains(metric) {
            assert_eq!(value, &batches[metric], "{metric:?}");
        }
    }
    let log = |metric: Metric| batches[&metric].value.unwrap().ln();
    let sum = log(measures::GC) + log(measures::MEAN_INVERSE_SQUARED_DISTANCE) + log(measures::VARIANCE_OVER_GC);
    assert!((log(measures::NC) - sum).abs() < 1e-12);
}

#[test]
fn unknown_layers_are_refused_by_name() {
    let configuration = configuration(&["measure.layers=['features.99']"]);
    let images = Images::load(&configuration, None).unwrap();
    let network = training::network(&configuration, &images).unwrap();
    let message = format!("{:#}", Measuring::new(&configuration, &images).unwrap().check(&network).unwrap_err());
    assert!(message.contains("measure.layers") && message.contains("features.99"), "{message}");
}
