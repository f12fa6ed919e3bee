#![doc = include_str!("../README.md")]

use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

pub use rand_chacha::ChaCha8Rng as Stream;

mod draw;

pub use draw::{permutation, rademacher, standard_normal, uniform};

/// The stream with this address: a run seed, what the numbers are for, and which one of its kind it is.
///
/// **Definition** the ChaCha8 generator whose 256-bit key is SHA-256(`seed` as 8 little-endian bytes, `index`
/// likewise, then the bytes of `purpose`).
///
/// **Conventions** `purpose` is a path from the outside in, such as `"models/init/features.0.weight"`; `index` counts
/// what repeats (steps, epochs, images, probes). Streams of different addresses are independent for every purpose of
/// this workspace, so nothing depends on the order in which they are opened or on the number of threads.
///
/// ```
/// use rand::Rng;
/// let first: u64 = streams::stream(7, "docs/example", 0).random();
/// let again: u64 = streams::stream(7, "docs/example", 0).random();
/// let other: u64 = streams::stream(7, "docs/example", 1).random();
/// assert_eq!(first, again);
/// assert_ne!(first, other);
/// ```
pub fn stream(seed: u64, purpose: &str, index: u64) -> Stream {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(purpose.as_bytes());
    Stream::from_seed(hash.finalize().into())
}
