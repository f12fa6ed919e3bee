//! Which classes the measures of an experiment look at.

use serde::{Deserialize, Serialize};

/// The task of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// Training uses the source classes; measures use these and the target classes, which training never sees.
    Transfer,
    /// Training uses all classes; measures use their training and test images.
    Classification,
}

impl Task {
    /// The name in experiment files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Classification => "classification",
        }
    }
}
