//! Weights in several files: an index file, or a folder.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// The ending of the index files of the Hugging Face libraries.
pub(super) const INDEX: &str = ".index.json";
/// The largest index file, in bytes.
const LARGEST_INDEX: u64 = 64 << 20;
/// The endings of weights files.
const ENDINGS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];

/// An index: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of an index with the names of the tensors that each holds.
pub(super) fn of_index(path: &Path) -> Result<BTreeMap<PathBuf, Vec<String>>> {
    let io = |source| Error::Io { path: path.to_owned(), action: "reading an index of weights", source };
    let refused = |reason: String| Error::WeightsShards { path: path.to_owned(), reason };
    if std::fs::metadata(path).map_err(io)?.len() > LARGEST_INDEX {
        return Err(refused(format!("an index has at most {LARGEST_INDEX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|error| refused(format!("it is no index: expected JSON with a `weight_map` ({error})")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for (tensor, file) in index.weight_map {
        let mut components = Path::new(&file).components();
        if !matches!((components.next(), components.next()), (Some(Component::Normal(_)), None)) {
            return Err(refused(format!("it names the file `{file}`: expected a file in the same folder")));
        }
        files.entry(folder.join(file)).or_default().push(tensor);
    }
    Ok(files)
}

/// The weights that were found in a folder.
pub(super) enum Folder {
    /// An index file.
    Index(PathBuf),
    /// All files that together hold the weights.
    Files(Vec<PathBuf>),
}

/// The weights in a folder: its only index file, or its only weights file, or numbered parts without an index.
pub(super) fn of_folder(path: &Path) -> Result<Folder> {
    let io = |source| Error::Io { path: path.to_owned(), action: "reading a folder of weights", source };
    let refused = |reason: String| Error::WeightsShards { path: path.to_owned(), reason };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let ending = |ending: &'static str| move |name: &&String| Path::new(name).extension().is_some_and(|e| e == ending);
    // safetensors come before PyTorch's files of the same weights, as in the Hugging Face libraries.
    let indices: Vec<&String> = names.iter().filter(|name| name.ends_with(INDEX)).collect();
    let index = indices.iter().find(|name| name.contains("safetensors")).or(indices.first());
    if let (Some(index), true) = (index, indices.len() <= 2) {
        return Ok(Folder::Index(path.join(index)));
    }
    for kind in ENDINGS {
        let files: Vec<&String> = names.iter().filter(ending(kind)).collect();
        match files.as_slice() {
            [] => {}
            [one] => return Ok(Folder::Files(vec![path.join(one)])),
            many if are_all_parts(many) => return Ok(Folder::Files(many.iter().map(|name| path.join(name)).collect())),
            many => {
                let first: Vec<&str> = many.iter().take(5).map(|name| name.as_str()).collect();
                let count = many.len();
                return Err(refused(format!("it holds {count} files of weights ({first:?}, …): name one of them")));
            }
        }
    }
    Err(refused(format!("it holds no weights: expected an index (`*{INDEX}`) or a file of {ENDINGS:?}")))
}

/// Whether these are all files `…-00001-of-00003.…` of one series.
fn are_all_parts(names: &[&String]) -> bool {
    let part = |name: &String| {
        let stem = Path::new(name).file_stem()?.to_str()?;
        let (rest, total) = stem.rsplit_once("-of-")?;
        let (series, number) = rest.rsplit_once('-')?;
        Some((series.to_owned(), total.parse::<usize>().ok()?, number.parse::<usize>().ok()?))
    };
    let parts: Option<Vec<(String, usize, usize)>> = names.iter().map(|name| part(name)).collect();
    let Some(mut parts) = parts else { return false };
    parts.sort_by_key(|(_, _, number)| *number);
    let Some((series, total, _)) = parts.first().cloned() else { return false };
    parts.len() == total && parts.iter().enumerate().all(|(index, part)| *part == (series.clone(), total, index + 1))
}
