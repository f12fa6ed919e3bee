//! Accuracy over several models (training seeds).

use std::fmt;

use serde::{Deserialize, Serialize};
use statistics::{RunningMean, bootstrap_model_means, check_values, mean_with_resamples, student_interval};

use super::bounded::{self, Bounds};
use super::difference::subtract;
use super::evaluation::Evaluation;
use super::percent;
use crate::{Error, IntervalSettings, MeanEstimate, Result};

/// The accuracies of heads over several models (training seeds).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcrossModels {
    /// Number of models (M).
    pub models: usize,
    /// Whether all models were evaluated on the same episodes.
    pub same_episodes: bool,
    /// The heads, in the order of the first evaluation.
    pub heads: Vec<HeadAcrossModels>,
    /// The difference of every pair of heads (earlier − later), paired by model and episode. `head` is
    /// `first - second`.
    pub differences: Vec<HeadAcrossModels>,
}

/// One head over several models.
///
/// **Definition** A_m is the mean accuracy of model m over its episodes. The result is the mean of the A_m, its standard
/// error (standard deviation of the A_m with divisor M − 1, over √M), and the t-interval with M − 1 degrees of freedom.
/// The bootstrap interval resamples both models and episodes. Where the models share their episodes, all models of a
/// resample use one draw of episodes.
///
/// **Conventions** the t-interval covers further models on the same episodes; where each model has its own episodes, it
/// covers further models on new episodes. Where all A_m are equal, their spread is zero: the standard error is then
/// `within_models`, and the t-interval is cut off at 0 and 1 (for differences at −1 and 1).
///
/// **Source** the two-level bootstrap on shared episodes: Owen, The pigeonhole bootstrap, Annals of Applied Statistics
/// 2007.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadAcrossModels {
    /// Name of the head, or `first - second` for a difference.
    pub head: String,
    /// Mean over the models.
    pub accuracy: MeanEstimate,
    /// Standard deviation of the models' accuracies, divisor M − 1; it includes the noise of the episodes.
    pub between_models: f64,
    /// Root mean square of the models' standard errors over episodes: the part of `between_models` due to the noise of
    /// the episodes.
    pub within_models: f64,
}

impl fmt::Display for AcrossModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} models", self.models)?;
        for head in &self.heads {
            write!(f, "\n{}: ", head.head)?;
            percent::accuracy(f, head.accuracy.mean, &head.accuracy.student)?;
        }
        for pair in &self.differences {
            write!(f, "\n{}: ", pair.head)?;
            percent::difference(f, pair.accuracy.mean, &pair.accuracy.student)?;
        }
        Ok(())
    }
}

/// Combines the evaluations of several models with the same heads.
///
/// **Errors** [`Error::Statistic`] for fewer than two models, [`Error::UnknownHead`] where their heads differ.
///
/// ```
/// use fewshot::{EpisodeSampler, LabelledFeatures, NearestMean, across_models, evaluate};
/// let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
/// let sampler = EpisodeSampler::fixed(&labels, 3, 5, 10, 1)?;
/// let mut evaluations = Vec::new();
/// for seed in 0..4 {
///     let noise = streams::standard_normal(&mut streams::stream(seed, "docs/noise", 0), 60);
///     let values = noise.iter().enumerate().map(|(i, noise)| (i % 3) as f64 + noise).collect();
///     let features = LabelledFeatures::from_f64(values, 1, labels.clone())?;
///     evaluations.push(evaluate(&features, &sampler, 100, &[NearestMean])?);
/// }
/// let result = across_models(&evaluations)?;
/// assert!(result.same_episodes && result.models == 4);
/// assert_eq!(result.heads[0].accuracy.samples, 4);
/// assert!(result.to_string().starts_with("4 models\nncm: "));
/// # fewshot::Result::Ok(())
/// ```
pub fn across_models(evaluations: &[Evaluation]) -> Result<AcrossModels> {
    let [first, rest @ ..] = evaluations else {
        return Err(statistics::Error::TooFewValues { statistic: "a mean over models", needed: 2, got: 0 }.into());
    };
    let names: Vec<&str> = first.heads.iter().map(|head| head.head.as_str()).collect();
    for other in rest {
        if let Some(head) = other.heads.iter().find(|head| !names.contains(&head.head.as_str())) {
            let present = names.iter().map(|&name| name.to_owned()).collect();
            return Err(Error::UnknownHead { head: head.head.clone(), present });
        }
    }
    let same_episodes = rest.iter().all(|other| other.episodes_checksum == first.episodes_checksum);
    let accuracies = |name: &str| -> Result<Vec<Vec<f64>>> {
        evaluations.iter().map(|evaluation| Ok(evaluation.head(name)?.per_episode.clone())).collect()
    };
    let combine = |head, values: &[Vec<f64>], bounds| combine(head, values, bounds, same_episodes, &first.settings);
    let mut heads = Vec::new();
    let mut differences = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let values = accuracies(name)?;
        heads.push(combine((*name).to_owned(), &values, bounded::ACCURACY)?);
        for other in &names[position + 1..] {
            let others = accuracies(other)?;
            let paired: Vec<Vec<f64>> = values.iter().zip(&others).map(|(a, b)| subtract(a, b)).collect();
            differences.push(combine(format!("{name} - {other}"), &paired, bounded::DIFFERENCE)?);
        }
    }
    Ok(AcrossModels { models: evaluations.len(), same_episodes, heads, differences })
}

/// The mean over models of `values[model][episode]`, which lie within `bounds`.
fn combine(
    head: String,
    values: &[Vec<f64>],
    bounds: Bounds,
    same_episodes: bool,
    settings: &IntervalSettings,
) -> Result<HeadAcrossModels> {
    let mut models = RunningMean::default();
    let mut squared_errors = 0.0;
    let mut means = Vec::with_capacity(values.len());
    for accuracies in values {
        check_values("a mean over episodes", accuracies, 2)?;
        let mut episodes = RunningMean::default();
        accuracies.iter().for_each(|&accuracy| episodes.push(accuracy));
        let error = episodes.standard_error().and_then(bounded::of_varying);
        let constant = || bounds.standard_error_of_constant(episodes.mean(), episodes.count());
        squared_errors += error.unwrap_or_else(constant).powi(2);
        models.push(episodes.mean());
        means.push(episodes.mean());
    }
    check_values("a mean over models", &means, 2)?;
    let columns: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let resampled = bootstrap_model_means(&columns, same_episodes, settings)?;
    let within_models = (squared_errors / values.len() as f64).sqrt();
    let mut accuracy = mean_with_resamples(&means, resampled, settings)?;
    if bounded::of_varying(accuracy.standard_error).is_none() {
        accuracy.standard_error = within_models;
        accuracy.student =
            bounds.clip(student_interval(accuracy.mean, within_models, (means.len() - 1) as f64, settings.level));
    }
    if accuracy.bootstrap.half_width() == 0.0 {
        accuracy.bootstrap = accuracy.student;
    }
    let between_models = models.standard_deviation().unwrap_or(0.0);
    Ok(HeadAcrossModels { head, accuracy, between_models, within_models })
}
