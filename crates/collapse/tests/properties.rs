//! Properties of the measures: invariances, merges, threads, degenerate classes, errors, and the bounds of the theory.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, CdnvForm, ClassMoments, Divisor, Error, Head, Precision, ReportOptions, SamplePass, Scatter,
    Symmetry, Weighting, cdnv, collapse_chain, effective_poincare_constant, geometric_collapse, nearest_mean_bound,
    report_slice, simplex,
};
use streams::{standard_normal, stream};

/// Classes of unequal counts around random means: features, row by row, and labels in a fixed shuffled order.
fn labelled(samples: usize, width: usize, classes: usize, spread: f64) -> (Vec<f64>, Vec<u32>) {
    let means = standard_normal(&mut stream(1, "collapse/tests/means", classes as u64), classes * width);
    let noise = standard_normal(&mut stream(1, "collapse/tests/noise", samples as u64), samples * width);
    let labels: Vec<u32> = (0..samples).map(|row| ((row * row + row / 3) % classes) as u32).collect();
    let rows = noise.chunks(width).zip(&labels);
    let features = rows
        .flat_map(|(row, &label)| {
            let mean = &means[label as usize * width..][..width];
            row.iter().zip(mean).map(move |(noise, mean)| mean + spread * noise).collect::<Vec<_>>()
        })
        .collect();
    (features, labels)
}

fn moments(features: &[f64], labels: &[u32], width: usize, classes: usize) -> ClassMoments {
    let mut moments = ClassMoments::new(classes, width, Scatter::Full);
    moments.update_slice(features, labels).unwrap();
    moments
}

#[track_caller]
fn close(left: f64, right: f64, relative: f64) {
    assert!((left - right).abs() <= relative * right.abs().max(1e-300), "{left} and {right}");
}

fn numbers(features: &[f64], labels: &[u32], width: usize) -> [f64; 6] {
    let report = report_slice(features, width, labels, None, &ReportOptions::default()).unwrap();
    [
        report.cdnv.mean,
        report.variability.nc1.unwrap(),
        report.variability.vci.unwrap(),
        report.simplex.equinorm.unwrap(),
        report.simplex.etf_error.unwrap(),
        report.cdnv.directional.unwrap(),
    ]
}

#[test]
fn translation_scale_rotation_and_order_change_nothing() {
    for (samples, width, classes) in [(90, 7, 4), (120, 3, 6), (60, 12, 5)] {
        let (features, labels) = labelled(samples, width, classes, 0.6);
        let expected = numbers(&features, &labels, width);
        let scaled: Vec<f64> = features.iter().map(|value| 3.5 * value + 40.0).collect();
        let mirrored: Vec<f64> = features.chunks(width).flat_map(reflect).collect();
        let rows = features.chunks(width).rev().flatten().copied().collect::<Vec<_>>();
        let reversed: Vec<u32> = labels.iter().rev().copied().collect();
        for (features, labels) in [(&scaled, &labels), (&mirrored, &labels), (&rows, &reversed)] {
            for (value, expected) in numbers(features, labels, width).into_iter().zip(expected) {
                close(value, expected, 1e-9);
            }
        }
    }
}

/// A Householder reflection by the vector (1, 2, …, p).
fn reflect(row: &[f64]) -> Vec<f64> {
    let axis: Vec<f64> = (1..=row.len()).map(|value| value as f64).collect();
    let dot: f64 = row.iter().zip(&axis).map(|(value, axis)| value * axis).sum();
    let square: f64 = axis.iter().map(|axis| axis * axis).sum();
    row.iter().zip(&axis).map(|(value, axis)| value - 2.0 * dot / square * axis).collect()
}

