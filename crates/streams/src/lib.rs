#![doc = include_str!("../README.md")]

use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

pub use rand_chacha::ChaCha8Rng as Stream;

mod draw;

pub use draw::{permutation, rademacher, standard_normal, uniform};

/// The random number generator of a run seed, a purpose and an index.
///
/// **Definition** the ChaCha8 generator whose 256-bit key is SHA-256(`seed` as 8 little-endian bytes, `index` as 8
/// little-endian bytes, the bytes of `purpose` in UTF-8).
///
/// **Conventions** `purpose` is a path of names, the crate first, such as `"models/init/features.0.weight"`. `index` is the
/// number of a step, epoch, image or probe. Equal arguments give equal numbers. Streams with different arguments can be
/// used as independent, so results depend neither on the order in which streams are opened nor on the number of threads.
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
