//! The readers of this crate, for fuzzers and for the test `damaged_files`: any bytes give a value or an error.

use std::path::Path;

use models::train::Checkpoint;
use models::{Architecture, WeightsFile};

/// Calls `read` with a file of this name that holds the bytes.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a written file");
    read(&path);
}

/// Weights as safetensors.
pub(crate) fn safetensors(bytes: &[u8]) {
    with_file("weights.safetensors", bytes, |path| drop(WeightsFile::open(path)));
}

/// A file of PyTorch.
pub(crate) fn pytorch(bytes: &[u8]) {
    with_file("weights.pth", bytes, |path| drop(WeightsFile::open(path)));
}

/// An index of weights in several files, none of which exists.
pub(crate) fn index(bytes: &[u8]) {
    with_file("model.safetensors.index.json", bytes, |path| drop(WeightsFile::open(path)));
}

/// A checkpoint of a run, whole and its header alone.
pub(crate) fn checkpoint(bytes: &[u8]) {
    with_file("step-1.safetensors", bytes, |path| {
        let _ = (Checkpoint::open(path), Checkpoint::read_header(path));
    });
}

/// The description of a network, as TOML.
pub(crate) fn architecture(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Architecture::from_toml(text);
    }
}
