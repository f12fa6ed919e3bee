//! The channels of each pixel that take part in the products.

use crate::kernels::Element;
use crate::kernels::instruction_set::InstructionSet;
use crate::kernels::pool::PoolGeometry;

/// The active channels of each pixel of an image.
pub(crate) struct ActiveChannels {
    starts: Vec<usize>,
    channels: Vec<u32>,
    /// The pixel of a cotangent that holds the values of each pixel, if it is not the same pixel.
    sources: Option<Vec<usize>>,
}

impl ActiveChannels {
    /// All channels are active.
    pub(super) fn all(pixels: usize, channels: usize) -> Self {
        Self::marked(&vec![true; pixels * channels], channels)
    }

    /// Channels with a positive value are active.
    pub(super) fn positive<T: Element>(image: &[T], channels: usize) -> Self {
        let positive: Vec<bool> = image.iter().map(|value| *value > T::default()).collect();
        Self::marked(&positive, channels)
    }

    /// Channels that are not zero in at least one of these images are active. NaN is not zero.
    pub(super) fn non_zero_in_any<'a, T: Element>(
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

    /// Channels with a positive maximum are active, at the pixel of the maximum. The pooled pixel holds the value. The windows
    /// are disjoint.
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
        let mut active = Self { starts: vec![0], channels: Vec::new(), sources: None };
        for pixel in marks.chunks(channels) {
            active.channels.extend((0..).zip(pixel).filter_map(|(channel, mark)| mark.then_some(channel)));
            active.starts.push(active.channels.len());
        }
        active
    }

    /// The active channels of a pixel.
    pub(super) fn at(&self, pixel: usize) -> &[u32] {
        &self.channels[self.start(pixel)..self.start(pixel + 1)]
    }

    /// The pixel of a cotangent that holds the values of this pixel.
    pub(super) fn source(&self, pixel: usize) -> usize {
        self.sources.as_ref().map_or(pixel, |sources| sources[pixel])
    }

    /// The number of active channels of all pixels before this one.
    pub(super) fn start(&self, pixel: usize) -> usize {
        self.starts[pixel]
    }

    /// The number of active channels of all pixels.
    pub(super) fn count(&self) -> usize {
        self.channels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_listed_by_pixel() {
        let active = ActiveChannels::positive(&[0.0, 2.0, -1.0, 3.0, f32::NAN, 1.0], 3);
        assert_eq!((active.at(0), active.at(1), active.count()), (&[1][..], &[0, 2][..], 3));
        let any = ActiveChannels::non_zero_in_any([&[0.0, 0.0, 1.0][..], &[0.0, f64::NAN, 0.0][..]].into_iter(), 3, 1);
        assert_eq!((any.at(0), any.at(1), any.at(2)), (&[][..], &[0][..], &[0][..]));
        assert_eq!(ActiveChannels::all(2, 2).at(1), [0, 1]);
    }
}
