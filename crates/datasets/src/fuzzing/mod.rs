//! Entry points for fuzzers: the readers accept any bytes without a panic and with bounded memory. They are not a part of the
//! public interface.

use std::io::Cursor;
use std::path::Path;

use crate::decode::{Collector, ImagePlace};
use crate::formats::omniglot::Characters;
use crate::formats::{idx, parquet};
#[cfg(feature = "hub")]
use crate::hub;
use crate::{Form, decoded, registry};

/// IDX files of images and of labels, plain or gzipped.
pub fn idx(bytes: &[u8]) {
    let _ = idx::parse::<3>(bytes, bytes.len() as u64, [None; 3]);
    let _ = idx::parse::<1>(bytes, bytes.len() as u64, [None; 1]);
}

/// Omniglot's archives and their images.
pub fn zip(bytes: &[u8]) {
    let mut characters = Characters::default();
    if characters.add(Cursor::new(bytes)).is_ok() {
        let _ = characters.read(&mut Collector::new(Form { channels: Some(1), size: None }));
    }
}

/// Files of decoded images.
pub fn decoded(bytes: &[u8]) {
    let _ = decoded::parse(bytes, "key");
}

/// One encoded image.
pub fn image(bytes: &[u8]) {
    let mut collector = Collector::new(Form { channels: None, size: Some([32, 32]) });
    let _ = collector.extend(&[bytes], &|_| ImagePlace { context: "fuzz".to_owned(), row: None });
}

/// The card of a data set, as text.
pub fn card(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = registry::class_names(&text, "plain", None);
    let _ = registry::class_names(&text, "plain", Some("label"));
}

/// The Hub's description of a repository.
#[cfg(feature = "hub")]
pub fn listing(bytes: &[u8]) {
    for path in hub::files_of_description(&String::from_utf8_lossy(bytes)).unwrap_or_default() {
        assert!(!Path::new(&path).components().any(|part| part == std::path::Component::ParentDir), "{path}");
    }
}

/// A table in a file: its columns are found and read. The parquet library panics on some invalid files; the reader catches
/// that.
pub fn parquet(path: &Path) {
    let Ok(extent) = parquet::extent(path) else { return };
    let Ok(columns) = parquet::columns(path, None, None) else { return };
    let mut collector = Collector::new(Form { channels: None, size: Some([8, 8]) });
    collector.expect(extent.rows, extent.bytes);
    let _ = parquet::read(path, &columns, &mut collector);
}

#[cfg(test)]
mod tests;
