//! Test images for data sets without a test part: the last sixth of every class.

use crate::{Dataset, Result};

/// One of this many images of a class is a test image: 100 of 600 in mini-ImageNet, as in CIFAR-FS.
const TEST_SHARE: usize = 6;

/// Moves the last images of each class from `train`, which holds all images, to `test`.
pub(super) fn with_test_split_off(dataset: Dataset) -> Result<Dataset> {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for positions in dataset.train.positions_by_class() {
        let (first, last) = positions.split_at(positions.len() - positions.len() / TEST_SHARE);
        train.extend_from_slice(first);
        test.extend_from_slice(last);
    }
    // Every view keeps the order of the images.
    train.sort_unstable();
    test.sort_unstable();
    let (train, test) = (dataset.train.select(&train)?, dataset.train.select(&test)?);
    Ok(Dataset { train, test, ..dataset })
}
