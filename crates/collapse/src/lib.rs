#![doc = include_str!("../README.md")]

mod batch;
mod between;
mod cdnv;
mod class_order;
mod convention;
mod error;
mod features;
mod geometric;
mod head;
mod moments;
mod pairs;
mod products;
mod quantiles;
mod sample_pass;
mod sample_tile;
mod spectrum;

pub use cdnv::{Cdnv, cdnv, cdnv_matrix};
pub use convention::{CdnvConvention, CdnvForm, Divisor, Truncation, Weighting};
pub use error::{Error, Result};
pub use features::Element;
pub use geometric::{
    GeometricCollapse, GeometricForm, PoincareConstant, effective_poincare_constant, geometric_collapse,
    pairwise_geometric_collapse,
};
pub use head::Head;
pub use moments::{ClassMoments, Scatter};
pub use pairs::{ExcludedPairs, PairMatrix};
pub use quantiles::Quantiles;
pub use sample_pass::{Agreement, DirectionalCdnv, NearestMeanError, SamplePass, nearest_mean_error};
