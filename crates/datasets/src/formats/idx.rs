//! IDX files, as MNIST and Fashion-MNIST were published: big-endian sizes, then bytes; plain or gzipped.
//!
//! **Source** the description of the format on the page of the MNIST database (LeCun, Cortes, Burges): two zero bytes, a type
//! (8: unsigned bytes), the number of dimensions, each dimension as a big-endian u32, and the values, the last dimension
//! fastest.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::{Error, Result};

/// Larger arrays are refused: MNIST has 47 MB.
const MAX_BYTES: u64 = 4 << 30;

/// No deflated byte stands for more than this many.
const MAX_EXPANSION: u64 = 1032;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idx<const DIMENSIONS: usize> {
    pub(crate) sizes: [usize; DIMENSIONS],
    pub(crate) values: Vec<u8>,
}

/// Reads a file whose array has `DIMENSIONS` dimensions.
///
/// **Errors** [`Error::Malformed`], [`Error::Io`].
pub(crate) fn read<const DIMENSIONS: usize>(path: &Path) -> Result<Idx<DIMENSIONS>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    parse(BufReader::new(file), length).map_err(|reason| Error::Malformed {
        path: path.to_owned(),
        format: "IDX",
        reason,
    })
}

/// Reads an array from `length` bytes of input.
pub(crate) fn parse<const DIMENSIONS: usize>(
    mut input: impl Read,
    length: u64,
) -> std::result::Result<Idx<DIMENSIONS>, String> {
    let mut start = [0; 2];
    input.read_exact(&mut start).map_err(|_| "it is empty".to_owned())?;
    let input = (&start[..]).chain(input);
    match start {
        [0x1f, 0x8b] => array(MultiGzDecoder::new(input), length.saturating_mul(MAX_EXPANSION)),
        _ => array(input, length),
    }
}

/// Reads an array from an input of at most `most` bytes.
fn array<const DIMENSIONS: usize>(mut input: impl Read, most: u64) -> std::result::Result<Idx<DIMENSIONS>, String> {
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
    let total = sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
    let total = total.filter(|total| *total <= MAX_BYTES.min(most));
    let total = total.ok_or_else(|| format!("it claims {sizes:?} values, more than it can hold"))?;
    let mut values = Vec::new();
    values.try_reserve_exact(total as usize).map_err(|_| format!("{total} bytes do not fit into memory"))?;
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
        parse(bytes, bytes.len() as u64)
    }

    #[test]
    fn plain_and_zipped_files_are_told_apart_by_content() {
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
    fn wrong_kinds_and_impossible_sizes_are_named() {
        let changed = |at: usize, value: u8| {
            let mut bytes = PLAIN.to_vec();
            bytes[at] = value;
            bytes
        };
        assert!(parsed(&changed(3, 3)).unwrap_err().contains("dimensions"));
        assert!(parsed(&changed(2, 0x0d)).unwrap_err().contains("0x00000d02"));
        // 2³¹ rows in 18 bytes, and in the few that they deflate to.
        let huge = changed(4, 0x80);
        assert!(parsed(&huge).unwrap_err().contains("more than it can hold"));
        assert!(parsed(&zipped(&huge)).unwrap_err().contains("more than it can hold"));
        let failed = read::<2>(Path::new("/no/such/file"));
        assert!(matches!(failed, Err(Error::Io { .. })));
    }
}
