//! CDNV and geometric collapse from unbiased variances and distances: values worked by hand, and simulations with known classes.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Error, ReportOptions, Scatter, cdnv, cdnv_unbiased,
    geometric_collapse_unbiased, pairwise_geometric_collapse_unbiased, report_slice,
};

fn report(features: &[f64], width: usize, labels: &[u32]) -> CollapseReport {
    report_slice(features, width, labels, None, &ReportOptions::default()).unwrap()
}

#[test]
fn the_value_and_its_standard_error_by_hand() {
    // Classes −1, 1 | 8, 12: s² = 2 and 8, D² = 100 − 2/2 − 8/2 = 95. Every ‖d‖² is Var_i, so that only the means contribute
    // to the error: a sample's influence is (s_0² + s_1²)/D⁴ · d·(μ_0 − μ_1), which is ±100/95² and ±200/95².
    let report = report(&[-1.0, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1]);
    assert!((report.cdnv.unbiased.unwrap() - 10.0 / 190.0).abs() < 1e-15);
    let expected = (100f64.powi(2) + 200f64.powi(2)).sqrt() / 95f64.powi(2);
    assert!((report.cdnv.unbiased_std_error.unwrap() - expected).abs() < 1e-15);
    assert!((report.cdnv.mean - 0.025).abs() < 1e-15);
}

#[test]
fn variances_contribute_to_the_standard_error() {
    // Classes −3, 0, 3 | 99, 100, 101: s² = 9 and 1, D² = 100² − 3 − 1/3, ‖d‖² − Var is (3, −6, 3) and (1, −2, 1)/3.
    let report = report(&[-3.0, 0.0, 3.0, 99.0, 100.0, 101.0], 1, &[0, 0, 0, 1, 1, 1]);
    let squared = 10_000.0 - 3.0 - 1.0 / 3.0;
    let spread = 10.0 / (squared * squared);
    assert!((report.cdnv.unbiased.unwrap() - 5.0 / squared).abs() < 1e-15);
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
    let found = report.cdnv.unbiased_std_error.unwrap();
    assert!((found / expected - 1.0).abs() < 1e-10, "{found} for {expected}");
}

