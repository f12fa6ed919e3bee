//! Sources of data sets: IDX files, any repository of the Hub, folders of parquet files, the decoded cache.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests stop at their first error")]

mod common;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{Mirror, files, shared};
use datasets::{Error, Hub, HubFile, LabelledImages, Progress, Source, fetch, load};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A PNG of 2×3 pixels (width, height), its first channel of one value.
fn png(value: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(2, 3, |x, y| image::Rgb([value, (x + y) as u8, (10 * x) as u8]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A table with a column of images, one of labels and one of row numbers, as the `datasets` library of Python writes it.
fn table(images: &[u8], labels: &[i64], names: Option<&[&str]>) -> Vec<u8> {
    encoded_table(images.iter().map(|value| png(*value)).collect(), labels, names)
}

/// As [`table`], with any bytes as images.
fn encoded_table(images: Vec<Vec<u8>>, labels: &[i64], names: Option<&[&str]>) -> Vec<u8> {
    let schema = "message m { optional group picture { optional binary bytes; optional binary path (UTF8); } \
                  optional int64 kind; optional int64 row; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let information = names.map(|names| {
        let features = serde_json::json!({ "info": { "features": {
            "picture": { "_type": "Image" }, "kind": { "names": names, "_type": "ClassLabel" },
            "row": { "dtype": "int64", "_type": "Value" } } } });
        vec![KeyValue::new("huggingface".to_owned(), features.to_string())]
    });
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_key_value_metadata(information);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let full = vec![2; images.len()];
    let paths = vec![ByteArray::from("x.png"); images.len()];
    let encoded: Vec<ByteArray> = images.into_iter().map(ByteArray::from).collect();
    for values in [encoded, paths] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&full), None).unwrap();
        column.close().unwrap();
    }
    let rows: Vec<i64> = (0..labels.len() as i64).collect();
    for values in [labels, &rows] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(values, Some(&vec![1; values.len()]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn hub(endpoint: &str, cache: &Path) -> Hub {
    Hub { retries: 1, ..Hub::new(endpoint, cache) }
}

/// The first byte and the class of every image.
fn shown(images: &LabelledImages) -> Vec<(u8, String)> {
    (0..images.len())
        .map(|index| (images.image(index)[0], images.classes()[images.labels()[index] as usize].clone()))
        .collect()
}

fn pairs(pairs: &[(u8, &str)]) -> Vec<(u8, String)> {
    pairs.iter().map(|(value, class)| (*value, (*class).to_owned())).collect()
}

#[test]
fn any_repository_is_read_by_its_id_alone() {
    let Some(shared) = shared() else { return };
    let names = Some(&["cat", "dog"][..]);
    let repository = [
        ("o/pets/data/train-00000-of-00002.parquet", table(&[10, 20], &[1, 0], names)),
        ("o/pets/data/train-00001-of-00002.parquet", table(&[30], &[1], names)),
        ("o/pets/data/validation-00000-of-00001.parquet", table(&[40, 50], &[0, 1], names)),
        ("o/pets/data/test-00000-of-00001.parquet", table(&[60, 70], &[0, 1], names)),
    ];
    let (mirror, cache) = (Mirror::of_files(&shared, &repository, &[]), tempfile::tempdir().unwrap());
    let source = Source::of_hub(hub(&mirror.endpoint, cache.path()));
    let data = load("hub:o/pets", &source).unwrap();
    assert_eq!(data.train.shape(), [3, 3, 2]);
    assert_eq!(shown(&data.train), pairs(&[(10, "dog"), (20, "cat"), (30, "dog")]));
    assert_eq!(shown(data.validation.as_ref().unwrap()), pairs(&[(40, "cat"), (50, "dog")]));
    assert_eq!(shown(&data.test), pairs(&[(60, "cat"), (70, "dog")]));
    assert!(data.files.iter().all(|file| file.sha256.is_some()));
    // (10 + 20 + 30)/3/255 in the first channel.
    assert!((data.normalisation.mean()[0] - 20.0 / 255.0).abs() < 1e-6);

    // From the cache, without the server and then without the network.
    assert_eq!(fetch("hub:o/pets", &source).unwrap().len(), 4);
    drop(mirror);
    assert_eq!(shown(&load("hub:o/pets", &source).unwrap().train), shown(&data.train));
    let offline = Source { hub: Hub { offline: true, ..source.hub.clone() }, ..source };
    assert_eq!(shown(&load("hub:o/pets", &offline).unwrap().test), shown(&data.test));
    let other = load("hub:o/other", &offline);
    assert!(matches!(other, Err(Error::Offline { .. })), "{other:?}");
}

#[test]
fn a_named_revision_such_as_the_hubs_parquet_copy_is_the_only_one_requested() {
    let Some(shared) = shared() else { return };
    // The mirror serves the tables of `main` under the names of the converted branch.
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let source = Source { train_per_class: Some(3), ..Source::of_hub(hub(&mirror.endpoint, cache.path())) };
    let data = load("hub:ylecun/mnist@refs/convert/parquet", &source).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (30, 10_000));
    assert_eq!(mirror.count(&["GET", "mnist/train/0000.parquet"]), 1);
}

#[test]
fn several_columns_or_configurations_that_qualify_are_named() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let source = Source { train_per_class: Some(1), ..Source::of_hub(hub(&mirror.endpoint, cache.path())) };
    // CIFAR-100 has fine and coarse labels.
    let unclear = load("hub:uoft-cs/cifar100", &source);
    let message = unclear.as_ref().unwrap_err().to_string();
    assert!(
        matches!(&unclear, Err(Error::UnclearColumn { role: "label", candidates, .. })
        if *candidates == ["coarse_label", "fine_label"]),
        "{message}"
    );
    assert!(message.contains("--label-column"), "{message}");
    let coarse = Source { label_column: Some("coarse_label".to_owned()), ..source.clone() };
    assert_eq!(load("hub:uoft-cs/cifar100", &coarse).unwrap().train.class_count(), 20);
    let wrong = Source { configuration: Some("plain".to_owned()), ..coarse };
    let failed = load("hub:uoft-cs/cifar100", &wrong);
    assert!(matches!(&failed, Err(Error::UnknownConfiguration { known, .. }) if *known == ["cifar100"]), "{failed:?}");
    let absent = load("hub:o/none", &source);
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    for wrong in ["hub:cifar10", "hub:../x", "hub:a/b/c"] {
        assert!(matches!(load(wrong, &source), Err(Error::InvalidOption { option: "repository", .. })), "{wrong}");
    }
}

