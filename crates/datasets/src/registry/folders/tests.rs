use std::fs;

use image::GrayImage;

use super::*;
use crate::LabelledImages;

/// Writes grey images of 3×2 pixels whose values are the numbers in their names.
fn images(folder: &Path, names: &[&str]) {
    for name in names {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let value: String = name.chars().filter(char::is_ascii_digit).collect();
        let value = value.parse::<u8>().unwrap();
        GrayImage::from_fn(3, 2, |x, _| image::Luma([value + x as u8])).save(path).unwrap();
    }
}

fn firsts(images: &LabelledImages) -> Vec<(u8, u32)> {
    (0..images.len()).map(|index| (images.image(index)[0], images.labels()[index])).collect()
}

#[test]
fn parts_with_the_same_classes_are_parts_of_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let names = [
        "train/a/1.png",
        "train/a/2.png",
        "train/b/3.png",
        "val/a/4.png",
        "val/b/5.png",
        "test/a/6.png",
        "test/b/7.png",
    ];
    images(folder.path(), &names);
    let data = load_folder(folder.path(), Form::default()).unwrap();
    assert_eq!(firsts(&data.train), [(1, 0), (2, 0), (3, 1)]);
    assert_eq!(firsts(data.validation.as_ref().unwrap()), [(4, 0), (5, 1)]);
    assert_eq!(firsts(&data.test), [(6, 0), (7, 1)]);
    assert_eq!(data.all().unwrap().len(), 7);
    assert_eq!((data.train.classes(), data.split.is_none()), (&["a".to_owned(), "b".to_owned()][..], true));
    let only_b = data.with_classes(&["b"]).unwrap();
    assert_eq!(firsts(only_b.validation.as_ref().unwrap()), [(5, 0)]);
    // Without a test folder, the validation images are the test images.
    fs::remove_dir_all(folder.path().join("test")).unwrap();
    let data = load_folder(folder.path(), Form::default()).unwrap();
    assert_eq!((data.validation.is_none(), firsts(&data.test)), (true, vec![(4, 0), (5, 1)]));
}

#[test]
fn parts_without_a_common_class_are_the_class_lists_of_a_transfer() {
    let folder = tempfile::tempdir().unwrap();
    let of = |part: &str, class: &str, first: usize| {
        (first..first + 6).map(|n| format!("{part}/{class}/{n:03}.png")).collect::<Vec<_>>()
    };
    let names = [of("train", "a", 0), of("val", "b", 10), of("test", "c", 20)].concat();
    images(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let data = load_folder(folder.path(), Form::default()).unwrap();
    let split = data.class_split().unwrap();
    assert_eq!(
        (split.train(), split.validation(), split.test()),
        (&["a".to_owned()][..], &["b".to_owned()][..], &["c".to_owned()][..])
    );
    assert_eq!((data.train.len(), data.test.len()), (15, 3));
    assert_eq!(firsts(&data.target_classes().unwrap().test), [(25, 0)]);
    // The same lists before an image is read.
    let source = Source::of_hub(Hub::new("", ""));
    let known = crate::class_split(&format!("folder:{}", folder.path().display()), &source).unwrap();
    assert_eq!(known.as_ref(), data.split.as_ref());
}

#[test]
fn the_last_sixth_of_class_folders_without_parts_is_the_test_part() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> =
        (0..12).map(|n| format!("a/{n:02}.png")).chain((20..26).map(|n| format!("b/{n}.png"))).collect();
    images(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let data = load_folder(folder.path(), Form::default()).unwrap();
    assert_eq!(firsts(&data.test), [(10, 0), (11, 0), (25, 1)]);
}

#[test]
fn parts_that_share_some_classes_and_empty_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), &["train/a/1.png", "train/b/2.png", "test/b/3.png", "test/c/4.png"]);
    let failed = load_folder(folder.path(), Form::default());
    let message = failed.as_ref().unwrap_err().to_string();
    assert!(matches!(failed, Err(Error::Inconsistent { .. })), "{message}");
    assert!(message.contains("`a` is missing") && message.contains("`c` is new"), "{message}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(load_folder(empty.path(), Form::default()), Err(Error::NotFound { .. })));
    fs::create_dir_all(empty.path().join("train/a")).unwrap();
    assert!(matches!(load_folder(empty.path(), Form::default()), Err(Error::EmptyClass { class, .. }) if class == "a"));
}

#[test]
fn decoded_images_are_mapped_until_a_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), &["train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"]);
    let cache = tempfile::tempdir().unwrap();
    let source = Source { decoded: Some(cache.path().to_owned()), ..Source::of_hub(Hub::new("", "")) };
    let name = format!("folder:{}", folder.path().display());
    let first = crate::load(&name, &source).unwrap();
    let second = crate::load(&name, &source).unwrap();
    assert_eq!((firsts(&first.train), firsts(&first.test)), (firsts(&second.train), firsts(&second.test)));
    assert_eq!(first.normalisation, second.normalisation);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    images(folder.path(), &["train/b/5.png"]);
    assert_eq!(firsts(&crate::load(&name, &source).unwrap().train), [(1, 0), (2, 1), (5, 1)]);
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2);
}

#[test]
fn skipped_files_are_counted_and_reported_whether_decoded_or_mapped() {
    #[derive(Default)]
    struct Notes(std::sync::Mutex<Vec<String>>);
    impl crate::Progress for Notes {
        fn start(&self, _: &str, _: u64) {}
        fn at(&self, _: &str, _: u64) {}
        fn finish(&self, _: &str) {}
        fn note(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), &["train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png"]);
    for name in ["train/a/Thumbs.db", "test/b/.DS_Store", "test/b/notes.txt"] {
        fs::write(folder.path().join(name), b"no image").unwrap();
    }
    let (cache, notes) = (tempfile::tempdir().unwrap(), std::sync::Arc::new(Notes::default()));
    let hub = Hub { progress: notes.clone(), ..Hub::new("", "") };
    let source = Source { decoded: Some(cache.path().to_owned()), ..Source::of_hub(hub) };
    for _ in 0..2 {
        let data = crate::load(&format!("folder:{}", folder.path().display()), &source).unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.skipped_files), (2, 2, 3));
        let note = notes.0.lock().unwrap().pop().unwrap();
        assert!(note.contains("3 files that are not images (Thumbs.db, .DS_Store, notes.txt)"), "{note}");
    }
    assert_eq!(load_folder(folder.path(), Form::default()).unwrap().skipped_files, 3);
}

#[test]
fn a_folder_of_images_without_classes_is_refused_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), &["1.png", "2.png"]);
    let message = load_folder(folder.path(), Form::default()).unwrap_err().to_string();
    assert!(message.contains("2 images without classes"), "{message}");
}
