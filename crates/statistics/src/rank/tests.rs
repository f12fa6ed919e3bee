//! Worked ties, exact tests, coverage of the bootstrap, and refusals.

use super::*;

const DEFAULT: IntervalSettings = IntervalSettings { level: 0.95, resamples: 1000, seed: 0 };

#[test]
fn ties_get_their_mean_rank() {
    assert_eq!(mean_ranks(&[5.0, 1.0, 5.0, 0.0, 5.0]), [4.0, 2.0, 4.0, 1.0, 4.0]);
    // x = (1, 2, 2, 3), y = (1, 2, 3, 3): ranks (1, 2.5, 2.5, 4) and (1, 2, 3.5, 3.5); Σ(dx dy) = 3.75, Σdx² = Σdy² = 4.5.
    let (x, y) = ([1.0, 2.0, 2.0, 3.0], [1.0, 2.0, 3.0, 3.0]);
    let rho = RankStatistic::Spearman.coefficient(&x, &y).unwrap();
    assert!((rho - 3.75 / 4.5).abs() < 1e-15);
    // Of 6 pairs one is tied in x and another in y; the other 4 agree: τ_b = 4/√(5·5).
    assert!((RankStatistic::Kendall.coefficient(&x, &y).unwrap() - 0.8).abs() < 1e-15);
}

#[test]
fn a_perfect_order_of_five_pairs_has_the_p_value_2_over_120() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    for statistic in [RankStatistic::Spearman, RankStatistic::Kendall] {
        let found = rank_correlation(&x, &x.map(|value| -value.exp()), statistic, &DEFAULT).unwrap();
        assert_eq!((found.coefficient, found.exact, found.permutations), (-1.0, true, 120));
        assert!((found.p_value - 2.0 / 120.0).abs() < 1e-15 && found.fisher.is_none());
    }
}

#[test]
fn bootstrap_and_fisher_intervals_cover() {
    // Bivariate normal with correlation r: Spearman's ρ is (6/π) asin(r/2). 400 repetitions of 40 pairs: a coverage of 0.95
    // has the standard error 0.011. The tolerance is four of these; the percentile bootstrap covers 0.01 less.
    let r: f64 = 0.6;
    let truth = 6.0 / std::f64::consts::PI * (0.5 * r).asin();
    let settings = IntervalSettings { resamples: 300, ..DEFAULT };
    let (mut bootstrap, mut fisher) = (0, 0);
    for repetition in 0..400 {
        let draws = streams::standard_normal(&mut streams::stream(8, "rank/tests", repetition), 80);
        let (x, noise) = draws.split_at(40);
        let y: Vec<f64> = x.iter().zip(noise).map(|(x, e)| r * x + (1.0 - r * r).sqrt() * e).collect();
        let found = rank_correlation(x, &y, RankStatistic::Spearman, &settings).unwrap();
        bootstrap += usize::from(found.bootstrap.contains(truth));
        fisher += usize::from(found.fisher.unwrap().contains(truth));
    }
    assert!((358..=398).contains(&bootstrap), "bootstrap {bootstrap}");
    assert!((362..=398).contains(&fisher), "Fisher {fisher}");
}

#[test]
fn the_permutation_test_has_its_nominal_level() {
    // Independent lists: p ≤ 0.1 in a tenth of 400 repetitions, standard error 0.015; the tolerance is four of these.
    let settings = IntervalSettings { resamples: 200, ..DEFAULT };
    let rejected = (0..400)
        .filter(|&repetition| {
            let draws = streams::standard_normal(&mut streams::stream(7, "rank/tests", repetition), 30);
            let found = rank_correlation(&draws[..15], &draws[15..], RankStatistic::Kendall, &settings).unwrap();
            found.p_value <= 0.1
        })
        .count();
    assert!((16..=64).contains(&rejected), "{rejected}");
}

#[test]
fn differences_between_groups_alone_are_no_evidence() {
    // Both lists increase from seed to seed; within each seed ρ = −½.
    let x = [1.0, 2.0, 1.5, 11.0, 12.0, 11.5, 21.0, 22.0, 21.5];
    let y = [2.0, 1.0, 3.0, 12.0, 11.0, 13.0, 22.0, 21.0, 23.0];
    let seeds = [0, 0, 0, 1, 1, 1, 2, 2, 2];
    let pooled = rank_correlation(&x, &y, RankStatistic::Spearman, &DEFAULT).unwrap();
    let grouped = rank_correlation_in_groups(&x, &y, &seeds, RankStatistic::Spearman, &DEFAULT).unwrap();
    assert!(pooled.p_value < 0.02 && grouped.p_value > 0.15, "{} {}", pooled.p_value, grouped.p_value);
    assert_eq!((grouped.groups, grouped.coefficient), (3, pooled.coefficient));
}

#[test]
fn lists_without_a_rank_correlation_are_refused_by_variant() {
    let of = |x: &[f64], y: &[f64]| rank_correlation(x, y, RankStatistic::Spearman, &DEFAULT);
    assert!(matches!(of(&[1.0, 2.0, 3.0], &[1.0, 2.0]), Err(Error::UnequalLengths { left: 3, right: 2, .. })));
    assert!(matches!(of(&[1.0, 2.0], &[1.0, 2.0]), Err(Error::TooFewValues { needed: 3, .. })));
    assert!(matches!(of(&[1.0, 2.0, 3.0], &[4.0; 3]), Err(Error::NoVariation { which: "second", .. })));
    assert!(matches!(of(&[1.0, f64::NAN, 3.0], &[4.0, 5.0, 6.0]), Err(Error::NonFiniteValue { index: 1, .. })));
    let one_group =
        rank_correlation_in_groups(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], &[4; 3], RankStatistic::Kendall, &DEFAULT);
    assert!(matches!(one_group, Err(Error::TooFewValues { needed: 2, got: 1, .. })));
}
