//! Where data sets are searched, and which of their images are used.

use std::path::{Path, PathBuf};

use crate::{Form, Glyphs, Hub};

/// Where data sets are searched (the given folder, else the Hub's cache, else the Hub) and which of their images are used.
///
/// ```no_run
/// let source = datasets::Source { train_per_class: Some(100), ..datasets::Source::from_env() };
/// let cifar = datasets::load("cifar10", &source)?;
/// assert_eq!(cifar.train.len(), 1000);
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    /// A folder that holds the data set. If it is given, no other place is searched.
    pub data_dir: Option<PathBuf>,
    /// The Hub and its cache.
    pub hub: Hub,
    /// The branch, tag or commit of the Hub's repository. Default: that of the registry, else `main`.
    pub revision: Option<String>,
    /// The configuration of a repository with several.
    pub configuration: Option<String>,
    /// The column of the images in tables outside the registry. Default: the only column that qualifies.
    pub image_column: Option<String>,
    /// The column of the labels, likewise.
    pub label_column: Option<String>,
    /// The common form of images outside the registry. Default: unchanged, all of the same size.
    pub form: Form,
    /// The folder of the decoded cache. None: images are decoded at every start.
    pub decoded: Option<PathBuf>,
    /// The names of the used classes, in the order of their labels. Default all. The other classes are removed from class
    /// lists for transfer. Of `glyphs`, only these are drawn.
    pub classes: Option<Vec<String>>,
    /// The largest number of training images per class. Default all; for `glyphs`, the number drawn, default 200.
    pub train_per_class: Option<usize>,
    /// The largest number of validation and of test images per class. Default all; for `glyphs`, the number of test images
    /// drawn, default 100.
    pub test_per_class: Option<usize>,
    /// The seed of the choice of images per class, and of the drawing of `glyphs`. Default 0.
    pub seed: u64,
    /// The options of `glyphs`: classes, typefaces, size, difficulty. Its seed is replaced by [`Self::seed`].
    pub glyphs: Glyphs,
}

impl Source {
    /// The Hub and caches of the environment (see [`Hub::from_env`]), all images, seed 0.
    ///
    /// **Conventions** the decoded cache is the folder `DATASETS_DECODED`, else `decoded-images` in `HF_HOME` (or its
    /// default). `DATASETS_DECODED=off` turns it off.
    pub fn from_env() -> Self {
        Self { decoded: Hub::decoded_from_env(), ..Self::of_hub(Hub::from_env()) }
    }

    /// This Hub, no decoded cache, all images, seed 0.
    pub fn of_hub(hub: Hub) -> Self {
        Self {
            data_dir: None,
            hub,
            revision: None,
            configuration: None,
            image_column: None,
            label_column: None,
            form: Form::default(),
            decoded: None,
            classes: None,
            train_per_class: None,
            test_per_class: None,
            seed: 0,
            glyphs: Glyphs::default(),
        }
    }

    /// The same source with a folder that holds the data set.
    pub fn with_data_dir(self, folder: impl AsRef<Path>) -> Self {
        Self { data_dir: Some(folder.as_ref().to_owned()), ..self }
    }
}
