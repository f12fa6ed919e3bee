//! Where a file of a data set is: on this machine or on the Hub.

#[cfg(feature = "parquet")]
use std::path::Path;
use std::path::PathBuf;

#[cfg(feature = "parquet")]
use crate::Error;
#[cfg(feature = "parquet")]
use crate::decoded::Input;
use crate::{FileRecord, HubFile, Result, Source, files};

/// A file on this machine or on the Hub.
#[derive(Clone, Debug)]
pub(super) enum FileLocation {
    Disk(PathBuf),
    Hub(HubFile),
}

impl FileLocation {
    /// A file of a repository: in the given folder if there is one, else on the Hub (through its cache).
    #[cfg(feature = "parquet")]
    pub(super) fn find(dataset: &str, file: HubFile, source: &Source) -> Result<Self> {
        let Some(folder) = &source.data_dir else { return Ok(Self::Hub(file)) };
        let (name, repository) = (&file.path, &file.repository);
        // The Hub's layout, with or without the folders above it, or all files in one folder.
        let base = Path::new(name).file_name().map_or(Path::new(name), Path::new);
        let places =
            [folder.join(name), folder.join(repository).join(name), folder.join(dataset).join(name), folder.join(base)];
        for place in &places {
            if files::is_input(place)? {
                return Ok(Self::Disk(place.clone()));
            }
        }
        Err(Error::NotFound {
            what: format!("{name} of {dataset}"),
            looked_at: places.iter().map(|place| place.display().to_string()).collect(),
            hint: "copy the file there, or leave out --data-dir to use the Hub".to_owned(),
        })
    }

    fn name(&self) -> String {
        match self {
            Self::Disk(path) => path.display().to_string(),
            Self::Hub(file) => file.to_string(),
        }
    }

    /// The identity of the file in the key of decoded images. Its bytes are not read if that can be avoided.
    #[cfg(feature = "parquet")]
    pub(super) fn input(&self, part: usize, source: &Source) -> Result<Input> {
        let (path, sha256) = match self {
            Self::Disk(path) => (path.clone(), None),
            Self::Hub(file) => {
                let cached = match source.hub.cached(file) {
                    Some(cached) => cached,
                    None => source.hub.verified(file)?,
                };
                (cached.path, cached.sha256)
            }
        };
        Ok(Input { name: format!("{part} {}", self.name()), path, sha256 })
    }

    /// The path of the file, after its bytes were checked, and its record.
    pub(super) fn open(&self, source: &Source) -> Result<(PathBuf, FileRecord)> {
        let (path, sha256) = match self {
            Self::Disk(path) => (path.clone(), Some(files::sha256(path)?)),
            Self::Hub(file) => {
                let cached = source.hub.verified(file)?;
                (cached.path, cached.sha256)
            }
        };
        Ok((path, FileRecord { file: self.name(), sha256 }))
    }
}
