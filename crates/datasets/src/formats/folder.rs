//! Folders of image files.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::decode::{Collector, ImagePlace};
use crate::{Error, Result, files};

/// The number of image files that are read and decoded together. It bounds the memory of encoded images.
const FILES: usize = 1024;

/// File names with these endings are images, readable or not.
const IMAGE_ENDINGS: [&str; 18] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "avif",
    "heic", "jp2", "tga",
];

/// Files with these endings are incomplete, whatever their first bytes are.
const PARTIAL_ENDINGS: [&str; 6] = ["part", "partial", "crdownload", "download", "tmp", "temp"];

/// Folders that programs create beside the user's.
const FOREIGN_FOLDERS: [&str; 4] = ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"];

/// Files that were left out because they are no images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) count: usize,
    /// The first of them, for messages.
    examples: Vec<String>,
}

impl Skipped {
    fn add(&mut self, path: &Path) {
        const EXAMPLES: usize = 3;
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(name_of(path));
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        let missing = 3usize.saturating_sub(self.examples.len());
        self.count += other.count;
        self.examples.extend(other.examples.iter().take(missing).cloned());
    }

    /// The number of files and the names of the first ones.
    pub(crate) fn describe(&self) -> String {
        let more = if self.count > self.examples.len() { ", …" } else { "" };
        let files = if self.count == 1 { "file that is not an image" } else { "files that are not images" };
        format!("{} {files} ({}{more})", self.count, self.examples.join(", "))
    }
}

/// The contents of a folder, each list sorted by path.
#[derive(Debug, Default)]
struct Contents {
    folders: Vec<PathBuf>,
    images: Vec<PathBuf>,
    skipped: Skipped,
}

/// The classes of a folder: the names of its folders, sorted. Hidden folders and those of other programs do not count.
///
/// **Errors** [`Error::NotFound`] if there is none, or if the folder holds images and none of its folders does.
pub(crate) fn classes(folder: &Path) -> Result<Vec<String>> {
    let Contents { folders, images, .. } = contents(folder)?;
    let names: Vec<String> = folders.iter().map(|path| name_of(path)).collect();
    let hint = match (names.is_empty(), images.len()) {
        (true, 0) => "lay images out as split/class/image, for example train/cat/1.png".to_owned(),
        (true, count) => {
            format!("it holds {count} images without classes: lay them out as class/image, or read them without labels")
        }
        (false, 0) => return Ok(names),
        (false, count) => {
            for folder in &folders {
                if !images_below(folder)?.0.is_empty() {
                    return Ok(names);
                }
            }
            format!(
                "it holds {count} images, and no folder in it ({}) holds any, so none is a class: move these folders away to \
                 read the images without labels, or lay the images out as class/image",
                names.join(", ")
            )
        }
    };
    Err(Error::NotFound { what: "class folders".to_owned(), looked_at: vec![folder.display().to_string()], hint })
}

/// Whether a folder has folders that count as classes; see [`classes`].
pub(crate) fn has_folders(folder: &Path) -> Result<bool> {
    Ok(!contents(folder)?.folders.is_empty())
}

/// The image files of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassFiles {
    pub(crate) class: String,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) skipped: Skipped,
}

/// The image files of these classes, each sorted by name.
///
/// **Errors** [`Error::EmptyClass`]; [`Error::NotFound`] if a class folder holds folders, or files but no image.
pub(crate) fn files(folder: &Path, classes: &[String]) -> Result<Vec<ClassFiles>> {
    classes.iter().map(|class| class_files(folder, class)).collect()
}

fn class_files(folder: &Path, class: &str) -> Result<ClassFiles> {
    let place = folder.join(class);
    let Contents { folders, images, skipped } = contents(&place)?;
    let not_found = |hint: String| Error::NotFound {
        what: format!("image files of the class `{class}`"),
        looked_at: vec![place.display().to_string()],
        hint,
    };
    if let Some(deeper) = folders.first() {
        return Err(not_found(format!(
            "it holds the folder `{}`; lay images out as class/image, or as split/class/image with a split called train",
            name_of(deeper)
        )));
    }
    match (images.is_empty(), skipped.count) {
        (true, 0) => Err(Error::EmptyClass { dataset: folder.display().to_string(), class: class.to_owned() }),
        (true, _) => Err(not_found(format!("it holds only {}", skipped.describe()))),
        (false, _) => Ok(ClassFiles { class: class.to_owned(), files: images, skipped }),
    }
}

