//! Omniglot's zip files: handwritten characters as `…/alphabet/character/image.png`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

use crate::decode::Collector;
use crate::{Error, Result};

/// Larger files inside the archive are refused: the images have a few hundred bytes.
const MAX_FILE: u64 = 1 << 20;

/// More images than this are refused: the whole data set has 32,460.
const MAX_FILES: usize = 200_000;

/// Encoded images by class, `alphabet/character`, each in the order of the file names.
pub(crate) type Characters = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Adds the images of an archive to `characters`.
///
/// **Errors** [`Error::Malformed`] for a broken archive, or one whose files are too large or too many.
pub(crate) fn open(path: &Path, characters: &mut Characters) -> Result<()> {
    let malformed = |reason: String| Error::Malformed { path: path.to_owned(), format: "zip", reason };
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut archive = ZipArchive::new(file).map_err(|error| malformed(error.to_string()))?;
    if archive.len() > MAX_FILES {
        return Err(malformed(format!("{} files, at most {MAX_FILES} are read", archive.len())));
    }
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| malformed(error.to_string()))?;
        let name = entry.name().map_err(|error| malformed(error.to_string()))?.into_owned();
        let Some((class, image)) = place(&name) else { continue };
        // The stated size may lie: what counts is how much comes out.
        let mut bytes = Vec::new();
        entry.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| malformed(format!("{name}: {error}")))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(malformed(format!("{name} is larger than {MAX_FILE} bytes")));
        }
        characters.entry(class).or_default().insert(image, bytes);
    }
    Ok(())
}

/// Adds the images below a folder: `…/alphabet/character/image.png` at any depth.
pub(crate) fn open_folder(folder: &Path, characters: &mut Characters) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.is_dir() {
            open_folder(&path, characters)?;
        } else if let Some((class, image)) = path.to_str().and_then(|path| place(&path.replace('\\', "/"))) {
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            characters.entry(class).or_default().insert(image, bytes);
        }
    }
    Ok(())
}

/// Appends all images to `collector`, class by class, and gives labels and class names.
pub(crate) fn read(characters: &Characters, collector: &mut Collector) -> Result<(Vec<u32>, Vec<String>)> {
    let mut labels = Vec::new();
    for (label, (class, images)) in characters.iter().enumerate() {
        let encoded: Vec<&[u8]> = images.values().map(Vec::as_slice).collect();
        collector.extend(&encoded, &format!("Omniglot, {class}"), 0)?;
        labels.extend(images.keys().map(|_| label as u32));
    }
    Ok((labels, characters.keys().cloned().collect()))
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

    #[test]
    fn what_is_no_archive_is_malformed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b""[..], b"PK\x05\x06", b"PK\x03\x04garbage that goes nowhere"] {
            std::fs::write(file.path(), bytes).unwrap();
            let failed = open(file.path(), &mut Characters::new());
            assert!(matches!(failed, Err(Error::Malformed { format: "zip", .. })), "{failed:?}");
        }
    }
}
