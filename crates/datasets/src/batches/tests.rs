use std::collections::HashSet;

use super::*;

/// Eleven images of 2 channels, height 2, width 3; every byte of image i is i.
fn eleven(options: BatchOptions) -> Batches {
    let pixels = (0..11u8).flat_map(|image| [image; 12]).collect();
    let images =
        LabelledImages::new("x", pixels, [2, 2, 3], (0..11).map(|i| i % 3).collect(), ["a", "b", "c"]).unwrap();
    Batches::new(images, Normalisation::identity(2), options, &Device::Cpu).unwrap()
}

fn shuffled(size: usize, drop_last: bool) -> Batches {
    eleven(BatchOptions { size, order: Order::Shuffled { seed: 3 }, drop_last, ..BatchOptions::default() })
}

fn bits(batch: &Batch) -> (Vec<u32>, Vec<u32>) {
    let images = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (images.iter().map(|value| value.to_bits()).collect(), batch.labels.to_vec1().unwrap())
}

#[test]
fn an_epoch_has_every_image_once() {
    let batches = shuffled(4, false);
    assert_eq!(batches.per_epoch(), 3);
    let order =
        |epoch| (0..3).flat_map(|index| batches.indices(Position { epoch, index }).unwrap()).collect::<Vec<_>>();
    assert_eq!(order(0).iter().collect::<HashSet<_>>().len(), 11);
    assert_ne!(order(0), order(1));
    assert_ne!(order(0), (0..11).collect::<Vec<_>>());
    let sequential = eleven(BatchOptions { size: 4, ..BatchOptions::default() });
    assert_eq!(sequential.indices(Position { epoch: 5, index: 2 }).unwrap(), [8, 9, 10]);
}

#[test]
fn labels_stay_with_their_images() {
    for batch in shuffled(4, false).epoch(2) {
        let batch = batch.unwrap();
        let images = batch.images.to_vec3_first();
        for (value, label) in images.iter().zip(batch.labels.to_vec1::<u32>().unwrap()) {
            assert_eq!((value * 255.0).round() as u32 % 3, label);
        }
    }
}

trait FirstValues {
    fn to_vec3_first(&self) -> Vec<f32>;
}

impl FirstValues for Tensor {
    fn to_vec3_first(&self) -> Vec<f32> {
        self.flatten_from(1).unwrap().to_vec2::<f32>().unwrap().iter().map(|image| image[0]).collect()
    }
}

#[test]
fn dropping_the_last_leaves_only_full_batches() {
    let batches = shuffled(4, true);
    assert_eq!(batches.per_epoch(), 2);
    let beyond = batches.get(Position { epoch: 0, index: 2 });
    assert!(matches!(beyond, Err(Error::BatchOutOfRange { index: 2, per_epoch: 2 })));
}

#[test]
fn a_run_resumed_at_any_position_has_the_same_bits() {
    let batches = shuffled(4, false);
    let all: Vec<_> = batches.from(Position::default()).take(9).map(|batch| bits(&batch.unwrap())).collect();
    let start = Position { epoch: 1, index: 1 };
    // A new loader, which did not read the batches before.
    let resumed: Vec<_> = shuffled(4, false).from(start).take(5).map(|batch| bits(&batch.unwrap())).collect();
    assert_eq!(all[4..], resumed);
    assert_eq!(batches.next(Position { epoch: 1, index: 2 }), Position { epoch: 2, index: 0 });
}

#[test]
fn prefetching_changes_no_bit() {
    let augmentation = Augmentation { seed: 9, crop_padding: 1, ..Augmentation::none() };
    let options = BatchOptions {
        size: 3,
        order: Order::Shuffled { seed: 1 },
        augmentation: Some(augmentation),
        ..BatchOptions::default()
    };
    let batches = eleven(options);
    let start = Position { epoch: 0, index: 2 };
    let plain: Vec<_> = batches.from(start).take(10).map(|batch| bits(&batch.unwrap())).collect();
    for ahead in [0, 1, 50] {
        let ahead: Vec<_> = batches.prefetch(start, ahead).take(10).map(|batch| bits(&batch.unwrap())).collect();
        assert_eq!(plain, ahead);
    }
}

#[test]
fn a_cutout_is_zero_after_normalisation() {
    let augmentation = Augmentation { seed: 2, cutout: 1, ..Augmentation::none() };
    let normalisation = Normalisation::new(&[0.4, 0.7], &[0.5, 0.2]).unwrap();
    let options = BatchOptions { augmentation: Some(augmentation), ..BatchOptions::default() };
    let images = eleven(BatchOptions::default()).images().clone();
    let batches = Batches::new(images, normalisation.clone(), options, &Device::Cpu).unwrap();
    let batch = batches.get(Position::default()).unwrap().images.flatten_from(2).unwrap().to_vec3::<f32>().unwrap();
    for (image, channels) in batch.iter().enumerate() {
        let holes: Vec<usize> = (0..6).filter(|at| channels[0][*at] == 0.0).collect();
        assert_eq!(holes.len(), 1, "one pixel of image {image}");
        for (channel, values) in channels.iter().enumerate() {
            let whole = (image as f32 / 255.0 - normalisation.mean()[channel]) / normalisation.std()[channel];
            let expected = |at| if at == holes[0] { 0.0 } else { whole };
            assert!((0..6).all(|at| (values[at] - expected(at)).abs() < 1e-6), "{values:?}");
        }
    }
}

#[test]
fn invalid_options_are_refused() {
    let images = LabelledImages::new("x", vec![0; 4], [1, 2, 2], vec![0], ["a"]).unwrap();
    let make = |normalisation, options| Batches::new(images.clone(), normalisation, options, &Device::Cpu);
    let zero = make(Normalisation::identity(1), BatchOptions { size: 0, ..BatchOptions::default() });
    assert!(matches!(zero, Err(Error::InvalidOption { option: "batch size", .. })));
    let full = make(Normalisation::identity(1), BatchOptions { size: 2, drop_last: true, ..BatchOptions::default() });
    let message = full.err().unwrap().to_string();
    assert!(message.contains("2 is more than the 1 images of the data set"), "{message}");
    assert_eq!(
        make(Normalisation::identity(1), BatchOptions { size: 2, ..BatchOptions::default() }).unwrap().per_epoch(),
        1
    );
    let none = images.select(&[]).unwrap();
    let none = Batches::new(none, Normalisation::identity(1), BatchOptions::default(), &Device::Cpu);
    assert!(matches!(none, Err(Error::InvalidOption { option: "images", .. })));
    let channels = make(Normalisation::identity(3), BatchOptions::default());
    assert!(matches!(channels, Err(Error::InvalidOption { option: "images", .. })));
}
