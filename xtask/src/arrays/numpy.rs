//! NumPy's files: npy, and npz, which is a zip archive of npy files.
//!
//! candle's reader takes neither Fortran order nor big-endian numbers nor text, allocates what a header claims and does not
//! check the archive's checksums. The crate `npyz` parses headers by recursion, so that a header of nested brackets
//! overflows the stack. Hence this reader: the header is parsed in one pass, and the size is checked before memory is taken.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;

use super::Array;
use super::elements::{Element, Kind, byte_count};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read, in bytes. NumPy's own reader stops at 10,000.
const LONGEST_HEADER: usize = 1 << 16;

/// The largest expansion that deflate can reach, rounded up.
const LARGEST_EXPANSION: u64 = 1_100;

/// What a header says of the array after it.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// What one element of an array is.
#[derive(Debug, PartialEq)]
enum Stored {
    Number(Element),
    /// Text of a fixed number of UTF-32 characters.
    Text {
        characters: usize,
        big_endian: bool,
    },
    /// Text of a fixed number of bytes.
    Bytes {
        length: usize,
    },
}

/// The array of an npy file.
pub(super) fn npy(path: &Path) -> Result<Array> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    array(&mut std::io::BufReader::new(file), size)
}

/// The arrays of an npz file, by their names without `.npy`. Every member is read to its end, where its CRC is checked.
pub(super) fn npz(path: &Path) -> Result<BTreeMap<String, Array>> {
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(File::open(path)?)).context("no zip archive")?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let Some(name) = member.name()?.strip_suffix(".npy").map(str::to_owned) else { continue };
        let size = member.size();
        if size > member.compressed_size().saturating_mul(LARGEST_EXPANSION) {
            bail!("array `{name}`: the archive claims {size} bytes, more than its compressed bytes can hold");
        }
        let read = array(&mut member, size).with_context(|| format!("array `{name}`"))?;
        arrays.insert(name, read);
    }
    Ok(arrays)
}

/// One array from a reader of `size` bytes.
fn array(reader: &mut impl Read, size: u64) -> Result<Array> {
    let (header, header_bytes) = header(reader)?;
    let stored = Stored::parse(&header.descr)?;
    let needed = byte_count(&header.shape, stored.size()).map(|bytes| bytes as u64);
    let present = size.saturating_sub(header_bytes);
    let Some(needed) = needed.filter(|needed| *needed <= present) else {
        let shape = &header.shape;
        bail!("the header says shape {shape:?} of {}, but {present} bytes follow: the file is cut short", header.descr);
    };
    let mut bytes = Vec::new();
    reader.take(needed).read_to_end(&mut bytes)?;
    // To the end, so that a checksum of an archive's member is verified.
    let rest = std::io::copy(reader, &mut std::io::sink())?;
    if bytes.len() as u64 != needed || rest > 0 {
        bail!("{needed} bytes of numbers expected, found {}", bytes.len() as u64 + rest);
    }
    let element = match stored {
        Stored::Number(element) => element,
        Stored::Text { characters, big_endian } => return text(&header.shape, utf32(&bytes, characters, big_endian)?),
        Stored::Bytes { length } => return text(&header.shape, latin(&bytes, length)),
    };
    Ok(Array::Numbers(ordered(element, &bytes, &header)?))
}

/// The tensor in row-major order, whichever order the file has.
fn ordered(element: Element, bytes: &[u8], header: &Header) -> Result<Tensor> {
    if !header.fortran_order || header.shape.len() < 2 {
        return element.tensor(bytes, &header.shape);
    }
    let reversed: Vec<usize> = header.shape.iter().rev().copied().collect();
    let axes: Vec<usize> = (0..reversed.len()).rev().collect();
    Ok(element.tensor(bytes, &reversed)?.permute(axes)?.contiguous()?)
}

fn text(shape: &[usize], values: Vec<String>) -> Result<Array> {
    match *shape {
        [_] | [_, 1] => Ok(Array::Text(values)),
        _ => bail!("text of shape {shape:?}; text is read as labels only, of shape [n]"),
    }
}

fn utf32(bytes: &[u8], characters: usize, big_endian: bool) -> Result<Vec<String>> {
    if characters == 0 {
        bail!("text of no characters");
    }
    let character = |bytes: &[u8]| {
        let array = [bytes[0], bytes[1], bytes[2], bytes[3]];
        let code = if big_endian { u32::from_be_bytes(array) } else { u32::from_le_bytes(array) };
        char::from_u32(code).with_context(|| format!("{code:#x} is no character"))
    };
    let word = |bytes: &[u8]| -> Result<String> {
        let word: String = bytes.chunks_exact(4).map(character).collect::<Result<_>>()?;
        Ok(word.trim_end_matches('\0').to_owned())
    };
    bytes.chunks_exact(4 * characters).map(word).collect()
}

