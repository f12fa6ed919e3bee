//! Images without labels, for measures that need none.

use std::path::Path;

use candle_core::{Device, Tensor};

#[cfg(feature = "image")]
use super::image_files::{ImageFiles, name_of_folder};
#[cfg(not(feature = "image"))]
use super::load::no_decoder;
#[cfg(feature = "image")]
use crate::Error;
#[cfg(feature = "image")]
use crate::formats::folder::{self, ClassFiles};
use crate::{FileRecord, LabelledImages, Normalisation, Result, Source};

/// Images without labels.
///
/// **Shapes** every image is channels × height × width, one byte per value.
#[derive(Clone, Debug)]
pub struct UnlabelledImages {
    /// The images, all of one nameless class.
    images: LabelledImages,
    /// The records of the files.
    pub files: Vec<FileRecord>,
    /// The number of files in the folder that are no images and were skipped.
    pub skipped_files: usize,
}

/// Loads all images below a folder, without labels. The folder need not have class folders; if it has, they are ignored.
///
/// **Conventions** images are sorted by path. Of `source`, the form, the decoded cache and the receiver of progress are
/// used. Hidden files and files that are no images are skipped and counted.
///
/// **Errors** [`Error::NotFound`] if there is no image, [`Error::UnreadableImage`], [`Error::MixedSizes`] if images differ
/// in size and the form has none, [`Error::NotRegularFile`], [`Error::Io`]; [`Error::MissingFeature`] without `image`.
///
/// ```
/// # #[cfg(feature = "image")] {
/// use datasets::{Device, Hub, Source, load_unlabelled};
/// let folder = tempfile::tempdir().expect("a temporary folder");
/// for value in [0, 255] {
///     let image = image::GrayImage::from_pixel(5, 4, image::Luma([value]));
///     image.save(folder.path().join(format!("{value}.png"))).expect("a file");
/// }
/// let images = load_unlabelled(folder.path(), &Source::of_hub(Hub::new("", "")))?;
/// assert_eq!((images.len(), images.shape()), (2, [1, 4, 5]));
/// let normalisation = images.measure_normalisation()?;
/// assert_eq!(images.batch(&[0, 1], &normalisation, &Device::Cpu)?.dims(), [2, 1, 4, 5]);
/// # }
/// # datasets::Result::Ok(())
/// ```
pub fn load_unlabelled(path: &Path, source: &Source) -> Result<UnlabelledImages> {
    source.form.check()?;
    read(path, source)
}

#[cfg(feature = "image")]
fn read(path: &Path, source: &Source) -> Result<UnlabelledImages> {
    let (files, skipped) = folder::images_below(path)?;
    if files.is_empty() {
        let hint = match skipped.count {
            0 => "the folder is empty; put PNG, JPEG or WebP files there".to_owned(),
            _ => format!("it holds only {}", skipped.describe()),
        };
        return Err(Error::NotFound { what: "images".to_owned(), looked_at: vec![path.display().to_string()], hint });
    }
    let name = name_of_folder(path);
    let class = ClassFiles { class: String::new(), files, skipped };
    let files = ImageFiles::in_one_part(&name, vec![class], source.form, false);
    let decoded = files.read(source)?;
    Ok(UnlabelledImages {
        images: decoded.all,
        files: vec![FileRecord { file: path.display().to_string(), sha256: None }],
        skipped_files: files.skipped().count,
    })
}

#[cfg(not(feature = "image"))]
fn read(path: &Path, _: &Source) -> Result<UnlabelledImages> {
    Err(no_decoder(path.display()))
}

/// Whether a folder of images has folders in it, so that its images may have classes.
///
/// Hidden folders and those of other programs, such as `__MACOSX`, are not counted.
///
/// **Errors** [`Error::Io`], [`Error::NotRegularFile`]; [`Error::MissingFeature`] without `image`.
///
/// ```
/// # #[cfg(feature = "image")] {
/// let folder = tempfile::tempdir().expect("a temporary folder");
/// std::fs::create_dir(folder.path().join("__MACOSX")).expect("a folder");
/// assert!(!datasets::has_class_folders(folder.path())?);
/// std::fs::create_dir(folder.path().join("cat")).expect("a folder");
/// assert!(datasets::has_class_folders(folder.path())?);
/// # }
/// # datasets::Result::Ok(())
/// ```
pub fn has_class_folders(path: &Path) -> Result<bool> {
    #[cfg(feature = "image")]
    return folder::has_folders(path);
    #[cfg(not(feature = "image"))]
    Err(no_decoder(path.display()))
}

impl UnlabelledImages {
    /// The name of the folder.
    pub fn name(&self) -> &str {
        self.images.name()
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// \[channels, height, width\] of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    /// The bytes of one image, channel by channel, each row by row.
    ///
    /// **Panics** if `index` is not below `len()`, like a slice.
    pub fn image(&self, index: usize) -> &[u8] {
        self.images.image(index)
    }

    /// The mean and standard deviation (divisor: number of pixels) of every channel over all images, in \[0, 1\] units.
    ///
    /// **Errors** [`Error::InvalidOption`] if a channel is constant.
    pub fn measure_normalisation(&self) -> Result<Normalisation> {
        self.images.measure_normalisation()
    }

    /// The images at these positions, normalised.
    ///
    /// **Shapes** \[n, channels, height, width\] in f32.
    ///
    /// **Errors** [`Error::ImageOutOfRange`], [`Error::InvalidOption`] if the normalisation has another number of
    /// channels, [`Error::Candle`].
    pub fn batch(&self, indices: &[usize], normalisation: &Normalisation, device: &Device) -> Result<Tensor> {
        Ok(self.images.batch(indices, normalisation, device)?.images)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{Form, Hub};

    fn source() -> Source {
        Source::of_hub(Hub::new("", ""))
    }

    #[test]
    fn images_without_classes_are_read_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for (name, value) in [("c.png", 3), ("b/2.png", 2), ("a.png", 1)] {
            image::GrayImage::from_pixel(3, 2, image::Luma([value])).save(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("Thumbs.db"), b"").unwrap();
        let images = load_unlabelled(folder.path(), &source()).unwrap();
        let firsts: Vec<u8> = (0..images.len()).map(|index| images.image(index)[0]).collect();
        assert_eq!((firsts, images.shape(), images.skipped_files), (vec![1, 2, 3], [1, 2, 3], 1));
        // The second time from the decoded cache.
        let cache = tempfile::tempdir().unwrap();
        let source = Source { decoded: Some(cache.path().to_owned()), ..source() };
        for _ in 0..2 {
            let again = load_unlabelled(folder.path(), &source).unwrap();
            assert!((0..3).all(|index| again.image(index) == images.image(index)));
            assert_eq!(again.skipped_files, 1);
        }
    }

    #[test]
    fn a_folder_without_images_a_missing_one_and_an_impossible_size_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load_unlabelled(folder.path(), &source()), Err(Error::NotFound { .. })));
        fs::write(folder.path().join("notes.txt"), b"").unwrap();
        let message = load_unlabelled(folder.path(), &source()).unwrap_err().to_string();
        assert!(message.contains("notes.txt"), "{message}");
        assert!(matches!(load_unlabelled(&folder.path().join("none"), &source()), Err(Error::Io { .. })));
        let form = Form { size: Some([0, 1]), ..Form::default() };
        let failed = load_unlabelled(folder.path(), &Source { form, ..source() });
        assert!(matches!(failed, Err(Error::InvalidOption { option: "size", .. })));
    }
}
