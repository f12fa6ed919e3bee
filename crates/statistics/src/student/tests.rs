//! Against SciPy's values, and the inverse against the distribution.

use super::*;

#[derive(serde::Deserialize)]
struct Golden {
    /// Degrees of freedom (none: infinite), probability beyond t, t.
    quantiles: Vec<(Option<f64>, f64, f64)>,
    /// Degrees of freedom, t, probability beyond t.
    survivals: Vec<(Option<f64>, f64, f64)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/golden/student_t.json")).unwrap()
}

#[test]
fn quantiles_are_scipys_for_all_degrees_of_freedom() {
    let golden = golden();
    assert!(golden.quantiles.len() > 300);
    for (degrees, tail, expected) in golden.quantiles {
        let degrees = degrees.unwrap_or(f64::INFINITY);
        let found = -student_t_quantile(tail, degrees);
        assert!((found / expected - 1.0).abs() < 1e-10, "{degrees} {tail}: {found} for {expected}");
        // 1 − tail is exact enough where the tail is not small.
        if tail > 1e-3 {
            let upper = student_t_quantile(1.0 - tail, degrees);
            assert!((upper / expected - 1.0).abs() < 1e-10, "{degrees} 1 - {tail}: {upper} for {expected}");
        }
    }
}

#[test]
fn probabilities_are_scipys_for_all_degrees_of_freedom() {
    for (degrees, t, expected) in golden().survivals {
        let degrees = degrees.unwrap_or(f64::INFINITY);
        let found = student_t_survival(t, degrees);
        assert!((found / expected - 1.0).abs() < 1e-10, "{degrees} {t}: {found} for {expected}");
        assert!((student_t_cdf(t, degrees) - (1.0 - expected)).abs() < 1e-14);
        assert!((student_t_cdf(-t, degrees) / expected - 1.0).abs() < 1e-10);
    }
}

#[test]
fn the_two_expansions_meet() {
    // On either side of t² = 2, where one expansion follows the other.
    let t = CENTRE.sqrt();
    for degrees in [0.3, 1.0, 4.5, 60.0, 1e5, f64::INFINITY] {
        let (below, above) =
            (student_t_survival(t * (1.0 - 1e-15), degrees), student_t_survival(t * (1.0 + 1e-15), degrees));
        assert!((below / above - 1.0).abs() < 1e-13, "{degrees}: {below} {above}");
    }
}

#[test]
fn the_quantile_inverts_the_distribution() {
    for degrees in [0.3, 1.0, 2.0, 3.7, 25.0, 1e4, 3e9, f64::INFINITY] {
        for probability in [1e-9, 0.01, 0.24, 0.26, 0.49, 0.4999999, 0.5000001, 0.7, 0.76, 0.99, 0.999999] {
            let t = student_t_quantile(probability, degrees);
            let back = student_t_cdf(t, degrees);
            assert!((back / probability - 1.0).abs() < 1e-12, "{degrees} {probability}: {t} {back}");
        }
    }
}

#[test]
fn arguments_outside_the_domain_give_nan_and_ends_give_infinity() {
    for degrees in [0.0, -1.0, f64::NAN] {
        assert!(student_t_quantile(0.9, degrees).is_nan() && student_t_cdf(1.0, degrees).is_nan());
    }
    assert!(student_t_quantile(1.1, 3.0).is_nan() && student_t_quantile(f64::NAN, 3.0).is_nan());
    assert!(student_t_cdf(f64::NAN, 3.0).is_nan() && student_t_log_survival(-1.0, 3.0).is_nan());
    assert_eq!((student_t_quantile(0.0, 3.0), student_t_quantile(1.0, 3.0)), (f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!((student_t_cdf(f64::INFINITY, 3.0), student_t_cdf(f64::NEG_INFINITY, 3.0)), (1.0, 0.0));
    assert_eq!(student_t_cdf(0.0, 3.0), 0.5);
    // One degree of freedom far out: tan(π(½ − p)) = 1/(πp).
    assert!((student_t_quantile(1e-100, 1.0) * -PI * 1e-100 - 1.0).abs() < 1e-12);
}