#[test]
fn batches_and_merge_order_agree_to_1e_12() {
    let (width, classes) = (9, 5);
    let (features, labels) = labelled(700, width, classes, 1.0);
    let shifted: Vec<f64> = features.iter().map(|value| value + 100.0).collect();
    let whole = moments(&shifted, &labels, width, classes);
    let cut = [0, 1, 60, 61, 350, 700];
    let parts: Vec<ClassMoments> = cut
        .windows(2)
        .map(|ends| moments(&shifted[ends[0] * width..ends[1] * width], &labels[ends[0]..ends[1]], width, classes))
        .collect();
    for order in [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1]] {
        let mut merged = ClassMoments::new(classes, width, Scatter::Full);
        order.iter().for_each(|&part| merged.merge(&parts[part]).unwrap());
        assert_eq!(merged.counts(), whole.counts());
        merged.means().iter().zip(whole.means()).for_each(|(merged, whole)| close(*merged, *whole, 1e-12));
        let convention = CdnvConvention::default();
        close(cdnv(&merged, convention).unwrap().mean, cdnv(&whole, convention).unwrap().mean, 1e-12);
        let measure = |of| collapse::vci(of, Weighting::SampleWeighted).unwrap().vci;
        close(measure(&merged), measure(&whole), 1e-10);
    }
}

