//! Geometric complexity, and its ratios to variances of the features.

use super::part_measures;
use crate::{Direction, Entry};

/// Where geometric complexity is defined.
const DEFINED: &str = "Munn, Dherin and Gonzalvo, 2024 (arXiv 2405.15706), after Dherin, Munn, Rosca and Barrett, 2022 (arXiv 2209.13083), Definition 1";

/// What the ratios of GC to a variance have.
const GC_RATIO: Entry = Entry {
    source: "ours: GC without the scale of the features",
    unit: "1 per input²",
    scale_free: true,
    standard_error: "jackknife over eight groups of images, and that of GC",
    ..Entry::UNNAMED
};

part_measures! {
    like Entry::UNNAMED {
        GC, TEST_GC, TARGET_GC = "gc", "GC", "GC":
            "Geometric complexity of the features: the mean over images of ‖∂f/∂x‖²_F." {
            read: |part| part.complexity(),
            symbol: "GC(f, D)",
            source: DEFINED,
            unit: "features² per input²",
            direction: Some(Direction::LowerByThePaper),
            standard_error: "over images and probes",
        } => train {
            label: "train GC",
        }
    }

    like GC_RATIO {
        GC_OVER_VARIANCE, TEST_GC_OVER_VARIANCE, TARGET_GC_OVER_VARIANCE = "gc_over_variance", "GC over variance within classes", "GC/Var":
            "GC over the mean variance within classes, which does not depend on the scale of the features." {
            read: |part| part.gc.as_ref().and(part.decomposition.as_ref()).map(|factors| factors.gc_over_variance),
            symbol: "GC / mean Var_i",
        } => train {
            transfer_label: None,
        }

        GC_OVER_TOTAL_VARIANCE, TEST_GC_OVER_TOTAL_VARIANCE, TARGET_GC_OVER_TOTAL_VARIANCE = "gc_over_total_variance", "GC over total variance", "GC/tr Σ":
            "GC over the total variance tr Σ_W + tr Σ_B, which does not depend on the scale of the features." {
            read: |part| part.gc.as_ref().and(part.decomposition.as_ref()).map(|factors| factors.gc_over_total_variance),
            symbol: "GC / (tr Σ_W + tr Σ_B)",
        } => train {
            transfer_label: None,
        }
    }
}
