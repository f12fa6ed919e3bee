//! The table of data sets.

use super::class_lists::SplitName;
use super::entry::{Entry, Origin};
use crate::error::suggestions;
use crate::{Error, Result};

/// Every data set of the registry.
pub fn entries() -> &'static [Entry] {
    &ENTRIES
}

/// The entry with this name.
///
/// **Errors** [`Error::UnknownDataset`] with the nearest names.
///
/// ```
/// assert_eq!(datasets::find("cifar10")?.classes, 10);
/// let message = datasets::find("cifr10").unwrap_err().to_string();
/// assert!(message.contains("cifar10"), "{message}");
/// # datasets::Result::Ok(())
/// ```
pub fn find(name: &str) -> Result<&'static Entry> {
    entries().iter().find(|entry| entry.name == name).ok_or_else(|| {
        let known = || entries().iter().map(|entry| entry.name);
        Error::UnknownDataset {
            name: name.to_owned(),
            suggestions: suggestions(name, known()),
            known: known().map(str::to_owned).collect(),
        }
    })
}

const CIFAR_LICENCE: &str =
    "none stated by the authors that we know of; cite Krizhevsky (2009); see the data set's page";

const ENTRIES: [Entry; 8] = [
    Entry {
        name: "glyphs",
        summary: "characters of six scripts drawn from real typefaces; embedded, no download",
        origin: Origin::Embedded,
        classes: 298,
        shape: [1, 32, 32],
        train_count: None,
        test_count: None,
        mean: &[0.5],
        std: &[0.3255],
        split: Some(SplitName::Glyphs),
        licence: "images: MIT OR Apache-2.0 as this crate; typefaces: SIL OFL 1.1, GUST Font License, Bitstream Vera",
    },
    Entry {
        name: "mnist",
        summary: "handwritten digits",
        origin: Origin::Hub {
            repository: "ylecun/mnist",
            revision: "77f3279092a1c1579b2250db8eafed0ad422088c",
            train: &["mnist/train-00000-of-00001.parquet"],
            test: &["mnist/test-00000-of-00001.parquet"],
            image: "image",
            label: "label",
        },
        classes: 10,
        shape: [1, 28, 28],
        train_count: Some(60_000),
        test_count: Some(10_000),
        mean: &[0.1307],
        std: &[0.3081],
        split: None,
        licence: "MIT by the Hub's card of this copy; see the data set's page",
    },
    Entry {
        name: "fashion-mnist",
        summary: "articles of clothing",
        origin: Origin::Hub {
            repository: "zalando-datasets/fashion_mnist",
            revision: "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
            train: &["fashion_mnist/train-00000-of-00001.parquet"],
            test: &["fashion_mnist/test-00000-of-00001.parquet"],
            image: "image",
            label: "label",
        },
        classes: 10,
        shape: [1, 28, 28],
        train_count: Some(60_000),
        test_count: Some(10_000),
        mean: &[0.2860],
        std: &[0.3530],
        split: None,
        licence: "MIT (Zalando SE), by its repository and the Hub's card",
    },
    Entry {
        name: "cifar10",
        summary: "small colour photographs of ten kinds of things",
        origin: Origin::Hub {
            repository: "uoft-cs/cifar10",
            revision: "0b2714987fa478483af9968de7c934580d0bb9a2",
            train: &["plain_text/train-00000-of-00001.parquet"],
            test: &["plain_text/test-00000-of-00001.parquet"],
            image: "img",
            label: "label",
        },
        classes: 10,
        shape: [3, 32, 32],
        train_count: Some(50_000),
        test_count: Some(10_000),
        mean: &[0.4914, 0.4822, 0.4465],
        std: &[0.2470, 0.2435, 0.2616],
        split: None,
        licence: CIFAR_LICENCE,
    },
    Entry {
        name: "cifar100",
        summary: "small colour photographs of a hundred kinds of things",
        origin: CIFAR100,
        classes: 100,
        shape: [3, 32, 32],
        train_count: Some(50_000),
        test_count: Some(10_000),
        mean: &[0.5071, 0.4865, 0.4409],
        std: &[0.2673, 0.2564, 0.2762],
        split: None,
        licence: CIFAR_LICENCE,
    },
    Entry {
        name: "cifar-fs",
        summary: "CIFAR-100 with 64 source, 16 validation and 20 target classes, 600 images each",
        origin: CIFAR100,
        classes: 100,
        shape: [3, 32, 32],
        train_count: Some(50_000),
        test_count: Some(10_000),
        mean: &[0.5071, 0.4865, 0.4409],
        std: &[0.2673, 0.2564, 0.2762],
        split: Some(SplitName::CifarFs),
        licence: CIFAR_LICENCE,
    },
    Entry {
        name: "mini-imagenet",
        summary: "84×84 photographs of 64 source, 16 validation and 20 target classes, 600 images each; from image folders or parquet files",
        origin: Origin::Folder,
        classes: 100,
        shape: [3, 84, 84],
        train_count: Some(50_000),
        test_count: Some(10_000),
        mean: &[0.485, 0.456, 0.406],
        std: &[0.229, 0.224, 0.225],
        split: Some(SplitName::MiniImagenet),
        licence: "ImageNet's terms of access; see image-net.org",
    },
    Entry {
        name: "omniglot",
        summary: "handwritten characters of many alphabets, 20 images each; from its zip files or folders",
        origin: Origin::Omniglot,
        classes: 1623,
        shape: [1, 105, 105],
        train_count: None,
        test_count: None,
        mean: &[0.922],
        std: &[0.268],
        split: None,
        licence: "MIT, by its repository (Lake, Salakhutdinov, Tenenbaum, 2015)",
    },
];

const CIFAR100: Origin = Origin::Hub {
    repository: "uoft-cs/cifar100",
    revision: "aadb3af77e9048adbea6b47c21a81e47dd092ae5",
    train: &["cifar100/train-00000-of-00001.parquet"],
    test: &["cifar100/test-00000-of-00001.parquet"],
    image: "img",
    label: "fine_label",
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn entries_are_complete_and_have_different_names() {
        let names: HashSet<_> = entries().iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), entries().len());
        for entry in entries() {
            assert_eq!(entry.normalisation().unwrap().mean().len(), entry.shape[0], "{}", entry.name);
            assert!(!entry.licence.is_empty() && !entry.summary.is_empty());
            if let Some(split) = entry.class_split().unwrap() {
                assert!(split.len() <= entry.classes, "{}", entry.name);
            }
        }
    }
}
