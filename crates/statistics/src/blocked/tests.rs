//! Against SciPy, against full enumeration, exact against drawn, and the level under null hypotheses.

use super::*;

const X: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

fn test(blocks: &[Block<'_>], statistic: RankStatistic, settings: &PermutationSettings) -> BlockedCorrelation {
    blocked_rank_correlation(blocks, statistic, settings).unwrap()
}

#[test]
fn one_block_is_scipys_permutation_test() {
    // SciPy 1.17: scipy.stats.permutation_test((y,), lambda y: scipy.stats.spearmanr(x, y).statistic,
    // permutation_type="pairings", alternative="two-sided") with x = 1 to 5, y = (2, 1, 4, 3, 5): ρ = 0.8, p = 16/120.
    let (x, y) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]);
    let found = test(&[Block { x: &x, y: &y }], RankStatistic::Spearman, &PermutationSettings::default());
    assert!((found.mean - 0.8).abs() < 1e-15 && found.exact);
    assert!((found.p_value - 16.0 / 120.0).abs() < 1e-12, "{}", found.p_value);
    // scipy.stats.kendalltau(x, y, method="exact"): τ = 0.6, p = 0.23333333333333334.
    let found = test(&[Block { x: &x, y: &y }], RankStatistic::Kendall, &PermutationSettings::default());
    assert!((found.mean - 0.6).abs() < 1e-15 && (found.p_value - 0.23333333333333334).abs() < 1e-12);
}

#[test]
fn the_convolution_counts_what_enumeration_counts() {
    // All 24² pairs of orders of two blocks, one of them with ties.
    let (first, second) = ([2.0, 1.0, 3.0, 4.0], [1.0, 1.0, 2.0, 5.0]);
    for statistic in [RankStatistic::Spearman, RankStatistic::Kendall] {
        let blocks = [Block { x: &X, y: &first }, Block { x: &X, y: &second }];
        let found = test(&blocks, statistic, &PermutationSettings::default());
        let of = |y: &[f64]| statistic.coefficient(&X, y).unwrap();
        let observed = of(&first) + of(&second);
        let mut extreme = 0;
        for_each_permutation(&mut first.clone(), 4, &mut |a| {
            for_each_permutation(&mut second.clone(), 4, &mut |b| {
                extreme += usize::from((of(a) + of(b)).abs() >= observed.abs() - 1e-9);
            });
        });
        assert!((found.p_value - extreme as f64 / 576.0).abs() < 1e-12, "{statistic}");
        assert!((found.mean - observed / 2.0).abs() < 1e-15);
    }
}

#[test]
fn drawn_permutations_agree_with_the_exact_test() {
    let seeds = [[1.0, 3.0, 2.0, 4.0], [2.0, 1.0, 4.0, 3.0], [1.0, 2.0, 4.0, 3.0], [3.0, 1.0, 2.0, 4.0]];
    let blocks: Vec<Block<'_>> = seeds.iter().map(|y| Block { x: &X, y }).collect();
    let exact = test(&blocks, RankStatistic::Spearman, &PermutationSettings::default());
    let settings = PermutationSettings { exact_up_to: 0, draws: 40_000, seed: 1 };
    let drawn = test(&blocks, RankStatistic::Spearman, &settings);
    assert!(exact.exact && !drawn.exact && drawn.permutations == 40_001.0);
    let error = (exact.p_value * (1.0 - exact.p_value) / 40_000.0).sqrt();
    assert!((exact.p_value - drawn.p_value).abs() < 4.0 * error, "{} {}", exact.p_value, drawn.p_value);
    // Nine runs in a block are drawn, whatever the bound.
    let long: Vec<f64> = (0..9).map(f64::from).collect();
    let found = test(&[Block { x: &long, y: &long }], RankStatistic::Kendall, &PermutationSettings::default());
    assert!(!found.exact && found.p_value < 0.001);
}

#[test]
fn a_block_without_variation_counts_as_zero() {
    let blocks = [Block { x: &X, y: &X }, Block { x: &X, y: &[1.0; 4] }];
    let found = test(&blocks, RankStatistic::Spearman, &PermutationSettings::default());
    assert_eq!((found.mean, found.per_block.clone()), (0.5, vec![Some(1.0), None]));
    assert!((found.p_value - 2.0 / 24.0).abs() < 1e-12);
}

#[test]
fn p_values_under_the_null_hypothesis_have_their_nominal_level() {
    // Seeds share an effect (half of the variance), the swept value has none. The sizes at p ≤ 0.05 are those of the
    // discrete null distribution, enumerated with Python's fractions: below 0.05, as one mean ρ has a large probability.
    // 4000 repetitions have a standard error of 0.0029; the tolerance is four of these.
    for (seeds, size) in [(3, 0.029658564814814815), (5, 0.03344877266589506)] {
        let rejected = (0..4000)
            .filter(|&repetition| {
                let draws = streams::standard_normal(&mut streams::stream(6, "blocked/tests", repetition), 5 * seeds);
                let metrics: Vec<Vec<f64>> =
                    draws.chunks(5).map(|seed| seed[1..].iter().map(|noise| noise + seed[0]).collect()).collect();
                let blocks: Vec<Block<'_>> = metrics.iter().map(|y| Block { x: &X, y }).collect();
                test(&blocks, RankStatistic::Spearman, &PermutationSettings::default()).p_value <= 0.05
            })
            .count();
        let share = rejected as f64 / 4000.0;
        assert!((share - size).abs() < 0.0116, "{seeds} seeds: {share}");
    }
}

#[test]
fn invalid_blocks_and_settings_are_refused() {
    let of = |blocks: &[Block<'_>], settings: &PermutationSettings| {
        blocked_rank_correlation(blocks, RankStatistic::Spearman, settings)
    };
    let settings = PermutationSettings::default();
    assert!(matches!(of(&[], &settings), Err(Error::TooFewValues { needed: 1, got: 0, .. })));
    assert!(matches!(of(&[Block { x: &[1.0], y: &[1.0] }], &settings), Err(Error::TooFewValues { needed: 2, .. })));
    assert!(matches!(
        of(&[Block { x: &X, y: &[1.0] }], &settings),
        Err(Error::UnequalLengths { left: 4, right: 1, .. })
    ));
    let flat = [Block { x: &X, y: &[2.0; 4] }];
    assert!(matches!(of(&flat, &settings), Err(Error::NoVariation { which: "second", .. })));
    let few = PermutationSettings { draws: 9, ..settings };
    assert!(matches!(of(&[Block { x: &X, y: &X }], &few), Err(Error::InvalidSetting { .. })));
}
