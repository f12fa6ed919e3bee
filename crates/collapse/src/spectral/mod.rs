//! Measures that need an eigendecomposition or a matrix factorisation, by faer: NC1, VCI, RankMe, and the codebases' presets.

mod between;
mod eigen;
mod presets;
mod rank;
mod variability;
mod variability_index;

pub(crate) use between::weighted_trace;
pub use presets::{Preset, PresetMeasures};
pub(crate) use rank::rank_me_within;
pub use rank::{Centring, RankMe, rank_me};
pub use variability::{Variability, variability};
pub(crate) use variability::{equal_counts, variability_with};
pub(crate) use variability_index::vci_with;
pub use variability_index::{VariabilityIndex, vci};
