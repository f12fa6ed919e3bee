//! From encoded images of any format to planes of bytes, told apart by content.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use rayon::prelude::*;

use crate::{Error, Result};

/// Wider or higher images are refused before anything is allocated for them.
const MAX_SIDE: u32 = 16_384;

/// Bytes that the decoder of one image may allocate.
const MAX_BYTES: u64 = 512 << 20;

/// Decoded images may take this many bytes, whatever they come from.
const MIN_LIMIT: u64 = 1 << 30;

/// Beyond that they may take this many times the bytes that they are encoded in: a grey square of 224 pixels is 250.
const MAX_SWELLING: u64 = 4096;

/// The form that images get while they are read.
///
/// ```
/// let rule = datasets::Form { size: Some([84, 84]), ..datasets::Form::default() };
/// assert_eq!(rule.channels, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Form {
    /// 1 for grey, 3 for red, green, blue. None: as the first image has it.
    pub channels: Option<usize>,
    /// \[height, width\]: each image is scaled, keeping its proportions, to just cover this size (bilinear, averaging
    /// when it shrinks) and cropped around its centre. None: all images must have the size of the first.
    pub size: Option<[usize; 2]>,
}

/// Decoded images of one shape, appended in order.
#[derive(Debug)]
pub(crate) struct Collector {
    form: Form,
    shape: Option<[usize; 3]>,
    pixels: Vec<u8>,
    /// Images that will come, and the bytes that they are encoded in.
    expected: (usize, u64),
}

impl Collector {
    pub(crate) fn new(form: Form) -> Self {
        Self { form, shape: None, pixels: Vec::new(), expected: (0, 0) }
    }

    /// \[channels, height, width\], once there is an image.
    pub(crate) fn shape(&self) -> Option<[usize; 3]> {
        self.shape
    }

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.shape.map_or(0, |shape| self.pixels.len() / shape.iter().product::<usize>())
    }

    /// Announces how many images will come in all, so that memory is taken once; `bytes` is what they are encoded in,
    /// and limits what is believed.
    pub(crate) fn expect(&mut self, count: usize, bytes: u64) {
        self.expected = (count, bytes);
    }

    pub(crate) fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Makes room for the images that were announced.
    fn reserve(&mut self, size: usize) {
        let (count, bytes) = self.expected;
        let plausible = usize::try_from(bytes.saturating_mul(64)).unwrap_or(usize::MAX);
        // A failed reservation is no error yet: growing step by step may still succeed.
        let _ = self.pixels.try_reserve_exact(count.saturating_mul(size).min(plausible));
    }

    /// Refuses to make thousands of times more pixels than there are bytes of input, as a file that repeats one image
    /// without end would have it.
    fn check_swelling<B: AsRef<[u8]>>(&mut self, size: usize, encoded: &[B], context: &str) -> Result<()> {
        let limit = MIN_LIMIT.max(self.expected.1.saturating_mul(MAX_SWELLING));
        let wanted = (size as u64).saturating_mul(encoded.len() as u64).saturating_add(self.pixels.len() as u64);
        match self.expected.1 > 0 && wanted > limit {
            true => Err(Error::TooLarge { context: context.to_owned(), wanted, limit }),
            false => Ok(()),
        }
    }

    /// Decodes `encoded` in parallel; image i is row `first_row + i` of `context` in messages.
    pub(crate) fn extend<B: AsRef<[u8]> + Sync>(
        &mut self,
        encoded: &[B],
        context: &str,
        first_row: usize,
    ) -> Result<()> {
        let Some(first) = encoded.first() else { return Ok(()) };
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                let image = decode(first.as_ref()).map_err(unreadable(context, first_row))?;
                *self.shape.insert(self.form.shape_of(&image))
            }
        };
        let (size, start) = (shape.iter().product::<usize>(), self.pixels.len());
        if start == 0 {
            self.reserve(size);
        }
        self.check_swelling(size, encoded, context)?;
        self.pixels.resize(start + size * encoded.len(), 0);
        let written = self.pixels[start..].par_chunks_exact_mut(size).zip(encoded).enumerate().try_for_each(
            |(index, (out, bytes))| {
                let row = first_row + index;
                let image = decode(bytes.as_ref()).map_err(unreadable(context, row))?;
                self.form.write(&image, shape, out).map_err(|got| Error::MixedSizes {
                    context: context.to_owned(),
                    row,
                    expected: format!("{}×{}", shape[2], shape[1]),
                    got,
                })
            },
        );
        written.inspect_err(|_| self.pixels.truncate(start))
    }
}

fn unreadable(context: &str, row: usize) -> impl FnOnce(String) -> Error + '_ {
    move |reason| Error::UnreadableImage { context: context.to_owned(), row, reason }
}

impl Form {
    /// The shape that all images get when this is the first of them.
    fn shape_of(&self, image: &DynamicImage) -> [usize; 3] {
        let own = if image.color().has_color() { 3 } else { 1 };
        let [height, width] = self.size.unwrap_or([image.height() as usize, image.width() as usize]);
        [self.channels.unwrap_or(own), height, width]
    }

