//! Decoding of images of any supported format into planes of bytes of one shape.

mod codec;
mod place;

use rayon::prelude::*;

use crate::{Error, Form, Result};
use codec::Misfit;
pub(crate) use place::{ImagePlace, PlaceOf};

/// Decoded images may always take this many bytes.
const MIN_LIMIT: u64 = 1 << 30;

/// Beyond that, decoded images may take this many times the bytes of their files. A one-colour image of 224×224 pixels has
/// a ratio of 250.
const MAX_RATIO: u64 = 4096;

/// For blocks of more bytes, the sizes of all images are read from their headers before memory is allocated.
const CHECKED_BLOCK: usize = 64 << 20;

/// Decoded images of one shape, appended in order.
#[derive(Debug)]
pub(crate) struct Collector {
    form: Form,
    shape: Option<[usize; 3]>,
    pixels: Vec<u8>,
    expected: Expected,
}

/// The announced images.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    images: usize,
    /// The bytes of their files; 0 if unknown.
    bytes: u64,
}

/// An image that does not fit the others, by its position in the list.
struct FirstMisfit {
    index: usize,
    misfit: Misfit,
}

impl Collector {
    pub(crate) fn new(form: Form) -> Self {
        Self { form, shape: None, pixels: Vec::new(), expected: Expected::default() }
    }

    /// \[channels, height, width\], once there is an image.
    pub(crate) fn shape(&self) -> Option<[usize; 3]> {
        self.shape
    }

    /// The number of images.
    #[cfg(any(feature = "parquet", test))]
    pub(crate) fn len(&self) -> usize {
        self.shape.map_or(0, |shape| self.pixels.len() / shape.iter().product::<usize>())
    }

    /// States the number of images and the bytes of their files in advance. Memory is then allocated once, and bounded by these
    /// bytes.
    pub(crate) fn expect(&mut self, images: usize, bytes: u64) {
        self.expected = Expected { images, bytes };
    }

    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Decodes `encoded` in parallel and appends all of it, or nothing after an error.
    ///
    /// **Errors** [`Error::UnreadableImage`], [`Error::MixedSizes`], [`Error::TooLarge`], [`Error::OutOfMemory`].
    pub(crate) fn extend<B: AsRef<[u8]> + Sync>(&mut self, encoded: &[B], place: &PlaceOf<'_>) -> Result<()> {
        let Some(first) = encoded.first() else { return Ok(()) };
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                let image = codec::decode(first.as_ref());
                let image = image.map_err(|reason| Misfit::Unreadable(reason).error(place(0)))?;
                *self.shape.insert(codec::shape_of(self.form, &image))
            }
        };
        let misfit = match self.append(encoded, shape, place)? {
            Some(FirstMisfit { misfit: Misfit::Colour, .. }) => {
                let shape = self.convert_to_colour(shape, place)?;
                self.append(encoded, shape, place)?
            }
            misfit => misfit,
        };
        match misfit {
            Some(FirstMisfit { index, misfit }) => Err(misfit.error(place(index))),
            None => Ok(()),
        }
    }

    /// Appends images of one shape. Gives the first that does not fit; nothing is appended then.
    fn append<B: AsRef<[u8]> + Sync>(
        &mut self,
        encoded: &[B],
        shape: [usize; 3],
        place: &PlaceOf<'_>,
    ) -> Result<Option<FirstMisfit>> {
        let (size, start) = (shape.iter().product::<usize>(), self.pixels.len());
        if start == 0 {
            self.reserve_expected(size);
        }
        self.check_ratio(size, encoded.len(), place)?;
        let more = size.saturating_mul(encoded.len());
        if more > CHECKED_BLOCK && self.form.size.is_none() {
            let images = encoded.par_iter().enumerate();
            let check = |(index, bytes): (usize, &B)| Some((index, codec::check_size(bytes.as_ref(), shape).err()?));
            if let Some((index, misfit)) = images.find_map_first(check) {
                return Ok(Some(FirstMisfit { index, misfit }));
            }
        }
        self.reserve(more, place)?;
        self.pixels.resize(start + more, 0);
        let form = self.form;
        let images = self.pixels[start..].par_chunks_exact_mut(size).zip(encoded).enumerate();
        let misfit = images.find_map_first(|(index, (out, bytes))| {
            let written = codec::decode(bytes.as_ref()).map_err(Misfit::Unreadable);
            let written = written.and_then(|image| codec::write(form, &image, shape, out));
            written.err().map(|misfit| FirstMisfit { index, misfit })
        });
        if misfit.is_some() {
            self.pixels.truncate(start);
        }
        Ok(misfit)
    }

    /// Reserves memory for the announced images.
    fn reserve_expected(&mut self, size: usize) {
        let Expected { images, bytes } = self.expected;
        let plausible = usize::try_from(bytes.saturating_mul(64)).unwrap_or(usize::MAX);
        // If this fails, growing step by step may still succeed.
        let _ = self.pixels.try_reserve_exact(images.saturating_mul(size).min(plausible));
    }

    fn reserve(&mut self, more: usize, place: &PlaceOf<'_>) -> Result<()> {
        let reserved = self.pixels.try_reserve(more);
        let bytes = (self.pixels.len() as u64).saturating_add(more as u64);
        reserved.map_err(|_| Error::OutOfMemory { context: place(0).context, bytes })
    }

    /// Refuses thousands of times more pixels than there are bytes of input, such as from a table that repeats one image.
    fn check_ratio(&self, size: usize, count: usize, place: &PlaceOf<'_>) -> Result<()> {
        let limit = MIN_LIMIT.max(self.expected.bytes.saturating_mul(MAX_RATIO));
        let wanted = (size as u64).saturating_mul(count as u64).saturating_add(self.pixels.len() as u64);
        match self.expected.bytes > 0 && wanted > limit {
            true => Err(Error::TooLarge { context: place(0).context, what: "the images", wanted, limit }),
            false => Ok(()),
        }
    }

    /// Converts the grey images so far to red, green and blue, because an image with colour follows.
    fn convert_to_colour(&mut self, [_, height, width]: [usize; 3], place: &PlaceOf<'_>) -> Result<[usize; 3]> {
        let grey = std::mem::take(&mut self.pixels);
        let shape = *self.shape.insert([3, height, width]);
        self.reserve_expected(3 * height * width);
        self.reserve(grey.len().saturating_mul(3), place)?;
        for image in grey.chunks_exact(height * width) {
            (0..3).for_each(|_| self.pixels.extend_from_slice(image));
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests;
