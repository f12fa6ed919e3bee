//! One image: its format is recognised from its first bytes, and its pixels are written as planes.

use std::io::Cursor;

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};

use super::place::ImagePlace;
use crate::form::MAX_SIDE;
use crate::{Error, Form};

/// The bytes that the decoder of one image may allocate.
const MAX_BYTES: u64 = 512 << 20;

/// Why an image does not fit the others.
#[derive(Debug)]
pub(super) enum Misfit {
    Unreadable(String),
    /// Another size.
    Size {
        expected: String,
        got: String,
    },
    /// The first image with colour.
    Colour,
}

impl Misfit {
    pub(super) fn error(self, ImagePlace { context, row }: ImagePlace) -> Error {
        match self {
            Self::Unreadable(reason) => Error::UnreadableImage { context, row, reason },
            Self::Size { expected, got } => Error::MixedSizes { context, row, expected, got },
            // Unreachable from `Collector::extend`, which converts the images before it to colour.
            Self::Colour => Error::UnreadableImage { context, row, reason: "it is not grey".to_owned() },
        }
    }

    fn size(expected: [usize; 2], got: [usize; 2]) -> Self {
        let [expected, got] = [expected, got].map(|[height, width]| format!("{width}×{height}"));
        Self::Size { expected, got }
    }
}

/// The image, rotated and mirrored by the orientation in its EXIF data.
pub(super) fn decode(bytes: &[u8]) -> std::result::Result<DynamicImage, String> {
    let mut decoder = decoder(bytes)?;
    let orientation = orientation(&mut decoder);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// Compares the size in the image's header with a shape. No pixel is decoded.
pub(super) fn check_size(bytes: &[u8], [_, height, width]: [usize; 3]) -> std::result::Result<(), Misfit> {
    let mut decoder = decoder(bytes).map_err(Misfit::Unreadable)?;
    let (columns, rows) = decoder.dimensions();
    let stored = [rows as usize, columns as usize];
    let turned = matches!(
        orientation(&mut decoder),
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let own = if turned { [stored[1], stored[0]] } else { stored };
    if own == [height, width] { Ok(()) } else { Err(Misfit::size([height, width], own)) }
}

/// \[channels, height, width\] of all images if this is the first of them.
pub(super) fn shape_of(form: Form, image: &DynamicImage) -> [usize; 3] {
    let own = if image.color().has_color() { 3 } else { 1 };
    let [height, width] = form.size.unwrap_or([image.height() as usize, image.width() as usize]);
    [form.channels.unwrap_or(own), height, width]
}

/// Writes an image plane by plane.
pub(super) fn write(
    form: Form,
    image: &DynamicImage,
    [channels, height, width]: [usize; 3],
    out: &mut [u8],
) -> std::result::Result<(), Misfit> {
    if form.channels.is_none() && channels == 1 && image.color().has_color() {
        return Err(Misfit::Colour);
    }
    let own = [image.height() as usize, image.width() as usize];
    let fitted;
    let image = match form.size {
        Some(_) if own != [height, width] => {
            fitted = image.resize_to_fill(width as u32, height as u32, FilterType::Triangle);
            &fitted
        }
        None if own != [height, width] => return Err(Misfit::size([height, width], own)),
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

/// Converts pixels of red, green and blue into one plane per channel.
fn split_channels(interleaved: &[u8], planes: &mut [u8]) {
    let plane = planes.len() / 3;
    for (channel, values) in planes.chunks_exact_mut(plane).enumerate() {
        for (value, pixel) in values.iter_mut().zip(interleaved.chunks_exact(3)) {
            *value = pixel[channel];
        }
    }
}

fn decoder(bytes: &[u8]) -> std::result::Result<impl ImageDecoder + '_, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    if reader.format().is_none() {
        return Err("it is no PNG, JPEG or WebP".to_owned());
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits.clone());
    let limited = || {
        let mut decoder = reader.into_decoder()?;
        limits.reserve(decoder.total_bytes())?;
        decoder.set_limits(limits)?;
        Ok(decoder)
    };
    limited().map_err(|error: ImageError| error.to_string())
}

/// The orientation in the EXIF data. Unreadable data count as none.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}
