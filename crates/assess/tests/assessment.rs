//! Assessments of small maps: by hand, their invariants, and the number of forward passes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::result_large_err, reason = "helpers of tests, which may panic")]

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use assess::{
    Assessment, BatchResult, Batches, BoxError, Data, Entry, Error, FewShot, Images, LayerImages, LayerMeasures,
    LayerOptions, Layers, Measure, Measured, Network, Options, Part, Slopes, Source, Stage, measures, register,
};
use candle_core::{DType, Device, Tensor};
use collapse::{Head, ReportOptions, Scatter};
use gc_core::{Batch, FeatureMap, GeometricComplexity, Probe};

/// `classes` noisy classes of `per_class` images in four dimensions, class by class.
fn images(classes: u32, per_class: usize, seed: u64) -> (Vec<f64>, Vec<u32>) {
    let labels: Vec<u32> = (0..classes).flat_map(|class| vec![class; per_class]).collect();
    let noise = streams::standard_normal(&mut streams::stream(seed, "assess/tests", 0), 4 * labels.len());
    let centre = |at: usize| if at % 4 == labels[at / 4] as usize % 4 { 3.0 } else { f64::from(labels[at / 4]) / 2.0 };
    (noise.iter().enumerate().map(|(at, noise)| centre(at) + noise).collect(), labels)
}

/// The images in batches of this size.
fn batches(classes: u32, per_class: usize, seed: u64, size: usize) -> Vec<(Tensor, Vec<u32>)> {
    let (values, labels) = images(classes, per_class, seed);
    let part = |(values, labels): (&[f64], &[u32])| {
        let x = Tensor::from_slice(values, (labels.len(), 4), &Device::Cpu).unwrap();
        (x, labels.to_vec())
    };
    values.chunks(4 * size).zip(labels.chunks(size)).map(part).collect()
}

fn few_shot(heads: &[&str]) -> FewShot {
    let heads = heads.iter().map(|head| head.parse().unwrap()).collect();
    FewShot { way: 3, shot: 2, query: 4, episodes: 20, seed: 5, heads }
}

fn smooth(x: &Tensor) -> candle_core::Result<Tensor> {
    (x * 0.5)?.tanh()
}

/// A head of three classes on four features.
fn head() -> (Tensor, Head) {
    let weight =
        Tensor::new(&[[1f64, -0.2, 0.1, 0.0], [-0.3, 0.9, 0.0, 0.2], [0.1, -0.1, 1.1, -0.3]], &Device::Cpu).unwrap();
    (weight.clone(), Head::new(&weight, None).unwrap())
}

fn value(assessment: &Assessment, measure: Measure) -> f64 {
    measure.read(assessment).unwrap().value.unwrap()
}

#[test]
fn two_classes_by_hand() {
    let x = Tensor::new(&[[-1f64, 0.0], [1.0, 0.0], [0.0, 8.0], [0.0, 12.0]], &Device::Cpu).unwrap();
    let train = vec![(x, vec![0u32, 0, 1, 1])];
    let double = |x: &Tensor| x * 2.0;
    let weight = Tensor::new(&[[0f64, -1.0], [0.0, 1.0]], &Device::Cpu).unwrap();
    let bias = Tensor::new(&[[10f64, -10.0]], &Device::Cpu).unwrap();
    let head = Head::new(&weight, Some(&bias.flatten_all().unwrap())).unwrap();
    let logits = |features: &Tensor| Ok(features.matmul(&weight.t()?)?.broadcast_add(&bias)?);
    let network = Network::new(&double).with_head(head).with_logits(logits);
    let data = Data::new(Images::new(&train)).with_test(Images::new(&train));
    let assessment = Assessment::of(&network, &data, &Options::default()).unwrap();
    // Features (±2, 0), (0, 16), (0, 24): Var 4 and 16, d² = 400; GC = 2 · 2² for every image.
    for (measure, expected) in [
        (measures::GC, 8.0),
        (measures::NC, 20.0 / 800.0),
        (measures::GEOMETRIC_COLLAPSE, 8.0 / 400.0),
        (measures::POINCARE_CONSTANT, 2.0),
        (measures::MEAN_VARIANCE, 10.0),
        (measures::TEST_BOUND, 2.0 * 8.0 / 400.0),
        (measures::TRACE_RATIO, 0.1),
        (measures::TRAIN_ACCURACY, 1.0),
        (measures::TEST_ACCURACY, 1.0),
        (measures::NEAREST_MEAN_ERROR, 0.0),
        (measures::NCC_AGREEMENT, 1.0),
    ] {
        assert!((value(&assessment, measure) - expected).abs() < 1e-12, "{measure}: {}", value(&assessment, measure));
    }
    // Scores ±10 for the first class, ∓6 and ∓14 for the second: loss ln(1 + e^(−20)), …
    let loss = |margin: f64| (-margin).exp().ln_1p();
    let expected = (2.0 * loss(20.0) + loss(12.0) + loss(28.0)) / 4.0;
    assert!((value(&assessment, measures::EVALUATION_LOSS) - expected).abs() < 1e-9);
    assert!(measures::TARGET_NC.read(&assessment).is_none() && measures::LOG_ME.read(&assessment).is_none());
}

