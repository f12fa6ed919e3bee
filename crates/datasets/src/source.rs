//! Where data sets are looked for, and how much of them is used.

use std::path::{Path, PathBuf};

use crate::{Form, Glyphs, Hub};

/// Where data sets are looked for, in this order: the given folder, the Hub's cache, the Hub.
///
/// ```no_run
/// let source = datasets::Source { train_per_class: Some(100), ..datasets::Source::from_env() };
/// let cifar = datasets::load("cifar10", &source)?;
/// assert_eq!(cifar.train.len(), 1000);
/// # datasets::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Source {
    /// A folder that holds the data set. When it is given, nothing else is looked at.
    pub data_dir: Option<PathBuf>,
    /// The Hub and its cache.
    pub hub: Hub,
    /// The branch, tag or commit of the Hub's repository. Default: the one that the registry states, else `main`.
    pub revision: Option<String>,
    /// Which configuration of a repository, for those with several.
    pub configuration: Option<String>,
    /// The column of the images, of tables whose columns are not known. Default: the only one that can be meant.
    pub image_column: Option<String>,
    /// The column of the labels, likewise.
    pub label_column: Option<String>,
    /// The form that images are read in, of data sets whose form is not known. Default: as they are, all of one size.
    pub form: Form,
    /// The folder of decoded images, which makes the second start fast. None: images are decoded each time.
    pub decoded: Option<PathBuf>,
    /// The classes that are used, by name, in the order of their labels. Default all. Class lists for transfer lose the
    /// others; of `glyphs`, only these are drawn.
    pub classes: Option<Vec<String>>,
    /// Training images a class at most (of `glyphs`: drawn; default there 200). Default all.
    pub train_per_class: Option<usize>,
    /// Validation and test images a class at most (of `glyphs`: drawn; default there 100). Default all.
    pub test_per_class: Option<usize>,
    /// What the images above are chosen by, and `glyphs` is drawn from. Default 0.
    pub seed: u64,
    /// How `glyphs` is drawn: classes, typefaces, size, difficulty; its seed is the one above.
    pub glyphs: Glyphs,
}

impl Source {
    /// The Hub and caches that the environment names (see [`Hub::from_env`]), all images, seed 0.
    ///
    /// **Conventions** decoded images are kept in the folder `DATASETS_DECODED`, else in `decoded-images` in `HF_HOME` (or
    /// its default); `DATASETS_DECODED` of `off` keeps none.
    pub fn from_env() -> Self {
        Self { decoded: Hub::decoded_from_env(), ..Self::of_hub(Hub::from_env()) }
    }

    /// A Hub, no decoded cache, all images, seed 0.
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
