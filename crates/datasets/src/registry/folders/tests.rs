use std::fs;

use image::{GrayImage, RgbImage};

use super::*;

/// Writes grey images of 3×2 pixels, the names' numbers as values.
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
    // Without test images, those for validation take their place.
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
fn class_folders_alone_leave_their_last_sixth_for_testing() {
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
    assert!(message.contains("`a` is not there") && message.contains("`c` is new"), "{message}");
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(load_folder(empty.path(), Form::default()), Err(Error::NotFound { .. })));
    fs::create_dir_all(empty.path().join("train/a")).unwrap();
    assert!(matches!(load_folder(empty.path(), Form::default()), Err(Error::EmptyClass { class, .. }) if class == "a"));
}

#[test]
fn the_second_start_maps_what_the_first_decoded_until_a_file_changes() {
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
fn omniglots_background_and_evaluation_alphabets_are_its_class_lists() {
    let folder = tempfile::tempdir().unwrap();
    for (part, class) in [("images_background", "Greek/character01"), ("images_evaluation", "Keble/character01")] {
        let names: Vec<String> = (1..=6).map(|number| format!("{part}/{class}/{number}.png")).collect();
        images(folder.path(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let entry = Entry { shape: [1, 2, 3], ..crate::find("omniglot").unwrap().clone() };
    let source = Source::of_hub(Hub::new("", "")).with_data_dir(folder.path());
    let data = read_omniglot(&entry, &source).unwrap();
    let split = data.class_split().unwrap();
    assert_eq!((&split.train()[0][..], &split.test()[0][..]), ("Greek/character01", "Keble/character01"));
    assert_eq!(crate::class_split("omniglot", &source).unwrap().as_ref(), Some(split));
    assert_eq!(data.target_classes().unwrap().train.len(), 5);
    fs::remove_dir_all(folder.path().join("images_evaluation")).unwrap();
    assert_eq!(crate::class_split("omniglot", &source).unwrap(), None);
    let nowhere = crate::class_split("omniglot", &Source::of_hub(Hub::new("", "")));
    assert!(matches!(nowhere, Err(Error::NotFound { .. })));
}

/// All hundred classes with six images each, where `place` puts them.
fn mini_imagenet(folder: &Path, place: impl Fn(usize, &str, usize) -> String) -> Result<Dataset> {
    let split = crate::SplitName::MiniImagenet.lists().unwrap();
    let parts = [split.train(), split.validation(), split.test()];
    for (part, classes) in parts.iter().enumerate() {
        for class in *classes {
            for number in 0..6 {
                let path = folder.join(place(part, class, number));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                RgbImage::from_pixel(8, 10, image::Rgb([part as u8, number as u8, 9])).save(path).unwrap();
            }
        }
    }
    let entry = Entry {
        train_count: None,
        test_count: None,
        shape: [3, 84, 84],
        ..crate::find("mini-imagenet").unwrap().clone()
    };
    read_mini_imagenet(&entry, &Source::of_hub(Hub::new("", "")).with_data_dir(folder))
}

#[test]
fn mini_imagenet_is_found_in_every_usual_layout() {
    let layouts: [fn(usize, &str, usize) -> String; 3] = [
        |_, class, number| format!("{class}/{class}{number:08}.png"),
        |part, class, number| format!("{}/{class}/{number}.png", ["train", "val", "test"][part]),
        |_, class, number| format!("images/{class}{number:08}.png"),
    ];
    for layout in layouts {
        let folder = tempfile::tempdir().unwrap();
        let data = mini_imagenet(folder.path(), layout).unwrap();
        assert_eq!((data.train.len(), data.test.len(), data.train.shape()), (500, 100, [3, 84, 84]));
        let target = data.target_classes().unwrap();
        assert_eq!((target.train.class_count(), target.train.image(0)[0]), (20, 2));
        assert_eq!(target.test.image(0)[84 * 84], 5, "the last of six is for testing");
    }
}

#[test]
fn a_class_that_mini_imagenet_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = |_: usize, class: &str, number: usize| format!("{class}/{number}.png");
    mini_imagenet(folder.path(), place).unwrap();
    fs::remove_dir_all(folder.path().join("n01532829")).unwrap();
    let entry = crate::find("mini-imagenet").unwrap();
    let failed = read_mini_imagenet(entry, &Source::of_hub(Hub::new("", "")).with_data_dir(folder.path()));
    assert!(matches!(failed, Err(Error::NotFound { what, .. }) if what.contains("n01532829")));
    let whole = crate::load("mini-imagenet", &Source::of_hub(Hub::new("", "")).with_data_dir(folder.path()));
    assert!(whole.is_err());
}
