#![doc = include_str!("../README.md")]

mod atomic_file;
mod bootstrap;
mod checksum;
mod class_rows;
mod episode;
mod error;
mod evaluate;
mod feature_cache;
mod features;
mod heads;
mod interval;
mod interval_settings;
mod linalg;
mod rank_correlation;
mod rules;
mod sampler;
mod task;
mod task_list;
mod transfer_score;

pub use checksum::labels_checksum;
pub use episode::Episode;
pub use error::{Error, Result};
pub use evaluate::{
    AcrossModels, ClassAccuracy, Confusion, Difference, Evaluation, HeadAccuracy, HeadAcrossModels, WayAccuracy,
    across_models, compare_on_same_episodes, evaluate, evaluate_episodes, evaluate_with,
};
pub use feature_cache::{FeatureCache, FeatureKey, Fingerprint};
pub use features::LabelledFeatures;
pub use heads::{
    Bias, Cosine, Discriminant, FeatureTransform, Head, HeadKind, Logistic, LooChoice, NearestMean, Penalty,
    PenaltyScale, Ridge, Scores, Shrinkage, SimpleShot,
};
pub use interval::{Interval, MeanEstimate, estimate_mean};
pub use interval_settings::IntervalSettings;
pub use rank_correlation::{RankCorrelation, RankStatistic, rank_correlation, rank_correlation_in_groups};
pub use rules::{EpisodeRules, QueryRule, ShotRule, WayRule};
pub use sampler::EpisodeSampler;
pub use task::Task;
pub use task_list::{TaskListReader, TaskListWriter, write_task_list};
pub use transfer_score::{
    HScore, LogMe, ScoreRank, Separation, TransferScores, h_score, log_me, rank_scores, separation, transfer_scores,
};