#[test]
fn class_names_are_read_from_the_card_if_the_tables_have_none() {
    let Some(shared) = shared() else { return };
    let card = "---\ndataset_info:\n  features:\n  - name: kind\n    dtype:\n      class_label:\n        names:\n          \
                '0': oak\n          '1': elm\n---\n";
    let repository = [
        ("o/trees/data/train-0.parquet", table(&[1, 2], &[1, 0], None)),
        ("o/trees/README.md", card.as_bytes().to_vec()),
    ];
    let (mirror, cache) = (Mirror::of_files(&shared, &repository, &[]), tempfile::tempdir().unwrap());
    let kind = Source { label_column: Some("kind".to_owned()), ..Source::of_hub(hub(&mirror.endpoint, cache.path())) };
    let data = load("hub:o/trees", &kind).unwrap();
    assert_eq!(shown(&data.train), pairs(&[(1, "elm"), (2, "oak")]));
    // Without its name, the column of labels cannot be distinguished from the row numbers.
    let unclear = load("hub:o/trees", &Source { label_column: None, ..kind.clone() });
    assert!(matches!(unclear, Err(Error::UnclearColumn { role: "label", .. })), "{unclear:?}");
    // Classes of one image have no test image.
    assert!(data.test.is_empty());
    let offline = Source { hub: Hub { offline: true, ..kind.hub.clone() }, ..kind };
    assert_eq!(shown(&load("hub:o/trees", &offline).unwrap().train), shown(&data.train));
}

#[test]
fn tables_that_list_different_classes_are_joined_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/train-0.parquet"), table(&[1, 2], &[0, 1], Some(&["b", "c"]))).unwrap();
    std::fs::write(folder.path().join("data/test-0.parquet"), table(&[3, 4], &[0, 1], Some(&["c", "b"]))).unwrap();
    let source = Source::of_hub(Hub::new("", "")).with_data_dir(folder.path());
    let data = load("hub:o/n", &source).unwrap();
    assert_eq!(shown(&data.train), pairs(&[(1, "b"), (2, "c")]));
    assert_eq!(shown(&data.test), pairs(&[(3, "c"), (4, "b")]));
    std::fs::write(folder.path().join("data/test-0.parquet"), table(&[3], &[2], Some(&["c", "b"]))).unwrap();
    let failed = load("hub:o/n", &source);
    assert!(matches!(failed, Err(Error::LabelOutOfRange { row: 0, label: 2, classes: 2, .. })), "{failed:?}");
}