fn latin(bytes: &[u8], length: usize) -> Vec<String> {
    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    bytes.chunks_exact(length.max(1)).map(word).collect()
}

impl Stored {
    /// Reads NumPy's type string, such as `<f4`, `>i8`, `|b1` or `<U10`.
    fn parse(descr: &str) -> Result<Self> {
        let advice = || {
            format!(
                "NumPy type `{descr}` cannot be read: expected floats, integers, truth values or text; convert it with `astype`"
            )
        };
        let order = descr.chars().next().with_context(advice)?;
        let (big_endian, rest) = match order {
            '>' => (true, &descr[1..]),
            '<' | '|' | '=' => (false, &descr[1..]),
            _ => (false, descr),
        };
        let kind = rest.chars().next().filter(char::is_ascii).with_context(advice)?;
        let size: usize = rest[1..].parse().ok().with_context(advice)?;
        let number = |kind| Ok(Stored::Number(Element { kind, size, big_endian }));
        match kind {
            'f' if [2, 4, 8].contains(&size) => number(Kind::Float),
            'i' if [1, 2, 4, 8].contains(&size) => number(Kind::Signed),
            'u' if [1, 2, 4, 8].contains(&size) => number(Kind::Unsigned),
            'b' if size == 1 => number(Kind::Bool),
            'U' if size > 0 => Ok(Stored::Text { characters: size, big_endian }),
            'S' if size > 0 => Ok(Stored::Bytes { length: size }),
            _ => bail!(advice()),
        }
    }

    /// Bytes of one element; at most the address space, which no file reaches.
    fn size(&self) -> usize {
        match self {
            Stored::Number(element) => element.size,
            Stored::Text { characters, .. } => characters.saturating_mul(4),
            Stored::Bytes { length } => *length,
        }
    }
}

/// Reads the header, and how many bytes it took with the magic before it.
fn header(reader: &mut impl Read) -> Result<(Header, u64)> {
    let mut start = [0; 8];
    reader.read_exact(&mut start).context("shorter than a NumPy header")?;
    if &start[..6] != MAGIC {
        bail!("not a NumPy array: it does not begin with \\x93NUMPY");
    }
    let (length, width) = if start[6] == 1 {
        let mut length = [0; 2];
        reader.read_exact(&mut length)?;
        (usize::from(u16::from_le_bytes(length)), 2)
    } else {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        (u32::from_le_bytes(length) as usize, 4)
    };
    if length > LONGEST_HEADER {
        bail!("the header claims {length} bytes; at most {LONGEST_HEADER} are read");
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).context("cut short within the NumPy header")?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((Header::parse(&text).with_context(|| format!("unreadable NumPy header {text:?}"))?, 8 + width + length as u64))
}

