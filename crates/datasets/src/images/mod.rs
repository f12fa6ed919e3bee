//! Labelled images in memory: one block of u8 pixels, shared by any number of views.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::decoded::Mapped;
use crate::error::suggestions;
use crate::form::MAX_SIDE;
use crate::{Batch, Error, Normalisation, Result};

/// The pixels of a whole data set, shared by its views.
#[derive(Debug)]
pub(crate) enum Pixels {
    /// In this process's memory.
    Owned(Vec<u8>),
    /// In a mapped file of decoded images.
    Mapped(Mapped),
}

impl std::ops::Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

/// Images with labels and class names, as a view of shared pixels.
///
/// **Shapes** every image is channels × height × width, stored row by row within its channel, one byte per value.
///
/// **Conventions** labels are 0, 1, …, `class_count() − 1`, in the order of `classes()`. Views keep the order of the
/// images unless their documentation says otherwise. Clones and views share the pixels and take a few bytes per image.
///
/// ```
/// use datasets::LabelledImages;
/// // Three grey images of height 1 and width 2.
/// let images = LabelledImages::new("tiny", vec![0, 1, 2, 3, 4, 5], [1, 1, 2], vec![0, 1, 0], ["cat", "dog"])?;
/// assert_eq!(images.image(2), [4, 5]);
/// let dogs_first = images.subset_classes(&[1, 0])?;
/// assert_eq!(dogs_first.labels(), [1, 0, 1]);
/// assert_eq!(dogs_first.classes()[0], "dog");
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelledImages {
    name: Arc<str>,
    pixels: Arc<Pixels>,
    shape: [usize; 3],
    rows: Arc<[u32]>,
    labels: Arc<[u32]>,
    classes: Arc<[String]>,
}

impl LabelledImages {
    /// Labelled images from pixels in memory.
    ///
    /// **Shapes** `pixels` holds `labels.len()` images, each of `shape` = \[channels, height, width\].
    ///
    /// **Errors** [`Error::Inconsistent`] if the number of bytes is not that of these images, [`Error::LabelOutOfRange`] if a
    /// label names no class.
    pub fn new(
        name: &str,
        pixels: Vec<u8>,
        shape: [usize; 3],
        labels: Vec<u32>,
        classes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        Self::from_pixels(name, Arc::new(Pixels::Owned(pixels)), shape, labels, classes)
    }

    /// Labelled images from a file of decoded images.
    pub(crate) fn mapped(
        name: &str,
        pixels: Mapped,
        shape: [usize; 3],
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self> {
        Self::from_pixels(name, Arc::new(Pixels::Mapped(pixels)), shape, labels, classes)
    }

    /// The pixels that these images share with others, in the order in which they were read.
    pub(crate) fn block(&self) -> &[u8] {
        &self.pixels
    }

    fn from_pixels(
        name: &str,
        pixels: Arc<Pixels>,
        shape: [usize; 3],
        labels: Vec<u32>,
        classes: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let classes: Arc<[String]> = classes.into_iter().map(Into::into).collect();
        let expected = shape.iter().try_fold(labels.len(), |product, side| product.checked_mul(*side));
        let expected = expected.filter(|&count| count == pixels.len() && shape.iter().all(|&side| side > 0));
        if expected.is_none() || u32::try_from(labels.len()).is_err() {
            return Err(Error::Inconsistent {
                dataset: name.to_owned(),
                what: "bytes of pixels",
                expected: format!("{} images of shape {shape:?}", labels.len()),
                got: format!("{} bytes", pixels.len()),
            });
        }
        if let Some((row, &label)) = labels.iter().enumerate().find(|(_, label)| **label as usize >= classes.len()) {
            let label = i64::from(label);
            return Err(Error::LabelOutOfRange { context: name.to_owned(), row, label, classes: classes.len() });
        }
        let rows = (0..labels.len() as u32).collect();
        Ok(Self { name: name.into(), pixels, shape, rows, labels: labels.into(), classes })
    }

    /// The name of the data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same images under another name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The label of every image, in order.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The class names; label i belongs to the class at position i.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The number of classes, with or without images.
    pub fn class_count(&self) -> usize {
        self.classes.len()
    }

    /// The number of images of each class.
    pub fn images_per_class(&self) -> Vec<usize> {
        let mut counts = vec![0; self.class_count()];
        for &label in self.labels.iter() {
            counts[label as usize] += 1;
        }
        counts
    }

    /// \[channels, height, width\] of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of channels of each image: 1 for grey, 3 for red, green, blue.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// The height of every image in pixels.
    pub fn height(&self) -> usize {
        self.shape[1]
    }

    /// The width of every image in pixels.
    pub fn width(&self) -> usize {
        self.shape[2]
    }

    /// The bytes of one image: channel by channel, each row by row.
    ///
    /// **Panics** if `index` is not below `len()`, like a slice.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.image_bytes();
        let start = self.rows[index] as usize * size;
        &self.pixels[start..start + size]
    }

