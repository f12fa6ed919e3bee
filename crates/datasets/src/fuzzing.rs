//! The readers as fuzzers call them: any bytes, no panic, no memory beyond measure. Not a part of the public interface.

use std::io::Cursor;
use std::path::Path;

use crate::decode::Collector;
use crate::formats::omniglot::Characters;
use crate::formats::{idx, parquet};
use crate::{Form, decoded};

/// IDX files of images and of labels, plain or zipped.
pub fn idx(bytes: &[u8]) {
    let _ = idx::parse::<3>(bytes, bytes.len() as u64);
    let _ = idx::parse::<1>(bytes, bytes.len() as u64);
}

/// Omniglot's archives, with the images in them.
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
    let _ =
        Collector::new(Form { channels: None, size: Some([32, 32]) }).extend(&[bytes], &|_| ("fuzz".to_owned(), None));
}

/// A table in a file, its columns found and read. The parquet library panics on some lies; the reader catches that.
pub fn parquet(path: &Path) {
    let Ok((rows, bytes)) = parquet::extent(path) else { return };
    let Ok(columns) = parquet::columns(path, None, None) else { return };
    let mut collector = Collector::new(Form { channels: None, size: Some([8, 8]) });
    collector.expect(rows, bytes);
    let _ = parquet::read(path, &columns, &mut collector);
}

#[cfg(test)]
mod tests;
