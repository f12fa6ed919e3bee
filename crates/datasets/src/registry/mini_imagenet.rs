//! mini-ImageNet, from parquet files or from image files in folders by class, by part and class, or in one folder.

use std::path::{Path, PathBuf};

use super::entry::Entry;
use super::image_files::{ImageFiles, given_folder};
use super::location::FileLocation;
use super::repository;
use super::split::with_test_split_off;
use crate::formats::folder::{self, ClassFiles};
use crate::{Dataset, Error, Result, Source};

pub(super) fn read(entry: &Entry, source: &Source) -> Result<Dataset> {
    let root = given_folder(entry, source)?;
    let split = entry.class_split()?;
    let lists = split.iter().flat_map(|split| split.train().iter().chain(split.validation()).chain(split.test()));
    let classes: Vec<String> = lists.cloned().collect();
    let tables = repository::tables_below(root)?;
    let dataset = if tables.is_empty() {
        let images = ImageFiles::in_one_part(entry.name, image_files(entry, root, &classes)?, entry.form(), false);
        let dataset = images.read(source)?.dataset(entry.name, Some(entry.normalisation()?))?;
        Dataset { skipped_files: images.skipped().count, ..dataset }
    } else {
        from_tables(entry, tables, &classes, source)?
    };
    with_test_split_off(Dataset { split, ..dataset })
}

#[cfg(feature = "parquet")]
fn from_tables(entry: &Entry, tables: Vec<FileLocation>, classes: &[String], source: &Source) -> Result<Dataset> {
    let (image, label) = (source.image_column.as_deref(), source.label_column.as_deref());
    let parts = [tables, Vec::new(), Vec::new()];
    let tables = super::tables::Tables { name: entry.name, parts, image, label, form: entry.form(), names: None };
    let whole = tables.read(source, Some(entry.normalisation()?))?;
    let all = whole.all()?.subset_class_names(classes)?;
    Ok(Dataset { test: all.select(&[])?, train: all, ..whole })
}

#[cfg(not(feature = "parquet"))]
fn from_tables(entry: &Entry, _: Vec<FileLocation>, _: &[String], _: &Source) -> Result<Dataset> {
    Err(Error::missing_feature("parquet", format!("reading {} from parquet files", entry.name)))
}

fn image_files(entry: &Entry, root: &Path, classes: &[String]) -> Result<Vec<ClassFiles>> {
    let parts: Vec<PathBuf> = ["", "train", "val", "validation", "test", "images"].map(|part| root.join(part)).to_vec();
    // In the archive of the published lists, all images are in one folder and their names begin with their class.
    let together = parts.iter().map(|part| folder::files_by_prefix(part, classes)).collect::<Vec<_>>();
    let together = together.into_iter().find(|found| found.iter().any(|class| !class.files.is_empty()));
    let find = |(index, class): (usize, &String)| match parts.iter().find(|part| part.join(class).is_dir()) {
        Some(part) => folder::files(part, std::slice::from_ref(class)),
        None => match together.as_ref().map(|found| &found[index]).filter(|found| !found.files.is_empty()) {
            Some(found) => Ok(vec![found.clone()]),
            None => Err(Error::NotFound {
                what: format!("class {class} of {}", entry.name),
                looked_at: parts.iter().map(|part| part.join(class).display().to_string()).collect(),
                hint: "lay images out as class/image or split/class/image, or put its parquet files there".to_owned(),
            }),
        },
    };
    Ok(classes.iter().enumerate().map(find).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::RgbImage;

    use super::*;
    use crate::Hub;

    /// All hundred classes with six images each, at the paths that `place` gives.
    fn mini_imagenet(folder: &Path, place: impl Fn(usize, &str, usize) -> String) -> Result<Dataset> {
        let split = crate::SplitName::MiniImagenet.lists().unwrap();
        let parts = [split.train(), split.validation(), split.test()];
        for (part, classes) in parts.iter().enumerate() {
            for class in *classes {
                for number in 0..6 {
                    let path = folder.join(place(part, class, number));
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    RgbImage::from_pixel(8, 10, image::Rgb([part as u8, number as u8, 9])).save(path).unwrap();
                }
            }
        }
        let entry = Entry {
            train_count: None,
            test_count: None,
            shape: [3, 84, 84],
            ..crate::find("mini-imagenet").unwrap().clone()
        };
        read(&entry, &Source::of_hub(Hub::new("", "")).with_data_dir(folder))
    }

    #[test]
    fn mini_imagenet_is_found_in_every_usual_layout() {
        let layouts: [fn(usize, &str, usize) -> String; 3] = [
            |_, class, number| format!("{class}/{class}{number:08}.png"),
            |part, class, number| format!("{}/{class}/{number}.png", ["train", "val", "test"][part]),
            |_, class, number| format!("images/{class}{number:08}.png"),
        ];
        for layout in layouts {
            let folder = tempfile::tempdir().unwrap();
            let data = mini_imagenet(folder.path(), layout).unwrap();
            assert_eq!((data.train.len(), data.test.len(), data.train.shape()), (500, 100, [3, 84, 84]));
            let target = data.target_classes().unwrap();
            assert_eq!((target.train.class_count(), target.train.image(0)[0]), (20, 2));
            assert_eq!(target.test.image(0)[84 * 84], 5, "the last of six is a test image");
        }
    }

    #[test]
    fn a_missing_class_of_mini_imagenet_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let place = |_: usize, class: &str, number: usize| format!("{class}/{number}.png");
        mini_imagenet(folder.path(), place).unwrap();
        fs::remove_dir_all(folder.path().join("n01532829")).unwrap();
        let entry = crate::find("mini-imagenet").unwrap();
        let failed = read(entry, &Source::of_hub(Hub::new("", "")).with_data_dir(folder.path()));
        assert!(matches!(failed, Err(Error::NotFound { what, .. }) if what.contains("n01532829")));
        let whole = crate::load("mini-imagenet", &Source::of_hub(Hub::new("", "")).with_data_dir(folder.path()));
        assert!(whole.is_err());
    }
}
