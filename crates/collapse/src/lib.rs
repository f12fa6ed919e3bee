#![doc = include_str!("../README.md")]

mod batch;
mod cdnv;
mod class_order;
mod convention;
mod error;
mod features;
mod geometric;
mod moments;
mod pairs;
mod products;
mod quantiles;

pub use cdnv::{Cdnv, cdnv, cdnv_matrix};
pub use convention::{CdnvConvention, CdnvForm, Divisor, Truncation, Weighting};
pub use error::{Error, Result};
pub use features::Element;
pub use geometric::{
    GeometricCollapse, GeometricForm, PoincareConstant, effective_poincare_constant, geometric_collapse,
    pairwise_geometric_collapse,
};
pub use moments::{ClassMoments, Scatter};
pub use pairs::{ExcludedPairs, PairMatrix};
pub use quantiles::Quantiles;