/// Counts the images that go through a map.
struct Counting {
    images: Cell<usize>,
}

impl FeatureMap for Counting {
    fn features(&self, x: &Tensor) -> gc_core::Result<Tensor> {
        self.images.set(self.images.get() + x.dim(0)?);
        Ok(smooth(x)?)
    }
}

#[test]
fn every_image_goes_through_the_network_once() {
    let (train, test, target) = (batches(3, 10, 1, 7), batches(3, 8, 2, 7), batches(5, 9, 3, 7));
    let (weight, collapse_head) = head();
    let map = Counting { images: Cell::new(0) };
    let scored = Cell::new(0);
    let logits = |features: &Tensor| {
        scored.set(scored.get() + features.dim(0)?);
        Ok(features.matmul(&weight.t()?)?)
    };
    let network = Network::new(&map).with_head(collapse_head).with_logits(logits);
    let data = Data::new(Images::new(&train)).with_test(Images::new(&test)).with_target(Images::new(&target));
    let options = Options::default().with_few_shot(few_shot(&["ncm", "ridge:1"])).with_transfer_scores();
    let features_only = Assessment::of(&network, &data, &options.clone().with_complexity(None)).unwrap();
    assert_eq!(map.images.replace(0), 30 + 24 + 45);
    assert_eq!(scored.get(), 30 + 24);
    assert!(measures::GC.read(&features_only).is_none() && measures::GEOMETRIC_COLLAPSE.read(&features_only).is_none());
    assert!(value(&features_only, measures::TEST_ACCURACY) > 0.5);

    // Geometric complexity takes the passes that its estimate reports, two samples for the inspection, and the check of
    // derivatives, all on its own images.
    let few = batches(3, 2, 1, 4);
    let data = Data::new(Images::new(&train).with_complexity(&few));
    let settings = GeometricComplexity::exact().trust_derivatives();
    let assessment = Assessment::of(&network, &data, &Options::default().with_complexity(settings)).unwrap();
    let gc = assessment.train.gc.unwrap();
    assert_eq!(gc.samples, 6);
    let of_complexity = map.images.get() - 30;
    assert!(of_complexity >= gc.passes.forward as usize && of_complexity < 6 * 10, "{of_complexity} {:?}", gc.passes);
}

