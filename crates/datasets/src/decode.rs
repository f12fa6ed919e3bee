//! From encoded images of any format to planes of bytes, told apart by content.

use std::io::Cursor;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
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
    /// 1 for grey, 3 for red, green, blue. None: grey where all images are, else red, green, blue.
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
    fn check_swelling(&self, size: usize, count: usize, place: &Placed<'_>) -> Result<()> {
        let limit = MIN_LIMIT.max(self.expected.1.saturating_mul(MAX_SWELLING));
        let wanted = (size as u64).saturating_mul(count as u64).saturating_add(self.pixels.len() as u64);
        match self.expected.1 > 0 && wanted > limit {
            true => Err(Error::TooLarge { context: place(0).0, wanted, limit }),
            false => Ok(()),
        }
    }

    /// Decodes `encoded` in parallel and appends it, all of it or nothing; `place` says in messages where each of them is.
    pub(crate) fn extend<B: AsRef<[u8]> + Sync>(&mut self, encoded: &[B], place: &Placed<'_>) -> Result<()> {
        let Some(first) = encoded.first() else { return Ok(()) };
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                let image = decode(first.as_ref()).map_err(|reason| Misfit::Unreadable(reason).error(place(0)))?;
                *self.shape.insert(self.form.shape_of(&image))
            }
        };
        match self.append(encoded, shape, place)? {
            Some((_, Misfit::Colour)) => {
                let shape = self.in_colour(shape);
                match self.append(encoded, shape, place)? {
                    Some((index, misfit)) => Err(misfit.error(place(index))),
                    None => Ok(()),
                }
            }
            Some((index, misfit)) => Err(misfit.error(place(index))),
            None => Ok(()),
        }
    }

    /// Appends images of one shape; gives the first that is none, after which nothing was appended.
    fn append<B: AsRef<[u8]> + Sync>(
        &mut self,
        encoded: &[B],
        shape: [usize; 3],
        place: &Placed<'_>,
    ) -> Result<Option<(usize, Misfit)>> {
        let (size, start) = (shape.iter().product::<usize>(), self.pixels.len());
        if start == 0 {
            self.reserve(size);
        }
        self.check_swelling(size, encoded.len(), place)?;
        self.pixels.resize(start + size * encoded.len(), 0);
        let form = self.form;
        let images = self.pixels[start..].par_chunks_exact_mut(size).zip(encoded).enumerate();
        let misfit = images.find_map_first(|(index, (out, bytes))| {
            let written = decode(bytes.as_ref()).map_err(Misfit::Unreadable);
            let written = written.and_then(|image| form.write(&image, shape, out));
            written.err().map(|misfit| (index, misfit))
        });
        if misfit.is_some() {
            self.pixels.truncate(start);
        }
        Ok(misfit)
    }

    /// Makes the images so far, all grey, red, green and blue alike, since one with colour came.
    fn in_colour(&mut self, [_, height, width]: [usize; 3]) -> [usize; 3] {
        let grey = std::mem::take(&mut self.pixels);
        let shape = *self.shape.insert([3, height, width]);
        self.reserve(3 * height * width);
        for image in grey.chunks_exact(height * width) {
            (0..3).for_each(|_| self.pixels.extend_from_slice(image));
        }
        shape
    }
}

/// The file of an image, and its row where that file is a table.
pub(crate) type Place = (String, Option<usize>);

/// The place of each image of a list.
pub(crate) type Placed<'a> = dyn Fn(usize) -> Place + 'a;

/// Why an image does not join the others.
#[derive(Debug)]
enum Misfit {
    Unreadable(String),
    /// Of another size.
    Size {
        expected: String,
        got: String,
    },
    /// The first with colour.
    Colour,
}

impl Misfit {
    fn error(self, (context, row): Place) -> Error {
        match self {
            Self::Unreadable(reason) => Error::UnreadableImage { context, row, reason },
            Self::Size { expected, got } => Error::MixedSizes { context, row, expected, got },
            // Only grey images meet it, and these were made coloured.
            Self::Colour => Error::UnreadableImage { context, row, reason: "it is not grey".to_owned() },
        }
    }
}

