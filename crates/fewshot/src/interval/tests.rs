//! Quantiles against tables, intervals against their stated coverage.

use rand::Rng;

use super::*;

#[test]
fn student_quantiles_are_those_of_the_table() {
    // scipy.stats.t.ppf(0.975, ·) and (0.8, 2), SciPy 1.17.
    let table = [
        (0.975, 1.0, 12.706204736174694),
        (0.975, 2.0, 4.302652729749462),
        (0.975, 7.0, 2.364624251592784),
        (0.975, 599.0, 1.9639322489452784),
        (0.8, 2.0, 1.0606601717798214),
    ];
    for (share, degrees, expected) in table {
        let found = student_quantile(share, degrees);
        assert!((found / expected - 1.0).abs() < 1e-8, "{share} {degrees}: {found}");
        assert_eq!(student_quantile(1.0 - share, degrees).signum(), -1.0);
    }
}

/// The share of 2000 repetitions whose interval covers the mean 0.6 of a binomial share of 15 queries over `episodes`.
fn coverage(episodes: usize, pick: fn(&MeanEstimate) -> Interval) -> f64 {
    let settings = IntervalSettings { resamples: 400, ..IntervalSettings::default() };
    let covered = (0..2000)
        .filter(|&repetition| {
            let stream = &mut streams::stream(9, "interval/tests", repetition);
            let values: Vec<f64> =
                (0..episodes).map(|_| (0..15).filter(|_| stream.random::<f64>() < 0.6).count() as f64 / 15.0).collect();
            pick(&estimate_mean(&values, &settings).unwrap()).contains(0.6)
        })
        .count();
    covered as f64 / 2000.0
}

#[test]
fn intervals_have_their_stated_coverage() {
    // The standard error of a coverage of 0.95 over 2000 repetitions is 0.005; four of them.
    for episodes in [8, 60] {
        let student = coverage(episodes, |estimate| estimate.student);
        assert!((student - 0.95).abs() < 0.02, "t, {episodes} episodes: {student}");
    }
    let bootstrap = coverage(60, |estimate| estimate.bootstrap);
    assert!((bootstrap - 0.95).abs() < 0.02, "bootstrap: {bootstrap}");
}

#[test]
fn what_has_no_interval_is_refused_by_variant() {
    let settings = IntervalSettings::default();
    assert!(matches!(estimate_mean(&[1.0], &settings), Err(Error::TooFewValues { needed: 2, got: 1, .. })));
    assert!(matches!(estimate_mean(&[1.0, f64::NAN], &settings), Err(Error::NonFiniteValue { index: 1, .. })));
    for wrong in [IntervalSettings { level: 1.0, ..settings }, IntervalSettings { resamples: 5, ..settings }] {
        assert!(matches!(estimate_mean(&[1.0, 2.0], &wrong), Err(Error::InvalidSetting { .. })));
    }
}
