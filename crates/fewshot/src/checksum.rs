//! SHA-256 of labels and episodes, which identify the data of a result.

use sha2::{Digest, Sha256};
use support::hexadecimal;

use crate::Episode;

/// The SHA-256 of a data set's labels, in hexadecimal.
///
/// **Definition** SHA-256 of the bytes `fewshot labels v1\n`, the number of labels as 8 little-endian bytes, and each
/// label as 4 little-endian bytes, in the order of the samples.
///
/// ```
/// assert_ne!(fewshot::labels_checksum(&[0, 1]), fewshot::labels_checksum(&[1, 0]));
/// ```
pub fn labels_checksum(labels: &[u32]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"fewshot labels v1\n");
    hash.update((labels.len() as u64).to_le_bytes());
    for block in labels.chunks(1 << 14) {
        let bytes: Vec<u8> = block.iter().flat_map(|label| label.to_le_bytes()).collect();
        hash.update(bytes);
    }
    hexadecimal(&hash.finalize())
}

/// The SHA-256 of one episode: way, classes, and support and queries with their classes, 8 little-endian bytes each.
pub(crate) fn episode_checksum(episode: &Episode) -> [u8; 32] {
    let mut bytes =
        Vec::with_capacity(8 * (4 + episode.way() + 2 * episode.support().len() + 2 * episode.query().len()));
    let mut put = |value: usize| bytes.extend_from_slice(&(value as u64).to_le_bytes());
    put(episode.way());
    episode.classes().iter().for_each(|&class| put(class as usize));
    for (samples, classes) in
        [(episode.support(), episode.support_classes()), (episode.query(), episode.query_classes())]
    {
        put(samples.len());
        samples.iter().zip(classes).for_each(|(&sample, &class)| {
            put(sample);
            put(class);
        });
    }
    Sha256::digest(&bytes).into()
}

/// The SHA-256 of the concatenated checksums of a sequence of episodes.
#[derive(Default)]
pub(crate) struct EpisodesChecksum(Sha256);

impl EpisodesChecksum {
    pub(crate) fn push(&mut self, checksum: &[u8; 32]) {
        self.0.update(checksum);
    }

    pub(crate) fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}