impl Header {
    /// Reads the dictionary literal `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self> {
        let value = |key: &str| {
            let (_, after) = text.split_once(&format!("'{key}':")).with_context(|| format!("it has no `{key}`"))?;
            Ok::<_, anyhow::Error>(after.trim_start())
        };
        let quoted = value("descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
        let (descr, _) = quoted.context("records of several fields cannot be read; save one array a field")?;
        let order = value("fortran_order")?;
        let fortran_order = order.starts_with("True");
        if !fortran_order && !order.starts_with("False") {
            bail!("`fortran_order` is neither True nor False");
        }
        let sides = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).context("no shape")?.0;
        let sides = sides.split(',').map(str::trim).filter(|side| !side.is_empty());
        let side = |side: &str| side.trim_end_matches('L').parse().with_context(|| format!("`{side}` is no size"));
        let shape = sides.map(side).collect::<Result<_>>()?;
        Ok(Self { descr: descr.to_owned(), fortran_order, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An npy file as NumPy writes it, format 1.0.
    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0][..], &length, header.as_bytes(), data].concat()
    }

    fn read(bytes: &[u8]) -> Result<Array> {
        array(&mut &bytes[..], bytes.len() as u64)
    }

    fn numbers(bytes: &[u8]) -> (Vec<usize>, Vec<f64>) {
        let Array::Numbers(tensor) = read(bytes).unwrap() else { panic!("text") };
        let flat = tensor.flatten_all().unwrap().to_dtype(candle_core::DType::F64).unwrap();
        (tensor.dims().to_vec(), flat.to_vec1().unwrap())
    }

    #[test]
    fn every_width_and_byte_order_is_read() {
        let cases: [(&str, Vec<u8>); 15] = [
            ("|b1", vec![0, 1, 1]),
            ("|i1", vec![0, 1, 255]),
            ("|u1", vec![0, 1, 255]),
            ("<i2", [0i16, 1, -1].iter().flat_map(|x| x.to_le_bytes()).collect()),
            (">i2", [0i16, 1, -1].iter().flat_map(|x| x.to_be_bytes()).collect()),
            ("<u2", [0u16, 1, 65535].iter().flat_map(|x| x.to_le_bytes()).collect()),
            ("<i4", [0i32, 1, -1].iter().flat_map(|x| x.to_le_bytes()).collect()),
            (">u4", [0u32, 1, 7].iter().flat_map(|x| x.to_be_bytes()).collect()),
            ("<i8", [0i64, 1, -1].iter().flat_map(|x| x.to_le_bytes()).collect()),
            (">i8", [0i64, 1, -1].iter().flat_map(|x| x.to_be_bytes()).collect()),
            ("<u8", [0u64, 1, 7].iter().flat_map(|x| x.to_le_bytes()).collect()),
            ("<f2", [0.0, 1.0, -0.5].iter().flat_map(|x| half::f16::from_f64(*x).to_le_bytes()).collect()),
            (">f4", [0f32, 1.0, -0.5].iter().flat_map(|x| x.to_be_bytes()).collect()),
            ("<f8", [0f64, 1.0, -0.5].iter().flat_map(|x| x.to_le_bytes()).collect()),
            (">f8", [0f64, 1.0, -0.5].iter().flat_map(|x| x.to_be_bytes()).collect()),
        ];
        for (descr, data) in cases {
            let (shape, values) = numbers(&file(descr, "False", "(3,)", &data));
            assert_eq!((shape, values[..2].to_vec()), (vec![3], vec![0.0, 1.0]), "{descr}");
            let last = match descr {
                "|b1" => 1.0,
                "|u1" => 255.0,
                "<u2" => 65535.0,
                ">u4" | "<u8" => 7.0,
                floats if floats.contains('f') => -0.5,
                _ => -1.0,
            };
            assert_eq!(values[2], last, "{descr}");
        }
    }

    #[test]
    fn fortran_order_gives_the_same_matrix() {
        let bytes: Vec<u8> = [1f32, 4.0, 2.0, 5.0, 3.0, 6.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let read = numbers(&file("<f4", "True", "(2, 3)", &bytes));
        assert_eq!(read, (vec![2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    }

    #[test]
    fn text_becomes_words() {
        let data: Vec<u8> = ['o', 'x', '\0', 'h', 'e', 'n'].iter().flat_map(|c| (*c as u32).to_le_bytes()).collect();
        let Array::Text(words) = read(&file("<U3", "False", "(2,)", &data)).unwrap() else { panic!("numbers") };
        assert_eq!(words, ["ox", "hen"]);
        let Array::Text(words) = read(&file("|S3", "False", "(2,)", b"ox\0hen")).unwrap() else { panic!("numbers") };
        assert_eq!(words, ["ox", "hen"]);
    }

    #[test]
    fn what_a_header_claims_is_checked_before_memory_is_taken() {
        let message = |bytes: &[u8]| format!("{:#}", read(bytes).err().unwrap());
        let huge = "(1000000000000, 1000000)";
        assert!(message(&file("<f4", "False", huge, &[0; 8])).contains("cut short"));
        let overflowing = "(18446744073709551615, 18446744073709551615)";
        assert!(message(&file("<f4", "False", overflowing, &[0; 8])).contains("cut short"));
        assert!(message(&file("<f4", "False", "(2,)", &[0; 7])).contains("cut short"));
        assert!(message(&file("<f4", "False", "(2,)", &[0; 9])).contains("found 9"));
        assert!(message(&file("|O", "False", "(2,)", &[0; 9])).contains("cannot be read"));
        assert!(message(&file("<c8", "False", "(1,)", &[0; 8])).contains("cannot be read"));
        assert!(message(&file("<f4", "False", &"(".repeat(60_000), &[])).contains("header"));
        assert!(message(b"\x93NUMPY\x02\x00\xff\xff\xff\xff").contains("claims"));
        assert!(message(b"PK").contains("shorter"));
    }

    #[test]
    fn a_changed_byte_of_an_archive_is_found_by_its_checksum() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file("features.npy", stored).unwrap();
        writer.write_all(&file("<f4", "False", "(2,)", &[1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
        writer.finish().unwrap();
        assert_eq!(npz(&path).unwrap().len(), 1);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        bytes[at + 3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let message = format!("{:#}", npz(&path).err().unwrap());
        assert!(message.contains("features") && message.to_lowercase().contains("checksum"), "{message}");
    }
}