#[test]
fn every_standard_measure_is_read_and_batches_do_not_matter() {
    let (weight, collapse_head) = head();
    let logits = |features: &Tensor| Ok(features.matmul(&weight.t()?)?);
    let of = |size: usize| {
        let (train, test, target) = (batches(3, 10, 1, size), batches(3, 8, 2, size), batches(5, 9, 3, size));
        let network = Network::new(&smooth).with_head(collapse_head.clone()).with_logits(logits);
        let data = Data::new(Images::new(&train)).with_test(Images::new(&test)).with_target(Images::new(&target));
        let complexity = GeometricComplexity::projections(Probe::Rademacher, 2).seed(3);
        let options = Options::default()
            .with_complexity(complexity)
            .with_few_shot(few_shot(&["ncm", "ridge:1"]))
            .with_transfer_scores();
        let mut assessment = Assessment::of(&network, &data, &options).unwrap();
        assessment.slopes = Some(Slopes::new(6.0, 3, Some(1.0)));
        assessment.values(Measure::all())
    };
    let values = of(7);
    for measure in Measure::standard() {
        assert!(values[&measure].value.is_some(), "{measure}");
    }
    assert_eq!(values[&measures::PATH_SLOPE], Measured::new(2.0, None, 3));
    // All but the measures that other tests register.
    let read = Measure::all().into_iter().filter(|measure| !measure.key().starts_with("mine_"));
    let missing: Vec<Measure> = read.filter(|measure| !values.contains_key(measure)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for size in [1, 100] {
        for (measure, other) in of(size) {
            assert_eq!(values.get(&measure), Some(&other), "{measure} with batches of {size}");
        }
    }
    // log NC is the sum of its terms.
    let log = |measure: Measure| values[&measure].value.unwrap().ln();
    let sum = log(measures::GC) + log(measures::MEAN_INVERSE_SQUARED_DISTANCE) + log(measures::VARIANCE_OVER_GC);
    assert!((log(measures::NC) - sum).abs() < 1e-12);
    // The error is at most the Cantelli bound, which is at most the directional one.
    let [error, cantelli, directional] =
        [measures::NEAREST_MEAN_ERROR, measures::CANTELLI_BOUND, measures::DIRECTIONAL_BOUND]
            .map(|m| values[&m].value.unwrap());
    assert!(error <= cantelli + 1e-12 && cantelli <= directional + 1e-12 && directional <= 1.0);
}

#[test]
fn measures_without_a_scale_do_not_change_with_the_scale_of_features() {
    let (train, test) = (batches(3, 10, 1, 8), batches(3, 8, 2, 8));
    let (weight, _) = head();
    // A power of two changes no digit.
    let of = |factor: f64| {
        let map = move |x: &Tensor| smooth(x)? * factor;
        let weight = (&weight / factor).unwrap();
        let logits = |features: &Tensor| Ok(features.matmul(&weight.t()?)?);
        let network = Network::new(&map).with_head(Head::new(&weight, None).unwrap()).with_logits(logits);
        let data = Data::new(Images::new(&train)).with_test(Images::new(&test));
        Assessment::of(&network, &data, &Options::default()).unwrap().values(Measure::all())
    };
    let (one, other) = (of(1.0), of(4.0));
    for (measure, before) in one.iter().filter(|(measure, _)| !measure.key().starts_with("mine_")) {
        let [before, after] = [before, &other[measure]].map(|measured| measured.value);
        let close = before.zip(after).map(|(before, after)| (before - after).abs() <= 1e-6 * before.abs().max(1e-6));
        assert_eq!(
            close.unwrap_or(true),
            measure.is_scale_free() || before == Some(0.0),
            "{measure}: {before:?} {after:?}"
        );
    }
    assert!(one.len() > 70);
}

#[test]
fn without_labels_geometric_complexity_alone_is_measured() {
    let unlabelled: Vec<Batch> = batches(3, 4, 1, 5).into_iter().map(|(x, _)| x.into()).collect();
    let map = Counting { images: Cell::new(0) };
    let data = Data::new(Images::new(&unlabelled));
    let options = Options::default().with_complexity(GeometricComplexity::exact().per_sample());
    let assessment = Assessment::of(&Network::new(&map), &data, &options).unwrap();
    let keys: Vec<&str> = assessment.values(Measure::standard()).keys().map(|measure| measure.key()).collect();
    assert_eq!(keys, ["gc"]);
    let gc = assessment.train.gc.unwrap();
    assert_eq!((gc.samples, gc.per_sample.unwrap().len(), gc.per_class), (12, 12, None));
}

#[test]
fn a_head_of_other_classes_is_left_out_with_the_reason() {
    let train = batches(4, 5, 1, 20);
    let of = |head: Head, classes: Option<usize>| {
        let network = Network::new(&smooth).with_head(head);
        let data = Data::new(Images::new(&train).with_classes(classes));
        Assessment::of(&network, &data, &Options::default()).unwrap().train
    };
    let reason = |part: assess::Part| part.without_head.unwrap();
    assert_eq!(reason(of(head().1, Some(4))), "the head has 3 classes, the data have 4");
    assert_eq!(reason(of(head().1, None)), "the head has 3 classes, a label is 3");
    let wide = Head::new(&Tensor::ones((4, 5), DType::F64, &Device::Cpu).unwrap(), None).unwrap();
    let part = of(wide, None);
    assert!(part.collapse.as_ref().unwrap().head.is_none());
    assert_eq!(reason(part), "the head takes 5 features, there are 4");
    let larger = Head::new(&Tensor::eye(4, DType::F64, &Device::Cpu).unwrap(), None).unwrap();
    let part = of(larger, None);
    assert!(part.without_head.is_none() && part.collapse.unwrap().head.is_some());
}

#[test]
fn coinciding_means_leave_collapse_undefined_and_complexity_defined() {
    let x = Tensor::new(&[[-1f64], [1.0], [-2.0], [2.0]], &Device::Cpu).unwrap();
    let train = vec![(x, vec![0u32, 0, 1, 1])];
    let identity = |x: &Tensor| x * 1.0;
    let assessment =
        Assessment::of(&Network::new(&identity), &Data::new(Images::new(&train)), &Options::default()).unwrap();
    assert_eq!(value(&assessment, measures::GC), 1.0);
    assert!(
        assessment
            .train
            .undefined
            .as_ref()
            .is_some_and(|reason| reason.contains("coincid") || reason.contains("equal"))
    );
    assert_eq!(measures::NC.read(&assessment), Some(Measured::maybe(None, None, 4)));
    assert_eq!(measures::NC1.read(&assessment), Some(Measured::maybe(None, None, 4)));
}

#[test]
fn the_full_scatter_matrix_is_needed_for_its_measures_alone() {
    let train = batches(3, 10, 1, 10);
    let of = |scatter| {
        let options = Options::default().with_report(ReportOptions::default().with_scatter(scatter));
        Assessment::of(&Network::new(&smooth), &Data::new(Images::new(&train)), &options).unwrap()
    };
    let (full, trace) = (of(Scatter::Full), of(Scatter::Trace));
    for measure in Measure::all().into_iter().filter(|measure| !measure.key().starts_with("mine_")) {
        let needs = measure.needs() == Some(assess::Needs::FullScatter) && measure.part() == assess::PartOf::Train;
        let lacks = measure.read(&full).is_some() && measure.read(&trace).is_none();
        assert_eq!(lacks, needs, "{measure}");
    }
}

#[test]
fn one_training_batch_of_all_images_gives_the_values_of_all_images() {
    let (train, whole) = (batches(3, 10, 1, 7), batches(3, 10, 1, 30));
    let plain = Data::new(Images::new(&train));
    let of = |data: &Data<'_>| Assessment::of(&Network::new(&smooth), data, &Options::default()).unwrap();
    let (fixed, one) = (of(&plain), of(&plain.with_training_batches(&whole)));
    for measure in [measures::GC, measures::NC, measures::GEOMETRIC_COLLAPSE, measures::GC_OVER_TOTAL_VARIANCE] {
        let [fixed, one] = [&fixed, &one].map(|assessment| value(assessment, measure));
        assert!((fixed / one - 1.0).abs() < 1e-12, "{measure}: {fixed} {one}");
    }
    // Batches of 7 hold at most two classes of several images each.
    let several = of(&plain.with_training_batches(&train));
    assert_ne!(value(&several, measures::NC), value(&fixed, measures::NC));
    assert_eq!(several.train.collapse, fixed.train.collapse);
}

/// A network of two layers: the smooth map, and its square. Counts the images of its forward passes.
#[derive(Default)]
struct TwoLayers {
    images: Cell<usize>,
}

fn square(x: &Tensor) -> candle_core::Result<Tensor> {
    smooth(x)?.sqr()
}

impl Layers for TwoLayers {
    fn layer(&self, name: &str) -> Result<Box<dyn FeatureMap + '_>, BoxError> {
        match name {
            "smooth" => Ok(Box::new(smooth)),
            "square" => Ok(Box::new(square)),
            _ => Err(format!("no layer `{name}`").into()),
        }
    }

    fn outputs(&self, images: &Tensor, names: &[String]) -> Result<Vec<Tensor>, BoxError> {
        self.images.set(self.images.get() + images.dim(0)?);
        names.iter().map(|name| Ok(self.layer(name)?.features(images)?)).collect()
    }
}

