use super::*;

/// Six images of 2 channels, height 1 and width 3 with classes of unequal size; image i holds 10·i, 10·i + 1, ….
fn six() -> LabelledImages {
    let pixels = (0..6).flat_map(|image| (0..6).map(move |value| 10 * image + value)).collect();
    LabelledImages::new("six", pixels, [2, 1, 3], vec![2, 0, 2, 1, 2, 0], ["a", "b", "c"]).unwrap()
}

#[test]
fn views_share_the_pixels_and_renumber_the_labels() {
    let images = six();
    let view = images.subset_classes(&[2, 0]).unwrap();
    assert_eq!(view.labels(), [0, 1, 0, 0, 1]);
    assert_eq!(view.classes(), ["c", "a"]);
    assert_eq!(view.image(4), [50, 51, 52, 53, 54, 55]);
    assert!(Arc::ptr_eq(&view.pixels, &images.pixels));
    assert_eq!(view.subset_class_names(&["a"]).unwrap().labels(), [0, 0]);
    assert_eq!(images.images_per_class(), [2, 1, 3]);
}

#[test]
fn a_limit_chooses_the_same_images_in_every_subset() {
    let images = six();
    let limited = images.limit_per_class(1, 4);
    assert_eq!(limited.images_per_class(), [1, 1, 1]);
    let alone = images.subset_classes(&[2]).unwrap().limit_per_class(1, 4);
    let among = limited.subset_classes(&[2]).unwrap();
    assert_eq!(alone.image(0), among.image(0));
    assert_eq!(images.class_balanced(4).unwrap().images_per_class(), [1, 1, 1]);
    let draws: Vec<Vec<u8>> =
        (0..20).map(|seed| images.limit_per_class(1, seed).subset_classes(&[2]).unwrap().image(0).to_vec()).collect();
    assert!(draws.iter().any(|draw| *draw != draws[0]), "the seed must matter");
}

#[test]
fn every_misfit_has_its_own_error() {
    let images = six();
    assert!(matches!(images.select(&[6]), Err(Error::ImageOutOfRange { index: 6, count: 6, .. })));
    assert!(matches!(images.subset_classes(&[3]), Err(Error::ClassOutOfRange { class: 3, count: 3, .. })));
    assert!(matches!(images.subset_classes(&[1, 1]), Err(Error::InvalidOption { .. })));
    assert!(matches!(images.subset_class_names(&["d"]), Err(Error::UnknownClass { .. })));
    let without_b = images.select(&[0, 1]).unwrap();
    assert!(matches!(without_b.subset_classes(&[1]), Err(Error::EmptyClass { class, .. }) if class == "b"));
    assert!(matches!(without_b.class_balanced(0), Err(Error::EmptyClass { class, .. }) if class == "b"));
    let short = LabelledImages::new("x", vec![0; 5], [1, 2, 3], vec![0], ["a"]);
    assert!(matches!(short, Err(Error::Inconsistent { .. })));
    let label = LabelledImages::new("x", vec![0; 12], [1, 2, 3], vec![0, 1], ["a"]);
    assert!(matches!(label, Err(Error::LabelOutOfRange { row: 1, label: 1, classes: 1, .. })));
    let overflow = LabelledImages::new("x", vec![], [usize::MAX, 2, 3], vec![0, 1], ["a", "b"]);
    assert!(matches!(overflow, Err(Error::Inconsistent { .. })));
}

#[test]
fn a_batch_is_normalised_channel_by_channel() {
    let normalisation = Normalisation::new(&[0.0, 0.5], &[1.0, 0.25]).unwrap();
    let batch = six().batch(&[5, 0], &normalisation, &Device::Cpu).unwrap();
    assert_eq!(batch.images.dims(), [2, 2, 1, 3]);
    assert_eq!(batch.labels.to_vec1::<u32>().unwrap(), [0, 2]);
    let values = batch.images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected: Vec<f32> = [50.0, 51.0, 52.0f64]
        .iter()
        .map(|v| (v / 255.0) as f32)
        .chain([53.0, 54.0, 55.0f64].iter().map(|v| ((v / 255.0 - 0.5) / 0.25) as f32))
        .collect();
    assert_eq!(values[..6], expected);
}

#[test]
fn measured_normalisation_is_mean_and_deviation_over_all_pixels() {
    // One channel of 0, 51, 102, 153 = 0, 0.2, 0.4, 0.6: mean 0.3, variance (0.09 + 0.01 + 0.01 + 0.09)/4 = 0.05.
    let images = LabelledImages::new("x", vec![0, 51, 102, 153], [1, 1, 2], vec![0, 0], ["a"]).unwrap();
    let measured = images.measure_normalisation().unwrap();
    assert!((measured.mean()[0] - 0.3).abs() < 1e-6);
    assert!((measured.std()[0] - 0.05f32.sqrt()).abs() < 1e-6);
    let empty = images.select(&[]).unwrap().measure_normalisation();
    assert!(matches!(empty, Err(Error::InvalidOption { option: "images", .. })));
}

#[test]
fn images_of_one_grey_are_named_as_the_reason_that_they_cannot_be_normalised() {
    let images =
        LabelledImages::new("fog", vec![0, 9, 128, 128, 5, 7, 128, 128], [2, 1, 2], vec![0, 0], ["a"]).unwrap();
    let failed = images.measure_normalisation().unwrap_err();
    let message = failed.to_string();
    assert!(matches!(failed, Error::InvalidOption { option: "images", .. }), "{message}");
    assert!(message.contains("fog: all pixels of channel 1 have the value 128 in all 2 images"), "{message}");
}

#[test]
fn a_border_beyond_the_largest_side_is_refused() {
    let images = six();
    assert_eq!(images.pad(2).unwrap().shape(), [2, 5, 7]);
    for pixels in [crate::form::MAX_SIDE / 2 - 1, usize::MAX] {
        let message = images.pad(pixels).unwrap_err().to_string();
        assert!(message.contains(&format!("{pixels} pixels around images of 1×3")), "{message}");
    }
}
