//! Omniglot's zip files and their contents: handwritten characters as `…/alphabet/character/image.png`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use super::folder;
use crate::decode::{Collector, ImagePlace};
use crate::{Error, Result, files};

/// The largest accepted image file in bytes. Omniglot's have a few hundred.
const MAX_FILE: u64 = 1 << 20;

/// The largest accepted number of files in an archive. Omniglot has 32,460 images.
const MAX_FILES: usize = 200_000;

/// The largest accepted total of the image files in bytes. Omniglot has about 10 MB.
const MAX_TOTAL: u64 = 1 << 30;

/// Encoded images by class, `alphabet/character`, each in the order of the file names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Characters {
    images: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    bytes: u64,
}

impl Characters {
    /// Adds the images of an archive.
    ///
    /// **Errors** [`Error::Malformed`] for a broken archive, or one whose files are too large or too many.
    pub(crate) fn add_archive(&mut self, path: &Path) -> Result<()> {
        let file = files::open_input(path)?;
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), format: "zip", reason };
        self.add(BufReader::new(file)).map_err(malformed)
    }

    /// Adds the images of an archive.
    pub(crate) fn add(&mut self, archive: impl Read + Seek) -> std::result::Result<(), String> {
        let mut archive = ZipArchive::new(archive).map_err(|error| error.to_string())?;
        if archive.len() > MAX_FILES {
            return Err(format!("{} files, at most {MAX_FILES} are read", archive.len()));
        }
        for index in 0..archive.len() {
            let entry = archive.by_index(index).map_err(|error| error.to_string())?;
            let name = entry.name().map_err(|error| error.to_string())?.into_owned();
            let Some((class, image)) = place(&name) else { continue };
            // The declared size is checked before anything is read, and the real size while reading.
            let declared = entry.size();
            let mut bytes = Vec::new();
            if declared <= MAX_FILE {
                entry.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
            }
            let size = declared.max(bytes.len() as u64);
            if size > MAX_FILE {
                return Err(format!("{name} is larger than {MAX_FILE} bytes ({size})"));
            }
            self.insert(class, image, bytes)?;
        }
        Ok(())
    }

    fn insert(&mut self, class: String, image: String, bytes: Vec<u8>) -> std::result::Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > MAX_TOTAL {
            return Err(format!("its images have more than {MAX_TOTAL} bytes"));
        }
        self.images.entry(class).or_default().insert(image, bytes);
        Ok(())
    }

    /// Adds an image file.
    pub(crate) fn add_image(&mut self, path: &Path) -> Result<()> {
        if let Some((class, image)) = path.to_str().and_then(|path| place(&path.replace('\\', "/"))) {
            let bytes = files::read_input(path)?;
            let malformed = |reason| Error::Malformed { path: path.to_owned(), format: "Omniglot", reason };
            self.insert(class, image, bytes).map_err(malformed)?;
        }
        Ok(())
    }

    /// Appends all images to `collector`, class by class, and gives their labels and the class names.
    pub(crate) fn read(&self, collector: &mut Collector) -> Result<(Vec<u32>, Vec<String>)> {
        let images = self.images.values().map(BTreeMap::len).sum();
        collector.expect(images, self.bytes);
        let mut labels = Vec::new();
        for (label, (class, images)) in self.images.iter().enumerate() {
            let (names, encoded): (Vec<&String>, Vec<&[u8]>) =
                images.iter().map(|(name, bytes)| (name, bytes.as_slice())).unzip();
            let place = |index: usize| ImagePlace {
                context: format!("Omniglot, {class}/{}", names.get(index).map_or("", |name| name)),
                row: None,
            };
            collector.extend(&encoded, &place)?;
            labels.extend(images.keys().map(|_| label as u32));
        }
        Ok((labels, self.images.keys().cloned().collect()))
    }
}

/// The sorted classes of these files. Only the directories of archives are read.
pub(crate) fn classes(archives: &[PathBuf], images: &[PathBuf]) -> Result<Vec<String>> {
    let class = |name: &str| place(&name.replace('\\', "/")).map(|(class, _)| class);
    let mut found: BTreeSet<String> = images.iter().filter_map(|path| class(path.to_str()?)).collect();
    for path in archives {
        let archive = ZipArchive::new(BufReader::new(files::open_input(path)?));
        let archive = archive.map_err(|error| Error::Malformed {
            path: path.to_owned(),
            format: "zip",
            reason: error.to_string(),
        })?;
        found.extend(archive.file_names().filter_map(|name| class(&name.ok()?)));
    }
    Ok(found.into_iter().collect())
}

