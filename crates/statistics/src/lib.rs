#![doc = include_str!("../README.md")]

mod bootstrap;
mod error;
mod interval;
mod mean;
mod permutation;
mod quantile;
mod rank;
mod running;
mod settings;
mod student;

pub use bootstrap::{bootstrap_means, bootstrap_model_means};
pub use error::{Error, Result};
pub use interval::{Interval, SkewnessCorrection, expanded_percentile_interval, percentile_interval, student_interval};
pub use mean::{MeanEstimate, estimate_mean, mean_with_resamples};
pub use quantile::quantile_of_sorted;
pub use rank::{RankCorrelation, RankStatistic, mean_ranks, pearson, rank_correlation, rank_correlation_in_groups};
pub use running::{RunningMean, RunningMoments};
pub use settings::IntervalSettings;
pub use student::{
    normal_cdf, normal_quantile, student_t_cdf, student_t_log_survival, student_t_quantile, student_t_survival,
};
