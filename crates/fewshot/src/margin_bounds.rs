//! Bounds on the error of the nearest class mean from the margins of the queries: by Cantelli's inequality, and by the
//! directional CDNV.
//!
//! For a query x of class i and support means m_i, m_j at the distance D, the margin is
//! M = (‖x − m_j‖² − ‖x − m_i‖²)/D² = 1 + 2 u·(x − m_i)/D, u the unit vector from m_j to m_i. The mean of class j is at
//! least as near as that of class i where M ≤ 0. With a = E M and v = Var M over the queries of class i:
//!
//! * Cantelli's inequality gives P(M ≤ 0) ≤ v/(v + a²) for a > 0.
//! * Chebyshev's inequality around 1, the margin at the support mean, gives P(M ≤ 0) ≤ E(M − 1)² = 4 V_ij, where
//!   V_ij = E(u·(x − m_i))²/D² is the directional CDNV of the queries about the support means.
//!
//! Cantelli's bound is the smallest E(M − t)²/t² over t > 0, so it is at most the second one (t = 1). A query is
//! misclassified where M ≤ 0 for some j: the bounds of the pairs are summed over j, and a sum above 1 is replaced by 1.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::linalg::{Row, squared_distances};
use crate::{EpisodeSampler, Error, FeatureView, IntervalSettings, MeanEstimate, Result, Task};

/// Cantelli's bound on the probability that a random number with this mean and variance is at most 0.
///
/// **Definition** v/(v + a²) for a mean a > 0, and 1 for any other mean. It is attained by a distribution on two points.
///
/// **Source** F. P. Cantelli, *Sui confini della probabilità*, 1928.
///
/// ```
/// // 0 with probability 1/5 and 5 with probability 4/5: the mean is 4, and the variance is 4.
/// assert!((fewshot::cantelli(4.0, 4.0) - 0.2).abs() < 1e-15);
/// assert_eq!(fewshot::cantelli(-1.0, 4.0), 1.0);
/// ```
pub fn cantelli(mean: f64, variance: f64) -> f64 {
    if mean > 0.0 { variance / (variance + mean * mean) } else { 1.0 }
}

/// Bounds on the error of the nearest class mean in one task, and the error.
///
/// **Definition** of both bounds: mean over the queries of min(1, Σ_j bound of the pair (i, j)), i the class of the query. The
/// bound of a pair is v/(v + a²) (`cantelli`) or 4 V_ij (`directional`), with the moments of the queries' margins; see
/// [`margin_bounds`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MarginBounds {
    /// The bound by Cantelli's inequality on the margins; at most 1.
    pub cantelli: f64,
    /// The bound by the directional CDNV of the queries about the support means; at most 1.
    pub directional: f64,
    /// Share of queries for which the support mean of another class is at least as near as that of their own.
    pub error: f64,
    /// Number of queries.
    pub queries: usize,
}

