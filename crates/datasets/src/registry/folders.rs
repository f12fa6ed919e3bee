//! Data sets from folders that the user gives: image folders, mini-ImageNet, Omniglot.

use std::path::{Path, PathBuf};

use super::Entry;
use crate::decode::Collector;
use crate::formats::{folder, omniglot};
use crate::{Dataset, Error, FileRecord, Form, LabelledImages, Normalisation, Result, Source};

/// Of each class's images, in the order of their names, the last sixth are test images where no folder says so: 100 of
/// 600 in mini-ImageNet, as in CIFAR-FS.
const TEST_SHARE: usize = 6;

/// Any folder of images laid out as `train/class/image` and `test/class/image`.
///
/// **Conventions** classes and images come in the order of their names; the normalisation is measured on the training
/// images.
///
/// **Errors** [`Error::NotFound`] where a folder is missing, [`Error::EmptyClass`], [`Error::UnreadableImage`],
/// [`Error::MixedSizes`] where images differ in size and `form` has none, [`Error::Inconsistent`] where the two parts
/// have different classes.
pub fn load_folder(path: &Path, form: Form) -> Result<Dataset> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let [train, test] = ["train", "test"].map(|part| path.join(part));
    let classes = folder::classes(&existing(&train)?)?;
    let tested = folder::classes(&existing(&test)?)?;
    if tested != classes {
        return Err(Error::Inconsistent {
            dataset: path.display().to_string(),
            what: "classes of test",
            expected: format!("{classes:?}, as in train"),
            got: format!("{tested:?}"),
        });
    }
    let mut collector = Collector::new(form);
    let mut labels = folder::read(&train, &classes, &mut collector)?;
    let count = labels.len();
    labels.extend(folder::read(&test, &classes, &mut collector)?);
    let all = collected(&name, collector, labels, classes)?;
    let train = all.range(0..count);
    let normalisation = train.measure_normalisation()?;
    let test = all.range(count..all.len());
    Ok(Dataset { name, train, test, normalisation, split: None, files: record(path) })
}

/// A data set of the registry whose images lie in a folder.
pub(super) fn read_folder(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given(entry, source)?;
    let split = entry.class_split()?;
    let classes: Vec<String> = split
        .iter()
        .flat_map(|split| split.train().iter().chain(split.validation()).chain(split.test()).cloned())
        .collect();
    let parts = ["", "train", "val", "validation", "test", "images"];
    let mut collector = Collector::new(entry.form());
    let mut labels = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let places: Vec<PathBuf> = parts.iter().map(|part| root.join(part)).collect();
        let Some(place) = places.iter().find(|place| place.join(class).is_dir()) else {
            return Err(Error::NotFound {
                what: format!("class {class} of {}", entry.name),
                looked_at: places.iter().map(|place| place.join(class).display().to_string()).collect(),
                hint: "lay images out as class/image or split/class/image".to_owned(),
            });
        };
        let read = folder::read(place, std::slice::from_ref(class), &mut collector)?;
        labels.extend(read.iter().map(|_| label as u32));
    }
    let all = collected(entry.name, collector, labels, classes)?;
    divided(entry, &all, entry.normalisation()?, root)
}

/// Omniglot, from whatever of its archives or folders is there.
pub(super) fn read_omniglot(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given(entry, source)?;
    let mut characters = omniglot::Characters::new();
    let mut archives: Vec<PathBuf> = match root.is_file() {
        true => vec![root.to_owned()],
        false => {
            let entries = std::fs::read_dir(root).map_err(Error::io("list", root))?;
            let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
            paths.filter(|path| path.extension().is_some_and(|extension| extension == "zip")).collect()
        }
    };
    archives.sort();
    match archives.is_empty() {
        true => omniglot::open_folder(root, &mut characters)?,
        false => archives.iter().try_for_each(|archive| omniglot::open(archive, &mut characters))?,
    }
    if characters.is_empty() {
        return Err(Error::NotFound {
            what: "Omniglot".to_owned(),
            looked_at: vec![root.display().to_string()],
            hint: "put images_background.zip there, or folders alphabet/character/image.png".to_owned(),
        });
    }
    let mut collector = Collector::new(entry.form());
    let (labels, classes) = omniglot::read(&characters, &mut collector)?;
    let all = collected(entry.name, collector, labels, classes)?;
    divided(entry, &all, entry.normalisation()?, root)
}

/// The last images of each class are for testing.
fn divided(entry: &Entry, all: &LabelledImages, normalisation: Normalisation, root: &Path) -> Result<Dataset> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for positions in all.positions_by_class() {
        let (learn, try_on) = positions.split_at(positions.len() - positions.len() / TEST_SHARE);
        train.extend_from_slice(learn);
        test.extend_from_slice(try_on);
    }
    let (name, split) = (entry.name.to_owned(), entry.class_split()?);
    let (train, test) = (all.select(&train)?, all.select(&test)?);
    Ok(Dataset { name, train, test, normalisation, split, files: record(root) })
}

fn collected(name: &str, collector: Collector, labels: Vec<u32>, classes: Vec<String>) -> Result<LabelledImages> {
    let shape = collector.shape().ok_or_else(|| Error::NotFound {
        what: format!("images of {name}"),
        looked_at: Vec::new(),
        hint: "check the folder".to_owned(),
    })?;
    LabelledImages::new(name, collector.pixels, shape, labels, classes)
}

fn given<'a>(entry: &Entry, source: &'a Source) -> Result<&'a Path> {
    source.data_dir.as_deref().ok_or_else(|| Error::NotFound {
        what: entry.name.to_owned(),
        looked_at: Vec::new(),
        hint: "it cannot be downloaded here: give the folder that holds it with --data-dir".to_owned(),
    })
}

fn existing(path: &Path) -> Result<PathBuf> {
    match path.is_dir() {
        true => Ok(path.to_owned()),
        false => Err(Error::NotFound {
            what: "image folder".to_owned(),
            looked_at: vec![path.display().to_string()],
            hint: "lay images out as train/class/image and test/class/image".to_owned(),
        }),
    }
}

fn record(path: &Path) -> Vec<FileRecord> {
    vec![FileRecord { file: path.display().to_string(), sha256: None }]
}
