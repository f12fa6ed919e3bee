//! Every error of an assessment, with the words of its message.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests, which may panic")]

use std::ops::ControlFlow;

use assess::{
    Assessment, BatchResult, Data, Error, FewShot, Images, LayerImages, LayerMeasures, LayerOptions, Network, Options,
    Progress, Source, Stage,
};
use candle_core::{Device, Tensor};
use gc_core::{Batch, GeometricComplexity};

fn train() -> Vec<(Tensor, Vec<u32>)> {
    let x = Tensor::new(&[[-1f64, 0.0], [1.0, 0.5], [0.0, 8.0], [0.3, 12.0]], &Device::Cpu).unwrap();
    vec![(x.clone(), vec![0, 0, 1, 1]), (x, vec![0, 0, 1, 1])]
}

fn identity(x: &Tensor) -> candle_core::Result<Tensor> {
    x * 1.0
}

/// The error of an assessment, and its message with all reasons.
fn error(data: &Data<'_>, options: &Options<'_>) -> (Error, String) {
    worded(Assessment::of(&Network::new(&identity), data, options).unwrap_err())
}

fn worded(error: Error) -> (Error, String) {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(reason) = source {
        text.push_str(&format!(": {reason}"));
        source = reason.source();
    }
    (error, text)
}

fn plain() -> Options<'static> {
    Options::default().with_complexity(None)
}

#[test]
fn images_that_are_missing_or_badly_labelled() {
    let none: Vec<Batch> = Vec::new();
    let (kind, text) = error(&Data::new(Images::new(&none)), &plain());
    assert!(matches!(kind, Error::Empty { .. }) && text.starts_with("training images: there are no images"), "{text}");

    let [(x, labels), _] = &train()[..] else { panic!("two batches") };
    let mixed: Vec<Batch> = vec![(x.clone(), labels.clone()).into(), x.clone().into()];
    let (kind, text) = error(&Data::new(Images::new(&mixed)), &plain());
    assert!(matches!(kind, Error::Unlabelled { batch: 1, .. }) && text.contains("batch 1 has none"), "{text}");

    let short = vec![(x.clone(), vec![0u32, 1])];
    let (kind, text) = error(&Data::new(Images::new(&short)), &plain());
    assert!(
        matches!(kind, Error::LabelCount { images: 4, labels: 2, .. }) && text.contains("4 images but 2 labels"),
        "{text}"
    );

    let train = train();
    let (kind, text) = error(&Data::new(Images::new(&train).with_classes(1)), &plain());
    assert!(matches!(kind, Error::Collapse { .. }) && text.contains("label 1"), "{text}");

    let failing = Source::new(|| std::iter::once::<BatchResult>(Err("the disk is gone".into())));
    let (kind, text) = error(&Data::new(Images::new(&failing)), &plain());
    assert!(matches!(kind, Error::Source { .. }), "{text}");
    assert_eq!(text, "training images: cannot read the images: the disk is gone");
}

#[test]
fn networks_that_fail_or_have_diverged() {
    let train = train();
    let data = Data::new(Images::new(&train)).with_test(Images::new(&train));
    let broken = |_: &Tensor| -> candle_core::Result<Tensor> { candle_core::bail!("no such kernel") };
    let (kind, text) = worded(Assessment::of(&Network::new(&broken), &data, &plain()).unwrap_err());
    assert!(matches!(kind, Error::Network { .. }) && text.contains("no such kernel"), "{text}");
    assert!(Network::new(&broken).is_finite_on(&data).is_err());

    let diverged = |x: &Tensor| (x * f64::INFINITY)?.sin();
    let network = Network::new(&diverged);
    assert!(!network.is_finite_on(&data).unwrap() && Network::new(&identity).is_finite_on(&data).unwrap());
    let (kind, text) = worded(Assessment::of(&network, &data, &plain()).unwrap_err());
    assert!(matches!(kind, Error::NotFinite { batch: 0, .. }) && text.contains("is not finite"), "{text}");
    let (kind, text) = worded(Assessment::of(&network, &data, &Options::default()).unwrap_err());
    assert!(matches!(kind, Error::Complexity { .. }) && text.contains("not finite"), "{text}");

    let logits = |_: &Tensor| Err("no head".into());
    let network = Network::new(&identity).with_logits(logits);
    let (kind, text) = worded(Assessment::of(&network, &data, &plain()).unwrap_err());
    assert!(matches!(kind, Error::Network { .. }) && text.ends_with("no head"), "{text}");
}

