//! MNIST and Fashion-MNIST, from the IDX files in which they were published.

use std::path::{Path, PathBuf};

use super::entry::Entry;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::idx;
use crate::{Dataset, Error, FileRecord, LabelledImages, Result, Source, files};

/// The files of the training images, training labels, test images and test labels.
pub(super) type Files = [PathBuf; 4];

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The IDX files in the user's folder; none if none of them exists.
///
/// **Errors** [`Error::NotFound`] if only some of them exist.
pub(super) fn find(entry: &Entry, source: &Source) -> Result<Option<Files>> {
    let Some(folder) = &source.data_dir else { return Ok(None) };
    if class_names(entry).is_none() {
        return Ok(None);
    }
    // The published layout and torchvision's.
    let torchvision = if entry.name == "mnist" { "MNIST/raw" } else { "FashionMNIST/raw" };
    for folder in [folder.clone(), folder.join(entry.name), folder.join(torchvision), folder.join("raw")] {
        let mut found = [const { None }; NAMES.len()];
        for (path, name) in found.iter_mut().zip(NAMES) {
            *path = variant(&folder, name)?;
        }
        if found.iter().all(Option::is_none) {
            continue;
        }
        let missing = NAMES.iter().zip(&found).find(|(_, path)| path.is_none()).map_or("", |(name, _)| name);
        return match found {
            [Some(a), Some(b), Some(c), Some(d)] => Ok(Some([a, b, c, d])),
            _ => Err(Error::NotFound {
                what: format!("{missing} of {}", entry.name),
                looked_at: vec![folder.display().to_string()],
                hint: "other IDX files were found: put all four in one folder, plain or as .gz".to_owned(),
            }),
        };
    }
    Ok(None)
}

/// The file with this name in either usual spelling, plain or zipped.
fn variant(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let dotted = name.replace("-idx", ".idx");
    for name in [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")] {
        let path = folder.join(name);
        if files::is_input(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// The class names of the Hub's copies.
fn class_names(entry: &Entry) -> Option<[&'static str; 10]> {
    match entry.name {
        "mnist" => Some(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        "fashion-mnist" => Some([
            "T - shirt / top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ]),
        _ => None,
    }
}

/// Reads the data set.
pub(super) fn read(entry: &Entry, files: &Files, source: &Source) -> Result<Dataset> {
    let input = |(name, path): (&str, &PathBuf)| Input { name: name.to_owned(), path: path.clone(), sha256: None };
    let inputs = NAMES.into_iter().zip(files).map(input).collect();
    let inputs = Inputs { recipe: format!("idx {}", entry.name), files: inputs };
    let decoded = decoded::cached(source, &inputs, || decode(entry, files))?;
    let dataset = decoded.dataset(entry.name, Some(entry.normalisation()?))?;
    Ok(Dataset { split: entry.class_split()?, ..dataset })
}

fn decode(entry: &Entry, [train, train_labels, test, test_labels]: &Files) -> Result<Decoded> {
    let [_, height, width] = entry.shape;
    let (mut pixels, mut labels, mut counts) = (Vec::new(), Vec::new(), [0; 3]);
    for (part, images, names) in [(0, train, train_labels), (2, test, test_labels)] {
        let read = idx::read::<3>(images, [None, Some(height), Some(width)])?;
        let [count, ..] = read.sizes;
        let values = idx::read::<1>(names, [Some(count)])?.values;
        counts[part] = count;
        if let Some((row, &label)) = values.iter().enumerate().find(|(_, label)| usize::from(**label) >= entry.classes)
        {
            let (context, label) = (names.display().to_string(), i64::from(label));
            return Err(Error::LabelOutOfRange { context, row, label, classes: entry.classes });
        }
        labels.extend(values.into_iter().map(u32::from));
        if pixels.is_empty() { pixels = read.values } else { pixels.extend_from_slice(&read.values) }
    }
    let names = class_names(entry).into_iter().flatten();
    let all = LabelledImages::new(entry.name, pixels, entry.shape, labels, names)?;
    let record =
        |path: &PathBuf| Ok(FileRecord { file: path.display().to_string(), sha256: Some(files::sha256(path)?) });
    let files = [train, train_labels, test, test_labels].map(record).into_iter().collect::<Result<_>>()?;
    Ok(Decoded { all, parts: counts, normalisation: None, files })
}