#[test]
fn geometric_collapse_and_its_standard_error_by_hand() {
    // D² = 95 as above. A sample's influence is −(GC_0 + GC_1)/D⁴ · d·(μ_0 − μ_1), which is ±40/95² and ±80/95².
    let options = ReportOptions::default().with_gc_per_class(vec![1.0, 3.0]).with_gc(5.0);
    let report = report_slice(&[-1.0, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &options).unwrap();
    assert_eq!(report.geometric.pairwise_unbiased, Some(2.0 / 95.0));
    let expected = (40f64.powi(2) + 80f64.powi(2)).sqrt() / 95f64.powi(2);
    assert!((report.geometric.pairwise_unbiased_std_error.unwrap() - expected).abs() < 1e-15);
    // The mixture form is GC·(2/2)·1/D²: the influences are those of GC_0 + GC_1 = 2, times 5.
    assert!((report.geometric.mixture_unbiased.unwrap() - 5.0 / 95.0).abs() < 1e-15);
    let expected = 5.0 * (20f64.powi(2) + 40f64.powi(2)).sqrt() / 95f64.powi(2);
    assert!((report.geometric.mixture_unbiased_std_error.unwrap() - expected).abs() < 1e-14);
    assert_eq!(report.geometric.mixture, Some(5.0 / 100.0));
}

#[test]
fn variances_contribute_to_the_standard_error_of_geometric_collapse() {
    // D² = 100² − 3 − 1/3, ‖d‖² − Var is (3, −6, 3) and (1, −2, 1)/3, s² = 3/2·Var, and ∂(1/D²)/∂s² = 1/(3 D⁴).
    let options = ReportOptions::default().with_gc_per_class(vec![2.0, 4.0]);
    let features = [-3.0, 0.0, 3.0, 99.0, 100.0, 101.0];
    let report = report_slice(&features, 1, &[0, 0, 0, 1, 1, 1], None, &options).unwrap();
    let squared = 10_000.0 - 3.0 - 1.0 / 3.0;
    let factor = 6.0 / (squared * squared);
    let influences =
        [3.0 / 4.0 - 300.0, -6.0 / 4.0, 3.0 / 4.0 + 300.0, 1.0 / 12.0 + 100.0, -2.0 / 12.0, 1.0 / 12.0 - 100.0];
    let expected = factor * (influences.iter().map(|value| value * value).sum::<f64>() / 6.0).sqrt();
    assert!((report.geometric.pairwise_unbiased.unwrap() - 3.0 / squared).abs() < 1e-15);
    let found = report.geometric.pairwise_unbiased_std_error.unwrap();
    assert!((found / expected - 1.0).abs() < 1e-10, "{found} for {expected}");
    assert_eq!((report.geometric.mixture_unbiased, report.geometric.mixture_unbiased_std_error), (None, None));
}

#[test]
fn functions_of_moments_give_the_values_of_the_report() {
    let noise = streams::standard_normal(&mut streams::stream(9, "collapse/tests/unbiased-forms", 0), 90);
    let labels: Vec<u32> = (0..30).map(|row| row % 3).collect();
    let value = |(at, noise): (usize, &f64)| noise + if at % 3 == at / 3 % 3 { 9.0 } else { 0.0 };
    let features: Vec<f64> = noise.iter().enumerate().map(value).collect();
    let mut moments = ClassMoments::new(3, 3, Scatter::Trace);
    moments.update_slice(&features, &labels).unwrap();
    let gc = vec![1.0, 2.0, 4.0];
    let options = ReportOptions::default().with_gc(3.0).with_gc_per_class(gc.clone());
    let report = report_slice(&features, 3, &labels, None, &options).unwrap();
    let (mixture, pairwise) = (
        geometric_collapse_unbiased(&moments, 3.0).unwrap(),
        pairwise_geometric_collapse_unbiased(&moments, &gc).unwrap(),
    );
    assert_eq!(Some(mixture.value), report.geometric.mixture_unbiased);
    assert_eq!(Some(pairwise.value), report.geometric.pairwise_unbiased);
    assert!(mixture.unbiased && pairwise.unbiased && mixture.std_error.is_none());
    assert!(report.geometric.mixture.unwrap() < mixture.value && mixture.pairs == 3 && mixture.samples == 30);
    let negative = geometric_collapse_unbiased(&moments, -1.0);
    assert!(matches!(negative, Err(Error::OutOfRange { value: -1.0, .. })), "{negative:?}");
    let short = pairwise_geometric_collapse_unbiased(&moments, &[1.0]);
    assert!(matches!(short, Err(Error::PerClassLength { expected: 3, actual: 1, .. })), "{short:?}");
}

#[test]
fn a_report_without_the_unbiased_measures_still_opens() {
    let report = report(&[-1.0, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1]);
    let mut old = serde_json::to_value(&report).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.retain(|name, _| !name.contains("unbiased"));
    let opened: CollapseReport = serde_json::from_value(old).unwrap();
    assert_eq!((opened.cdnv.mean, opened.geometric.mixture_unbiased), (report.cdnv.mean, None));
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
        let options = ReportOptions::default().with_gc(200.0).with_gc_per_class(vec![100.0, 200.0, 300.0]);
        let report = report_slice(&features, width, &labels, None, &options).unwrap();
        found.push([
            [report.cdnv.unbiased, report.cdnv.unbiased_std_error, Some(report.cdnv.mean)],
            [report.geometric.mixture_unbiased, report.geometric.mixture_unbiased_std_error, report.geometric.mixture],
            [
                report.geometric.pairwise_unbiased,
                report.geometric.pairwise_unbiased_std_error,
                report.geometric.pairwise,
            ],
        ]);
    }
    // The plug-in has 0.75 of the variance and 1.25 of the squared distance. GC is 200 and k/2 is 1.5.
    let expected = [(0.5, 0.3), (1.5 * 200.0 / 800.0, 1.5 * 200.0 / 1000.0), (200.0 / 800.0, 200.0 / 1000.0)];
    for (measure, (truth, plug_in)) in expected.into_iter().enumerate() {
        let mean = |at: usize| found.iter().map(|found| found[measure][at].unwrap()).sum::<f64>() / trials as f64;
        let unbiased = mean(0);
        let square = |found: &[[Option<f64>; 3]; 3]| (found[measure][0].unwrap() - unbiased).powi(2);
        let spread = (found.iter().map(square).sum::<f64>() / (trials - 1) as f64).sqrt();
        // The ratio has a bias of about the relative variance of D², which is 0.3 %.
        let tolerance = 4.0 * spread / (trials as f64).sqrt() + 0.003 * truth;
        assert!((unbiased - truth).abs() < tolerance, "{unbiased} for {truth}, tolerance {tolerance}");
        assert!((mean(2) / plug_in - 1.0).abs() < 0.04, "{} for {plug_in}", mean(2));
        // The spread of 200 trials has a relative standard error of 5 %; four samples add to it.
        assert!((mean(1) / spread - 1.0).abs() < 0.35, "stated {}, seen {spread}", mean(1));
    }
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
    assert_eq!((report.cdnv.unbiased, report.cdnv.unbiased_std_error, report.cdnv.mean), (None, None, 1.0));
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

/// Both the class means and the complexities of the samples are drawn anew in each trial.
#[test]
fn the_error_of_geometric_collapse_includes_that_of_measured_complexities() {
    let (width, each, trials) = (5, 40, 400);
    let labels: Vec<u32> = (0..2 * each).map(|row| row % 2).collect();
    let mut found = Vec::new();
    for trial in 0..trials {
        let mut stream = streams::stream(11, "collapse/tests/measured-complexities", trial);
        let noise = streams::standard_normal(&mut stream, (2 * each as usize) * (width + 1));
        let (noise, of_gc) = noise.split_at(2 * each as usize * width);
        // Class c has mean 6 along axis c, and a sample's complexity is 10 ± 5.
        let value = |(at, noise): (usize, &f64)| noise + if at % width == at / width % 2 { 6.0 } else { 0.0 };
        let features: Vec<f64> = noise.iter().enumerate().map(value).collect();
        let gc: Vec<f64> = of_gc.iter().map(|draw| 5.0 * (draw + 2.0).abs()).collect();
        let options = ReportOptions::default().with_gc_per_sample(gc);
        let forms = report_slice(&features, width, &labels, None, &options).unwrap().geometric;
        found.push([
            [forms.mixture, forms.mixture_std_error],
            [forms.pairwise, forms.pairwise_std_error],
            [forms.mixture_unbiased, forms.mixture_unbiased_std_error],
            [forms.pairwise_unbiased, forms.pairwise_unbiased_std_error],
        ]);
    }
    for form in 0..4 {
        let part = |which: usize| found.iter().map(move |forms| forms[form][which].unwrap());
        let count = f64::from(trials as u32);
        let mean = part(0).sum::<f64>() / count;
        let spread = (part(0).map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
        let stated = (part(1).map(|error| error * error).sum::<f64>() / count).sqrt();
        // The spread of 400 trials has a standard error of 3.5 %; without that of GC the stated error is about half.
        assert!((stated / spread - 1.0).abs() < 0.12, "form {form}: stated {stated}, spread {spread}");
    }
}

#[test]
fn an_error_of_gc_is_not_negative_and_beside_a_given_gc_that_of_the_samples_counts() {
    let (features, labels) = ([-1.0, 1.0, 8.0, 12.0], [0, 0, 1, 1]);
    let measured = |options: ReportOptions| report_slice(&features, 1, &labels, None, &options);
    for wrong in [-1.0, f64::NAN] {
        let refused = measured(ReportOptions::default().with_gc(2.0).with_gc_std_error(wrong));
        assert!(matches!(refused, Err(Error::OutOfRange { .. })), "{refused:?}");
    }
    let of_samples = ReportOptions::default().with_gc_per_sample(vec![1.0, 3.0, 1.0, 3.0]);
    let given = measured(of_samples.clone().with_gc(2.0)).unwrap().geometric;
    assert_eq!(given.mixture_std_error, measured(of_samples).unwrap().geometric.mixture_std_error);
}
