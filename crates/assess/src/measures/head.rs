//! The head beside the class means: self-duality (NC3), agreement with the nearest mean (NC4), bias collapse and NC0.

use ::collapse::HeadReport;

use super::measures;
use crate::{Direction, Measured, Part, PartOf, Scale};

/// Where NC3 and NC4 are defined.
const PAPYAN: &str = "Papyan, Han and Donoho, 2020 (arXiv 2008.08186)";
/// Where the forms of products are used.
const ZHU: &str = "Zhu et al., 2021 (arXiv 2105.02375)";

/// A measure of the head; not measured where there is no head.
fn of_head(part: &Part, value: fn(&HeadReport) -> (Option<f64>, Option<f64>)) -> Option<Measured> {
    let head = part.collapse.as_ref()?.head.as_ref()?;
    let (value, error) = value(head);
    Some(Measured::maybe(value, error, part.samples))
}

measures! {
    SELF_DUALITY = "self_duality": "Self-duality of head and class means, ‖W/‖W‖ − M/‖M‖‖ (NC3), of training images." {
        read: |assessment| of_head(&assessment.train, |head| (head.duality.difference, None)),
        symbol: "‖W/‖W‖ − M/‖M‖‖", label: "NC3", transfer_label: Some("source NC3"), short: "NC3",
        source: PAPYAN, direction: Some(Direction::Lower), scale_free: true,
    }
    TEST_SELF_DUALITY = "test_self_duality":
        "Self-duality of the head and the class means of test images, ‖W/‖W‖ − M/‖M‖‖ (NC3)." {
        read: |assessment| of_head(assessment.test.as_ref()?, |head| (head.duality.difference, None)),
        symbol: "‖W/‖W‖ − M/‖M‖‖", label: "test NC3", transfer_label: Some("source test NC3"), short: "test NC3",
        source: PAPYAN, direction: Some(Direction::Lower), part: PartOf::Test, scale_free: true,
    }
    DUALITY_ETF_ERROR = "duality_etf_error":
        "Distance of the product of head and class means from a simplex, ‖WMᵀ/‖WMᵀ‖ − (I − 11ᵀ/K)/√(K−1)‖ (NC3)." {
        read: |assessment| of_head(&assessment.train, |head| (head.duality.product_error, None)),
        symbol: "‖WMᵀ/‖WMᵀ‖ − E‖", label: "NC3, product", transfer_label: Some("source NC3, product"), short: "NC3 prod.",
        source: ZHU, direction: Some(Direction::Lower), scale_free: true,
    }
    ALIGNMENT = "alignment":
        "Mean over classes of cos(w_c, m_c), w_c the head's row and m_c the centred class mean (NC3)." {
        read: |assessment| of_head(&assessment.train, |head| (head.duality.alignment, None)),
        symbol: "mean cos(w_c, m_c)", label: "alignment of head and means", transfer_label: Some("source alignment of head and means"),
        short: "alignment", source: "Wu and Papyan, 2024 (arXiv 2405.17767)", scale: Scale::Linear,
        direction: Some(Direction::Higher), maximum: Some(1.0), scale_free: true,
    }
    HEAD_EQUINORM = "head_equinorm": "Coefficient of variation of the norms of the head's rows (NC2 of the head)." {
        read: |assessment| of_head(&assessment.train, |head| (head.simplex.equinorm, None)),
        symbol: "std ‖w_c‖ / mean ‖w_c‖", label: "equinorm of the head", short: "head equin.",
        source: PAPYAN, direction: Some(Direction::Lower), scale_free: true,
    }
    HEAD_EQUIANGULARITY = "head_equiangularity":
        "Mean over pairs of |cos(w_i, w_j) + 1/(K−1)|, w the head's rows (NC2 of the head)." {
        read: |assessment| of_head(&assessment.train, |head| (head.simplex.equiangularity, None)),
        symbol: "mean |cos(w_i, w_j) + 1/(K−1)|", label: "equiangularity of the head", short: "head equian.",
        source: PAPYAN, direction: Some(Direction::Lower), scale_free: true,
    }
    HEAD_ETF_ERROR = "head_etf_error":
        "Distance of the normalised Gram matrix of the head's rows from that of a simplex (NC2 of the head)." {
        read: |assessment| of_head(&assessment.train, |head| (head.simplex.etf_error, None)),
        symbol: "‖WWᵀ/‖WWᵀ‖ − E‖", label: "ETF error of the head", short: "head ETF",
        source: ZHU, direction: Some(Direction::Lower), scale_free: true,
    }
    BIAS_COLLAPSE = "bias_collapse": "Norm of the head's output at the global mean, ‖W μ_G + b‖." {
        read: |assessment| of_head(&assessment.train, |head| (head.bias_collapse, None)),
        symbol: "‖W μ_G + b‖", label: "bias collapse", transfer_label: Some("source bias collapse"), short: "bias",
        source: ZHU, unit: "logits", direction: Some(Direction::Lower), scale_free: true,
    }
    NC0 = "nc0": "Norm of the sum of the head's rows, ‖Σ_c w_c‖ (NC0)." {
        read: |assessment| of_head(&assessment.train, |head| (head.zero_sum.norm, None)),
        symbol: "‖Σ w_c‖", label: "NC0", short: "NC0",
        source: "logged as NC0 by the codebase neural_collapse_optimizer", unit: "logits per feature", direction: Some(Direction::Lower),
    }
    NC0_RELATIVE = "nc0_relative": "Norm of the sum of the head's rows over that of the head, ‖Σ_c w_c‖/(√K ‖W‖)." {
        read: |assessment| of_head(&assessment.train, |head| (head.zero_sum.relative, None)),
        symbol: "‖Σ w_c‖/(√K ‖W‖)", label: "NC0, relative", short: "NC0 rel.",
        source: "ours: NC0 without the scale of the head", direction: Some(Direction::Lower), maximum: Some(1.0), scale_free: true,
    }
    NCC_AGREEMENT = "ncc_agreement":
        "Share of training images on which the head and the nearest class mean agree (NC4)." {
        read: |assessment| {
            of_head(&assessment.train, |head| (Some(head.agreement.share), Some(head.agreement.std_error)))
        },
        symbol: "P(head = nearest mean)", label: "NC4", transfer_label: Some("source NC4"), short: "NC4",
        source: PAPYAN, scale: Scale::Percent, direction: Some(Direction::Higher), maximum: Some(1.0), scale_free: true,
        standard_error: "binomial, with the means and the head taken as exact",
    }
    TEST_NCC_AGREEMENT = "test_ncc_agreement":
        "Share of test images on which the head and the nearest class mean of the test images agree (NC4)." {
        read: |assessment| {
            let test = assessment.test.as_ref()?;
            of_head(test, |head| (Some(head.agreement.share), Some(head.agreement.std_error)))
        },
        symbol: "P(head = nearest mean)", label: "test NC4", transfer_label: Some("source test NC4"), short: "test NC4",
        source: PAPYAN, scale: Scale::Percent, direction: Some(Direction::Higher), maximum: Some(1.0), part: PartOf::Test,
        scale_free: true, standard_error: "binomial, with the means and the head taken as exact",
    }
}
