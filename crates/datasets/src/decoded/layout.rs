//! The layout of a file of decoded images.
//!
//! **Definition** `GCIMAGES`, version (u32), length of the header (u32), header (JSON), SHA-256 of all these bytes; then the
//! labels (u32 each) and the pixels, each beginning at the next multiple of 64. Numbers are little-endian.

use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::images::Decoded;
use crate::{FileRecord, Normalisation};

const MAGIC: &[u8; 8] = b"GCIMAGES";

/// Increased whenever the layout changes or decoding gives other bytes.
const VERSION: u32 = 2;

/// Bytes before the header.
const FIXED: usize = 16;

/// The largest accepted header in bytes. Headers with Omniglot's 1,623 classes and 32,460 files are the longest.
const MAX_HEADER: usize = 16 << 20;

/// Labels and pixels begin at multiples of this.
const ALIGNMENT: usize = 64;

/// The number of bytes per block of [`digest`].
const BLOCK: usize = 1 << 20;

/// The description of the labels and pixels.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Header {
    /// The key of the inputs, which is also the name of the file.
    pub(super) key: String,
    pub(super) name: String,
    pub(super) shape: [usize; 3],
    pub(super) count: usize,
    pub(super) parts: [usize; 3],
    pub(super) classes: Vec<String>,
    pub(super) normalisation: Option<Normalisation>,
    pub(super) files: Vec<FileRecord>,
    /// The [`digest`] of the labels and that of the pixels.
    pub(super) sha256: [String; 2],
}

/// The byte ranges of labels and pixels in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    labels: Range<usize>,
    pub(super) pixels: Range<usize>,
}

impl Body {
    pub(super) fn labels(&self, file: &[u8]) -> Vec<u32> {
        let bytes = file.get(self.labels.clone()).unwrap_or_default();
        bytes
            .chunks_exact(4)
            .map(|four| four.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
            .collect()
    }
}

/// The header and the byte ranges of the body, if every byte of the file matches its checksum; else the mismatch.
pub(crate) fn parse(file: &[u8], key: &str) -> std::result::Result<(Header, Body), String> {
    let cut = || "it is cut off".to_owned();
    let number = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?)) };
    if file.get(..8).ok_or_else(cut)? != MAGIC {
        return Err("it is no file of decoded images".to_owned());
    }
    let version = number(8).ok_or_else(cut)?;
    if version != VERSION {
        return Err(format!("it has version {version}, this program writes version {VERSION}"));
    }
    let length = number(12).ok_or_else(cut)? as usize;
    if length > MAX_HEADER {
        return Err(format!("its header claims {length} bytes"));
    }
    let head = file.get(..FIXED + length).ok_or_else(cut)?;
    let sum = file.get(head.len()..head.len() + 32).ok_or_else(cut)?;
    if Sha256::digest(head)[..] != *sum {
        return Err("its header does not match its checksum".to_owned());
    }
    let header: Header = serde_json::from_slice(&head[FIXED..]).map_err(|error| format!("its header: {error}"))?;
    if header.key != key {
        return Err("it belongs to other files".to_owned());
    }
    let body = header.body(head.len() + 32).ok_or("its sizes overflow")?;
    if body.pixels.end != file.len() {
        return Err(format!("it has {} of {} bytes", file.len(), body.pixels.end));
    }
    if digest(&file[body.labels.clone()]) != header.sha256[0] || digest(&file[body.pixels.clone()]) != header.sha256[1]
    {
        return Err("its images do not match their checksum".to_owned());
    }
    Ok((header, body))
}

impl Header {
    /// The byte ranges of labels and pixels after `head` bytes. None if the sizes overflow or contradict each other.
    fn body(&self, head: usize) -> Option<Body> {
        let parts = self.parts.iter().try_fold(0usize, |sum, part| sum.checked_add(*part))?;
        let first = head.checked_add(padding(head))?;
        let labels = first..first.checked_add(self.count.checked_mul(4)?)?;
        let first = labels.end.checked_add(padding(labels.end))?;
        let size = self.shape.iter().try_fold(self.count, |product, side| product.checked_mul(*side))?;
        let pixels = first..first.checked_add(size)?;
        (parts == self.count).then_some(Body { labels, pixels })
    }
}

/// All bytes before the labels.
pub(super) fn head(
    key: &str,
    decoded: &Decoded,
    labels: &[u8],
    pixels: &[u8],
) -> std::result::Result<Vec<u8>, &'static str> {
    let all = &decoded.all;
    let header = Header {
        key: key.to_owned(),
        name: all.name().to_owned(),
        shape: all.shape(),
        count: all.len(),
        parts: decoded.parts,
        classes: all.classes().to_vec(),
        normalisation: decoded.normalisation.clone(),
        files: decoded.files.clone(),
        sha256: [digest(labels), digest(pixels)],
    };
    let json = serde_json::to_vec(&header).map_err(|_| "the header cannot be written")?;
    if json.len() > MAX_HEADER {
        return Err("there are too many classes or files");
    }
    let mut head = [&MAGIC[..], &VERSION.to_le_bytes(), &(json.len() as u32).to_le_bytes(), &json].concat();
    let sum = Sha256::digest(&head);
    head.extend_from_slice(&sum);
    head.resize(head.len() + padding(head.len()), 0);
    Ok(head)
}

/// The number of zeros between `length` and the next multiple of the alignment.
pub(super) fn padding(length: usize) -> usize {
    length.wrapping_neg() % ALIGNMENT
}

/// The SHA-256 of the SHA-256 of every mebibyte, which all cores compute in parallel.
fn digest(bytes: &[u8]) -> String {
    let blocks: Vec<_> = bytes.par_chunks(BLOCK).map(Sha256::digest).collect();
    let mut hash = Sha256::new();
    blocks.iter().for_each(|block| hash.update(block));
    support::hexadecimal(&hash.finalize())
}
