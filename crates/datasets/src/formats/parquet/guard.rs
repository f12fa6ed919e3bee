//! Checks of the footer and of page headers before the parquet library reads them.
//!
//! That library allocates the sizes that a page header claims: up to 2 GiB for the page, and 80 GB for the values of its
//! dictionary. A truncated, corrupt or malicious file must give an error instead, so the header of every page is checked
//! first. The library checks the lists of the footer that it knows. It skips the others entry by entry, and takes no byte for a boolean, so
//! that a footer of a few bytes can claim work for hours; the footer is checked as well.
//!
//! **Source** Apache Parquet's `parquet.thrift`, and the compact protocol of Apache Thrift: the first byte of a field holds
//! its type and the difference to the number of the field before; whole numbers are zigzag varints.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};

use crate::{Error, Result, files};

/// Pages that decompress to at most this many bytes may have any compression ratio.
const SMALL_PAGE: u64 = 16 << 20;

/// The largest accepted compression ratio of larger pages. Encoded images hardly compress.
const MAX_RATIO: u64 = 32;

/// The largest accepted size of a decompressed page in bytes.
const MAX_PAGE: u64 = 1 << 30;

/// The largest accepted page header in bytes. It may hold the smallest and the largest value.
const MAX_HEADER: usize = 1 << 20;

/// The bytes behind the footer: its length and the name of the format.
const END: u64 = 8;

/// The largest accepted depth of nested structures.
const MAX_DEPTH: usize = 32;

/// A file as a byte source. Reading beyond its end is an error.
#[derive(Debug)]
pub(super) struct Bounded {
    file: File,
    length: u64,
}

impl Bounded {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = files::open_input(path)?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        Ok(Self { file, length })
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, length: self.length })
    }

    fn bytes(&self, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut reader = self.reader(start)?;
        reader.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn reader(&self, start: u64) -> io::Result<Take<BufReader<File>>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start.min(self.length)))?;
        Ok(BufReader::new(file).take(self.length.saturating_sub(start)))
    }
}

impl Length for Bounded {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Bounded {
    type T = Take<BufReader<File>>;

    fn get_read(&self, start: u64) -> std::result::Result<Self::T, ParquetError> {
        Ok(self.reader(start)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<Bytes, ParquetError> {
        if start.saturating_add(length as u64) > self.length {
            let what = format!("{length} bytes are expected at {start}, the file has {}", self.length);
            return Err(ParquetError::EOF(what));
        }
        Ok(self.bytes(start, length as u64)?.into())
    }
}

/// Checks that no list of the footer claims more entries than it has bytes. What is no footer at all is left to the library.
pub(super) fn check_footer(file: &Bounded) -> std::result::Result<(), String> {
    let said = |error: io::Error| error.to_string();
    let end = file.length.saturating_sub(END);
    let Ok([a, b, c, d, b'P', b'A', b'R', b'1']) = <[u8; END as usize]>::try_from(file.bytes(end, END).map_err(said)?)
    else {
        return Ok(());
    };
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = end.checked_sub(length) else { return Ok(()) };
    let bytes = file.bytes(start, length).map_err(said)?;
    let parsed = Parser { bytes: &bytes, at: 0 }.structure(0, &mut |_, _| {});
    parsed.ok_or_else(|| "its footer claims more than it holds".to_owned())
}

/// Checks the headers of a column's pages: compression ratios, dictionaries, and the number of values.
pub(super) fn check_pages(file: &Bounded, column: &ColumnChunkMetaData) -> std::result::Result<(), String> {
    match column.compression() {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) | Compression::LZ4_RAW => {}
        Compression::GZIP(_) | Compression::LZ4 => {}
        // The other compressions have no bound on their ratio.
        other => return Err(format!("compression {other} is not read; write it with snappy or zstd")),
    }
    let number = |value: i64| u64::try_from(value).map_err(|_| "it has a negative offset".to_owned());
    let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let mut at = number(first)?;
    let end = at
        .checked_add(number(column.compressed_size())?)
        .filter(|end| *end <= file.length)
        .ok_or("a column lies beyond the end of the file")?;
    let (most, mut values) = (number(column.num_values())?, 0u64);
    while at < end && values < most {
        let header = Header::read(file, at, end)?;
        let (compressed, decompressed) = (number(header.compressed)?, number(header.decompressed)?);
        if decompressed > MAX_PAGE || decompressed > SMALL_PAGE.max(compressed.saturating_mul(MAX_RATIO)) {
            return Err(format!("a page of {compressed} bytes claims to decompress to {decompressed}"));
        }
        if number(header.dictionary)? > decompressed {
            return Err(format!("a dictionary of {decompressed} bytes claims {} values", header.dictionary));
        }
        values = values.saturating_add(number(header.values)?);
        at = at.saturating_add(header.length).saturating_add(compressed);
    }
    match values > most || at > end {
        true => Err(format!("its pages claim {values} values, the column {most}")),
        false => Ok(()),
    }
}

/// The claims of a page header.
#[derive(Debug, Default)]
struct Header {
    /// The bytes of the header itself.
    length: u64,
    /// The bytes of the page after decompression.
    decompressed: i64,
    /// The bytes of the page in the file.
    compressed: i64,
    /// The values of a data page.
    values: i64,
    /// The values of a dictionary page.
    dictionary: i64,
}

impl Header {
    fn read(file: &Bounded, at: u64, end: u64) -> std::result::Result<Self, String> {
        // Most headers are short; those with statistics are read again at full length.
        for most in [256, MAX_HEADER as u64] {
            let bytes = file.bytes(at, most.min(end - at)).map_err(|error| error.to_string())?;
            let (mut parser, mut header) = (Parser { bytes: &bytes, at: 0 }, Self::default());
            let parsed = parser.structure(0, &mut |path, value| match path {
                [2] => header.decompressed = value,
                [3] => header.compressed = value,
                // Data pages of either version; dictionaries.
                [5 | 8, 1] => header.values = value,
                [7, 1] => header.dictionary = value,
                _ => {}
            });
            if parsed.is_some() {
                header.length = parser.at as u64;
                return Ok(header);
            }
        }
        Err(format!("the page at {at} has no header"))
    }
}

/// A parser of the compact protocol. Its methods give `None` if the bytes end too early or are invalid.
struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Receives every whole number with the path of its field.
type Visit<'v> = dyn FnMut(&[i16], i64) + 'v;

impl Parser<'_> {
    fn structure(&mut self, depth: usize, visit: &mut Visit<'_>) -> Option<()> {
        self.fields(&mut Vec::new(), depth, visit)
    }

