//! Memory is checked before it is allocated, and does not depend on the largest label.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed test panics

use collapse::{
    CdnvConvention, ClassMoments, Error, Head, PairMatrix, ReportOptions, Scatter, cdnv_matrix, report_slice,
};

#[test]
fn a_scatter_matrix_that_exceeds_the_limit_is_an_error_that_names_the_option() {
    let options = ReportOptions::default().with_memory_limit(1 << 20);
    let features = vec![0.0f32; 4 * 1000];
    let error = report_slice(&features, 1000, &[0, 0, 1, 1], None, &options).unwrap_err();
    assert!(matches!(error, Error::Memory { needed: 16_000_000, limit: 1_048_576, .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("1000×1000") && text.contains("Scatter::Trace"), "{text}");
    let mut moments = ClassMoments::new(2, 1000, Scatter::Trace).with_memory_limit(15_999);
    assert!(matches!(moments.update_slice(&features, &[0, 0, 1, 1]), Err(Error::Memory { needed: 16_000, .. })));
    assert_eq!(moments.sample_count(), 0);
    let mut moments = ClassMoments::new(2, 1000, Scatter::Trace).with_memory_limit(16_000);
    moments.update_slice(&features, &[0, 0, 1, 1]).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_scatter_matrix_beyond_the_available_memory_is_an_error() {
    let width = 10_000_000;
    let mut moments = ClassMoments::new(2, width, Scatter::Full);
    let failed = moments.update_slice(&vec![0.0f32; width], &[0]);
    assert!(matches!(failed, Err(Error::Memory { .. })), "{failed:?}");
    assert_eq!(moments.sample_count(), 0);
}

#[test]
fn a_single_large_label_costs_no_memory_proportional_to_it() {
    let (features, largest) = ([-1.0f64, 1.0, 8.0, 12.0, 3.0], 16_000_000u32);
    let options = ReportOptions::default().with_memory_limit(4096);
    let labels = [0, 0, largest - 1, largest - 1, largest];
    let report = report_slice(&features, 1, &labels, None, &options).unwrap();
    assert!((report.cdnv.mean - 0.025).abs() < 1e-15);
    assert_eq!(
        (report.counts.classes, report.counts.singleton_classes, report.counts.missing_classes),
        (2, 1, 15_999_998)
    );
    let mut moments = ClassMoments::new(u32::MAX as usize, 1, Scatter::Trace).with_memory_limit(64);
    moments.update_slice(&features, &labels).unwrap();
    assert_eq!((moments.classes().len(), moments.means().len(), moments.counts()), (3, 3, &[2, 2, 1][..]));
    // The serialised forms too.
    assert!(serde_json::to_string(&moments).unwrap().len() < 400);
    let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
    assert_eq!(matrix.get(0, largest as usize - 1), Some(0.025));
}

#[test]
fn moments_written_for_every_class_are_still_read() {
    let written = r#"{"class_count":3,"feature_count":1,"scatter":"full","counts":[2,0,1],"means":[1.5,0.0,7.0],
        "squares":[0.5,0.0,0.0],"products":[0.5]}"#;
    let read: ClassMoments = serde_json::from_str(written).unwrap();
    let mut expected = ClassMoments::new(3, 1, Scatter::Full);
    expected.update_slice(&[1.0f64, 2.0, 7.0], &[0, 0, 2]).unwrap();
    assert_eq!(read, expected);
    let unsorted = r#"{"class_count":3,"feature_count":1,"scatter":"trace","classes":[2,0],"counts":[1,1],
        "means":[1.5,0.0],"squares":[0.0,0.0],"products":[]}"#;
    assert!(serde_json::from_str::<ClassMoments>(unsorted).is_err());
}

#[test]
fn classes_that_occur_late_are_inserted_in_order() {
    let mut parts = ClassMoments::new(9, 2, Scatter::Full);
    let mut whole = parts.clone();
    let rows = [[1.0f64, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]];
    for (row, label) in rows.iter().zip([5, 2, 8, 3]) {
        parts.update_slice(row, &[label]).unwrap();
    }
    whole.update_slice(rows.as_flattened(), &[5, 2, 8, 3]).unwrap();
    assert_eq!(parts, whole);
    assert_eq!((whole.classes(), whole.mean(3)), (&[2, 3, 5, 8][..], Some(&[7.0, 8.0][..])));
}

#[test]
fn matrices_heads_and_empty_moments_are_read_back() {
    let mut moments = ClassMoments::new(3, 1, Scatter::Full);
    let empty: ClassMoments = serde_json::from_str(&serde_json::to_string(&moments).unwrap()).unwrap();
    assert_eq!(empty, moments);
    moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 2, 2]).unwrap();
    let matrix = cdnv_matrix(&moments, CdnvConvention::default()).unwrap();
    let back: PairMatrix = serde_json::from_str(&serde_json::to_string(&matrix).unwrap()).unwrap();
    assert_eq!(back, matrix);
    let head = Head::from_slices(&[1.0f64, 2.0, 3.0, 4.0], Some(&[0.5, 0.5]), 2).unwrap();
    let text = serde_json::to_string(&head).unwrap();
    assert_eq!(serde_json::from_str::<Head>(&text).unwrap(), head);
    assert!(serde_json::from_str::<Head>(&text.replace("\"feature_count\":2", "\"feature_count\":3")).is_err());
    let options = ReportOptions::default().with_gc(2.0);
    let report = report_slice(&[-1.0f64, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &options).unwrap();
    let read = serde_json::from_str::<collapse::CollapseReport>(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(read, report);
}
