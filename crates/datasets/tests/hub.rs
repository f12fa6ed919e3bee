//! The data sets of the Hub, downloaded by the client from a server on loopback.

mod common;

use common::{Mirror, files, shared};
use datasets::{Error, Form, Hub, HubFile, HubTable, Source, fetch, load, load_table};

fn hub(endpoint: &str, cache: &std::path::Path) -> Hub {
    Hub { retries: 3, ..Hub::new(endpoint, cache) }
}

/// The smallest file of the mirror, 2.3 MB.
fn small() -> HubFile {
    HubFile::dataset("ylecun/mnist", "main", "mnist/test-00000-of-00001.parquet")
}

#[test]
fn cifar10_has_its_counts_classes_and_means() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let source = Source::of_hub(hub(&mirror.endpoint, cache.path()));
    let data = load("cifar10", &source).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.shape()), (50_000, 10_000, [3, 32, 32]));
    let names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    assert_eq!(data.train.classes(), names);
    assert!(data.train.images_per_class().iter().all(|count| *count == 5000));
    assert!(data.test.images_per_class().iter().all(|count| *count == 1000));
    // The published means and deviations of CIFAR-10's training images.
    let measured = data.train.measure_normalisation().unwrap();
    for (got, known) in measured.mean().iter().zip([0.4914, 0.4822, 0.4465]) {
        assert!((got - known).abs() < 0.005, "mean {got}, known {known}");
    }
    for (got, known) in measured.std().iter().zip([0.2470, 0.2435, 0.2616]) {
        assert!((got - known).abs() < 0.005, "deviation {got}, known {known}");
    }
    assert!(data.files.iter().all(|file| file.sha256.as_ref().is_some_and(|sum| sum.len() == 64)));

    // Skies are above: ships and planes are brighter in their upper half. Transposed images would not show it.
    let sky = data.with_classes(&["airplane", "ship"]).unwrap().train;
    let half = |image: &[u8], upper: bool, left: bool| -> f64 {
        let inside = |at: usize| {
            let (row, column) = (at % 1024 / 32, at % 32);
            if left { (column < 16) == upper } else { (row < 16) == upper }
        };
        image.iter().enumerate().filter(|(at, _)| inside(*at)).map(|(_, value)| f64::from(*value)).sum()
    };
    let difference = |left: bool| -> f64 {
        (0..sky.len()).map(|i| half(sky.image(i), true, left) - half(sky.image(i), false, left)).sum::<f64>()
    };
    assert!(difference(false) > 10.0 * difference(true).abs(), "upper is brighter than lower, left is like right");

    // The same pixels from the cache, without the server.
    drop(mirror);
    let again = load("cifar10", &source).unwrap();
    assert_eq!(data.train.labels(), again.train.labels());
    assert!((0..data.train.len()).all(|i| data.train.image(i) == again.train.image(i)));
}

#[test]
fn cifar_fs_has_600_images_a_class_in_three_disjoint_parts() {
    let Some(shared) = shared() else { return };
    let source = Source::of_hub(Hub::new("http://127.0.0.1:9", "/nowhere")).with_data_dir(shared.join("hub/datasets"));
    let data = load("cifar-fs", &source).unwrap();
    let parts = [data.source_classes().unwrap(), data.validation_classes().unwrap(), data.target_classes().unwrap()];
    let sizes: Vec<usize> = parts.iter().map(|part| part.train.class_count()).collect();
    assert_eq!(sizes, [64, 16, 20]);
    for part in &parts {
        assert!(part.all().unwrap().images_per_class().iter().all(|count| *count == 600));
    }
    // Labels follow the published list: its first source class is `train`.
    assert_eq!(parts[0].train.classes()[0], "train");
    let whole = &data.train;
    let first = parts[0].train.positions_by_class()[0][0];
    let original = whole.class_numbers(&["train"]).unwrap()[0] as usize;
    assert_eq!(parts[0].train.image(first), whole.image(whole.positions_by_class()[original][0]));
    let limited = Source { train_per_class: Some(5), test_per_class: Some(2), ..source.clone() };
    let limited = load("cifar-fs", &limited).unwrap();
    assert_eq!((limited.train.len(), limited.test.len()), (500, 200));
    let classes = vec!["baby".to_owned(), "train".to_owned()];
    let two = load("cifar-fs", &Source { classes: Some(classes), train_per_class: Some(3), ..source }).unwrap();
    assert_eq!(two.train.images_per_class(), [3, 3]);
    assert_eq!(two.source_classes().unwrap().train.classes(), ["train"]);
}

