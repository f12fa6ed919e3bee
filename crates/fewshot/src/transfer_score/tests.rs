//! Scores against brute-force evaluation of their definitions, for n > p, n = p and n < p, and unequal classes.

use super::*;
use crate::LabelledFeatures;
use crate::linalg::{Cholesky, Row, centre, dot, gram, scatter};

fn features(samples: usize, dimension: usize) -> LabelledFeatures {
    let labels: Vec<u32> = (0..samples).map(|i| [3, 8, 3, 5, 3][i % 5]).collect();
    let noise = streams::standard_normal(&mut streams::stream(6, "transfer/tests", 0), samples * dimension);
    let shift = |i: usize| 0.8 * f64::from(labels[i / dimension] % (i % dimension + 2) as u32);
    let values = noise.iter().enumerate().map(|(i, e)| e + shift(i)).collect();
    LabelledFeatures::from_f64(values, dimension, labels).unwrap()
}

/// ln p(y | F)/n of y ~ N(0, (FFᵀ + tI)/α) by a Cholesky factorisation of the n×n covariance.
fn evidence(features: &LabelledFeatures, class: u32, t: f64, alpha: f64) -> f64 {
    let n = features.samples();
    let mut covariance = gram(&matrix(features.view()), features.dimension());
    (0..n).for_each(|i| covariance[i * n + i] += t);
    covariance.iter_mut().for_each(|value| *value /= alpha);
    // ln det from solves with the leading blocks A_k: det = Π 1/(A_k⁻¹)_kk.
    let mut log_determinant = 0.0;
    for k in 1..=n {
        let block: Vec<f64> = (0..k).flat_map(|i| covariance[i * n..][..k].to_vec()).collect();
        let mut unit = vec![0.0; k];
        unit[k - 1] = 1.0;
        Cholesky::new(block, k, "test").unwrap().solve(&mut unit);
        log_determinant -= unit[k - 1].ln();
    }
    let y: Vec<f64> = features.labels().iter().map(|label| f64::from(u8::from(*label == class))).collect();
    let mut solved = y.clone();
    Cholesky::new(covariance, n, "test").unwrap().solve(&mut solved);
    -0.5 * ((2.0 * std::f64::consts::PI).ln() + (log_determinant + dot(&y, &solved)) / n as f64)
}

#[test]
fn log_me_is_the_maximum_of_the_evidence() {
    for (samples, dimension) in [(20, 4), (15, 15), (15, 40)] {
        let features = features(samples, dimension);
        let found = log_me(&features).unwrap();
        for ((class, &value), &t) in [3, 5, 8].into_iter().zip(&found.per_class).zip(&found.noise_ratio) {
            // The best α for this t by its formula; no neighbour of (t, α) has a larger evidence.
            let mut system = gram(&matrix(features.view()), dimension);
            (0..samples).for_each(|i| system[i * samples + i] += t);
            let y: Vec<f64> = features.labels().iter().map(|l| f64::from(u8::from(*l == class))).collect();
            let mut solved = y.clone();
            Cholesky::new(system, samples, "test").unwrap().solve(&mut solved);
            let alpha = samples as f64 / dot(&y, &solved);
            let at = |t, alpha| evidence(&features, class, t, alpha);
            assert!((value - at(t, alpha)).abs() < 1e-9, "{samples}×{dimension}: {value} {}", at(t, alpha));
            for (t_factor, alpha_factor) in [(1.1, 1.0), (0.9, 1.0), (1.0, 1.1), (1.0, 0.9), (30.0, 2.0), (0.03, 0.5)] {
                assert!(at(t * t_factor, alpha * alpha_factor) <= value + 1e-9);
            }
        }
    }
}

#[test]
fn the_h_score_equals_its_definition_for_n_above_and_below_p() {
    for (samples, dimension) in [(40, 6), (12, 12), (15, 50)] {
        let features = features(samples, dimension);
        let found = h_score(&features).unwrap();
        let mut rows = matrix(features.view());
        centre(&mut rows, dimension);
        let mut covariance = scatter(&rows, dimension);
        covariance.iter_mut().for_each(|value| *value /= samples as f64);
        let target = (0..dimension).map(|i| covariance[i * dimension + i]).sum::<f64>() / dimension as f64;
        covariance.iter_mut().for_each(|value| *value *= 1.0 - found.shrinkage);
        (0..dimension).for_each(|i| covariance[i * dimension + i] += found.shrinkage * target);
        let cholesky = Cholesky::new(covariance, dimension, "test").unwrap();
        let mut expected = 0.0;
        for label in [3, 5, 8] {
            let members: Vec<usize> = (0..samples).filter(|&i| features.labels()[i] == label).collect();
            let mut mean = vec![0.0; dimension];
            for &i in &members {
                Row::F64(&rows[i * dimension..][..dimension]).add_scaled_to(1.0 / members.len() as f64, &mut mean);
            }
            let mut solved = mean.clone();
            cholesky.solve(&mut solved);
            expected += members.len() as f64 / samples as f64 * dot(&mean, &solved);
        }
        assert!((found.value - (1.0 - found.shrinkage) * expected).abs() < 1e-10);
        assert!(found.value > 0.0 && found.value < 2.0);
    }
}

#[test]
fn features_without_a_score_are_refused() {
    let one_class = LabelledFeatures::from_f32(vec![1.0, 2.0], 1, vec![0, 0]).unwrap();
    let constant = LabelledFeatures::from_f32(vec![2.0; 4], 1, vec![0, 1, 0, 1]).unwrap();
    let zero = LabelledFeatures::from_f32(vec![0.0; 4], 1, vec![0, 1, 0, 1]).unwrap();
    let undefined = |result: Result<()>| matches!(result, Err(Error::Undefined { .. }));
    assert!(undefined(log_me(&one_class).map(drop)) && undefined(log_me(&zero).map(drop)));
    assert!(undefined(h_score(&one_class).map(drop)) && undefined(h_score(&constant).map(drop)));
    assert!(undefined(separation(&one_class).map(drop)) && undefined(separation(&constant).map(drop)));
    let settings = crate::IntervalSettings::default();
    assert!(matches!(
        rank_scores(&[], &[0.5], &settings),
        Err(Error::Statistic(statistics::Error::UnequalLengths { left: 0, right: 1, .. }))
    ));
}

#[test]
fn pairs_of_coincident_classes_are_excluded_and_counted() {
    let features = LabelledFeatures::from_f32(vec![0.0, 2.0, 1.0, 1.0, 5.0, 5.0], 1, vec![0, 0, 1, 1, 2, 2]).unwrap();
    let found = separation(&features).unwrap();
    // Means 1, 1, 5; variances 1, 0, 0: V(0, 2) = 1/32 and V(1, 2) = 0.
    assert_eq!((found.pairs, found.coincident_pairs, found.mean_cdnv), (2, 1, 1.0 / 64.0));
}

#[test]
fn results_are_read_back_from_json() {
    let scores: Vec<TransferScores> =
        [(20, 4), (30, 5), (25, 6)].iter().map(|&(n, p)| transfer_scores(&features(n, p)).unwrap()).collect();
    let text = serde_json::to_string(&scores).unwrap();
    assert_eq!(serde_json::from_str::<Vec<TransferScores>>(&text).unwrap(), scores);
    let ranks = rank_scores(&scores, &[0.3, 0.5, 0.4], &crate::IntervalSettings::default()).unwrap();
    let text = serde_json::to_string(&ranks).unwrap();
    assert!(text.contains("\"score\":\"log_me\""));
    assert_eq!(serde_json::from_str::<Vec<ScoreRank>>(&text).unwrap(), ranks);
}
