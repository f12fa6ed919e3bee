//! Folders of image files, one folder a class.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::decode::Collector;
use crate::{Error, Result};

/// Image files that are read and decoded together; bounds the memory of encoded images.
const FILES: usize = 1024;

/// The classes of a folder: the names of the folders in it that hold images, sorted.
///
/// **Errors** [`Error::NotFound`] where there is none, [`Error::EmptyClass`] where one has no file.
pub(crate) fn classes(folder: &Path) -> Result<Vec<String>> {
    let names: Vec<String> =
        children(folder)?.into_iter().filter(|(_, is_folder)| *is_folder).map(|(path, _)| name_of(&path)).collect();
    match names.is_empty() {
        true => Err(Error::NotFound {
            what: "class folders".to_owned(),
            looked_at: vec![folder.display().to_string()],
            hint: "lay images out as split/class/image, for example train/cat/1.png".to_owned(),
        }),
        false => Ok(names),
    }
}

/// The files of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassFiles {
    pub(crate) class: String,
    pub(crate) files: Vec<PathBuf>,
}

/// The files of these classes, each in the order of their names.
///
/// **Errors** [`Error::EmptyClass`]; [`Error::NotFound`] where folders lie in the place of images.
pub(crate) fn files(folder: &Path, classes: &[String]) -> Result<Vec<ClassFiles>> {
    let list = |class: &String| {
        let found = children(&folder.join(class))?;
        if let Some((deeper, _)) = found.iter().find(|(_, is_folder)| *is_folder) {
            return Err(Error::NotFound {
                what: format!("image files of the class `{class}`"),
                looked_at: vec![folder.join(class).display().to_string()],
                hint: format!(
                    "it holds the folder `{}`; lay images out as class/image, or as split/class/image with a split \
                     called train",
                    name_of(deeper)
                ),
            });
        }
        if found.is_empty() {
            return Err(Error::EmptyClass { dataset: folder.display().to_string(), class: class.clone() });
        }
        Ok(ClassFiles { class: class.clone(), files: found.into_iter().map(|(path, _)| path).collect() })
    };
    classes.iter().map(list).collect()
}

/// The files of a folder that begin with the name of a class; none where there is no such folder.
pub(crate) fn files_by_prefix(folder: &Path, classes: &[String]) -> Vec<ClassFiles> {
    let files = children(folder).unwrap_or_default();
    let own = |class: &String| {
        let files = files.iter().filter(|(path, is_folder)| !is_folder && name_of(path).starts_with(class.as_str()));
        ClassFiles { class: class.clone(), files: files.map(|(path, _)| path.clone()).collect() }
    };
    classes.iter().map(own).collect()
}

/// Appends the images of these files.
///
/// **Errors** [`Error::UnreadableImage`] with the file as its context, [`Error::MixedSizes`], [`Error::Io`].
pub(crate) fn read(files: &[PathBuf], collector: &mut Collector) -> Result<()> {
    for block in files.chunks(FILES) {
        let load = |path: &PathBuf| fs::read(path).map_err(Error::io("read", path));
        let encoded = block.par_iter().map(load).collect::<Result<Vec<_>>>()?;
        let place = |index: usize| (block.get(index).map_or_else(String::new, |path| path.display().to_string()), None);
        collector.extend(&encoded, &place)?;
    }
    Ok(())
}

/// What a folder holds and whether it is a folder itself, sorted, without hidden files.
fn children(folder: &Path) -> Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let entry = entry.map_err(Error::io("list", folder))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(Error::io("list", folder))?);
        if !name_of(&path).starts_with('.') {
            // A link counts as what it leads to.
            let is_folder = kind.is_dir() || (kind.is_symlink() && path.is_dir());
            found.push((path, is_folder));
        }
    }
    found.sort();
    Ok(found)
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
        let listed = files(folder.path(), &names).unwrap();
        assert_eq!(listed.iter().map(|class| class.files.len()).collect::<Vec<_>>(), [1, 2]);
        listed.iter().for_each(|class| read(&class.files, &mut collector).unwrap());
        assert_eq!(collector.shape(), Some([1, 2, 3]));
        let firsts: Vec<u8> = collector.into_pixels().chunks(6).map(|image| image[0]).collect();
        assert_eq!(firsts, [1, 2, 3]);
    }

    #[test]
    fn files_of_many_classes_in_one_folder_are_told_apart_by_prefix() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["n2_1.png", "n1_1.png", "n1_2.png", "x.png"] {
            write(folder.path(), name, [1, 1], 0);
        }
        let found = files_by_prefix(folder.path(), &["n1".to_owned(), "n3".to_owned()]);
        assert_eq!(found.iter().map(|class| class.files.len()).collect::<Vec<_>>(), [2, 0]);
        assert!(files_by_prefix(Path::new("/no/such/folder"), &["n1".to_owned()])[0].files.is_empty());
    }

    #[test]
    fn every_misfit_is_named_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(classes(folder.path()), Err(Error::NotFound { .. })));
        write(folder.path(), "a/1.png", [3, 2], 1);
        write(folder.path(), "a/2.png", [2, 2], 1);
        let try_read = |form| {
            let listed = files(folder.path(), &["a".to_owned()]).unwrap();
            read(&listed[0].files, &mut Collector::new(form))
        };
        let mixed = try_read(Form::default());
        assert!(
            matches!(&mixed, Err(Error::MixedSizes { context, row: None, .. }) if context.ends_with("2.png")),
            "{mixed:?}"
        );
        try_read(Form { size: Some([2, 2]), ..Form::default() }).unwrap();
        fs::write(folder.path().join("a/3.png"), b"no image").unwrap();
        let unreadable = try_read(Form { size: Some([2, 2]), ..Form::default() });
        assert!(matches!(&unreadable, Err(Error::UnreadableImage { context, .. }) if context.ends_with("3.png")));
        fs::create_dir(folder.path().join("b")).unwrap();
        let empty = files(folder.path(), &["b".to_owned()]);
        assert!(matches!(empty, Err(Error::EmptyClass { class, .. }) if class == "b"));
        // Parts under names that are none.
        write(folder.path(), "trian/cat/1.png", [3, 2], 1);
        let deeper = files(folder.path(), &["trian".to_owned()]);
        let message = deeper.as_ref().unwrap_err().to_string();
        assert!(matches!(deeper, Err(Error::NotFound { .. })) && message.contains("the folder `cat`"), "{message}");
    }
}
