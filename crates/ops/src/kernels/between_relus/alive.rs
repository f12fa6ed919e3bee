//! Which channels count at which pixel.

use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::pool::PoolGeometry;

/// The channels alive at each pixel of an image.
pub(crate) struct Alive {
    starts: Vec<usize>,
    channels: Vec<u32>,
    /// At which pixel of a cotangent the numbers of each pixel are found, if it is not the same one.
    sources: Option<Vec<usize>>,
}

impl Alive {
    /// All channels.
    pub(super) fn everywhere(pixels: usize, channels: usize) -> Self {
        Self::marked(&vec![true; pixels * channels], channels)
    }

    /// Where the values of an image are positive.
    pub(super) fn positive<T: Element>(image: &[T], channels: usize) -> Self {
        let positive: Vec<bool> = image.iter().map(|value| *value > T::default()).collect();
        Self::marked(&positive, channels)
    }

    /// Where any of these images is not zero; NaN is not.
    pub(super) fn in_any<'a, T: Element>(
        images: impl Iterator<Item = &'a [T]>,
        pixels: usize,
        channels: usize,
    ) -> Self {
        let mut any = vec![false; pixels * channels];
        for image in images {
            InstructionSet::best().vectorised(|| {
                any.iter_mut().zip(image).for_each(|(any, value)| *any |= *value != T::default());
            });
        }
        Self::marked(&any, channels)
    }

    /// Where the maxima of an image were that are positive; the numbers are found at the pooled pixels. The windows are apart.
    pub(super) fn before_pool<T: Element>(geometry: &PoolGeometry, values: &[T], positions: &[u32]) -> Self {
        let (channels, pixels) = (geometry.channels, geometry.height * geometry.width);
        let (mut marks, mut sources) = (vec![false; pixels * channels], vec![0; pixels]);
        for (window, (values, positions)) in values.chunks(channels).zip(positions.chunks(channels)).enumerate() {
            for (channel, (value, pixel)) in values.iter().zip(positions).enumerate() {
                sources[*pixel as usize] = window;
                marks[*pixel as usize * channels + channel] = *value > T::default();
            }
        }
        Self { sources: Some(sources), ..Self::marked(&marks, channels) }
    }

    fn marked(marks: &[bool], channels: usize) -> Self {
        let mut alive = Self { starts: vec![0], channels: Vec::new(), sources: None };
        for pixel in marks.chunks(channels) {
            alive.channels.extend((0..).zip(pixel).filter_map(|(channel, mark)| mark.then_some(channel)));
            alive.starts.push(alive.channels.len());
        }
        alive
    }

    /// The channels alive at a pixel.
    pub(super) fn at(&self, pixel: usize) -> &[u32] {
        &self.channels[self.start(pixel)..self.start(pixel + 1)]
    }

    /// The pixel of a cotangent at which the numbers of this pixel are found.
    pub(super) fn source(&self, pixel: usize) -> usize {
        self.sources.as_ref().map_or(pixel, |sources| sources[pixel])
    }

    /// How many are alive at the pixels before this one.
    pub(super) fn start(&self, pixel: usize) -> usize {
        self.starts[pixel]
    }

    /// How many there are in all.
    pub(super) fn count(&self) -> usize {
        self.channels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_listed_by_pixel() {
        let alive = Alive::positive(&[0.0, 2.0, -1.0, 3.0, f32::NAN, 1.0], 3);
        assert_eq!((alive.at(0), alive.at(1), alive.count()), (&[1][..], &[0, 2][..], 3));
        let any = Alive::in_any([&[0.0, 0.0, 1.0][..], &[0.0, f64::NAN, 0.0][..]].into_iter(), 3, 1);
        assert_eq!((any.at(0), any.at(1), any.at(2)), (&[][..], &[0][..], &[0][..]));
        assert_eq!(Alive::everywhere(2, 2).at(1), [0, 1]);
    }
}