    /// Writes an image plane by plane; the error is its size where that is not the expected one.
    fn write(
        &self,
        image: &DynamicImage,
        [channels, height, width]: [usize; 3],
        out: &mut [u8],
    ) -> std::result::Result<(), String> {
        let own = [image.height() as usize, image.width() as usize];
        let fitted;
        let image = match self.size {
            Some(_) if own != [height, width] => {
                fitted = image.resize_to_fill(width as u32, height as u32, FilterType::Triangle);
                &fitted
            }
            None if own != [height, width] => return Err(format!("{}×{}", own[1], own[0])),
            _ => image,
        };
        match channels {
            1 => match image.as_luma8() {
                Some(grey) => out.copy_from_slice(grey.as_raw()),
                None => out.copy_from_slice(image.to_luma8().as_raw()),
            },
            _ => match image.as_rgb8() {
                Some(colour) => split_channels(colour.as_raw(), out),
                None => split_channels(image.to_rgb8().as_raw(), out),
            },
        }
        Ok(())
    }
}

/// From red, green, blue side by side in each pixel to one plane each.
fn split_channels(interleaved: &[u8], planes: &mut [u8]) {
    let plane = planes.len() / 3;
    for (channel, values) in planes.chunks_exact_mut(plane).enumerate() {
        for (value, pixel) in values.iter_mut().zip(interleaved.chunks_exact(3)) {
            *value = pixel[channel];
        }
    }
}

fn decode(bytes: &[u8]) -> std::result::Result<DynamicImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    reader.decode().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageFormat, RgbImage};

    /// 3 wide, 2 high; the pixel in row r and column c is (10·r + c, 100 + 10·r + c, 200 + 10·r + c).
    fn colour() -> DynamicImage {
        let pixel = |c, r| image::Rgb([0, 100, 200].map(|base| base + (10 * r + c) as u8));
        DynamicImage::ImageRgb8(RgbImage::from_fn(3, 2, pixel))
    }

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn rows_and_columns_are_not_exchanged() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let mut collector = Collector::new(Form::default());
            collector.extend(&[encode(&colour(), format)], "x", 0).unwrap();
            assert_eq!(collector.shape(), Some([3, 2, 3]));
            let plane = [0, 1, 2, 10, 11, 12];
            assert_eq!(collector.pixels[..6], plane);
            assert_eq!(collector.pixels[12..], plane.map(|value| value + 200));
        }
        let mut collector = Collector::new(Form::default());
        collector.extend(&[encode(&colour(), ImageFormat::Jpeg)], "x", 0).unwrap();
        assert_eq!(collector.shape(), Some([3, 2, 3]));
    }

    #[test]
    fn grey_becomes_colour_and_back_when_asked() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![7, 9]).unwrap());
        let mut collector = Collector::new(Form { channels: Some(3), size: None });
        collector.extend(&[encode(&grey, ImageFormat::Png)], "x", 0).unwrap();
        assert_eq!(collector.pixels, [7, 9, 7, 9, 7, 9]);
        let mut collector = Collector::new(Form { channels: Some(1), size: None });
        collector.extend(&[encode(&colour(), ImageFormat::Png)], "x", 0).unwrap();
        assert_eq!(collector.shape(), Some([1, 2, 3]));
    }

    #[test]
    fn a_size_rule_scales_and_crops_around_the_centre() {
        // Four columns 0, 0, 200, 200 cropped to the middle two.
        let wide = DynamicImage::ImageLuma8(GrayImage::from_raw(4, 2, vec![0, 50, 200, 250, 0, 50, 200, 250]).unwrap());
        let mut collector = Collector::new(Form { channels: None, size: Some([2, 2]) });
        collector.extend(&[encode(&wide, ImageFormat::Png)], "x", 0).unwrap();
        assert_eq!(collector.pixels, [50, 200, 50, 200]);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_row_and_leaves_nothing() {
        let small = encode(&colour().crop_imm(0, 0, 2, 2), ImageFormat::Png);
        let good = encode(&colour(), ImageFormat::Png);
        let mut collector = Collector::new(Form::default());
        collector.extend(&[&good], "x", 0).unwrap();
        let mixed = collector.extend(&[&good, &small], "x", 1);
        assert!(matches!(mixed, Err(Error::MixedSizes { row: 2, .. })), "{mixed:?}");
        let unreadable = collector.extend(&[&good[..], &good[..30]], "x", 1);
        assert!(matches!(unreadable, Err(Error::UnreadableImage { row: 2, .. })), "{unreadable:?}");
        assert_eq!(collector.len(), 1);
    }

    #[test]
    fn one_image_without_end_is_refused() {
        let tiny = encode(&colour(), ImageFormat::Png);
        let mut collector = Collector::new(Form { channels: None, size: Some([4096, 4096]) });
        collector.expect(1, 100);
        // 22 images of 48 MiB from a hundred bytes.
        let refused = collector.extend(&[&tiny; 22], "x", 0);
        assert!(matches!(refused, Err(Error::TooLarge { limit: MIN_LIMIT, .. })), "{refused:?}");
    }

    #[test]
    fn a_huge_image_is_refused_before_it_is_made() {
        // A PNG header that claims 2³⁰ × 2³⁰ pixels.
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x40\0\0\0\x40\0\0\0\x08\0\0\0\0".to_vec();
        bytes.extend([0; 64]);
        let refused = Collector::new(Form::default()).extend(&[bytes], "x", 0);
        assert!(matches!(refused, Err(Error::UnreadableImage { row: 0, .. })));
    }
}
