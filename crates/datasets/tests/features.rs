//! Operations whose feature is off give an error that names the feature; everything else works.

use datasets::{BatchOptions, Batches, ClassSplit, Device, Hub, Source, load};

fn source() -> Source {
    Source { train_per_class: Some(2), test_per_class: Some(1), ..Source::of_hub(Hub::new("http://127.0.0.1:9", "")) }
}

/// The feature that an error names.
#[cfg(not(all(feature = "hub", feature = "image", feature = "parquet")))]
fn missing<T: std::fmt::Debug>(result: datasets::Result<T>) -> Option<&'static str> {
    let error = result.err()?;
    let datasets::Error::MissingFeature { feature, .. } = error else { return None };
    assert!(error.to_string().contains(&format!("the feature `{feature}`")), "{error}");
    Some(feature)
}

#[test]
fn glyphs_splits_and_batches_need_no_feature() -> datasets::Result<()> {
    let data = load("glyphs", &source())?.source_classes()?;
    let batches = Batches::new(data.train, data.normalisation, BatchOptions::default(), &Device::Cpu)?;
    assert_eq!(
        batches.epoch(0).next().transpose()?.map(|batch| batch.images.dims().to_vec()),
        Some(vec![128, 1, 32, 32])
    );
    assert!(
        datasets::class_split("cifar-fs", &source())?.as_ref().is_some_and(|split: &ClassSplit| split.len() == 100)
    );
    Ok(())
}

#[test]
fn idx_files_need_no_feature() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    for (prefix, count) in [("train", 60_000u32), ("t10k", 10_000)] {
        let images = [&[0, 0, 8, 3][..], &count.to_be_bytes(), &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
        let pixels = (0..count as usize * 784).map(|at| at as u8);
        std::fs::write(folder.path().join(format!("{prefix}-images-idx3-ubyte")), [images, pixels.collect()].concat())?;
        let labels = [&[0, 0, 8, 1][..], &count.to_be_bytes()].concat();
        let classes = (0..count).map(|at| (at % 10) as u8).collect();
        std::fs::write(folder.path().join(format!("{prefix}-labels-idx1-ubyte")), [labels, classes].concat())?;
    }
    let data = load("mnist", &source().with_data_dir(folder.path())).expect("IDX files");
    assert_eq!(
        (data.train.len(), data.test.len(), data.train.image(0)[1]),
        (20, 10, data.train.image(0)[0].wrapping_add(1))
    );
    Ok(())
}

#[cfg(not(feature = "hub"))]
#[test]
fn downloads_without_hub_name_it() {
    let cache = tempfile::tempdir().expect("a folder");
    let hub = Hub::new("http://127.0.0.1:9", cache.path());
    let file = datasets::HubFile::model("owner/name", "main", "model.safetensors");
    assert_eq!(missing(hub.file(&file)), Some("hub"));
    let online = Source::of_hub(hub.clone());
    assert_eq!(missing(datasets::fetch("hub:owner/name", &online)), Some("hub"));
    assert_eq!(missing(datasets::fetch("cifar10", &online)), Some("hub"));
    // The cache is used without the feature.
    let place = cache.path().join("models--owner--name/snapshots/main");
    std::fs::create_dir_all(&place).expect("a folder");
    std::fs::write(place.join("model.safetensors"), b"weights").expect("a file");
    assert_eq!(hub.file(&file).ok(), Some(place.join("model.safetensors")));
}

#[cfg(not(feature = "image"))]
#[test]
fn images_without_image_name_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = source().with_data_dir(folder.path());
    for name in ["folder", "omniglot", "mini-imagenet"] {
        assert_eq!(missing(load(name, &source)), Some("image"), "{name}");
    }
    assert_eq!(missing(datasets::class_split("folder", &source)), Some("image"));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn tables_without_parquet_name_it() {
    for name in ["cifar10", "mnist", "hub:owner/name"] {
        assert_eq!(missing(load(name, &source())), Some("parquet"), "{name}");
    }
}
