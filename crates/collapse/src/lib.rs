// The examples of the README need candle, which is a default feature.
#![cfg_attr(feature = "candle", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "candle"),
    doc = "Neural-collapse measures of labelled features, without candle: every function that takes slices."
)]

mod batch;
mod between;
mod bounds;
mod cdnv;
mod class_order;
mod convention;
mod display;
mod duality;
mod error;
mod features;
mod geometric;
mod head;
mod kernel;
mod memory;
mod moments;
mod pairs;
mod products;
mod quantiles;
mod report;
mod sample_pass;
mod sample_tile;
mod simplex;
#[cfg(feature = "faer")]
mod spectral;
mod tiles;
mod trace_ratio;
mod unbiased;

#[cfg(feature = "candle")]
pub use candle_core;

pub use bounds::{
    CollapseChain, NearestMeanBound, Symmetry, collapse_chain, nearest_mean_bound, nearest_mean_bound_by_complexity,
};
pub use cdnv::{Cdnv, cdnv, cdnv_matrix};
pub use convention::{CdnvConvention, CdnvForm, Divisor, Precision, Truncation, Weighting};
pub use duality::{BiasCollapse, SelfDuality, ZeroSum, bias_collapse, self_duality, zero_sum};
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
#[cfg(feature = "candle")]
pub use report::report;
pub use report::{
    AgreementMeasures, CdnvMeasures, CollapseReport, Counts, DistanceAndVariance, DualityMeasures, GeometricMeasures,
    HeadReport, HeadSimplexMeasures, NearestMeanMeasures, ReportOptions, SimplexMeasures, Trajectory, Undefined,
    VariabilityMeasures, ZeroSumMeasures, report_slice,
};
#[cfg(feature = "candle")]
pub use sample_pass::nearest_mean_error;
pub use sample_pass::{Agreement, DirectionalCdnv, NearestMeanError, SamplePass, nearest_mean_error_slice};
pub use simplex::{SimplexGeometry, Uniformity, simplex, simplex_of_head};
#[cfg(feature = "faer")]
pub use spectral::{
    Centring, Preset, PresetMeasures, RankMe, Variability, VariabilityIndex, rank_me, variability, vci,
};
pub use trace_ratio::{TraceRatio, trace_ratio};
pub use unbiased::{UnbiasedCdnv, cdnv_unbiased, geometric_collapse_unbiased, pairwise_geometric_collapse_unbiased};
