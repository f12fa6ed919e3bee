//! Omniglot's zip files: handwritten characters as `…/alphabet/character/image.png`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::decode::Collector;
use crate::{Error, Result};

/// Larger files inside the archive are refused: the images have a few hundred bytes.
const MAX_FILE: u64 = 1 << 20;

/// More images than this are refused: the whole data set has 32,460.
const MAX_FILES: usize = 200_000;

/// More bytes than this in all are refused: the whole data set has about 10 MB.
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
        let file = File::open(path).map_err(Error::io("open", path))?;
        let malformed = |reason: String| Error::Malformed { path: path.to_owned(), format: "zip", reason };
        self.add(std::io::BufReader::new(file)).map_err(malformed)
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
            // The stated size may lie: what counts is how much comes out.
            let mut bytes = Vec::new();
            entry.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(format!("{name} is larger than {MAX_FILE} bytes"));
            }
            self.bytes += bytes.len() as u64;
            if self.bytes > MAX_TOTAL {
                return Err(format!("its files have more than {MAX_TOTAL} bytes"));
            }
            self.images.entry(class).or_default().insert(image, bytes);
        }
        Ok(())
    }

    /// Adds an image file.
    pub(crate) fn add_image(&mut self, path: &Path) -> Result<()> {
        if let Some((class, image)) = path.to_str().and_then(|path| place(&path.replace('\\', "/"))) {
            let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
            self.images.entry(class).or_default().insert(image, bytes);
        }
        Ok(())
    }

    /// Appends all images to `collector`, class by class, and gives labels and class names.
    pub(crate) fn read(&self, collector: &mut Collector) -> Result<(Vec<u32>, Vec<String>)> {
        let images = self.images.values().flat_map(|class| class.values());
        collector.expect(images.clone().count(), images.map(|bytes| bytes.len() as u64).sum());
        let mut labels = Vec::new();
        for (label, (class, images)) in self.images.iter().enumerate() {
            let (names, encoded): (Vec<&String>, Vec<&[u8]>) =
                images.iter().map(|(name, bytes)| (name, bytes.as_slice())).unzip();
            let place =
                |index: usize| (format!("Omniglot, {class}/{}", names.get(index).map_or("", |name| name)), None);
            collector.extend(&encoded, &place)?;
            labels.extend(images.keys().map(|_| label as u32));
        }
        Ok((labels, self.images.keys().cloned().collect()))
    }
}

/// The classes that [`Characters`] would read from these files, sorted; in archives, only their directories are read.
pub(crate) fn classes(archives: &[PathBuf], images: &[PathBuf]) -> Result<Vec<String>> {
    let class = |name: &str| place(&name.replace('\\', "/")).map(|(class, _)| class);
    let mut found: BTreeSet<String> = images.iter().filter_map(|path| class(path.to_str()?)).collect();
    for path in archives {
        let file = File::open(path).map_err(Error::io("open", path))?;
        let archive = ZipArchive::new(std::io::BufReader::new(file));
        let archive = archive.map_err(|error| Error::Malformed {
            path: path.to_owned(),
            format: "zip",
            reason: error.to_string(),
        })?;
        found.extend(archive.file_names().filter_map(|name| class(&name.ok()?)));
    }
    Ok(found.into_iter().collect())
}

/// The archives of a folder, sorted; or the one that the path is.
pub(crate) fn archives(root: &Path) -> Result<Vec<PathBuf>> {
    if root.is_file() {
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
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let path = entry.map_err(Error::io("list", &folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| place(&path.replace('\\', "/")).is_some()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The class and the file of an image; none for what is no image, or hidden.
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
    fn places_are_read_from_the_end() {
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
    fn images_are_gathered_by_class_and_others_left() {
        let mut characters = Characters::default();
        let files: [(&str, &[u8]); 4] =
            [("i/Greek/b/2.png", b"two"), ("i/Greek/b/1.png", b"one"), ("i/Greek/a/1.png", b"a"), ("readme.txt", b"x")];
        characters.add(std::io::Cursor::new(zipped(&files))).unwrap();
        let classes: Vec<_> = characters.images.keys().cloned().collect();
        assert_eq!(classes, ["Greek/a", "Greek/b"]);
        assert_eq!(characters.images["Greek/b"].keys().cloned().collect::<Vec<_>>(), ["1.png", "2.png"]);
    }

    #[test]
    fn a_file_that_swells_is_refused_before_it_fills_the_memory() {
        let zeros = vec![0; MAX_FILE as usize + 1];
        let bomb = zipped(&[("a/b/1.png", &zeros)]);
        assert!(bomb.len() < 10_000);
        let refused = Characters::default().add(std::io::Cursor::new(bomb)).unwrap_err();
        assert!(refused.contains("larger than"), "{refused}");
        let mut full = Characters { bytes: MAX_TOTAL, ..Characters::default() };
        assert!(full.add(std::io::Cursor::new(zipped(&[("a/b/1.png", b"x")]))).is_err());
    }

    #[test]
    fn what_is_no_archive_is_malformed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b""[..], b"PK\x05\x06", b"PK\x03\x04garbage that goes nowhere"] {
            std::fs::write(file.path(), bytes).unwrap();
            let failed = Characters::default().add_archive(file.path());
            assert!(matches!(failed, Err(Error::Malformed { format: "zip", .. })), "{failed:?}");
        }
    }
}
