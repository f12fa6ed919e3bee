//! Random changes of training images, each a function of (seed, epoch, image) alone.

use std::ops::Range;

use rand::Rng;

use crate::{Error, Result};

/// Whether images are mirrored left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flip {
    /// Never.
    #[default]
    Never,
    /// Each time with probability one half.
    Random,
    /// With probability one half in epoch 0, then every other epoch.
    ///
    /// **Source** K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498, section 3.6: two
    /// consecutive epochs show both forms of every image.
    Alternating,
}

/// Random changes of training images: crop with padding, then flip, then cutout.
///
/// **Conventions** what happens to an image depends on `seed`, the epoch and the image's position in the data set only.
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
    /// The image is shifted by −p, …, p pixels along both axes, uniformly; what comes in is mirrored at the edge
    /// (without repeating the edge itself). 0 leaves it.
    pub crop_padding: usize,
    /// Whether images are mirrored left to right.
    pub flip: Flip,
    /// A square of this side around a uniformly drawn pixel, cut at the edges, becomes 0 after normalisation: the mean
    /// colour, so that the mean activation of a network hardly changes. 0 leaves it.
    ///
    /// **Source** DeVries and Taylor, arXiv 1708.04552.
    pub cutout: usize,
}

impl Augmentation {
    /// No change at all.
    pub const fn none() -> Self {
        Self { seed: 0, crop_padding: 0, flip: Flip::Never, cutout: 0 }
    }

    pub(crate) fn check(&self, [_, height, width]: [usize; 3]) -> Result<()> {
        let side = height.min(width);
        if self.crop_padding >= side || self.cutout > 2 * height.max(width) {
            let problem = format!(
                "crop padding {} and cutout {} do not fit images of {width}×{height}: the padding must be below {side}",
                self.crop_padding, self.cutout
            );
            return Err(Error::InvalidOption { option: "augmentation", problem });
        }
        Ok(())
    }

    /// Writes the shifted and mirrored form of `image` to `out`, and gives the rows and columns to cut out.
    pub(crate) fn apply(&self, image: &[u8], shape: [usize; 3], epoch: u64, index: u64, out: &mut [u8]) -> Cut {
        let [_, height, width] = shape;
        let purpose = format!("datasets/augmentation/{epoch}");
        let mut stream = streams::stream(self.seed, &purpose, index);
        let padding = self.crop_padding as isize;
        // Every kind draws whether it is used or not, so that turning one on leaves the others alone.
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

    /// What the square around `centre` has of 0..side.
    fn around(&self, centre: usize, side: usize) -> Range<usize> {
        let start = centre as isize - (self.cutout / 2) as isize;
        start.max(0) as usize..((start + self.cutout as isize).max(0) as usize).min(side)
    }
}

/// Rows and columns of an image that carry nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Cut {
    /// Makes the values of every channel 0 there.
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

/// The position inside 0..side that `position` is mirrored to, without repeating the edge.
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
    fn none_leaves_the_image() {
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
    fn alternating_shows_both_forms_in_two_epochs() {
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
    fn cutout_empties_one_square_of_every_channel() {
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
    }
}