/// The bounds of [`MarginBounds`] on the error of [`crate::NearestMean`], from the queries of a task and its support means.
///
/// **Definition** for a query x of class i and support means m_i, m_j at the distance D: margin
/// M = (‖x − m_j‖² − ‖x − m_i‖²)/D² with mean a and variance v over the queries of class i (divisor n_i);
/// V_ij = E(u·(x − m_i))²/D², u the unit vector from m_j to m_i. Then P(M ≤ 0) ≤ v/(v + a²) ≤ 4 V_ij.
///
/// **Conventions** The bounds hold for any distribution of the queries, and in particular for these queries: `error` ≤
/// `cantelli` ≤ `directional`. They state how much of the error the first two moments explain. Ties count as errors here;
/// [`crate::NearestMean`] assigns them to the first class. A pair of equal support means has the bound 1. Classes without
/// queries take no part.
///
/// **Source** Cantelli 1928 and Chebyshev's inequality; the directional CDNV is that of the crate `collapse`.
///
/// ```
/// use fewshot::{Episode, LabelledFeatures, Task, margin_bounds};
/// // Support means 0 and 8. Of five queries of each class, one is misclassified (at 4, the midpoint).
/// let values = vec![0.0, 8.0, 4.0, -1.0, -1.0, -1.0, -1.0, 4.0, 9.0, 9.0, 9.0, 9.0];
/// let features = LabelledFeatures::from_f64(values, 1, vec![0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])?;
/// let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2, 3, 4, 5, 6], vec![7, 8, 9, 10, 11]])?;
/// let bounds = margin_bounds(&Task::new(&features, &episode)?);
/// assert_eq!(bounds.error, 0.2);
/// // Var = 4 and D = 8: Var/(Var + D²/4) = 1/5 and 4 Var/D² = 1/4.
/// assert!((bounds.cantelli - 0.2).abs() < 1e-12 && (bounds.directional - 0.25).abs() < 1e-12);
/// # fewshot::Result::Ok(())
/// ```
pub fn margin_bounds(task: &Task<'_>) -> MarginBounds {
    let way = task.way();
    let means = task.class_means();
    let mut distances: Vec<Vec<f64>> = vec![Vec::new(); way];
    let mut line = vec![0.0; way];
    for (query, &class) in task.query_rows().zip(task.episode().query_classes()) {
        squared_distances(query, &means, &mut line);
        distances[class].extend(&line);
    }
    let mut sums = MarginBounds { cantelli: 0.0, directional: 0.0, error: 0.0, queries: task.query_count() };
    for (class, distances) in distances.iter().enumerate() {
        let mean = &means[class * task.dimension()..][..task.dimension()];
        squared_distances(Row::F64(mean), &means, &mut line);
        sums.add(class, distances, &line);
    }
    let queries = sums.queries as f64;
    MarginBounds {
        cantelli: sums.cantelli / queries,
        directional: sums.directional / queries,
        error: sums.error / queries,
        ..sums
    }
}

impl MarginBounds {
    /// Adds the queries of one class: their squared distances to all support means `[n_i, w]`, and those of the class's own
    /// support mean `[w]`.
    fn add(&mut self, class: usize, distances: &[f64], apart: &[f64]) {
        let way = apart.len();
        let queries = distances.len() / way;
        if queries == 0 {
            return;
        }
        let (mut cantelli_sum, mut directional_sum) = (0.0, 0.0);
        for (other, &apart) in apart.iter().enumerate().filter(|(other, _)| *other != class) {
            if apart == 0.0 {
                (cantelli_sum, directional_sum) = (cantelli_sum + 1.0, directional_sum + 1.0);
                continue;
            }
            let margins = distances.chunks_exact(way).map(|query| (query[other] - query[class]) / apart);
            let mean = margins.clone().sum::<f64>() / queries as f64;
            let around = |centre: f64| margins.clone().map(|margin| (margin - centre).powi(2)).sum::<f64>();
            cantelli_sum += cantelli(mean, around(mean) / queries as f64);
            directional_sum += around(1.0) / queries as f64;
        }
        let wrong = |query: &&[f64]| (0..way).any(|other| other != class && query[other] <= query[class]);
        self.error += distances.chunks_exact(way).filter(wrong).count() as f64;
        self.cantelli += queries as f64 * cantelli_sum.min(1.0);
        self.directional += queries as f64 * directional_sum.min(1.0);
    }
}

/// Means over episodes of the bounds of [`MarginBounds`], with their standard errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EpisodeMarginBounds {
    /// The bound by Cantelli's inequality.
    pub cantelli: MeanEstimate,
    /// The bound by the directional CDNV.
    pub directional: MeanEstimate,
    /// The error, with ties counted as errors.
    pub error: MeanEstimate,
    /// Number of episodes.
    pub episodes: usize,
}

