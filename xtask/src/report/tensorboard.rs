//! Event files for TensorBoard: a folder per run, a scalar per metric and step.
//!
//! **Source** the record format of TensorFlow (`tensorflow/core/lib/io/record_writer.cc`): the length, its masked
//! CRC-32C, the bytes, their masked CRC-32C, all little-endian; the bytes are a protocol buffer `Event`
//! (`tensorflow/core/util/event.proto`) of which four fields are written.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::results::{Results, Run};
use crate::files::write_whole;
use crate::study::measurement::Measurement;

/// Writes `tensorboard/` into the results folder; returns its path.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<PathBuf> {
    let root = folder.join("tensorboard");
    for run in &results.runs {
        let own = root.join(run.planned.description().replace(" · ", "_").replace([' ', '/'], "-"));
        fs::create_dir_all(&own).with_context(|| format!("cannot make the folder {}", own.display()))?;
        write_whole(&own.join("events.out.tfevents.0.reproduce"), &events(run))?;
    }
    Ok(root)
}

/// The event file of a run. The time of an event is its step, because the time of day is not part of the results.
fn events(run: &Run) -> Vec<u8> {
    let mut file = record(&event(0, Content::Version));
    for (_, line) in run.scheduled() {
        file.extend(record(&event(line.step as u64, Content::Scalars(scalars(line)))));
    }
    file
}

fn scalars(line: &Measurement) -> Vec<(&'static str, f64)> {
    let loss = line.train_loss.map(|loss| ("train_loss", loss));
    let values = line.values.iter().filter_map(|(metric, measured)| Some((metric.key(), measured.value?)));
    loss.into_iter().chain(values).collect()
}

enum Content {
    Version,
    Scalars(Vec<(&'static str, f64)>),
}

/// An `Event`: wall_time = 1 (double), step = 2 (int64), file_version = 3 (string) or summary = 5 (message).
fn event(step: u64, content: Content) -> Vec<u8> {
    let mut bytes = Vec::new();
    tag(&mut bytes, 1, FIXED_64);
    bytes.extend((step as f64).to_le_bytes());
    tag(&mut bytes, 2, VARINT);
    varint(&mut bytes, step);
    match content {
        Content::Version => delimited(&mut bytes, 3, b"brain.Event:2"),
        Content::Scalars(scalars) => {
            let mut summary = Vec::new();
            scalars.iter().for_each(|(name, value)| delimited(&mut summary, 1, &scalar(name, *value)));
            delimited(&mut bytes, 5, &summary);
        }
    }
    bytes
}

/// A `Summary.Value`: tag = 1 (string), simple_value = 2 (float).
fn scalar(name: &str, value: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    delimited(&mut bytes, 1, name.as_bytes());
    tag(&mut bytes, 2, FIXED_32);
    bytes.extend((value as f32).to_le_bytes());
    bytes
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

fn tag(bytes: &mut Vec<u8>, field: u64, wire: u64) {
    varint(bytes, field << 3 | wire);
}

fn varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn delimited(bytes: &mut Vec<u8>, field: u64, content: &[u8]) {
    tag(bytes, field, DELIMITED);
    varint(bytes, content.len() as u64);
    bytes.extend(content);
}

fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked(crc32c(&length)).to_le_bytes());
    bytes.extend(content);
    bytes.extend(masked(crc32c(content)).to_le_bytes());
    bytes
}

/// Rotated and shifted, so that a checksum of data that hold checksums stays a good one.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), reflected, a bit at a time: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnoli() {
        // The check value of CRC-32C, and 32 zeros of RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn the_first_record_is_the_one_that_tensorboard_writes() {
        // `Event { wall_time: 0, step: 0, file_version: "brain.Event:2" }`, field by field.
        let content = event(0, Content::Version);
        assert_eq!(content, [&[9, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 26, 13][..], &b"brain.Event:2"[..]].concat());
        let record = record(&content);
        assert_eq!(record.len(), 8 + 4 + content.len() + 4);
        assert_eq!(record[..8], 26u64.to_le_bytes());
    }

    #[test]
    fn long_numbers_take_several_bytes() {
        let mut bytes = Vec::new();
        varint(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 0x02]);
        assert_eq!(scalar("a", 1.0), [10, 1, b'a', 21, 0, 0, 0x80, 0x3f]);
    }
}
