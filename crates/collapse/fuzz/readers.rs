//! The readers of this crate, for fuzzers and for the test `damaged_files`: any bytes give a value or an error. What was read
//! is then measured.

use collapse::{
    CdnvConvention, ClassMoments, CollapseReport, Head, PairMatrix, ReportOptions, SamplePass, Weighting,
    bias_collapse, cdnv, cdnv_matrix, cdnv_unbiased, geometric_collapse, self_duality, simplex, simplex_of_head,
    trace_ratio, zero_sum,
};

/// Class moments as JSON.
pub(crate) fn moments(bytes: &[u8]) {
    let Ok(mut moments) = serde_json::from_slice::<ClassMoments>(bytes) else { return };
    let _ = (cdnv(&moments, CdnvConvention::default()), cdnv_unbiased(&moments), geometric_collapse(&moments, 1.0));
    let _ = (trace_ratio(&moments, Weighting::SampleWeighted), simplex(&moments, Weighting::ClassBalanced));
    if let Ok(matrix) = cdnv_matrix(&moments, CdnvConvention::default()) {
        let _ = matrix.get(0, usize::MAX);
    }
    #[cfg(feature = "faer")]
    {
        use collapse::{Centring, Truncation, rank_me, variability, vci};
        let _ = variability(&moments, Weighting::SampleWeighted, Truncation::default());
        let _ = (vci(&moments, Weighting::SampleWeighted), rank_me(&moments, Centring::Centred));
    }
    let row = vec![1.0; moments.feature_count().min(64)];
    if let Ok(mut pass) = SamplePass::new(&moments) {
        let _ = (pass.update_slice(&row, &[0]), pass.nearest_mean_error(), pass.directional_cdnv());
    }
    let _ = moments.update_slice(&row, &[0]);
    let other = moments.clone();
    let _ = moments.merge(&other);
}

/// A head as JSON.
pub(crate) fn head(bytes: &[u8]) {
    let Ok(head) = serde_json::from_slice::<Head>(bytes) else { return };
    let _ = (simplex_of_head(&head), zero_sum(&head));
    let moments = ClassMoments::new(head.class_count(), head.feature_count(), collapse::Scatter::Trace);
    let _ = self_duality(&head, &moments, Weighting::ClassBalanced);
    let _ = bias_collapse(&head, &moments, Weighting::ClassBalanced);
}

/// A report, its options, and a matrix of pairs as JSON.
pub(crate) fn report(bytes: &[u8]) {
    let _ = serde_json::from_slice::<CollapseReport>(bytes);
    if let Ok(matrix) = serde_json::from_slice::<PairMatrix>(bytes) {
        let _ = (matrix.get(0, 1), matrix.get(usize::MAX, 0), matrix == matrix.clone());
    }
    if let Ok(options) = serde_json::from_slice::<ReportOptions>(bytes) {
        let _ = collapse::report_slice(&[-1.0f64, 1.0, 8.0, 12.0], 1, &[0, 0, 1, 1], None, &options);
    }
}
