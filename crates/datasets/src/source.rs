//! Where data sets are looked for, and how much of them is used.

use std::path::{Path, PathBuf};

use crate::{Hub, Variation};

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
    /// The classes that are used, by name, in the order of their labels. Default all. Class lists for transfer lose the
    /// others; of `glyphs`, only these are drawn.
    pub classes: Option<Vec<String>>,
    /// Training images a class at most (of `glyphs`: drawn; default there 200). Default all.
    pub train_per_class: Option<usize>,
    /// Test images a class at most (of `glyphs`: drawn; default there 100). Default all.
    pub test_per_class: Option<usize>,
    /// What the images above are chosen by, and `glyphs` is drawn from. Default 0.
    pub seed: u64,
    /// How `glyphs` is drawn. Default: its documented difficulty.
    pub variation: Variation,
}

impl Source {
    /// The Hub and cache that the environment names (see [`Hub::from_env`]), all images, seed 0.
    pub fn from_env() -> Self {
        Self::of_hub(Hub::from_env())
    }

    /// A Hub, all images, seed 0.
    pub fn of_hub(hub: Hub) -> Self {
        Self {
            data_dir: None,
            hub,
            classes: None,
            train_per_class: None,
            test_per_class: None,
            seed: 0,
            variation: Variation::default(),
        }
    }

    /// The same source with a folder that holds the data set.
    pub fn with_data_dir(self, folder: impl AsRef<Path>) -> Self {
        Self { data_dir: Some(folder.as_ref().to_owned()), ..self }
    }
}
