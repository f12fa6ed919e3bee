//! Data sets from folders that the user gives: image folders, mini-ImageNet, Omniglot.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::load::divided;
use super::tables::Tables;
use super::{Entry, repository, splits};
use crate::decode::Collector;
use crate::decoded::{self, Decoded, Input, Inputs};
use crate::formats::folder::{self, ClassFiles};
use crate::formats::omniglot;
use crate::{ClassSplit, Dataset, Error, FileRecord, Form, Hub, LabelledImages, Result, Source};

/// The names of the folders of each part, the usual one first.
const PARTS: [&[&str]; 3] = [&["train"], &["val", "validation", "valid"], &["test"]];

/// Any folder of images laid out as `train/class/image`, `test/class/image` and, if there is one, `val/class/image`.
///
/// **Conventions** classes and images come in the order of their names; the normalisation is measured on the training
/// images. Without `test`, `val` takes its place; without both, and for `class/image`, the last sixth of each class.
/// Where the parts share no class, they are the class lists of a transfer ([`Dataset::split`]).
///
/// **Errors** [`Error::NotFound`] where there are no class folders, [`Error::EmptyClass`], [`Error::UnreadableImage`],
/// [`Error::MixedSizes`] where images differ in size and `form` has none, [`Error::Inconsistent`] where the parts share
/// some of their classes but not all.
pub fn load_folder(path: &Path, form: Form) -> Result<Dataset> {
    read(path, &Source { form, ..Source::of_hub(Hub::new("", "")) })
}

