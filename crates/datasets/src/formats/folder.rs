//! Folders of image files, one folder a class.

use std::fs;
use std::path::{Path, PathBuf};

use crate::decode::Collector;
use crate::{Error, Result};

/// Image files that are read and decoded together; bounds the memory of encoded images.
const FILES: usize = 1024;

/// The classes of a folder: the names of the folders in it that hold images, sorted.
///
/// **Errors** [`Error::NotFound`] where there is none, [`Error::EmptyClass`] where one has no file.
pub(crate) fn classes(folder: &Path) -> Result<Vec<String>> {
    let names: Vec<String> =
        children(folder)?.into_iter().filter(|path| path.is_dir()).map(|path| name_of(&path)).collect();
    match names.is_empty() {
        true => Err(Error::NotFound {
            what: "class folders".to_owned(),
            looked_at: vec![folder.display().to_string()],
            hint: "lay images out as split/class/image, for example train/cat/1.png".to_owned(),
        }),
        false => Ok(names),
    }
}

/// Appends the images of these classes, class by class and file by file in the order of their names.
///
/// **Errors** [`Error::EmptyClass`], [`Error::UnreadableImage`] with the file as its context, [`Error::MixedSizes`].
pub(crate) fn read(folder: &Path, classes: &[String], collector: &mut Collector) -> Result<Vec<u32>> {
    let mut labels = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let files = children(&folder.join(class))?;
        if files.is_empty() {
            return Err(Error::EmptyClass { dataset: folder.display().to_string(), class: class.clone() });
        }
        for block in files.chunks(FILES) {
            let load = |path: &PathBuf| fs::read(path).map_err(Error::io("read", path));
            let encoded = block.iter().map(load).collect::<Result<Vec<_>>>()?;
            collector.extend(&encoded, "", 0).map_err(|error| named(error, block))?;
        }
        labels.extend(files.iter().map(|_| label as u32));
    }
    Ok(labels)
}

/// The error with the file in place of its row in the block.
fn named(error: Error, block: &[PathBuf]) -> Error {
    let context = |row: usize| block.get(row).map_or_else(String::new, |path| path.display().to_string());
    match error {
        Error::UnreadableImage { row, reason, .. } => Error::UnreadableImage { context: context(row), row, reason },
        Error::MixedSizes { row, expected, got, .. } => Error::MixedSizes { context: context(row), row, expected, got },
        other => other,
    }
}

/// What a folder holds, sorted, without hidden files.
fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("list", folder)));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Form;
    use image::GrayImage;

    fn write(folder: &Path, name: &str, [width, height]: [u32; 2], value: u8) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(width, height, image::Luma([value])).save(path).unwrap();
    }

    #[test]
    fn classes_and_files_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [("b/2.png", 3), ("a/1.png", 1), ("b/1.png", 2), (".hidden/1.png", 9)] {
            write(folder.path(), name, [3, 2], value);
        }
        let names = classes(folder.path()).unwrap();
        assert_eq!(names, ["a", "b"]);
        let mut collector = Collector::new(Form::default());
        assert_eq!(read(folder.path(), &names, &mut collector).unwrap(), [0, 1, 1]);
        assert_eq!(collector.shape(), Some([1, 2, 3]));
        let firsts: Vec<u8> = collector.pixels.chunks(6).map(|image| image[0]).collect();
        assert_eq!(firsts, [1, 2, 3]);
    }

    #[test]
    fn every_misfit_is_named_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(classes(folder.path()), Err(Error::NotFound { .. })));
        write(folder.path(), "a/1.png", [3, 2], 1);
        write(folder.path(), "a/2.png", [2, 2], 1);
        let try_read = |form| read(folder.path(), &["a".to_owned()], &mut Collector::new(form));
        let mixed = try_read(Form::default());
        assert!(matches!(&mixed, Err(Error::MixedSizes { context, .. }) if context.ends_with("2.png")), "{mixed:?}");
        assert_eq!(try_read(Form { size: Some([2, 2]), ..Form::default() }).unwrap(), [0, 0]);
        fs::write(folder.path().join("a/3.png"), b"no image").unwrap();
        let unreadable = try_read(Form { size: Some([2, 2]), ..Form::default() });
        assert!(matches!(&unreadable, Err(Error::UnreadableImage { context, .. }) if context.ends_with("3.png")));
        fs::create_dir(folder.path().join("b")).unwrap();
        let empty = read(folder.path(), &["b".to_owned()], &mut Collector::new(Form::default()));
        assert!(matches!(empty, Err(Error::EmptyClass { class, .. }) if class == "b"));
    }
}
