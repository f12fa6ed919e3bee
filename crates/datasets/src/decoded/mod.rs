//! The decoded cache: decoded images on disk, which later starts map instead of decoding the images again.
//!
//! **Conventions** one file per data set, named by the SHA-256 of its inputs and the options of decoding. A file is written
//! completely, renamed to its name and never changed. It is used only if its version is this one and its header, its length
//! and every byte match their checksums. Otherwise the images are decoded again, and
//! [`Progress::note`](crate::Progress::note) receives the reason. The folder may be deleted at any time.

mod images;
mod layout;
mod map;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub(crate) use images::Decoded;
pub(crate) use layout::parse;
pub(crate) use map::Mapped;

use crate::{Error, LabelledImages, Result, Source, files};
use layout::Header;

/// Everything that decoded images depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// The name of the reader and its options.
    pub(crate) recipe: String,
    pub(crate) files: Vec<Input>,
}

/// A file from which images are decoded.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// Its role in the data set.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Its SHA-256 if it is known without reading the file. Otherwise the file is identified by its path, length and time of
    /// last change.
    pub(crate) sha256: Option<String>,
}

impl Inputs {
    fn key(&self) -> Result<String> {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(&self.recipe);
        let mut folders = HashMap::new();
        for file in &self.files {
            add(&file.name);
            match &file.sha256 {
                Some(sum) => add(sum),
                None => {
                    let path = &file.path;
                    let metadata = std::fs::metadata(path).map_err(Error::io("read", path))?;
                    let changed = metadata.modified().map_err(Error::io("read", path))?;
                    let changed = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    let folder = canonical(path.parent().unwrap_or(path), &mut folders)?;
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    add(&format!("{folder}/{name} {} {}", metadata.len(), changed.as_nanos()));
                }
            }
        }
        Ok(support::hexadecimal(&hash.finalize()))
    }
}

/// The canonical path of a folder. Each folder is resolved once, because many files can be in it.
fn canonical<'a>(folder: &'a Path, known: &mut HashMap<&'a Path, String>) -> Result<String> {
    if let Some(place) = known.get(folder) {
        return Ok(place.clone());
    }
    // The parent of a bare name is empty.
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let place = std::fs::canonicalize(named).map_err(Error::io("read", named))?.display().to_string();
    known.insert(folder, place.clone());
    Ok(place)
}

/// The images from the decoded cache; if it lacks them or its file is invalid, decoded and written to the cache.
pub(crate) fn cached(source: &Source, inputs: &Inputs, decode: impl FnOnce() -> Result<Decoded>) -> Result<Decoded> {
    let Some(folder) = &source.decoded else { return decode() };
    let key = inputs.key()?;
    let path = folder.join(format!("{key}.images"));
    let progress = &source.hub.progress;
    match open(&path, &key) {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        Err(reason) => progress.note(&format!("{}: {reason}; the images are decoded again", path.display())),
    }
    let decoded = decode()?;
    // A failed write costs only time at the next start.
    match write(&path, &key, &decoded) {
        Ok(()) => files::remove_stale_parts(&path),
        Err(error) => progress.note(&format!("the decoded images are not cached: {error}")),
    }
    Ok(decoded)
}

/// The images of a file; none if it does not exist, a reason if it is invalid.
fn open(path: &Path, key: &str) -> std::result::Result<Option<Decoded>, String> {
    let Some(map) = Mapped::open(path).map_err(|error| format!("cannot be read ({error})"))? else { return Ok(None) };
    let (header, body) = parse(&map, key)?;
    let labels = body.labels(&map);
    let pixels = map.narrowed(body.pixels);
    let Header { name, shape, classes, parts, normalisation, files, .. } = header;
    let all = LabelledImages::mapped(&name, pixels, shape, labels, classes).map_err(|error| error.to_string())?;
    Ok(Some(Decoded { all, parts, normalisation, files }))
}

fn write(path: &Path, key: &str, decoded: &Decoded) -> Result<()> {
    let labels: Vec<u8> = decoded.all.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
    let pixels = decoded.all.block();
    let head = layout::head(key, decoded, &labels, pixels)
        .map_err(|reason| Error::io("write", path)(std::io::Error::other(reason)))?;
    files::write_cached(path, |file| {
        file.write_all(&head)?;
        file.write_all(&labels)?;
        file.write_all(&vec![0; layout::padding(head.len() + labels.len())])?;
        file.write_all(pixels)
    })
}

#[cfg(test)]
mod tests;
