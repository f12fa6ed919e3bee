//! IDX files, the format in which MNIST and Fashion-MNIST were published; plain or gzipped.
//!
//! **Source** the description of the format on the page of the MNIST database (LeCun, Cortes, Burges): two zero bytes, a type
//! (8: unsigned bytes), the number of dimensions, each dimension as a big-endian u32, and the values, the last dimension
//! fastest.

use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result, files};

/// Larger arrays are refused. MNIST has 47 MB.
const MAX_BYTES: u64 = 4 << 30;

/// The largest expansion of deflate: bytes of output per byte of input.
const MAX_EXPANSION: u64 = 1032;

/// The memory that is reserved for an array before its bytes were seen. More is reserved as they are read.
const FIRST_RESERVE: u64 = 64 << 20;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idx<const DIMENSIONS: usize> {
    pub(crate) sizes: [usize; DIMENSIONS],
    pub(crate) values: Vec<u8>,
}

/// The required size of each dimension; none: any.
pub(crate) type Sizes<const DIMENSIONS: usize> = [Option<usize>; DIMENSIONS];

/// The bytes that follow the header.
enum Available {
    /// Exactly this many: the file is not compressed.
    Exactly(u64),
    /// Any number up to this one.
    AtMost(u64),
}

/// Reads a file whose array has `DIMENSIONS` dimensions of the required sizes. Sizes are checked before memory is
/// allocated.
///
/// **Errors** [`Error::Malformed`], [`Error::NotRegularFile`], [`Error::Io`].
pub(crate) fn read<const DIMENSIONS: usize>(path: &Path, required: Sizes<DIMENSIONS>) -> Result<Idx<DIMENSIONS>> {
    let file = files::open_input(path)?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    parse(BufReader::new(file), length, required).map_err(|reason| Error::Malformed {
        path: path.to_owned(),
        format: "IDX",
        reason,
    })
}

/// Reads an array from an input of `length` bytes.
pub(crate) fn parse<const DIMENSIONS: usize>(
    mut input: impl Read,
    length: u64,
    required: Sizes<DIMENSIONS>,
) -> std::result::Result<Idx<DIMENSIONS>, String> {
    let mut start = [0; 2];
    input.read_exact(&mut start).map_err(|_| "it is empty".to_owned())?;
    let input = (&start[..]).chain(input);
    let header = 4 + 4 * DIMENSIONS as u64;
    match start {
        [0x1f, 0x8b] => {
            array(MultiGzDecoder::new(input), Available::AtMost(length.saturating_mul(MAX_EXPANSION)), required)
        }
        _ => array(input, Available::Exactly(length.saturating_sub(header)), required),
    }
}

fn array<const DIMENSIONS: usize>(
    mut input: impl Read,
    available: Available,
    required: Sizes<DIMENSIONS>,
) -> std::result::Result<Idx<DIMENSIONS>, String> {
    let sizes = read_sizes(&mut input)?;
    if sizes.iter().zip(&required).any(|(size, required)| required.is_some_and(|required| required != *size)) {
        let text: Vec<String> =
            required.iter().map(|size| size.map_or("any".to_owned(), |size| size.to_string())).collect();
        return Err(format!("its sizes are {sizes:?}, expected [{}]", text.join(", ")));
    }
    let total = total(&sizes, &available)?;
    let mut values = Vec::new();
    let reserved = values.try_reserve_exact(total.min(FIRST_RESERVE) as usize);
    reserved.map_err(|_| format!("{total} bytes do not fit into memory"))?;
    let read = input.by_ref().take(total).read_to_end(&mut values);
    read.map_err(|error| format!("its values cannot be read ({error})"))?;
    if (values.len() as u64) < total {
        return Err(format!("it ends after {} of {total} values", values.len()));
    }
    match input.read(&mut [0]) {
        Ok(0) => Ok(Idx { sizes, values }),
        Ok(_) => Err(format!("more than {total} values follow its sizes {sizes:?}")),
        Err(error) => Err(format!("its end cannot be read ({error})")),
    }
}