    pub(crate) fn image_bytes(&self) -> usize {
        self.shape.iter().product()
    }

    /// The images at these positions, in this order. A position may occur several times.
    ///
    /// **Errors** [`Error::ImageOutOfRange`].
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(&index) = indices.iter().find(|&&index| index >= self.len()) {
            return Err(Error::ImageOutOfRange { dataset: self.name.to_string(), index, count: self.len() });
        }
        let rows = indices.iter().map(|&index| self.rows[index]).collect();
        let labels = indices.iter().map(|&index| self.labels[index]).collect();
        Ok(Self { rows, labels, ..self.clone() })
    }

    /// The images of these classes only. The class at position i of `classes` gets label i.
    ///
    /// **Errors** [`Error::ClassOutOfRange`], [`Error::InvalidOption`] if a class is named twice, [`Error::EmptyClass`] if a
    /// class has no image.
    pub fn subset_classes(&self, classes: &[u32]) -> Result<Self> {
        let mut renumbered: Vec<Option<u32>> = vec![None; self.class_count()];
        for (new, &class) in classes.iter().enumerate() {
            let dataset = || self.name.to_string();
            match renumbered.get_mut(class as usize) {
                None => {
                    return Err(Error::ClassOutOfRange { dataset: dataset(), class, count: self.class_count() });
                }
                Some(Some(_)) => {
                    let problem = format!("{}: class {class} is named twice; name every class once", self.name);
                    return Err(Error::InvalidOption { option: "classes", problem });
                }
                Some(slot) => *slot = Some(new as u32),
            }
        }
        let (rows, labels): (Vec<u32>, Vec<u32>) = (self.rows.iter().zip(self.labels.iter()))
            .filter_map(|(&row, &label)| renumbered[label as usize].map(|new| (row, new)))
            .unzip();
        let names = classes.iter().map(|&class| self.classes[class as usize].clone()).collect();
        let view = Self { rows: rows.into(), labels: labels.into(), classes: names, ..self.clone() };
        view.check_no_class_empty()?;
        Ok(view)
    }

    /// The images of the classes with these names. The class at position i of `names` gets label i.
    ///
    /// **Errors** [`Error::UnknownClass`] with the nearest names, and those of [`Self::subset_classes`].
    pub fn subset_class_names<S: AsRef<str>>(&self, names: &[S]) -> Result<Self> {
        self.subset_classes(&self.class_numbers(names)?)
    }

    /// The labels of the classes with these names.
    ///
    /// **Errors** [`Error::UnknownClass`] with the nearest names.
    pub fn class_numbers<S: AsRef<str>>(&self, names: &[S]) -> Result<Vec<u32>> {
        let numbers: HashMap<&str, u32> = self.classes.iter().map(String::as_str).zip(0..).collect();
        let find = |name: &S| {
            numbers.get(name.as_ref()).copied().ok_or_else(|| Error::UnknownClass {
                dataset: self.name.to_string(),
                name: name.as_ref().to_owned(),
                suggestions: suggestions(name.as_ref(), self.classes.iter().map(String::as_str)),
            })
        };
        names.iter().map(find).collect()
    }

    /// At most `count` random images of each class, in their old order.
    ///
    /// **Conventions** the choice for a class depends only on the seed and on the class's name, so it is the same in every
    /// subset of classes.
    pub fn limit_per_class(&self, count: usize, seed: u64) -> Self {
        let mut kept = Vec::new();
        for (class, positions) in self.positions_by_class().into_iter().enumerate() {
            let purpose = format!("datasets/limit-per-class/{}", self.classes[class]);
            let order = streams::permutation(&mut streams::stream(seed, &purpose, 0), positions.len());
            kept.extend(order.into_iter().take(count).map(|position| positions[position]));
        }
        kept.sort_unstable();
        self.keep(&kept)
    }

    /// As many images of every class as the smallest class has, chosen as by [`Self::limit_per_class`].
    ///
    /// **Errors** [`Error::EmptyClass`], because no image would remain.
    pub fn class_balanced(&self, seed: u64) -> Result<Self> {
        self.check_no_class_empty()?;
        Ok(self.limit_per_class(self.images_per_class().into_iter().min().unwrap_or(0), seed))
    }

    /// The positions of the images of every class, in order.
    pub fn positions_by_class(&self) -> Vec<Vec<usize>> {
        let mut positions = vec![Vec::new(); self.class_count()];
        for (position, &label) in self.labels.iter().enumerate() {
            positions[label as usize].push(position);
        }
        positions
    }

    /// The same images with a black border of this many pixels on every side.
    ///
    /// **Shapes** channels × (height + 2·`pixels`) × (width + 2·`pixels`). The pixels are copied.
    ///
    /// **Errors** [`Error::InvalidOption`] if a side would exceed 16384 pixels; [`Error::OutOfMemory`].
    ///
    /// ```
    /// use datasets::LabelledImages;
    /// // One grey image of height 1 and width 2.
    /// let image = LabelledImages::new("tiny", vec![7, 8], [1, 1, 2], vec![0], ["cat"])?;
    /// let padded = image.pad(1)?;
    /// assert_eq!(padded.shape(), [1, 3, 4]);
    /// assert_eq!(padded.image(0), [0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0]);
    /// # datasets::Result::Ok(())
    /// ```
    pub fn pad(&self, pixels: usize) -> Result<Self> {
        let [channels, height, width] = self.shape;
        let [high, wide] = [height, width].map(|side| side.saturating_add(pixels.saturating_mul(2)));
        if high.max(wide) > MAX_SIDE {
            let problem =
                format!("{pixels} pixels around images of {height}×{width}: a side may have {MAX_SIDE} pixels");
            return Err(Error::InvalidOption { option: "padding", problem });
        }
        let plane = high * wide;
        let bytes = (self.len() * channels).saturating_mul(plane);
        let mut padded = Vec::new();
        let out_of_memory = |_| Error::OutOfMemory { context: self.name.to_string(), bytes: bytes as u64 };
        padded.try_reserve_exact(bytes).map_err(out_of_memory)?;
        padded.resize(bytes, 0);
        for (index, image) in padded.chunks_exact_mut(channels * plane).enumerate() {
            let rows = self.image(index).chunks_exact(width);
            for (row, values) in rows.enumerate() {
                let start = row / height * plane + (row % height + pixels) * wide + pixels;
                image[start..start + width].copy_from_slice(values);
            }
        }
        Self::new(&self.name, padded, [channels, high, wide], self.labels.to_vec(), self.classes.iter().cloned())
    }

    /// The mean and standard deviation (divisor: number of pixels) of every channel over all images, in \[0, 1\] units.
    ///
    /// **Errors** [`Error::InvalidOption`] if there is no image, or all pixels of a channel are equal.
    pub fn measure_normalisation(&self) -> Result<Normalisation> {
        if self.is_empty() {
            let problem = format!("{} has no image to measure a normalisation on", self.name);
            return Err(Error::InvalidOption { option: "images", problem });
        }
        let plane = self.height() * self.width();
        let mut sums = vec![(0u64, 0u64); self.channels()];
        for index in 0..self.len() {
            for (channel, values) in sums.iter_mut().zip(self.image(index).chunks_exact(plane)) {
                channel.0 += values.iter().map(|&value| u64::from(value)).sum::<u64>();
                channel.1 += values.iter().map(|&value| u64::from(value).pow(2)).sum::<u64>();
            }
        }
        let count = (self.len() * plane) as f64;
        let mean = |sum: u64| sum as f64 / count / 255.0;
        let std = |sum: u64, squares: u64| (squares as f64 / count / 65025.0 - mean(sum).powi(2)).max(0.0).sqrt();
        let means: Vec<f32> = sums.iter().map(|(sum, _)| mean(*sum) as f32).collect();
        let stds: Vec<f32> = sums.iter().map(|(sum, squares)| std(*sum, *squares) as f32).collect();
        // Exact: n·Σv² = (Σv)² holds for equal values only. The rounded standard deviation need not be 0.
        let pixels = (self.len() * plane) as u128;
        let constant = |&(sum, squares): &(u64, u64)| pixels * u128::from(squares) == u128::from(sum).pow(2);
        if let Some(channel) = sums.iter().position(constant) {
            let problem = format!(
                "{}: all pixels of channel {channel} have the value {:.0} in all {} images, so they cannot be divided by \
                 their standard deviation; check the images, or give a mean and a standard deviation",
                self.name,
                mean(sums[channel].0) * 255.0,
                self.len()
            );
            return Err(Error::InvalidOption { option: "images", problem });
        }
        Normalisation::new(&means, &stds)
    }

    /// The images at these positions as one normalised batch.
    ///
    /// **Shapes** images \[n, channels, height, width\] in f32, labels \[n\] in u32.
    ///
    /// **Errors** [`Error::ImageOutOfRange`], [`Error::InvalidOption`] if the normalisation has another number of channels,
    /// [`Error::Candle`].
    pub fn batch(&self, indices: &[usize], normalisation: &Normalisation, device: &Device) -> Result<Batch> {
        let view = self.select(indices)?;
        let table = normalisation.table(self.shape())?;
        let mut values = vec![0f32; indices.len() * self.image_bytes()];
        for (index, image) in values.chunks_exact_mut(self.image_bytes()).enumerate() {
            table.apply(view.image(index), image);
        }
        let [channels, height, width] = self.shape;
        Ok(Batch {
            images: Tensor::from_vec(values, (indices.len(), channels, height, width), device)?,
            labels: Tensor::new(view.labels(), device)?,
        })
    }

    /// The images at the positions of a range inside `0..len()`.
    pub(crate) fn range(&self, range: std::ops::Range<usize>) -> Self {
        self.keep(&range.collect::<Vec<_>>())
    }

    /// These images and then those of another view of the same pixels and classes.
    pub(crate) fn joined(&self, other: &Self) -> Result<Self> {
        if !Arc::ptr_eq(&self.pixels, &other.pixels) || self.classes != other.classes {
            return Err(Error::Inconsistent {
                dataset: self.name.to_string(),
                what: "two views to join",
                expected: "the same pixels and classes".to_owned(),
                got: format!("{} and {}", self.name, other.name),
            });
        }
        let rows = self.rows.iter().chain(other.rows.iter()).copied().collect();
        let labels = self.labels.iter().chain(other.labels.iter()).copied().collect();
        Ok(Self { rows, labels, ..self.clone() })
    }

    fn keep(&self, positions: &[usize]) -> Self {
        let rows = positions.iter().map(|&position| self.rows[position]).collect();
        let labels = positions.iter().map(|&position| self.labels[position]).collect();
        Self { rows, labels, ..self.clone() }
    }

    pub(crate) fn check_no_class_empty(&self) -> Result<()> {
        match self.images_per_class().iter().position(|&count| count == 0) {
            Some(class) => {
                Err(Error::EmptyClass { dataset: self.name.to_string(), class: self.classes[class].clone() })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