#[test]
fn mini_imagenet_is_read_from_tables_with_its_published_classes() {
    let folder = tempfile::tempdir().unwrap();
    let split = datasets::class_split("mini-imagenet", &Source::from_env()).unwrap().unwrap();
    // Each table lists its own classes, as in data sets split by class.
    for (part, classes) in [("train", split.train()), ("validation", split.validation()), ("test", split.test())] {
        let names: Vec<&str> = classes.iter().map(String::as_str).collect();
        let labels: Vec<i64> = (0..classes.len() as i64).flat_map(|label| [label; 6]).collect();
        let values: Vec<u8> = labels.iter().map(|label| 100 + *label as u8).collect();
        std::fs::write(folder.path().join(format!("{part}.parquet")), table(&values, &labels, Some(&names))).unwrap();
    }
    let source = Source::of_hub(Hub::new("", "")).with_data_dir(folder.path());
    // Each class has six images instead of 600, which is an error after all images were read.
    let failed = load("mini-imagenet", &source);
    assert!(
        matches!(&failed, Err(Error::Inconsistent { what: "training images", got, .. }) if got == "500"),
        "{failed:?}"
    );
}

#[test]
fn errors_in_a_table_name_file_column_and_row() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let load = || load("hub:o/n", &Source::of_hub(Hub::new("", "")).with_data_dir(folder.path()));
    let names = Some(&["a", "b"][..]);
    std::fs::write(place("train-0.parquet"), table(&[1, 2, 3], &[0, 1, 1], names)).unwrap();
    std::fs::write(place("test-0.parquet"), table(&[1, 2], &[0, 2], names)).unwrap();
    let failed = load().unwrap_err();
    let message = failed.to_string();
    assert!(matches!(failed, Error::LabelOutOfRange { row: 1, label: 2, classes: 2, .. }), "{message}");
    assert!(message.contains("test-0.parquet, column `kind`, row 1"), "{message}");

    // An image that is cut, and one of another size.
    let mut cut = png(5);
    cut.truncate(40);
    let mut wide = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(4, 3).write_to(&mut wide, image::ImageFormat::Png).unwrap();
    let encoded = |second: Vec<u8>| encoded_table(vec![png(1), second, png(3)], &[0, 1, 0], names);
    std::fs::write(place("test-0.parquet"), encoded(cut)).unwrap();
    let failed = load().unwrap_err();
    let message = failed.to_string();
    assert!(matches!(failed, Error::UnreadableImage { row: Some(1), .. }), "{message}");
    assert!(message.contains("test-0.parquet, column `picture`, row 1: not a readable image"), "{message}");
    std::fs::write(place("test-0.parquet"), encoded(wide.into_inner())).unwrap();
    let failed = load().unwrap_err();
    let message = failed.to_string();
    assert!(matches!(failed, Error::MixedSizes { row: Some(1), .. }), "{message}");
    assert!(
        message.contains("the image is 4×3 (width × height) but those before it are 2×3") && message.contains("--size"),
        "{message}"
    );

    // A listed class without any image.
    std::fs::write(place("test-0.parquet"), table(&[1], &[0], Some(&["a", "b", "c"]))).unwrap();
    std::fs::write(place("train-0.parquet"), table(&[1, 2], &[0, 1], Some(&["a", "b", "c"]))).unwrap();
    let failed = load();
    assert!(matches!(&failed, Err(Error::EmptyClass { class, .. }) if class == "c"), "{failed:?}");
}

#[test]
fn a_partially_downloaded_data_set_is_never_used_as_the_complete_one() {
    let Some(shared) = shared() else { return };
    let names = Some(&["cat", "dog"][..]);
    let repository = [
        ("o/pets/data/train-00000-of-00002.parquet", table(&[10, 20], &[1, 0], names)),
        ("o/pets/data/train-00001-of-00002.parquet", table(&[30], &[1], names)),
        ("o/pets/data/test.parquet", table(&[60, 70], &[0, 1], names)),
    ];
    let (mirror, cache) = (Mirror::of_files(&shared, &repository, &[]), tempfile::tempdir().unwrap());
    let source = Source::of_hub(hub(&mirror.endpoint, cache.path()));
    let offline = Source { hub: Hub { offline: true, ..source.hub.clone() }, ..source.clone() };
    // Downloaded by another program: some files, and no list of all files.
    source.hub.file(&HubFile::dataset("o/pets", "main", "data/train-00001-of-00002.parquet")).unwrap();
    let failed = load("hub:o/pets", &offline);
    assert!(
        matches!(&failed, Err(Error::NotFound { what, .. }) if what.starts_with("data/train-00000-of-00002.parquet")),
        "{failed:?}"
    );
    // Downloaded by this crate and stopped: the list of all files is cached, so the missing file is known.
    fetch("hub:o/pets", &source).unwrap();
    drop(mirror);
    assert_eq!(load("hub:o/pets", &offline).unwrap().test.len(), 2);
    std::fs::remove_file(cache.path().join("datasets--o--pets/snapshots").join(COMMIT).join("data/test.parquet"))
        .unwrap();
    let failed = load("hub:o/pets", &offline);
    assert!(matches!(&failed, Err(Error::Offline { file, .. }) if file.ends_with("data/test.parquet")), "{failed:?}");
}

