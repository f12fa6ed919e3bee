//! Random augmentation of training images, a function of (seed, epoch, image) only.

use std::ops::Range;

use rand::Rng;

use crate::normalisation::is_channels_last;
use crate::{Error, Result};

/// The rule for mirroring images left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// Never.
    #[default]
    Never,
    /// With probability one half in every epoch.
    Random,
    /// With probability one half in epoch 0, then alternating from epoch to epoch.
    ///
    /// **Source** K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, section 3.6: two
    /// consecutive epochs show both forms of every image.
    Alternating,
}

/// Random augmentation of training images: crop with padding, then flip, then cutout.
///
/// **Conventions** the changes of an image depend only on `seed`, the epoch and the image's position in the data set.
///
/// ```
/// use datasets::{Augmentation, Flip};
/// let usual = Augmentation { seed: 1, crop_padding: 4, flip: Flip::Random, ..Augmentation::none() };
/// assert_eq!(usual.cutout, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// The seed of the run.
    pub seed: u64,
    /// The padding p in pixels: the image is shifted by −p, …, p pixels along both axes, uniformly. The border is filled by
    /// reflection, without repeating the edge. 0 turns it off.
    pub crop_padding: usize,
    /// The rule for mirroring images left to right.
    pub flip: Flip,
    /// The side in pixels of a square around a uniformly drawn pixel, clipped at the edges, whose values become 0 after
    /// normalisation. 0 is the mean colour, so the mean activation of a network hardly changes. 0 turns it off.
    ///
    /// **Source** DeVries and Taylor, arXiv 1708.04552.
    pub cutout: usize,
}

impl Augmentation {
    /// No change at all.
    pub const fn none() -> Self {
        Self { seed: 0, crop_padding: 0, flip: Flip::Never, cutout: 0 }
    }

    pub(crate) fn check(&self, shape: [usize; 3]) -> Result<()> {
        let [_, height, width] = shape;
        let (side, largest) = (height.min(width), height.max(width).saturating_mul(2));
        if self.crop_padding >= side || self.cutout > largest {
            let layout = match [1, 3].iter().any(|channels| is_channels_last(shape, *channels)) {
                true => {
                    format!(" (their shape {shape:?} is height, width, channels instead of channels, height, width)")
                }
                false => String::new(),
            };
            let problem = format!(
                "crop padding {} and cutout {} do not fit images of {width}×{height}{layout}: the padding must be below \
                 {side}, the cutout at most {largest}",
                self.crop_padding, self.cutout
            );
            return Err(Error::InvalidOption { option: "augmentation", problem });
        }
        Ok(())
    }

    /// Writes the shifted and mirrored `image` to `out`, and gives the rows and columns of the cutout.
    pub(crate) fn apply(&self, image: &[u8], shape: [usize; 3], epoch: u64, index: u64, out: &mut [u8]) -> Cut {
        let [_, height, width] = shape;
        let purpose = format!("datasets/augmentation/{epoch}");
        let mut stream = streams::stream(self.seed, &purpose, index);
        let padding = self.crop_padding as isize;
        // All random numbers are drawn whether they are used or not, so that one option does not change the others.
        let draw_shift = |stream: &mut streams::Stream| (stream.random::<f64>() * (2 * padding + 1) as f64) as isize;
        let down = draw_shift(&mut stream) - padding;
        let right = draw_shift(&mut stream) - padding;
        let coin: bool = stream.random();
        let centre = [stream.random::<f64>() * height as f64, stream.random::<f64>() * width as f64];
        let mirrored = match self.flip {
            Flip::Never => false,
            Flip::Random => coin,
            Flip::Alternating => (epoch % 2 == 1) ^ self.first_flip(index),
        };
        let columns: Vec<usize> = (0..width)
            .map(|column| reflect(if mirrored { width - 1 - column } else { column } as isize + right, width))
            .collect();
        for (plane, changed) in image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width)) {
            for (row, line) in changed.chunks_exact_mut(width).enumerate() {
                let source = reflect(row as isize + down, height) * width;
                for (value, &column) in line.iter_mut().zip(&columns) {
                    *value = plane[source + column];
                }
            }
        }
        let [row, column] = centre.map(|side| side as usize);
        Cut { rows: self.around(row, height), columns: self.around(column, width) }
    }

    fn first_flip(&self, index: u64) -> bool {
        streams::stream(self.seed, "datasets/augmentation/first-flip", index).random()
    }

    /// The part of the square around `centre` that lies in 0..side.
    fn around(&self, centre: usize, side: usize) -> Range<usize> {
        let start = centre as isize - (self.cutout / 2) as isize;
        start.max(0) as usize..((start + self.cutout as isize).max(0) as usize).min(side)
    }
}