#[test]
fn memory_and_settings_of_complexity() {
    let train = train();
    let data = Data::new(Images::new(&train));
    // Four images of two numbers in f64 are 64 bytes.
    let (kind, text) = error(&data, &plain().with_memory_limit(100));
    assert!(matches!(kind, Error::Memory { images: 8, limit: 100, .. }) && text.contains("over 100 bytes"), "{text}");
    assert!(Assessment::of(&Network::new(&identity), &data, &plain().with_memory_limit(128)).is_ok());

    let (kind, text) = error(&data, &plain().with_complexity(GeometricComplexity::exact().confidence(2.0)));
    assert!(matches!(kind, Error::Complexity { .. }) && text.contains("confidence"), "{text}");

    let (kind, text) = error(&data.with_training_batches(&train), &plain());
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("training_batches"), "{text}");
    let early = Options::default().with_complexity(GeometricComplexity::exact().max_passes(10));
    let (kind, text) = error(&data.with_training_batches(&train), &early);
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("ends it early"), "{text}");
}

#[test]
fn episodes_that_the_data_cannot_fill() {
    let train = train();
    let few_shot = FewShot { way: 5, shot: 1, query: 1, episodes: 3, seed: 0, heads: vec!["ncm".parse().unwrap()] };
    let (kind, text) = error(&Data::new(Images::new(&train)), &plain().with_few_shot(few_shot.clone()));
    assert!(matches!(kind, Error::FewShot { .. }) && text.starts_with("training images: few-shot episodes"), "{text}");

    let unlabelled: Vec<Batch> = train.iter().map(|(x, _)| x.clone().into()).collect();
    let (kind, text) = error(&Data::new(Images::new(&unlabelled)), &plain().with_few_shot(few_shot));
    assert!(matches!(kind, Error::Unlabelled { .. }) && text.contains("few-shot episodes needs a label"), "{text}");
    let (_, text) = error(&Data::new(Images::new(&unlabelled)), &plain().with_transfer_scores());
    assert!(text.contains("transfer scores"), "{text}");
}

#[test]
fn layers_that_lack_what_they_need() {
    struct Fails;
    impl assess::Layers for Fails {
        fn layer(&self, name: &str) -> Result<Box<dyn gc_core::FeatureMap + '_>, assess::BoxError> {
            if name == "first" { Ok(Box::new(identity)) } else { Err(format!("no layer `{name}`").into()) }
        }
    }
    let train = train();
    let data = Data::new(Images::new(&train));
    let layers = |name: &str| {
        let head = "ridge:1".parse().unwrap();
        Options::default().with_layers(LayerOptions { names: vec![name.to_owned()], head, most_episodes: 5 })
    };
    let of = |network: &Network<'_>, data: &Data<'_>, options: &Options<'_>| {
        worded(Assessment::of(network, data, options).unwrap_err())
    };
    let images = LayerImages::new(&train, &train, &train);
    let (kind, text) = of(&Network::new(&identity), &data.with_layer_images(images), &layers("first"));
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("Network::with_layers"), "{text}");
    let network = Network::new(&identity).with_layers(&Fails);
    let (kind, text) = of(&network, &data, &layers("first"));
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("with_layer_images"), "{text}");
    let (kind, text) = of(&network, &data.with_layer_images(images), &layers("first").with_complexity(None));
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("geometric complexity"), "{text}");
    let (kind, text) = of(&network, &data.with_layer_images(images), &layers("second"));
    assert!(matches!(kind, Error::Network { .. }) && text.contains("no layer `second`"), "{text}");
    let target = LayerImages::with_target(&train, &train, &train);
    let (kind, text) = worded(LayerMeasures::of(&network, &target, 2, &layers("first")).unwrap_err());
    assert!(matches!(kind, Error::Setting { .. }) && text.contains("with_few_shot"), "{text}");
    let empty: Vec<Batch> = Vec::new();
    let images = LayerImages::new(&empty, &train, &train);
    let (kind, text) = worded(LayerMeasures::of(&network, &images, 2, &layers("first")).unwrap_err());
    assert!(matches!(kind, Error::Empty { .. }), "{text}");
    assert!(LayerMeasures::of(&network, &images, 2, &Options::default()).unwrap().is_empty());
}

#[test]
fn an_assessment_can_be_cancelled_at_every_stage() {
    let train = train();
    let data = Data::new(Images::new(&train)).with_test(Images::new(&train));
    let seen = std::cell::RefCell::new(Vec::new());
    let watch = |progress: Progress| {
        seen.borrow_mut().push(progress);
        ControlFlow::Continue(())
    };
    Assessment::of(&Network::new(&identity), &data, &Options::default().with_watch(&watch)).unwrap();
    let all = seen.into_inner();
    assert!(all.iter().any(|progress| progress.stage == Stage::Bounds) && all.len() > 10);
    for stop in all {
        let watch =
            |progress: Progress| if progress == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let (kind, text) = error(&data, &Options::default().with_watch(&watch));
        let expected = format!("the assessment was cancelled while measuring {}", stop.stage);
        assert!(matches!(kind, Error::Cancelled { .. }) && text == expected, "{text}");
    }
}
