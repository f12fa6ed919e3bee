//! The published class lists that come with this crate, each with its checksum.

use super::SplitName;
use crate::{ClassSplit, Error, Glyphs, Result};

impl SplitName {
    /// The lists.
    ///
    /// **Errors** [`Error::Corrupt`] where they do not have their checksum.
    pub fn lists(self) -> Result<ClassSplit> {
        let (name, checksum, [train, validation, test]) = match self {
            Self::Glyphs => return Glyphs::split(),
            Self::CifarFs => (
                "CIFAR-FS",
                CIFAR_FS,
                [
                    include_str!("../../splits/cifar-fs-train.txt"),
                    include_str!("../../splits/cifar-fs-val.txt"),
                    include_str!("../../splits/cifar-fs-test.txt"),
                ],
            ),
            Self::MiniImagenet => (
                "mini-ImageNet",
                MINI_IMAGENET,
                [
                    include_str!("../../splits/mini-imagenet-train.txt"),
                    include_str!("../../splits/mini-imagenet-val.txt"),
                    include_str!("../../splits/mini-imagenet-test.txt"),
                ],
            ),
        };
        let split = ClassSplit::new(train.lines(), validation.lines(), test.lines())?;
        match split.checksum() {
            got if got == checksum => Ok(split),
            got => Err(Error::Corrupt { what: format!("class lists of {name}"), expected: checksum.to_owned(), got }),
        }
    }
}

/// [`ClassSplit::checksum`] of the lists.
const CIFAR_FS: &str = "502b0d87616b73582b46fcccee792d8b2adc1130a26d7393e816f3d2f65fdc6b";

/// [`ClassSplit::checksum`] of the lists.
const MINI_IMAGENET: &str = "ab1b23b269d7e71bd029f3f448b2a6fc7820684882bce1ddfa9b54b431333307";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_lists_have_64_16_and_20_classes() {
        for name in [SplitName::CifarFs, SplitName::MiniImagenet] {
            let split = name.lists().unwrap();
            assert_eq!([split.train().len(), split.validation().len(), split.test().len()], [64, 16, 20]);
        }
        let glyphs = SplitName::Glyphs.lists().unwrap();
        assert!(glyphs.train().len() >= 64 && glyphs.validation().len() >= 16 && glyphs.test().len() >= 20);
    }
}