/// The means of [`margin_bounds`] over the first `episodes` episodes of a sampler.
///
/// **Errors** [`Error::Statistic`] for fewer than two episodes; [`Error::InEpisode`] for an episode that does not fit the
/// features.
///
/// ```
/// use fewshot::{EpisodeSampler, LabelledFeatures, episode_margin_bounds};
/// let values: Vec<f64> = (0..40).map(|i| f64::from(i % 2) + 0.1 * f64::from(i % 7)).collect();
/// let features = LabelledFeatures::from_f64(values, 1, (0..40).map(|i| i % 2).collect())?;
/// let sampler = EpisodeSampler::fixed(features.labels(), 2, 5, 15, 1)?;
/// let bounds = episode_margin_bounds(&features, &sampler, 100)?;
/// assert!(bounds.error.mean <= bounds.cantelli.mean && bounds.cantelli.mean <= bounds.directional.mean);
/// # fewshot::Result::Ok(())
/// ```
pub fn episode_margin_bounds<'a>(
    features: impl Into<FeatureView<'a>>,
    sampler: &EpisodeSampler,
    episodes: usize,
) -> Result<EpisodeMarginBounds> {
    let features = features.into();
    let one = |index: usize| -> Result<MarginBounds> {
        let episode = sampler.episode(index as u64);
        let task = Task::new(features, &episode).map_err(|source| Error::InEpisode {
            episode: index as u64,
            head: "(margin bounds)".to_owned(),
            source: Box::new(source),
        })?;
        Ok(margin_bounds(&task))
    };
    let found = (0..episodes).into_par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let mean = |value: fn(&MarginBounds) -> f64| -> Result<MeanEstimate> {
        let values: Vec<f64> = found.iter().map(value).collect();
        Ok(statistics::estimate_mean(&values, &IntervalSettings::default())?)
    };
    Ok(EpisodeMarginBounds {
        cantelli: mean(|bounds| bounds.cantelli)?,
        directional: mean(|bounds| bounds.directional)?,
        error: mean(|bounds| bounds.error)?,
        episodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Episode, Head, LabelledFeatures, NearestMean};

    /// Two classes on a line with support means 0 and `distance`, and for each a distribution on two points with mean at the
    /// support mean: `wrong` of `count` queries lie at the midpoint, moved by the share `beyond` of the half distance.
    fn two_points(distance: f64, wrong: usize, count: usize, beyond: f64) -> (LabelledFeatures, Episode) {
        let near = 0.5 * distance * (1.0 + beyond);
        let far = -near * wrong as f64 / (count - wrong) as f64;
        let (mut values, mut labels) = (vec![0.0, distance], vec![0, 1]);
        for class in 0..2 {
            for query in 0..count {
                let offset = if query < wrong { near } else { far };
                values.push(if class == 0 { offset } else { distance - offset });
                labels.push(class);
            }
        }
        let features = LabelledFeatures::from_f64(values, 1, labels).unwrap();
        let queries = vec![(2..2 + count).collect(), (2 + count..2 + 2 * count).collect()];
        (features, Episode::new(vec![0, 1], vec![vec![0], vec![1]], queries).unwrap())
    }

    #[test]
    fn the_bounds_of_two_point_classes_are_the_error_and_four_times_the_directional_cdnv() {
        for (distance, wrong, count) in [(8.0, 1, 5), (3.0, 2, 7), (0.01, 1, 40), (1e6, 9, 20)] {
            let q = wrong as f64 / count as f64;
            let (features, episode) = two_points(distance, wrong, count, 1e-14);
            let task = Task::new(&features, &episode).unwrap();
            let bounds = margin_bounds(&task);
            // All wrong queries lie beyond the midpoint, so that no tie decides.
            let predictions = NearestMean.scores(&task).unwrap().predictions();
            let misses =
                predictions.iter().zip(episode.query_classes()).filter(|(guess, class)| guess != class).count();
            assert_eq!(misses, 2 * wrong);
            assert!((bounds.error - q).abs() < 1e-12);
            assert!((bounds.cantelli - q).abs() < 1e-12, "{} {q}", bounds.cantelli);
            // Var = D²/4 · q/(1 − q), and Var/(Var + D²/4) = q.
            let variance = distance * distance / 4.0 * q / (1.0 - q);
            assert!((bounds.cantelli - variance / (variance + distance * distance / 4.0)).abs() < 1e-12);
            assert!((bounds.directional - (q / (1.0 - q)).min(1.0)).abs() < 1e-12, "{}", bounds.directional);
            // The bound 16 (k − 1)(1/s + 1/m) NC with s = 1 and m → ∞ is 4 q/(1 − q): 4 times the directional one.
            let sixteen = 16.0 * 2.0 * variance / (2.0 * distance * distance);
            assert!((sixteen - 4.0 * q / (1.0 - q)).abs() < 1e-12);
            // A constant that is 100 times too small contradicts the error.
            assert!(bounds.cantelli / 100.0 < bounds.error && bounds.directional / 100.0 < bounds.error);
            assert!(sixteen / 100.0 < bounds.error);
        }
    }

    #[test]
    fn the_error_is_at_most_cantelli_s_bound_which_is_at_most_the_directional_one() {
        for (seed, spread) in [(0, 0.2), (1, 0.6), (2, 2.0)] {
            let mut stream = streams::stream(seed, "fewshot/tests/margin-bounds", 0);
            let noise = streams::standard_normal(&mut stream, 200 * 8);
            let value = |(at, noise): (usize, &f64)| if at % 8 == at / 8 % 4 { 1.0 } else { 0.0 } + spread * noise;
            let values: Vec<f64> = noise.iter().enumerate().map(value).collect();
            let labels: Vec<u32> = (0..200).map(|row| row % 4).collect();
            let features = LabelledFeatures::from_f64(values, 8, labels).unwrap();
            let sampler = EpisodeSampler::fixed(features.labels(), 4, 5, 15, 0).unwrap();
            let accuracy = crate::evaluate(&features, &sampler, 50, &[NearestMean]).unwrap().heads[0].accuracy.mean;
            let bounds = episode_margin_bounds(&features, &sampler, 50).unwrap();
            assert!((bounds.error.mean - (1.0 - accuracy)).abs() < 1e-12);
            assert!(bounds.error.mean <= bounds.cantelli.mean, "{bounds:?}");
            assert!(bounds.cantelli.mean <= bounds.directional.mean && bounds.directional.mean <= 1.0, "{bounds:?}");
        }
    }

    #[test]
    fn equal_means_and_means_on_the_wrong_side_have_the_bound_one() {
        let features = LabelledFeatures::from_f64(vec![1.0, 1.0, 0.0, 2.0], 1, vec![0, 1, 0, 1]).unwrap();
        let episode = Episode::new(vec![0, 1], vec![vec![0], vec![1]], vec![vec![2], vec![3]]).unwrap();
        let bounds = margin_bounds(&Task::new(&features, &episode).unwrap());
        assert_eq!((bounds.cantelli, bounds.directional, bounds.error), (1.0, 1.0, 1.0));
        // The queries of each class lie at the other class's mean.
        let features = LabelledFeatures::from_f64(vec![0.0, 4.0, 4.0, 0.0], 1, vec![0, 1, 0, 1]).unwrap();
        let bounds = margin_bounds(&Task::new(&features, &episode).unwrap());
        assert_eq!((bounds.cantelli, bounds.directional, bounds.error), (1.0, 1.0, 1.0));
    }

    #[test]
    fn one_episode_has_no_standard_error() {
        let features = LabelledFeatures::from_f64(vec![0.0, 1.0, 0.1, 0.9], 1, vec![0, 1, 0, 1]).unwrap();
        let sampler = EpisodeSampler::fixed(features.labels(), 2, 1, 1, 0).unwrap();
        assert!(matches!(episode_margin_bounds(&features, &sampler, 1), Err(Error::Statistic(_))));
    }
}