/// The archives of a folder, sorted. A path of a file is an archive itself.
pub(crate) fn archives(root: &Path) -> Result<Vec<PathBuf>> {
    if files::is_input(root)? {
        return Ok(vec![root.to_owned()]);
    }
    let entries = std::fs::read_dir(root).map_err(Error::io("list", root))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("list", root)));
    let mut archives = paths.collect::<Result<Vec<_>>>()?;
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "zip"));
    archives.sort();
    Ok(archives)
}

/// The images below a folder, `…/alphabet/character/image.png` at any depth, sorted.
pub(crate) fn images(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut images, _) = folder::images_below(root)?;
    images.retain(|path| path.to_str().is_some_and(|path| place(&path.replace('\\', "/")).is_some()));
    Ok(images)
}

/// The class and the file name of an image; none for other files and hidden ones.
fn place(name: &str) -> Option<(String, String)> {
    let mut parts = name.rsplit('/');
    let (image, character, alphabet) = (parts.next()?, parts.next()?, parts.next()?);
    let usable = image.ends_with(".png") && !image.starts_with('.') && !name.starts_with("__MACOSX");
    usable.then(|| (format!("{alphabet}/{character}"), image.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_and_file_are_the_last_parts_of_a_path() {
        let place = |name| place(name).map(|(class, _)| class);
        assert_eq!(place("images/Greek/character01/0394_01.png").as_deref(), Some("Greek/character01"));
        assert_eq!(place("Greek/character01/1.png").as_deref(), Some("Greek/character01"));
        assert_eq!(place("images/Greek/character01/"), None);
        assert_eq!(place("__MACOSX/Greek/character01/1.png"), None);
        assert_eq!(place("1.png"), None);
    }

    /// An archive with these files.
    fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
        use std::io::Write;
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        for (name, bytes) in files {
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn images_are_collected_by_class_and_other_files_are_ignored() {
        let mut characters = Characters::default();
        let files: [(&str, &[u8]); 4] =
            [("i/Greek/b/2.png", b"two"), ("i/Greek/b/1.png", b"one"), ("i/Greek/a/1.png", b"a"), ("readme.txt", b"x")];
        characters.add(std::io::Cursor::new(zipped(&files))).unwrap();
        let classes: Vec<_> = characters.images.keys().cloned().collect();
        assert_eq!(classes, ["Greek/a", "Greek/b"]);
        assert_eq!(characters.images["Greek/b"].keys().cloned().collect::<Vec<_>>(), ["1.png", "2.png"]);
    }

    #[test]
    fn a_file_that_expands_beyond_the_limit_is_refused() {
        let zeros = vec![0; MAX_FILE as usize + 1];
        let bomb = zipped(&[("a/b/1.png", &zeros)]);
        assert!(bomb.len() < 10_000);
        let refused = Characters::default().add(std::io::Cursor::new(bomb)).unwrap_err();
        assert!(refused.contains("larger than"), "{refused}");
        let mut full = Characters { bytes: MAX_TOTAL, ..Characters::default() };
        assert!(full.add(std::io::Cursor::new(zipped(&[("a/b/1.png", b"x")]))).is_err());
        // The declared sizes changed to 16 MB, in the file's own header and in the directory.
        let mut declared = zipped(&[("a/b/1.png", &[7; 40])]);
        let size = 40u32.to_le_bytes();
        let places: Vec<usize> = (0..declared.len() - 4).filter(|at| declared[*at..*at + 4] == size).collect();
        places.iter().for_each(|at| declared[*at..*at + 4].copy_from_slice(&(16u32 << 20).to_le_bytes()));
        assert!(places.len() >= 2);
        let refused = Characters::default().add(std::io::Cursor::new(declared)).unwrap_err();
        assert!(refused.contains("larger than") && refused.contains("16777216"), "{refused}");
    }

    #[test]
    fn a_file_that_is_no_archive_is_malformed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b""[..], b"PK\x05\x06", b"PK\x03\x04garbage that goes nowhere"] {
            std::fs::write(file.path(), bytes).unwrap();
            let failed = Characters::default().add_archive(file.path());
            assert!(matches!(failed, Err(Error::Malformed { format: "zip", .. })), "{failed:?}");
        }
    }
}
