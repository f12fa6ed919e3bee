//! Damaged copies of valid bytes.

use std::path::Path;

use rand::Rng;

/// The bytes with one to four changes: a bit flipped, a byte replaced, numbers made extreme, the rest cut off, a piece cut out
/// or doubled.
///
/// `below(n)` draws a whole number from 0 to n − 1. A reader of files must return a value or an error for every result,
/// without a panic and with bounded memory.
///
/// ```
/// let mut state = 1u64;
/// let mut below = |n: u64| {
///     state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
///     (state >> 33) % n
/// };
/// let damaged: Vec<Vec<u8>> = (0..20).map(|_| damaged_inputs::damaged(b"{\"samples\": 12}", &mut below)).collect();
/// assert!(damaged.iter().any(|bytes| bytes != b"{\"samples\": 12}"));
/// ```
pub fn damaged(bytes: &[u8], below: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = below(bytes.len() as u64) as usize;
        let end = (at + 1 + below(8) as usize).min(bytes.len());
        match below(6) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = below(256) as u8,
            2 => bytes[at..end].fill([0xff, 0x7f, b'9', 0][below(4) as usize]),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                let to = below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Runs a reader over an input and over `rounds` damaged copies of it.
///
/// Copy i is drawn from stream i of `purpose` with seed 0, so it is the same on every machine.
///
/// Where the environment variable `DAMAGED_INPUTS_SEEDS` names a folder, the undamaged input is also written there, under its
/// SHA-256 in a folder `purpose`: seeds for a fuzzer.
///
/// ```
/// let mut inputs = 0;
/// damaged_inputs::read_damaged("docs/json", b"{}", 10, |_| inputs += 1);
/// assert_eq!(inputs, 11);
/// ```
pub fn read_damaged(purpose: &str, input: &[u8], rounds: u64, mut read: impl FnMut(&[u8])) {
    write_seed(purpose, input);
    read(input);
    for round in 0..rounds {
        let mut stream = streams::stream(0, purpose, round);
        read(&damaged(input, &mut |n| stream.random_range(0..n)));
    }
}

/// Writes an input to the folder of seeds, if there is one.
#[allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
fn write_seed(purpose: &str, input: &[u8]) {
    let Some(folder) = std::env::var_os("DAMAGED_INPUTS_SEEDS") else { return };
    let folder = Path::new(&folder).join(purpose);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(support::sha256(input)), input).unwrap();
}
