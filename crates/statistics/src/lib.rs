#![doc = include_str!("../README.md")]

mod block;
mod blocked;
mod bootstrap;
mod claim;
mod concordance;
mod equivalence;
mod error;
mod interval;
mod mean;
mod mediation;
mod multiple;
mod partial;
mod permutation;
mod proportion;
mod rank;
mod running;
mod settings;
mod student;
mod sweep;

pub use block::Block;
pub use blocked::{BlockedCorrelation, PermutationSettings, blocked_rank_correlation, course_correlation};
pub use bootstrap::{bootstrap_means, bootstrap_model_means};
pub use claim::{
    ClaimTest, Contrast, Correction, Decision, DecisionRules, Effect, Judged, SeedPair, SeedValue, SweepRun,
    TrendEvidence, Undecided, decide_claims, paired_contrast, smallest_trend_p_value, trend_evidence, trend_size,
};
pub use concordance::{GranulatedCoefficient, SignError, granulated_coefficient, worst_sign_error};
pub use equivalence::{Equivalence, equivalence_test};
pub use error::{Error, Result, check_values};
pub use interval::{Interval, SkewnessCorrection, expanded_percentile_interval, percentile_interval, student_interval};
pub use mean::{MeanEstimate, estimate_mean, mean_with_resamples};
pub use mediation::{MediationEffects, mediation_effects};
pub use multiple::{benjamini_hochberg, holm};
pub use partial::{CovariateBlock, PartialCorrelation, partial_rank_correlation, partial_slopes};
pub use proportion::{clopper_pearson_interval, proportion_standard_error, wilson_interval};
pub use rank::{RankCorrelation, RankStatistic, mean_ranks, pearson, rank_correlation, rank_correlation_in_groups};
/// The vectorized sums and quantiles of the crate `reductions`.
pub use reductions::{LANES, Widen, lane_sums, quantile_of_sorted, quantiles_of_stream, row_sums, vectorized};
pub use running::{RunningMean, RunningMoments};
pub use settings::IntervalSettings;
pub use student::{
    normal_cdf, normal_quantile, student_t_cdf, student_t_log_survival, student_t_quantile, student_t_survival,
};
pub use sweep::{ChangeScale, SweepChange, end_to_end_change, sweep_change};
