//! Quantiles against tables, intervals against their nominal coverage.

use rand::Rng;

use super::*;

#[test]
fn student_quantiles_agree_with_scipy() {
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

/// Coverage of the true mean 0.6 over 2000 repetitions; each draws `episodes` binomial accuracies over 15 queries.
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
fn intervals_have_their_nominal_coverage() {
    // A coverage of 0.95 over 2000 repetitions has the standard error 0.005; the tolerance is four standard errors.
    for episodes in [8, 60] {
        let student = coverage(episodes, |estimate| estimate.student);
        assert!((student - 0.95).abs() < 0.02, "t, {episodes} episodes: {student}");
    }
    let bootstrap = coverage(60, |estimate| estimate.bootstrap);
    assert!((bootstrap - 0.95).abs() < 0.02, "bootstrap: {bootstrap}");
}

#[test]
fn invalid_values_and_settings_are_refused() {
    let settings = IntervalSettings::default();
    assert!(matches!(estimate_mean(&[1.0], &settings), Err(Error::TooFewValues { needed: 2, got: 1, .. })));
    assert!(matches!(estimate_mean(&[1.0, f64::NAN], &settings), Err(Error::NonFiniteValue { index: 1, .. })));
    for wrong in [
        IntervalSettings { level: 1.0, ..settings },
        IntervalSettings { resamples: 5, ..settings },
        IntervalSettings { resamples: usize::MAX, ..settings },
    ] {
        assert!(matches!(estimate_mean(&[1.0, 2.0], &wrong), Err(Error::InvalidSetting { .. })));
    }
}

#[test]
fn results_are_read_back_from_json() {
    let estimate = estimate_mean(&[0.1, 0.7, 0.4], &IntervalSettings::default()).unwrap();
    let text = serde_json::to_string(&estimate).unwrap();
    assert_eq!(serde_json::from_str::<MeanEstimate>(&text).unwrap(), estimate);
}

#[test]
fn decimals_show_two_digits_of_the_error() {
    for (error, expected) in [(0.0063, 4), (0.063, 3), (0.63, 2), (6.3, 1), (63.0, 0), (630.0, 0), (0.0, 4)] {
        assert_eq!(decimals(error), expected, "{error}");
    }
}
