//! Dual against primal problem, and closed forms against brute force, for s < p and s > p and unequal classes.

use super::*;
#[cfg(feature = "faer")]
use crate::Error;
use crate::{Episode, LabelledFeatures};

/// Features and an episode with 3, 5 and 4 shots and 2 queries per class.
fn features(dimension: usize) -> (LabelledFeatures, Episode) {
    let sizes = [5, 7, 6];
    let labels: Vec<u32> = (0..3u32).flat_map(|class| vec![class; sizes[class as usize]]).collect();
    let noise = streams::standard_normal(&mut streams::stream(4, "ridge/tests", 0), labels.len() * dimension);
    let values = noise.iter().enumerate().map(|(i, e)| e + f64::from(labels[i / dimension])).collect();
    let mut start = 0;
    let (mut support, mut query) = (Vec::new(), Vec::new());
    for size in sizes {
        support.push((start..start + size - 2).collect());
        query.push((start + size - 2..start + size).collect());
        start += size;
    }
    let features = LabelledFeatures::from_f64(values, dimension, labels).unwrap();
    (features, Episode::new(vec![0, 1, 2], support, query).unwrap())
}

/// The mean squared leave-one-out error by refitting without each support sample in turn.
#[cfg(feature = "faer")]
fn brute_force(task: &Task<'_>, lambda: f64, bias: Bias) -> f64 {
    let (support, dimension, way) = (task.support_matrix(), task.dimension(), task.way());
    let count = task.support_count();
    let mut total = 0.0;
    for left_out in 0..count {
        let others: Vec<usize> = (0..count).filter(|&i| i != left_out).collect();
        let mut features: Vec<f64> =
            others.iter().flat_map(|&i| &support[i * dimension..][..dimension]).copied().collect();
        let target = |i: usize, class: usize| f64::from(u8::from(task.support_classes()[i] == class));
        let mut row = support[left_out * dimension..][..dimension].to_vec();
        let mut columns = dimension;
        let mut means = vec![0.0; way];
        match bias {
            Bias::Free => {
                let mean = centre(&mut features, dimension);
                row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
                for (class, mean) in means.iter_mut().enumerate() {
                    *mean = others.iter().map(|&i| target(i, class)).sum::<f64>() / others.len() as f64;
                }
            }
            Bias::Penalised => {
                features = features.chunks_exact(dimension).flat_map(|row| [row, &[1.0]].concat()).collect();
                row.push(1.0);
                columns += 1;
            }
        }
        let mut matrix = scatter(&features, columns);
        (0..columns).for_each(|i| matrix[i * columns + i] += lambda);
        let cholesky = Cholesky::new(matrix, columns, "test").unwrap();
        for (class, class_mean) in means.iter().enumerate() {
            let mut weights = vec![0.0; columns];
            for (position, &i) in others.iter().enumerate() {
                let row = Row::F64(&features[position * columns..][..columns]);
                row.add_scaled_to(target(i, class) - class_mean, &mut weights);
            }
            cholesky.solve(&mut weights);
            total += (dot(&row, &weights) + class_mean - target(left_out, class)).powi(2);
        }
    }
    total / (count * way) as f64
}

#[cfg(feature = "faer")]
#[test]
fn leave_one_out_in_closed_form_equals_brute_force() {
    // 12 support samples: dual (p = 30 and 12) and primal (p = 11 and 5).
    for dimension in [5, 11, 12, 30] {
        let (features, episode) = features(dimension);
        let task = Task::new(&features, &episode).unwrap();
        for bias in [Bias::Free, Bias::Penalised] {
            let candidates = vec![1e-3, 0.1, 1.0, 30.0];
            let penalty = Penalty::leave_one_out(candidates.clone(), PenaltyScale::Absolute).unwrap();
            let choice = Ridge::new(penalty).with_bias(bias).penalty_on(&task).unwrap();
            let mut best = (f64::INFINITY, 0.0);
            for (found, candidate) in choice.candidates.iter().zip(candidates) {
                let (lambda, error) = (found.lambda, found.mean_squared_error);
                let expected = brute_force(&task, candidate, bias);
                assert_eq!(lambda, candidate);
                // Relative: small penalties at p ≥ n amplify rounding by the condition number, up to 1e5 here.
                assert!((error / expected - 1.0).abs() < 1e-8, "p {dimension} {bias:?} λ {lambda}: {error} {expected}");
                if expected < best.0 {
                    best = (expected, lambda);
                }
            }
            assert_eq!(choice.lambda, best.1);
        }
    }
}

