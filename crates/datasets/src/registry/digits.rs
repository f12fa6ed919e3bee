//! MNIST and Fashion-MNIST from the IDX files in which they were published.

use std::path::{Path, PathBuf};

use super::Entry;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::idx;
use crate::{Dataset, Error, FileRecord, LabelledImages, Result, Source, checksum};

/// Images and labels, to learn from and to test on.
pub(super) type Files = [PathBuf; 4];

const NAMES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The IDX files in the user's folder; none where there is not one of them.
///
/// **Errors** [`Error::NotFound`] where some are there and others not.
pub(super) fn find(entry: &Entry, source: &Source) -> Result<Option<Files>> {
    let Some(folder) = &source.data_dir else { return Ok(None) };
    if class_names(entry).is_none() {
        return Ok(None);
    }
    // As they are published, and as torchvision lays them out.
    let torchvision = if entry.name == "mnist" { "MNIST/raw" } else { "FashionMNIST/raw" };
    for folder in [folder.clone(), folder.join(entry.name), folder.join(torchvision), folder.join("raw")] {
        let found = NAMES.map(|name| variants(&folder, name).into_iter().find(|path| path.is_file()));
        if found.iter().all(Option::is_none) {
            continue;
        }
        let missing = NAMES.iter().zip(&found).find(|(_, path)| path.is_none()).map_or("", |(name, _)| name);
        return match found {
            [Some(a), Some(b), Some(c), Some(d)] => Ok(Some([a, b, c, d])),
            _ => Err(Error::NotFound {
                what: format!("{missing} of {}", entry.name),
                looked_at: vec![folder.display().to_string()],
                hint: "the other IDX files are there: put all four in one folder, plain or as .gz".to_owned(),
            }),
        };
    }
    Ok(None)
}

/// Both spellings that are in use, plain and zipped.
fn variants(folder: &Path, name: &str) -> Vec<PathBuf> {
    let dotted = name.replace("-idx", ".idx");
    [name.to_owned(), format!("{name}.gz"), dotted.clone(), format!("{dotted}.gz")]
        .map(|name| folder.join(name))
        .to_vec()
}

/// The classes as the Hub's copies name them.
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
        let read = idx::read::<3>(images)?;
        let values = idx::read::<1>(names)?.values;
        let inconsistent = |what, expected: String, got: String| Error::Inconsistent {
            dataset: images.display().to_string(),
            what,
            expected,
            got,
        };
        let [count, rows, columns] = read.sizes;
        if [rows, columns] != [height, width] {
            return Err(inconsistent("image size", format!("{width}×{height}"), format!("{columns}×{rows}")));
        }
        if values.len() != count {
            return Err(inconsistent("labels", count.to_string(), values.len().to_string()));
        }
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
        |path: &PathBuf| Ok(FileRecord { file: path.display().to_string(), sha256: Some(checksum::of_file(path)?) });
    let files = [train, train_labels, test, test_labels].map(record).into_iter().collect::<Result<_>>()?;
    Ok(Decoded { all, parts: counts, normalisation: None, files })
}