#[test]
fn a_million_samples_in_batches_match_two_plain_passes() {
    let (samples, width, classes) = (1_000_000, 4, 7);
    let (features, labels) = labelled(samples, width, classes, 0.5);
    let narrow: Vec<f32> = features.iter().map(|&value| (value + 30.0) as f32).collect();
    let mut streamed = ClassMoments::new(classes, width, Scatter::Trace);
    for (features, labels) in narrow.chunks(997 * width).zip(labels.chunks(997)) {
        streamed.update_slice(features, labels).unwrap();
    }
    let mut means = vec![0.0f64; classes * width];
    let rows = || narrow.chunks(width).zip(labels.iter().map(|&label| label as usize));
    for (row, class) in rows() {
        row.iter().enumerate().for_each(|(at, &value)| means[class * width + at] += f64::from(value));
    }
    let count = |class: usize| streamed.count(class) as f64;
    means.iter_mut().enumerate().for_each(|(at, sum)| *sum /= count(at / width));
    let mut squares = vec![0.0f64; classes];
    for (row, class) in rows() {
        let mean = &means[class * width..][..width];
        squares[class] += row.iter().zip(mean).map(|(&value, mean)| (f64::from(value) - mean).powi(2)).sum::<f64>();
    }
    for class in (0..classes).filter(|&class| streamed.count(class) > 0) {
        close(streamed.variance(class, Divisor::Samples).unwrap(), squares[class] / count(class), 1e-11);
    }
    let mut scatter = vec![0.0f64; width * width];
    for (row, class) in rows() {
        let deviation: Vec<f64> =
            row.iter().zip(&means[class * width..]).map(|(&value, mean)| f64::from(value) - mean).collect();
        (0..width * width).for_each(|at| scatter[at] += deviation[at / width] * deviation[at % width]);
    }
    // The stated bound of products in f32, and the rounding of a million sums in f64.
    for (precision, bound) in [(Precision::OfFeatures, 3.1e-5), (Precision::Double, 1e-11)] {
        let mut streamed = ClassMoments::new(classes, width, Scatter::Full).with_precision(precision);
        for (features, labels) in narrow.chunks(997 * width).zip(labels.chunks(997)) {
            streamed.update_slice(features, labels).unwrap();
        }
        let written = serde_json::to_value(&streamed).unwrap();
        let lower: Vec<f64> = serde_json::from_value(written["products"].clone()).unwrap();
        let places = (0..width).flat_map(|row| (0..=row).map(move |column| (row, column)));
        for ((row, column), value) in places.zip(lower) {
            let scale = (scatter[row * width + row] * scatter[column * width + column]).sqrt();
            assert!((value - scatter[row * width + column]).abs() <= bound * scale);
        }
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let (features, labels) = labelled(5_000, 40, 12, 1.0);
    let narrow: Vec<f32> = features.iter().map(|&value| value as f32).collect();
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| report_slice(&narrow, 40, &labels, None, &ReportOptions::default()).unwrap())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn an_exact_simplex_collapses_to_zero() {
    let classes = 5;
    let vertex = |class: usize, at: usize| 3.0 * (f64::from(u8::from(class == at)) - 0.2);
    let weight: Vec<f64> = (0..25).map(|at| vertex(at / 5, at % 5)).collect();
    let features: Vec<f64> = [&weight[..], &weight[..]].concat();
    let labels: Vec<u32> = (0..10).map(|row| row % 5).collect();
    let head = Head::from_slices(&weight, None, classes).unwrap();
    let report = report_slice(&features, 5, &labels, Some(&head), &ReportOptions::default()).unwrap();
    let part = report.head.unwrap();
    let zeros = [
        report.cdnv.mean,
        report.variability.nc1.unwrap(),
        report.simplex.equinorm.unwrap(),
        report.simplex.equiangularity.unwrap(),
        report.simplex.etf_error.unwrap(),
        report.simplex.log_energy_excess.unwrap(),
        part.duality.difference.unwrap(),
        part.duality.product_error.unwrap(),
        part.bias_collapse.unwrap(),
        part.zero_sum.norm.unwrap(),
        1.0 - part.agreement.share,
    ];
    assert!(zeros.iter().all(|zero| zero.abs() < 1e-12), "{zeros:?}");
}

#[test]
fn missing_single_and_coincident_classes_are_excluded_and_counted() {
    // Classes 0 and 2 have two samples and the same mean, 1 none, 3 one sample, 4 two.
    let (features, labels) = ([0.0f64, 2.0, 1.5, 0.5, 7.0, 9.0, 11.0], [0, 0, 2, 2, 3, 4, 4]);
    let moments = moments(&features, &labels, 1, 5);
    let cdnv = cdnv(&moments, CdnvConvention::default()).unwrap();
    let excluded = cdnv.excluded_pairs;
    assert_eq!((excluded.missing, excluded.singleton, excluded.coincident, cdnv.pairs), (4, 3, 1, 2));
    close(cdnv.mean, ((1.0 + 1.0) / 162.0 + (0.25 + 1.0) / 162.0) / 2.0, 1e-14);
    assert_eq!(geometric_collapse(&moments, 1.0).unwrap().excluded_pairs.coincident, 1);
    let report = report_slice(&features, 1, &labels, None, &ReportOptions::default()).unwrap();
    assert_eq!((report.counts.missing_classes, report.counts.singleton_classes, report.cdnv.mean), (1, 1, cdnv.mean));
    let without = report_slice(
        &[0.0f64, 2.0, 1.5, 0.5, 9.0, 11.0],
        1,
        &[0, 0, 2, 2, 4, 4],
        None,
        &ReportOptions::default().with_class_count(5),
    );
    let error = without.unwrap().cdnv.std_error;
    assert!(error.is_some() && report.cdnv.std_error == error, "{:?} and {error:?}", report.cdnv.std_error);
}

#[test]
fn forms_of_the_cdnv_relate_as_defined() {
    let (features, labels) = labelled(80, 5, 4, 0.7);
    let moments = moments(&features, &labels, 5, 4);
    let of = |form| cdnv(&moments, CdnvConvention { form, divisor: Divisor::Samples }).unwrap();
    let (halved, unhalved, ordered) = (of(CdnvForm::Halved), of(CdnvForm::Unhalved), of(CdnvForm::Ordered));
    close(unhalved.mean, 2.0 * halved.mean, 1e-14);
    close(ordered.mean, halved.mean, 1e-14);
    assert!(ordered.max >= halved.max && ordered.pairs == 2 * halved.pairs);
}

#[test]
fn the_standard_error_of_the_cdnv_covers_its_spread() {
    let (width, classes, trials) = (6, 3, 200);
    let means = standard_normal(&mut stream(2, "collapse/tests/coverage-means", 0), classes * width);
    let labels: Vec<u32> = (0..240).map(|row| row % 3).collect();
    let mut found = Vec::new();
    for trial in 0..trials {
        let noise = standard_normal(&mut stream(2, "collapse/tests/coverage", trial), 240 * width);
        let value = |(at, noise): (usize, &f64)| noise + 2.0 * means[(at / width % 3) * width + at % width];
        let features: Vec<f64> = noise.iter().enumerate().map(value).collect();
        let report = report_slice(&features, width, &labels, None, &ReportOptions::default()).unwrap();
        found.push((report.cdnv.mean, report.cdnv.std_error.unwrap()));
    }
    let mean = found.iter().map(|pair| pair.0).sum::<f64>() / trials as f64;
    let spread = (found.iter().map(|pair| (pair.0 - mean).powi(2)).sum::<f64>() / (trials - 1) as f64).sqrt();
    let stated = found.iter().map(|pair| pair.1).sum::<f64>() / trials as f64;
    // The spread of 200 trials has a relative standard error of 5 %; the tolerance is four of these.
    assert!((stated / spread - 1.0).abs() < 0.2, "stated {stated}, seen {spread}");
}

#[test]
fn the_nearest_mean_bound_holds_in_simulation() {
    let (classes, width, trials) = (4, 8, 400);
    let means = standard_normal(&mut stream(3, "collapse/tests/bound-means", 0), classes * width);
    let apart = |i: usize, j: usize| -> f64 {
        (0..width).map(|at| (means[i * width + at] - means[j * width + at]).powi(2)).sum()
    };
    for (shots, spread) in [(1, 0.05), (1, 0.2), (5, 0.1), (5, 0.4)] {
        // Isotropic normal classes: Var = p·spread², spherically symmetric.
        let pairs = (0..classes).flat_map(|i| (0..i).map(move |j| (i, j)));
        let nc = pairs.map(|(i, j)| width as f64 * spread * spread / apart(i, j)).sum::<f64>() / 6.0;
        let (mut wrong, mut seen) = (0.0, 0.0);
        for trial in 0..trials {
            let mut draws = stream(3, "collapse/tests/bound", trial * 100 + shots as u64);
            let draw = |row: usize, noise: &[f64]| -> Vec<f64> {
                noise
                    .iter()
                    .enumerate()
                    .map(|(at, noise)| means[(row % classes) * width + at] + spread * noise)
                    .collect()
            };
            let noise = standard_normal(&mut draws, (classes * shots + classes) * width);
            let rows: Vec<f64> = noise.chunks(width).enumerate().flat_map(|(row, noise)| draw(row, noise)).collect();
            let labels: Vec<u32> = (0..classes * (shots + 1)).map(|row| (row % classes) as u32).collect();
            let (support, query) = rows.split_at(classes * shots * width);
            let mut train = ClassMoments::new(classes, width, Scatter::Trace);
            train.update_slice(support, &labels[..classes * shots]).unwrap();
            let mut pass = SamplePass::new(&train).unwrap();
            pass.update_slice(query, &labels[classes * shots..]).unwrap();
            wrong += pass.nearest_mean_error().unwrap().error;
            seen += 1.0;
        }
        for symmetry in [Symmetry::General, Symmetry::Spherical(width)] {
            assert!(nearest_mean_bound(nc, classes, shots, symmetry).unwrap().holds_for(wrong / seen));
        }
    }
}

#[test]
fn the_chain_holds_with_the_measured_constant_and_can_fail_below_it() {
    let (features, labels) = labelled(200, 6, 5, 0.8);
    let moments = moments(&features, &labels, 6, 5);
    let gc: Vec<f64> = (0..5).map(|class| 1.0 + f64::from(class)).collect();
    let constant = effective_poincare_constant(&moments, &gc).unwrap().max;
    let chain = collapse_chain(&moments, &gc, constant).unwrap();
    assert!(chain.first_holds && chain.second_holds && chain.nc < chain.pairwise && chain.pairwise < chain.mixture);
    assert!(!collapse_chain(&moments, &gc, 1e-6).unwrap().first_holds);
}

#[test]
fn bad_input_gives_the_matching_error_variant() {
    let mut moments = ClassMoments::new(2, 2, Scatter::Trace);
    let mut update = |features: &[f64], labels: &[u32]| moments.update_slice(features, labels).unwrap_err();
    assert!(matches!(update(&[1.0, 2.0, 3.0], &[0]), Error::Shape { .. }));
    assert!(matches!(update(&[1.0, 2.0], &[0, 1]), Error::LabelCount { features: 1, labels: 2, .. }));
    assert!(matches!(update(&[1.0, 2.0], &[2]), Error::LabelOutOfRange { row: 0, label: 2, .. }));
    let hole = [0.0, 1.0, f64::NAN, 2.0];
    assert!(matches!(update(&hole, &[0, 1]), Error::NonFinite { row: 1, column: 0, .. }));
    assert!(matches!(update(&[1e200, 0.0, -1e200, 0.0], &[0, 0]), Error::Overflow { class: 0, .. }));
    assert_eq!(moments.sample_count(), 0);
    let default = CdnvConvention::default();
    assert!(matches!(cdnv(&moments, default), Err(Error::TooFewClasses { found: 0, .. })));
    moments.update_slice(&[0.0f64, 1.0, 2.0, 2.0], &[0, 1]).unwrap();
    let too_few = |result: Result<(), Error>| {
        assert!(matches!(result, Err(Error::TooFewClasses { found: 0, singletons: 2, .. })), "{result:?}");
    };
    too_few(cdnv(&moments, default).map(|_| ()));
    too_few(collapse::trace_ratio(&moments, Weighting::default()).map(|_| ()));
    too_few(geometric_collapse(&moments, 1.0).map(|_| ()));
    too_few(simplex(&moments, Weighting::default()).map(|_| ()));
    moments.update_slice(&[0.0f64, 1.0, 2.0, 2.0], &[0, 1]).unwrap();
    assert!(matches!(geometric_collapse(&moments, -1.0), Err(Error::OutOfRange { .. })));
    let lengths = collapse::pairwise_geometric_collapse(&moments, &[1.0]);
    assert!(matches!(lengths, Err(Error::PerClassLength { expected: 2, actual: 1, .. })));
    assert!(matches!(collapse::vci(&moments, Weighting::default()), Err(Error::ScatterNotHeld { .. })));
    let other = ClassMoments::new(3, 2, Scatter::Trace);
    assert!(matches!(moments.merge(&other), Err(Error::Incompatible { .. })));
    assert!(matches!(SamplePass::new(&moments).unwrap().nearest_mean_error(), Err(Error::NoSamples { .. })));
    let mut partial = ClassMoments::new(3, 2, Scatter::Trace);
    partial.update_slice(&[0.0f64, 0.0, 1.0, 1.0], &[0, 1]).unwrap();
    let missing = SamplePass::new(&partial).unwrap().update_slice(&[1.0f64, 1.0], &[2]);
    assert!(matches!(missing, Err(Error::ClassWithoutMean { row: 0, label: 2, .. })));
    let mut same = ClassMoments::new(2, 1, Scatter::Trace);
    same.update_slice(&[1.0f64, 1.0, 1.0, 1.0], &[0, 0, 1, 1]).unwrap();
    assert!(matches!(simplex(&same, Weighting::default()), Err(Error::Vanishing { .. })));
    assert!(matches!(cdnv(&same, default), Err(Error::NoPair { coincident: 1, .. })));
    #[cfg(feature = "candle")]
    integer_features_are_an_error(&mut same);
}

#[cfg(feature = "candle")]
fn integer_features_are_an_error(same: &mut ClassMoments) {
    let integers = candle_core::Tensor::new(&[[1u32], [2]], &candle_core::Device::Cpu).unwrap();
    assert!(matches!(same.update(&integers, &[0, 1]), Err(Error::FeatureType { .. })));
}

#[test]
fn moments_survive_serialisation_and_reject_wrong_lengths() {
    let (features, labels) = labelled(40, 3, 4, 1.0);
    let moments = moments(&features, &labels, 3, 4);
    let text = serde_json::to_string(&moments).unwrap();
    let back: ClassMoments = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    let broken = text.replace("\"feature_count\":3", "\"feature_count\":4");
    assert!(serde_json::from_str::<ClassMoments>(&broken).is_err());
}

#[cfg(feature = "candle")]
#[test]
fn candle_errors_and_heads_of_another_shape_are_errors() {
    use candle_core::{Device, Tensor};
    let cpu = Device::Cpu;
    // An error of a tensor operation is returned unchanged.
    let failed = Tensor::zeros((2, 3), candle_core::DType::F32, &cpu).unwrap().reshape((4, 4)).unwrap_err();
    assert!(matches!(Error::from(failed), Error::Candle(_)));
    let flat = Tensor::zeros(3, candle_core::DType::F32, &cpu).unwrap();
    assert!(matches!(Head::new(&flat, None), Err(Error::Shape { .. })));
    let weight = Tensor::zeros((2, 3), candle_core::DType::F32, &cpu).unwrap();
    assert!(matches!(Head::new(&weight, Some(&flat)), Err(Error::Shape { .. })));
    assert!(matches!(Head::from_slices(&[1.0f64; 5], None, 2), Err(Error::Shape { .. })));
    assert!(matches!(Head::from_slices(&[1.0f64; 4], Some(&[0.0]), 2), Err(Error::Shape { .. })));
    let hole = Head::from_slices(&[1.0, f64::NAN, 0.0, 0.0], None, 2);
    assert!(matches!(hole, Err(Error::NonFinite { row: 0, column: 1, .. })));
    let (features, labels) = labelled(40, 3, 4, 1.0);
    let moments = moments(&features, &labels, 3, 4);
    for (classes, width) in [(3, 3), (4, 2)] {
        let head = Head::from_slices(&vec![1.0f64; classes * width], None, classes).unwrap();
        let incompatible =
            |result: Result<(), Error>| assert!(matches!(result, Err(Error::Incompatible { .. })), "{result:?}");
        incompatible(SamplePass::new(&moments).unwrap().with_head(&head).map(|_| ()));
        incompatible(collapse::self_duality(&head, &moments, Weighting::default()).map(|_| ()));
        incompatible(collapse::bias_collapse(&head, &moments, Weighting::default()).map(|_| ()));
        let options = ReportOptions::default().with_class_count(4);
        incompatible(report_slice(&features, 3, &labels, Some(&head), &options).map(|_| ()));
    }
}

#[test]
fn one_feature_by_hand() {
    // Classes −1, 1 | 8, 12 | 20, 20: means 0, 10, 20, variances 1, 4, 0; head (−1, 0, 1)·x with a bias.
    let (features, labels) = ([-1.0f64, 1.0, 8.0, 12.0, 20.0, 20.0], [0, 0, 1, 1, 2, 2]);
    let head = Head::from_slices(&[-1.0f64, 0.0, 1.0], Some(&[5.0, 0.0, -15.0]), 3).unwrap();
    let options = ReportOptions::default().with_gc_per_class(vec![1.0, 2.0, 0.5]).with_gc(1.0);
    let report = report_slice(&features, 1, &labels, Some(&head), &options).unwrap();
    let part = report.head.unwrap();
    let share = |value: f64, expected: f64| close(value, expected, 1e-12);
    share(report.cdnv.mean, (5.0 / 200.0 + 1.0 / 800.0 + 4.0 / 200.0) / 3.0);
    // With one feature the directional CDNV is the CDNV.
    share(report.cdnv.directional.unwrap(), report.cdnv.mean);
    share(report.geometric.mixture.unwrap(), (1.0 / 100.0 + 1.0 / 400.0 + 1.0 / 100.0) / 2.0);
    share(report.geometric.pairwise.unwrap(), (3.0 / 200.0 + 1.5 / 800.0 + 2.5 / 200.0) / 3.0);
    share(report.geometric.poincare_constant.unwrap(), 2.0);
    let (within, between) = (5.0 / 3.0, 200.0 / 3.0);
    share(report.variability.trace_ratio.unwrap(), within / between);
    share(report.variability.nc1.unwrap(), within / between / 3.0);
    share(report.variability.vci.unwrap(), 1.0 - between / (within + between));
    assert_eq!(report.variability.nc1_rank, Some(1));
    assert!((report.rank_me.unwrap() - 1.0).abs() < 1e-5);
    // The head scores (5 − x, 0, x − 15): every sample is classified correctly, as by the nearest mean.
    assert_eq!((report.nearest_mean.error, part.agreement.share, part.agreement.head_accuracy), (0.0, 1.0, 1.0));
    share(part.bias_collapse.unwrap(), (25.0f64 + 25.0).sqrt());
    assert_eq!(part.zero_sum.norm, Some(0.0));
    // The mean of class 1 is the global mean, so directions are undefined.
    assert_eq!(report.simplex.equinorm, None);
    assert!(report.undefined.iter().any(|gap| gap.measure == "equinorm"));
}

#[test]
fn more_classes_than_features_match_plain_sums() {
    let (width, classes) = (3, 11);
    let (features, labels) = labelled(400, width, classes, 0.7);
    let weight = standard_normal(&mut stream(4, "collapse/tests/head", 0), classes * width);
    let head = Head::from_slices(&weight, None, classes).unwrap();
    let report = report_slice(&features, width, &labels, Some(&head), &ReportOptions::default()).unwrap();
    assert_eq!(report.variability.nc1_rank, Some(width));
    // Plain sums, class by class, over the classes that occur.
    let rows =
        |class: usize| features.chunks(width).zip(&labels).filter(move |(_, l)| **l == class as u32).map(|p| p.0);
    let present: Vec<usize> = (0..classes).filter(|&class| rows(class).count() > 0).collect();
    let mean = |class: usize, at: usize| rows(class).map(|row| row[at]).sum::<f64>() / rows(class).count() as f64;
    let means: Vec<Vec<f64>> = present.iter().map(|&class| (0..width).map(|at| mean(class, at)).collect()).collect();
    let (mut directional, mut right) = (0.0, 0);
    for (i, &class) in present.iter().enumerate() {
        for row in rows(class) {
            let apart = |j: usize| (0..width).map(|at| (row[at] - means[j][at]).powi(2)).sum::<f64>();
            right += usize::from((0..means.len()).all(|j| j == i || apart(j) > apart(i)));
        }
        for j in (0..present.len()).filter(|&j| j != i) {
            let axis: Vec<f64> = (0..width).map(|at| means[i][at] - means[j][at]).collect();
            let square: f64 = axis.iter().map(|value| value * value).sum();
            let along = |row: &[f64]| (0..width).map(|at| (row[at] - means[i][at]) * axis[at]).sum::<f64>();
            let spread = rows(class).map(|row| along(row).powi(2)).sum::<f64>() / rows(class).count() as f64;
            directional += spread / (square * square);
        }
    }
    close(report.cdnv.directional.unwrap(), directional / (present.len() * (present.len() - 1)) as f64, 1e-12);
    close(1.0 - report.nearest_mean.error, right as f64 / labels.len() as f64, 1e-15);
}

#[test]
fn products_in_double_precision_match_f64_features_and_those_in_single_precision_stay_close() {
    let (width, classes) = (20, 6);
    let (features, labels) = labelled(3_000, width, classes, 1.0);
    let narrow: Vec<f32> = features.iter().map(|&value| value as f32).collect();
    let exact: Vec<f64> = narrow.iter().map(|&value| f64::from(value)).collect();
    let measure = |precision| {
        let options = ReportOptions::default().with_precision(precision);
        report_slice(&narrow, width, &labels, None, &options).unwrap()
    };
    let reference = report_slice(&exact, width, &labels, None, &ReportOptions::default()).unwrap();
    assert_eq!(measure(Precision::Double), reference);
    let single = measure(Precision::OfFeatures);
    assert_ne!(single, reference);
    close(single.variability.nc1.unwrap(), reference.variability.nc1.unwrap(), 1e-6);
    close(single.variability.vci.unwrap(), reference.variability.vci.unwrap(), 1e-6);
    close(single.cdnv.directional.unwrap(), reference.cdnv.directional.unwrap(), 1e-6);
}

#[test]
fn features_whose_squares_leave_single_precision_lose_nothing() {
    let (width, classes) = (6, 4);
    let (features, labels) = labelled(300, width, classes, 0.5);
    let scaled = |power: i32| -> Vec<f32> { features.iter().map(|value| *value as f32 * 2f32.powi(power)).collect() };
    let measure = |features: &[f32]| report_slice(features, width, &labels, None, &ReportOptions::default()).unwrap();
    let plain = measure(&scaled(0));
    for power in [70, -80] {
        let report = measure(&scaled(power));
        close(report.variability.nc1.unwrap(), plain.variability.nc1.unwrap(), 1e-6);
        close(report.variability.vci.unwrap(), plain.variability.vci.unwrap(), 1e-6);
    }
}