#[test]
fn layers_are_measured_in_one_pass_over_their_images() {
    let (train, test, target) = (batches(3, 10, 1, 7), batches(3, 6, 2, 7), batches(5, 9, 3, 7));
    let layers = TwoLayers::default();
    let network = || Network::new(&square).with_layers(&layers);
    let names = vec!["smooth".to_owned(), "square".to_owned()];
    let wanted = LayerOptions { names, head: "ridge:1".parse().unwrap(), most_episodes: 10 };
    let options = Options::default().with_layers(wanted).with_few_shot(few_shot(&["ncm"]));
    let data = Data::new(Images::new(&train)).with_layer_images(LayerImages::new(&train, &train, &test));
    let assessment = Assessment::of(&network(), &data, &options).unwrap();
    assert_eq!(layers.images.replace(0), 30 + 18);
    let [smooth, square] = &assessment.layers[..] else { panic!("two layers") };
    assert_eq!((smooth.layer.as_str(), smooth.outputs, square.target_nc_unbiased), ("smooth", 4, None));
    // The second layer gives the features.
    assert_eq!(Some(square.gc), assessment.train.complexity());
    assert_eq!(Some(square.nc_unbiased), measures::NC_UNBIASED.read(&assessment));
    assert_eq!(square.probe_accuracy.samples, 18);

    let images = LayerImages::with_target(&train, &train, &target);
    let of_target = LayerMeasures::of(&network(), &images, 3, &options).unwrap();
    assert_eq!(layers.images.get(), 30 + 45);
    assert_eq!((of_target[0].gc, of_target[0].nc_unbiased), (smooth.gc, smooth.nc_unbiased));
    assert!(of_target[1].target_nc_unbiased.unwrap().value.is_some());
    assert_eq!(of_target[1].probe_accuracy.samples, 10);
}