/// The image files of a folder whose names begin with the name of a class; none if the folder does not exist.
pub(crate) fn files_by_prefix(folder: &Path, classes: &[String]) -> Vec<ClassFiles> {
    let images = contents(folder).unwrap_or_default().images;
    let own = |class: &String| {
        let files = images.iter().filter(|path| name_of(path).starts_with(class.as_str())).cloned().collect();
        ClassFiles { class: class.clone(), files, skipped: Skipped::default() }
    };
    classes.iter().map(own).collect()
}

/// All image files below a folder, sorted by path, and the files that are no images.
pub(crate) fn images_below(root: &Path) -> Result<(Vec<PathBuf>, Skipped)> {
    let (mut pending, mut visited) = (vec![root.to_owned()], HashSet::new());
    let (mut images, mut skipped) = (Vec::new(), Skipped::default());
    while let Some(folder) = pending.pop() {
        // Links can form circles.
        if visited.insert(fs::canonicalize(&folder).map_err(Error::io("list", &folder))?) {
            let contents = contents(&folder)?;
            pending.extend(contents.folders);
            images.extend(contents.images);
            skipped.join(&contents.skipped);
        }
    }
    images.sort();
    Ok((images, skipped))
}

/// Appends the images of these files.
///
/// **Errors** [`Error::UnreadableImage`] with the file as its context, [`Error::MixedSizes`], [`Error::Io`].
pub(crate) fn read(paths: &[PathBuf], collector: &mut Collector) -> Result<()> {
    for block in paths.chunks(FILES) {
        let encoded = block.par_iter().map(|path| files::read_input(path)).collect::<Result<Vec<_>>>()?;
        let context = |index: usize| block.get(index).map_or_else(String::new, |path| path.display().to_string());
        collector.extend(&encoded, &|index| ImagePlace { context: context(index), row: None })?;
    }
    Ok(())
}

/// **Errors** [`Error::NotRegularFile`] for a pipe, socket or device; [`Error::Io`].
fn contents(folder: &Path) -> Result<Contents> {
    let mut contents = Contents::default();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        paths.push(entry.map_err(Error::io("list", folder))?.path());
    }
    paths.sort();
    for path in paths {
        let name = name_of(&path);
        // A link counts as its target.
        match path.is_dir() {
            true if name.starts_with('.') || FOREIGN_FOLDERS.contains(&name.as_str()) => {}
            true => contents.folders.push(path),
            false if is_image(&path, &name)? => contents.images.push(path),
            false => contents.skipped.add(&path),
        }
    }
    Ok(contents)
}

/// Whether a file is an image: by its ending, else by its first bytes. A broken link is classified by its name, so that
/// reading it reports the error.
fn is_image(path: &Path, name: &str) -> Result<bool> {
    let exists = files::is_input(path)?;
    if name.starts_with('.') || name.ends_with('~') {
        return Ok(false);
    }
    let ending = name.rsplit_once('.').map_or_else(String::new, |(_, ending)| ending.to_ascii_lowercase());
    if PARTIAL_ENDINGS.contains(&ending.as_str()) {
        return Ok(false);
    }
    Ok(IMAGE_ENDINGS.contains(&ending.as_str()) || (exists && begins_as_image(path)?))
}

