//! The published class lists that come with this crate, each with its checksum.

use crate::{ClassSplit, Error, Glyphs, Result};

/// The class lists that come with this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SplitName {
    /// By script (see [`Glyphs::split`]).
    Glyphs,
    /// CIFAR-FS: 64, 16 and 20 classes of CIFAR-100. Bertinetto, Henriques, Torr, Vedaldi, ICLR 2019.
    CifarFs,
    /// mini-ImageNet: 64, 16 and 20 classes of ImageNet. Ravi, Larochelle, ICLR 2017.
    MiniImagenet,
}

impl SplitName {
    /// The lists.
    ///
    /// **Errors** [`Error::Corrupt`] if they do not match their checksum.
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

/// The split of Omniglot's classes, `alphabet/character`, by its authors: background alphabets are source classes, evaluation
/// alphabets are target classes. None if `classes` has classes of one kind only.
#[cfg(feature = "image")]
pub(super) fn omniglot(classes: &[String]) -> Result<Option<ClassSplit>> {
    let is_target =
        |class: &&String| class.split_once('/').is_some_and(|(alphabet, _)| OMNIGLOT_EVALUATION.contains(&alphabet));
    let (test, train): (Vec<&String>, Vec<&String>) = classes.iter().partition(is_target);
    match train.is_empty() || test.is_empty() {
        true => Ok(None),
        false => ClassSplit::new(train, &[] as &[String], test).map(Some),
    }
}

/// The alphabets of `images_evaluation.zip`: Lake, Salakhutdinov, Tenenbaum, Science 350 (2015), pages 1332 to 1338.
#[cfg(feature = "image")]
const OMNIGLOT_EVALUATION: [&str; 20] = [
    "Angelic",
    "Atemayar_Qelisayer",
    "Atlantean",
    "Aurek-Besh",
    "Avesta",
    "Ge_ez",
    "Glagolitic",
    "Gurmukhi",
    "Kannada",
    "Keble",
    "Malayalam",
    "Manipuri",
    "Mongolian",
    "Old_Church_Slavonic_(Cyrillic)",
    "Oriya",
    "Sylheti",
    "Syriac_(Serto)",
    "Tengwar",
    "Tibetan",
    "ULOG",
];

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

    #[cfg(feature = "image")]
    #[test]
    fn omniglots_alphabets_decide_its_split() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let split =
            omniglot(&names(&["Angelic/character01", "Greek/character01", "Greek/character02"])).unwrap().unwrap();
        assert_eq!((split.train().len(), split.test()), (2, &names(&["Angelic/character01"])[..]));
        assert_eq!(omniglot(&names(&["Greek/character01"])).unwrap(), None);
    }
}