/// The rows and columns of a cutout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Cut {
    /// Sets the values of every channel there to 0.
    pub(crate) fn apply(&self, [_, height, width]: [usize; 3], values: &mut [f32]) {
        if self.rows.is_empty() || self.columns.is_empty() {
            return;
        }
        for plane in values.chunks_exact_mut(height * width) {
            for row in self.rows.clone() {
                plane[row * width..][self.columns.clone()].fill(0.0);
            }
        }
    }
}

/// The position inside 0..side to which `position` is reflected, without repeating the edge.
fn reflect(position: isize, side: usize) -> usize {
    let last = side as isize - 1;
    let folded = if position < 0 { -position } else { position };
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 3] = [2, 3, 4];

    fn image() -> Vec<u8> {
        (1..=24).collect()
    }

    fn changed(augmentation: Augmentation, epoch: u64, index: u64) -> Vec<u8> {
        let mut out = vec![0; 24];
        augmentation.check(SHAPE).unwrap();
        let cut = augmentation.apply(&image(), SHAPE, epoch, index, &mut out);
        let mut values: Vec<f32> = out.iter().map(|value| f32::from(*value)).collect();
        cut.apply(SHAPE, &mut values);
        values.iter().map(|value| *value as u8).collect()
    }

    #[test]
    fn no_augmentation_does_not_change_the_image() {
        assert_eq!(changed(Augmentation::none(), 3, 4), image());
    }

    #[test]
    fn mirroring_is_left_to_right() {
        let flip = Augmentation { flip: Flip::Random, ..Augmentation::none() };
        let mirrored: Vec<u8> =
            image().chunks(4).flat_map(|row| row.iter().rev().copied().collect::<Vec<_>>()).collect();
        let forms: Vec<_> = (0..40).map(|index| changed(flip, 0, index)).collect();
        assert!(forms.iter().all(|form| *form == mirrored || *form == image()));
        let count = forms.iter().filter(|form| **form == mirrored).count();
        assert!((8..=32).contains(&count), "{count} of 40");
    }

    #[test]
    fn alternating_flips_show_both_forms_in_two_epochs() {
        let flip = Augmentation { flip: Flip::Alternating, seed: 5, ..Augmentation::none() };
        for index in 0..20 {
            assert_ne!(changed(flip, 0, index), changed(flip, 1, index));
            assert_eq!(changed(flip, 0, index), changed(flip, 2, index));
        }
    }

    #[test]
    fn a_crop_is_a_shift_with_mirrored_edges() {
        let crop = Augmentation { crop_padding: 2, ..Augmentation::none() };
        let at =
            |plane: usize, row: isize, column: isize| image()[plane * 12 + reflect(row, 3) * 4 + reflect(column, 4)];
        let mut shifts = std::collections::HashSet::new();
        for index in 0..200 {
            let out = changed(crop, 1, index);
            let shift = (-2..=2).flat_map(|down| (-2..=2).map(move |right| (down, right))).find(|&(down, right)| {
                (0..24).all(|i| out[i] == at(i / 12, (i % 12 / 4) as isize + down, (i % 4) as isize + right))
            });
            shifts.insert(shift.expect("some shift explains the image"));
        }
        // Of 5 × 5 shifts, those by −2 and 2 rows look the same in three rows.
        assert_eq!(shifts.len(), 20);
        assert_eq!([reflect(-2, 4), reflect(-1, 4), reflect(4, 4), reflect(5, 4)], [2, 1, 2, 1]);
    }

    #[test]
    fn cutout_zeroes_one_square_of_every_channel() {
        let cut = Augmentation { cutout: 2, ..Augmentation::none() };
        let counts: Vec<_> =
            (0..100).map(|index| changed(cut, 0, index).iter().filter(|value| **value == 0).count()).collect();
        // Two channels times 1, 2 or 4 pixels, by how many edges the square meets.
        assert!(counts.iter().all(|count| [2, 4, 8].contains(count)), "{counts:?}");
        assert!(counts.contains(&8) && counts.contains(&4));
    }

    #[test]
    fn padding_beyond_the_image_is_refused() {
        let wide = Augmentation { crop_padding: 3, ..Augmentation::none() };
        assert!(matches!(wide.check(SHAPE), Err(Error::InvalidOption { option: "augmentation", .. })));
        // An image of 32×32 pixels with its channels last.
        let message = Augmentation { crop_padding: 4, ..wide }.check([32, 32, 3]).unwrap_err().to_string();
        assert!(message.contains("height, width, channels instead of"), "{message}");
    }
}
