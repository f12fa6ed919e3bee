//! Data sets in folders of images, laid out by part and class.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::image_files::{ImageFiles, name_of_folder};
use super::split::with_test_split_off;
use crate::formats::folder;
use crate::{ClassSplit, Dataset, Error, Form, Hub, Result, Source};

/// The folder names of the training, validation and test part, the usual one first.
const PARTS: [&[&str]; 3] = [&["train"], &["val", "validation", "valid"], &["test"]];

/// Loads a folder of images laid out as `train/class/image`, `test/class/image` and optionally `val/class/image`.
///
/// **Conventions** classes and images are sorted by name; the normalisation is measured on the training images. Without
/// `test`, `val` is the test part. Without both, and for `class/image`, the last sixth of each class is the test part. If
/// the parts share no class, they are class lists for transfer ([`Dataset::split`]). Hidden files and files that are no
/// images (`Thumbs.db`, `notes.txt`) are skipped and counted ([`Dataset::skipped_files`]).
///
/// **Errors** [`Error::NotFound`] if there are no class folders, [`Error::EmptyClass`], [`Error::UnreadableImage`],
/// [`Error::MixedSizes`] if images differ in size and `form` has none, [`Error::Inconsistent`] if the parts share
/// some of their classes but not all.
pub fn load_folder(path: &Path, form: Form) -> Result<Dataset> {
    form.check()?;
    read(path, &Source { form, ..Source::of_hub(Hub::new("", "")) })
}

/// A part of a data set and its classes.
#[derive(Clone)]
struct PartFolder {
    path: PathBuf,
    classes: Vec<String>,
}

/// As [`load_folder`], with the decoded cache of the source.
pub(super) fn read(path: &Path, source: &Source) -> Result<Dataset> {
    let name = name_of_folder(path);
    let parts = parts(path)?;
    let Some(train) = parts.first() else {
        let classes = folder::classes(path)?;
        return of_one_part(&name, folder::files(path, &classes)?, source);
    };
    if let Some(split) = split_by_class(&parts)? {
        let mut all = Vec::new();
        for part in &parts {
            all.extend(folder::files(&part.path, &part.classes)?);
        }
        return Ok(Dataset { split: Some(split), ..of_one_part(&name, all, source)? });
    }
    if let Some(part) = parts.iter().find(|part| part.classes != train.classes) {
        return Err(Error::Inconsistent {
            dataset: part.path.display().to_string(),
            what: "classes",
            expected: format!("those of {}, or none of them", train.path.display()),
            got: difference(&train.classes, &part.classes),
        });
    }
    let listed = parts.iter().map(|part| folder::files(&part.path, &part.classes)).collect::<Result<Vec<_>>>()?;
    let counts: Vec<usize> = listed.iter().map(|files| files.iter().map(|class| class.files.len()).sum()).collect();
    let counts = match counts[..] {
        [train, validation, test] => [train, validation, test],
        [train, test] => [train, 0, test],
        _ => [counts.iter().sum(), 0, 0],
    };
    let images = ImageFiles {
        name: &name,
        files: listed.into_iter().flatten().collect(),
        classes: train.classes.clone(),
        parts: counts,
        form: source.form,
        measure: true,
    };
    let dataset = dataset(&images, source)?;
    if counts[2] == 0 { with_test_split_off(dataset) } else { Ok(dataset) }
}

fn of_one_part(name: &str, files: Vec<folder::ClassFiles>, source: &Source) -> Result<Dataset> {
    let images = ImageFiles::in_one_part(name, files, source.form, true);
    with_test_split_off(dataset(&images, source)?)
}

fn dataset(images: &ImageFiles<'_>, source: &Source) -> Result<Dataset> {
    let dataset = images.read(source)?.dataset(images.name, None)?;
    Ok(Dataset { skipped_files: images.skipped().count, ..dataset })
}

/// The folders of the parts with their classes; none without a training part.
fn parts(path: &Path) -> Result<Vec<PartFolder>> {
    let [train, validation, test] =
        PARTS.map(|names| names.iter().map(|name| path.join(name)).find(|part| part.is_dir()));
    let found = if train.is_none() { [None, None, None] } else { [train, validation, test] };
    let part = |path: PathBuf| Ok(PartFolder { classes: folder::classes(&path)?, path });
    found.into_iter().flatten().map(part).collect()
}

/// The class lists of a folder whose parts share no class, without reading its images.
pub(super) fn lists(path: &Path) -> Result<Option<ClassSplit>> {
    split_by_class(&parts(path)?)
}

/// The class lists if two or more parts share no class.
fn split_by_class(parts: &[PartFolder]) -> Result<Option<ClassSplit>> {
    let mut seen = HashSet::new();
    let disjoint = parts.iter().flat_map(|part| &part.classes).all(|class| seen.insert(class));
    match parts {
        [train, validation, test] if disjoint => {
            Ok(Some(ClassSplit::new(&train.classes, &validation.classes, &test.classes)?))
        }
        [train, test] if disjoint => Ok(Some(ClassSplit::new(&train.classes, &[] as &[String], &test.classes)?)),
        _ => Ok(None),
    }
}

fn difference(expected: &[String], got: &[String]) -> String {
    let lacking = expected.iter().find(|class| !got.contains(class)).map(|class| format!("`{class}` is missing"));
    let surplus = got.iter().find(|class| !expected.contains(class)).map(|class| format!("`{class}` is new"));
    [lacking, surplus].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
