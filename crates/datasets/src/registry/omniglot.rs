//! Omniglot, from its archives or from the folders in them.

use std::path::{Path, PathBuf};

use super::class_lists;
use super::entry::Entry;
use super::image_files::{given_folder, labelled};
use super::split::with_test_split_off;
use crate::decode::Collector;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::omniglot::{self, Characters};
use crate::{ClassSplit, Dataset, Error, FileRecord, Result, Source, files};

/// The files of Omniglot in a folder.
enum Files {
    Archives(Vec<PathBuf>),
    Images(Vec<PathBuf>),
}

impl Files {
    fn find(root: &Path) -> Result<Self> {
        let archives = omniglot::archives(root)?;
        if archives.is_empty() { Ok(Self::Images(omniglot::images(root)?)) } else { Ok(Self::Archives(archives)) }
    }

    fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Archives(paths) | Self::Images(paths) => paths,
        }
    }

    fn characters(&self) -> Result<Characters> {
        let mut characters = Characters::default();
        match self {
            Self::Archives(paths) => paths.iter().try_for_each(|path| characters.add_archive(path))?,
            Self::Images(paths) => paths.iter().try_for_each(|path| characters.add_image(path))?,
        }
        Ok(characters)
    }

    fn records(&self, root: &Path) -> Result<Vec<FileRecord>> {
        let record = |path: &Path, sha256| FileRecord { file: path.display().to_string(), sha256 };
        match self {
            Self::Archives(paths) => paths.iter().map(|path| Ok(record(path, Some(files::sha256(path)?)))).collect(),
            Self::Images(_) => Ok(vec![record(root, None)]),
        }
    }
}

/// The class lists of the alphabets in the folder, without reading their images.
pub(super) fn lists(entry: &Entry, source: &Source) -> Result<Option<ClassSplit>> {
    let classes = match Files::find(given_folder(entry, source)?)? {
        Files::Archives(archives) => omniglot::classes(&archives, &[])?,
        Files::Images(images) => omniglot::classes(&[], &images)?,
    };
    class_lists::omniglot(&classes)
}

pub(super) fn read(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given_folder(entry, source)?;
    let files = Files::find(root)?;
    if files.paths().is_empty() {
        return Err(Error::NotFound {
            what: "Omniglot".to_owned(),
            looked_at: vec![root.display().to_string()],
            hint: "put images_background.zip there, or folders alphabet/character/image.png".to_owned(),
        });
    }
    let input = |path: &PathBuf| Input { name: String::new(), path: path.clone(), sha256: None };
    let inputs = Inputs { recipe: "omniglot".to_owned(), files: files.paths().iter().map(input).collect() };
    let decoded = decoded::cached(source, &inputs, || {
        let mut collector = Collector::new(entry.form());
        let (labels, classes) = files.characters()?.read(&mut collector)?;
        let all = labelled(entry.name, collector, labels, classes)?;
        Ok(Decoded { parts: [all.len(), 0, 0], all, normalisation: None, files: files.records(root)? })
    })?;
    let dataset = decoded.dataset(entry.name, Some(entry.normalisation()?))?;
    with_test_split_off(Dataset { split: class_lists::omniglot(dataset.train.classes())?, ..dataset })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::GrayImage;

    use super::*;
    use crate::Hub;

    #[test]
    fn omniglots_background_and_evaluation_alphabets_are_its_class_lists() {
        let folder = tempfile::tempdir().unwrap();
        for (part, class) in [("images_background", "Greek/character01"), ("images_evaluation", "Keble/character01")] {
            let place = folder.path().join(part).join(class);
            fs::create_dir_all(&place).unwrap();
            for number in 1..=6u8 {
                GrayImage::from_fn(3, 2, |x, _| image::Luma([number + x as u8]))
                    .save(place.join(format!("{number}.png")))
                    .unwrap();
            }
        }
        let entry = Entry { shape: [1, 2, 3], ..crate::find("omniglot").unwrap().clone() };
        let source = Source::of_hub(Hub::new("", "")).with_data_dir(folder.path());
        let data = read(&entry, &source).unwrap();
        let split = data.class_split().unwrap();
        assert_eq!((&split.train()[0][..], &split.test()[0][..]), ("Greek/character01", "Keble/character01"));
        assert_eq!(crate::class_split("omniglot", &source).unwrap().as_ref(), Some(split));
        assert_eq!(data.target_classes().unwrap().train.len(), 5);
        fs::remove_dir_all(folder.path().join("images_evaluation")).unwrap();
        assert_eq!(crate::class_split("omniglot", &source).unwrap(), None);
        let nowhere = crate::class_split("omniglot", &Source::of_hub(Hub::new("", "")));
        assert!(matches!(nowhere, Err(Error::NotFound { .. })));
    }
}
