//! The CDNV from unbiased variances and distances: values worked by hand, and simulations with known classes.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Error, ReportOptions, Scatter, cdnv, cdnv_unbiased, report_slice,
};

fn report(features: &[f64], width: usize, labels: &[u32]) -> CollapseReport {
    report_slice(features, width, labels, None, &ReportOptions::default()).unwrap()
}

#[test]
fn the_value_and_its_standard_error_by_hand() {
    // Classes −1, 1 | 8, 12: s² = 2 and 8, D² = 100 − 2/2 − 8/2 = 95. Every ‖d‖² is Var_i, so that only the means contribute
    // to the error: a sample's influence is (s_0² + s_1²)/D⁴ · d·(μ_0 − μ_1), which is ±100/95² and ±200/95².
    let report = report(&[-1.0, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1]);
    assert!((report.cdnv_unbiased.unwrap() - 10.0 / 190.0).abs() < 1e-15);
    let expected = (100f64.powi(2) + 200f64.powi(2)).sqrt() / 95f64.powi(2);
    assert!((report.cdnv_unbiased_std_error.unwrap() - expected).abs() < 1e-15);
    assert!((report.cdnv - 0.025).abs() < 1e-15);
}

#[test]
fn variances_contribute_to_the_standard_error() {
    // Classes −3, 0, 3 | 99, 100, 101: s² = 9 and 1, D² = 100² − 3 − 1/3, ‖d‖² − Var is (3, −6, 3) and (1, −2, 1)/3.
    let report = report(&[-3.0, 0.0, 3.0, 99.0, 100.0, 101.0], 1, &[0, 0, 0, 1, 1, 1]);
    let squared = 10_000.0 - 3.0 - 1.0 / 3.0;
    let spread = 10.0 / (squared * squared);
    assert!((report.cdnv_unbiased.unwrap() - 5.0 / squared).abs() < 1e-15);
    let variance = 1.5 * (0.5 / squared + spread / 6.0);
    let influences = [
        variance * 3.0 + spread * -300.0,
        variance * -6.0,
        variance * 3.0 + spread * 300.0,
        variance / 3.0 + spread * 100.0,
        variance * -2.0 / 3.0,
        variance / 3.0 - spread * 100.0,
    ];
    let expected = (influences.iter().map(|value| value * value).sum::<f64>() / 6.0).sqrt();
    let found = report.cdnv_unbiased_std_error.unwrap();
    assert!((found / expected - 1.0).abs() < 1e-10, "{found} for {expected}");
}

#[test]
fn few_samples_do_not_shrink_it_as_they_shrink_the_plug_in() {
    // Four samples of each of three normal classes around means with squared distances 800: the CDNV is 400/800.
    let (width, trials) = (400, 200);
    let labels: Vec<u32> = (0..12).map(|row| row % 3).collect();
    let mut found = Vec::new();
    for trial in 0..trials {
        let mut stream = streams::stream(7, "collapse/tests/unbiased", trial);
        let noise = streams::standard_normal(&mut stream, 12 * width);
        // Class c has mean 20 along axis c.
        let value = |(at, noise): (usize, &f64)| noise + if at % width == at / width % 3 { 20.0 } else { 0.0 };
        let features: Vec<f64> = noise.iter().enumerate().map(value).collect();
        let report = report(&features, width, &labels);
        found.push((report.cdnv_unbiased.unwrap(), report.cdnv_unbiased_std_error.unwrap(), report.cdnv));
    }
    let mean = |of: &dyn Fn(&(f64, f64, f64)) -> f64| found.iter().map(of).sum::<f64>() / trials as f64;
    let unbiased = mean(&|found| found.0);
    let spread = (found.iter().map(|found| (found.0 - unbiased).powi(2)).sum::<f64>() / (trials - 1) as f64).sqrt();
    // The ratio has a bias of about the relative variance of D², which is 0.3 %.
    let tolerance = 4.0 * spread / (trials as f64).sqrt() + 0.003 * 0.5;
    assert!((unbiased - 0.5).abs() < tolerance, "{unbiased} for 0.5, tolerance {tolerance}");
    // The plug-in: 0.75 of the variance over 1.25 of the squared distance.
    let plug_in = mean(&|found| found.2);
    assert!((plug_in - 0.3).abs() < 0.01, "{plug_in}");
    let stated = mean(&|found| found.1);
    // The spread of 200 trials has a relative standard error of 5 %; four samples add to it.
    assert!((stated / spread - 1.0).abs() < 0.35, "stated {stated}, seen {spread}");
}

#[test]
fn means_that_do_not_differ_beyond_their_errors_have_no_value_and_the_reason_is_stated() {
    // s² = 2 in both classes: D² = 1 − 1 − 1.
    let (features, labels) = ([-1.0, 1.0, 0.0, 2.0], [0, 0, 1, 1]);
    let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
    moments.update_slice(&features, &labels).unwrap();
    let failed = cdnv_unbiased(&moments);
    assert!(matches!(failed, Err(Error::OutOfRange { value: -1.0, .. })), "{failed:?}");
    let report = report(&features, 1, &labels);
    assert_eq!((report.cdnv_unbiased, report.cdnv_unbiased_std_error, report.cdnv), (None, None, 1.0));
    let gap = report.undefined.iter().find(|gap| gap.measure == "cdnv_unbiased").unwrap();
    assert!(gap.reason.contains("must be positive") && gap.reason.contains("got -1"), "{}", gap.reason);
}

#[test]
fn it_takes_the_pairs_of_the_plug_in_and_agrees_with_it_for_many_samples() {
    let noise = streams::standard_normal(&mut streams::stream(8, "collapse/tests/unbiased-many", 0), 30_000);
    let labels: Vec<u32> = (0..10_000).map(|row| row % 3).chain([4]).collect();
    let value = |(at, noise): (usize, &f64)| noise + 10.0 * f64::from((at / 3 % 3) as u8);
    let mut features: Vec<f64> = noise.iter().enumerate().map(value).collect();
    features.extend([5.0; 3]);
    let mut moments = ClassMoments::new(5, 3, Scatter::Trace);
    moments.update_slice(&features, &labels).unwrap();
    let (plug_in, found) = (cdnv(&moments, CdnvConvention::default()).unwrap(), cdnv_unbiased(&moments).unwrap());
    assert_eq!((found.pairs, found.excluded_pairs, found.samples), (3, plug_in.excluded_pairs, 10_000));
    assert_eq!((found.singleton_classes, found.excluded_pairs.singleton, found.excluded_pairs.missing), (1, 3, 4));
    assert!(found.mean > plug_in.mean && found.mean < 1.001 * plug_in.mean);
}