/// As [`load_folder`], with the decoded cache of the source.
pub(super) fn read(path: &Path, source: &Source) -> Result<Dataset> {
    // `.` and `..` have no name of their own.
    let place = path.file_name().is_none().then(|| std::fs::canonicalize(path).ok()).flatten();
    let name = place.as_deref().unwrap_or(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = parts(path)?;
    let Some((train, classes)) = files.first().cloned() else {
        // No parts: one folder a class.
        let classes = folder::classes(path)?;
        let files = folder::files(path, &classes)?;
        return divided(decode(&name, files, None, source)?);
    };
    if let Some(split) = split_by_class(&files)? {
        let mut all = Vec::new();
        for (part, classes) in &files {
            all.extend(folder::files(part, classes)?);
        }
        return Ok(Dataset { split: Some(split), ..divided(decode(&name, all, None, source)?)? });
    }
    if let Some((part, other)) = files.iter().find(|(_, other)| *other != classes) {
        return Err(Error::Inconsistent {
            dataset: part.display().to_string(),
            what: "classes",
            expected: format!("those of {}, or none of them", train.display()),
            got: difference(&classes, other),
        });
    }
    let listed = files.iter().map(|(part, classes)| folder::files(part, classes)).collect::<Result<Vec<_>>>()?;
    let counts: Vec<usize> = listed.iter().map(|files| files.iter().map(|class| class.files.len()).sum()).collect();
    let parts = match counts[..] {
        [train, validation, test] => [train, validation, test],
        [train, test] => [train, 0, test],
        _ => [counts.iter().sum(), 0, 0],
    };
    let dataset = decode(&name, listed.into_iter().flatten().collect(), Some((classes, parts)), source)?;
    if parts[2] == 0 { divided(dataset) } else { Ok(dataset) }
}

/// The folders of the parts that there are, with the classes of each; nothing where there is none to learn from.
fn parts(path: &Path) -> Result<Vec<(PathBuf, Vec<String>)>> {
    let [train, validation, test] =
        PARTS.map(|names| names.iter().map(|name| path.join(name)).find(|part| part.is_dir()));
    let found = if train.is_none() { [None, None, None] } else { [train, validation, test] };
    found.into_iter().flatten().map(|part| Ok((part.clone(), folder::classes(&part)?))).collect()
}

/// The class lists that a folder's parts are, before its images are read.
pub(super) fn lists(path: &Path) -> Result<Option<ClassSplit>> {
    split_by_class(&parts(path)?)
}

/// The class lists of what there is of Omniglot, before its images are read.
pub(super) fn omniglot_lists(entry: &Entry, source: &Source) -> Result<Option<ClassSplit>> {
    let root = given(entry, source)?;
    let archives = omniglot::archives(root)?;
    let images = if archives.is_empty() { omniglot::images(root)? } else { Vec::new() };
    splits::omniglot(&omniglot::classes(&archives, &images)?)
}

/// The class lists, where two or more parts share no class.
fn split_by_class(parts: &[(PathBuf, Vec<String>)]) -> Result<Option<ClassSplit>> {
    let mut seen = HashSet::new();
    let disjoint = parts.iter().flat_map(|(_, classes)| classes).all(|class| seen.insert(class));
    match parts {
        [(_, train), (_, validation), (_, test)] if disjoint => Ok(Some(ClassSplit::new(train, validation, test)?)),
        [(_, train), (_, test)] if disjoint => Ok(Some(ClassSplit::new(train, &[] as &[String], test)?)),
        _ => Ok(None),
    }
}

fn difference(expected: &[String], got: &[String]) -> String {
    let lacking = expected.iter().find(|class| !got.contains(class)).map(|class| format!("`{class}` is not there"));
    let surplus = got.iter().find(|class| !expected.contains(class)).map(|class| format!("`{class}` is new"));
    [lacking, surplus].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Images of image files. Without class names and counts, each list of files is a class of its own, in one part.
fn decode(
    name: &str,
    files: Vec<ClassFiles>,
    classes: Option<(Vec<String>, [usize; 3])>,
    source: &Source,
) -> Result<Dataset> {
    read_files(name, files, classes, (source.form, true), source)?.dataset(name, None)
}

fn read_files(
    name: &str,
    files: Vec<ClassFiles>,
    classes: Option<(Vec<String>, [usize; 3])>,
    (form, measure): (Form, bool),
    source: &Source,
) -> Result<Decoded> {
    let count = files.iter().map(|class| class.files.len()).sum();
    let (classes, parts) =
        classes.unwrap_or_else(|| (files.iter().map(|class| class.class.clone()).collect(), [count, 0, 0]));
    let named = |class: &ClassFiles| {
        let input = |path: &PathBuf| Input { name: class.class.clone(), path: path.clone(), sha256: None };
        class.files.iter().map(input).collect::<Vec<_>>()
    };
    let inputs = Inputs {
        recipe: format!("files {:?}", (name, &classes, parts, form)),
        files: files.iter().flat_map(named).collect(),
    };
    decoded::cached(source, &inputs, || {
        let mut collector = Collector::new(form);
        let bytes = inputs.files.iter().filter_map(|file| Some(std::fs::metadata(&file.path).ok()?.len())).sum();
        collector.expect(count, bytes);
        let mut labels = Vec::with_capacity(count);
        for class in &files {
            let label = classes.iter().position(|name| *name == class.class).unwrap_or(classes.len());
            folder::read(&class.files, &mut collector)?;
            labels.extend(class.files.iter().map(|_| label as u32));
        }
        let all = collected(name, collector, labels, classes.clone())?;
        let normalisation = measure.then(|| all.range(0..parts[0]).measure_normalisation()).transpose()?;
        let folders = files.iter().filter_map(|class| class.files.first()?.parent());
        let record = |folder: &Path| FileRecord { file: folder.display().to_string(), sha256: None };
        Ok(Decoded { all, parts, normalisation, files: folders.map(record).collect() })
    })
}

/// mini-ImageNet, from parquet files or from image files in folders by class, by part and class, or all in one.
pub(super) fn read_mini_imagenet(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given(entry, source)?;
    let split = entry.class_split()?;
    let lists = split.iter().flat_map(|split| split.train().iter().chain(split.validation()).chain(split.test()));
    let classes: Vec<String> = lists.cloned().collect();
    let tables = repository::tables_below(root)?;
    let normalisation = entry.normalisation()?;
    let dataset = if tables.is_empty() {
        let files = mini_imagenet_files(entry, root, &classes)?;
        read_files(entry.name, files, None, (entry.form(), false), source)?.dataset(entry.name, Some(normalisation))?
    } else {
        let (image, label) = (source.image_column.as_deref(), source.label_column.as_deref());
        let parts = [tables, Vec::new(), Vec::new()];
        let tables = Tables { name: entry.name, parts, image, label, form: entry.form(), names: None };
        let whole = tables.read(source, Some(normalisation))?;
        let all = whole.all()?.subset_class_names(&classes)?;
        Dataset { test: all.select(&[])?, train: all, ..whole }
    };
    divided(Dataset { split, ..dataset })
}

fn mini_imagenet_files(entry: &Entry, root: &Path, classes: &[String]) -> Result<Vec<ClassFiles>> {
    let parts: Vec<PathBuf> = ["", "train", "val", "validation", "test", "images"].map(|part| root.join(part)).to_vec();
    // All images in one folder, each file's name beginning with its class, as in the archive of the published lists.
    let together = parts.iter().map(|part| folder::files_by_prefix(part, classes)).collect::<Vec<_>>();
    let together = together.into_iter().find(|found| found.iter().any(|class| !class.files.is_empty()));
    let find = |(index, class): (usize, &String)| match parts.iter().find(|part| part.join(class).is_dir()) {
        Some(part) => folder::files(part, std::slice::from_ref(class)),
        None => match together.as_ref().map(|found| &found[index]).filter(|found| !found.files.is_empty()) {
            Some(found) => Ok(vec![found.clone()]),
            None => Err(Error::NotFound {
                what: format!("class {class} of {}", entry.name),
                looked_at: parts.iter().map(|part| part.join(class).display().to_string()).collect(),
                hint: "lay images out as class/image or split/class/image, or put its parquet files there".to_owned(),
            }),
        },
    };
    Ok(classes.iter().enumerate().map(find).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Omniglot, from whatever of its archives or folders is there.
pub(super) fn read_omniglot(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given(entry, source)?;
    let archives = omniglot::archives(root)?;
    let files = if archives.is_empty() { omniglot::images(root)? } else { archives.clone() };
    if files.is_empty() {
        return Err(Error::NotFound {
            what: "Omniglot".to_owned(),
            looked_at: vec![root.display().to_string()],
            hint: "put images_background.zip there, or folders alphabet/character/image.png".to_owned(),
        });
    }
    let input = |path: &PathBuf| Input { name: String::new(), path: path.clone(), sha256: None };
    let inputs = Inputs { recipe: "omniglot".to_owned(), files: files.iter().map(input).collect() };
    let decoded = decoded::cached(source, &inputs, || {
        let mut characters = omniglot::Characters::default();
        match archives.is_empty() {
            true => files.iter().try_for_each(|path| characters.add_image(path))?,
            false => archives.iter().try_for_each(|archive| characters.add_archive(archive))?,
        }
        let mut collector = Collector::new(entry.form());
        let (labels, classes) = characters.read(&mut collector)?;
        let all = collected(entry.name, collector, labels, classes)?;
        let recorded = if archives.is_empty() { vec![root.to_owned()] } else { archives.clone() };
        let files = recorded.iter().map(|path| {
            let sha256 = if path.is_file() { Some(crate::checksum::of_file(path)?) } else { None };
            Ok(FileRecord { file: path.display().to_string(), sha256 })
        });
        Ok(Decoded { parts: [all.len(), 0, 0], all, normalisation: None, files: files.collect::<Result<_>>()? })
    })?;
    let dataset = decoded.dataset(entry.name, Some(entry.normalisation()?))?;
    divided(Dataset { split: splits::omniglot(dataset.train.classes())?, ..dataset })
}

fn collected(name: &str, collector: Collector, labels: Vec<u32>, classes: Vec<String>) -> Result<LabelledImages> {
    let shape = collector.shape().ok_or_else(|| Error::NotFound {
        what: format!("images of {name}"),
        looked_at: Vec::new(),
        hint: "check the folder".to_owned(),
    })?;
    LabelledImages::new(name, collector.into_pixels(), shape, labels, classes)
}

fn given<'a>(entry: &Entry, source: &'a Source) -> Result<&'a Path> {
    source.data_dir.as_deref().ok_or_else(|| Error::NotFound {
        what: entry.name.to_owned(),
        looked_at: Vec::new(),
        hint: "it cannot be downloaded here: give the folder that holds it with --data-dir".to_owned(),
    })
}

#[cfg(test)]
mod tests;