#[test]
fn layers_are_measured_as_networks_of_their_own_from_one_pass() {
    let train = batches(3, 10, 1, 7);
    let layers = TwoLayers::default();
    let names = ["smooth", "square"].map(str::to_owned);
    let of_layers = |options: &Options<'_>| Part::of_layers(&layers, &names, &Images::new(&train), options);
    let parts = of_layers(&Options::default()).unwrap();
    assert_eq!(layers.images.replace(0), 30, "one pass for both layers");
    for (name, part) in names.iter().zip(&parts) {
        let map = layers.layer(name).unwrap();
        let network = Network::new(map.as_ref());
        let alone = Assessment::of(&network, &Data::new(Images::new(&train)), &Options::default()).unwrap().train;
        assert_eq!((part.complexity(), part.samples), (alone.complexity(), 30));
        assert_eq!((&part.collapse, &part.decomposition), (&alone.collapse, &alone.decomposition));
    }

    // 30 images · 4 outputs · 8 bytes for each layer: not both at once.
    let bytes = 30 * 4 * 8;
    let limited = of_layers(&Options::default().with_memory_limit(bytes)).unwrap();
    assert_eq!(layers.images.replace(0), 2 * 30, "a pass for each layer");
    assert!(limited.iter().zip(&parts).all(|(limited, part)| limited.collapse == part.collapse));
    let error = of_layers(&Options::default().with_memory_limit(bytes - 1)).unwrap_err();
    assert!(matches!(error, Error::Memory { images: 30, .. }), "{error}");
    assert!(Part::of_layers(&layers, &[], &Images::new(&train), &Options::default()).unwrap().is_empty());
}

#[test]
fn the_layer_of_an_error_is_named() {
    let train = batches(3, 10, 1, 7);
    let names = ["smooth", "square"].map(str::to_owned);
    let settings = GeometricComplexity::output_sample(5);
    let options = Options::default().with_complexity(settings);
    let of = |names: &[String]| Part::of_layers(&TwoLayers::default(), names, &Images::new(&train), &options);
    let error = of(&names[1..]).unwrap_err();
    let Error::Layer { layer, source } = &error else { panic!("{error}") };
    assert!(layer == "square" && matches!(**source, Error::Complexity { .. }), "{source}");
    let unknown = of(&["no".to_owned()]).unwrap_err();
    assert!(matches!(unknown, Error::Network { .. }), "{unknown}");
}

#[test]
fn a_registered_measure_is_read_like_every_other() {
    let entry = Entry::new("mine_worst_over_mean", "Largest CDNV of a pair over the mean.", |assessment| {
        let report = assessment.train.collapse.as_ref()?;
        Some(Measured::new(report.cdnv.max / report.cdnv.mean, None, assessment.train.samples))
    });
    let mine = register(entry).unwrap();
    let train = batches(3, 10, 1, 30);
    let assessment =
        Assessment::of(&Network::new(&smooth), &Data::new(Images::new(&train)), &Options::default()).unwrap();
    let values = assessment.values(Measure::all());
    assert!(values[&mine].value.unwrap() >= 1.0 && values[&mine].samples == 30);
}

#[test]
fn progress_counts_images_and_sources_are_read_again_for_complexity() {
    let reads = Cell::new(0);
    let source = Source::new(|| {
        reads.set(reads.get() + 1);
        batches(3, 4, 1, 5).into_iter().map(|batch| -> BatchResult { Ok(batch.into()) })
    });
    assert_eq!(source.batches().count(), 3);
    let seen = RefCell::new(Vec::new());
    let watch = |progress: assess::Progress| {
        seen.borrow_mut().push((progress.stage, progress.images));
        ControlFlow::Continue(())
    };
    let options = Options::default().with_watch(&watch);
    Assessment::of(&Network::new(&smooth), &Data::new(Images::new(&source)), &options).unwrap();
    assert_eq!(reads.get(), 3);
    let seen = seen.into_inner();
    let train = assess::PartOf::Train;
    let counts =
        |stage: Stage| seen.iter().filter(|(of, _)| *of == stage).map(|(_, images)| *images).collect::<Vec<_>>();
    assert_eq!(counts(Stage::Features(train)), [0, 5, 10, 12]);
    assert_eq!(counts(Stage::Complexity(train)), [0, 0, 5, 10]);
    assert_eq!(counts(Stage::Collapse(train)), [0]);
}