/// The commit of every revision of the mirror.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// An IDX file of bytes.
fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(values);
    bytes
}

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_files_give_the_same_pixels_as_the_hubs_tables() {
    let Some(shared) = shared() else { return };
    let tables = load("mnist", &Source::of_hub(Hub::new("", "")).with_data_dir(shared.join("hub/datasets"))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("MNIST/raw");
    std::fs::create_dir_all(&raw).unwrap();
    // The training files with their published names, the test files with torchvision's.
    for (images, prefix) in [(&tables.train, "train"), (&tables.test, "t10k")] {
        let pixels: Vec<u8> = (0..images.len()).flat_map(|index| images.image(index).to_vec()).collect();
        let labels: Vec<u8> = images.labels().iter().map(|label| *label as u8).collect();
        let pixels = idx(&[images.len() as u32, 28, 28], &pixels);
        let labels = idx(&[images.len() as u32], &labels);
        match prefix {
            "train" => {
                std::fs::write(raw.join("train-images-idx3-ubyte.gz"), zipped(&pixels)).unwrap();
                std::fs::write(raw.join("train-labels-idx1-ubyte.gz"), zipped(&labels)).unwrap();
            }
            _ => {
                std::fs::write(raw.join("t10k-images.idx3-ubyte"), pixels).unwrap();
                std::fs::write(raw.join("t10k-labels-idx1-ubyte"), labels).unwrap();
            }
        }
    }
    let source = Source::of_hub(Hub::new("", "")).with_data_dir(folder.path());
    let own = load("mnist", &source).unwrap();
    for (a, b) in [(&own.train, &tables.train), (&own.test, &tables.test)] {
        assert_eq!((a.labels(), a.classes(), a.shape()), (b.labels(), b.classes(), b.shape()));
        assert!((0..a.len()).all(|index| a.image(index) == b.image(index)));
    }
    assert_eq!(own.files.len(), 4);
    // One of the four is missing; then one has the contents of another.
    std::fs::remove_file(raw.join("t10k-labels-idx1-ubyte")).unwrap();
    let failed = load("mnist", &source);
    assert!(matches!(&failed, Err(Error::NotFound { what, .. }) if what.contains("t10k-labels")), "{failed:?}");
    std::fs::copy(raw.join("t10k-images.idx3-ubyte"), raw.join("t10k-labels-idx1-ubyte")).unwrap();
    let failed = load("mnist", &source);
    assert!(matches!(failed, Err(Error::Malformed { format: "IDX", .. })), "{failed:?}");
}

/// Collects the notes.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn start(&self, _: &str, _: u64) {}
    fn at(&self, _: &str, _: u64) {}
    fn finish(&self, _: &str) {}
    fn note(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn the_decoded_cache_gives_the_same_data_set_and_repairs_itself() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let notes = Arc::new(Notes::default());
    let hub = Hub { progress: notes.clone(), ..hub(&mirror.endpoint, cache.path()) };
    let decoded = tempfile::tempdir().unwrap();
    let source = Source { decoded: Some(decoded.path().to_owned()), ..Source::of_hub(hub) };
    let first = load("mnist", &source).unwrap();
    drop(mirror);
    let same = |other: &datasets::Dataset| {
        first.train.labels() == other.train.labels()
            && first.files == other.files
            && first.normalisation == other.normalisation
            && (0..first.test.len()).all(|index| first.test.image(index) == other.test.image(index))
    };
    assert!(same(&load("mnist", &source).unwrap()));
    let [file] = &files(decoded.path())[..] else { panic!("one file") };
    let file = decoded.path().join(file);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() / 2], b"GCIMAGES"] {
        // The file is replaced and not written to, so that the mapped bytes stay.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, bytes).unwrap();
        assert!(same(&load("mnist", &source).unwrap()));
        let notes = std::mem::take(&mut *notes.0.lock().unwrap());
        assert!(notes.len() == 1 && notes[0].contains("decoded again"), "{notes:?}");
        assert!(std::fs::read(&file).unwrap() == whole);
    }
}