#[test]
fn dual_and_primal_give_the_same_scores() {
    for dimension in [4, 12, 40] {
        let (features, episode) = features(dimension);
        let task = Task::new(&features, &episode).unwrap();
        for bias in [Bias::Free, Bias::Penalised] {
            let design = Design::new(&task, bias);
            for dual in [true, false] {
                let size = if dual { design.samples() } else { design.columns };
                let matrix = if dual {
                    gram(&design.features, design.columns)
                } else {
                    scatter(&design.features, design.columns)
                };
                let mut system = matrix;
                (0..size).for_each(|i| system[i * size + i] += 0.7);
                let cholesky = Cholesky::new(system, size, "test").unwrap();
                let mut right = if dual { design.targets.clone() } else { design.combine(&design.targets) };
                right.chunks_exact_mut(size).for_each(|row| cholesky.solve(row));
                let coefficients = if dual { design.combine(&right) } else { right };
                let expected = design.classifier(coefficients).scores(&task).unwrap();
                let found = Ridge::new(Penalty::fixed(0.7).unwrap()).with_bias(bias).scores(&task).unwrap();
                for (found, expected) in found.values().iter().zip(expected.values()) {
                    assert!((found - expected).abs() < 1e-12);
                }
            }
        }
    }
}

#[cfg(feature = "faer")]
#[test]
fn a_gram_scaled_penalty_is_invariant_to_the_scale_of_the_features() {
    let (plain, episode) = features(9);
    let scaled: Vec<f64> =
        (0..plain.samples()).filter_map(|i| plain.row(i)).flatten().map(|value| 1024.0 * value).collect();
    let scaled = LabelledFeatures::from_f64(scaled, 9, plain.labels().to_vec()).unwrap();
    for text in ["0.1*gram", "loo"] {
        let head = Ridge::new(text.parse().unwrap());
        let a = head.scores(&Task::new(&plain, &episode).unwrap()).unwrap();
        let b = head.scores(&Task::new(&scaled, &episode).unwrap()).unwrap();
        a.values().iter().zip(b.values()).for_each(|(a, b)| assert!((a - b).abs() < 1e-11));
    }
    let task = Task::new(&plain, &episode).unwrap();
    let per_sample = Ridge::new("0.5*n".parse().unwrap()).penalty_on(&task).unwrap();
    assert_eq!(per_sample.lambda, 0.5 * 12.0);
}

#[cfg(feature = "faer")]
#[test]
fn features_that_do_not_vary_give_the_class_shares() {
    let features = LabelledFeatures::from_f32(vec![2.0; 5], 1, vec![0, 0, 1, 0, 1]).unwrap();
    let episode = Episode::new(vec![0, 1], vec![vec![0, 1], vec![2]], vec![vec![3], vec![4]]).unwrap();
    let task = Task::new(&features, &episode).unwrap();
    for text in ["0.1*gram", "loo", "1"] {
        let scores = Ridge::new(text.parse().unwrap()).scores(&task).unwrap();
        assert_eq!(scores.rows().next().unwrap(), [2.0 / 3.0, 1.0 / 3.0]);
    }
}

#[cfg(feature = "faer")]
#[test]
fn penalties_that_are_not_positive_are_refused() {
    for text in ["0", "-1", "inf", "NaN", "loo=1/0", "0*gram"] {
        assert!(matches!(text.parse::<Penalty>(), Err(Error::InvalidPenalty { .. })), "{text}");
    }
    assert!(matches!(Penalty::leave_one_out(vec![], PenaltyScale::Samples), Err(Error::InvalidPenalty { .. })));
    for text in ["", "x", "1*p", "loo="] {
        assert!(matches!(text.parse::<Penalty>(), Err(Error::HeadSyntax { .. })), "{text}");
    }
}