#[test]
fn mnist_is_grey_and_has_no_class_lists() {
    let Some(shared) = shared() else { return };
    let source = Source::of_hub(Hub::new("http://127.0.0.1:9", "/nowhere")).with_data_dir(shared.join("hub/datasets"));
    let data = load("mnist", &source).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.shape()), (60_000, 10_000, [1, 28, 28]));
    assert!((data.train.measure_normalisation().unwrap().mean()[0] - 0.1307).abs() < 1e-4);
    assert!(matches!(data.source_classes(), Err(Error::NoClassSplit { dataset, .. }) if dataset == "mnist"));
}

#[test]
fn cut_responses_are_resumed_until_the_file_is_complete() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--truncate", "0.5"]), tempfile::tempdir().unwrap());
    let path = hub(&mirror.endpoint, cache.path()).file(&small()).unwrap();
    let whole = std::fs::read(shared.join("hub/datasets/ylecun/mnist").join(small().path)).unwrap();
    assert!(std::fs::read(path).unwrap() == whole);
    assert!(files(cache.path()).iter().all(|file| !file.ends_with(".part")));
}

#[test]
fn empty_responses_are_an_error_and_leave_no_file() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--truncate", "0"]), tempfile::tempdir().unwrap());
    let failed = hub(&mirror.endpoint, cache.path()).file(&small());
    assert!(matches!(failed, Err(Error::Network { .. } | Error::Truncated { .. })), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_flipped_byte_is_an_error_and_leaves_no_file() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--corrupt"]), tempfile::tempdir().unwrap());
    let failed = hub(&mirror.endpoint, cache.path()).file(&small());
    assert!(matches!(failed, Err(Error::Corrupt { .. })), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_busy_server_is_requested_again() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--fail-first", "3"]), tempfile::tempdir().unwrap());
    assert!(hub(&mirror.endpoint, cache.path()).file(&small()).unwrap().is_file());
    let (mirror, cache) = (Mirror::start(&shared, &["--fail-first", "100"]), tempfile::tempdir().unwrap());
    let failed = hub(&mirror.endpoint, cache.path()).file(&small());
    assert!(matches!(failed, Err(Error::Network { attempts: 4, .. })), "{failed:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn a_token_gives_access_to_private_files() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &["--require-token", "right"]), tempfile::tempdir().unwrap());
    for token in [None, Some("wrong".to_owned())] {
        let failed = Hub { token, ..hub(&mirror.endpoint, cache.path()) }.file(&small());
        let message = failed.as_ref().unwrap_err().to_string();
        assert!(matches!(failed, Err(Error::Unauthorized { status: 401, .. })), "{message}");
        assert!(message.contains("HF_TOKEN"), "{message}");
    }
    assert_eq!(files(cache.path()), [""; 0]);
    let right = Hub { token: Some("right".to_owned()), ..hub(&mirror.endpoint, cache.path()) };
    assert!(right.file(&small()).unwrap().is_file());
}

#[test]
fn a_missing_network_and_the_offline_switch_are_different_errors() {
    let cache = tempfile::tempdir().unwrap();
    // No server listens on port 9 of loopback.
    let hub = Hub { retries: 1, ..Hub::new("http://127.0.0.1:9", cache.path()) };
    let failed = hub.file(&small());
    assert!(matches!(failed, Err(Error::Network { attempts: 2, .. })), "{failed:?}");
    let offline = Hub { offline: true, ..hub }.file(&small());
    assert!(matches!(offline, Err(Error::Offline { .. })), "{offline:?}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn weights_are_downloaded_from_a_models_repository_and_then_read_from_the_cache() {
    let Some(shared) = shared() else { return };
    let bytes: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
    let mirror = Mirror::of_models(&shared, &[("owner/net/model.safetensors", bytes.clone())], &[]);
    let cache = tempfile::tempdir().unwrap();
    let online = hub(&mirror.endpoint, cache.path());
    let weights = HubFile::model("owner/net", "main", "model.safetensors");
    assert_eq!(std::fs::read(online.file(&weights).unwrap()).unwrap(), bytes);
    assert!(cache.path().join("models--owner--net/refs/main").is_file());
    // A data set of the same name is another repository.
    let other = online.file(&HubFile::dataset("owner/net", "main", "model.safetensors"));
    assert!(matches!(other, Err(Error::NotFound { .. })), "{other:?}");
    drop(mirror);
    assert_eq!(std::fs::read(online.file(&weights).unwrap()).unwrap(), bytes);
}

#[test]
fn a_missing_file_of_the_hub_is_named() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let absent = HubFile { path: "mnist/none.parquet".to_owned(), ..small() };
    let failed = hub(&mirror.endpoint, cache.path()).file(&absent);
    assert!(matches!(&failed, Err(Error::NotFound { what, .. }) if what.contains("none.parquet")), "{failed:?}");
}

#[test]
fn a_corrupt_cached_file_is_downloaded_again() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let hub = hub(&mirror.endpoint, cache.path());
    let path = hub.file(&small()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let corrupt = || std::fs::write(std::fs::canonicalize(&path).unwrap(), &whole[..1000]).unwrap();
    corrupt();
    assert!(std::fs::read(hub.file(&small()).unwrap()).unwrap() == whole);
    corrupt();
    let offline = Hub { offline: true, ..hub }.file(&small());
    assert!(matches!(offline, Err(Error::Corrupt { .. })), "{offline:?}");
    assert!(!path.exists());
}

#[test]
fn a_file_where_the_cache_should_be_is_an_io_error() {
    let Some(shared) = shared() else { return };
    let mirror = Mirror::start(&shared, &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let failed = hub(&mirror.endpoint, &file.path().join("hub")).file(&small());
    assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
}

#[test]
fn omniglot_is_read_from_its_archives() {
    let Some(shared) = shared() else { return };
    let source = Source::of_hub(Hub::new("", "/nowhere")).with_data_dir(shared.join("hub/omniglot"));
    let data = load("omniglot", &source).unwrap();
    assert_eq!(data.train.shape(), [1, 105, 105]);
    assert!(data.all().unwrap().images_per_class().iter().all(|count| *count == 20));
    assert!(data.train.images_per_class().iter().all(|count| *count == 17));
    let without = load("omniglot", &Source { data_dir: None, ..source });
    assert!(matches!(without, Err(Error::NotFound { .. })));
}

#[test]
fn a_table_of_the_hub_is_read_and_a_wrong_column_is_named() {
    let Some(shared) = shared() else { return };
    let source = Source::of_hub(Hub::new("", "/nowhere")).with_data_dir(shared.join("hub/datasets"));
    let file = "mnist/test-00000-of-00001.parquet".to_owned();
    let table = HubTable {
        repository: "ylecun/mnist".to_owned(),
        revision: "main".to_owned(),
        train: vec![file.clone()],
        test: vec![file],
        image: "image".to_owned(),
        label: "label".to_owned(),
        form: Form { channels: Some(3), size: Some([14, 14]) },
    };
    let data = load_table(&table, &source).unwrap();
    assert_eq!((data.train.len(), data.train.shape()), (10_000, [3, 14, 14]));
    let failed = load_table(&HubTable { label: "fine_label".to_owned(), ..table.clone() }, &source);
    assert!(matches!(failed, Err(Error::MissingColumn { column, found, .. })
        if column == "fine_label" && found == ["image", "label"]));
    let failed = load_table(&HubTable { image: "label".to_owned(), ..table }, &source);
    assert!(matches!(failed, Err(Error::ColumnType { .. })), "{failed:?}");
}

#[test]
fn two_fetches_at_once_share_one_download() {
    let Some(shared) = shared() else { return };
    let (mirror, cache) = (Mirror::start(&shared, &[]), tempfile::tempdir().unwrap());
    let source = Source::of_hub(hub(&mirror.endpoint, cache.path()));
    let records: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| fetch("mnist", &source).unwrap())).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(records[0].len(), 2);
    assert!(records.iter().all(|record| *record == records[0]));
}