fn read_sizes<const DIMENSIONS: usize>(mut input: impl Read) -> std::result::Result<[usize; DIMENSIONS], String> {
    let mut number = || -> std::result::Result<u32, String> {
        let mut four = [0; 4];
        input.read_exact(&mut four).map_err(|error| format!("its sizes cannot be read ({error})"))?;
        Ok(u32::from_be_bytes(four))
    };
    let (magic, expected) = (number()?, 0x0800 + DIMENSIONS as u32);
    if magic != expected {
        return Err(format!(
            "it begins with {magic:#010x}, expected {expected:#010x}: bytes in {DIMENSIONS} dimensions"
        ));
    }
    let mut sizes = [0; DIMENSIONS];
    for size in &mut sizes {
        *size = number()? as usize;
    }
    Ok(sizes)
}

/// The number of values, if the input can hold that many.
fn total(sizes: &[usize], available: &Available) -> std::result::Result<u64, String> {
    let total = sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
    let total = total.ok_or_else(|| format!("the product of its sizes {sizes:?} overflows"))?;
    let problem = match *available {
        _ if total > MAX_BYTES => format!("the limit is {MAX_BYTES}"),
        Available::Exactly(bytes) if total != bytes => format!("the file holds {bytes}"),
        Available::AtMost(bytes) if total > bytes => format!("the file can hold at most {bytes}"),
        _ => return Ok(total),
    };
    Err(format!("its sizes {sizes:?} claim {total} values, {problem}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Two rows of three values.
    const PLAIN: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 11, 12, 20, 21, 22];

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn parsed(bytes: &[u8]) -> std::result::Result<Idx<2>, String> {
        parse(bytes, bytes.len() as u64, [None; 2])
    }

    #[test]
    fn plain_and_zipped_files_are_distinguished_by_content() {
        let expected = Idx { sizes: [2, 3], values: vec![10, 11, 12, 20, 21, 22] };
        assert_eq!(parsed(PLAIN).unwrap(), expected);
        assert_eq!(parsed(&zipped(PLAIN)).unwrap(), expected);
    }

    #[test]
    fn every_cut_and_every_surplus_is_refused() {
        for whole in [PLAIN.to_vec(), zipped(PLAIN)] {
            assert!((0..whole.len()).all(|length| parsed(&whole[..length]).is_err()));
        }
        assert!(parsed(&[PLAIN, &[0]].concat()).is_err());
        assert!(parsed(&zipped(&[PLAIN, &[0]].concat())).is_err());
    }

    #[test]
    fn other_sizes_than_the_required_ones_are_refused_by_the_header_alone() {
        let file = |bytes: &[u8]| parse(bytes, PLAIN.len() as u64, [Some(2), Some(4)]);
        // The values are absent: the header suffices for the refusal.
        let refused = file(&PLAIN[..12]).unwrap_err();
        assert_eq!(refused, "its sizes are [2, 3], expected [2, 4]");
        assert!(parse(PLAIN, PLAIN.len() as u64, [None, Some(3)]).is_ok());
    }

    #[test]
    fn wrong_kinds_and_impossible_sizes_are_named() {
        let changed = |at: usize, value: u8| {
            let mut bytes = PLAIN.to_vec();
            bytes[at] = value;
            bytes
        };
        assert!(parsed(&changed(3, 3)).unwrap_err().contains("dimensions"));
        assert!(parsed(&changed(2, 0x0d)).unwrap_err().contains("0x00000d02"));
        // 2³¹ rows in 18 bytes, and in the few bytes that they deflate to.
        let huge = changed(4, 0x80);
        assert!(parsed(&huge).unwrap_err().contains("the limit is"));
        assert!(parsed(&zipped(&huge)).unwrap_err().contains("the limit is"));
        // 2¹⁶ + 2 rows: below the limit, above what the file can hold.
        let large = changed(5, 1);
        assert!(parsed(&large).unwrap_err().contains("the file holds 6"));
        assert!(parsed(&zipped(&large)).unwrap_err().contains("can hold at most"));
        let failed = read::<2>(Path::new("/no/such/file"), [None; 2]);
        assert!(matches!(failed, Err(Error::Io { .. })));
    }
}
