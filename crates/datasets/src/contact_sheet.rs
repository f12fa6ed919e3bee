//! A picture of a data set: a few images of every class side by side, as PNG.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use crate::{Error, LabelledImages, Result};

/// The pixels between images.
const GAP: u32 = 2;

/// The layout of a contact sheet: a picture with a few images of every class. Needs the feature `image`.
///
/// ```
/// use datasets::{ContactSheet, LabelledImages};
/// let images = LabelledImages::new("tiny", (0..8).collect(), [1, 1, 2], vec![0, 1, 0, 1], ["a", "b"])?;
/// let png = ContactSheet::default().encode(&images)?;
/// assert!(png.starts_with(b"\x89PNG"));
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactSheet {
    /// The number of images per class; the first ones are shown. Default 10.
    pub per_class: usize,
    /// The number of classes; the first ones are shown. Default all.
    pub classes: usize,
    /// The number of classes side by side, each with `per_class` images. Classes fill one column after the other. Default 4.
    pub columns: usize,
    /// The side of the square that shows one pixel. Default 1.
    pub zoom: usize,
}

impl Default for ContactSheet {
    fn default() -> Self {
        Self { per_class: 10, classes: usize::MAX, columns: 4, zoom: 1 }
    }
}

impl ContactSheet {
    /// The sheet as PNG bytes: one row of images per class, from top to bottom, then the next column.
    ///
    /// **Errors** [`Error::InvalidOption`] if a number is 0 or the sheet would be wider or higher than 16384 pixels.
    pub fn encode(&self, images: &LabelledImages) -> Result<Vec<u8>> {
        let picture = self.draw(images)?;
        let mut bytes = Cursor::new(Vec::new());
        let written = picture.write_to(&mut bytes, ImageFormat::Png);
        written.map_err(|error| invalid(format!("the PNG could not be made: {error}")))?;
        Ok(bytes.into_inner())
    }

    /// Writes the sheet to a file, completely or not at all.
    ///
    /// **Errors** as [`Self::encode`]; [`Error::Io`].
    pub fn save(&self, images: &LabelledImages, path: &Path) -> Result<()> {
        support::write_file(path, &self.encode(images)?).map_err(Error::file)
    }

    fn draw(&self, images: &LabelledImages) -> Result<RgbImage> {
        if [self.per_class, self.classes, self.columns, self.zoom].contains(&0) {
            return Err(invalid("images per class, classes, columns and zoom must be at least 1".to_owned()));
        }
        let positions = images.positions_by_class();
        let shown = &positions[..positions.len().min(self.classes)];
        let rows = shown.len().div_ceil(self.columns).max(1);
        let columns = shown.len().div_ceil(rows).max(1);
        let zoom = self.zoom.min(1 << 14) as u32;
        let cell = [images.width(), images.height()].map(|side| {
            let side = side.saturating_mul(zoom as usize).saturating_add(GAP as usize);
            u32::try_from(side).unwrap_or(u32::MAX)
        });
        let across = (cell[0] as usize).saturating_mul(self.per_class).saturating_add(GAP as usize);
        let sides = [across.saturating_mul(columns), (cell[1] as usize).saturating_mul(rows)];
        if sides.iter().any(|side| *side > 16_384) {
            return Err(invalid(format!(
                "{}×{} pixels is too large; show fewer classes or images",
                sides[0], sides[1]
            )));
        }
        let mut sheet = RgbImage::from_pixel(sides[0] as u32, sides[1] as u32 + GAP, Rgb([40, 60, 90]));
        for (class, positions) in shown.iter().enumerate() {
            let group = (class / rows) as u32 * (cell[0] * self.per_class as u32 + GAP);
            for (at, &position) in positions.iter().take(self.per_class).enumerate() {
                let corner = [group + GAP + at as u32 * cell[0], GAP + (class % rows) as u32 * cell[1]];
                place(&mut sheet, images, position, corner, zoom);
            }
        }
        Ok(sheet)
    }
}

fn place(sheet: &mut RgbImage, images: &LabelledImages, position: usize, corner: [u32; 2], zoom: u32) {
    let [channels, height, width] = images.shape();
    let bytes = images.image(position);
    for row in 0..height as u32 * zoom {
        for column in 0..width as u32 * zoom {
            let at = (row / zoom) as usize * width + (column / zoom) as usize;
            let value = |channel: usize| bytes[channel.min(channels - 1) * height * width + at];
            sheet.put_pixel(corner[0] + column, corner[1] + row, Rgb([value(0), value(1), value(2)]));
        }
    }
}

fn invalid(problem: String) -> Error {
    Error::InvalidOption { option: "contact sheet", problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_rows_and_images_are_columns() {
        // Three classes of 1×2 images whose bytes are 10·class + image.
        let labels = vec![0, 0, 1, 1, 2, 2];
        let pixels = labels.iter().zip([0, 1].iter().cycle()).flat_map(|(l, i)| [10 * *l as u8 + i; 2]).collect();
        let images = LabelledImages::new("x", pixels, [1, 1, 2], labels, ["a", "b", "c"]).unwrap();
        let sheet = ContactSheet { per_class: 2, columns: 2, ..ContactSheet::default() };
        let picture = image::load_from_memory(&sheet.encode(&images).unwrap()).unwrap().to_rgb8();
        let at = |x, y| picture.get_pixel(x, y).0[0];
        // Cells are 4×3; the second column of classes starts at 2·4 + 2.
        assert_eq!([at(2, 2), at(6, 2), at(2, 5), at(6, 5), at(12, 2), at(16, 2)], [0, 1, 10, 11, 20, 21]);
        let none = ContactSheet { per_class: 0, ..sheet }.encode(&images);
        assert!(matches!(none, Err(Error::InvalidOption { .. })));
        let huge = ContactSheet { zoom: 9000, ..sheet }.encode(&images);
        assert!(matches!(huge, Err(Error::InvalidOption { .. })));
        let many = ContactSheet { per_class: usize::MAX, columns: usize::MAX, ..sheet }.encode(&images);
        assert!(matches!(many, Err(Error::InvalidOption { .. })));
    }
}
