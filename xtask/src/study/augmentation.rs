//! The augmentation of training images.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Random changes of training images: crop with padding, then flip, then cutout. Measured images are never changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Augmentation {
    /// Images are shifted by up to this number of pixels along both axes; 0 for none.
    pub(crate) crop_padding: usize,
    /// Whether images are mirrored left to right.
    pub(crate) flip: Flip,
    /// Side in pixels of a square that is set to the mean colour; 0 for none.
    pub(crate) cutout: usize,
}

/// The rule for mirroring images left to right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Flip {
    /// Never.
    #[default]
    Never,
    /// With probability one half in every epoch.
    Random,
    /// With probability one half in the first epoch, then alternating.
    Alternating,
}

impl Augmentation {
    /// The augmentation of `datasets` for a run with this seed; none if nothing is changed.
    pub(crate) fn with_seed(self, seed: u64) -> Option<datasets::Augmentation> {
        let flip = match self.flip {
            Flip::Never => datasets::Flip::Never,
            Flip::Random => datasets::Flip::Random,
            Flip::Alternating => datasets::Flip::Alternating,
        };
        let Self { crop_padding, cutout, .. } = self;
        (self != Self::default()).then_some(datasets::Augmentation { seed, crop_padding, flip, cutout })
    }

    /// Refuses an augmentation that does not fit images of this height and width.
    pub(crate) fn check(self, [height, width]: [usize; 2]) -> Result<()> {
        let (least, most) = (height.min(width), 2 * height.max(width));
        if self.crop_padding >= least {
            bail!(
                "data.augmentation.crop_padding = {}: images of {width}×{height} pixels allow at most {}",
                self.crop_padding,
                least - 1
            );
        }
        if self.cutout > most {
            bail!("data.augmentation.cutout = {}: images of {width}×{height} pixels allow at most {most}", self.cutout);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_datasets() {
        let read: Augmentation = toml::from_str("crop_padding = 4\nflip = 'random'").unwrap();
        let expected = datasets::Augmentation { seed: 3, crop_padding: 4, flip: datasets::Flip::Random, cutout: 0 };
        assert_eq!(read.with_seed(3), Some(expected));
        assert_eq!(Augmentation::default().with_seed(3), None);
        assert!(toml::from_str::<Augmentation>("flip = 'always'").unwrap_err().to_string().contains("alternating"));
        let message = read.check([4, 9]).unwrap_err().to_string();
        assert_eq!(message, "data.augmentation.crop_padding = 4: images of 9×4 pixels allow at most 3");
        let message = Augmentation { cutout: 19, ..read }.check([8, 9]).unwrap_err().to_string();
        assert!(message.contains("cutout = 19") && message.contains("at most 18"), "{message}");
    }
}
