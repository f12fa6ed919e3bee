//! SHA-256 as hexadecimal digits.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Bytes that are read and hashed at a time.
const BLOCK: usize = 1 << 20;

/// Two lower-case hexadecimal digits for each byte.
///
/// ```
/// assert_eq!(support::hexadecimal(&[0x00, 0x9f, 0xe1]), "009fe1");
/// ```
pub fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// SHA-256 of bytes, as 64 lower-case hexadecimal digits.
///
/// ```
/// // The first example of FIPS 180-2, appendix B.
/// assert_eq!(support::sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// ```
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of a file, which is read block by block, as 64 lower-case hexadecimal digits.
///
/// **Errors** [`Error::Io`] with the action `open` or `read`.
///
/// ```
/// let file = tempfile::NamedTempFile::new()?;
/// assert_eq!(support::sha256_of_file(file.path())?, support::sha256(b""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sha256_of_file(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let mut file = std::fs::File::open(path).map_err(Error::io("open", path))?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hexadecimal(&hash.finalize())),
            Ok(count) => hash.update(&block[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_several_blocks_has_the_digest_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..2 * BLOCK + 17).map(|at| (at % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(sha256_of_file(file.path()).unwrap(), sha256(&bytes));
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = sha256_of_file("/no/such/file").unwrap_err();
        assert!(matches!(&missing, Error::Io { action: "open", path, .. } if path.ends_with("file")), "{missing}");
    }
}
