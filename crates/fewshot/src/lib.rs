// The examples of the README need candle, which is a default feature.
#![cfg_attr(feature = "candle", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "candle"),
    doc = "Few-shot accuracy of frozen features, without candle: every function that takes slices."
)]

mod checksum;
mod class_rows;
mod episode;
mod error;
mod evaluate;
mod feature_cache;
mod feature_view;
mod features;
mod heads;
mod linalg;
mod margin_bounds;
mod rules;
mod sampler;
mod task;
mod task_list;
mod transfer_score;

#[cfg(feature = "candle")]
pub use candle_core;
pub use checksum::labels_checksum;
pub use episode::Episode;
pub use error::{Error, Result};
pub use evaluate::{
    AcrossModels, ClassAccuracy, Confusion, Difference, Evaluation, HeadAccuracy, HeadAcrossModels, WayAccuracy,
    across_models, compare_on_same_episodes, evaluate, evaluate_episodes, evaluate_with,
};
pub use feature_cache::{FeatureCache, FeatureKey, Fingerprint};
pub use feature_view::FeatureView;
pub use features::LabelledFeatures;
#[cfg(feature = "faer")]
pub use heads::Logistic;
pub use heads::{
    Bias, Cosine, Discriminant, FeatureTransform, Head, HeadKind, NearestMean, Penalty, PenaltyCandidate,
    PenaltyChoice, PenaltyScale, Ridge, Scores, Shrinkage, SimpleShot,
};
pub use margin_bounds::{EpisodeMarginBounds, MarginBounds, cantelli, episode_margin_bounds, margin_bounds};
pub use rules::{EpisodeRules, QueryRule, ShotRule, WayRule};
pub use sampler::EpisodeSampler;
/// Types of the crate `statistics` in results and settings of this crate.
pub use statistics::{Interval, IntervalSettings, MeanEstimate, RankCorrelation, RankStatistic};
pub use task::Task;
pub use task_list::{TaskListReader, TaskListWriter, write_task_list};
pub use transfer_score::{HScore, Separation, h_score, separation};
#[cfg(feature = "faer")]
pub use transfer_score::{LogMe, ScoreRank, TransferScore, TransferScores, log_me, rank_scores, transfer_scores};