    fn fields(&mut self, path: &mut Vec<i16>, depth: usize, visit: &mut Visit<'_>) -> Option<()> {
        let mut field = 0i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            field = match byte >> 4 {
                0 => i16::try_from(self.whole()?).ok()?,
                step => field.checked_add(i16::from(step))?,
            };
            path.push(field);
            self.value(byte & 15, path, depth, visit)?;
            path.pop();
        }
    }

    fn value(&mut self, kind: u8, path: &mut Vec<i16>, depth: usize, visit: &mut Visit<'_>) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match kind {
            // Booleans are in their type.
            1 | 2 => Some(()),
            3 => self.skip(1),
            4..=6 => {
                let value = self.whole()?;
                visit(path, value);
                Some(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(usize::try_from(length).ok()?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                // Every entry takes at least one byte.
                let count = usize::try_from(count).ok().filter(|count| *count <= self.bytes.len() - self.at)?;
                // No list in footers and page headers is of booleans, and the library would read another end of one.
                let kind = Some(head & 15).filter(|kind| ![1, 2].contains(kind))?;
                (0..count).try_for_each(|_| self.value(kind, path, depth + 1, &mut |_, _| {}))
            }
            12 => self.fields(path, depth + 1, visit),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn whole(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Option<Vec<(Vec<i16>, i64)>> {
        let mut seen = Vec::new();
        Parser { bytes, at: 0 }.structure(0, &mut |path, value| seen.push((path.to_vec(), value)))?;
        Some(seen)
    }

    #[test]
    fn numbers_are_found_by_their_fields() {
        // Field 1: i32 3 (zigzag 6); field 5: a structure with field 1: i32 −1 (zigzag 1); the end.
        let bytes = [0x15, 6, 0x4c, 0x15, 1, 0, 0];
        assert_eq!(parsed(&bytes).unwrap(), [(vec![1], 3), (vec![5, 1], -1)]);
        assert!((0..bytes.len()).all(|length| parsed(&bytes[..length]).is_none()));
    }

    #[test]
    fn claims_beyond_the_end_of_the_bytes_are_refused() {
        // Field 1: a list of 2³¹ − 1 bytes; a text of as many.
        assert!(parsed(&[0x19, 0xf3, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).is_none());
        assert!(parsed(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).is_none());
        // A list of one boolean, of which the library would take no byte.
        assert!(parsed(&[0x19, 0x11, 1, 0]).is_none());
        // A hundred nested structures; a number of eleven bytes; an unknown type.
        assert!(parsed(&[0x1c; 100]).is_none());
        assert!(parsed(&[0x15, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0]).is_none());
        assert!(parsed(&[0x1f, 0]).is_none());
    }
}