/// Whether the first bytes are those of a PNG, JPEG or WebP file.
fn begins_as_image(path: &Path) -> Result<bool> {
    use std::io::Read;

    let mut start = Vec::new();
    files::open_input(path)?.take(12).read_to_end(&mut start).map_err(Error::io("read", path))?;
    let webp = start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP");
    Ok(start.starts_with(b"\x89PNG\r\n\x1a\n") || start.starts_with(b"\xff\xd8\xff") || webp)
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
    fn classes_and_files_are_sorted_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in
            [("b/2.png", 3), ("a/1.png", 1), ("b/1.png", 2), (".hidden/1.png", 9), ("__MACOSX/1.png", 9)]
        {
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
    fn files_that_are_no_images_are_skipped_and_counted_and_images_never_are() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a");
        write(folder.path(), "a/1.png", [1, 1], 0);
        let png = fs::read(place.join("1.png")).unwrap();
        let others = [
            "Thumbs.db",
            "desktop.ini",
            "notes.txt",
            ".DS_Store",
            "._1.png",
            ".hidden.png",
            "list.csv",
            "1.png~",
            "empty",
            "2.png.part",
            "3.jpg.crdownload",
            "4.tmp",
        ];
        for name in others {
            // The endings decide for hidden and partial files, also if their bytes are those of an image.
            let bytes: &[u8] = if name.contains("png") || name.contains("tmp") { &png } else { b"" };
            fs::write(place.join(name), bytes).unwrap();
        }
        // Images by their bytes, in upper case, and in formats that cannot be read: reading those is an error.
        for name in ["image", "image.JPEG", "5.dat", "6.bmp", "7.GIF", "corrupt.png"] {
            fs::write(place.join(name), if name == "corrupt.png" { b"" } else { &png[..] }).unwrap();
        }
        let listed = &files(folder.path(), &["a".to_owned()]).unwrap()[0];
        let names: Vec<String> = listed.files.iter().map(|path| name_of(path)).collect();
        assert_eq!(names, ["1.png", "5.dat", "6.bmp", "7.GIF", "corrupt.png", "image", "image.JPEG"]);
        assert_eq!(listed.skipped.count, others.len());
        let text = listed.skipped.describe();
        assert_eq!(text, "12 files that are not images (.DS_Store, ._1.png, .hidden.png, …)");
        assert!(matches!(
            read(&listed.files, &mut Collector::new(Form::default())),
            Err(Error::UnreadableImage { .. })
        ));
    }

    #[test]
    fn a_class_folder_without_images_is_named_with_its_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        let empty = files(folder.path(), &["b".to_owned()]);
        assert!(matches!(empty, Err(Error::EmptyClass { class, .. }) if class == "b"));
        fs::write(folder.path().join("b/notes.txt"), b"").unwrap();
        let message = files(folder.path(), &["b".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("1 file that is not an image (notes.txt)"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_among_the_images_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/1.png", [1, 1], 0);
        for name in ["a/2.png", "a/.hidden"] {
            let pipe = folder.path().join(name);
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            let failed = files(folder.path(), &["a".to_owned()]);
            assert!(matches!(&failed, Err(Error::NotRegularFile { path, .. }) if *path == pipe), "{failed:?}");
            assert!(matches!(images_below(folder.path()), Err(Error::NotRegularFile { .. })));
            fs::remove_file(pipe).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn images_below_a_folder_are_found_once_at_any_depth_also_where_links_form_a_circle() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["2.png", "a/1.png", "a/b/3.png"] {
            write(folder.path(), name, [1, 1], 0);
        }
        fs::write(folder.path().join("a/readme.md"), b"text").unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/circle")).unwrap();
        let (images, skipped) = images_below(folder.path()).unwrap();
        let names: Vec<&Path> = images.iter().map(|path| path.strip_prefix(folder.path()).unwrap()).collect();
        assert_eq!((names, skipped.count), (["2.png", "a/1.png", "a/b/3.png"].map(Path::new).to_vec(), 1));
    }

    #[test]
    fn files_of_several_classes_in_one_folder_are_assigned_by_prefix() {
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
        // A misspelt name of a split.
        write(folder.path(), "trian/cat/1.png", [3, 2], 1);
        let deeper = files(folder.path(), &["trian".to_owned()]);
        let message = deeper.as_ref().unwrap_err().to_string();
        assert!(matches!(deeper, Err(Error::NotFound { .. })) && message.contains("the folder `cat`"), "{message}");
    }
}
