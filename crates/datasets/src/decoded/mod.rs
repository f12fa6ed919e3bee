//! Decoded images kept on disk, so that a second start maps them instead of decoding them again.
//!
//! **Conventions** one file a data set, named by the SHA-256 of what it was decoded from and how. A file is written whole,
//! moved into place and never changed. It is used only while its header, its length and every byte match their
//! checksums and its version is this one; else the images are decoded anew, and [`Progress::note`](crate::Progress::note)
//! says why. The folder may be deleted at any time.

mod layout;
mod map;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub(crate) use layout::parse;
pub(crate) use map::Mapped;

use crate::{Dataset, Error, FileRecord, LabelledImages, Normalisation, Result, Source, checksum, files};
use layout::Header;

/// A data set as it was decoded, before any view of it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) all: LabelledImages,
    /// Images to learn from, to choose by, to test on; in this order.
    pub(crate) parts: [usize; 3],
    /// Measured on the images to learn from; none where the registry states it.
    pub(crate) normalisation: Option<Normalisation>,
    pub(crate) files: Vec<FileRecord>,
}

/// What images are decoded from, and how: all that they depend on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inputs {
    /// The reader and its options.
    pub(crate) recipe: String,
    pub(crate) files: Vec<Input>,
}

/// A file that images are decoded from.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// What it is in the data set.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Where it is known without reading the file; else its length and the time of its last change stand for it.
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
                    let folder = place_of(path.parent().unwrap_or(path), &mut folders)?;
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    add(&format!("{folder}/{name} {} {}", metadata.len(), changed.as_nanos()));
                }
            }
        }
        Ok(checksum::hexadecimal(&hash.finalize()))
    }
}

/// Where a folder really is; each is looked up once, since there may be many files in one.
fn place_of<'a>(folder: &'a Path, known: &mut HashMap<&'a Path, String>) -> Result<String> {
    if let Some(place) = known.get(folder) {
        return Ok(place.clone());
    }
    // The parent of a bare name is empty.
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let place = std::fs::canonicalize(named).map_err(Error::io("read", named))?.display().to_string();
    known.insert(folder, place.clone());
    Ok(place)
}

impl Decoded {
    /// The views that make up a data set.
    pub(crate) fn dataset(self, name: &str, stated: Option<Normalisation>) -> Result<Dataset> {
        let [train, validation, test] = self.parts;
        let border = train + validation;
        let (all, learn) = (&self.all, self.all.range(0..train));
        let normalisation = match stated.or(self.normalisation) {
            Some(normalisation) => normalisation,
            None => learn.measure_normalisation()?,
        };
        Ok(Dataset {
            name: name.to_owned(),
            train: learn,
            validation: (validation > 0).then(|| all.range(train..border)),
            test: all.range(border..border + test),
            normalisation,
            split: None,
            files: self.files,
        })
    }
}

/// The images, from the folder of decoded images where they are there and whole; else decoded, and kept there.
pub(crate) fn cached(source: &Source, inputs: &Inputs, decode: impl FnOnce() -> Result<Decoded>) -> Result<Decoded> {
    let Some(folder) = &source.decoded else { return decode() };
    let key = inputs.key()?;
    let path = folder.join(format!("{key}.images"));
    let progress = &source.hub.progress;
    match open(&path, &key) {
        Ok(Some(found)) => return Ok(found),
        Ok(None) => {}
        Err(reason) => progress.note(&format!("{}: {reason}; the images are decoded anew", path.display())),
    }
    let decoded = decode()?;
    // Work goes on without the cache: it only saves time.
    if let Err(error) = write(&path, &key, &decoded) {
        progress.note(&format!("the decoded images are not kept: {error}"));
    }
    Ok(decoded)
}

/// What a file holds; none where there is none, a reason where it cannot be used.
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
    files::create_whole(path, |file| {
        file.write_all(&head)?;
        file.write_all(&labels)?;
        file.write_all(&vec![0; layout::padding(head.len() + labels.len())])?;
        file.write_all(pixels)
    })
}

#[cfg(test)]
mod tests;