impl Form {
    /// The shape that all images get when this is the first of them.
    fn shape_of(&self, image: &DynamicImage) -> [usize; 3] {
        let own = if image.color().has_color() { 3 } else { 1 };
        let [height, width] = self.size.unwrap_or([image.height() as usize, image.width() as usize]);
        [self.channels.unwrap_or(own), height, width]
    }

    /// Writes an image plane by plane.
    fn write(
        &self,
        image: &DynamicImage,
        [channels, height, width]: [usize; 3],
        out: &mut [u8],
    ) -> std::result::Result<(), Misfit> {
        if self.channels.is_none() && channels == 1 && image.color().has_color() {
            return Err(Misfit::Colour);
        }
        let own = [image.height() as usize, image.width() as usize];
        let fitted;
        let image = match self.size {
            Some(_) if own != [height, width] => {
                fitted = image.resize_to_fill(width as u32, height as u32, FilterType::Triangle);
                &fitted
            }
            None if own != [height, width] => {
                let [expected, got] = [[width, height], [own[1], own[0]]].map(|[x, y]| format!("{x}×{y}"));
                return Err(Misfit::Size { expected, got });
            }
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

/// The image as it is meant to be seen: turned and mirrored as its EXIF data say.
fn decode(bytes: &[u8]) -> std::result::Result<DynamicImage, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("it is no PNG, JPEG or WebP".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let decode = || {
        let mut decoder = reader.into_decoder()?;
        limits.reserve(decoder.total_bytes())?;
        decoder.set_limits(limits)?;
        // Data that cannot be read say nothing.
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    decode().map_err(|error: image::ImageError| error.to_string())
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

    fn place(index: usize) -> Place {
        ("x".to_owned(), Some(index))
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
            collector.extend(&[encode(&colour(), format)], &place).unwrap();
            assert_eq!(collector.shape(), Some([3, 2, 3]));
            let plane = [0, 1, 2, 10, 11, 12];
            assert_eq!(collector.pixels[..6], plane);
            assert_eq!(collector.pixels[12..], plane.map(|value| value + 200));
        }
        let mut collector = Collector::new(Form::default());
        collector.extend(&[encode(&colour(), ImageFormat::Jpeg)], &place).unwrap();
        assert_eq!(collector.shape(), Some([3, 2, 3]));
    }

    #[test]
    fn grey_becomes_colour_and_back_when_asked() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![7, 9]).unwrap());
        let mut collector = Collector::new(Form { channels: Some(3), size: None });
        collector.extend(&[encode(&grey, ImageFormat::Png)], &place).unwrap();
        assert_eq!(collector.pixels, [7, 9, 7, 9, 7, 9]);
        let mut collector = Collector::new(Form { channels: Some(1), size: None });
        collector.extend(&[encode(&colour(), ImageFormat::Png)], &place).unwrap();
        assert_eq!(collector.shape(), Some([1, 2, 3]));
    }

