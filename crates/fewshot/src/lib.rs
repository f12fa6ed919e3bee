#![doc = include_str!("../README.md")]

mod bootstrap;
mod checksum;
mod class_rows;
mod episode;
mod error;
mod evaluate;
mod features;
mod heads;
mod interval;
mod linalg;
mod rules;
mod sampler;
mod task;

pub use checksum::labels_checksum;
pub use episode::Episode;
pub use error::{Error, Result};
pub use evaluate::{
    AcrossModels, ClassAccuracy, Difference, Evaluation, HeadAccuracy, HeadAcrossModels, WayAccuracy, across_models,
    compare_on_same_episodes, evaluate, evaluate_episodes, evaluate_with,
};
pub use features::LabelledFeatures;
pub use heads::{
    Bias, Cosine, Discriminant, FeatureTransform, Head, HeadKind, Logistic, LooChoice, NearestMean, Penalty,
    PenaltyScale, Ridge, Scores, Shrinkage, SimpleShot,
};
pub use interval::{Interval, IntervalSettings, MeanEstimate, estimate_mean};
pub use rules::{EpisodeRules, QueryRule, ShotRule, WayRule};
pub use sampler::EpisodeSampler;
pub use task::Task;