    #[test]
    fn a_grey_image_does_not_make_those_after_it_grey() {
        let grey = DynamicImage::ImageLuma8(GrayImage::from_raw(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap());
        let (grey, coloured) = (encode(&grey, ImageFormat::Png), encode(&colour(), ImageFormat::Png));
        let mut together = Collector::new(Form::default());
        together.extend(&[&grey, &coloured, &grey], &place).unwrap();
        // The same where the first with colour comes in a later block.
        let mut apart = Collector::new(Form::default());
        for image in [&grey, &coloured, &grey] {
            apart.extend(&[image], &place).unwrap();
        }
        let mut coloured_first = Collector::new(Form { channels: Some(3), size: None });
        coloured_first.extend(&[&grey, &coloured, &grey], &place).unwrap();
        for collector in [together, apart] {
            assert_eq!((collector.shape(), collector.len()), (Some([3, 2, 3]), 3));
            assert_eq!(collector.pixels, coloured_first.pixels);
        }
        // Where grey is wanted it stays so.
        let mut wanted = Collector::new(Form { channels: Some(1), size: None });
        wanted.extend(&[&grey, &coloured], &place).unwrap();
        assert_eq!(wanted.shape(), Some([1, 2, 3]));
    }

    /// The JPEG with an EXIF segment after its first two bytes that holds nothing but this orientation.
    fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
        let tiff = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation, 0, 0, 0, 0, 0, 0][..]].concat();
        let segment = [&b"Exif\0\0"[..], &tiff].concat();
        let length = (segment.len() as u16 + 2).to_be_bytes();
        [&jpeg[..2], &[0xff, 0xe1], &length, &segment, &jpeg[2..]].concat()
    }

    #[test]
    fn photographs_stand_upright_as_their_camera_held_them() {
        // 16 wide, 8 high, the left half dark. Orientation 6: to be turned clockwise, so the left becomes the top.
        let photograph = GrayImage::from_fn(16, 8, |x, _| image::Luma([if x < 8 { 20 } else { 220 }]));
        let jpeg = encode(&DynamicImage::ImageLuma8(photograph), ImageFormat::Jpeg);
        let mut collector = Collector::new(Form::default());
        collector.extend(&[turned(&jpeg, 6)], &place).unwrap();
        assert_eq!(collector.shape(), Some([1, 16, 8]));
        assert!(collector.pixels[..40].iter().all(|value| *value < 60), "the top is dark");
        assert!(collector.pixels[88..].iter().all(|value| *value > 180), "the bottom is light");
        // 1: as it is; 99: no orientation at all.
        for orientation in [1, 99] {
            let mut collector = Collector::new(Form::default());
            collector.extend(&[turned(&jpeg, orientation)], &place).unwrap();
            assert_eq!(collector.shape(), Some([1, 8, 16]));
        }
    }

    #[test]
    fn the_first_misfit_is_named_whatever_the_threads_do() {
        let good = encode(&colour(), ImageFormat::Png);
        let images: Vec<&[u8]> = (0..400).map(|index| if index % 3 == 2 { &b"none"[..] } else { &good }).collect();
        for _ in 0..20 {
            let failed = Collector::new(Form::default()).extend(&images, &place);
            assert!(matches!(failed, Err(Error::UnreadableImage { row: Some(2), .. })), "{failed:?}");
        }
    }

    #[test]
    fn a_size_rule_scales_and_crops_around_the_centre() {
        // Four columns 0, 0, 200, 200 cropped to the middle two.
        let wide = DynamicImage::ImageLuma8(GrayImage::from_raw(4, 2, vec![0, 50, 200, 250, 0, 50, 200, 250]).unwrap());
        let mut collector = Collector::new(Form { channels: None, size: Some([2, 2]) });
        collector.extend(&[encode(&wide, ImageFormat::Png)], &place).unwrap();
        assert_eq!(collector.pixels, [50, 200, 50, 200]);
    }

    #[test]
    fn what_cannot_be_used_is_named_by_row_and_leaves_nothing() {
        let small = encode(&colour().crop_imm(0, 0, 2, 2), ImageFormat::Png);
        let good = encode(&colour(), ImageFormat::Png);
        let mut collector = Collector::new(Form::default());
        collector.extend(&[&good], &place).unwrap();
        let mixed = collector.extend(&[&good, &small], &place);
        assert!(matches!(mixed, Err(Error::MixedSizes { row: Some(1), .. })), "{mixed:?}");
        let unreadable = collector.extend(&[&good[..], &good[..30]], &place);
        assert!(matches!(unreadable, Err(Error::UnreadableImage { row: Some(1), .. })), "{unreadable:?}");
        assert_eq!(collector.len(), 1);
    }

    #[test]
    fn one_image_without_end_is_refused() {
        let tiny = encode(&colour(), ImageFormat::Png);
        let mut collector = Collector::new(Form { channels: None, size: Some([4096, 4096]) });
        collector.expect(1, 100);
        // 22 images of 48 MiB from a hundred bytes.
        let refused = collector.extend(&[&tiny; 22], &place);
        assert!(matches!(refused, Err(Error::TooLarge { limit: MIN_LIMIT, .. })), "{refused:?}");
    }

    #[test]
    fn a_huge_image_is_refused_before_it_is_made() {
        // A PNG header that claims 2³⁰ × 2³⁰ pixels.
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x40\0\0\0\x40\0\0\0\x08\0\0\0\0".to_vec();
        bytes.extend([0; 64]);
        let refused = Collector::new(Form::default()).extend(&[bytes], &place);
        assert!(matches!(refused, Err(Error::UnreadableImage { row: Some(0), .. })));
    }
}
